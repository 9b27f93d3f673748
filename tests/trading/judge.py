"""What must hold at the venues, whatever happens: seen from what really reached them.

After every step: one order a quote slot, no own bid at or above an own ask, and every risk limit,
counted from the venues' executions and open orders. Of every order: size, value, collar around the
fair price of when it was sent, filters, post-only; of one that takes, after a kill, that it brings
the position nearer to zero and never through it. Of everything that is sent: how much of it, and
nothing new between a kill and its release.
Runs on: the tests' thread.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from engine.compiling.atomics import Words
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker.client_ids import parse_client_id
from engine.maker.risk_gate import BPS, RiskLimits
from net.orders.markets import MarketRules
from net.simulator.market import BID
from net.simulator.orders.accounts import Execution, Order
from net.simulator.orders.desk import Desk, Report, Wanted
from net.simulator.orders.matching import Fill

S = 10**9
STORM_MESSAGES, STORM_NS = 60, S
"""What is sent to a venue in any second: four quotes that follow the price five times, each with a
cancel, a question and a new order."""
START_VENUE = "binance"
"""Where a position at the beginning is."""
ORDER_NAME = re.compile(rb"(?:newClientOrderId\W+|\bclient_order_id=)(pollux-[0-9a-f-]+)")
PLACING = (b"order.place", b"order.cancelReplace", b"/api/v2/buy/", b"/api/v2/sell/")


class WrongError(AssertionError):
    """Something that must never happen."""


@dataclass
class Account:
    """One venue as its executions have it."""

    desk: Desk
    rules: MarketRules
    tick_units: int
    deposited_lots: int = 0
    """What somebody has moved in of the base currency, out where below zero."""
    position_lots: int = 0
    """What its executions come to, less the fees that it has taken of the base currency."""

    @property
    def held_lots(self) -> int:
        """All that the account has of the base currency."""
        balance = self.desk.account.balance(self.rules.market.base)
        return balance.free_lots + balance.locked_lots


class Bounds:
    """What each side may come to: its limit, and what a process has found beyond it at its start,
    as long as that lasts. Nothing may be added."""

    def __init__(self) -> None:
        self._lots = [0, 0]

    def begin(self, worst_lots: Callable[[int], int]) -> None:
        """A process begins, with so much of each side."""
        self._lots = [worst_lots(side) for side in (O.BUY, O.SELL)]

    def holds(self, side: int, worst_lots: int, limit_lots: int) -> bool:
        self._lots[side] = max(limit_lots, min(self._lots[side], worst_lots))
        return worst_lots <= self._lots[side]


class Judge:
    """Looks after every step, and at every order; raises WrongError."""

    def __init__(self, limits: RiskLimits, start_lots: int) -> None:
        self.start_lots = start_lots
        self.accounts: dict[str, Account] = {}
        self.slots: dict[int, int] = {}
        """Our orders' quote slots, by id."""
        self.takes: set[int] = set()
        """Orders of ours that take, by id."""
        self.is_killed = False
        """Whether nothing new may be sent."""
        self.is_flattened = False
        """Whether orders that take may be, all the same."""
        self.now_ns = 0
        self.orders = self.fills = self.messages = 0
        self.assets: set[str] = set()
        """What fees were paid in."""
        self.values_per_quote_lot = 0
        self.rates: Mapping[str, Fraction] = {}
        """What one of a third asset is worth, as the market maker is told."""
        self.sent: Counter[str] = Counter()
        self._limits = limits
        self._fair = 0
        self._is_dirty = False
        self._epoch = 0
        self._off = ""
        self._risk: Words | None = None
        """The gate's words of the present process."""
        self._day = R.NO_DAY
        self._after_kill: set[int | None] = set()
        """Orders that were sent between a kill and its release."""
        self._belated: set[int] = set()
        """Orders of an earlier process that reached a venue after the present one began."""
        self.unseen_lots = [0, 0]
        """Filled of those, or after a cancel had been confirmed: no limit holds against that."""
        self._bounds = Bounds()
        """Of a position and the open orders of a side."""
        self._alone_until_ns: dict[str, int] = {}
        self._messages_ns: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=STORM_MESSAGES))
        self._orders_ns: dict[str, deque[int]] = defaultdict(
            lambda: deque(maxlen=limits.own_rate[0])
        )

    def on_start(self, epoch: int, off: str, risk: Words) -> None:
        """A process begins: it counts what it sends anew. It knows nothing of what was filled at a
        venue that is `off`: no limit holds against that. What the other venues hold, and what is
        open there, may be beyond the limit from the first moment on; nothing may be added."""
        self._off, self._epoch, self._risk = off, epoch, risk
        self._day = R.NO_DAY
        self._orders_ns.clear()
        self._alone_until_ns.clear()
        self._bounds.begin(self.worst_lots)

    def on_release(self) -> None:
        """An operator's: it alone ends a kill, and begins the day's result anew."""
        self.is_killed, self._day = False, R.NO_DAY

    # --- what is sent ----------------------------------------------------------------------------

    def note_sent(self, venue: str, message: bytes) -> None:
        """A message or request leaves order entry."""
        self.messages += 1
        times = self._messages_ns[venue]
        if len(times) == STORM_MESSAGES and self.now_ns - times[0] < STORM_NS:
            raise WrongError(f"a storm: {STORM_MESSAGES + 1} messages to {venue} in a second")
        times.append(self.now_ns)
        if not any(each in message for each in PLACING):
            return
        if self.is_killed and not self.is_flattened:
            raise WrongError(f"an order is sent to {venue} that must not be: {message!r:.100}")
        if self.is_killed:
            (name,) = ORDER_NAME.findall(message)
            self._after_kill.add(parse_client_id(name.decode()))
        if self.now_ns < self._alone_until_ns.get(venue, 0):
            raise WrongError(f"{venue} has asked to be left alone: {message!r:.100}")
        limit, span_ns = self._limits.own_rate
        times = self._orders_ns[venue]
        if len(times) == limit and self.now_ns - times[0] < span_ns:
            raise WrongError(f"more than {limit} orders to {venue} in {span_ns / S} s")
        times.append(self.now_ns)

    def leave_alone(self, venue: str, wait_ns: int) -> None:
        """A venue has said, and we have heard, that it wants no order for so long."""
        until_ns = self.now_ns + wait_ns
        self._alone_until_ns[venue] = max(self._alone_until_ns.get(venue, 0), until_ns)

    @contextlib.contextmanager
    def delivering(self, fair_price: int) -> Iterator[None]:
        """What arrives now was sent at this fair price."""
        self._fair = fair_price
        yield
        self._fair = 0

    # --- what arrives ----------------------------------------------------------------------------

    def on_order(self, venue: str, wanted: Wanted) -> None:
        """An order reaches a venue, whatever the venue makes of it."""
        account, limits = self.accounts[venue], self._limits
        rules, price = account.rules, wanted.price_ticks * account.tick_units
        order_id = parse_client_id(wanted.client_order_id)
        takes = order_id in self.takes
        self._check(wanted.is_post_only != takes, "an order that may take", wanted)
        if order_id in self._after_kill:
            self._check(takes, "a quote that was sent after a kill", wanted)
            after = wanted.side * self.position_lots + wanted.qty_lots
            is_reducing = after <= sum(self.unseen_lots)
            self._check(is_reducing, "more than the position", (self.position_lots, wanted))
        self._check(wanted.qty_lots <= limits.order_lots_max, "too large an order", wanted)
        value = price * wanted.qty_lots
        self._check(value <= limits.notional_max, "too valuable an order", wanted)
        far = abs(price - self._fair) * BPS
        self._check(far <= self._fair * limits.collar_bps, "outside the collar", wanted)
        is_whole = wanted.qty_lots % rules.market.step_lots == 0
        is_sized = rules.lots_min <= wanted.qty_lots <= rules.lots_max
        self._check(is_whole and is_sized, "a quantity against the filters", wanted)
        least = Decimal(rules.notional_min) * 10 ** (8 + rules.market.tick[1])
        notional = wanted.price_ticks * wanted.qty_lots * rules.market.tick[0]
        self._check(notional >= least, "too little value", wanted)
        self.orders += 1

    def on_report(self, venue: str, report: Report) -> None:
        """Something has happened to an order."""
        self._is_dirty = True
        made, order = report.execution, report.order
        order_id = parse_client_id(order.client_order_id)
        if report.what == "NEW" and order_id is not None and order_id >> 32 != self._epoch:
            self._belated.add(order.order_id)
        if made is not None:
            account = self.accounts[venue]
            if order.order_id in self._belated:
                self.unseen_lots[O.BUY if made.side == BID else O.SELL] += made.qty_lots
            account.position_lots += made.qty_lots if made.side == BID else -made.qty_lots
            if made.fee_asset == account.rules.market.base:
                account.position_lots -= made.fee_lots
            self.assets.add(made.fee_asset)
            self.fills += 1
            self._check(made.is_maker != (order_id in self.takes), "an order of ours took", made)

    def on_lie(self, venue: str, fill: Fill) -> None:
        """A cancel is confirmed of an order that has filled, which is said later."""
        side = self.accounts[venue].desk.orders[fill.order_id].side
        self.unseen_lots[O.BUY if side == BID else O.SELL] += fill.qty_lots

    # --- after every step ------------------------------------------------------------------------

    @property
    def position_lots(self) -> int:
        """What the venues' executions come to."""
        return self.start_lots + sum(each.position_lots for each in self.accounts.values())

    @property
    def _quoted_lots(self) -> int:
        """The part of the position that is held where the present process quotes."""
        quoted = [each.position_lots for name, each in self.accounts.items() if name != self._off]
        return sum(quoted) + (self.start_lots if self._off != START_VENUE else 0)

    def open_orders(self) -> list[tuple[str, Order]]:
        """All that is open anywhere."""
        return [
            (venue, order)
            for venue, account in self.accounts.items()
            for order in account.desk.open_orders()
        ]

    def look(self, now_ns: int) -> None:
        """Everything that has changed."""
        self.now_ns = now_ns
        if self._risk is not None:
            day = int(self._risk[O.RISK_DAY])
            if day == R.NO_DAY != self._day:
                raise WrongError("the day's loss is forgotten, and nobody has released anything")
            self._day = day
        if not self._is_dirty:
            return
        self._is_dirty = False
        best = [0, 1 << 62]
        slots: Counter[int] = Counter()
        found = self._known_orders()
        for venue, order in found:
            order_id = parse_client_id(order.client_order_id)
            self._check(order_id in self.slots, "an order nobody sent", order)
            assert order_id is not None
            slots[self.slots[order_id]] += 1
            price = order.price_ticks * self.accounts[venue].tick_units
            side = O.BUY if order.side == BID else O.SELL
            best[side] = max(best[0], price) if side == O.BUY else min(best[1], price)
        self._check_all(max(slots.values(), default=0) <= 1, "two orders in one slot", found)
        self._check_all(best[0] < best[1], "own orders that cross", found)
        is_few = len(found) <= self._limits.open_orders_max
        self._check_all(is_few, "too many open orders", found)
        for side in (O.BUY, O.SELL):
            limit = self._limits.position_lots_max + self.unseen_lots[side]
            is_within = self._bounds.holds(side, self.worst_lots(side), limit)
            self._check_all(is_within, "a position beyond its limit", found)

    def _known_orders(self) -> list[tuple[str, Order]]:
        """All that is open and that the present process can know of."""
        return [each for each in self.open_orders() if each[1].order_id not in self._belated]

    def worst_lots(self, side: int) -> int:
        """The position where the present process quotes, all of one side's orders there filled;
        positive in the side's direction."""
        worst = self._quoted_lots if side == O.BUY else -self._quoted_lots
        for venue, order in self._known_orders():
            is_side = (order.side == BID) == (side == O.BUY)
            worst += order.open_lots if is_side and venue != self._off else 0
        return worst

    def _check(self, is_right: bool, what: str, about: object) -> None:
        if not is_right:
            raise WrongError(f"{what}: {about!r:.600}")

    def _check_all(self, is_right: bool, what: str, found: list[tuple[str, Order]]) -> None:
        if not is_right:
            orders = [
                f"{venue} {each.client_order_id} {each.side:+} {each.price_ticks} {each.open_lots}"
                for venue, each in found
            ]
            raise WrongError(f"{what}: position {self.position_lots}, {orders}")

    # --- in the end ------------------------------------------------------------------------------

    def check_money(self, cash: int, fees: int) -> None:
        """What is believed of cash and fees is what the venues have booked."""
        had, paid = self.cash_value, self.fee_value
        if cash != had:
            raise WrongError(f"believes in {cash} of cash, has {had}")
        if fees != paid:
            raise WrongError(f"believes to have paid {fees} in fees, has paid {paid}")

    def check_held(self, held_lots: int) -> None:
        """What the accounts hold is what they began with, deposits, their fills and their fees."""
        for name, account in self.accounts.items():
            due_lots = held_lots + account.deposited_lots + account.position_lots
            if account.held_lots != due_lots:
                raise WrongError(f"{name} holds {account.held_lots} lots of base")

    @property
    def cash_value(self) -> int:
        """What the orders of all lives have brought in less fees, in units times lots."""
        cash = 0
        for account, made in self._executions():
            value = made.price_ticks * account.tick_units * made.qty_lots
            cash += -value if made.side == BID else value
            cash -= self._fee_value(account, made)
        return cash

    @property
    def fee_value(self) -> int:
        """What the orders of all lives have cost, in units times lots."""
        fees = 0
        for account, made in self._executions():
            fees += self._fee_value(account, made)
            if made.fee_asset == account.rules.market.base:
                fees += made.price_ticks * account.tick_units * made.fee_lots
        return fees

    def _executions(self) -> Iterator[tuple[Account, Execution]]:
        for account in self.accounts.values():
            for made in account.desk.executions.values():
                yield account, made

    def _fee_value(self, account: Account, made: Execution) -> int:
        """A fee that is not in base, as a value; one that nobody knows a rate for has none."""
        if made.fee_asset == account.rules.market.quote:
            return made.fee_lots * self.values_per_quote_lot
        worth = made.fee_lots * self.values_per_quote_lot * self.rates.get(made.fee_asset, 0)
        return math.ceil(worth)
