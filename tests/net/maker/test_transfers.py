"""Deposits and withdrawals that explain an account, and those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from net.maker.transfers import READ_EVERY_NS, SLACK_NS, TransferReader, explain
from net.orders.transfers import Transfer, transfer_number

S = 10**9
SETTLED_NS, READ_NS = 1_000_000 * S, 1_100_000 * S
MIDDLE_NS = 1_050_000 * S


def transfer(number: int, lots: int, time_ns: int = MIDDLE_NS) -> Transfer:
    return Transfer(number, lots, time_ns + number)


def explained(difference_lots: int, *transfers: Transfer, counted: tuple[int, ...] = ()) -> Any:
    found = explain(difference_lots, transfers, counted, SETTLED_NS, READ_NS)
    return [each.number for each in found]


def test_a_sum_of_all_since_then_explains_and_a_part_of_it_does_not() -> None:
    first, second, third = transfer(1, 100), transfer(2, -30), transfer(3, 7)
    assert explained(77, second, first, third) == [1, 2, 3], "whatever the order of the list"
    for lots in (100, 70, -23, 107, 7, 0, 78):
        assert explained(lots, first, second, third) == [], f"{lots}: the rest is there too"


def test_each_transfer_counts_once() -> None:
    """However often a history lists it, in one reading or after another start."""
    first, second = transfer(1, 100), transfer(2, -30)
    assert explained(100, first, first) == [1]
    assert explained(200, first, first) == []
    assert explained(-30, first, second, counted=(1,)) == [2]
    assert explained(100, first, counted=(1,)) == []


def test_what_was_booked_before_or_after_explains_nothing() -> None:
    before, after = (
        transfer(1, 50, SETTLED_NS - 2 * SLACK_NS),
        transfer(9, 60, READ_NS + 2 * SLACK_NS),
    )
    assert explained(50, before) == explained(60, after) == []
    assert explained(7, before, transfer(2, 7), after) == [2]


@pytest.mark.parametrize("early", [-1, 1])
@pytest.mark.parametrize("late", [-1, 1])
def test_what_was_booked_close_to_a_reading_may_be_in_it(early: int, late: int) -> None:
    """The clocks are two."""
    first = transfer(1, 50, SETTLED_NS + early * SLACK_NS // 2)
    last = transfer(3, 60, READ_NS + late * SLACK_NS // 2)
    middle = transfer(2, 7)
    listed = first, middle, last
    assert explained(7, *listed) == [2]
    assert explained(57, *listed) == [1, 2]
    assert explained(67, *listed) == [2, 3]
    assert explained(117, *listed) == [1, 2, 3]
    assert explained(50, *listed) == explained(110, *listed) == [], "the middle one is in it"


def test_of_two_explanations_the_one_with_the_most_counts() -> None:
    """A pair that cancels out was counted with the rest, and comes up no more."""
    listed = transfer(1, 5, SETTLED_NS), transfer(2, -5, SETTLED_NS), transfer(3, 9)
    assert explained(9, *listed) == [1, 2, 3]


def test_numbers_of_names() -> None:
    numbers = {
        transfer_number(f"{kind} {at}") for kind in ("deposit", "withdrawal") for at in range(99)
    }
    assert len(numbers) == 198 and all(0 <= each < 1 << 63 for each in numbers)


class Book:
    """Accounts, recovery and order entry, as far as they are asked."""

    def __init__(self, difference_lots: int, settled_ns: int | None = SETTLED_NS) -> None:
        self.starts = [type("Start", (), {"difference_lots": difference_lots})()]
        self.read_ns = [READ_NS]
        self.counted: list[Transfer] = []
        self.asked: list[tuple[str, int]] = []
        self._settled_ns = settled_ns

    def settled_ns(self, venue: int) -> int | None:
        return self._settled_ns

    def base_of(self, venue: int) -> str:
        return "BTC"

    def counted_transfers(self, venue: int) -> set[int]:
        return {each.number for each in self.counted}

    def count_transfer(self, venue: int, each: Transfer) -> None:
        self.counted.append(each)

    def read_transfers(self, asset: str, since_ns: int, now_ns: int) -> None:
        self.asked.append((asset, since_ns))


def reader(book: Any) -> TransferReader:
    return TransferReader(book, book)


def test_a_disputed_accounts_history_is_read_now_and_again() -> None:
    book: Any = Book(5)
    it = reader(book)
    for now_ns in (S, 2 * S, S + READ_EVERY_NS - 1, S + READ_EVERY_NS):
        it.on_timer(0, book, now_ns)
    assert book.asked == [("BTC", SETTLED_NS - SLACK_NS)] * 2
    assert it.take(0, (transfer(1, 4),)) == () and book.counted == []
    assert it.take(0, (transfer(1, 4), transfer(2, 1))) == tuple(book.counted)
    assert [each.number for each in book.counted] == [1, 2]


@pytest.mark.parametrize("book", [Book(0), Book(5, None)], ids=["in order", "never settled"])
def test_of_other_accounts_no_history_is_read(book: Any) -> None:
    it = reader(book)
    it.on_timer(0, book, S)
    assert book.asked == [] and it.take(0, (transfer(1, 5),)) == () and book.counted == []
