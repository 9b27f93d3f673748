"""The account as each venue tells it every few seconds, held against what is believed here.

    latest trades   one that no event has told is counted; those of others are told
    open orders     ours that we believe closed, or do not know, twice in a row: asked after, or
                    cancelled; ours that are missing twice in a row: asked after; those of others
                    are counted and told; those of a newer run mean another market maker
    balances        what fills, fees and the balance before do not explain, twice in a row without
                    a fill between, is told: money came or went, or somebody else has traded

Once proves nothing: a list may be a moment old, and what it lacks be under way.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engine.layout.layout import LOT_DECIMALS
from engine.maker import order_layout as O
from engine.maker.client_ids import format_client_id
from net.maker.balances import Balances
from net.maker.own_orders import OwnOrders
from net.maker.recovery import Recovery
from net.orders.interface import EntryState, Opening, VenueEntry
from net.orders.messages import OrderEvent

CENTS_PER_FILL = 1
"""By how many hundredths of the quote currency a venue's own rounding may differ for each fill."""
QUOTE_LOTS_PER_CENT = 10**LOT_DECIMALS // 100

Tell = Callable[..., None]
"""f(level, what, **facts)"""


@dataclass
class _Drift:
    """What one asset should be: the balance that was last explained, and what had filled then."""

    total: int
    counted: int
    fills: int
    seen: int = 0
    """What was unexplained in the audit before."""


@dataclass
class _Venue:
    """What the audits of one venue have found."""

    asked_ns: int = 0
    listed: set[int] = field(default_factory=set)
    """Orders that were open at the venue in the audit before, and closed or unknown here."""
    missing: set[int] = field(default_factory=set)
    """Orders that were open here in the audit before, and not at the venue."""
    others: int = 0
    foreign: int = 0
    """The highest number of an execution that is not ours."""
    drifts: list[_Drift | None] = field(default_factory=lambda: [None] * O.SIDES)
    counted: tuple[int, ...] = ()
    """What had filled when the audit was asked for."""
    locks: tuple[int, ...] = (0, 0)
    """What our own orders locked then."""
    audits: int = 0
    makers: int = 1
    """Market makers of this process on the account: they take turns."""
    is_quote_shared: bool = False
    """Whether another one of them pays with the same quote currency."""


