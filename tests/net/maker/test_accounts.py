"""Accounts in the ledger: resumed at a start, written as they change."""

from __future__ import annotations

import numpy as np
import pytest

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker.risk_gate import new_risk
from net.journal.ledger import Account, Holding, Ledger, Result
from net.maker.accounts import Accounts, AccountSpec, AccountsSpec
from net.maker.recovery import Memory, Start
from tests.engine.maker.rig import FAIR, LIMITS
from tests.engine.maker.rig import Maker as Gate

pytestmark = pytest.mark.kernel

ACCOUNT = Account(True, "binance", "BTCUSDT")
KEY = (True, "BTC-USD")
UNIT = (5, 10)
TODAY = 20_000


class Bench:
    """One quoted venue and one that is not."""

    def __init__(self, ledger: Ledger, neutral_lots: int | None = None) -> None:
        gate = Gate(venues=2)
        self.ledger, self.table, self.gate = ledger, gate.table, gate
        self.risk = new_risk(LIMITS, 2)
        specs = (None, AccountSpec(ACCOUNT, "BTC", neutral_lots))
        spec = AccountsSpec("BTC-USD", True, specs, UNIT)
        self.accounts = Accounts(ledger, spec, self.table, self.risk)


def ledger_of(holding: Holding | None = None, result: Result | None = None) -> Ledger:
    ledger = Ledger()
    if holding is not None:
        ledger.holdings[ACCOUNT] = holding
    if result is not None:
        ledger.results[KEY] = result
    return ledger


def test_what_is_remembered_of_an_account_is_of_its_mode_venue_and_market() -> None:
    ledger = ledger_of(Holding(100, 5, False, 0))
    others = [ACCOUNT._replace(is_live=False), ACCOUNT._replace(market="BTCUSDC")]
    for at, other in enumerate((*others, ACCOUNT._replace(venue="bitstamp"))):
        ledger.holdings[other] = Holding(at, at, False, 0)
    unquoted, memory = Bench(ledger).accounts.memories()
    assert unquoted is None and memory is not None
    assert (memory.base, memory.neutral_lots, memory.position_lots) == ("BTC", 100, 5)
    assert not memory.is_given and not memory.is_paper
    _, given = Bench(ledger, 7).accounts.memories()
    assert given is not None and given.is_given and given.neutral_lots == 7
    _, new = Bench(Ledger()).accounts.memories()
    assert isinstance(new, Memory) and new.neutral_lots is None and new.position_lots == 0


@pytest.mark.parametrize(
    ("day", "resumed"), [(TODAY, TODAY), (TODAY - 1, TODAY - 1), (TODAY + 9, TODAY)]
)
def test_cash_day_and_halt_are_resumed(day: int, resumed: int) -> None:
    """Issue 14.3. A day of a clock that was ahead is today's."""
    bench = Bench(ledger_of(result=Result(1, 9, -333, 4, day, 333, J.REASON_LOSS_LIMIT)))
    bench.accounts.resume(TODAY)
    assert bench.table[O.ACCOUNT_CASH_VALUE] == -666, "of half the unit twice as many"
    assert bench.table[O.ACCOUNT_FEE_VALUE] == 8
    assert bench.risk[O.RISK_DAY] == bench.risk[O.RISK_RESUMED_DAY] == resumed
    assert bench.risk[O.RISK_DAY_START_VALUE] == 666
    assert bench.risk[O.RISK_STATE] == O.HALTED
    assert bench.risk[O.RISK_HALT_REASON] == R.DAILY_LOSS
    assert bench.accounts.halt == J.REASON_LOSS_LIMIT


def test_a_value_in_coarser_units_is_rounded_against_us() -> None:
    bench = Bench(ledger_of(result=Result(1, 10, -7, 0, TODAY, 7, J.REASON_NONE)))
    bench.accounts.resume(TODAY)
    assert bench.table[O.ACCOUNT_CASH_VALUE] == -2
    assert bench.risk[O.RISK_DAY_START_VALUE] == 2
    assert bench.risk[O.RISK_STATE] == O.NORMAL


def test_a_position_is_the_tables_once_and_written_with_each_execution() -> None:
    bench = Bench(ledger_of(Holding(100, 5, False, 3)))
    bench.accounts.open(1, Start(100, 5), 7)
    assert bench.gate.position == 5
    bench.accounts.open(1, Start(130, 5), 8)
    assert bench.gate.position == 5, "an accepted difference moves no position"
    assert bench.ledger.holdings[ACCOUNT] == Holding(130, 5, True, 3)
    written: list[tuple[Holding, int]] = []
    set_holding = bench.ledger.set_holding

    def watched(account: Account, holding: Holding, execution_id: int = 0) -> None:
        written.append((holding, execution_id))
        set_holding(account, holding, execution_id)

    vars(bench.ledger)["set_holding"] = watched
    bench.accounts.look()
    assert not written, "nothing has changed"
    at = O.ACCOUNT_WORDS + O.VENUE_WORDS + O.VENUE_POSITION_LOTS
    bench.table[at] = bench.table[O.ACCOUNT_POSITION_LOTS] = 9
    bench.accounts.look(44, 1)
    assert written == [(Holding(130, 9, True, 3), 44)]
    assert bench.ledger.holdings[ACCOUNT].execution_id == 44
    bench.accounts.end({0})
    assert not bench.ledger.holdings[ACCOUNT].may_have_orders
    bench.accounts.end({1})


