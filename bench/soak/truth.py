"""What the simulated venues' books really were, and whether a daemon's books agree.

The truth is written down by the simulator itself, before a frame is sent: for every update id its
stream ever names, the best levels of that very book. A published book names the id each venue's
part stands at; so each one can be judged on its own, whenever it was published.
Runs on: the simulator's thread (`Truth.note`), the watcher's (the rest).
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from bench.soak.spread import Spread
from engine.layout import layout as L
from engine.sharing.handoff import HandoffReader
from net.simulator.mutations import BookFrame, is_book_frame
from net.simulator.server import VenueServer
from net.simulator.source import Message

DEPTH = 10
KEPT_IDS = 4096
"""Several minutes of frames; a book that stands at an older id is called unknown, so wrong."""
ANSWER_LIMIT_S = 10.0
HEAD_LEVELS = 3
LOOK_S = 0.004
STALL_S = 0.1
"""A look that comes so late was held up by the machine, with everything else that runs on it."""
FORGIVING = 0.997
"""Of what is forgiven, how much still is at the next look: half after a second."""

Levels = list[tuple[int, int]]
Rows = list[tuple[int, int, int]]


class Truth:
    """One venue's true best levels by update id, and when each id was born."""

    def __init__(self, server: VenueServer, symbol: str) -> None:
        self._server, self._symbol = server, symbol
        self._loop = asyncio.get_running_loop()
        self._tops: dict[int, tuple[Levels, Levels]] = {}
        self._ids: list[int] = []
        self._born_s: list[float] = []
        for name in ("poll", "pause"):
            setattr(server.feed, name, self._noting(getattr(server.feed, name)))

    def _noting(self, source: Callable[[int], list[Message]]) -> Callable[[int], list[Message]]:
        def wrapped(now_ns: int) -> list[Message]:
            messages = source(now_ns)
            for message in messages:
                self._note(message)
            return messages

        return wrapped

    def _note(self, message: Message) -> None:
        form = self._server.venue.form
        if not is_book_frame(form, message.text):
            return
        book_id = int(BookFrame(form, message.text).body[form.last_id])
        tops = self._top_at(book_id)
        assert tops is not None
        self._tops[book_id] = tops
        # The watcher looks into both lists by the length of the second.
        self._born_s.append(time.monotonic())
        self._ids.append(book_id)
        if len(self._tops) > KEPT_IDS:
            self._tops.pop(next(iter(self._tops)))

    def _top_at(self, book_id: int) -> tuple[Levels, Levels] | None:
        """The best levels as they stood at an id, if the book ever stood there."""
        book = self._server.feed.book(self._symbol)
        assert book is not None
        past = book.as_of(book_id)
        if past.version != book_id:
            return None
        return (
            heapq.nlargest(DEPTH, past.bids.items()),
            heapq.nsmallest(DEPTH, past.asks.items()),
        )

    def top(self, book_id: int) -> tuple[Levels, Levels] | None:
        """For the watcher. Where no frame comes a snapshot is shown alone, at an id between two."""
        known = self._tops.get(book_id)
        if known is None:

            async def look_back() -> tuple[Levels, Levels] | None:
                return self._top_at(book_id)

            with contextlib.suppress(TimeoutError, RuntimeError):
                asked = asyncio.run_coroutine_threadsafe(look_back(), self._loop)
                known = asked.result(ANSWER_LIMIT_S)
        return known

    def born_s(self, book_id: int) -> float | None:
        """When the frame that ends at an id was sent; None where no frame does."""
        at = bisect.bisect_left(self._ids, book_id)
        return self._born_s[at] if at < len(self._ids) and self._ids[at] == book_id else None

    def behind_s(self, book_id: int) -> float:
        """For how long there has been a newer book with another head than this one's."""
        shown = self._tops.get(book_id)
        for at in range(bisect.bisect_right(self._ids, book_id), len(self._ids)):
            top = self._tops.get(self._ids[at])
            if shown is None or top is None or _head(top) != _head(shown):
                return time.monotonic() - self._born_s[at]
        return 0.0


def _head(top: tuple[Levels, Levels]) -> tuple[Levels, Levels]:
    """The best few levels; a published book need not tell more of a venue than these."""
    return top[0][:HEAD_LEVELS], top[1][:HEAD_LEVELS]


@dataclass(frozen=True)
class Lie:
    """A published book, or a silence, that the truth does not bear out."""

    when_s: float
    venues: frozenset[str]
    what: str


