"""What is known of the accounts at the start, and orders of an earlier life."""

from __future__ import annotations

from engine.maker.client_ids import format_client_id
from net.entry.order import Balance, Kind, OrderEvent, State
from net.entry.refusals import ErrorClass
from net.entry.session import Opening
from net.maker.opening import PRESS_EVERY_NS, Openings

NOW_NS = 1_700_000_000 * 10**9
OLD, OWN = (7 << 32) + 1, (8 << 32) + 1


class Entry:
    """Writes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int | str] = []

    def cancel(self, order_id: int, now_ns: int) -> None:
        self.asked.append(order_id)

    def reread(self, now_ns: int) -> None:
        self.asked.append("reread")


def is_open(name: str) -> OrderEvent:
    return OrderEvent(Kind.STATE, State.OPEN, "BTCUSDT", name)


def reading(base_lots: int, *names: str) -> Opening:
    balances = (Balance("BTC", base_lots - 1, 1), Balance("USDT", 5, 5))
    return Opening(tuple(map(is_open, names)), (), balances)


def take(openings: Openings, venue: int, opening: Opening, entry: Entry) -> tuple[int, int]:
    return openings.take(venue, opening, {OWN}, entry, NOW_NS)  # type: ignore[arg-type]


def answer(openings: Openings, entry: Entry, event: OrderEvent, order_id: int = OLD) -> None:
    openings.take_answer(0, order_id, (event,), entry, NOW_NS)  # type: ignore[arg-type]


def test_the_position_is_what_is_held_beyond_the_neutral_amount() -> None:
    entry = Entry()
    for neutral_lots, position_lots in ((None, 0), (0, 500), (450, 50), (600, -100)):
        openings = Openings(["BTC", None, "BTC"], neutral_lots)
        assert openings.strays("abc") == [
            f"{name}: its open orders have not been read" for name in "ac"
        ]
        assert take(openings, 0, reading(300), entry) == (0, 0)
        assert not openings.is_known and openings.has_told(0) and not openings.has_told(2)
        take(openings, 2, reading(200), entry)
        assert openings.is_known and openings.position_lots == position_lots
        assert openings.strays("abc") == []
        assert openings.neutral_lots == (500 if neutral_lots is None else neutral_lots)
        openings.lose(0)
        take(openings, 0, reading(999), entry)
        assert openings.position_lots == position_lots, "later readings move no position"
    assert entry.asked == []


def test_orders_of_an_earlier_life_are_cancelled_before_anything_is_believed() -> None:
    openings, entry = Openings(["BTC"], 0), Entry()
    names = (format_client_id(OLD), format_client_id(OLD + 1), format_client_id(OWN), "mine", "")
    assert take(openings, 0, reading(10, *names), entry) == (2, 2)
    assert entry.asked == [OLD, OLD + 1] and openings.has_strays and not openings.is_known
    assert openings.is_stray(0, OLD) and not openings.is_stray(0, OWN)
    assert len(openings.strays(["binance"])) == 2 and not openings.is_clean(0)
    answer(openings, entry, is_open("")._replace(kind=Kind.CANCELED, state=State.CANCELED))
    assert "reread" not in entry.asked
    gone = OrderEvent(Kind.FAILED, State.UNKNOWN, "BTCUSDT", error=ErrorClass.UNKNOWN_ORDER)
    answer(openings, entry, gone, OLD + 1)
    assert entry.asked[-1] == "reread" and not openings.is_known and not openings.has_strays
    assert take(openings, 0, reading(12), entry) == (0, 0)
    assert openings.is_clean(0) and openings.position_lots == 12


def test_a_stray_that_stays_is_pressed_every_second() -> None:
    openings, entry = Openings(["BTC"], 0), Entry()
    take(openings, 0, reading(10, format_client_id(OLD)), entry)
    refused = OrderEvent(Kind.FAILED, State.UNKNOWN, "BTCUSDT", error=ErrorClass.RATE_LIMITED)
    answer(openings, entry, refused)
    assert openings.has_strays
    for tenth in range(1, 31):
        openings.press(0, entry, NOW_NS + tenth * PRESS_EVERY_NS // 10)  # type: ignore[arg-type]
    assert entry.asked == [OLD] * 4


def test_an_order_that_an_earlier_life_sent_late_is_a_stray_too() -> None:
    openings, entry = Openings(["BTC"], 0), Entry()
    take(openings, 0, reading(10), entry)
    accepted = is_open("")._replace(kind=Kind.ACCEPTED)
    for name in ("", "theirs", format_client_id(OWN)):
        openings.meet(0, accepted._replace(client_order_id=name), OWN >> 32)
    assert not openings.has_strays and openings.is_clean(0)
    openings.meet(0, accepted._replace(client_order_id=format_client_id(OLD)), OWN >> 32)
    assert openings.is_stray(0, OLD) and not openings.is_clean(0)
    openings.press(0, entry, NOW_NS)  # type: ignore[arg-type]
    assert entry.asked == [OLD] and openings.position_lots == 10
