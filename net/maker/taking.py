"""Orders that take: a position that is too large is hedged, one that a halt has left is ended.

    HEDGE     while quoting, a position of `hedge_lots` or more is brought to zero at one venue.
              What rests there of the side that would add to it is cancelled first: they would meet
    FLATTEN   after a halt by the daily loss, or an operator's kill where that is wanted, and once
              nothing is open: at the venue that holds most of the position, at most what it holds.
              No other halt leads to it: where an account or the journal is in doubt, or another
              market maker is there, the position is in doubt too, or is not ours alone

One order at a time, immediate or cancel, through the risk gate, which lets none bring the position
through zero; its price is the fair one less `slippage_ppm`. The next one waits for a second and for
a newer book. What holds it up, and the end, are told.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.compiling.atomics import Words
from engine.engine import Engine
from engine.layout.units import NS_PER_S
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker import risk_gate
from engine.maker.funds import FUND_BASE_LOTS, FUND_QUOTE_VALUE, FUND_WORDS
from engine.maker.step import MakerStep
from net.maker.own_orders import OwnOrders, Sent, side_of
from net.maker.risk_report import TELL_EVERY_NS, MakerHost
from net.maker.scaled_settings import MakerRules

TAKE_EVERY_NS = NS_PER_S
"""Between two orders that take."""
HEDGE, FLATTEN = "hedging", "flattening"
DONE = "the position is ended"


class Taking:
    """Of one market maker whose `rules.taking` is there.

    `may_take(venue, side, now_ns)`: whether orders may be sent there at all; `send(count, now_ns)`:
    sends the step's first `count` actions; `first_feed`: of its instrument, in the engine.
    """

    def __init__(
        self,
        rules: MakerRules,
        step: MakerStep,
        orders: OwnOrders,
        engine: Engine,
        first_feed: int,
        venue_names: Sequence[str],
        host: MakerHost,
        may_take: Callable[[int, int, int], bool],
        send: Callable[[int, int], None],
    ) -> None:
        assert rules.taking is not None
        self._rules, self._step, self._orders = rules.taking, step, orders
        self._quotes, self._tick_units = rules.quotes, rules.tick_units
        self._engine, self._first_feed = engine, first_feed
        self._venue_names, self._host = venue_names, host
        self._may_take, self._send = may_take, send
        self._goal: str | None = None
        self._told = ""
        self._told_ns: dict[str, int] = {}
        self._sent_ns: int | None = None
        self._stamp_ns = 0
        """Of the book that the last order was sent on."""

    @property
    def _table(self) -> Words:
        return self._step.table

    @property
    def _risk(self) -> Words:
        return self._step.risk

    def is_in_the_way(self, venue: int, side: int) -> bool:
        """Whether a side of a venue is not quoted now, since a hedge would meet it there."""
        position = self._orders.position_lots
        adds = O.BUY if position > 0 else O.SELL
        return venue == self._rules.hedge_venue and side == adds and self._is_hedging()

    def _is_hedging(self) -> bool:
        is_open = self._rules.hedge_venue is not None and self._risk[O.RISK_STATE] != O.HALTED
        return is_open and abs(self._orders.position_lots) >= self._rules.hedge_lots

    def look(self, halt: int, now_ns: int) -> None:
        """Take what is to be taken now. `halt`: the journal's reason of the present one."""
        is_halted = self._risk[O.RISK_STATE] == O.HALTED
        goal = HEDGE if self._is_hedging() else None
        if is_halted and halt in self._rules.flattened:
            goal = FLATTEN
        was, self._goal = self._goal, goal
        if goal is None or self._orders.position_lots == 0:
            if was is not None and self._told not in ("", DONE):
                is_ended = self._orders.position_lots == 0
                self._tell("info", DONE if is_ended else f"{was}: no longer", now_ns)
            return
        if any(sent.takes for sent in self._orders.sent.values()):
            return
        waits = self._take(goal, now_ns)
        if waits:
            self._tell("warning" if goal == FLATTEN else "info", f"{goal}: {waits}", now_ns)

    def _tell(self, level: str, text: str, now_ns: int) -> None:
        """Tell what is new, and what comes again once a minute."""
        if text == self._told:
            return
        self._told = text
        if text not in self._told_ns or now_ns - self._told_ns[text] >= TELL_EVERY_NS:
            self._told_ns[text] = now_ns
            self._host.note_maker(level, text, position_lots=self._orders.position_lots)

    def _take(self, goal: str, now_ns: int) -> str:
        """Send an order if one can be sent; what holds it up, "" for a moment that passes."""
        position = self._orders.position_lots
        side = O.SELL if position > 0 else O.BUY
        if goal == FLATTEN and self._orders.live_orders:
            return "waits for the cancels"
        venue = self._rules.hedge_venue if goal == HEDGE else self._holder(position)
        assert venue is not None
        name = self._venue_names[venue]
        if not self._may_take(venue, side, now_ns):
            return f"{name} takes no orders now"
        limit_ticks = self._limit_ticks(venue, side)
        best = self._engine.best_ticks(self._first_feed + venue)[1 - side]
        if limit_ticks < 1 or best == 0:
            return "no fair price, or no book"
        if best > limit_ticks if side == O.BUY else best < limit_ticks:
            return f"the best price of {name} is beyond slippage_bps"
        if any(self._meets(sent, venue, side, limit_ticks) for sent in self._orders.sent.values()):
            return ""
        lots = self._lots(goal, venue, side, limit_ticks)
        if lots == 0:
            return f"what is left is less than {name} takes, or than may be traded there"
        stamp_ns = self._engine.receive_ns(self._first_feed + venue)
        if self._sent_ns is not None:
            if now_ns - self._sent_ns < TAKE_EVERY_NS or stamp_ns == self._stamp_ns:
                return ""
        self._sent_ns, self._stamp_ns = now_ns, stamp_ns
        self._submit(goal, venue, side, limit_ticks, lots, now_ns)
        return ""

    def _submit(self, goal: str, venue: int, side: int, ticks: int, lots: int, now_ns: int) -> None:
        slot = venue * O.VENUE_SLOTS + side * O.SLOT_LEVELS + O.TAKE_LEVEL
        price = ticks * self._tick_units[venue]
        self._step.actions[: O.ACTION_WORDS] = (O.ACTION_TAKE, slot, 0, 0, price, lots)
        fair = int(self._risk[O.RISK_FAIR_PRICE])
        words = self._table, self._risk, self._step.actions
        count = risk_gate.submit(*words, 1, fair, now_ns)
        if count:
            self._tell("info", f"{goal}: orders that take at {self._venue_names[venue]}", now_ns)
            self._send(count, now_ns)

    def _meets(self, sent: Sent, venue: int, side: int, limit_ticks: int) -> bool:
        """Whether an order of ours would be what this one takes."""
        if sent.venue != venue or side_of(sent.slot) == side:
            return False
        limit = limit_ticks * self._tick_units[venue]
        return sent.price <= limit if side == O.BUY else sent.price >= limit

    def _limit_ticks(self, venue: int, side: int) -> int:
        """The worst price in the venue's ticks, rounded towards the fair one; 0 without one."""
        rate = int(self._table[O.venue_word(venue, O.VENUE_RATE)])
        fair, units = (
            int(self._risk[O.RISK_FAIR_PRICE]) * O.RATE_ONE,
            self._tick_units[venue] * rate,
        )
        if side == O.BUY:
            return fair * (Q.PPM + self._rules.slippage_ppm) // (Q.PPM * units)
        return -(-fair * (Q.PPM - self._rules.slippage_ppm) // (Q.PPM * units))

    def _holder(self, position: int) -> int:
        """The venue that holds most of the position."""
        parts = list(self._parts())
        return max(range(len(parts)), key=lambda v: parts[v] if position > 0 else -parts[v])

    def _parts(self) -> Iterator[int]:
        for venue in range(len(self._tick_units)):
            yield int(self._table[O.venue_word(venue, O.VENUE_POSITION_LOTS)])

    def _lots(self, goal: str, venue: int, side: int, ticks: int) -> int:
        """How much is taken: the position, as far as limits, money and filters let it; 0: none."""
        filters, risk = self._quotes[venue], self._risk
        scale, price = int(self._table[O.ACCOUNT_VALUE_SCALE]), ticks * self._tick_units[venue]
        fund = venue * FUND_WORDS
        lots = abs(self._orders.position_lots)
        if goal == FLATTEN:
            lots = min(lots, abs(list(self._parts())[venue]))
        if risk[O.RISK_STATE] != O.NORMAL:
            lots -= int(self._table[O.ACCOUNT_OPEN_BUY_LOTS + side])
        rate = int(self._table[O.venue_word(venue, O.VENUE_RATE)])
        values = [int(risk[O.RISK_NOTIONAL_MAX]) * O.RATE_ONE // rate]
        if side == O.BUY:
            values.append(int(self._step.funds[fund + FUND_QUOTE_VALUE]))
        else:
            lots = min(lots, int(self._step.funds[fund + FUND_BASE_LOTS]))
        lots = min(lots, int(risk[O.RISK_ORDER_LOTS_MAX]), filters.lots_max)
        lots = min(lots, *(value * scale // price for value in values))
        lots -= lots % filters.lot_step
        is_enough = lots >= filters.lots_min and lots * ticks >= filters.notional_min
        return lots if is_enough else 0
