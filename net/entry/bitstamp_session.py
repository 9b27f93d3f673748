"""Order entry at Bitstamp: requests over HTTP, the account's events over a private connection.

    on_open -> websockets_token -> my_orders, my_trades acknowledged -> the account is read
    (net.entry.bitstamp_account) -> READY

What the venue does not promise, and what is done about it:
* open_orders may be 10 s old. Once, before the first READY, it is read only when it cannot be older
  than our subscriptions, so that no order of an earlier run is missed. Later whatever is open was
  placed from here, and the host asks after what it does not know.
* Whether replace_order keeps maker-or-cancel is not said: an order is never replaced here.
* A request carries a time and is good for 150 s after it. An order that is not there can come to be
  there until then, which is why `settle_ns` is so long.
* Answers and events overtake each other, and trades do not name our orders: see
  net.entry.bitstamp_names.

Source: the exchange's HTTP API v2 description and its WebSocket page.
Runs on: the engine thread; in the watchdog, the main thread. Called by: net.maker, net.watchdog.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, SELL
from net.entry.bitstamp import BitstampRequests, CancelTemplate, PlaceTemplate, subscription
from net.entry.bitstamp_account import AccountReading
from net.entry.bitstamp_events import OK, BitstampReader
from net.entry.bitstamp_names import Names
from net.entry.keys import BitstampKeys
from net.entry.order import (
    Answer,
    EntryError,
    Kind,
    Market,
    Notice,
    OrderEvent,
    Push,
    Request,
    Style,
)
from net.entry.posts import ANSWER_LIMIT_NS, HttpAnswer, HttpRequest, HttpWire, Posted, Posts
from net.entry.refusals import ErrorClass, Refusal
from net.entry.session import EntryHost, EntryState, Opening, Wire
from net.entry.signing import check_bitstamp_answer
from net.venues.bitstamp import BITSTAMP

NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000
OPEN_ORDERS_AGE_NS = 10 * NS_PER_S
"""How old open_orders may be (HTTP API v2, open orders)."""
SETTLE_NS = 160 * NS_PER_S
"""A request is refused when its time is 150 s off (HTTP API v2, authentication); the rest is for
the difference of the clocks, and covers the age of open_orders too."""
SUBSCRIBE_LIMIT_NS = 10 * NS_PER_S
BAR_NS = 600 * NS_PER_S
"""Between two attempts where the venue does not accept who, or when, we are."""
LIMIT_WAIT_NS = 60 * NS_PER_S
"""Where a rate limit ends the opening and the venue names no time."""
HEARTBEAT_NS = 20 * NS_PER_S
SILENCE_NS = 65 * NS_PER_S
"""Three heartbeats without an answer: sockets that stayed open and said nothing for an hour have
been seen."""
BARRING = frozenset({ErrorClass.BAD_KEYS, ErrorClass.NO_PERMISSION, ErrorClass.CLOCK_SKEW})
TROUBLES = BARRING | {ErrorClass.RATE_LIMITED, ErrorClass.MARKET_SUSPENDED}
"""Refusals about us or the market. Those of BARRING end an opening for long."""

assert SETTLE_NS > ANSWER_LIMIT_NS + OPEN_ORDERS_AGE_NS
assert SILENCE_NS > 3 * HEARTBEAT_NS


class BitstampEntry:
    """One account's order entry in one market (net.entry.session.VenueEntry)."""

    can_replace = False
    settle_ns = SETTLE_NS

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
        self.state = EntryState.DISCONNECTED
        self._venue = venue
        self._market = market
        self._host = host
        self._line = line
        self._http = http
        self._new_nonce = new_nonce
        self._open_orders_age_ns = open_orders_age_ns
        self._signer = keys.signer
        self._requests = BitstampRequests(keys, http_host)
        self._reader = BitstampReader([market])
        self._places = {
            side: PlaceTemplate(self._requests, market, side, Style.POST_ONLY)
            for side in (BUY, SELL)
        }
        self._cancel = CancelTemplate(self._requests)
        self._heartbeat = BITSTAMP.heartbeat()
        self._posts = Posts()
        self._names = Names()
        self._refused: deque[tuple[Posted, Refusal]] = deque()
        """Requests that were not sent, to be answered: at most one a live order."""
        self._not_before_ns = 0
        self._was_ready = False
        self._is_open = False
        self._opened_ns = self._heard_ns = self._beat_ns = 0
        self._subscribing: set[str] = set()
        """The channels that are not acknowledged."""
        self._subscribe_by_ns = self._read_from_ns = 0
        self._reading: AccountReading | None = None
        self._event_id = ""

    # --- what the host asks for -----------------------------------------------------------------

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send a post-only order: maker-or-cancel."""
        name = format_client_id(order_id)
        write = self._places[side].write
        self._send(
            Request.PLACE,
            order_id,
            name,
            lambda nonce, stamp: write(nonce, order_id, price_ticks, lots, stamp),
            now_ns,
        )

    def cancel(self, order_id: int, now_ns: int) -> None:
        """Send a cancel, by our name."""
        name = format_client_id(order_id)
        self._send(
            Request.CANCEL,
            order_id,
            name,
            lambda nonce, stamp: self._cancel.write(nonce, order_id, stamp),
            now_ns,
        )

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        """Never: see `can_replace`."""
        raise AssertionError("bitstamp: a replaced order might take; cancel, then place")

    def ask(self, order_id: int, now_ns: int) -> None:
        """Ask where one order stands, by our name; the answer is not a cached one."""
        name = format_client_id(order_id)
        self._send(
            Request.STATUS,
            order_id,
            name,
            lambda nonce, stamp: self._requests.order_status(nonce, stamp, name),
            now_ns,
        )

    def reread(self, now_ns: int) -> None:
        """Read the account again, once the list of open orders can be no older than this call."""
        self.state = EntryState.READING
        self._read_from_ns = now_ns + self._open_orders_age_ns

    def _send(
        self,
        request: Request,
        order_id: int,
        name: str,
        write: Callable[[str, int], HttpRequest],
        now_ns: int,
    ) -> None:
        assert self.state is EntryState.READY, "orders are sent while READY"
        refusal = self._own_refusal(request, now_ns)
        if refusal is None:
            try:
                self._post(write, now_ns, None, request, order_id, name)
                return
            except EntryError as error:
                refusal = Refusal(ErrorClass.BAD_REQUEST, "", str(error))
        # Not answered here: the host is in the middle of something.
        self._refused.append((Posted(request, order_id, name), refusal))

    def _own_refusal(self, request: Request, now_ns: int) -> Refusal | None:
        wait_ns = self._not_before_ns - now_ns
        if wait_ns > 0:
            text = "not sent: the venue asked to be left alone"
            return Refusal(ErrorClass.RATE_LIMITED, "", text, wait_ns)
        if not self._posts.has_room(now_ns, request is Request.PLACE):
            return Refusal(ErrorClass.RATE_LIMITED, "", "not sent: near the venue's limits")
        return None

    def _post(
        self,
        write: Callable[[str, int], HttpRequest],
        now_ns: int,
        then: Callable[[Answer, int], None] | None = None,
        request: Request | None = None,
        order_id: int = 0,
        name: str = "",
    ) -> None:
        message = write(self._new_nonce(), now_ns // NS_PER_MS)
        posted = Posted(request, order_id, name, message, now_ns + ANSWER_LIMIT_NS, then)
        self._http.post(message, self._posts.add(posted, now_ns))

    # --- answers --------------------------------------------------------------------------------

    def on_http(self, key: int, answer: HttpAnswer, now_ns: int) -> None:
        """An answer, whatever its status."""
        posted, is_late = self._posts.take(key)
        if posted is None or (is_late and posted.then is not None):
            return
        try:
            read = self._read(posted, answer, now_ns)
            if posted.then is not None:
                if not self._is_refused(read, posted, now_ns):
                    posted.then(read, now_ns)
                return
            assert posted.request is not None
            events = self._reader.order_events(posted.request, read, self._market, posted.name)
        except EntryError as error:
            self._on_unread(posted, str(error), now_ns, is_late=is_late)
            return
        if is_late:
            # What happened, happened; a refusal of then says nothing about now.
            self._push((each for each in events if each.kind is not Kind.FAILED), now_ns)
        else:
            self._on_answer(posted, events, read.refusal, now_ns)

    def on_http_failed(self, key: int, reason: str, was_sent: bool, now_ns: int) -> None:
        """No answer."""
        posted, is_late = self._posts.take(key)
        if posted is None or is_late:
            return
        if was_sent or posted.then is not None:
            self._on_unread(posted, reason, now_ns)
        else:
            refusal = Refusal(ErrorClass.REJECTED, "", f"not sent: {reason}")
            self._on_refused(posted, refusal, now_ns)

    def _read(self, posted: Posted, answer: HttpAnswer, now_ns: int) -> Answer:
        given = answer.headers.get("X-Server-Auth-Signature", "")
        # What stands before the venue refuses too, and signs nothing.
        if given or answer.status == OK:
            content_type = answer.headers.get("Content-Type", "")
            message = posted.message
            assert message is not None
            nonce, stamp = message.nonce, message.timestamp_ms
            check_bitstamp_answer(self._signer, nonce, stamp, content_type, answer.body, given)
        wait = answer.headers.get("Retry-After", "")
        read = self._reader.read(answer.status, answer.body, wait)
        if read.refusal is not None and read.refusal.wait_ns > 0:
            self._not_before_ns = max(self._not_before_ns, now_ns + read.refusal.wait_ns)
        return read

    def _on_answer(
        self,
        posted: Posted,
        events: tuple[OrderEvent, ...],
        refusal: Refusal | None,
        now_ns: int,
    ) -> None:
        assert posted.request is not None
        events = self._names.named(events)
        self._host.on_answer(self._venue, posted.request, posted.order_id, 0, events, now_ns)
        if refusal is not None and refusal.error in TROUBLES:
            self._host.on_trouble(self._venue, refusal, now_ns)
        self._release(now_ns)

    def _on_refused(self, posted: Posted, refusal: Refusal, now_ns: int) -> None:
        """A request that never left: nothing has happened."""
        assert posted.request is not None
        answer = Answer(None, None, refusal)
        events = self._reader.order_events(posted.request, answer, self._market, posted.name)
        self._on_answer(posted, events, refusal, now_ns)

    def _on_unread(
        self, posted: Posted, reason: str, now_ns: int, *, is_late: bool = False
    ) -> None:
        """No answer, or none that can be read."""
        if posted.then is not None:
            self._give_up(f"{posted.path}: {reason}", now_ns)
            return
        order = {"order": format_client_id(posted.order_id)} if posted.order_id else {}
        self._note("unanswered", request=posted.path, **order, reason=reason)
        if not is_late and posted.order_id:
            assert posted.request is not None
            self._host.on_unanswered(self._venue, posted.request, posted.order_id, 0, now_ns)

    # --- the private connection -----------------------------------------------------------------

    def on_open(self, now_ns: int) -> None:
        """Connected: ask for what the subscriptions need."""
        self._is_open = True
        self._opened_ns = self._heard_ns = self._beat_ns = now_ns
        self._event_id = ""
        self._subscribing.clear()
        self.state = EntryState.OPENING
        self._post(self._requests.channel_token, now_ns, self._on_token)

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
            is_whole = self._is_chained(push)
            self._push(push.events, now_ns)
            if not is_whole:
                self._give_up("an event of our orders is missing", now_ns)
        elif push.notice is Notice.SUBSCRIBED:
            self._on_subscribed(push.text, now_ns)
        elif push.notice is Notice.RECONNECT:
            self._line.renew("the venue asks for it")
        elif push.notice is Notice.ERROR:
            if self.state is EntryState.OPENING:
                self._give_up(f"the venue refuses a subscription: {push.text}", now_ns)
            else:
                self._note("the venue reports an error", reason=push.text)

    def on_lost(self, reason: str, now_ns: int) -> None:
        """The connection is gone."""
        if self._is_open:
            self._lose(reason, EntryState.DISCONNECTED, now_ns)
        if self._not_before_ns > now_ns:
            self._line.drop("the venue asked to be left alone", self._not_before_ns - now_ns)

    def note_line(self, what: str, **facts: object) -> None:
        """What the connection tells of itself."""
        self._note(what, **facts)

    def _is_chained(self, push: Push) -> bool:
        """Whether an order's event names the one before it. A doubled one breaks nothing."""
        last = self._event_id
        self._event_id = push.event_id or last
        is_first = not last or not push.previous_event_id
        return is_first or last in (push.previous_event_id, push.event_id)

    def _push(self, events: Iterable[OrderEvent], now_ns: int) -> None:
        told = self._names.keep_nameless(events, now_ns)
        if told:
            self._host.on_push(self._venue, told, (), now_ns)
        self._release(now_ns)

    def _release(self, now_ns: int) -> None:
        told = self._names.released(now_ns)
        if told:
            self._host.on_push(self._venue, told, (), now_ns)

    def _lose(self, reason: str, state: EntryState, now_ns: int) -> None:
        self._is_open = False
        self.state = state
        self._reading = None
        self._refused.clear()
        self._posts.forget()
        self._host.on_entry_lost(self._venue, reason, now_ns)

    def _give_up(
        self,
        reason: str,
        now_ns: int,
        wait_ns: int = 0,
        state: EntryState = EntryState.DISCONNECTED,
    ) -> None:
        """End this connection; on the next one everything is read again."""
        if self._is_open:
            self._lose(reason, state, now_ns)
            self._line.drop(reason, wait_ns)

    # --- opening --------------------------------------------------------------------------------

    def _is_refused(self, answer: Answer, posted: Posted, now_ns: int) -> bool:
        """Whether a step of the opening was refused; the opening ends then."""
        refusal = answer.refusal
        is_gone = refusal is not None and refusal.error is ErrorClass.UNKNOWN_ORDER
        if refusal is None or (is_gone and posted.request is Request.STATUS):
            return False
        reason = f"{posted.path}: {refusal.text or refusal.code}"
        if refusal.error in BARRING:
            self._note("the venue does not accept us", reason=reason, again_in_s=BAR_NS // NS_PER_S)
            self._give_up(reason, now_ns, BAR_NS, EntryState.BARRED)
        elif refusal.error is ErrorClass.RATE_LIMITED:
            self._give_up(
                reason, now_ns, refusal.wait_ns if refusal.wait_ns >= 0 else LIMIT_WAIT_NS
            )
        else:
            self._give_up(reason, now_ns)
        if refusal.error in TROUBLES:
            self._host.on_trouble(self._venue, refusal, now_ns)
        return True

    def _on_token(self, answer: Answer, now_ns: int) -> None:
        token, user_id = self._reader.channel_token(answer)
        kinds = ("my_orders", "my_trades")
        frames = [subscription(kind, self._market, user_id, token) for kind in kinds]
        self._subscribing = {f"private-{kind}_{self._market.symbol}-{user_id}" for kind in kinds}
        self._subscribe_by_ns = now_ns + SUBSCRIBE_LIMIT_NS
        for frame in frames:
            self._line.send(frame)

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

    def _on_account(self, opening: Opening, is_whole: bool, now_ns: int) -> None:
        self._reading = None
        self._was_ready = True
        self.state = EntryState.READY
        if not is_whole:
            self._note("more was traded while disconnected than the venue lists at once")
        self._host.on_ready(self._venue, opening, now_ns)
        self._release(now_ns)

    # --- time -----------------------------------------------------------------------------------

    def on_timer(self, now_ns: int) -> None:
        """Answers that are due, waits that are over, and the venue's heartbeat."""
        for _ in range(len(self._refused)):
            posted, refusal = self._refused.popleft()
            self._on_refused(posted, refusal, now_ns)
        for each in self._posts.overdue(now_ns):
            self._on_unread(each, "no answer in time", now_ns)
        self._release(now_ns)
        if not self._is_open:
            return
        if self._subscribing and self._subscribe_by_ns <= now_ns:
            self._give_up("the subscriptions were not acknowledged", now_ns)
        elif self.state is EntryState.READING:
            self._begin_reading(now_ns)
        self._keep_alive(now_ns)

    def _keep_alive(self, now_ns: int) -> None:
        if now_ns - self._heard_ns > SILENCE_NS:
            self._give_up("the venue says nothing", now_ns)
        elif now_ns - self._opened_ns > BITSTAMP.connection_age_max_s * NS_PER_S:
            self._opened_ns = now_ns  # asked once
            self._line.renew("near the venue's age limit")
        elif self._heartbeat is not None and now_ns - self._beat_ns >= HEARTBEAT_NS:
            self._beat_ns = now_ns
            self._line.send(self._heartbeat)

    def _note(self, what: str, **facts: object) -> None:
        self._host.note_entry(self._venue, what, **facts)
