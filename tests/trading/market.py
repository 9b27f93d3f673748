"""A small crowd at one venue: a few levels around a price that walks, and who trades with them.

The book is the simulator's own matching engine, so that our orders wait in its queue. What happens
to it is told as frames of the venue's own form, to the engine under test.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random

from net.simulator.flow import MarketFlow, Step
from net.simulator.market import ASK, BID, LevelChange, MatchingEngine
from net.simulator.options import LOTS_PER_UNIT, InstrumentText, VenueInstrument
from net.simulator.synthetic import SyntheticFeed
from tests.engine.rig import binance_frame, binance_snapshot, bitstamp_frame, bitstamp_snapshot

CROWD = "crowd"
LEVELS = 5
MIDDLE_UNITS = 6_000_000
"""Where the price begins."""
GAP_UNITS = 500
"""Between two levels: about a basis point."""
LEVEL_UNITS = (0.05, 0.5)
"""The crowd's quantity at a price, in the base currency."""
TAKER_SHARE = 0.5
"""Of the moments at which the price stays: somebody takes."""


class Flow(MarketFlow):
    """A matching engine whose crowd is elsewhere."""

    def __init__(self) -> None:
        self.engine = MatchingEngine()
        self.observer = None


class Crowd(SyntheticFeed):
    """One venue's market; its time is moved by `move` alone. `tick_units`: units in a tick."""

    def __init__(self, instrument: VenueInstrument, tick_units: int, rng: random.Random) -> None:
        self.instruments = {instrument.venue_symbol: instrument}
        self.flow = Flow()
        self._text = InstrumentText(instrument)
        self._is_binance = instrument.venue_symbol.isupper()
        self._symbol = instrument.venue_symbol
        self._tick_units = tick_units
        self._step_lots = instrument.qty_step_lots
        self._rng = rng
        self._middle_units = 0
        self._orders: dict[tuple[int, int], int] = {}
        """By side and price."""
        self.last_id = 0

    def market(self, venue_symbol: str) -> MarketFlow:
        return self.flow

    def poll(self, now_ns: int) -> list[object]:  # type: ignore[override]
        return []

    def taken(self, venue_symbol: str) -> list[object]:  # type: ignore[override]
        return []

    def move(self, middle_units: int, now_ns: int) -> bytes | None:
        """The price is there now, or somebody takes; the frame that tells of it."""
        if middle_units != self._middle_units:
            self._reprice(middle_units, now_ns)
        elif self._rng.random() < TAKER_SHARE:
            side, levels = self._rng.choice((BID, ASK)), self._rng.choice((1, 3, LEVELS))
            self.flow.engine.submit(CROWD, side, self._lots() * levels, now_ns)
        changes, trades = self.flow.engine.drain()
        if self.flow.observer is not None:
            self.flow.observer(Step(now_ns, changes, trades))
        return self._frame(changes, now_ns) if changes else None

    def _reprice(self, middle_units: int, now_ns: int) -> None:
        """Keep what is on the grid around the new price, cancel the rest, and fill the gaps."""
        self._middle_units = middle_units
        engine, half = self.flow.engine, GAP_UNITS // 2
        wanted = set()
        for side, edge in ((BID, (middle_units - half) // GAP_UNITS),
                           (ASK, -((-middle_units - half) // GAP_UNITS))):  # fmt: skip
            for level in range(LEVELS):
                wanted.add((side, (edge - side * level) * GAP_UNITS // self._tick_units))
        for place in self._orders.keys() - wanted:
            engine.cancel(self._orders.pop(place))
        for side, ticks in sorted(wanted):
            if self._orders.get((side, ticks)) not in engine.orders:
                order = engine.submit(CROWD, side, self._lots(), now_ns, price_ticks=ticks)
                self._orders[side, ticks] = order.order_id

    def _lots(self) -> int:
        units = self._rng.uniform(*LEVEL_UNITS)
        return int(units * LOTS_PER_UNIT) // self._step_lots * self._step_lots

    # --- what is told of it ----------------------------------------------------------------------

    def snapshot(self, now_ns: int) -> bytes:
        """The whole book."""
        self.last_id = self._next_id(now_ns)
        engine, texts = self.flow.engine, self._texts
        bids, asks = texts(engine.bids.top(LEVELS)), texts(engine.asks.top(LEVELS))
        make = binance_snapshot if self._is_binance else bitstamp_snapshot
        return make(self.last_id, bids, asks)

    def _frame(self, changes: list[LevelChange], now_ns: int) -> bytes:
        last = {(change.side, change.price_ticks): change.qty_lots for change in changes}
        sides = [
            self._texts([(price, lots) for (side, price), lots in last.items() if side == wanted])
            for wanted in (BID, ASK)
        ]
        first_id, self.last_id = self.last_id + 1, self._next_id(now_ns)
        if self._is_binance:
            return binance_frame(first_id, self.last_id, *sides, symbol=self._symbol)
        return bitstamp_frame(self.last_id, *sides, pair=self._symbol)

    def _next_id(self, now_ns: int) -> int:
        return self.last_id + 1 if self._is_binance else max(self.last_id + 1, now_ns // 1_000)

    def _texts(self, levels: list[tuple[int, int]]) -> list[tuple[str, str]]:
        return [(self._text.price(price), self._text.qty(lots)) for price, lots in levels]
