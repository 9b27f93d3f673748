"""Turns book changes into the frames an exchange broadcasts: what all exchanges do alike.

Invariants: broadcasts keep to their intervals of simulated time; a frame that would be empty is not
sent. Key order and spacing are those of recorded frames.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from net.simulator.flow import MarketFlow, Step
from net.simulator.market import BID, MatchingEngine
from net.simulator.options import InstrumentText, VenueInstrument
from net.simulator.plain_book import PlainBook
from net.simulator.source import Message


class Pending:
    """Levels that changed since a stream's last frame."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.first_id = 0
        self.last_id = 0

    def note(self, version: int, side: int, price_ticks: int, qty_lots: int) -> None:
        """Remember a level's newest total."""
        if not self.first_id:
            self.first_id = version
        self.last_id = version
        (self.bids if side == BID else self.asks)[price_ticks] = qty_lots

    def __bool__(self) -> bool:
        return self.last_id != 0

    def sides(self, text: InstrumentText) -> tuple[str, str]:
        """Both sides as JSON, best first, as recorded."""
        bids = text.levels(sorted(self.bids.items(), reverse=True))
        return bids, text.levels(sorted(self.asks.items()))


class Publisher(ABC):
    """One instrument's broadcasts."""

    intervals_ns: tuple[int, ...]

    def __init__(
        self,
        instrument: VenueInstrument,
        engine: MatchingEngine,
        start_ns: int,
        active: dict[str, int],
    ) -> None:
        self.book = PlainBook()
        self._engine = engine
        self._symbol = instrument.venue_symbol
        self._text = InstrumentText(instrument)
        self._active = active
        self._pending = [Pending() for _ in self.intervals_ns]
        self._sent: dict[str, str] = {}  # the last whole top of a channel
        self._best = engine.bids.best_level(), engine.asks.best_level()
        self.book.load(
            self._first_version(start_ns),
            engine.bids.top(len(engine.bids.levels)),
            engine.asks.top(len(engine.asks.levels)),
        )
        self._due_ns = [start_ns + interval for interval in self.intervals_ns]

    def run(self, flow: MarketFlow, now_ns: int) -> list[Message]:
        """Let the market run up to `now_ns` and publish, everything in order of time."""
        out: list[Message] = []
        while (event_ns := flow.next_event_ns(now_ns)) is not None:
            self._boundaries(event_ns - 1, out)  # before the event touches the engine's book
            step = flow.execute_next()
            if step.changes:
                self._step(step, out)
        self._boundaries(now_ns, out)
        return out

    def note(self, step: Step) -> list[Message]:
        """Publish what happened outside the flow: a client's order that took from the book."""
        out: list[Message] = []
        if step.changes:
            self._step(step, out)
        return out

    def flush(self, now_ns: int) -> list[Message]:
        """Broadcast at once what is pending."""
        out: list[Message] = []
        for index in range(len(self.intervals_ns)):
            self._broadcast(index, now_ns, out)
        return out

    def _boundaries(self, now_ns: int, out: list[Message]) -> None:
        while (due_ns := min(self._due_ns)) <= now_ns:
            index = self._due_ns.index(due_ns)
            self._broadcast(index, due_ns, out)
            self._due_ns[index] += self.intervals_ns[index]

    def skip_to(self, now_ns: int) -> None:
        """Let broadcast times up to `now_ns` pass."""
        for index, interval_ns in enumerate(self.intervals_ns):
            missed = max(0, (now_ns - self._due_ns[index]) // interval_ns + 1)
            self._due_ns[index] += missed * interval_ns

    @abstractmethod
    def _first_version(self, start_ns: int) -> int:
        """Of the book that the market starts with."""

    @abstractmethod
    def _step(self, step: Step, out: list[Message]) -> None: ...

    @abstractmethod
    def _broadcast(self, index: int, time_ns: int, out: list[Message]) -> None: ...
