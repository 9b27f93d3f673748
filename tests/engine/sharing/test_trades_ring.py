"""The ring of trades: each once, in order, and a reader that was overrun knows how many it lost."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from engine.sharing import trades_layout as TL
from engine.sharing.directory import HandoffError
from engine.sharing.trades_ring import Trade, TradesCursor, TradesReader, TradesWriter, ring_at

TRADE = Trade(
    venue=1,
    side=TL.SELL,
    price=(6_400_012_345, 5),
    amount=(12, 8),
    venue_ns=1_790_000_000_000_000_001,
    receive_ns=1_790_000_000_005_000_002,
    book_sequence=77,
    venue_id="20f43950-d8dd-5b31-9112-a178eb6023af",
)


def numbered(number: int) -> Trade:
    """A trade whose words all follow from its number, so that a mixture of two shows."""
    return replace(TRADE, price=(number, 2), amount=(3 * number, 8), venue_id=f"t{number}")


def pair(instruments: int = 2) -> tuple[TradesWriter, TradesReader]:
    writer = TradesWriter("", instruments)
    return writer, TradesReader(writer.words)


def test_a_trade_is_read_as_it_was_written_and_once() -> None:
    writer, reader = pair()
    cursor, other = TradesCursor(reader, 1), TradesCursor(reader, 0)
    assert cursor.read() is None
    assert writer.put(1, TRADE) == 1
    assert cursor.read() == replace(TRADE, sequence=1)
    assert cursor.read() is None and other.read() is None
    assert cursor.lost == 0 and (reader.count(1), reader.count(0), reader.written) == (1, 0, 1)


def test_a_cursor_begins_with_the_next_trade_or_with_some_past_ones() -> None:
    writer, reader = pair()
    for number in range(1, 6):
        writer.put(0, numbered(number))
    fresh, past, more = (TradesCursor(reader, 0, last) for last in (0, 2, 100))
    writer.put(0, numbered(6))
    for cursor, wanted in ((fresh, [6]), (past, [4, 5, 6]), (more, [1, 2, 3, 4, 5, 6])):
        got = [trade.sequence for trade in iter(cursor.read, None)]
        assert got == wanted and cursor.lost == 0


@pytest.mark.parametrize("too_many", [0, 1, 2, 700, 3 * TL.TRADES_MAX])
def test_a_reader_that_was_overrun_knows_how_many_it_lost(too_many: int) -> None:
    writer, reader = pair()
    cursor = TradesCursor(reader, 0)
    count = TL.TRADES_MAX + too_many
    for number in range(1, count + 1):
        writer.put(0, numbered(number))
    got = [trade.sequence for trade in iter(cursor.read, None)]
    assert got == list(range(count - len(got) + 1, count + 1)), "the newest, without a hole"
    assert cursor.lost + len(got) == count, "each was read or lost"
    assert len(got) >= TL.TRADES_MAX - 1


def test_a_place_that_is_just_being_written_counts_as_lost() -> None:
    writer, reader = pair()
    cursor = TradesCursor(reader, 0)
    for number in (1, 2):
        writer.put(0, numbered(number))
    place = ring_at(0) + TL.RING_TRADES_AT + TL.TRADE_WORDS
    writer.words[place + TL.TRADE_STAMP] = 2 * (1 + TL.TRADES_MAX) - 1
    found = cursor.read()
    assert found is not None and found.sequence == 2 and cursor.lost == 1


def test_no_trade_is_ever_a_mixture_while_a_writer_laps_its_reader() -> None:
    writer, reader = pair(1)
    cursor = TradesCursor(reader, 0)
    count = 20_000
    thread = threading.Thread(
        target=lambda: [writer.put(0, numbered(number)) for number in range(1, count + 1)]
    )
    thread.start()
    seen = before = 0
    while before < count:
        trade = cursor.read()
        if trade is not None:
            assert trade == replace(numbered(trade.sequence), sequence=trade.sequence)
            assert trade.sequence > before
            seen, before = seen + 1, trade.sequence
    thread.join()
    assert seen + cursor.lost == count


def test_an_id_that_has_no_room_and_a_segment_of_another_kind_are_refused() -> None:
    writer, _ = pair()
    with pytest.raises(HandoffError, match="longer than 40 bytes"):
        writer.put(0, replace(TRADE, venue_id="x" * 41))
    with pytest.raises(HandoffError, match="no Pollux trades"):
        TradesReader(np.zeros(len(writer.words), np.int64))
    with pytest.raises(HandoffError, match="not as long"):
        TradesReader(writer.words[:-1])
    with pytest.raises(HandoffError, match="takes trades"):
        TradesReader.attach("no-such-daemon")
