"""One reading of the account's deposits and withdrawals at Binance, of one asset.

They are not to be had over the WebSocket API: two signed GETs of the wallet's REST API.
Source: the exchange's wallet pages, "Deposit History" (GET /sapi/v1/capital/deposit/hisrec: id,
amount, coin, status, insertTime and completeTime in ms, walletType) and "Withdraw History" (GET
/sapi/v1/capital/withdraw/history: id, amount, transactionFee, coin, status, applyTime as a UTC
text, walletType). Weights: 1 of the address's, and 18,000 of the account's 180,000 in a minute.
A deposit changes the account once it is credited, a withdrawal at once, by the amount that is sent
and the fee; it counts when it is complete, since until then it may come back.
No I/O and no clock.
Runs on: the engine thread.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from urllib.parse import urlencode

from engine.layout.units import DAY_NS, NS_PER_MS
from net.log.one_line import one_line
from net.orders.errors import Refusal
from net.orders.http_requests import HttpAnswer, HttpRequest
from net.orders.json_fields import (
    Record,
    datetime_ns,
    lots,
    read_strict,
    record,
    records,
    text,
    time_ns,
    whole,
)
from net.orders.messages import Answer, EntryError
from net.orders.transfers import Transfer, transfer_number
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.binance.orders.refusals import binance_class

ROWS_MAX = 1000
"""More than so many in the time that is asked for are not listed at once."""
SPAN_NS = 90 * DAY_NS - DAY_NS // 24
"""The venue lists less than 90 days at once: older ones explain nothing."""
CREDIT_NS = 7 * DAY_NS
"""The venue looks for deposits by when they were first seen: so long before they are credited."""
CREDITED = (1, 6)
"""Of a deposit's status: success, and credited but not to be withdrawn yet. Others: 0 pending, 7
wrong, 8 to be confirmed."""
COMPLETED = 6
"""Of a withdrawal's status. Others: 0 email sent, 2 awaiting approval, 3 rejected, 4 processing."""
SPOT_WALLET = 0


class Part(Enum):
    """What is asked for, and where."""

    DEPOSITS = "/sapi/v1/capital/deposit/hisrec"
    WITHDRAWALS = "/sapi/v1/capital/withdraw/history"


class TransfersReading:
    """What has been read so far. `now_ns`: the venue's clock."""

    def __init__(self, keys: BinanceKeys, asset: str, since_ns: int, now_ns: int) -> None:
        self._keys = keys
        self._asset = asset
        self._since_ns = since_ns
        self._first_ns = max(since_ns - CREDIT_NS, now_ns - SPAN_NS)
        self._found: dict[Part, tuple[Transfer, ...]] = {}

    def write(self, part: Part, time_ms: int, recv_window_ms: int) -> HttpRequest:
        """One of the requests."""
        params: dict[str, str | int] = {
            "coin": self._asset,
            "limit": ROWS_MAX,
            "recvWindow": recv_window_ms,
            "startTime": self._first_ns // NS_PER_MS,
        }
        return signed_get(self._keys, part.value, params, time_ms)

    def read(self, part: Part, answer: Answer) -> None:
        """Its answer; EntryError where it cannot be read or is not all there is."""
        rows = records(answer.result, part.name.lower())
        if len(rows) >= ROWS_MAX:
            raise EntryError(f"binance: more than {ROWS_MAX} {part.name.lower()} to be listed")
        read_row = _deposit if part is Part.DEPOSITS else _withdrawal
        found = (read_row(row) for row in rows if _is_ours(row, self._asset))
        self._found[part] = tuple(
            each for each in found if each is not None and each.time_ns >= self._since_ns
        )

    def result(self) -> tuple[Transfer, ...] | None:
        """All of them; None until both are there."""
        if len(self._found) < len(Part):
            return None
        return tuple(each for part in Part for each in self._found[part])


def signed_get(
    keys: BinanceKeys, path: str, params: dict[str, str | int], time_ms: int
) -> HttpRequest:
    """A signed GET. Source: the exchange's REST page, "SIGNED endpoint security": the query is
    signed as it is sent, the signature comes last, and one in base64 is encoded too."""
    query = urlencode({**params, "timestamp": time_ms})
    signature = urlencode({"signature": keys.signer.sign(query.encode()).decode()})
    headers = (("X-MBX-APIKEY", keys.api_key),)
    return HttpRequest(f"{path}?{query}&{signature}", headers, b"", "", time_ms, "GET")


def read_rest(answer: HttpAnswer) -> Answer:
    """An answer of the REST API; EntryError where it is none."""
    if answer.status == HTTPStatus.OK:
        return Answer(None, read_strict(answer.body), None)
    try:
        error = record(read_strict(answer.body), "error")
    except EntryError:
        error = {}  # a page of something that stands before the venue
    code, reason = error.get("code"), one_line(error.get("msg", f"HTTP {answer.status}"))
    number = code if isinstance(code, int) and not isinstance(code, bool) else 0
    return Answer(None, None, Refusal(binance_class(answer.status, number, reason), reason))


def _is_ours(row: Record, asset: str) -> bool:
    return row.get("coin") == asset and row.get("walletType", SPOT_WALLET) == SPOT_WALLET


def _deposit(row: Record) -> Transfer | None:
    if whole(row, "status") not in CREDITED:
        return None
    key = "completeTime" if row.get("completeTime") else "insertTime"
    number = transfer_number(f"deposit {text(row, 'id')}")
    return Transfer(number, lots(row, "amount"), time_ns(row, key, NS_PER_MS))


def _withdrawal(row: Record) -> Transfer | None:
    if whole(row, "status") != COMPLETED:
        return None
    number = transfer_number(f"withdrawal {text(row, 'id')}")
    change_lots = -lots(row, "amount") - lots(row, "transactionFee")
    return Transfer(number, change_lots, datetime_ns(row, "applyTime"))
