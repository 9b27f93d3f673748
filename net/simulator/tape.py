"""The tape as a source: recorded frames at their pace, and a book to answer REST from at any time.

Invariants: texts go out untouched and in recorded order; the clock stands still until the first
client subscribes to something the tape has; the book joins the recorded snapshot and the diffs by
the exchanges' documented procedure, so a REST answer belongs to the stream's position.

How a body that is too old to be joined (its stamp is before the first recorded diff) is healed: the
next recorded body knows every level that no diff touched in between, the old one the rest. The book
built so equals the next body exactly when the tape reaches it.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from net.simulator.clock import monotonic_s
from net.simulator.market import ASK, BID
from net.simulator.plain_book import PlainBook
from net.simulator.source import Feed, Message
from net.simulator.tape_file import Depth, TapeLine, TextPairs, VenueTape, levels
from net.simulator.venue import SimulatedVenue

BATCH_LINES_MAX = 512  # lines played in one poll when unpaced, before clients get their turn
BODY_WAIT_S_MAX = 15.0  # a REST answer is held until its recorded time, this long at most
BODY_POLL_S = 0.005
JOIN_FRAMES_MAX = 4096  # diffs kept until a snapshot joins them: minutes of the busiest stream


class TapeClock:
    """Where the tape is: shared by its venues, started by the first subscription."""

    def __init__(self, speed: float, origin_ns: int, delay_s: float) -> None:
        self.speed = speed
        self.origin_ns = origin_ns
        self._delay_s = delay_s
        self._start_s: float | None = None

    @property
    def started(self) -> bool:
        """True after the first subscription."""
        return self._start_s is not None

    def start(self) -> None:
        """The first frame is due `delay_s` real seconds from now."""
        if self._start_s is None:
            self._start_s = monotonic_s() + self._delay_s

    def position_ns(self) -> int | None:
        """The recorded time that is due now; None before the first frame."""
        if self._start_s is None or (elapsed_s := monotonic_s() - self._start_s) < 0:
            return None
        return self.origin_ns + int(elapsed_s * self.speed * 1e9)


class TapeBook:
    """One symbol's book, joined as a client would join it."""

    def __init__(self, price_decimals: int, gap_free: bool) -> None:
        self.book: PlainBook | None = None
        self._price_decimals = price_decimals
        self._gap_free = gap_free  # update ids show gaps, stamps do not
        self._recent: deque[Depth] = deque(maxlen=JOIN_FRAMES_MAX)

    def start_from(self, base: Depth) -> None:
        """Begin with a known book, whatever the ids say."""
        self.book = PlainBook()
        self.book.load(base.last, self._side(BID, base.bids), self._side(ASK, base.asks))

    def on_diff(self, diff: Depth) -> None:
        """A recorded diff. A gap in it loses the book until the next recorded body."""
        if self._gap_free and self._recent and diff.first != self._recent[-1].last + 1:
            self._recent.clear()
        if self.book is None:
            self._recent.append(diff)
            return
        if self._gap_free and diff.first > self.book.version + 1:
            self.book = None
            self._recent.clear()
            self._recent.append(diff)
        elif diff.last > self.book.version:
            self._apply(self.book, diff)

    def on_body(self, body: Depth) -> None:
        """A recorded body; used if there is no book and the diffs join it."""
        if self.book is not None:
            return
        if self._recent and body.last + (1 if self._gap_free else 0) < self._recent[0].first:
            return
        self.start_from(body)
        assert self.book is not None
        for diff in self._recent:
            if diff.last > self.book.version:
                self._apply(self.book, diff)
        self._recent.clear()

    def _apply(self, book: PlainBook, diff: Depth) -> None:
        for side, pairs in ((BID, diff.bids), (ASK, diff.asks)):
            for _, price_ticks, qty_lots in levels(side, pairs, self._price_decimals):
                book.set_level(diff.last, side, price_ticks, qty_lots)
        book.version = diff.last

    def _side(self, side: int, pairs: TextPairs) -> Iterable[tuple[int, int]]:
        return [(price, qty) for _, price, qty in levels(side, pairs, self._price_decimals)]


def heal(stale: Depth, later: Depth, diffs: list[Depth]) -> Depth:
    """The book before `diffs`, from a body older than them and one that includes them."""
    between = [diff for diff in diffs if diff.last <= later.last]

    def side(old: TextPairs, new: TextPairs, changes: list[TextPairs]) -> TextPairs:
        touched = {pair[0] for pairs in changes for pair in pairs}
        return [pair for pair in old if pair[0] in touched] + [
            pair for pair in new if pair[0] not in touched
        ]

    return Depth(
        stale.first,
        stale.last,
        side(stale.bids, later.bids, [diff.bids for diff in between]),
        side(stale.asks, later.asks, [diff.asks for diff in between]),
    )


