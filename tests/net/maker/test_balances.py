"""What an account has for orders: told by the venue, changed by fills, limited by a refusal."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.maker import order_layout as O
from engine.maker.funds import (
    FUND_BASE_LOTS,
    FUND_BUY_LOTS_MAX,
    FUND_QUOTE_VALUE,
    FUND_SELL_LOTS_MAX,
    new_funds,
)
from net.maker.balances import Balances
from net.maker.fees import FeeCounter
from net.maker.refusal_backoff import RefusalBackoff
from net.orders.errors import ErrorClass
from net.orders.messages import Balance
from tests.engine.maker.rig import Maker as Gate
from tests.net.maker.rig import fee_rules, seeded

pytestmark = pytest.mark.kernel

VALUE_SIZE = Decimal("0.0000000001")
"""A price unit of a cent times a lot: a lot of the quote currency is a hundred values."""
S = 10**9
UNLIMITED = (O.VALUE_MAX, O.LOTS_MAX)


class Bench:
    """One venue, BTC for USDT."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.funds = new_funds(1)
        self.balances = Balances(self.gate.table, self.funds, FeeCounter(fee_rules(), VALUE_SIZE))

    def tell(self, asset: str, free: int, locked: int = 0) -> None:
        self.balances.take(0, [Balance(asset, free, locked)])

    @property
    def money(self) -> tuple[int, int]:
        """For bids as a value, for asks in lots."""
        return int(self.funds[FUND_QUOTE_VALUE]), int(self.funds[FUND_BASE_LOTS])

    @property
    def most(self) -> tuple[int, int]:
        """What may be open of a side at most."""
        return int(self.funds[FUND_BUY_LOTS_MAX]), int(self.funds[FUND_SELL_LOTS_MAX])


def test_what_is_not_told_is_not_limited() -> None:
    bench = Bench()
    bench.balances.take(0, ())
    bench.tell("ETH", 5)
    bench.balances.on_timer(0)
    assert bench.money == UNLIMITED and bench.most == (O.LOTS_MAX, O.LOTS_MAX)


def test_free_and_what_our_own_orders_lock_is_money_for_orders() -> None:
    bench = Bench()
    bench.gate.open(O.SELL, bench.gate.fair, 100)
    bench.tell("BTC", 400, 100)
    assert bench.money == (O.VALUE_MAX, 500)
    bench.tell("USDT", 1_000, 0)
    assert bench.money == (99_000, 500), "a hundredth of the money for bids is kept back"
    bench.tell("USDT", 0, 0)
    assert bench.money == (0, 500)


def test_what_others_lock_is_not_ours_to_use() -> None:
    bench = Bench()
    price = bench.gate.fair
    bench.gate.open(O.SELL, price, 100)
    bench.tell("BTC", 400, 350)
    assert bench.money[1] == 500 + 1, "750 less what is locked above ours and a hundredth of that"
    bench.gate.open(O.BUY, price - 10, 100)
    ours = 100 * (price - 10)
    locked = (ours + ours // 100 + 500) // 100 + 1
    bench.tell("USDT", 10**6, locked)
    others = locked * 100 - ours - ours // 100
    money = (10**6 + locked) * 100 - others
    assert 0 < others <= 700 and bench.money[0] == money - money * 10 // 1_000


def test_an_order_that_went_while_the_venue_was_asked_is_not_another_s() -> None:
    bench = Bench()
    order = bench.gate.open(O.SELL, bench.gate.fair, 100)
    asked_with = bench.balances.locks(0)
    assert asked_with == (0, 100)
    bench.gate.event(O.CANCEL_ACK, order)
    bench.balances.take(0, [Balance("BTC", 400, 100)], asked_with)
    assert bench.money[1] == 500
    bench.tell("BTC", 400, 100)
    assert bench.money[1] == 400


def test_fills_change_it_until_the_venue_tells_anew() -> None:
    bench = Bench()
    price = bench.gate.fair
    order = bench.gate.open(O.BUY, price, 100)
    bench.tell("BTC", 400)
    bench.tell("USDT", 10**6)
    bench.gate.fill(order, 1, O.BUY, price, 40, 40, fee_base_lots=1, fee_value=7)
    assert bench.money[1] == 400
    bench.balances.on_timer(0)
    money = 10**8 - 40 * price - 7
    assert bench.money == (money - money * 10 // 1_000, 439)
    bench.tell("BTC", 439)
    assert bench.money[1] == 439, "not twice"
    bench.gate.fill(0, 2, O.SELL, price, 1_000)
    bench.balances.on_timer(0)
    assert bench.money[1] == 0, "never below nothing"


def test_a_position_that_is_brought_along_is_no_fill() -> None:
    bench = Bench()
    bench.tell("BTC", 400)
    before = bench.balances.positions()
    assert before == [0]
    bench.gate.table[O.ACCOUNT_WORDS + O.VENUE_POSITION_LOTS] += 70
    bench.balances.bring(before)
    bench.balances.on_timer(0)
    assert bench.balances.positions() == [70] and bench.money[1] == 400
    bench.gate.fill(0, 1, O.SELL, bench.gate.fair, 30)
    bench.balances.on_timer(0)
    assert bench.money[1] == 370


def test_a_refusal_for_money_keeps_what_is_open_and_ends() -> None:
    bench = Bench()
    price = bench.gate.fair
    bench.gate.open(O.BUY, price - 10, 100)
    bench.gate.open(O.BUY, price - 11, 30, level=1)
    bench.gate.open(O.SELL, price + 10, 70)
    bench.balances.refuse(0, O.BUY, 5 * S, 2 * S)
    assert bench.most == (130, O.LOTS_MAX)
    bench.balances.on_timer(7 * S - 1)
    assert bench.most == (130, O.LOTS_MAX)
    bench.balances.on_timer(7 * S)
    assert bench.most == (O.LOTS_MAX, O.LOTS_MAX)


def test_a_refusal_for_money_pauses_no_side_and_waits_longer_each_time() -> None:
    backoff = RefusalBackoff(1, seeded())
    waits = []
    for _ in range(4):
        is_ordinary, wait_ns = backoff.fail(0, O.BUY, ErrorClass.INSUFFICIENT_BALANCE, 0)
        waits.append(wait_ns)
        assert not is_ordinary and not backoff.must_pause(0, O.BUY, 0)
    assert 0 < waits[0] < waits[-1]
    backoff.fail(0, O.BUY, ErrorClass.BAD_FILTER, 0)
    assert backoff.must_pause(0, O.BUY, 0)
