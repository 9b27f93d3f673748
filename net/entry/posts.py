"""Signed POSTs under way: which are still to be answered, by when, and how many may be sent.

Over HTTP an answer comes for a request's key, late, or not at all; its own signature shows that it
is the venue's. Every request that is sent ends once: by its answer, by its deadline or by
`forget`. What comes after that is told apart as late: its events still count.
No I/O and no clock. Runs on: the engine thread. Called by: net.entry.bitstamp_session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from net.entry.order import Answer, Request

ANSWER_LIMIT_NS = 5_000_000_000
"""An answer takes some 150 ms (measured); a request that has none after so long is asked after."""
LATE_MAX = 1_024
"""Ended requests whose answer may still come; the transport gives each up after a while."""

WINDOW_NS, WINDOW_REQUESTS_MAX = 600_000_000_000, 9_000
SECOND_NS, SECOND_REQUESTS_MAX = 1_000_000_000, 350
"""Bitstamp's limits are 10,000 and 400 (HTTP API v2, request limits). The rest is for the market
data's snapshots and the watchdog, which share the address."""
SPARE_REQUESTS = (1_000, 50)
"""Of both: what new orders leave for cancels and questions."""

assert SPARE_REQUESTS[0] < WINDOW_REQUESTS_MAX and SPARE_REQUESTS[1] < SECOND_REQUESTS_MAX


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST with what was signed in its headers; the transport adds host and length."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    nonce: str
    timestamp_ms: int


class HttpAnswer(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """Names in any case: what the transport gives ignores it."""
    body: bytes


class HttpWire(Protocol):
    """Where POSTs go. Each ends in one on_http or on_http_failed of its owner, never at once."""

    def post(self, request: HttpRequest, key: int) -> None:
        """Send, in the order of the calls."""


class HttpOwner(Protocol):
    """Whose requests they are."""

    def on_http(self, key: int, answer: HttpAnswer, now_ns: int) -> None:
        """The answer to one request."""

    def on_http_failed(self, key: int, reason: str, was_sent: bool, now_ns: int) -> None:
        """No answer. `was_sent`: the venue may have got it; if not, nothing has happened."""


class Posted(NamedTuple):
    """One request under way, and what it was about."""

    request: Request | None
    """None: about the connection or the account, not about orders."""
    order_id: int
    """0 for what the host is not told the answer to."""
    name: str
    """The order's client id, "" where there is none."""
    message: HttpRequest | None = None
    """None: it was not sent."""
    deadline_ns: int = 0
    then: Callable[[Answer, int], None] | None = None
    """Who takes the answer to what the entry asks for itself; None: it is the host's."""

    @property
    def path(self) -> str:
        """For people."""
        return "" if self.message is None else self.message.path


class Posts:
    """The requests of one venue that are under way."""

    def __init__(self) -> None:
        self._keys = 0
        self._under_way: dict[int, Posted] = {}
        self._late: dict[int, Posted] = {}
        self._sent_ns: deque[int] = deque(maxlen=WINDOW_REQUESTS_MAX)

    def has_room(self, now_ns: int, is_order: bool) -> bool:
        """Whether the venue's limits allow one more request."""
        spare, spare_now = SPARE_REQUESTS if is_order else (0, 0)
        return not (
            self._is_full(WINDOW_REQUESTS_MAX - spare, now_ns - WINDOW_NS)
            or self._is_full(SECOND_REQUESTS_MAX - spare_now, now_ns - SECOND_NS)
        )

    def _is_full(self, requests: int, since_ns: int) -> bool:
        return len(self._sent_ns) >= requests and self._sent_ns[-requests] > since_ns

    def add(self, posted: Posted, now_ns: int) -> int:
        """A request is sent: the key for its answer."""
        self._keys += 1
        self._under_way[self._keys] = posted
        self._sent_ns.append(now_ns)
        return self._keys

    def take(self, key: int) -> tuple[Posted | None, bool]:
        """The request that an answer is for, and whether it comes late; None: an answer twice."""
        posted = self._under_way.pop(key, None)
        if posted is not None:
            return posted, False
        return self._late.pop(key, None), True

    def overdue(self, now_ns: int) -> list[Posted]:
        """The requests that end now, unanswered."""
        keys = [key for key, each in self._under_way.items() if each.deadline_ns <= now_ns]
        return [self._end(key) for key in keys]

    def forget(self) -> None:
        """All end: the connection is lost."""
        for key in list(self._under_way):
            self._end(key)

    def _end(self, key: int) -> Posted:
        posted = self._late[key] = self._under_way.pop(key)
        if len(self._late) > LATE_MAX:
            del self._late[next(iter(self._late))]
        return posted
