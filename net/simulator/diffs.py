"""What venues of market data alone broadcast: diffs of one channel a market, and whole books.

A whole book is the one that the last diff left, so that the next diff follows it. The channel is
the market's symbol.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from net.simulator.clock import NS_PER_MS, NS_PER_US
from net.simulator.flow import Step
from net.simulator.market import Trade
from net.simulator.options import InstrumentText
from net.simulator.plain_book import Levels, PlainBook
from net.simulator.publisher import Pending, Publisher
from net.simulator.source import Message


def trades_channel(symbol: str) -> str:
    """The channel of a market's trades, beside that of its diffs, which is its symbol."""
    return f"trades of {symbol}"


class DiffPublisher(Publisher):
    """One market's diffs, each `intervals_ns[0]`."""

    intervals_ns = (100 * NS_PER_MS,)

    def _first_version(self, start_ns: int) -> int:
        self.sent_version = start_ns // NS_PER_US
        self.sent_ns = start_ns
        return self.sent_version

    def _step(self, step: Step, out: list[Message]) -> None:
        for side, price_ticks, qty_lots in step.changes:
            version = self.book.version + 1
            self.book.set_level(version, side, price_ticks, qty_lots)
            self._pending[0].note(version, side, price_ticks, qty_lots)
        channel = trades_channel(self._symbol)
        if step.trades and channel in self._active:
            out.append(Message(channel, self.trades(step.trades)))

    def _broadcast(self, index: int, time_ns: int, out: list[Message]) -> None:
        pending = self._pending[0]
        if not pending:
            return
        self.sent_ns = time_ns
        text = self.diff(pending, time_ns)
        self.sent_version, self._pending[0] = pending.last_id, Pending()
        if text and self._symbol in self._active:
            out.append(Message(self._symbol, text))

    def sent_book(self) -> PlainBook:
        """The book as the last diff left it."""
        return self.book.as_of(self.sent_version)

    def trades(self, trades: Sequence[Trade]) -> str:
        """A message of trades that happened at one moment."""
        raise AssertionError("no trades are simulated here")

    @abstractmethod
    def diff(self, pending: Pending, time_ns: int) -> str:
        """A diff from `sent_version` to the pending one; empty where none is sent."""

    def whole(self) -> str:
        """The whole book as a message of the stream; empty where it comes by REST."""
        return ""


def rows(text: InstrumentText, levels: Levels, *more: str, strips: bool = False) -> str:
    """Levels as arrays of texts, with more behind; `strips`: without zeros at their end."""
    tail = "".join(f',"{each}"' for each in more)

    def short(number: str) -> str:
        return number.rstrip("0").rstrip(".") if strips and "." in number else number

    written = [f'["{short(text.price(p))}","{short(text.qty(q))}"{tail}]' for p, q in levels]
    return "[" + ",".join(written) + "]"


def sides_of(pending: Pending) -> tuple[Levels, Levels]:
    """What is pending, best first."""
    return sorted(pending.bids.items(), reverse=True), sorted(pending.asks.items())
