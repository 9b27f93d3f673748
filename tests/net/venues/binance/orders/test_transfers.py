"""The account's history at Binance: what it asks for, what counts, and what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.layout.units import DAY_NS
from net.orders.errors import ErrorClass
from net.orders.http_requests import HttpAnswer
from net.orders.interface import EntryNote, EntryState
from net.orders.messages import Answer, EntryError
from net.orders.transfers import transfer_number
from net.simulator.binance.orders.wallet import DEPOSITS, WITHDRAWALS
from net.venues.binance.orders.transfers import (
    CREDIT_NS,
    ROWS_MAX,
    SPAN_NS,
    Part,
    TransfersReading,
    read_rest,
)
from tests.net.orders.rig import HMAC
from tests.net.venues.binance.orders.test_simulated import Desk, run
from tuning.clock import steady_ns, wall_ns

S = 10**9
NOW_NS = 1_700_000_000 * S
SINCE_NS = NOW_NS - 3_600 * S
TIME_MS = (SINCE_NS + 60 * S) // 10**6
DEPOSIT = {
    "id": "769800519366885376", "amount": "0.001", "coin": "BTC", "network": "BTC", "status": 1,
    "address": "1", "addressTag": "", "txId": "9", "insertTime": TIME_MS, "transferType": 0,
    "confirmTimes": "1/1", "unlockConfirm": 12, "walletType": 0, "completeTime": TIME_MS,
}  # fmt: skip
WITHDRAWAL = {
    "id": "b6ae22b3aa844210a7041aee7589627c", "amount": "8.91000000", "transactionFee": "0.004",
    "coin": "BTC", "status": 6, "address": "0x", "txId": "0xb5", "network": "ETH",
    "applyTime": "2023-11-14 21:14:20", "transferType": 0, "info": "", "confirmNo": 3,
    "walletType": 0, "txKey": "", "completeTime": "2023-11-14 21:20:00",
}  # fmt: skip


def reading_of(deposits: list[Any], withdrawals: list[Any]) -> TransfersReading:
    reading = TransfersReading(HMAC, "BTC", SINCE_NS, NOW_NS)
    for part, rows in ((Part.DEPOSITS, deposits), (Part.WITHDRAWALS, withdrawals)):
        assert reading.result() is None
        reading.read(part, Answer(None, rows, None))
    return reading


def lots_of(deposits: list[Any], withdrawals: list[Any]) -> list[int]:
    found = reading_of(deposits, withdrawals).result()
    assert found is not None
    return [each.lots for each in found]


def test_the_exchanges_own_examples() -> None:
    found = reading_of([DEPOSIT], [WITHDRAWAL]).result()
    assert found is not None
    deposit, withdrawal = found
    assert deposit.lots == 100_000 and deposit.time_ns == TIME_MS * 10**6
    assert withdrawal.lots == -891_400_000, "the fee has gone too"
    assert withdrawal.time_ns == 1_699_996_460 * S, "when it was asked for"
    assert deposit.number == transfer_number(f"deposit {DEPOSIT['id']}") != withdrawal.number


@pytest.mark.parametrize("status", [0, 7, 8])
def test_a_deposit_that_is_not_credited_is_none(status: int) -> None:
    assert lots_of([DEPOSIT | {"status": status}, DEPOSIT | {"id": "2"}], []) == [100_000]


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 5])
def test_a_withdrawal_that_may_come_back_or_has_is_none(status: int) -> None:
    assert lots_of([], [WITHDRAWAL | {"status": status}]) == []


def test_a_credited_deposit_counts_before_it_can_be_withdrawn() -> None:
    row = DEPOSIT | {"status": 6}
    del row["completeTime"]
    assert lots_of([row], []) == [100_000]


def test_other_assets_wallets_and_times_are_none() -> None:
    old = {"insertTime": TIME_MS, "completeTime": (SINCE_NS - S) // 10**6}
    rows = [DEPOSIT | {"coin": "USDT"}, DEPOSIT | {"walletType": 1}, DEPOSIT | old]
    assert lots_of(rows, [WITHDRAWAL | {"applyTime": "2023-11-14 20:14:20"}]) == []


@pytest.mark.parametrize(
    "bad",
    [{"amount": "x"}, {"id": 5}, {"status": None}, {"completeTime": "soon"}, {"amount": "-1"}],
)
def test_nonsense_is_an_error(bad: dict[str, object]) -> None:
    with pytest.raises(EntryError):
        lots_of([DEPOSIT | bad], [])


def test_more_than_is_listed_is_an_error() -> None:
    with pytest.raises(EntryError, match="more than 1000 deposits"):
        lots_of([DEPOSIT] * ROWS_MAX, [])


@pytest.mark.parametrize("ago_ns", [3_600 * S, 400 * DAY_NS])
def test_what_is_asked_for(ago_ns: int) -> None:
    """A deposit is found by when it was first seen; no more than 90 days are asked for."""
    reading = TransfersReading(HMAC, "BTC", NOW_NS - ago_ns, NOW_NS)
    first_ms = max(NOW_NS - ago_ns - CREDIT_NS, NOW_NS - SPAN_NS) // 10**6
    request = reading.write(Part.WITHDRAWALS, 1_700_000_000_001, 2_000)
    query = f"coin=BTC&limit=1000&recvWindow=2000&startTime={first_ms}&timestamp=1700000000001"
    signature = HMAC.signer.sign(query.encode()).decode()
    assert request.path == f"{WITHDRAWALS}?{query}&signature={signature}"
    assert (request.method, request.body) == ("GET", b"")
    assert request.headers == (("X-MBX-APIKEY", HMAC.api_key),)


def test_answers_of_the_rest_side() -> None:
    refused = read_rest(HttpAnswer(400, {}, b'{"code":-1021,"msg":"Timestamp"}')).refusal
    assert refused is not None and refused.error is ErrorClass.CLOCK_SKEW
    page = read_rest(HttpAnswer(404, {}, b"<html>")).refusal
    assert page is not None and page.text == "HTTP 404"
    with pytest.raises(EntryError):
        read_rest(HttpAnswer(200, {}, b"<html>"))


# --- at the simulated venue ----------------------------------------------------------------------


async def transfer(desk: Desk, amount: str, more: str = "") -> None:
    await desk.here.control(desk.here.binance, f"deposit?asset=BTC&amount={amount}{more}")


@pytest.mark.parametrize("keys", ["ed25519", "hmac"])
def test_a_history_at_the_simulated_venue(keys: str) -> None:
    async def test(desk: Desk) -> None:
        await desk.ready()
        since_ns = wall_ns() - 10 * S
        for amount, more in (
            ("1.5", ""),
            ("-0.25", "&fee=0.0005"),
            ("3", "&state=pending"),
            ("-2", "&state=failed"),
            ("-1", "&state=pending"),
            ("7", "&listed=no"),
        ):
            await transfer(desk, amount, more)
        await desk.here.control(desk.here.binance, "deposit?asset=USDT&amount=9")
        desk.entry.read_transfers("BTC", since_ns, steady_ns())
        await desk.until(lambda: desk.transfers)
        ((deposit, withdrawal),) = desk.transfers
        assert (deposit.lots, withdrawal.lots) == (150_000_000, -25_050_000)
        desk.entry.read_transfers("BTC", wall_ns() + 60 * S, steady_ns())
        await desk.until(lambda: len(desk.transfers) == 2)
        assert desk.transfers[1] == ()

    run(test, keys)


def test_a_refused_history_bars_no_orders() -> None:
    """The account's limit is ten readings in a minute."""

    async def test(desk: Desk) -> None:
        await desk.ready()
        for count in range(1, 12):
            desk.entry.read_transfers("BTC", 0, steady_ns())
            done = lambda: len(desk.transfers) + len(desk.notes) - 1 >= count  # noqa: B023, E731
            await desk.until(done)
        assert EntryNote.TRANSFERS_NOT_READ in desk.notes
        assert desk.entry.state is EntryState.READY and not desk.lost
        assert {each.error for each in desk.troubles} == {ErrorClass.RATE_LIMITED}

    run(test)


def test_a_history_that_is_not_json_is_told_once() -> None:
    async def test(desk: Desk) -> None:
        await desk.ready()
        desk.entry.read_transfers("BTC", 0, steady_ns())
        (first, second) = list(desk.entry._pending._pending)[-2:]
        for key in (first, second, second):
            desk.entry.on_http(key, HttpAnswer(200, {}, b"<html>"), steady_ns())
        assert desk.notes.count(EntryNote.TRANSFERS_NOT_READ) == 1 and desk.transfers == []
        desk.entry.unreadable_frames = 0
        desk.entry.read_transfers("BTC", 0, steady_ns())
        for key in list(desk.entry._pending._pending)[-2:]:
            desk.entry.on_http_failed(key, "reset", True, steady_ns())
        assert desk.notes.count(EntryNote.TRANSFERS_NOT_READ) == 2

    run(test)


def test_paths_are_the_exchanges() -> None:
    assert {part.value for part in Part} == {DEPOSITS, WITHDRAWALS}
    assert orjson.dumps(DEPOSIT)
