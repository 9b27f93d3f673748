"""Trades in shared memory: a ring an instrument, one writer, readers that may fall behind.

Each place of a ring is a seqlock, as the handoff's slots are (engine.sharing.handoff has the
source). A book's reader wants the latest one; a trade's reader wants each once, so it counts along,
and what was overwritten before it came is *lost*: it knows how many, and goes on with the oldest
that there is. Readers never write, and the writer never waits.
Runs on: the engine thread (writer), any thread of any process (one reader a thread).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from engine.compiling.atomics import (
    Words,
    fence_acquire,
    fence_release,
    load_acquire,
    store_release,
)
from engine.compiling.jit import kernel
from engine.sharing import trades_layout as TL
from engine.sharing.directory import HandoffError
from engine.sharing.segment import (
    READONLY_WORDS,
    OwnedSegment,
    find_segment,
    get_text,
    map_words,
    put_text,
    read_word,
    segment_path,
)

_NOTHING_YET = 0
_OVERWRITTEN = -1


@kernel("int64(int64[::1], int64, int64[::1])")
def put_trade(segment: Words, ring: int, trade: Words) -> int:
    """Write the next trade of a ring; its number. `trade`: shape (TRADE_WORDS,), of which the stamp
    and the number are ours."""
    sequence = load_acquire(segment, ring + TL.RING_SEQUENCE) + 1
    place = ring + TL.RING_TRADES_AT + (sequence % TL.TRADES_MAX) * TL.TRADE_WORDS
    store_release(segment, place + TL.TRADE_STAMP, 2 * sequence - 1)
    fence_release()
    segment[place + TL.TRADE_SEQUENCE] = sequence
    for word in range(TL.TRADE_VENUE, TL.TRADE_WORDS):
        segment[place + word] = trade[word]
    store_release(segment, place + TL.TRADE_STAMP, 2 * sequence)
    store_release(segment, ring + TL.RING_SEQUENCE, sequence)
    store_release(segment, TL.WRITTEN, load_acquire(segment, TL.WRITTEN) + 1)
    return sequence


@kernel(f"int64({READONLY_WORDS}, int64, int64, int64[::1])")
def read_trade(segment: Words, ring: int, sequence: int, out: Words) -> int:
    """Copy one numbered trade into `out`, shape (TRADE_WORDS,); its number, 0 where it is still to
    come, -1 where it was overwritten."""
    if sequence > load_acquire(segment, ring + TL.RING_SEQUENCE):
        return _NOTHING_YET
    place = ring + TL.RING_TRADES_AT + (sequence % TL.TRADES_MAX) * TL.TRADE_WORDS
    if load_acquire(segment, place + TL.TRADE_STAMP) != 2 * sequence:
        return _OVERWRITTEN
    for word in range(TL.TRADE_WORDS):
        out[word] = segment[place + word]
    fence_acquire()
    is_whole = load_acquire(segment, place + TL.TRADE_STAMP) == 2 * sequence
    return sequence if is_whole else _OVERWRITTEN


def ring_at(index: int) -> int:
    """The first word of an instrument's ring."""
    return TL.HEADER_WORDS + index * TL.RING_WORDS


@dataclass(frozen=True)
class Trade:
    """One trade: `units * 10**-decimals`, times in ns since 1970, `side`: BUY or SELL.

    `venue`: the venue's place in the instrument. `sequence`: its number in the ring, the writer's
    to give.
    """

    venue: int
    side: int
    price: tuple[int, int]
    amount: tuple[int, int]
    venue_ns: int
    receive_ns: int
    book_sequence: int
    venue_id: str
    sequence: int = 0


