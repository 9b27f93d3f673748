"""A frame with several books' messages: taken apart as it was written, applied in order, once."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from engine.layout import layout as L
from engine.layout import status as S
from net.feed.frame_parts import PARTS_MAX, parts_of
from tests.net.feed.test_streamed_books import ASKS, BIDS, Stream
from tests.simulation.dialect import Rows, Telling
from tests.simulation.faults import REFUSALS
from tests.simulation.readers import pairs, sided
from tests.simulation.stream_dialects import Coinbase, Kraken, Okx

pytestmark = pytest.mark.kernel

CASES = 300
MUTANTS = 600


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value, with what a reader of brackets and quotes could stumble over."""
    kind = rng.randrange(7 if depth < 3 else 5)
    if kind < 5:
        return (rng.randrange(-9, 10**12), '"],[{"events":[', None, "\\", 1.5e-7)[kind]
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {f'k{at}"]': value(rng, depth + 1) for at in range(rng.randrange(4))}


@pytest.mark.parametrize("option", [0, orjson.OPT_INDENT_2])
def test_each_part_is_the_message_with_one_member(option: int) -> None:
    rng = random.Random(1)
    for _ in range(CASES):
        members = [value(rng) for _ in range(rng.randrange(1, 5))]
        message = {"x": value(rng), "events": members, "y": [[1], {"events": [2, 3]}]}
        keys = rng.sample(sorted(message), 3)
        message = {key: message[key] for key in keys}
        raw = orjson.dumps(message, option=option)
        parts = [orjson.loads(part) for part in parts_of(raw, "events")]
        assert parts == [{**message, "events": [member]} for member in members], raw


@pytest.mark.parametrize(
    "raw",
    [b'{"a":[{"events":[1,2]}]}', b'{"events":{"events":[1,2]}}', b'{"x":"events","y":[1,2]}',
     b'{"events":1,"y":[1,2]}', b"{}"],
)  # fmt: skip
def test_another_list_is_not_taken_for_it(raw: bytes) -> None:
    assert parts_of(raw, "events") == []


def test_there_are_not_more_parts_than_markets() -> None:
    raw = orjson.dumps({"events": [{}] * (PARTS_MAX + 1)})
    assert parts_of(raw, "events") == [] and len(parts_of(raw[:-5] + b"]}", "events")) == PARTS_MAX


def together(stream: Stream, *tellings: tuple[int, Rows, Rows, bool]) -> bytes:
    """One frame of these messages, as the venue writes one each."""
    texts = []
    for market, bids, asks, is_whole in tellings:
        symbol, now_ns = stream.symbols[market], stream.now_ns
        checksum = stream.dialect.checksum(bids, asks)
        told = Telling(symbol, bids, asks, 11, 11, 10, now_ns, checksum, is_whole)
        texts.append(stream.dialect.text(told).replace("@NUMBER@", str(stream.number)))
    stream.number += 1
    key = "events" if isinstance(stream.dialect, Coinbase) else "data"
    messages = [orjson.loads(text) for text in texts]
    head = texts[0][: texts[0].index(f'"{key}":[') + len(key) + 4]
    bodies = [text[text.index(f'"{key}":[') + len(key) + 4 :].rpartition("]}")[0] for text in texts]
    assert len(messages) == len(bodies)
    return f"{head}{','.join(bodies)}]}}".encode()


def best(stream: Stream, market: int, is_asks: int = 0) -> tuple[float | Decimal, ...]:
    """The best level that is published of a market: exact price and quantity."""
    assert stream.reader.read(market) > 0
    words = stream.reader.book
    at = L.SLOT_ASKS_AT if is_asks else L.SLOT_BIDS_AT
    info = stream.reader.instruments[market]
    return int(words[at]) * Decimal(info.tick_size), Decimal(int(words[at + 1])).scaleb(-8)


def test_events_of_two_products_are_both_applied_under_one_number() -> None:
    stream = Stream(Coinbase())
    stream.begin()
    before = stream.reader.sequence(0)
    raw = together(stream, (0, [("100", "5")], [], False), (1, [("99.5", "7")], [], False))
    assert stream.frame("v", raw) == S.SEVERAL
    assert stream.states == ["LIVE", "LIVE"]
    assert best(stream, 0) == (100, 5) and stream.reader.sequence(0) == before + 1
    assert best(stream, 1) == (100, 1)
    assert stream.tell(1, 12) == S.APPLIED, "the next number"
    assert [sync.counters.gaps for sync in stream.syncs.values()] == [0, 0]


def test_events_of_one_product_are_applied_in_order() -> None:
    stream = Stream(Coinbase())
    stream.begin()
    raw = together(
        stream, (0, [("100", "5")], [], False), (0, [("100", "6")], [], False),
        (0, [("100.5", "1")], [], False), (0, [("100.5", "0")], [], False),
    )  # fmt: skip
    assert stream.frame("v", raw) == S.SEVERAL
    assert best(stream, 0) == (100, 6) and stream.tell(0, 12, bids=[("100", "8")]) == S.APPLIED
    assert best(stream, 0) == (100, 8)


def test_a_stale_book_is_shown_with_all_of_the_frame_or_not_at_all() -> None:
    """Found by the simulation: the first part made it LIVE, published without the second."""
    stream = Stream(Coinbase())
    stream.begin()
    stream.syncs["BTC-USD"].go_stale("a whim", stream.now_ns)
    before = stream.reader.sequence(0)
    raw = together(stream, (0, [("100", "5")], [], False), (0, [("100", "6")], [], False))
    assert stream.frame("v", raw) == S.SEVERAL and stream.states == ["LIVE", "LIVE"]
    newest = stream.reader.sequence(0)
    for each in range(before + 1, newest + 1):
        assert stream.reader.read_exact(0, each) > 0
        words = stream.reader.book
        assert int(words[L.SLOT_BIDS]) == 0 or int(words[L.SLOT_BIDS_AT + 1]) == 6 * 10**8
    assert best(stream, 0) == (100, 6)


