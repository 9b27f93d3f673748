"""Messages whose book lies in other objects: headers, lists of one, objects within the envelope."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.book import rules
from engine.book.rules import BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema
from engine.layout import status as S
from tests.engine.decoding.test_schema import rig_of, staged

pytestmark = pytest.mark.kernel

LISTED = BookRules(
    MessageSchema(
        keys=(
            Key("arg", schema.FIELD_HEADER),
            Key("channel", schema.FIELD_TOPIC, is_outside=True),
            Key("name", schema.FIELD_SYMBOL, is_outside=True),
            Key("action", schema.FIELD_EVENT, is_outside=True),
            Key("data", schema.FIELD_ENVELOPE),
            Key("changes", schema.FIELD_INNER),
            Key("bids", schema.FIELD_BIDS),
            Key("asks", schema.FIELD_ASKS),
            Key("seq", schema.FIELD_LAST_ID, is_optional=True),
            Key("prev", schema.FIELD_PREVIOUS_ID, is_optional=True),
            Key("sum", schema.FIELD_CHECKSUM, is_optional=True),
        ),
        ids=schema.IDS_LINK,
        levels=LevelForm(schema.LEVELS_LONGER),
        diff="update",
        snapshot="snapshot",
        topic="books",
        is_listed=True,
    ),
    rules.CONTINUITY_LINK,
    rules.SNAPSHOT_STREAM,
    checksum=rules.CHECKSUM_TEXT,
)


def message(action: str = "update", **data: Any) -> dict[str, Any]:
    sides = {"bids": [["1.5", "2", "0", "6"]], "asks": []}
    return {
        "arg": {"channel": "books", "name": "AB"},
        "action": action,
        "data": [{"seq": 7, "prev": 5, "changes": sides, **data}],
    }


def status_of(value: Any) -> int:
    return rig_of(LISTED).feed(orjson.dumps(value))


def test_a_header_a_list_of_one_and_an_inner_object_are_one_message() -> None:
    rig = rig_of(LISTED)
    assert rig.feed(orjson.dumps(message())) == S.BUFFER
    assert [[(str(p), str(q.normalize())) for p, q in side] for side in staged(rig)] == [
        [("1.50", "2")],
        [],
    ]
    spaced = orjson.dumps(message(), option=orjson.OPT_INDENT_2)
    assert rig_of(LISTED).feed(spaced) == S.BUFFER
    turned = dict(reversed(message(arg={"x": [1]}).items()))
    assert status_of(turned) == S.BUFFER, "an unknown member of the payload is no header"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.update(data=m["data"][0]),
        lambda m: m.update(data=[m["data"]]),
        lambda m: m.update(seq=m["data"][0].pop("seq")),
        lambda m: m["arg"].update(bids=m["data"][0]["changes"].pop("bids")),
        lambda m: m.update(changes=m["data"][0].pop("changes")),
        lambda m: m["data"][0].update(name="AB") or m["arg"].pop("name"),
        lambda m: m["data"][0].pop("seq"),
        lambda m: m["data"][0].pop("prev"),
        lambda m: [m["data"][0].pop(key) for key in ("seq", "prev")],
        lambda m: m["data"][0].update(sum=0) or [m["data"][0].pop(k) for k in ("seq", "prev")],
    ],
)
def test_what_stands_elsewhere_or_twice_is_refused(spoil: Any) -> None:
    value = message()
    spoil(value)
    assert status_of(value) == S.BAD_SCHEMA


@pytest.mark.parametrize("more", [{}, None, 1, {"seq": 3}], ids=str)
def test_several_in_the_list_are_for_one_by_one_if_the_first_is_well_typed(more: Any) -> None:
    value = message()
    value["data"].append(more)
    assert status_of(value) == S.SEVERAL
    value["data"][0]["seq"] = "x"
    assert status_of(value) == S.BAD_SCHEMA


def test_another_channel_is_no_book_even_with_several_in_its_list() -> None:
    value = message()
    value["arg"]["channel"] = "books5"
    value["data"] *= 3
    assert status_of(value) == S.OTHER
    assert status_of({"event": "subscribe", "arg": value["arg"]}) == S.OTHER
    whole = orjson.dumps(message())
    for end in range(1, len(whole)):
        assert rig_of_all().feed(whole[:end]) == S.BAD_JSON, whole[:end]


def rig_of_all(made: list[Any] = []) -> Any:  # noqa: B006  # one rig for all of them
    if not made:
        made.append(rig_of(LISTED))
    return made[0]


def test_ids_that_fall_or_stay_are_linked_by_the_one_before() -> None:
    rig = rig_of(LISTED)
    rig.engine.set_state(0, 4, 1)
    steps = [(10, 5), (15, 10), (15, 15), (3, 15), (5, 3)]
    assert rig.feed(orjson.dumps(message("snapshot", seq=10, prev=-1))) == S.SNAPSHOT
    rig.engine.load_staged(0)
    rig.engine.activate(0, 1)
    for seq, prev in steps[1:]:
        assert rig.feed(orjson.dumps(message(seq=seq, prev=prev))) == S.APPLIED
    assert rig.feed(orjson.dumps(message(seq=6, prev=4))) == S.GAP


SIDED = BookRules(
    MessageSchema(
        keys=(
            Key("type", schema.FIELD_EVENT),
            Key("symbol", schema.FIELD_SYMBOL),
            Key("id", schema.FIELD_LAST_ID),
            Key("changes", schema.FIELD_LEVELS),
            Key("trades", schema.FIELD_WHOLE),
        ),
        ids=schema.IDS_ONE,
        levels=LevelForm(schema.LEVELS_SIDED_ARRAYS, bid="buy", ask="sell"),
        diff="changes",
    ),
    rules.CONTINUITY_STEP,
    rules.SNAPSHOT_STREAM,
)


def sided(*changes: Any, **more: Any) -> bytes:
    return orjson.dumps({"type": "changes", "symbol": "AB", "id": 7, "changes": changes, **more})


def test_levels_with_their_side_in_front() -> None:
    rig = rig_of(SIDED)
    raw = sided(["buy", "1.5", "2"], ["sell", "3", "4"], ["buy", "1", "0"])
    assert rig.feed(raw) == S.BUFFER
    bids, asks = staged(rig)
    assert [(float(p), float(q)) for p, q in bids] == [(1.5, 2), (1, 0)]
    assert [(float(p), float(q)) for p, q in asks] == [(3, 4)]
    assert rig_of(SIDED).feed(raw.replace(b",[", b" , [ ")) == S.BUFFER
    assert rig_of(SIDED).feed(sided(["buy", "1", "2"], trades=[{"x": 1}])) == S.SNAPSHOT


@pytest.mark.parametrize(
    "level",
    [["bid", "1", "2"], ["buy", "1"], ["buy", "1", "2", "3"], [1, "1", "2"], ["1", "2"], {}, "buy"],
)
def test_a_level_without_a_known_side_is_refused(level: Any) -> None:
    assert rig_of(SIDED).feed(sided(["buy", "1", "2"], level)) == S.BAD_SCHEMA


def test_a_topic_may_go_on_where_a_key_names_the_symbol() -> None:
    def made(is_prefix: bool) -> BookRules:
        keys = (
            Key("topic", schema.FIELD_TOPIC),
            Key("s", schema.FIELD_SYMBOL),
            Key("u", schema.FIELD_LAST_ID),
            Key("b", schema.FIELD_BIDS),
            Key("a", schema.FIELD_ASKS),
        )
        form = MessageSchema(
            keys, schema.IDS_ONE, topic="book.", is_topic_prefix=is_prefix, is_snapshot=True
        )
        return BookRules(form, rules.CONTINUITY_STEP, rules.SNAPSHOT_EACH)

    raw = orjson.dumps({"topic": "book.50.AB", "s": "AB", "u": 1, "b": [["1", "1"]], "a": []})
    assert rig_of(made(True)).feed(raw) == S.SNAPSHOT
    assert rig_of(made(False)).feed(raw) == S.OTHER
    assert rig_of(made(True)).feed(raw.replace(b"book.", b"boo")) == S.OTHER
    assert rig_of(made(True)).feed(raw.replace(b"book.50.AB", b"bo")) == S.OTHER
