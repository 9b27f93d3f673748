"""What is known of the accounts at the start, and orders of an earlier life."""

from __future__ import annotations

from collections.abc import Iterable

from engine.maker.client_ids import format_client_id
from net.maker.recovery import CANCEL_AGAIN_NS, Recovery
from net.orders.errors import ErrorClass
from net.orders.interface import Opening
from net.orders.messages import Balance, Kind, OrderEvent, State

NOW_NS = 1_700_000_000 * 10**9
OLD, OWN = (7 << 32) + 1, (8 << 32) + 1


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


def test_the_position_is_what_is_held_beyond_the_neutral_amount() -> None:
    entry = Entry()
    for neutral_lots, position_lots in ((None, 0), (0, 500), (450, 50), (600, -100)):
        recovery = Recovery(["BTC", None, "BTC"], neutral_lots)
        assert recovery.strays("abc") == [
            f"{name}: its open orders have not been read" for name in "ac"
        ]
        assert take(recovery, 0, reading(300), entry) == (0, 0)
        assert not recovery.is_known and recovery.has_told(0) and not recovery.has_told(2)
        take(recovery, 2, reading(200), entry)
        assert recovery.is_known and recovery.position_lots == position_lots
        assert recovery.strays("abc") == []
        assert recovery.neutral_lots == (500 if neutral_lots is None else neutral_lots)
        recovery.lose(0)
        take(recovery, 0, reading(999), entry)
        assert recovery.position_lots == position_lots, "later readings move no position"
    assert entry.asked == []


def test_orders_of_an_earlier_life_are_cancelled_before_anything_is_believed() -> None:
    recovery, entry = Recovery(["BTC"], 0), Entry()
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
    assert recovery.is_clean(0) and recovery.position_lots == 12


def test_a_stray_that_stays_is_pressed_every_second() -> None:
    recovery, entry = Recovery(["BTC"], 0), Entry()
    take(recovery, 0, reading(10, format_client_id(OLD)), entry)
    refused = OrderEvent(Kind.FAILED, State.UNKNOWN, "BTCUSDT", error=ErrorClass.RATE_LIMITED)
    answer(recovery, entry, refused)
    assert recovery.has_strays
    for tenth in range(1, 31):
        recovery.cancel_again(0, entry, NOW_NS + tenth * CANCEL_AGAIN_NS // 10)  # type: ignore[arg-type]
    assert entry.asked == [OLD] * 4


def test_an_order_that_an_earlier_life_sent_late_is_a_stray_too() -> None:
    recovery, entry = Recovery(["BTC"], 0), Entry()
    take(recovery, 0, reading(10), entry)
    accepted = is_open("")._replace(kind=Kind.ACCEPTED)
    for name in ("", "theirs", format_client_id(OWN)):
        recovery.meet(0, accepted._replace(client_order_id=name), OWN >> 32)
    assert not recovery.has_strays and recovery.is_clean(0)
    recovery.meet(0, accepted._replace(client_order_id=format_client_id(OLD)), OWN >> 32)
    assert recovery.is_stray(0, OLD) and not recovery.is_clean(0)
    recovery.cancel_again(0, entry, NOW_NS)  # type: ignore[arg-type]
    assert entry.asked == [OLD] and recovery.position_lots == 10
