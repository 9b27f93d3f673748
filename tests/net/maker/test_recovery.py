"""What is known of the accounts at the start, and orders of an earlier life."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, SELL
from net.maker.recovery import CANCEL_AGAIN_NS, Memory, Recovery, Start, settle
from net.orders.errors import ErrorClass
from net.orders.interface import Opening
from net.orders.messages import Balance, Kind, OrderEvent, State

NOW_NS = 1_700_000_000 * 10**9
OLD, OWN = (7 << 32) + 1, (8 << 32) + 1
OLD_NAME = format_client_id(OLD)


class Entry:
    """Writes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int | str] = []

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        self.asked += order_ids

    def reread(self, now_ns: int) -> None:
        self.asked.append("reread")


def is_open(name: str) -> OrderEvent:
    return OrderEvent(Kind.STATE, State.OPEN, "BTCUSDT", name)


def reading(base_lots: int, *names: str) -> Opening:
    balances = (Balance("BTC", base_lots - 1, 1), Balance("USDT", 5, 5))
    return Opening(tuple(map(is_open, names)), (), balances)


def take(recovery: Recovery, venue: int, opening: Opening, entry: Entry) -> tuple[int, int]:
    return recovery.take(venue, opening, {OWN}, entry, NOW_NS)  # type: ignore[arg-type]


def answer(recovery: Recovery, entry: Entry, event: OrderEvent, order_id: int = OLD) -> None:
    recovery.take_answer(0, order_id, (event,), entry, NOW_NS)  # type: ignore[arg-type]


def recovery_of(*memories: Memory | None) -> Recovery:
    return Recovery(memories)


def trade(
    side: int, lots: int, execution_id: int, name: str | None = OLD_NAME, **more: Any
) -> OrderEvent:
    event = OrderEvent(Kind.FILL, State.OPEN, "BTCUSDT", name, side=side, last_lots=lots, **more)
    return event._replace(execution_id=execution_id, last_price_ticks=7)


def test_the_position_is_known_once_every_quoted_venue_has_told() -> None:
    entry = Entry()
    recovery = recovery_of(Memory("BTC", 300, 2), None, Memory("BTC", 190, 10))
    assert recovery.strays("abc") == [
        f"{name}: its open orders have not been read" for name in "ac"
    ]
    assert recovery.open_venues == {0, 2}
    assert take(recovery, 0, reading(302), entry) == (0, 0)
    assert not recovery.is_known and recovery.has_told(0) and not recovery.has_told(2)
    take(recovery, 2, reading(200), entry)
    assert recovery.is_known and recovery.position_lots == 12
    assert recovery.strays("abc") == [] and not recovery.disputed and not recovery.open_venues
    recovery.lose(0)
    take(recovery, 0, reading(999), entry)
    assert recovery.position_lots == 12, "later readings move no position"
    assert entry.asked == []


def start_of(memory: Memory, held_lots: int, *trades: OrderEvent) -> Start:
    return settle(memory, reading(held_lots)._replace(trades=trades))


@pytest.mark.parametrize(
    ("memory", "held_lots", "start"),
    [
        (Memory("BTC"), 500, Start(500, 0, is_new=True)),
        (Memory("BTC", 480, 20), 500, Start(480, 20)),
        (Memory("BTC", 480, 20), 510, Start(480, 20, difference_lots=10)),
        (Memory("BTC", 480, 20), 0, Start(480, 20, difference_lots=-500)),
        (Memory("BTC", 450, 20, is_given=True), 500, Start(450, 50)),
        (Memory("BTC", 9, 20, is_paper=True), 0, Start(0, 20)),
        (Memory("ETH", 0, 0), 500, Start(0, 0)),
    ],
    ids=["new", "as it was", "deposit", "withdrawal", "configured", "paper", "other base"],
)
def test_what_an_account_holds_is_its_neutral_holding_and_the_position(
    memory: Memory, held_lots: int, start: Start
) -> None:
    """Issue 14.1."""
    assert start_of(memory, held_lots) == start
    assert start.is_disputed == (start.difference_lots != 0)


def test_trades_that_nobody_has_counted_are_taken_and_explain_the_account() -> None:
    """Issue 14.1: fills while the process was down."""
    buy, sell, again = trade(BUY, 30, 5), trade(SELL, 10, 6), trade(BUY, 30, 7)
    theirs = trade(BUY, 1_000, 8, "theirs")
    memory = Memory("BTC", 480, 20, has_counted=lambda execution_id: execution_id <= 5)
    assert start_of(memory, 520, buy, theirs, sell, again) == Start(480, 20, (sell, again))
    assert start_of(memory, 500, buy, theirs, sell, again) == Start(480, 20)
    assert start_of(memory, 530, buy, theirs, sell, again) == Start(480, 20, (again,)), (
        "a sum may have counted the earlier one"
    )
    disputed = start_of(memory, 521, buy, theirs, sell, again)
    assert disputed == Start(480, 20, (sell, again), difference_lots=1)
    assert disputed.is_disputed and disputed.accepted() == Start(481, 20, (sell, again))


