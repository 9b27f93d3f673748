"""One market maker's accounts in the ledger: taken from there at a start, kept up as things happen.

What the order table and the risk gate hold is compared with what the ledger has; what is different
is written at once: a position by the fill that changed it, so that a process that is killed in the
next moment has not lost it.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from engine.compiling.atomics import Words
from engine.layout.units import NS_PER_S
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from net.journal.ledger import Account, Holding, Ledger, Result
from net.maker import journal_reasons as reasons
from net.maker.recovery import Memory, Start
from net.orders.transfers import Transfer

CHECKPOINT_NS = 600 * NS_PER_S
"""So much of a journal at the most is read at a start."""
BY_ITSELF = {code: why for code, why in reasons.HALTS.items() if code != R.KILLED}
"""What the gate halts for by itself, and the journal's reason."""


class AccountSpec(NamedTuple):
    """A quoted venue's account, and its base currency, which positions are of."""

    account: Account
    base: str
    neutral_lots: int | None = None
    """As configured; None: as the ledger has it."""


@dataclass(frozen=True)
class AccountsSpec:
    """Whose accounts. `venues`: None where one is not quoted; `unit`: mantissa and decimals of a
    value of the order table, in the quote currency."""

    symbol: str
    is_live: bool
    venues: tuple[AccountSpec | None, ...]
    unit: tuple[int, int]