def test_what_only_a_sum_has_told_is_remembered_once_its_execution_comes() -> None:
    """Seed 567: a venue said that an order was filled, the run ended, and the next one took the
    execution for one that had been counted; its fee was never."""
    bench = Bench(ledger_of(Holding(100, 0, False, 0)))
    bench.accounts.open(1, Start(100, 0), 7)
    order = bench.gate.open(O.BUY, FAIR - 1, 10, venue=1)
    bench.gate.fill(order, 5, O.BUY, FAIR - 1, 4, venue=1)
    bench.accounts.look(5, 1)
    assert bench.ledger.holdings[ACCOUNT].position_lots == 4
    cash = bench.ledger.results[KEY].cash_value
    assert cash == -4 * (FAIR - 1)
    bench.gate.event(O.CANCEL_ACK, order, 10, venue=1)
    bench.accounts.look()
    assert bench.gate.position == 10, "limits count it at once"
    assert bench.ledger.holdings[ACCOUNT].position_lots == 4
    result = bench.ledger.results[KEY]
    assert result.cash_value == cash and result.position_lots == 4
    bench.gate.fill(order, 6, O.BUY, FAIR - 2, 6, venue=1, fee_value=3)
    bench.accounts.look(6, 1)
    assert bench.gate.position == bench.ledger.holdings[ACCOUNT].position_lots == 10
    result = bench.ledger.results[KEY]
    assert result.cash_value == cash - 6 * (FAIR - 2) - 3 and result.position_lots == 10


def test_a_halt_of_the_gate_is_remembered_and_a_kill_at_the_end_is_not() -> None:
    """Issue 14.3."""
    bench = Bench(Ledger())
    bench.risk[O.RISK_STATE], bench.risk[O.RISK_HALT_REASON] = O.HALTED, R.KILLED
    bench.accounts.look()
    assert bench.ledger.results[KEY].halt == J.REASON_NONE
    bench.risk[O.RISK_HALT_REASON] = R.ANOMALY
    bench.accounts.look()
    assert bench.ledger.results[KEY].halt == J.REASON_ANOMALY
    assert np.count_nonzero(bench.table[: O.ACCOUNT_WORDS]) > 0


def test_what_an_earlier_run_may_have_left_open_elsewhere_is_named_until_accepted() -> None:
    """Issue 14.2: a venue that was switched off, a symbol that was swapped."""
    ledger = ledger_of(Holding(1, 0, True, 0))
    off = [ACCOUNT._replace(venue="bitstamp"), ACCOUNT._replace(market="BTCUSDC")]
    ledger.holdings |= dict.fromkeys(off, Holding(1, 0, True, 0))
    ledger.holdings[ACCOUNT._replace(market="BTCEUR")] = Holding(1, 0, False, 0)
    bench = Bench(ledger)
    assert bench.accounts.left_behind == off
    bench.accounts.accept_left_behind()
    assert bench.accounts.left_behind == [] and ledger.holdings[ACCOUNT].may_have_orders


def test_a_checkpoint_is_written_now_and_then() -> None:
    bench = Bench(Ledger())
    written: list[int] = []
    vars(bench.ledger)["checkpoint"] = lambda: written.append(1)
    for second in range(1, 1_250):
        bench.accounts.on_timer(second * 10**9)
    assert len(written) == 2


@pytest.mark.parametrize("position", [5, 7])
def test_a_day_goes_on_with_the_accounts_that_it_was_counted_with(position: int) -> None:
    """A venue that was withdrawn took its position along: that is no loss, and none comes back."""
    ledger = ledger_of(Holding(100, 5, False, 3))
    ledger.results[True, "BTC-USD"] = Result(*UNIT, -2, 0, TODAY, 9, J.REASON_NONE, position)
    bench = Bench(ledger)
    bench.accounts.resume(TODAY)
    assert bench.accounts.is_day_anew == (position != 5)
    assert bench.table[O.ACCOUNT_CASH_VALUE] == -2, "cash is what it was"
    begun = (TODAY, 9) if position == 5 else (R.NO_DAY, 0)
    assert (bench.risk[O.RISK_DAY], bench.risk[O.RISK_DAY_START_VALUE]) == begun
    bench.accounts.look()
    assert bench.ledger.results[True, "BTC-USD"].position_lots == 5
