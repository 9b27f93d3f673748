"""Schemas and rules of forms that no venue in the tree has yet, through the real reader."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from engine.book import rules
from engine.book.rules import BookRules
from engine.compiling.jit import JIT_OFF
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema, SchemaError
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec
from tests.engine.rig import LOT, Rig

TICK = Decimal("0.01")
SIDES = (Key("bids", schema.FIELD_BIDS), Key("asks", schema.FIELD_ASKS))


def stream_rules(*keys: Key, **facts: Any) -> BookRules:
    """Rules of a venue whose frames have these keys, a symbol, and whole books among them."""
    messages = MessageSchema(
        keys=(
            Key("type", schema.FIELD_EVENT),
            Key("symbol", schema.FIELD_SYMBOL),
            Key("id", schema.FIELD_LAST_ID),
            *keys,
        ),
        **{"ids": schema.IDS_ONE, "diff": "update", "snapshot": "snapshot", **facts},
    )
    chain = rules.CONTINUITY_CHAIN if messages.ids == schema.IDS_PREVIOUS else rules.CONTINUITY_STEP
    return BookRules(messages, chain, rules.SNAPSHOT_STREAM)


def rig_of(book_rules: BookRules) -> Rig:
    """One feed that waits for its book; a frame that is read answers BUFFER or SNAPSHOT."""
    rig = Rig.single(FeedSpec("venue", book_rules, 0, "AB", str(TICK)))
    rig.set_state(L.BUFFERING)
    return rig


def frame(kind: str = "update", /, **members: object) -> bytes:
    return orjson.dumps({"type": kind, "symbol": "AB", "id": 7, **members})


def staged(rig: Rig) -> list[list[tuple[Decimal, Decimal]]]:
    return [[(ticks * TICK, lots * LOT) for ticks, lots in side] for side in rig.staged()]


BARE = stream_rules(*SIDES, levels=LevelForm(is_quoted=False))
JSON_NUMBERS = [
    ("100.5", "100.5"), ("100", "100"), ("1e2", "100"), ("1.005E+2", "100.5"),
    ("10050e-2", "100.5"),
    ("100.500000000000", "100.5"), ("0.01", "0.01"), ("1e-2", "0.01"), ("1.00e0", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), JSON_NUMBERS)
def test_a_bare_json_number_is_read_exactly(text: str, wanted: str) -> None:
    rig = rig_of(BARE)
    raw = frame(bids=[[0, 1]], asks=[]).replace(b"[0,1]", f"[ {text} ,{text}]".encode())
    assert rig.feed(raw) == S.BUFFER
    assert staged(rig) == [[(Decimal(wanted), Decimal(wanted))], []]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-1", S.BAD_PRICE), ("1e300", S.BAD_DECIMAL), ("1e-300", S.BAD_DECIMAL),
        ("1" * 20, S.BAD_DECIMAL), ("0.005", S.BAD_PRICE), ("0", S.BAD_PRICE), ("0e9", S.BAD_PRICE),
        ('"100.5"', S.BAD_SCHEMA), ("null", S.BAD_SCHEMA), ("01", S.BAD_JSON), ("1.", S.BAD_JSON),
        (".5", S.BAD_JSON), ("1e", S.BAD_JSON), ("+1", S.BAD_JSON),
    ],
)  # fmt: skip
def test_a_bare_number_that_is_not_exact_or_not_json_is_refused(text: str, wanted: int) -> None:
    raw = frame(bids=[[0, 1]], asks=[]).replace(b"[0,1]", f"[{text},1]".encode())
    assert rig_of(BARE).feed(raw) == wanted


def test_random_bare_numbers_are_what_decimal_says() -> None:
    rng, rig = random.Random(1), rig_of(BARE)
    for _ in range(300):
        value = Decimal(rng.randrange(1, 10 ** rng.randrange(1, 9))).scaleb(-2)
        power = rng.randrange(-6, 7)
        text = f"{value.scaleb(-power):f}{rng.choice('eE')}{power:+d}"
        rig.engine.restart_stream(0)
        raw = frame(bids=[[0, 1]], asks=[]).replace(b"[0,1]", f"[{text},{value}]".encode())
        assert rig.feed(raw) == S.BUFFER, text
        assert staged(rig)[0] == [(value, value)]


ISO = stream_rules(*SIDES, Key("time", schema.FIELD_TIME), time_unit_ns=schema.ISO_TEXT)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_times_as_text_are_what_datetime_says() -> None:
    rng, rig = random.Random(2), rig_of(ISO)
    for _ in range(300):
        moment = EPOCH + timedelta(microseconds=rng.randrange(2**52))
        rig.engine.restart_stream(0)
        text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[: rng.choice((21, 23, 26))]
        exact = datetime.fromisoformat(text + "+00:00")
        assert rig.feed(frame(time=text + "Z", bids=[], asks=[])) == S.BUFFER
        assert rig.engine.venue_ns(0) == (exact - EPOCH) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    "time",
    [
        "", "Z", "2024-08-08", "2024-08-08T23:54:15", "2024-08-08T23:54:15+00:00",
        "2024-13-08T23:54:15Z", "2024-00-08T23:54:15Z", "2024-08-32T23:54:15Z",
        "2024-08-08T24:54:15Z", "2024-08-08T23:60:15Z", "2024-08-08T23:54:61Z",
        "2026-02-29T23:54:15Z", "2100-02-29T23:54:15Z", "2024-04-31T23:54:15Z",
        "2024-08-08T22:59:60Z", "2024-08-08T23:54:60Z",
        "2024-08-08T23:54:15.Z", "2024-08-08T23:54:15.1234567890Z", "2024-08-08 23:54:15Z",
        "20x4-08-08T23:54:15Z", "2024-08-08T23:54:15.1x3Z", "1969-08-08T23:54:15Z", 5, None,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(time: object) -> None:
    assert rig_of(ISO).feed(frame(time=time, bids=[], asks=[])) == S.BAD_SCHEMA


@pytest.mark.parametrize("time", ["2024-02-29T23:54:15Z", "2000-02-29T00:00:00Z"])
def test_the_last_day_of_a_leap_years_february_is_one(time: str) -> None:
    rig = rig_of(ISO)
    assert rig.feed(frame(time=time, bids=[], asks=[])) == S.BUFFER
    wanted = (datetime.fromisoformat(time) - EPOCH) // timedelta(seconds=1)
    assert rig.engine.venue_ns(0) == wanted * 10**9


LONGER = stream_rules(*SIDES, levels=LevelForm(schema.LEVELS_LONGER))
SIDED = stream_rules(
    Key("levels", schema.FIELD_LEVELS),
    levels=LevelForm(
        schema.LEVELS_SIDED, price_key="price_level", qty_key="new_quantity", side_key="side",
        bid="bid", ask="offer",
    ),
)  # fmt: skip


def test_levels_with_more_members_are_read() -> None:
    rig = rig_of(LONGER)
    rows = [["100.50", "2", "0", {"n": 1}], ["99.00", "0.5"]]
    assert rig.feed(frame(bids=rows, asks=[])) == S.BUFFER
    assert staged(rig)[0] == [(Decimal("100.50"), Decimal(2)), (Decimal(99), Decimal("0.5"))]


def level(side: str, price: str, qty: str) -> dict[str, str]:
    return {"side": side, "event_time": "x", "price_level": price, "new_quantity": qty}


def test_one_list_of_both_sides_is_read_in_any_order() -> None:
    rig = rig_of(SIDED)
    rows = [level("offer", "3", "1"), level("bid", "2", "4"), level("offer", "5", "0")]
    assert rig.feed(frame(levels=rows)) == S.BUFFER
    asks = [(Decimal(3), Decimal(1)), (Decimal(5), Decimal(0))]
    assert staged(rig) == [[(Decimal(2), Decimal(4))], asks]


@pytest.mark.parametrize(
    "row",
    [
        {}, [], "x", level("ask", "1", "1"), level("", "1", "1"),
        {"side": "bid", "price_level": "1"},
        {"price_level": "1", "new_quantity": "1"}, {**level("bid", "1", "1"), "side": 1},
        {**level("bid", "1", "1"), "price_level": 1},
    ],
)  # fmt: skip
def test_an_object_that_is_no_level_is_refused(row: object) -> None:
    assert rig_of(SIDED).feed(frame(levels=[row])) == S.BAD_SCHEMA


def test_a_member_that_comes_twice_or_is_escaped_is_refused() -> None:
    raw = frame(levels=[level("bid", "1", "1")])
    twice = raw.replace(b'"side":"bid"', b'"side":"bid","side":"offer"')
    escaped = raw.replace(b'"side":"bid"', rb'"side":"bid","\u0073ide":"offer"')
    assert twice != raw != escaped
    for each in (twice, escaped):
        assert rig_of(SIDED).feed(each) == S.BAD_SCHEMA


@pytest.mark.skipif(JIT_OFF, reason="33,000 levels take a minute without the JIT")
def test_more_levels_than_a_frame_may_have_are_refused_on_each_side() -> None:
    rig = rig_of(SIDED)
    rig.engine.arena[L.ENGINE_LARGE_FRAME_BYTES] = 1 << 62  # or another thread would read them
    for side in ("bid", "offer"):
        rows = [level(side, "1", "1")] * (L.FRAME_LEVELS_MAX + 1)
        assert rig.feed(frame(levels=rows)) == S.TOO_MANY_LEVELS
        assert rig.feed(frame(levels=rows[1:])) == S.BUFFER
        rig.engine.restart_stream(0)


@pytest.mark.parametrize(
    ("book_rules", "member"),
    [
        (stream_rules(*SIDES), lambda _: {}),
        (
            stream_rules(*SIDES, Key("prev", schema.FIELD_PREVIOUS_ID), ids=schema.IDS_PREVIOUS),
            lambda number: {"prev": number - 1},
        ),
    ],
    ids=["step", "chain"],
)
def test_a_whole_book_in_the_stream_begins_it_and_a_lost_frame_breaks_it(
    book_rules: BookRules, member: Callable[[int], dict[str, int]]
) -> None:
    rig = rig_of(book_rules)

    def sent(kind: str, number: int) -> int:
        rows = [[f"{number}.00", "1"]]
        return rig.feed(frame(kind, id=number, bids=rows, asks=[], **member(number)))

    assert sent("update", 3) == S.BUFFER
    assert sent("snapshot", 50) == S.SNAPSHOT
    assert rig.engine.load_staged(0) == (S.APPLIED, (1, 0))
    rig.engine.activate(0, 1)
    assert [sent("update", number) for number in (51, 51, 52)] == [S.APPLIED, S.OLD, S.APPLIED]
    assert rig.levels(0) == {number * 100: 10**8 for number in (50, 51, 52)}
    assert sent("update", 54) == S.GAP
    assert sent("update", 51) == S.GAP, "a stream that counts anew has no old frames"
    assert sent("snapshot", 10) == S.SNAPSHOT, "it may begin anew, whatever came before"
    assert rig.engine.load_staged(0) == (S.APPLIED, (1, 0))
    rig.engine.activate(0, 2)
    assert sent("update", 11) == S.APPLIED
    rig.check()


def test_a_chain_must_name_the_very_frame_before() -> None:
    book_rules = stream_rules(
        *SIDES, Key("prev", schema.FIELD_PREVIOUS_ID), ids=schema.IDS_PREVIOUS
    )
    for prev, wanted in ((6, S.GAP), (7, S.BUFFER), (8, S.GAP)):
        rig = rig_of(book_rules)
        assert rig.feed(frame(id=7, prev=1, bids=[], asks=[])) == S.BUFFER
        assert rig.feed(frame(id=20, prev=prev, bids=[], asks=[])) == wanted


WRONG: list[Callable[[], object]] = [
    lambda: stream_rules().words(),
    lambda: stream_rules(*SIDES, *SIDES).words(),
    lambda: stream_rules(*SIDES, diff="", snapshot="").words(),
    lambda: stream_rules(*SIDES, topic="book").words(),
    lambda: stream_rules(*SIDES, diff="a name too long for it").words(),
    lambda: stream_rules(*SIDES, *[Key(f"k{n}", 20 + n) for n in range(9)]).words(),
    lambda: BookRules(BARE.frame, rules.CONTINUITY_STEP, rules.SNAPSHOT_REST),
    lambda: BookRules(BARE.frame, rules.CONTINUITY_NONE, rules.SNAPSHOT_STREAM),
    lambda: BookRules(BARE.frame, rules.CONTINUITY_RANGE, rules.SNAPSHOT_STREAM),
    lambda: BookRules(
        BARE.frame, rules.CONTINUITY_STEP, rules.SNAPSHOT_STREAM, snapshot=BARE.frame
    ),
]


@pytest.mark.parametrize("make", WRONG)
def test_a_schema_that_contradicts_itself_is_refused_in_words(make: Callable[[], object]) -> None:
    with pytest.raises(SchemaError, match=r"\w"):
        make()


@pytest.mark.parametrize("place", range(9))
def test_a_fraction_with_a_letter_in_it_is_no_time(place: int) -> None:
    """Seen: one in front of eight digits overflowed, and was a time all the same."""
    digits = "123456789"
    text = f"2026-08-09T02:31:05.{digits[:place]}x{digits[place + 1 :]}Z"
    assert rig_of(ISO).feed(frame(bids=[], asks=[], time=text)) == S.BAD_SCHEMA


def test_a_slash_that_is_escaped_needs_no_escape() -> None:
    """A text of the same meaning must not pass for that of another market, unnoticed."""
    rig = rig_of(stream_rules(*SIDES))
    raw = frame(bids=[], asks=[])
    assert rig.feed(raw) == S.BUFFER
    assert rig.feed(raw.replace(b'"update"', b'"up\\/date"')) == S.BAD_SCHEMA
    assert rig.feed(raw.replace(b'{"', b'{"x\\/y":1,"', 1)) == S.BAD_SCHEMA
    rig.engine.restart_stream(0)
    assert rig.feed(raw.replace(b'{"', b'{"x":"\\/y","', 1)) == S.BUFFER, "a text of no meaning"


SUMMED = dataclasses.replace(
    BARE,
    frame=dataclasses.replace(
        BARE.frame, keys=(*BARE.frame.keys, Key("sum", schema.FIELD_CHECKSUM))
    ),
    checksum=rules.CHECKSUM_DIGITS,
)


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(0, S.BUFFER), (2**32 - 1, S.BUFFER), (-(2**31), S.BUFFER), (2**32, S.BAD_SCHEMA),
     (77773713844912, S.BAD_SCHEMA), (-(2**31) - 1, S.BAD_SCHEMA)],
)  # fmt: skip
def test_a_checksum_has_32_bits(number: int, wanted: int) -> None:
    """Seen: of a longer number the one reader took the lower bits, the other all."""
    for before in (7, number):
        rig = rig_of(SUMMED)
        rig.feed(frame(bids=[[1, 2]], asks=[], sum=before))
        rig.engine.restart_stream(0)
        assert rig.feed(frame(bids=[[1, 2]], asks=[], sum=number)) == wanted
        if wanted == S.BUFFER:
            assert int(rig.engine._stage.words[L.STAGE_CHECKSUM]) == number % 2**32
