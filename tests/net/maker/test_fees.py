"""Fees from what a venue says to position, cash, journal and quotes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.client_ids import format_client_id
from engine.maker.quotes import QuoteSpec
from net.journal.files import Record
from net.maker.event_journal import EventJournal
from net.maker.fees import Fee, FeeCounter, put_fee, quoted_with
from net.maker.own_orders import OwnOrders, Sent
from net.orders.messages import Kind, OrderEvent, State
from tests.engine.maker.rig import NOW_NS
from tests.engine.maker.rig import Maker as Gate
from tests.net.maker.rig import fee_rules

pytestmark = pytest.mark.kernel

CENT_VALUE = Decimal("0.0000000001")
"""A price unit of a cent times a lot."""
PRICE, LOTS = 60_000_00, 10_000_000


def fill(lots: int, asset: str, number: int = 1, order_id: int = 0) -> OrderEvent:
    """An execution that has cost so many lots of an asset."""
    return OrderEvent(
        Kind.FILL,
        State.FILLED,
        "BTCUSDT",
        format_client_id(order_id) if order_id else None,
        side=O.BUY,
        last_lots=LOTS,
        last_price_ticks=PRICE,
        execution_id=number,
        fee_lots=lots,
        fee_asset=asset,
    )


def test_each_asset_s_fee_goes_where_it_was_taken_from() -> None:
    fees = FeeCounter(fee_rules({"BNB": "601.5"}), CENT_VALUE)
    assert fees.of(0, fill(10_000, "BTC")) == Fee(10_000, 0, J.REASON_FEE_IN_BASE)
    # 6.00000001 dollars, in hundredths of 1e-8.
    assert fees.of(0, fill(600_000_001, "USDT")) == Fee(0, 60_000_000_100, J.REASON_FEE_IN_QUOTE)
    assert fees.of(0, fill(10**8, "BNB")) == Fee(0, 6_015_000_000_000, J.REASON_FEE_IN_OTHER)
    assert fees.of(0, fill(10**8, "KAU")) == Fee(0, 0, J.REASON_FEE_NOT_VALUED)
    assert fees.of(0, fill(0, "BNB")) == Fee(0, 0, J.REASON_NONE)


def test_values_are_rounded_against_us() -> None:
    fees = FeeCounter(fee_rules({"BNB": "0.3"}), Decimal("0.00000001"))
    assert fees.of(0, fill(1, "BNB")).value == 1
    assert fees.of(0, fill(-1, "BNB")).value == 0, "a rebate is rounded down"
    coarse = FeeCounter(fee_rules(), Decimal("0.000001"))
    assert [coarse.of(0, fill(lots, "USDT")).value for lots in (100, 101, -199)] == [1, 2, -1]


def test_the_quote_currency_of_another_venue_counts_as_one() -> None:
    rules = replace(fee_rules(), bases=("BTC", "BTC"), quotes=("USDT", "USD"), maker_ppm=(0, 0))
    fee = FeeCounter(rules, CENT_VALUE).of(0, fill(5, "usd"))
    assert fee == Fee(0, 500, J.REASON_FEE_IN_QUOTE)


class Bench:
    """One venue's table with an open order, and its own orders."""

    def __init__(self, rates: dict[str, str] | None = None) -> None:
        self.gate = Gate()
        self.records: list[Record] = []
        self.fees = FeeCounter(fee_rules(rates), CENT_VALUE)
        journal = EventJournal(self, lambda: NOW_NS)
        self.orders = OwnOrders(self.gate.table, (1,), journal, self.fees)
        self.orders.counts[0] = True
        self.order = self.gate.open(O.BUY, self.gate.fair, 20)
        self.orders.sent[self.order] = Sent(0, 0, self.gate.fair, 20, NOW_NS, O.OPEN)

    def append(self, record: Record) -> int:
        self.records.append(record)
        return len(self.records)

    def hear(self, lots: int, asset: str, number: int = 1) -> None:
        event = fill(lots, asset, number, self.order)._replace(last_price_ticks=self.gate.fair)
        self.orders.take_push(0, (event._replace(last_lots=10),))

    def word(self, word: int) -> int:
        return int(self.gate.table[word])


def test_a_fill_s_fee_is_counted_and_journaled_once() -> None:
    bench = Bench()
    for _ in range(2):
        bench.hear(3, "BTC")
    assert bench.word(O.ACCOUNT_POSITION_LOTS) == 7
    assert [record.kind for record in bench.records] == [J.EVENT_FILL, J.EVENT_FEE]
    fee = bench.records[1]
    assert (fee.order, fee.lots, fee.filled_lots) == (bench.order, 3, 0)
    assert fee.reason == J.REASON_FEE_IN_BASE and fee.price_ticks == bench.gate.fair
    assert bench.fees.paid == {(0, "BTC"): 3}


def test_a_fee_in_quote_is_journaled_with_its_value() -> None:
    bench = Bench()
    bench.hear(3, "USDT")
    assert bench.word(O.ACCOUNT_CASH_VALUE) == -10 * bench.gate.fair - 300
    fee = bench.records[1]
    assert (fee.lots, fee.filled_lots, fee.reason) == (3, 300, J.REASON_FEE_IN_QUOTE)


def test_a_fill_that_costs_nothing_journals_no_fee() -> None:
    bench = Bench()
    bench.hear(0, "")
    assert [record.kind for record in bench.records] == [J.EVENT_FILL]


def test_a_fee_without_a_rate_is_counted_apart() -> None:
    bench = Bench()
    bench.hear(3, "BNB", 1)
    bench.hear(4, "BNB", 2)
    assert bench.word(O.ACCOUNT_UNVALUED_FEES) == 2 and bench.word(O.ACCOUNT_FEE_VALUE) == 0
    assert bench.word(O.ACCOUNT_POSITION_LOTS) == 20
    assert bench.fees.paid == {(0, "BNB"): 7}
    assert bench.records[1].reason == J.REASON_FEE_NOT_VALUED
    assert bench.fees.take_untold() == [(0, "BNB")] and bench.fees.take_untold() == []


SPEC = QuoteSpec(lots=10, position_lots_max=100, levels=3, first=500, step=200, edge_ppm_min=100)


@pytest.mark.parametrize(
    ("fee_ppm", "edge_ppm", "first"),
    [(0, 100, 500), (300, 400, 500), (400, 500, 500), (401, 501, 501), (-50, 100, 500)],
)
def test_the_edge_is_after_the_fee_and_moves_the_whole_grid(
    fee_ppm: int, edge_ppm: int, first: int
) -> None:
    quoted = quoted_with(SPEC, fee_ppm)
    assert (quoted.edge_ppm_min, quoted.first, quoted.step) == (edge_ppm, first, 200)
    words = np.concatenate([SPEC.words(), SPEC.words()])
    put_fee(words, Q.QUOTE_WORDS, SPEC, fee_ppm)
    assert (words == np.concatenate([SPEC.words(), quoted.words()])).all()


def test_in_ticks_the_edge_alone_holds() -> None:
    quoted = quoted_with(replace(SPEC, unit=Q.IN_TICKS, first=3, step=1), 1_000)
    assert (quoted.edge_ppm_min, quoted.first) == (1_100, 3)