def test_whole_books_come_together_and_a_diff_behind_its_own() -> None:
    stream = Stream(Coinbase())
    stream.connect("v")
    raw = together(stream, *[(market, BIDS, ASKS, True) for market in (0, 1)],
                   (0, [("100", "9")], [], False))  # fmt: skip
    assert stream.frame("v", raw) == S.SEVERAL
    assert stream.states == ["LIVE", "LIVE"] and best(stream, 0) == (100, 9)
    assert best(stream, 1) == (100, 1) and stream.tell(1, 12) == S.APPLIED


def test_a_number_that_is_missing_before_it_breaks_every_book() -> None:
    stream = Stream(Coinbase())
    stream.begin()
    stream.number += 1
    raw = together(stream, (0, [("100", "5")], [], False), (1, [("100", "7")], [], False))
    assert stream.frame("v", raw) == S.GAP
    assert stream.states == ["BUFFERING", "BUFFERING"]


@pytest.mark.parametrize("spoiled", [0, 1])
def test_a_part_that_is_refused_leads_to_a_new_book(spoiled: int) -> None:
    stream = Stream(Coinbase())
    stream.begin()
    raw = together(stream, (0, [("100", "5")], [], False), (1, [("100", "7")], [], False))
    quantity = (b'"5"', b'"7"')[spoiled]
    stream.frame("v", raw.replace(quantity, b'"1.5.5"'))
    assert stream.states[spoiled] == "BUFFERING"
    stream.tell(1 - spoiled, 12)
    assert stream.states[spoiled] == "BUFFERING"


def test_too_many_parts_are_refused() -> None:
    stream = Stream(Coinbase())
    stream.begin()
    raw = together(stream, *[(0, [("100", "5")], [], False)] * (PARTS_MAX + 1))
    assert stream.frame("v", raw) == S.SEVERAL and stream.states == ["BUFFERING", "BUFFERING"]


def test_other_venues_lists_are_taken_apart_too() -> None:
    """Bare numbers stay as they were printed: their digits are in the checksum."""
    stream = Stream(Kraken())
    stream.begin()
    raw = together(stream, (0, [("100", "5.10")], [("101", "1.00")], True), (1, BIDS, ASKS, True))
    assert stream.frame("v", raw) == S.SEVERAL
    assert stream.states == ["LIVE", "LIVE"] and best(stream, 0) == (100, Decimal("5.1"))
    stream = Stream(Okx())
    stream.begin()
    told = Telling(stream.symbols[0], [("100", "5")], [], 0, 11, 10, stream.now_ns)
    both = [stream.dialect.text(each) for each in (told, replace(told, last_id=12, previous_id=11))]
    bodies = [text[text.index("[{") + 1 :].rpartition("]}")[0] for text in both]
    raw = f"{both[0][: both[0].index('[{')]}[{','.join(bodies)}]}}".encode()
    assert stream.frame("v", raw) == S.SEVERAL and stream.states[0] == "LIVE"
    assert stream.engine.book_id(0) == 12


def changed(raw: bytes, rng: random.Random) -> bytes:
    """The frame with a few bytes turned, lost, put in or moved."""
    for _ in range(rng.randrange(1, 3)):
        at, kind = rng.randrange(len(raw)), rng.randrange(4)
        if kind == 0:
            raw = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
        elif kind == 1:
            raw = raw[:at] + raw[at + rng.randrange(1, 3) :]
        elif kind == 2:
            raw = raw[:at] + rng.choice((b"1", b"0", b",", b'"', b"]", b"{}", b"[")) + raw[at:]
        else:
            end = min(at + rng.randrange(1, 40), len(raw))
            to = rng.randrange(len(raw))
            raw = raw[:to] + raw[at:end] + raw[to:]
    return raw


def check_shown(stream: Stream, raw: bytes) -> None:
    """What is LIVE has the levels that another reader finds in the frame, in their order."""
    books = [[dict(pairs(BIDS)), dict(pairs(ASKS))] for _ in stream.symbols]
    for event in orjson.loads(raw)["events"]:
        if event.get("product_id") not in stream.symbols:
            continue
        market = stream.symbols.index(event["product_id"])
        try:
            assert event["type"] in ("update", "snapshot")
            changes = sided(event["updates"])
        except REFUSALS:
            assert stream.states[market] != "LIVE", raw
            continue
        for book, levels in zip(books[market], changes, strict=True):
            if event["type"] == "snapshot":
                book.clear()
            book.update(levels)
    for market, sides in enumerate(books):
        if stream.states[market] != "LIVE":
            continue
        for is_asks, side in enumerate(sides):
            levels = [level for level in side.items() if level[1]]
            wanted = (min if is_asks else max)(levels, default=None)
            assert wanted is None or best(stream, market, is_asks) == wanted, raw


def test_mutants_are_read_rightly_or_not_at_all() -> None:
    rng = random.Random(2)
    lived = refused = several = 0
    for _ in range(MUTANTS):
        stream = Stream(Coinbase())
        stream.begin()
        raw = together(
            stream, (0, [("100", "5")], [], False), (0, [("99", "3"), ("100", "6")], [], False),
            (1, [("100.5", "2")], [], False),
        )  # fmt: skip
        mutant = changed(raw, rng)
        if stream.frame("v", mutant) == S.SEVERAL:
            several += 1
            check_shown(stream, mutant)
        lived += stream.states[0] == "LIVE"
        refused += stream.states[0] != "LIVE"
    assert min(lived, refused, several) > MUTANTS // 20, (lived, refused, several)