class Accounts:
    """`table` and `risk` are one market maker's, new: `resume` gives them what the ledger has."""

    def __init__(self, ledger: Ledger, spec: AccountsSpec, table: Words, risk: Words) -> None:
        self._ledger = ledger
        self._spec = spec
        self._table = table
        self._risk = risk
        self._neutral_lots: list[int | None] = [None] * len(spec.venues)
        """By venue: None before its account is known, and nothing is written of it."""
        self.read_ns: list[int] = [0] * len(spec.venues)
        """By venue: when its account was first read, by the wall clock."""
        self.of_others: frozenset[Account] = frozenset()
        """What the other market makers of this run read and clean."""
        self._checkpoint_ns = 0
        self.is_day_anew = False
        """Whether other accounts are quoted than the day's result was counted with: what is held
        there has come or gone, which is no result, and the day begins anew."""
        self.own = frozenset(each.account for each in spec.venues if each is not None)
        """Those that this market maker reads."""
        self.halt = J.REASON_NONE
        """The journal's reason of the halt that a restart does not end."""

    def memories(self) -> list[Memory | None]:
        """What is known of each account, None where a venue is not quoted."""
        return [None if each is None else self._memory(each) for each in self._spec.venues]

    def _memory(self, spec: AccountSpec) -> Memory:
        holding = self._ledger.holdings.get(spec.account)
        is_given = spec.neutral_lots is not None
        remembered_lots = holding.neutral_lots if holding is not None else None
        return Memory(
            spec.base,
            spec.neutral_lots if is_given else remembered_lots,
            holding.position_lots if holding is not None else 0,
            is_paper=not spec.account.is_live,
            is_given=is_given,
            has_counted=partial(self._ledger.has_counted, spec.account),
        )

    # --- at a start ------------------------------------------------------------------------------

    def resume(self, today: int) -> None:
        """Give the table its cash, the gate its day and its halt. `today`: days since the epoch."""
        result = self._ledger.results.get((self._spec.is_live, self._spec.symbol))
        if result is None:
            return
        self._table[O.ACCOUNT_CASH_VALUE] = self._value(result, result.cash_value)
        self._table[O.ACCOUNT_FEE_VALUE] = self._value(result, result.fee_value)
        self.is_day_anew = result.position_lots != self._position_lots()
        if not self.is_day_anew:
            # A day that is still to come was begun by a clock that was wrong.
            day = min(result.day, today)
            self._risk[O.RISK_DAY] = self._risk[O.RISK_RESUMED_DAY] = day
            self._risk[O.RISK_DAY_START_VALUE] = -self._value(result, -result.day_start_value)
        if result.halt != J.REASON_NONE:
            self.halt_for(result.halt)

    def halt_for(self, reason: int) -> None:
        """Halt, or stay halted, for a reason of the journal's, before anything is quoted."""
        self.halt = reason
        self._risk[O.RISK_STATE] = O.HALTED
        self._risk[O.RISK_HALT_REASON] = reasons.GATE_HALTS.get(reason, R.KILLED)
        self._risk[O.RISK_HALTS] += 1

    def _value(self, result: Result, value: int) -> int:
        """A value in the table's units, rounded against us."""
        mantissa, decimals = self._spec.unit
        most = max(decimals, result.unit_decimals)
        exact = value * result.unit_mantissa * int(10 ** (most - result.unit_decimals))
        found = exact // (mantissa * int(10 ** (most - decimals)))
        return max(-O.VALUE_MAX, min(found, O.VALUE_MAX))

    def open(self, venue: int, start: Start, wall_ns: int) -> None:
        """An account is known: its part of the position is the table's from here on."""
        at = O.venue_word(venue, O.VENUE_POSITION_LOTS)
        if self._neutral_lots[venue] is None:
            self._table[at] += start.position_lots
            self._table[O.ACCOUNT_POSITION_LOTS] += start.position_lots
            self.read_ns[venue] = wall_ns
        self._neutral_lots[venue] = start.neutral_lots
        self.look()
        account = self._spec_of(venue).account
        if account.is_live and not start.is_disputed:
            self._ledger.settle(account, self.read_ns[venue])

    def _spec_of(self, venue: int) -> AccountSpec:
        spec = self._spec.venues[venue]
        assert spec is not None, "a venue that is not quoted has no account"
        return spec

    def base_of(self, venue: int) -> str:
        """The asset that the account's position is of."""
        return self._spec_of(venue).base

    def settled_ns(self, venue: int) -> int | None:
        """When an account last held what was known of it; None: no run has known it."""
        return self._ledger.settled_ns.get(self._spec_of(venue).account)

    def counted_transfers(self, venue: int) -> Container[int]:
        """The numbers of those that the neutral holding has moved with, as far as they matter."""
        return self._ledger.transfers.get(self._spec_of(venue).account, {})

    def count_transfer(self, venue: int, transfer: Transfer) -> None:
        """The neutral holding is about to move with a transfer."""
        self._ledger.count_transfer(self._spec_of(venue).account, transfer)

    @property
    def left_behind(self) -> list[Account]:
        """Accounts where orders of ours may be open, and which this run does not read."""
        return [
            account
            for account, holding in self._ledger.holdings.items()
            if holding.may_have_orders and account not in self.own and account not in self.of_others
        ]

    def close(self, account: Account) -> None:
        """Nothing of ours is open at an account that this run does not read."""
        self._ledger.close_orders(account)

    def accept_left_behind(self) -> None:
        """An operator's word: nothing of ours is open there."""
        for account in self.left_behind:
            self.close(account)

    # --- as things happen ------------------------------------------------------------------------

    def on_timer(self, now_ns: int) -> None:
        """Write what has changed, and now and then a checkpoint."""
        self.look()
        self._checkpoint_ns = self._checkpoint_ns or now_ns
        if now_ns - self._checkpoint_ns >= CHECKPOINT_NS:
            self._checkpoint_ns = now_ns
            self._ledger.checkpoint()

    def look(self, execution_id: int = 0, venue: int = -1) -> None:
        """Write what has changed; `execution_id`: of the fill at `venue` that may have done it."""
        if self.halt == J.REASON_NONE and self._risk[O.RISK_STATE] == O.HALTED:
            # By the gate itself. Who kills says why, and a kill at the end is no halt.
            self.halt = BY_ITSELF.get(int(self._risk[O.RISK_HALT_REASON]), J.REASON_NONE)
        self._look_at_result()
        for each, spec in enumerate(self._spec.venues):
            neutral_lots = self._neutral_lots[each]
            if spec is None or neutral_lots is None:
                continue
            account = spec.account
            before = self._ledger.holdings.get(account)
            known = before.execution_id if before is not None else 0
            now = Holding(neutral_lots, self._executed_lots(each), account.is_live, known)
            is_execution = each == venue and execution_id > 0
            if is_execution or now != before:
                self._ledger.set_holding(account, now, execution_id if is_execution else 0)

    def _executed_lots(self, venue: int) -> int:
        """A venue's position as far as executions make it up. What is counted ahead of them is no
        part of what is remembered: the next run would take the execution, with its price and its
        fee, for one that has been counted."""
        words = (O.VENUE_POSITION_LOTS, O.VENUE_OWED_LOTS)
        position, owed = (int(self._table[O.venue_word(venue, word)]) for word in words)
        return position - owed

    def _executed_cash(self) -> int:
        """The same of the cash, in the maker's currency."""
        cash = int(self._table[O.ACCOUNT_CASH_VALUE])
        for venue in range(len(self._spec.venues)):
            words = (O.VENUE_OWED_CASH, O.VENUE_RATE)
            owed, rate = (int(self._table[O.venue_word(venue, word)]) for word in words)
            cash += -owed * rate // O.RATE_ONE
        return cash

    def _position_lots(self) -> int:
        """What is held at all quoted accounts: as remembered where it is not known yet."""
        lots = 0
        for venue, spec in enumerate(self._spec.venues):
            if spec is not None and self._neutral_lots[venue] is None:
                holding = self._ledger.holdings.get(spec.account)
                lots += holding.position_lots if holding is not None else 0
            elif spec is not None:
                lots += self._executed_lots(venue)
        return lots

    def _look_at_result(self) -> None:
        mantissa, decimals = self._spec.unit
        now = Result(
            mantissa,
            decimals,
            self._executed_cash(),
            int(self._table[O.ACCOUNT_FEE_VALUE]),
            int(self._risk[O.RISK_DAY]),
            int(self._risk[O.RISK_DAY_START_VALUE]),
            self.halt,
            self._position_lots(),
        )
        key = self._spec.is_live, self._spec.symbol
        if self._ledger.results.get(key) != now:
            self._ledger.set_result(key, now)

    def end(self, open_venues: Container[int]) -> None:
        """The market maker has ended, and only at these venues may an order of ours be open."""
        self.look()
        for venue, spec in enumerate(self._spec.venues):
            if spec is not None and venue not in open_venues:
                self._ledger.close_orders(spec.account)
