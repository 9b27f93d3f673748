"""One reading of the account's deposits and withdrawals at Bitstamp, of one asset.

They are among the account's transactions, read page by page, the newest first.
Source: the exchange's HTTP API v2 description, user_transactions/ (id, datetime, type, fee, and an
amount by the name of each currency): of type 0 is a deposit, of type 1 a withdrawal, whose amount
is below zero; 2 is a trade. Both are listed once they are booked. crypto-transactions/ lists
neither fees nor types. That a fee comes on top of the amount is how we read it: a difference that
it does not explain exactly stays one.
No I/O and no clock.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable

from net.orders.http_requests import HttpRequest
from net.orders.json_fields import Record, datetime_ns, lots, records, signed_lots, whole
from net.orders.messages import Answer, EntryError, quoted
from net.orders.pending_requests import Next, Pending
from net.orders.transfers import Transfer, transfer_number
from net.venues.bitstamp.orders.account import Post
from net.venues.bitstamp.orders.requests import TRANSACTIONS_MAX, BitstampRequests

PAGES_MAX = 20
"""Requests of one reading: 20,000 transactions, among which trades are most."""
DEPOSIT, WITHDRAWAL = 0, 1


class TransfersReading:
    """One reading, from `begin` to `done(transfers, now_ns)`."""

    def __init__(
        self,
        requests: BitstampRequests,
        asset: str,
        since_ns: int,
        post: Post,
        done: Callable[[tuple[Transfer, ...], int], None],
    ) -> None:
        self._requests = requests
        self._asset = asset
        self._since_ns = since_ns
        self._post = post
        self._done = done
        self._found: dict[int, Transfer] = {}
        """By number: what is booked meanwhile moves the pages."""
        self._pages = 0

    def begin(self, now_ns: int) -> None:
        """Ask for the next page."""
        offset = self._pages * TRANSACTIONS_MAX

        def write(nonce: str, timestamp_ms: int) -> HttpRequest:
            return self._requests.transactions(nonce, timestamp_ms, offset)

        self._post(write, now_ns, self._on_page)

    def _on_page(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        rows = records(answer.result, "answer")
        self._pages += 1
        is_last = len(rows) < TRANSACTIONS_MAX
        for row in rows:
            booked_ns = datetime_ns(row, "datetime")
            if booked_ns < self._since_ns:
                is_last = True
            elif (change := self._change(row, booked_ns)) is not None:
                self._found[change.number] = change
        if is_last:
            return self._finish
        if self._pages == PAGES_MAX:
            most = PAGES_MAX * TRANSACTIONS_MAX
            raise EntryError(f"bitstamp: more than {most} transactions since the last start")
        return self.begin

    def _finish(self, now_ns: int) -> None:
        self._done(tuple(self._found.values()), now_ns)

    def _change(self, row: Record, booked_ns: int) -> Transfer | None:
        kind, key = whole(row, "type"), self._asset.lower()
        if kind not in (DEPOSIT, WITHDRAWAL) or key not in row:
            return None
        amount_lots = signed_lots(row, key)
        if amount_lots == 0:
            return None  # of another currency
        if (amount_lots > 0) != (kind == DEPOSIT):
            raise EntryError(f"bitstamp: a transfer the wrong way: {quoted(row)!r}")
        name = f"transaction {whole(row, 'id')}"
        return Transfer(transfer_number(name), amount_lots - lots(row, "fee"), booked_ns)
