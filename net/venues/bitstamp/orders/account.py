"""What Bitstamp says of the account when order entry opens: one reading of it.

    open orders, latest trades, balances, fees, all at once
    -> some orders looked up one by one -> done

open_orders may be some seconds old, order_status is not: what is listed and ours is looked up, and
is left out where it is gone. An order with a trade since the last connection whose name we do not
know, because its answer was lost, is looked up for its name.
No I/O and no clock.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from net.orders.http_entry import WriteRequest
from net.orders.http_requests import HttpRequest
from net.orders.interface import Opening
from net.orders.json_fields import records
from net.orders.messages import NOT_SAID, Answer, Balance, Market, OrderEvent, Request, State
from net.orders.pending_requests import Next, Pending
from net.venues.bitstamp.orders.events import BitstampReader
from net.venues.bitstamp.orders.order_names import Names
from net.venues.bitstamp.orders.requests import TRANSACTIONS_MAX, BitstampRequests

LOOKUPS_MAX = 300
"""Orders looked up in one reading: below what may be sent in a second. Others stay as listed."""
AUDIT_TRADES = 100
"""Those of ten seconds at ten a second; opening reads all that the venue lists at once."""
LIVE = frozenset({State.OPEN, State.CANCEL_PENDING})


class Post(Protocol):
    """How a request is sent, and who reads its answer."""

    def __call__(
        self,
        write: WriteRequest,
        now_ns: int,
        then: Callable[[Pending, Answer, int], Next],
        *,
        may_be_gone: bool = False,
        may_be_refused: bool = False,
    ) -> None:
        """`may_be_gone`, `may_be_refused`: as `Pending` has them."""


class AccountReading:
    """One reading, from `begin` to `done`; an opening that fails leaves it behind."""

    def __init__(
        self,
        market: Market,
        requests: BitstampRequests,
        reader: BitstampReader,
        names: Names,
        post: Post,
        done: Callable[[Opening, bool, int], None],
        *,
        knows_trades: bool,
        is_audit: bool = False,
    ) -> None:
        """`done(opening, is_whole, now_ns)`; not whole: trades may be missing between those told
        before and the oldest listed. `knows_trades`: whether there are any told before. `is_audit`:
        fees stay unread, and the latest trades are few, so that it takes the thread no time."""
        self._market = market
        self._requests = requests
        self._reader = reader
        self._names = names
        self._post = post
        self._done = done
        self._last_id = names.last_execution_id
        self._knows_trades = knows_trades
        self._is_audit = is_audit
        self._trades_max = AUDIT_TRADES if is_audit else TRANSACTIONS_MAX
        self._waiting = 0
        """Answers that are still to come."""
        self._is_whole = True
        self._orders: dict[int, OrderEvent] = {}
        """What is open, by the venue's number."""
        self._trades: dict[tuple[int, int], OrderEvent] = {}
        """By their number and their order's: one with ourselves is two."""
        self._balances: tuple[Balance, ...] = ()
        self._maker_fee_ppm: int | None = None

    def begin(self, now_ns: int) -> None:
        """Ask for everything."""
        asked, market, limit = self._requests, self._market, self._trades_max
        self._waiting = 3 if self._is_audit else 4
        self._post(lambda once, ms: asked.open_orders(once, ms, market), now_ns, self._on_orders)
        self._post(lambda once, ms: asked.trades(once, ms, market, limit), now_ns, self._on_trades)
        if not self._is_audit:
            self._post(asked.fees, now_ns, self._on_fees, may_be_refused=True)
        self._post(asked.balances, now_ns, self._on_balances)

    def _on_orders(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        listed = self._reader.order_events(Request.OPEN_ORDERS, answer, self._market)
        self._orders = {each.venue_order_id: each for each in self._names.named(listed)}
        return self._on_read

    def _on_trades(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        for each in self._reader.order_events(Request.TRADES, answer, self._market):
            self._put_trade(each)
        is_full = len(records(answer.result, "answer")) >= self._trades_max
        is_beyond = self._last_id < min(self._trades, default=(0, 0))[0]
        self._is_whole = not (self._knows_trades and is_full and is_beyond)
        return self._on_read

    def _put_trade(self, trade: OrderEvent) -> None:
        self._trades.setdefault((trade.execution_id, trade.venue_order_id), trade)

    def _on_balances(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        self._balances = self._reader.balances(answer)
        return self._on_read

    def _on_fees(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        self._maker_fee_ppm = self._reader.maker_fee_ppm(answer, self._market)
        return self._on_read

    def _on_read(self, now_ns: int) -> None:
        """One of the first four answers; after the last of them, look up orders."""
        self._waiting -= 1
        if self._waiting:
            return
        unnamed = [
            each.venue_order_id
            for each in self._trades.values()
            if each.execution_id > self._last_id and not self._names.knows(each)
        ]
        ours = [number for number, each in self._orders.items() if each.order_id is not None]
        wanted = [*unnamed, *ours] if self._knows_trades else ours
        numbers = list(dict.fromkeys(wanted))[:LOOKUPS_MAX]
        self._waiting = len(numbers)
        for number in numbers:
            self._look_up(number, now_ns)
        if not numbers:
            self._finish(now_ns)

    def _look_up(self, number: int, now_ns: int) -> None:
        def write(nonce: str, timestamp_ms: int) -> HttpRequest:
            return self._requests.order_status(nonce, timestamp_ms, number)

        def then(pending: Pending, answer: Answer, now_ns: int) -> Next:
            self._on_looked_up(number, answer)
            return self._on_done

        self._post(write, now_ns, then, may_be_gone=True)

    def _on_done(self, now_ns: int) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._finish(now_ns)

    def _on_looked_up(self, number: int, answer: Answer) -> None:
        if answer.refusal is not None:
            self._orders.pop(number, None)
            return
        events = self._reader.order_events(Request.STATUS, answer, self._market)
        state, *fills = self._names.named(events)
        for fill in fills:
            self._put_trade(fill)
        listed = self._orders.pop(number, None)
        if listed is not None and state.state in LIVE:
            filled = state.filled_lots
            self._orders[number] = listed._replace(
                state=state.state, filled_lots=listed.filled_lots if filled == NOT_SAID else filled
            )

    def _finish(self, now_ns: int) -> None:
        # The oldest first.
        trades = self._names.named(self._trades[key] for key in sorted(self._trades))
        orders = tuple(self._orders.values())
        opening = Opening(orders, trades, self._balances, self._maker_fee_ppm)
        self._done(opening, self._is_whole, now_ns)