def test_a_fee_in_the_base_currency_is_part_of_what_a_trade_changes() -> None:
    bought = trade(BUY, 1_000, 5, fee_lots=1, fee_asset="BTC")
    paid_in_quote = trade(SELL, 100, 6, fee_lots=9, fee_asset="USDT")
    memory = Memory("BTC", 480, 20)
    assert start_of(memory, 1_399, bought, paid_in_quote).difference_lots == 0


def test_a_lost_journal_yields_no_new_neutral_holding_in_silence() -> None:
    """Issue 14.1: trades of ours, and nothing known of them."""
    start = start_of(Memory("BTC"), 500, trade(BUY, 30, 5))
    assert start.has_history and start.is_disputed and start.position_lots == 0
    assert not start.accepted().is_disputed and start.accepted().neutral_lots == 500
    assert not start_of(Memory("BTC"), 500, trade(BUY, 30, 5, "theirs")).is_disputed
    assert start_of(Memory("BTC"), 500, trade(BUY, 30, 5, None)).is_disputed, "whose is not said"


def test_a_venue_that_names_no_orders_in_its_trades_is_believed_too() -> None:
    unnamed = trade(BUY, 30, 9, None)
    assert start_of(Memory("BTC", 480, 20), 530, unnamed) == Start(480, 20, (unnamed,))


def test_orders_of_an_earlier_life_are_cancelled_before_anything_is_believed() -> None:
    recovery, entry = recovery_of(Memory("BTC", 10, 0)), Entry()
    names = (format_client_id(OLD), format_client_id(OLD + 1), format_client_id(OWN), "mine", "")
    assert take(recovery, 0, reading(10, *names), entry) == (2, 2)
    assert entry.asked == [OLD, OLD + 1] and recovery.has_strays and not recovery.is_known
    assert recovery.is_stray(0, OLD) and not recovery.is_stray(0, OWN)
    assert len(recovery.strays(["binance"])) == 2 and not recovery.is_clean(0)
    answer(recovery, entry, is_open("")._replace(kind=Kind.CANCELED, state=State.CANCELED))
    assert "reread" not in entry.asked
    gone = OrderEvent(Kind.FAILED, State.UNKNOWN, "BTCUSDT", error=ErrorClass.UNKNOWN_ORDER)
    answer(recovery, entry, gone, OLD + 1)
    assert entry.asked[-1] == "reread" and not recovery.is_known and not recovery.has_strays
    assert take(recovery, 0, reading(12), entry) == (0, 0)
    assert recovery.is_clean(0) and recovery.disputed == [0], "2 more than they held"
    recovery.accept([0])
    assert recovery.starts == [Start(12, 0)] and not recovery.disputed


def test_a_stray_that_stays_is_pressed_every_second() -> None:
    recovery, entry = recovery_of(Memory("BTC", 10, 0)), Entry()
    take(recovery, 0, reading(10, format_client_id(OLD)), entry)
    refused = OrderEvent(Kind.FAILED, State.UNKNOWN, "BTCUSDT", error=ErrorClass.RATE_LIMITED)
    answer(recovery, entry, refused)
    assert recovery.has_strays
    for tenth in range(1, 31):
        recovery.cancel_again(0, entry, NOW_NS + tenth * CANCEL_AGAIN_NS // 10)  # type: ignore[arg-type]
    assert entry.asked == [OLD] * 4


def test_an_order_that_an_earlier_life_sent_late_is_a_stray_too() -> None:
    recovery, entry = recovery_of(Memory("BTC", 10, 0)), Entry()
    take(recovery, 0, reading(10), entry)
    accepted = is_open("")._replace(kind=Kind.ACCEPTED)
    for name in ("", "theirs", format_client_id(OWN)):
        recovery.meet(0, accepted._replace(client_order_id=name), OWN >> 32)
    assert not recovery.has_strays and recovery.is_clean(0)
    recovery.meet(0, accepted._replace(client_order_id=format_client_id(OLD)), OWN >> 32)
    assert recovery.is_stray(0, OLD) and not recovery.is_clean(0)
    recovery.cancel_again(0, entry, NOW_NS)  # type: ignore[arg-type]
    assert entry.asked == [OLD] and recovery.position_lots == 0
