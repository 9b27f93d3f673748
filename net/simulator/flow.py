"""Random order flow: a common moving price, and per venue a crowd that trades around it.

Invariants: the state at a simulated time depends only on the seed, the time base and the calls of
`skip_to`, never on how often anybody asks in between; the crowd's own orders never cross the book
except through the matching engine.
The figures are in net/simulator/calibration.py.
Runs on: the simulator's event loop; no I/O and no clock.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from net.simulator.calibration import (
    DEFAULT_PRICE,
    FAR_PRICE_MAX,
    FAR_PRICE_MIN,
    MOVE_BPS,
    MOVE_PROBABILITY,
    QTY_REFERENCE_PRICE,
    START_PRICES,
    TRADE_QTY_UNITS,
    FlowProfile,
)
from net.simulator.market import ASK, BID, LevelChange, MatchingEngine, Trade
from net.simulator.options import LOTS_PER_UNIT, VenueInstrument

SLICE_NS = 100_000_000  # rates are drawn once per slice
PATH_SLICES_MAX = 36_000  # an hour of the common price, for a venue that lags or was paused
CROWD = "crowd"
SEED_BOOK = "seed"
STALE_CANCEL_SHARE = 0.6  # of orders the price ran over; the rest are traded against
SWEEP_UNITS_MAX = 50.0  # one sweep's quantity: above any recorded touch, below a far wall
BPS = 1e-4
REFILL_ORDERS = 3  # a new touch is rebuilt by this many orders a side
POOL_SWEEP_SLICES = 32  # how often orders that were filled are dropped from the pool
MOVE_BPS_MEAN = 0.68  # a move of this size is the one that boosts the rate by `move_boost`

_REPRICE, _ADD, _CANCEL, _RESIZE, _MARKET, _REFILL = range(6)


def generator(seed: int, *labels: str) -> np.random.Generator:
    """An independent stream of randomness for each set of labels."""
    return np.random.default_rng([seed, *(zlib.crc32(label.encode()) for label in labels)])


class CommonPrice:
    """The moving price all venues of one symbol follow: a path on the grid of slices."""

    def __init__(self, seed: int, symbol: str) -> None:
        self._generator = generator(seed, symbol, "common price")
        base = symbol.partition("-")[0]
        self.start_price = START_PRICES.get(base, DEFAULT_PRICE)
        self._path: deque[float] = deque([self.start_price], maxlen=PATH_SLICES_MAX)
        self._newest = 0

    def at(self, slice_index: int) -> float:
        """Price in quote units; slices older than the kept path give its oldest price."""
        while self._newest < slice_index:
            price = self._path[-1]
            draws = self._generator.random(2)
            if draws[0] < MOVE_PROBABILITY:
                move = float(MOVE_BPS.draw(self._generator, 1)[0]) * BPS
                price *= 1.0 + (move if draws[1] < 0.5 else -move)
            self._path.append(price)
            self._newest += 1
        return self._path[max(0, len(self._path) - 1 - (self._newest - max(0, slice_index)))]


class Step(NamedTuple):
    """What one event did to the book."""

    time_ns: int
    changes: list[LevelChange]
    trades: list[Trade]


@dataclass(slots=True)
class _Event:
    time_ns: int
    kind: int
    side: int
    distance_bps: float
    qty_units: float
    trade_units: float
    pick: float
    choice: float


class MarketFlow:
    """One symbol on one venue: a matching engine and the crowd that feeds it."""

    def __init__(
        self,
        profile: FlowProfile,
        instrument: VenueInstrument,
        venue: str,
        *,
        common: CommonPrice,
        seed: int,
        start_ns: int,
        far_levels_share: float,
    ) -> None:
        self.engine = MatchingEngine(
            first_order_id=1_346_843_556_691_968, first_trade_id=161_009_669
        )
        self.observer: Callable[[Step], None] | None = None  # own orders look on (trading/)
        self._profile = profile
        self._common = common
        self._start_ns = start_ns
        self._scale = 10**instrument.price_decimals
        self._step_lots = instrument.qty_step_lots
        self._size_scale = QTY_REFERENCE_PRICE / common.start_price
        self._generator = generator(seed, instrument.symbol, venue)
        self._fair = common.start_price
        self._basis_bps = 0.0
        self._log_rate = 0.0
        self._slice_index = 0
        self._events: deque[_Event] = deque()
        self._pool: list[int] = []
        self._seed_book(far_levels_share)

    def next_event_ns(self, now_ns: int) -> int | None:
        """When the next event up to and including `now_ns` happens; None if there is none."""
        while not self._events:
            if self._slice_start_ns(self._slice_index) > now_ns:
                return None
            self._draw_slice()
        time_ns = self._events[0].time_ns
        return time_ns if time_ns <= now_ns else None

    def execute_next(self) -> Step:
        """Let the next event happen (`next_event_ns` said when)."""
        event = self._events.popleft()
        self._execute(event)
        step = Step(event.time_ns, *self.engine.drain())
        if self.observer is not None:
            self.observer(step)
        return step

    def skip_to(self, now_ns: int) -> None:
        """Let time pass without any event (a halted venue)."""
        self._events.clear()
        index = (now_ns - self._start_ns) // SLICE_NS + 1
        self._slice_index = max(self._slice_index, index)

    def _slice_start_ns(self, index: int) -> int:
        return self._start_ns + index * SLICE_NS

    # -- drawing -------------------------------------------------------------------------------

    def _draw_slice(self) -> None:
        profile, gen = self._profile, self._generator
        start_ns = self._slice_start_ns(self._slice_index)
        moved_bps = self._follow()
        self._slice_index += 1
        if self._slice_index % POOL_SWEEP_SLICES == 0:
            self._pool = [order_id for order_id in self._pool if order_id in self.engine.orders]
        memory = profile.events_log_memory
        shock = profile.events_log_sd * (1 - memory**2) ** 0.5
        self._log_rate = memory * self._log_rate + shock * gen.standard_normal()
        rate = profile.events_median * float(np.exp(self._log_rate))
        if moved_bps:
            rate *= profile.move_boost * max(0.3, min(3.0, abs(moved_bps) / MOVE_BPS_MEAN))
        count = int(min(gen.poisson(rate), profile.events_max))
        shares = np.cumsum([profile.add_share, profile.cancel_share, profile.resize_share])
        # Keep the population near its target: too many orders turn some adds into cancels.
        drift = 0.2 * (len(self._pool) / profile.pool_target - 1.0)
        shares[0] = min(max(shares[0] - drift, 0.05), shares[1] - 0.05)
        kinds = np.searchsorted(shares, gen.random(count)) + _ADD
        columns = zip(
            np.sort(gen.integers(1, SLICE_NS - 1, count)).tolist(),
            kinds.tolist(),
            gen.integers(0, 2, count).tolist(),
            profile.distance_bps.draw(gen, count).tolist(),
            profile.qty_units.draw(gen, count).tolist(),
            TRADE_QTY_UNITS.draw(gen, count).tolist(),
            gen.random(count).tolist(),
            gen.random(count).tolist(),
            strict=True,
        )
        if moved_bps:
            self._events.append(_Event(start_ns, _REPRICE, 0, 0.0, 0.0, 0.0, 0.0, 0.0))
        for offset_ns, kind, side, distance, qty, trade, pick, choice in columns:
            self._events.append(
                _Event(
                    start_ns + offset_ns,
                    kind,
                    BID if side else ASK,
                    distance,
                    qty,
                    trade,
                    pick,
                    choice,
                )
            )
        self._events.append(_Event(start_ns + SLICE_NS - 1, _REFILL, 0, 0.0, 0.0, 0.0, 0.0, 0.0))

    def _follow(self) -> float:
        """Move this venue's fair price after the common one; returns the move in bps."""
        profile = self._profile
        common = self._common.at(self._slice_index - profile.follow_lag_slices)
        target = common * (1.0 + self._basis_bps * BPS)
        if abs(target / self._fair - 1.0) <= profile.follow_threshold_bps * BPS:
            return 0.0
        if profile.basis_sd_bps:
            noise = profile.basis_sd_bps * self._generator.standard_normal()
            self._basis_bps = 0.7 * self._basis_bps + noise
            target = common * (1.0 + self._basis_bps * BPS)
        before, self._fair = self._fair, target
        return (self._fair / before - 1.0) / BPS

    # -- executing -----------------------------------------------------------------------------

    def _execute(self, event: _Event) -> None:
        if event.kind == _ADD:
            self._add(event)
        elif event.kind == _CANCEL:
            self._cancel(event)
        elif event.kind == _RESIZE:
            self._resize(event)
        elif event.kind == _MARKET:
            lots = self._lots(event.trade_units)
            self.engine.submit(CROWD, event.side, lots, event.time_ns)
        else:
            if event.kind == _REPRICE:
                self._clear_stale(BID, event.time_ns)
                self._clear_stale(ASK, event.time_ns)
            self._refill(event.time_ns)

    def _add(self, event: _Event) -> None:
        best = self.engine.side(event.side).best()
        if best is None:
            return
        away = int(event.distance_bps * BPS * best)
        self._rest(event.side, best - event.side * away, event.qty_units, event.time_ns)

    def _rest(self, side: int, price_ticks: int, qty_units: float, time_ns: int) -> None:
        """Enter a passive order, moved behind the other side if it would cross."""
        opposite = self.engine.side(-side).best()
        if opposite is not None and side * (price_ticks - opposite) >= 0:
            price_ticks = opposite - side
        if price_ticks < 1 or price_ticks > FAR_PRICE_MAX * self._scale:
            return
        order = self.engine.submit(
            CROWD, side, self._lots(qty_units), time_ns, price_ticks=price_ticks
        )
        if order.order_id in self.engine.orders:
            self._pool.append(order.order_id)

    def _cancel(self, event: _Event) -> None:
        pool, profile = self._pool, self._profile
        while pool:
            if event.choice < profile.cancel_recent_share:
                span = min(profile.recent_orders, len(pool))
                order_id = pool.pop(len(pool) - 1 - int(event.pick * span))
            else:
                order_id = pool.pop(int(event.pick * len(pool)))
            if self.engine.cancel(order_id):
                return

    def _resize(self, event: _Event) -> None:
        """More or less at a price that is already quoted."""
        if event.choice < self._profile.resize_at_touch_share:
            side = self.engine.side(event.side)
            best = side.best()
            if best is None:
                return
            order = next(iter(side.levels[best].orders.values()))
        else:
            order_id = self._pool[int(event.pick * len(self._pool))] if self._pool else 0
            known = self.engine.orders.get(order_id)
            if known is None:
                return
            order = known
        less_lots = order.qty_lots // 2 // self._step_lots * self._step_lots
        if event.pick < 0.5 and less_lots:
            self.engine.reduce(order.order_id, less_lots)
        else:
            self._rest(order.side, order.price_ticks, event.qty_units, event.time_ns)

    def _clear_stale(self, side: int, time_ns: int) -> None:
        """Remove one side's quotes that the fair price ran over: cancelled or traded against."""
        fair_ticks = self._fair_ticks(side)
        book_side = self.engine.side(side)
        while (best := book_side.best()) is not None and side * (best - fair_ticks) > 0:
            for order_id in list(book_side.levels[best].orders):
                if self._generator.random() < STALE_CANCEL_SHARE:
                    self.engine.cancel(order_id)
            if book_side.best() == best:
                lots = self._lots(SWEEP_UNITS_MAX)
                self.engine.submit(CROWD, -side, lots, time_ns, price_ticks=best, rests=False)
            if book_side.best() == best:
                return  # a wall too large to be swept in one go; the rest falls next time

    def _refill(self, time_ns: int) -> None:
        """Quote at the fair price again wherever the touch has fallen behind it."""
        for side in (BID, ASK):
            target = self._fair_ticks(side)
            best = self.engine.side(side).best()
            if best is not None and side * (best - target) >= 0:
                continue
            gap = abs(target - best) if best is not None else 100
            quantities = self._profile.qty_units.draw(self._generator, REFILL_ORDERS).tolist()
            offsets = self._generator.random(REFILL_ORDERS).tolist()
            for index, (qty, offset) in enumerate(zip(quantities, offsets, strict=True)):
                behind = int(offset * gap) if index else 0
                self._rest(side, target - side * behind, qty, time_ns)

    # -- numbers -------------------------------------------------------------------------------

    def _fair_ticks(self, side: int) -> int:
        """The best price this side should show: the two sides' targets are one tick apart."""
        floor = int(self._fair * self._scale)
        return floor if side == BID else floor + 1

    def _lots(self, qty_units: float) -> int:
        steps: int = round(qty_units * self._size_scale * LOTS_PER_UNIT / self._step_lots)
        return max(1, steps) * self._step_lots

    def _seed_book(self, far_levels_share: float) -> None:
        """The book at the start: the recorded profile near the touch, thin to the far ends."""
        profile, gen = self._profile, self._generator
        for side, depth in ((BID, profile.depth_bids), (ASK, profile.depth_asks)):
            near = profile.depth_reference
            far = int((depth - near) * far_levels_share)
            ranks = (np.arange(near) + gen.random(near)) / near
            distances = profile.rank_distance_bps.at(ranks) * BPS
            prices = self._fair * (1.0 - side * distances)
            edge = float(prices[-1])
            end = FAR_PRICE_MIN if side == BID else FAR_PRICE_MAX
            # Beyond the recorded profile: log-uniform, denser near the edge (squared uniform).
            reach = np.log(end / edge) * np.sort(gen.random(far)) ** 3
            prices = np.concatenate([prices, edge * np.exp(reach), [end]])
            ticks = np.unique(np.rint(prices * self._scale).astype(np.int64))
            best = self._fair_ticks(side)
            ticks = ticks[side * (ticks - best) <= 0]
            nearest = set(np.sort(side * ticks)[-profile.pool_target // 2 :].tolist())
            quantities = profile.qty_units.draw(gen, len(ticks) + 1).tolist()
            for price_ticks, qty in zip([best, *ticks.tolist()], quantities, strict=True):
                order = self.engine.submit(
                    SEED_BOOK, side, self._lots(qty), self._start_ns, price_ticks=price_ticks
                )
                if side * price_ticks in nearest:
                    self._pool.append(order.order_id)
        gen.shuffle(self._pool)
        self.engine.drain()
