"""Order entry at Bitstamp: requests over HTTP, the account's events over a private connection.

    on_open -> websockets_token -> my_orders, my_trades acknowledged -> the account is read
    (net.venues.bitstamp.orders.account) -> READY

What the venue does not promise, and what is done about it:
* open_orders may be 10 s old. Once, before the first READY, it is read only when it cannot be older
  than our subscriptions, so that no order of an earlier run is missed. Later whatever is open was
  placed from here, and the host asks after what it does not know.
* Whether replace_order keeps maker-or-cancel is not said: an order is never replaced here.
* A request carries a time and is good for 150 s after it. An order that is not there can come to be
  there until then, which is why `settle_ns` is so long.
* An event of our orders that is missing is read from account_order_data. Whether events are chained
  by market or over the account: see net.venues.bitstamp.orders.event_chain.
* Answers and events overtake each other, and trades do not name our orders: see
  net.venues.bitstamp.orders.order_names.

Source: the exchange's HTTP API v2 description and its WebSocket page.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from engine.layout.units import NS_PER_S
from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, SELL
from net.orders.entry import TROUBLES
from net.orders.errors import ErrorClass
from net.orders.http_entry import HttpEntry
from net.orders.http_requests import ANSWER_LIMIT_NS, HttpAnswer, HttpRequest, HttpWire
from net.orders.interface import EntryHost, EntryNote, EntryState, Opening, Wire
from net.orders.messages import Answer, EntryError, Kind, Market, Notice, Request, Style
from net.orders.pending_requests import Next, Pending
from net.orders.rate_windows import RateLimit
from net.orders.transfers import Transfer
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.bitstamp.orders.account import AccountReading
from net.venues.bitstamp.orders.credentials import BitstampKeys
from net.venues.bitstamp.orders.event_chain import EventChain
from net.venues.bitstamp.orders.events import BitstampReader
from net.venues.bitstamp.orders.order_names import Names
from net.venues.bitstamp.orders.requests import (
    BitstampRequests,
    CancelTemplate,
    PlaceTemplate,
    subscription,
)
from net.venues.bitstamp.orders.signing import check_answer
from net.venues.bitstamp.orders.transfers import TransfersReading

OPEN_ORDERS_AGE_NS = 10 * NS_PER_S
"""How old open_orders may be (HTTP API v2, open orders)."""
SETTLE_NS = 160 * NS_PER_S
"""A request is refused when its time is 150 s off (HTTP API v2, authentication); the rest is for
the difference of the clocks, and covers the age of open_orders too."""
AUDIT_EVERY_NS = 10 * NS_PER_S
"""As old as open_orders may be; of the 16 requests a second that the venue takes for long, an audit
makes three, and one for each open order."""
SUBSCRIBE_LIMIT_NS = 10 * NS_PER_S
HEARTBEAT_NS = 20 * NS_PER_S
SILENCE_NS = 65 * NS_PER_S
"""Three heartbeats without an answer: sockets that stayed open and said nothing for an hour have
been seen."""

SECOND_REQUESTS_MAX = 350
"""The venue takes 400 (HTTP API v2, request limits)."""
OTHERS_REQUESTS = 1_000
"""Of the longer window: for the market data's snapshots and the watchdog, which share the
address."""
WINDOW = BITSTAMP.rest_limit
RATE_LIMITS = (
    RateLimit(WINDOW.weight_max - OTHERS_REQUESTS, WINDOW.window_s * NS_PER_S, 1_000),
    RateLimit(SECOND_REQUESTS_MAX, NS_PER_S, 50),
)

assert SETTLE_NS > ANSWER_LIMIT_NS + OPEN_ORDERS_AGE_NS
assert SILENCE_NS > 3 * HEARTBEAT_NS


class BitstampEntry(HttpEntry):
    """One account's order entry in one market (net.orders.interface.VenueEntry)."""

    settle_ns = SETTLE_NS
    audit_every_ns = AUDIT_EVERY_NS
    can_replace = False
    age_ns_max = BITSTAMP.connection_age_max_s * NS_PER_S
    troubles = TROUBLES | {ErrorClass.MARKET_SUSPENDED}
    stale_kinds = frozenset({Kind.FAILED})  # a late state may be the order's last word
    rate_limits = RATE_LIMITS
    _reader: BitstampReader
    _names: Names

    def __init__(
        self,
        venue: int,
        market: Market,
        keys: BitstampKeys,
        host: EntryHost,
        line: Wire,
        http: HttpWire,
        *,
        new_nonce: Callable[[], str],
        http_host: str = "www.bitstamp.net",
        open_orders_age_ns: int = OPEN_ORDERS_AGE_NS,
    ) -> None:
        """`new_nonce`: 36 characters, never the same twice. `http_host` stands in signatures."""
        reader = BitstampReader([market])
        super().__init__(venue, market, host, line, http, reader, Names(), new_nonce)
        self._open_orders_age_ns = open_orders_age_ns
        self._signer = keys.signer
        self._requests = BitstampRequests(keys, http_host)
        self._places, self._takes = (
            {side: PlaceTemplate(self._requests, market, side, style) for side in (BUY, SELL)}
            for style in (Style.POST_ONLY, Style.IMMEDIATE)
        )
        self._cancel = CancelTemplate(self._requests)
        self._heartbeat = BITSTAMP.heartbeat()
        self._was_ready = False
        self._heard_ns = self._beat_ns = 0
        self._subscribing: set[str] = set()
        """The channels that are not acknowledged."""
        self._subscribe_by_ns = self._read_from_ns = 0
        self._reading: AccountReading | None = None
        self._chain = EventChain()
        self._audit: AccountReading | None = None

    # --- what the host asks for ------------------------------------------------------------------

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send a post-only order: maker-or-cancel."""
        self._place(self._places[side], order_id, price_ticks, lots, now_ns)

    def take(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send an immediate-or-cancel order."""
        self._place(self._takes[side], order_id, price_ticks, lots, now_ns)

    def _place(
        self, template: PlaceTemplate, order_id: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        def write(nonce: str, time_ms: int) -> HttpRequest:
            return template.write(nonce, order_id, price_ticks, lots, time_ms)

        self._send(Request.PLACE, order_id, write, now_ns)

    def cancel(self, order_id: int, now_ns: int) -> None:
        """Send a cancel, by our name."""

        def write(nonce: str, time_ms: int) -> HttpRequest:
            return self._cancel.write(nonce, order_id, time_ms)

        self._send(Request.CANCEL, order_id, write, now_ns)

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        """Never: see `can_replace`."""
        raise AssertionError("bitstamp: a replaced order might take; cancel, then place")

    def ask(self, order_id: int, now_ns: int) -> None:
        """Ask where one order stands, by our name; the answer is not a cached one."""

        def write(nonce: str, time_ms: int) -> HttpRequest:
            return self._requests.order_status(nonce, time_ms, format_client_id(order_id))

        self._send(Request.STATUS, order_id, write, now_ns)

    def reread(self, now_ns: int) -> None:
        """Read the account again, once the list of open orders can be no older than this call."""
        self.state = EntryState.READING
        self._read_from_ns = now_ns + self._open_orders_age_ns

    def _read(self, message: HttpRequest, answer: HttpAnswer) -> Answer:
        given = answer.headers.get("X-Server-Auth-Signature", "")
        # What stands before the venue refuses too, and signs nothing.
        if given or answer.status == HTTPStatus.OK:
            content_type = answer.headers.get("Content-Type", "")
            nonce, stamp = message.nonce, message.timestamp_ms
            check_answer(self._signer, nonce, stamp, content_type, answer.body, given)
        return self._reader.read(answer.status, answer.body, answer.headers.get("Retry-After", ""))

    # --- the private connection ------------------------------------------------------------------

    def on_text(self, raw: bytes, now_ns: int) -> None:
        """One message of the connection."""
        self._heard_ns = now_ns
        try:
            push = self._reader.event(raw)
        except EntryError as error:
            # It may have been about an order.
            self._give_up(f"a message that cannot be read: {error}", now_ns)
            return
        if push.events:
            self._chain.hear(push)
            self._push(push.events, (), now_ns)
            self._read_history(now_ns)
        elif push.notice is Notice.SUBSCRIBED:
            self._on_subscribed(push.text, now_ns)
        elif push.notice is Notice.RECONNECT:
            self._renew("the venue asks for it")
        elif push.notice is Notice.ERROR:
            if self.state is EntryState.OPENING:
                self._give_up(f"the venue refuses a subscription: {push.text}", now_ns)
            else:
                self._note(EntryNote.VENUE_ERROR, reason=push.text)

    def _read_history(self, now_ns: int) -> None:
        """Events of our orders may be missing: read what there was since, where it is time to.

        Where some are, all of it is told, those included that came. Twice is no more than once: the
        host knows where each order stands. Where the history cannot tell, nobody knows what is
        missing, and the connection ends.
        """
        chain = self._chain
        if not self._is_open or not chain.is_due(now_ns):
            return
        if now_ns < self._not_before_ns or not self._rates.has_room(now_ns, False):
            return
        since_id = chain.ask()

        def write(nonce: str, timestamp_ms: int) -> HttpRequest:
            return self._requests.order_history(nonce, timestamp_ms, self._market, since_id)

        def then(pending: Pending, answer: Answer, now_ns: int) -> Next:
            told, was_shared = self._reader.order_history(answer, self._market), chain.is_shared
            try:
                is_news = chain.explain(told, now_ns)
            except EntryError as error:
                return partial(fail, str(error))  # it could be read, and is behind

            def tell(now_ns: int) -> None:
                if chain.is_shared and not was_shared:
                    self._note(EntryNote.CHAIN_SHARED)
                if is_news:
                    self._note(EntryNote.GAP_FILLED, since=since_id, events=len(told))
                    for each in told:
                        self._push(each.events, (), now_ns)
                self._read_history(now_ns)

            return tell

        def fail(reason: str, now_ns: int) -> None:
            if not chain.fail(now_ns):
                self._give_up(f"an event of our orders is missing: {reason}", now_ns)

        self._post(write, now_ns, then, fail=fail)

    def _forget(self) -> None:
        super()._forget()
        self._reading = self._audit = None

    # --- opening ---------------------------------------------------------------------------------

    def _begin_opening(self, now_ns: int) -> None:
        """Ask for what the subscriptions need."""
        self._heard_ns = self._beat_ns = now_ns
        self._chain = EventChain()
        self._subscribing.clear()
        self._post(self._requests.channel_token, now_ns, self._read_token)

    def _read_token(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        token, user_id = self._reader.channel_token(answer)
        kinds = ("my_orders", "my_trades")
        frames = [subscription(kind, self._market, user_id, token) for kind in kinds]
        channels = {f"private-{kind}_{self._market.symbol}-{user_id}" for kind in kinds}

        def subscribe(now_ns: int) -> None:
            self._subscribing = channels
            self._subscribe_by_ns = now_ns + SUBSCRIBE_LIMIT_NS
            for frame in frames:
                self._line.send(frame)

        return subscribe

    def _on_subscribed(self, channel: str, now_ns: int) -> None:
        if channel not in self._subscribing:
            return
        self._subscribing.remove(channel)
        if not self._subscribing:
            self.state = EntryState.READING
            self._read_from_ns = now_ns + (0 if self._was_ready else self._open_orders_age_ns)
            self._begin_reading(now_ns)

    def _begin_reading(self, now_ns: int) -> None:
        if self._reading is not None or now_ns < self._read_from_ns:
            return
        self._reading = AccountReading(
            self._market,
            self._requests,
            self._reader,
            self._names,
            self._post,
            self._on_account,
            knows_trades=self._was_ready,
        )
        self._reading.begin(now_ns)

    def audit(self, now_ns: int) -> None:
        """Read the account beside everything else; an audit that is under way goes on."""
        if self._audit is not None or self.state is not EntryState.READY:
            return
        if now_ns < self._not_before_ns or not self._rates.has_room(now_ns, True):
            return
        audit: AccountReading | None = None

        def done(reading: Opening, is_whole: bool, now_ns: int) -> None:
            if self._audit is audit:
                self._audit = None
                self._host.on_audit(self._venue, reading, now_ns)
                self._release(now_ns)

        def fail(reason: str, now_ns: int) -> None:
            if self._audit is audit:
                self._audit = None
                self._note(EntryNote.AUDIT_FAILED, reason=reason)

        audit = self._audit = AccountReading(
            self._market,
            self._requests,
            self._reader,
            self._names,
            partial(self._post, fail=fail),
            done,
            knows_trades=True,
            is_audit=True,
        )
        audit.begin(now_ns)

    def read_transfers(self, asset: str, since_ns: int, now_ns: int) -> None:
        """Read the account's transactions, back to that time."""

        def done(found: tuple[Transfer, ...], now_ns: int) -> None:
            self._host.on_transfers(self._venue, found, now_ns)

        def fail(reason: str, now_ns: int) -> None:
            self._note(EntryNote.TRANSFERS_NOT_READ, reason=reason)

        post = partial(self._post, fail=fail)
        TransfersReading(self._requests, asset, since_ns, post, done).begin(now_ns)

    def _on_account(self, opening: Opening, is_whole: bool, now_ns: int) -> None:
        self._reading = None
        self._was_ready = True
        self.state = EntryState.READY
        if not is_whole:
            self._note(EntryNote.TRADES_MISSED)
        self._host.on_ready(self._venue, opening, now_ns)
        self._release(now_ns)

    # --- time ------------------------------------------------------------------------------------

    def on_timer(self, now_ns: int) -> None:
        """Requests that are due, waits that are over, and the venue's heartbeat."""
        super().on_timer(now_ns)
        if not self._is_open:
            return
        if self._subscribing and self._subscribe_by_ns <= now_ns:
            self._give_up("the subscriptions were not acknowledged", now_ns)
        elif self.state is EntryState.READING:
            self._begin_reading(now_ns)
        if now_ns - self._heard_ns > SILENCE_NS:
            self._give_up("the venue says nothing", now_ns)
        elif self._heartbeat is not None and now_ns - self._beat_ns >= HEARTBEAT_NS:
            self._beat_ns = now_ns
            self._line.send(self._heartbeat)
        self._read_history(now_ns)