class TapeFeed(Feed):
    """One venue's part of a tape."""

    def __init__(self, venue: SimulatedVenue, tape: VenueTape, clock: TapeClock) -> None:
        super().__init__(tape.instruments)
        self.paced = clock.speed > 0
        self._clock = clock
        self._lines = tape.lines
        self._next = 0
        self._channels = {line.channel for line in tape.lines if line.channel}
        self._paused_at_ns: int | None = None
        self._offset_ns = 0
        gap_free = bool(venue.form.first_id)
        self._books = {
            symbol: TapeBook(instrument.price_decimals, gap_free)
            for symbol, instrument in tape.instruments.items()
        }
        self._first_bodies: dict[str, int] = {}  # symbol to line index, until it was served
        for symbol, book in self._books.items():
            self._prepare(symbol, book, gap_free)

    def _prepare(self, symbol: str, book: TapeBook, gap_free: bool) -> None:
        mine = [(index, line) for index, line in enumerate(self._lines) if line.symbol == symbol]
        bodies = [(index, line.depth) for index, line in mine if not line.channel and line.depth]
        diffs = [line.depth for _, line in mine if line.channel and line.depth]
        if not bodies:
            return
        self._first_bodies[symbol] = bodies[0][0]
        stale = bodies[0][1]
        if not diffs or stale.last + (1 if gap_free else 0) >= diffs[0].first:
            return
        later = [body for _, body in bodies[1:] if body.last >= diffs[0].first]
        book.start_from(heal(stale, later[0], diffs) if later and not gap_free else stale)

    # -- the feed ------------------------------------------------------------------------------

    def subscribed(self, channel: str) -> None:
        """Starts the tape if it has this channel."""
        super().subscribed(channel)
        if channel in self._channels:
            self._clock.start()

    def poll(self, now_ns: int) -> list[Message]:
        """Play what is due; when unpaced, a batch."""
        position_ns = self._clock.position_ns()
        if position_ns is None or self._paused_at_ns is not None:
            return []
        out: list[Message] = []
        last = (
            len(self._lines) if self.paced else min(len(self._lines), self._next + BATCH_LINES_MAX)
        )
        while self._next < last:
            line = self._lines[self._next]
            if self.paced and line.due_ns > position_ns - self._offset_ns:
                break
            self._next += 1
            self._play(line, out)
        return out

    def _play(self, line: TapeLine, out: list[Message]) -> None:
        if line.channel in self.active:
            out.append(Message(line.channel, line.text, None, line.wrapped))
        if line.depth is not None:
            book = self._books[line.symbol]
            if line.channel:
                book.on_diff(line.depth)
            else:
                book.on_body(line.depth)

    def pause(self, now_ns: int) -> list[Message]:
        """Everything due has been sent; nothing is ever pending in a tape."""
        out = self.poll(now_ns)
        self._paused_at_ns = self._clock.position_ns() or self._clock.origin_ns
        return out

    def resume(self, now_ns: int) -> None:
        """Continue where it stopped."""
        if self._paused_at_ns is not None:
            position_ns = self._clock.position_ns() or self._clock.origin_ns
            self._offset_ns += position_ns - self._paused_at_ns
            self._paused_at_ns = None

    def book(self, venue_symbol: str) -> PlainBook | None:
        """The book at the stream's position."""
        return self._books[venue_symbol].book

    def tape_book(self, venue_symbol: str) -> TapeBook:
        """The joining book itself."""
        return self._books[venue_symbol]

    async def recorded_body(self, venue_symbol: str) -> str | None:
        """The first body, once, when its time has come; before the tape starts, at any time."""
        index = self._first_bodies.get(venue_symbol)
        if index is None:
            return None
        if not self._clock.started:
            return self._lines[index].text
        give_up_s = monotonic_s() + BODY_WAIT_S_MAX
        while self._next <= index and monotonic_s() < give_up_s:
            await asyncio.sleep(BODY_POLL_S)
        if self._next <= index or self._first_bodies.pop(venue_symbol, None) is None:
            return None
        return self._lines[index].text

    @property
    def exhausted(self) -> bool:
        """True at the end."""
        return self._next >= len(self._lines)


def origin_ns(tapes: Iterable[VenueTape]) -> int:
    """When the recording's first frame came; what a recorder did before is skipped."""
    return min((line.due_ns for tape in tapes for line in tape.lines), default=0)