@dataclass
class Watcher:
    """Reads every book a daemon publishes and judges it; a thread of its own."""

    name: str
    truths: dict[str, Truth]
    frozen_limit_s: float
    lies: list[Lie] = field(default_factory=list)
    books: int = 0
    missed: int = 0
    stalled_s: float = 0.0
    states: dict[str, str] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    publish_us: Spread = field(default_factory=Spread)
    """From a frame's receipt to the book with it."""
    seen_ms: Spread = field(default_factory=Spread)
    """From a frame's sending to the look that sees its book; looks are LOOK_S apart."""

    def __post_init__(self) -> None:
        self._reader = HandoffReader.attach(self.name)
        self._stop = threading.Event()
        self._forgiven_s = 0.0
        self._thread = threading.Thread(target=self._run, name="watcher")
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # What has left the ring before there was a judge was not missed by it.
        seen = max(self._reader.sequence(0) - L.RING_SLOTS // 2, 0)
        looked_s = time.monotonic()
        while not self._stop.wait(LOOK_S):
            stall_s = time.monotonic() - looked_s - STALL_S
            self.stalled_s += max(stall_s, 0.0)
            # What the machine withheld lately is no freezing of ours; it is forgiven for a while.
            self._forgiven_s = max(self._forgiven_s * FORGIVING, 4 * stall_s)
            looked_s = time.monotonic()
            newest = self._reader.sequence(0)
            while seen < newest:
                seen += 1
                if self._reader.read_exact(0, seen) > 0:
                    self.books += 1
                    self._judge()
                else:
                    self.missed += 1
            self._check_age()

    def _judge(self) -> None:
        book = self._reader.book
        venues = self._reader.instruments[0].venues
        tops: list[tuple[Levels, Levels]] = []
        partial: set[str] = set()
        for index, name in enumerate(venues):
            at = L.SLOT_VENUES_AT + index * L.VENUE_WORDS
            state, book_id = int(book[at + L.VENUE_STATE]), int(book[at + L.VENUE_UPDATE_ID])
            if int(book[at + L.VENUE_FLAGS]) & L.FLAG_INCOMPLETE:
                partial.add(name)
            if state == L.LIVE and book_id != self.ids.get(name):
                self._time(name, book_id)
            self.states[name], self.ids[name] = L.STATE_NAMES[state], book_id
            top = self.truths[name].top(book_id) if state == L.LIVE else ([], [])
            if top is None:
                self._lie({name}, f"stands at {book_id}, where the venue never was")
                return
            tops.append(top)
        for is_asks in range(2):
            shown = self._levels(is_asks)
            wanted = _merged([top[is_asks] for top in tops], is_asks)
            if shown == wanted:
                continue
            guilty = self._guilty(shown, wanted, [top[is_asks] for top in tops], partial, is_asks)
            if not guilty and partial:
                continue
            side = "asks" if is_asks else "bids"
            same = [ours == true for ours, true in zip(shown, wanted, strict=False)]
            at = same.index(False) if False in same else len(same)
            rows = f"{shown[at : at + 3]}, in truth {wanted[at : at + 3]}"
            self._lie(guilty or set(venues), f"{side} from level {at + 1} of {len(shown)} {rows}")

    def _guilty(
        self, shown: Rows, wanted: Rows, true: list[Levels], partial: set[str], is_asks: int
    ) -> set[str]:
        """Whose levels are false; where nobody's are, whose are missing.

        One's false levels push another's out of sight. A venue that is said to be known in part
        may miss some.
        """
        false, missing = set(), set()
        for index, name in enumerate(self._reader.instruments[0].venues):
            part, side = [row[:2] for row in shown if row[2] == index], true[index]
            if name in partial:
                if any(row not in side for row in part if _is_within(row, side, is_asks)):
                    false.add(name)
            elif part != side[: len(part)]:
                false.add(name)
            elif len(part) < sum(row[2] == index for row in wanted):
                missing.add(name)
        return false or missing

    def _time(self, name: str, book_id: int) -> None:
        """How late a venue's new part of a book is; of a snapshot's there is nothing to say."""
        born_s = self.truths[name].born_s(book_id)
        receive_ns = int(self._reader.book[L.SLOT_RECEIVE_NS])
        if born_s is not None and receive_ns > 0:
            self.seen_ms.add(1e3 * (time.monotonic() - born_s))
            self.publish_us.add((int(self._reader.book[L.SLOT_PUBLISH_NS]) - receive_ns) / 1e3)

    def _levels(self, is_asks: int) -> list[tuple[int, int, int]]:
        book = self._reader.book
        count = int(book[L.SLOT_ASKS if is_asks else L.SLOT_BIDS])
        at = L.SLOT_ASKS_AT if is_asks else L.SLOT_BIDS_AT
        words = book[at : at + count * L.LEVEL_WORDS].tolist()
        levels = zip(words[0::3], words[1::3], words[2::3], strict=True)
        first = self._reader.instruments[0]
        info = first.counted_as(book)
        if info is first:
            return list(levels)
        # The truth is in the units of the start; a price between two of them is no true one.
        tick = Fraction(info.tick_size) / Fraction(first.tick_size)
        lot = Fraction(10) ** (first.lot_decimals - info.lot_decimals)
        return [(_whole(price * tick), _whole(lots * lot), venue) for price, lots, venue in levels]

    def _check_age(self) -> None:
        for name, state in self.states.items():
            behind_s = self.truths[name].behind_s(self.ids[name])
            if state == "LIVE" and behind_s > self.frozen_limit_s + self._forgiven_s:
                self._lie({name}, f"has shown an old book for {behind_s:.2f} s")

    def _lie(self, venues: set[str], what: str) -> None:
        text = f"{'+'.join(sorted(venues))}: {what}"
        self.lies.append(Lie(time.monotonic(), frozenset(venues), text))


def _whole(number: Fraction) -> int:
    """A number as it is if it is whole, else one that no level of the truth has."""
    return number.numerator if number.denominator == 1 else -1


def _is_within(row: tuple[int, int], side: Levels, is_asks: int) -> bool:
    """Whether a level is at least as good as the worst that is known of the truth."""
    return bool(side) and (row[0] <= side[-1][0] if is_asks else row[0] >= side[-1][0])


def _merged(sides: list[Levels], is_asks: int) -> list[tuple[int, int, int]]:
    rows = [(price, lots, venue) for venue, side in enumerate(sides) for price, lots in side]
    rows.sort(key=lambda row: (row[0] if is_asks else -row[0], -row[1], row[2]))
    return rows[:DEPTH]