class TradesWriter:
    """Creates and owns the segment. `name=""` keeps it private (replay, tests). HandoffError."""

    def __init__(self, name: str, instruments: int) -> None:
        assert instruments > 0, "a segment without a ring"
        image = np.zeros(TL.HEADER_WORDS + instruments * TL.RING_WORDS, np.int64)
        image[TL.MAGIC_AT] = TL.TRADES_MAGIC
        image[TL.WRITER_PID] = os.getpid()
        image[TL.RINGS] = instruments
        path = segment_path(name, TL.TRADES_KIND) if name else None
        self._segment = OwnedSegment(path, image, TL.VERSION_AT, TL.TRADES_VERSION)
        self.words = self._segment.words
        self._instruments = instruments
        self._trade: Words = np.zeros(TL.TRADE_WORDS, np.int64)

    def put(self, instrument: int, trade: Trade) -> int:
        """Write an instrument's next trade; its number. HandoffError: its id is too long."""
        assert 0 <= instrument < self._instruments and trade.side in (TL.BUY, TL.SELL)
        words = self._trade
        put_text(words, TL.TRADE_ID_AT, trade.venue_id, TL.ID_BYTES_MAX)
        words[TL.TRADE_VENUE] = trade.venue
        words[TL.TRADE_SIDE] = trade.side
        words[TL.TRADE_PRICE_UNITS], words[TL.TRADE_PRICE_DECIMALS] = trade.price
        words[TL.TRADE_AMOUNT_UNITS], words[TL.TRADE_AMOUNT_DECIMALS] = trade.amount
        words[TL.TRADE_VENUE_NS] = trade.venue_ns
        words[TL.TRADE_RECEIVE_NS] = trade.receive_ns
        words[TL.TRADE_BOOK_SEQUENCE] = trade.book_sequence
        return int(put_trade(self.words, ring_at(instrument), words))

    def close(self) -> None:
        """Remove the segment's name, if it is still ours."""
        self._segment.remove()


class TradesReader:
    """A read-only view of a segment, for any number of cursors of one thread."""

    def __init__(self, words: Words) -> None:
        view = words.view()
        view.flags.writeable = False
        if len(view) < TL.HEADER_WORDS or int(view[TL.MAGIC_AT]) != TL.TRADES_MAGIC:
            raise HandoffError("the segment has no Pollux trades")
        version = read_word(view, TL.VERSION_AT)
        if version != TL.TRADES_VERSION:
            text = f"the trades have layout version {version}, this program reads"
            raise HandoffError(f"{text} {TL.TRADES_VERSION}")
        self.instruments = int(view[TL.RINGS])
        if len(view) < TL.HEADER_WORDS + self.instruments * TL.RING_WORDS:
            raise HandoffError("the trades' segment is not as long as its header says")
        self.words = view

    @classmethod
    def attach(cls, name: str) -> TradesReader:
        """Map the segment of a running daemon; HandoffError says why it cannot be."""
        path = find_segment(name, TL.TRADES_KIND, f"no daemon named {name!r} takes trades")
        return cls(map_words(path, "a segment of trades"))

    @property
    def writer_pid(self) -> int:
        return int(self.words[TL.WRITER_PID])

    @property
    def written(self) -> int:
        """Trades written so far, of all instruments together."""
        return read_word(self.words, TL.WRITTEN)

    def count(self, instrument: int) -> int:
        """Trades of an instrument written so far."""
        return read_word(self.words, ring_at(instrument) + TL.RING_SEQUENCE)


class TradesCursor:
    """One reader's place in an instrument's ring: from the next trade on, or with `last` ones."""

    def __init__(self, reader: TradesReader, instrument: int, last: int = 0) -> None:
        assert 0 <= instrument < reader.instruments and 0 <= last < TL.TRADES_MAX
        self.lost = 0
        """Trades that were overwritten before they were read."""
        self._reader, self._instrument = reader, instrument
        self._next = max(1, reader.count(instrument) - last + 1)
        self._out: Words = np.zeros(TL.TRADE_WORDS, np.int64)

    def read(self) -> Trade | None:
        """The next trade; None where there is none yet. Passes over what is lost, and counts it."""
        while True:
            ring = ring_at(self._instrument)
            found = read_trade(self._reader.words, ring, self._next, self._out)
            if found == _NOTHING_YET:
                return None
            if found == self._next:
                self._next += 1
                return _trade(self._out)
            # The oldest place is the one that is written next: go to the one behind it.
            oldest = self._reader.count(self._instrument) - TL.TRADES_MAX + 2
            following = max(self._next + 1, oldest)
            self.lost += following - self._next
            self._next = following


def _trade(words: Words) -> Trade:
    values = words[: TL.TRADE_ID_AT].tolist()
    return Trade(
        venue=values[TL.TRADE_VENUE],
        side=values[TL.TRADE_SIDE],
        price=(values[TL.TRADE_PRICE_UNITS], values[TL.TRADE_PRICE_DECIMALS]),
        amount=(values[TL.TRADE_AMOUNT_UNITS], values[TL.TRADE_AMOUNT_DECIMALS]),
        venue_ns=values[TL.TRADE_VENUE_NS],
        receive_ns=values[TL.TRADE_RECEIVE_NS],
        book_sequence=values[TL.TRADE_BOOK_SEQUENCE],
        venue_id=get_text(words, TL.TRADE_ID_AT, TL.ID_BYTES_MAX),
        sequence=values[TL.TRADE_SEQUENCE],
    )
