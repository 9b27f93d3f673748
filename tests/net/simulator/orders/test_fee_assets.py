"""Fees in an asset of the venue's own, as long as there is enough of it."""

from __future__ import annotations

from net.simulator.market import ASK, BID
from net.simulator.options import TradingOptions
from tests.net.simulator.orders.test_matching import Venue

COIN = 10**8
BALANCES = (("BTC", "10"), ("USDT", "1000"), ("BNB", "0.003"))


def venue(*, fee_in_quote: bool = False) -> Venue:
    """A venue that takes a thousandth, in BNB at 50 USDT each."""
    options = TradingOptions(
        balances=BALANCES, maker_fee=1_000, fee_asset="BNB", fee_asset_price="50"
    )
    return Venue(options, fee_in_quote=fee_in_quote)


def filled(it: Venue, side: int, price_ticks: int = 10_000) -> tuple[int, str]:
    """One bought or sold at 100.00, or another price: the fee and its asset."""
    order = it.desk.place(it.wanted(side, COIN, price_ticks), 1)
    it.engine.submit(
        "crowd", -side, (1 if side == BID else 5) * COIN, 2, price_ticks=price_ticks - side
    )
    it.step()
    (made,) = order.executions
    it.desk.check()
    return made.fee_lots, made.fee_asset


def test_a_fee_is_taken_from_the_venue_s_own_asset_until_there_is_too_little() -> None:
    it = venue()
    # 0.1 USDT are 0.002 BNB; of 0.003 there is only once enough.
    assert filled(it, BID) == (200_000, "BNB")
    assert it.account.balance("BTC").free_lots == 11 * COIN
    assert it.account.balance("BNB").free_lots == 100_000
    assert filled(it, ASK, 20_000) == (20_000_000, "USDT")
    assert it.account.balance("BNB").free_lots == 100_000
    assert it.account.fees_paid == {"BNB": 200_000, "USDT": 20_000_000}


def test_a_venue_that_takes_fees_in_quote_has_no_asset_of_its_own() -> None:
    assert filled(venue(fee_in_quote=True), BID) == (10_000_000, "USDT")
