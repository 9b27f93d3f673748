"""Binance's wallet API: the histories of deposits and withdrawals, which are signed GETs.

The query is signed as it was sent. Not simulated: networks, addresses, offsets; a withdrawal's fee
is what whoever ordered it gave. A withdrawal changes the account at once, and a failed one is back.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import orjson

from net.simulator.binance.orders.requests import ApiError, Params
from net.simulator.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from net.simulator.orders.accounts import Account, ApiKey, Transfer
from net.simulator.orders.amounts import lots_text

DEPOSITS, WITHDRAWALS = "/sapi/v1/capital/deposit/hisrec", "/sapi/v1/capital/withdraw/history"
WEIGHTS = {DEPOSITS: 1, WITHDRAWALS: 18_000}
ACCOUNT_WEIGHT_MAX = 180_000
"""Of one account, in a minute; a deposit's history counts for the address, and hardly."""
MINUTE_NS = 60 * NS_PER_S
ROWS_MAX = 1000
SPAN_MS = 90 * 24 * 3_600_000
DEPOSIT_STATUS = {"complete": 1, "pending": 0, "failed": 7}
WITHDRAWAL_STATUS = {"complete": 6, "pending": 4, "failed": 3}


class Wallet:
    """The wallet of one account."""

    def __init__(self, account: Account, keys: dict[str, ApiKey]) -> None:
        self._account = account
        self._keys = keys
        self._minute = 0
        self._weight = 0

    def get(self, path: str, query: str, api_key: str, now_ns: int) -> tuple[int, bytes]:
        """Status and body of the answer to a GET of one of WEIGHTS."""
        try:
            return 200, orjson.dumps(self._read(path, query, api_key, now_ns))
        except ApiError as error:
            return error.status, orjson.dumps(error.body())

    def _read(self, path: str, query: str, api_key: str, now_ns: int) -> list[dict[str, object]]:
        signed, _, _ = query.partition("&signature=")
        given = Params(dict(parse_qsl(query)))
        key = self._keys.get(api_key)
        if key is None:
            raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")
        if not key.signs(signed.encode(), given.need("signature")):
            raise ApiError(400, -1022, "Signature for this request is not valid.")
        given.check_time(now_ns // NS_PER_US)
        self._weigh(WEIGHTS[path], now_ns)
        coin, start_ms = given.text("coin"), given.integer("startTime")
        limit = min(given.integer("limit") or ROWS_MAX, ROWS_MAX)
        given.finish()
        first_ms = now_ns // NS_PER_MS - SPAN_MS
        if start_ms is not None and start_ms < first_ms:
            raise ApiError(400, -1127, "More than 90 days between startTime and endTime.")
        found = [
            each
            for each in self._account.transfers
            if coin in (None, each.asset)
            and each.time_ns >= (start_ms or first_ms) * NS_PER_MS
            and (each.lots >= 0) == (path == DEPOSITS)
        ]
        row = _deposit if path == DEPOSITS else _withdrawal
        return [row(each) for each in reversed(found[-limit:])]

    def _weigh(self, weight: int, now_ns: int) -> None:
        if now_ns // MINUTE_NS != self._minute:
            self._minute, self._weight = now_ns // MINUTE_NS, 0
        self._weight += weight
        if self._weight > ACCOUNT_WEIGHT_MAX:
            raise ApiError(429, -1003, "Too many requests; current limit of UID is exceeded.")


def _deposit(made: Transfer) -> dict[str, object]:
    row: dict[str, object] = {
        "id": str(made.transfer_id),
        "amount": lots_text(made.lots),
        "coin": made.asset,
        "network": made.asset,
        "status": DEPOSIT_STATUS[made.state],
        "txId": f"tx{made.transfer_id}",
        "insertTime": made.time_ns // NS_PER_MS,
        "transferType": 0,
        "walletType": 0,
    }
    return row | ({"completeTime": made.time_ns // NS_PER_MS} if made.state == "complete" else {})


def _withdrawal(made: Transfer) -> dict[str, object]:
    moment = datetime.fromtimestamp(made.time_ns // NS_PER_S, UTC)
    return {
        "id": f"{made.transfer_id:032x}",
        "amount": lots_text(-made.lots),
        "transactionFee": lots_text(made.fee_lots),
        "coin": made.asset,
        "status": WITHDRAWAL_STATUS[made.state],
        "txId": f"tx{made.transfer_id}",
        "applyTime": f"{moment:%Y-%m-%d %H:%M:%S}",
        "network": made.asset,
        "transferType": 0,
        "walletType": 0,
    }