class Audit:
    """The audits of one market maker. `tell`: to an operator; `names`: the venues'."""

    def __init__(
        self,
        orders: OwnOrders,
        recovery: Recovery,
        balances: Balances,
        names: tuple[str, ...],
        epoch: int,
        tell: Tell,
    ) -> None:
        self._orders, self._recovery, self._balances = orders, recovery, balances
        self._names, self._epoch, self._tell = names, epoch, tell
        self._venues = [_Venue() for _ in names]

    @property
    def audits(self) -> list[int]:
        """How many there were, by venue."""
        return [venue.audits for venue in self._venues]

    def on_timer(self, venue: int, entry: VenueEntry, now_ns: int) -> None:
        """Ask for what is due."""
        state = self._venues[venue]
        every_ns = entry.audit_every_ns * state.makers
        if not every_ns or entry.state is not EntryState.READY:
            return
        if now_ns - state.asked_ns >= every_ns:
            state.asked_ns = now_ns
            state.counted = self._counted(venue)
            state.locks = self._balances.locks(venue)
            entry.audit(now_ns)

    def share(self, venue: int, *, makers: int, is_quote_shared: bool) -> None:
        """So many market makers of this process audit the venue's account, within the venue's
        limits together; what changes the quote currency is then not ours alone to explain."""
        self._venues[venue].makers = makers
        self._venues[venue].is_quote_shared = is_quote_shared

    def lose(self, venue: int) -> None:
        """The venue's order entry is gone: what was seen once proves nothing any more."""
        state = self._venues[venue]
        state.listed, state.missing = set(), set()

    def take(self, venue: int, entry: VenueEntry, reading: Opening, now_ns: int) -> bool:
        """What an audit has read; whether it shows another market maker of a newer run."""
        state = self._venues[venue]
        state.audits += 1
        self._take_trades(venue, reading.trades)
        is_newer = self._take_orders(venue, entry, reading.open_orders)
        self._balances.take(venue, reading.balances, state.locks)
        totals = self._balances.totals(venue, reading.balances)
        is_still = state.counted == self._counted(venue)
        # Before the account is known, what was missed at the start is in the balance alone.
        is_known = self._orders.counts[venue]
        for side, total in enumerate(totals):
            if is_known and total is not None and not (side == O.BUY and state.is_quote_shared):
                self._take_balance(venue, side, total, is_still)
        return is_newer

    def _counted(self, venue: int) -> tuple[int, ...]:
        return tuple(self._balances.counted(venue, side) for side in range(O.SIDES))

    # --- trades ----------------------------------------------------------------------------------

    def _take_trades(self, venue: int, trades: Iterable[OrderEvent]) -> None:
        trades = tuple(trades)
        self._tell_foreign(venue, [t.execution_id for t in trades if t.order_id is None])
        if not self._orders.counts[venue]:
            return
        before = self._orders.fills[venue]
        self._orders.take_missed(venue, tuple(t for t in trades if t.order_id is not None))
        found = self._orders.fills[venue] - before
        if found:
            name = self._names[venue]
            self._tell("info", "fills that no event had told yet", venue=name, fills=found)

    def _tell_foreign(self, venue: int, numbers: list[int]) -> None:
        """Executions of orders that are not ours; those before the first audit are the past."""
        state = self._venues[venue]
        new = sum(number > state.foreign for number in numbers)
        if new and state.audits > 1:
            self._tell("info", "trades of others", venue=self._names[venue], fills=new)
        state.foreign = max([state.foreign, *numbers])

    # --- orders ----------------------------------------------------------------------------------

    def _take_orders(self, venue: int, entry: VenueEntry, listed: tuple[OrderEvent, ...]) -> bool:
        state, asked_ns = self._venues[venue], self._venues[venue].asked_ns
        ours: set[int] = set()
        is_newer, others = False, 0
        for event in listed:
            order_id = event.order_id
            if order_id is None:
                others += 1
            elif order_id >> 32 > self._epoch:
                is_newer = True
            elif order_id >> 32 < self._epoch:
                self._recovery.meet(venue, event, self._epoch)
            else:
                ours.add(order_id)
        if others != state.others:
            state.others = others
            self._tell("info", "open orders of others", venue=self._names[venue], orders=others)
        sent = self._orders.sent
        unknown = {each for each in ours if each not in sent}
        for order_id in unknown & state.listed:
            self._tell_order(
                "warning", "an order is open that was not known to be", venue, order_id
            )
            if not self._orders.reopen(venue, order_id):
                self._recovery.adopt(venue, order_id)
        missing = {
            order_id
            for order_id, each in sent.items()
            if each.venue == venue
            and each.state in (O.OPEN, O.PARTIALLY_FILLED)
            and order_id not in ours
            and asked_ns - each.sent_ns >= entry.audit_every_ns
        }
        for order_id in missing & state.missing:
            self._tell_order("warning", "an order is not open that should be", venue, order_id)
            self._orders.doubt(venue, order_id)
        state.listed, state.missing = unknown - state.listed, missing - state.missing
        return is_newer

    def _tell_order(self, level: str, what: str, venue: int, order_id: int) -> None:
        self._tell(level, what, venue=self._names[venue], order=format_client_id(order_id))

    # --- balances --------------------------------------------------------------------------------

    def _take_balance(self, venue: int, side: int, total: int, is_still: bool) -> None:
        state, fills = self._venues[venue], self._orders.fills[venue]
        counted = self._balances.counted(venue, side)
        drift = state.drifts[side]
        if drift is None:
            state.drifts[side] = _Drift(total, counted, fills) if is_still else None
            return
        unexplained = total - drift.total - (counted - drift.counted)
        allowed = 0
        if side == O.BUY:
            lots = QUOTE_LOTS_PER_CENT * CENTS_PER_FILL * (1 + fills - drift.fills)
            allowed = self._balances.value_of_quote(lots)
        if not is_still or abs(unexplained) <= allowed:
            drift.seen = 0
        elif unexplained != drift.seen:
            drift.seen = unexplained
        else:
            state.drifts[side] = _Drift(total, counted, fills)
            amount = self._balances.amount_text(side, unexplained)
            self._tell(
                "warning",
                "a balance has changed by more than fills explain",
                venue=self._names[venue],
                asset=self._balances.asset(venue, side),
                amount=amount,
            )
