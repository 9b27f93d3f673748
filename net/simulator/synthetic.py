"""The synthetic source: markets of one venue, each a matching engine with a crowd, as a feed.

Invariants: those of flow.py and publisher.py; time stops in this venue while it is paused and is
skipped, not caught up, afterwards.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

from net.simulator.flow import CommonPrice, MarketFlow, Step
from net.simulator.options import parse_symbols
from net.simulator.plain_book import PlainBook
from net.simulator.publisher import Publisher
from net.simulator.source import Feed, Message
from net.simulator.venue import SimulatedVenue

CATCH_UP_MAX_NS = 5_000_000_000  # a suspended laptop must not replay the night when it wakes


class _Market:
    def __init__(self, flow: MarketFlow, publisher: Publisher) -> None:
        self.flow = flow
        self.publisher = publisher


class SyntheticFeed(Feed):
    """Every symbol of one venue."""

    def __init__(
        self,
        venue: SimulatedVenue,
        symbols: tuple[str, ...],
        prices: dict[str, CommonPrice],
        *,
        seed: int,
        start_ns: int,
        far_levels_share: float = 1.0,
    ) -> None:
        found = [venue.instrument(base, quote) for base, quote in parse_symbols(symbols)]
        super().__init__({each.venue_symbol: each for each in found})
        self._paused = False
        self._last_ns = start_ns
        self._markets: dict[str, _Market] = {}
        for name, instrument in self.instruments.items():
            flow = MarketFlow(
                venue.profile,
                instrument,
                venue.name,
                common=prices[instrument.symbol],
                seed=seed,
                start_ns=start_ns,
                far_levels_share=far_levels_share,
            )
            publisher = venue.publisher(instrument, flow.engine, start_ns, self.active)
            self._markets[name] = _Market(flow, publisher)

    def market(self, venue_symbol: str) -> MarketFlow:
        """One market's engine and crowd (for tests and for order entry)."""
        return self._markets[venue_symbol].flow

    def publisher(self, venue_symbol: str) -> Publisher:
        """What broadcasts one market."""
        return self._markets[venue_symbol].publisher

    def taken(self, venue_symbol: str) -> list[Message]:
        """What to publish of the changes that a client's order made since the last event.

        In a paused venue it is broadcast at once, so that streams and REST still agree.
        """
        market = self._markets[venue_symbol]
        out = market.publisher.note(Step(self._last_ns, *market.flow.engine.drain()))
        return out + market.publisher.flush(self._last_ns) if self._paused else out

    def advance(self, now_ns: int) -> list[Message]:
        """Run the markets up to `now_ns`, however far that is."""
        out: list[Message] = []
        for market in self._markets.values():
            out += market.publisher.run(market.flow, now_ns)
        self._last_ns = max(self._last_ns, now_ns)
        return out

    def poll(self, now_ns: int) -> list[Message]:
        """Run up to now; a gap longer than CATCH_UP_MAX_NS is skipped."""
        if self._paused:
            return []
        if now_ns - self._last_ns > CATCH_UP_MAX_NS:
            self._skip_to(now_ns)
        return self.advance(now_ns)

    def pause(self, now_ns: int) -> list[Message]:
        """Stop and broadcast what is pending."""
        out = self.poll(now_ns)
        self._paused = True
        for market in self._markets.values():
            out += market.publisher.flush(self._last_ns)
        return out

    def resume(self, now_ns: int) -> None:
        """Go on from now; nothing happened in between."""
        if self._paused:
            self._paused = False
            self._skip_to(now_ns)

    def book(self, venue_symbol: str) -> PlainBook:
        """The true book."""
        return self._markets[venue_symbol].publisher.book

    def position_ns(self, now_ns: int) -> int:
        """Simulated time of the last advance."""
        return self._last_ns

    def _skip_to(self, now_ns: int) -> None:
        for market in self._markets.values():
            market.flow.skip_to(now_ns)
            market.publisher.skip_to(now_ns)
        self._last_ns = now_ns
