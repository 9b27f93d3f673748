"""Order entry whose requests go over HTTP, while the private connection tells of the account.

Answers come whether or not the connection lives, so a connection that is given up is lost at once.
What cannot be sent (the venue wants to be left alone, its limits are near, a number that does not
fit) is answered by the next turn of the timer: the host is in the middle of something.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from engine.layout.units import NS_PER_MS
from net.orders.entry import OrderEntry
from net.orders.errors import ErrorClass, Refusal
from net.orders.event_reader import EventReader
from net.orders.http_requests import ANSWER_LIMIT_NS, HttpAnswer, HttpRequest, HttpWire
from net.orders.interface import EntryHost, EntryState, Wire
from net.orders.messages import Answer, EntryError, Market, OrderRequest, Request
from net.orders.order_names import OrderNames
from net.orders.pending_requests import NO_ORDER, Next, Pending
from net.orders.rate_windows import RateLimit, RateWindows

WriteRequest = Callable[[str, int], HttpRequest]
"""Of a nonce and the time in ms; EntryError for what cannot be written."""


class HttpEntry(OrderEntry):
    """An OrderEntry and a `net.orders.http_requests.HttpOwner`. A venue's class has `_read`."""

    rate_limits: tuple[RateLimit, ...]

    def __init__(
        self,
        venue: int,
        market: Market,
        host: EntryHost,
        line: Wire,
        http: HttpWire,
        reader: EventReader,
        names: OrderNames,
        new_nonce: Callable[[], str],
    ) -> None:
        """`new_nonce`: never the same twice."""
        super().__init__(venue, market, host, line, reader, names)
        self._http = http
        self._new_nonce = new_nonce
        self._rates = RateWindows(*self.rate_limits)
        self._refused: deque[tuple[Pending, Refusal]] = deque()
        """Requests that were not sent, to be answered: at most one a live order."""
        self._not_before_ns = 0

    def _read(self, message: HttpRequest, answer: HttpAnswer) -> Answer:
        """An answer that is the venue's; EntryError."""
        raise NotImplementedError

    # --- requests --------------------------------------------------------------------------------

    def _send(self, request: Request, order_id: int, write: WriteRequest, now_ns: int) -> None:
        """A request about an order."""
        asked = OrderRequest(request, order_id)
        assert self.state is EntryState.READY, "orders are sent while READY"
        refusal = self._own_refusal(request, now_ns)
        if refusal is None:
            try:
                self._post(write, now_ns, about=asked)
                return
            except EntryError as error:
                refusal = Refusal(ErrorClass.BAD_REQUEST, str(error))
        unsent = Pending(request.value, now_ns, now_ns, asked)
        self._refused.append((unsent, refusal))

    def _own_refusal(self, request: Request, now_ns: int) -> Refusal | None:
        wait_ns = self._not_before_ns - now_ns
        if wait_ns > 0:
            text = "not sent: the venue asked to be left alone"
            return Refusal(ErrorClass.RATE_LIMITED, text, wait_ns)
        if not self._rates.has_room(now_ns, request is Request.PLACE):
            return Refusal(ErrorClass.RATE_LIMITED, "not sent: near the venue's limits")
        return None

    def _post(
        self,
        write: WriteRequest,
        now_ns: int,
        then: Callable[[Pending, Answer, int], Next] | None = None,
        *,
        about: OrderRequest = NO_ORDER,
        may_be_gone: bool = False,
        may_be_refused: bool = False,
        fail: Callable[[str, int], None] | None = None,
    ) -> None:
        message = write(self._new_nonce(), self._host.wall_ns() // NS_PER_MS)
        due_ns, number = now_ns + ANSWER_LIMIT_NS, self._pending.next_number()
        sent = (message.path, now_ns, due_ns, about, then, may_be_gone, may_be_refused, fail)
        self._pending.put(number, Pending(*sent, message=message))
        self._rates.add(now_ns)
        self._http.post(message, number)

    # --- answers ---------------------------------------------------------------------------------

    def on_http(self, key: int, answer: HttpAnswer, now_ns: int) -> None:
        """An answer, whatever its status."""
        pending, is_late = self._pending.take(key)
        if pending is None:
            return  # a second one
        assert pending.message is not None
        try:
            read = self._read(pending.message, answer)
        except EntryError as error:
            if is_late:
                self._note_unreadable(pending, error)
            else:
                self._fail_unreadable(pending, error, now_ns)
            return
        if read.refusal is not None and read.refusal.wait_ns > 0:
            self._not_before_ns = max(self._not_before_ns, now_ns + read.refusal.wait_ns)
        if is_late:
            self._on_late(pending, read, now_ns)
        else:
            self._on_answer(pending, read, now_ns)

    def on_http_failed(self, key: int, reason: str, was_sent: bool, now_ns: int) -> None:
        """No answer."""
        pending, is_late = self._pending.take(key)
        if pending is None or is_late:
            return
        if was_sent or pending.then is not None:
            self._fail(pending, reason, now_ns)
        else:
            refusal = Refusal(ErrorClass.REJECTED, f"not sent: {reason}")
            self._on_answer(pending, Answer(None, None, refusal), now_ns)

    def on_timer(self, now_ns: int) -> None:
        for _ in range(len(self._refused)):
            unsent, refusal = self._refused.popleft()
            self._on_answer(unsent, Answer(None, None, refusal), now_ns)
        super().on_timer(now_ns)

    # --- the private connection ------------------------------------------------------------------

    def on_lost(self, reason: str, now_ns: int) -> None:
        super().on_lost(reason, now_ns)
        if self._not_before_ns > now_ns:
            self._line.drop("the venue asked to be left alone", self._not_before_ns - now_ns)

    def _forget(self) -> None:
        self._refused.clear()
        self._pending.end_all()

    def _give_up(self, reason: str, now_ns: int, wait_ns: int = 0) -> None:
        if self._is_open:
            self._lose(reason, now_ns)
            self._line.drop(reason, wait_ns)
