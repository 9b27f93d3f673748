"""The account's history at Bitstamp: page by page, and only what is booked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from net.orders.http_requests import HttpRequest
from net.orders.interface import EntryNote
from net.orders.messages import Answer, EntryError
from net.orders.pending_requests import Pending
from net.orders.transfers import Transfer, transfer_number
from net.venues.bitstamp.orders.requests import TRANSACTIONS_MAX, BitstampRequests
from net.venues.bitstamp.orders.transfers import PAGES_MAX, TransfersReading
from tests.net.orders.rig import BITSTAMP, NONCE, NOW_MS
from tests.net.venues.bitstamp.orders.test_simulated import Desk, run
from tuning.clock import steady_ns, wall_ns

S = 10**9
SINCE_NS = 1_700_000_000 * S
ROW = {
    "id": 1, "datetime": "2023-11-14 22:14:00.000000", "type": "0", "fee": "0.00000000",
    "btc": "0.50000000", "usd": 0, "btc_usd": "0.00",
}  # fmt: skip
TRADE = ROW | {"type": "2", "usd": "-5", "btc_usd": "9", "order_id": 4}


class Pages:
    """A venue that answers page after page."""

    def __init__(self, *pages: list[Any]) -> None:
        self.asked: list[bytes] = []
        self.done: list[tuple[Transfer, ...]] = []
        self._pages = list(pages)
        self._then: Callable[..., Any] | None = None
        requests = BitstampRequests(BITSTAMP)
        reading = TransfersReading(
            requests, "BTC", SINCE_NS, self._post, lambda found, now_ns: self.done.append(found)
        )
        reading.begin(S)
        while self._then is not None and not self.done:
            then, self._then = self._then, None
            answer = Answer(None, self._pages.pop(0), None)
            then(Pending("transactions", 0, 0), answer, S)(S)

    def _post(self, write: Any, now_ns: int, then: Any, **more: object) -> None:
        request: HttpRequest = write(NONCE, NOW_MS)
        assert request.path == "/api/v2/user_transactions/"
        self.asked.append(request.body)
        self._then = then


def test_deposits_and_withdrawals_with_their_fees() -> None:
    out = ROW | {"id": 2, "type": 1, "btc": "-0.20000000", "fee": "0.00050000"}
    pages = Pages([TRADE, out, ROW | {"id": 3, "btc": 0, "usd": "100.00"}, ROW])
    ((withdrawal, deposit),) = pages.done
    assert (withdrawal.lots, deposit.lots) == (-20_050_000, 50_000_000)
    assert deposit.number == transfer_number("transaction 1")
    assert deposit.time_ns == SINCE_NS + 40 * S
    assert pages.asked == [b"offset=0&limit=1000&sort=desc"]


def test_pages_are_read_until_the_time_is_reached_and_none_counts_twice() -> None:
    """What is booked meanwhile moves the last row of a page to the next."""
    full = [TRADE] * (TRANSACTIONS_MAX - 1) + [ROW]
    old = ROW | {"id": 9, "datetime": "2023-11-14 22:13:19"}
    pages = Pages(full, [ROW, ROW | {"id": 2}, old, *full][:TRANSACTIONS_MAX])
    ((first, second),) = pages.done
    assert (first.number, second.number) == tuple(
        map(transfer_number, ("transaction 1", "transaction 2"))
    )
    assert [each.split(b"&")[0] for each in pages.asked] == [b"offset=0", b"offset=1000"]


def test_a_history_that_does_not_end_is_no_history() -> None:
    with pytest.raises(EntryError, match="more than 20000 transactions"):
        Pages(*[[TRADE] * TRANSACTIONS_MAX] * PAGES_MAX)


@pytest.mark.parametrize(
    "bad",
    [{"type": "1"}, {"btc": "-1"}, {"fee": "x"}, {"id": None}, {"datetime": 5}, {"type": None}],
)
def test_nonsense_is_an_error(bad: dict[str, object]) -> None:
    with pytest.raises(EntryError):
        Pages([ROW | bad])


def test_other_kinds_are_none() -> None:
    """Between sub-accounts, staking, and whatever else there will be."""
    assert Pages([ROW | {"type": kind} for kind in ("14", "25", "33", 35)]).done == [()]


def test_a_history_at_the_simulated_venue() -> None:
    async def test(it: Desk) -> None:
        await it.told("ready")
        since_ns = wall_ns() - 10 * S
        for query in (
            "asset=BTC&amount=1.5",
            "asset=BTC&amount=-0.25&fee=0.0005",
            "asset=BTC&amount=3&state=pending",
            "asset=BTC&amount=-2&state=failed",
            "asset=BTC&amount=7&listed=no",
            "asset=USD&amount=9",
        ):
            await it.control(f"deposit?{query}")
        it.entry.read_transfers("BTC", since_ns, steady_ns())
        async with asyncio.timeout(5):
            while not it.host.transfers:
                await asyncio.sleep(0.005)
        (found,) = it.host.transfers
        assert sorted(each.lots for each in found) == [-25_050_000, 150_000_000]

    run(test)


def test_a_history_that_cannot_be_read_is_told_and_bars_nothing() -> None:
    async def test(it: Desk) -> None:
        await it.told("ready")
        it.entry.read_transfers("BTC", 0, steady_ns())
        (key,) = list(it.entry._pending._pending)[-1:]
        it.entry.on_http_failed(key, "reset", True, steady_ns())
        assert EntryNote.TRANSFERS_NOT_READ in [note for note, _ in it.host.notes]
        assert it.host.transfers == []

    run(test)
