"""What a venue's order entry is to the market maker, and what it tells it. Two protocols.

    market maker -> VenueEntry: place, cancel, replace, ask     -> requests of the venue
    market maker <- EntryHost:  answers, pushes, silence, state <- its answers and its events

An entry has no I/O and no clock: what it sends goes to the wire it was given, what arrives is
handed to it, and `now_ns` is passed into everything. It knows nothing of positions or limits. It
opens in a fixed order, and only then is it READY: connect, log on, subscribe to the account's
events, then read what is open, what has traded and what the account holds.

Every request that is sent ends in exactly one `on_answer`, `on_unanswered` or `on_entry_lost`.
Nothing is told to the host within `place`, `cancel`, `replace`, `ask` or `reread`.
Runs on: the engine thread; in the watchdog, the main thread. Called by: net.maker, net.watchdog.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol

from net.entry.order import Balance, OrderEvent, Request
from net.entry.refusals import Refusal

WARNINGS = frozenset(
    {
        "disconnected",
        "order entry is barred",
        "the venue does not accept us",
        "the venue's clock was not read",
        "the venue reports an error",
        "unanswered",
        "unreadable answer",
        "unreadable frame",
        "an answer to nothing",
        "more was traded while disconnected than the venue lists at once",
    }
)
"""Notes of an entry that an operator may have to act on; the others tell how it went."""


class EntryState(IntEnum):
    """Where a venue's order entry stands. Small integers: they travel through shared memory."""

    DISCONNECTED = 0
    OPENING = 1
    """Connecting, logging on, subscribing."""
    READING = 2
    """What is open, what has traded, what the account holds."""
    READY = 3
    BARRED = 4
    """The venue does not accept who or when we are (key, permission, clock): it is asked again
    after a long while, or never."""


class Wire(Protocol):
    """The private connection that an entry's requests go out on: a `net.entry.line.Line`."""

    def send(self, message: bytes | bytearray) -> None:
        """Write one message now; the memory may be used again at once."""

    def renew(self, reason: str) -> None:
        """Close properly, so that what is under way may still be answered, and connect anew."""

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        """Cut it at once, and connect anew after `wait_ns` at the earliest."""


class Opening(NamedTuple):
    """What the venue says of the account when its order entry becomes READY."""

    open_orders: tuple[OrderEvent, ...]
    """Of our market, of whoever placed them: kind STATE. An order that was placed a moment ago may
    be missing: of those in the table `ask` alone is certain."""
    trades: tuple[OrderEvent, ...]
    """The latest of our market, oldest first: kind FILL."""
    balances: tuple[Balance, ...]


class EntryHost(Protocol):
    """What a venue's order entry tells. `venue` is its index in the instrument."""

    def on_answer(
        self,
        venue: int,
        request: Request,
        order_id: int,
        replaced_id: int,
        events: tuple[OrderEvent, ...],
        now_ns: int,
    ) -> None:
        """The answer to one request. `order_id`: the order that it was about, or that it places;
        `replaced_id`: the order that a REPLACE was to cancel, else 0."""

    def on_unanswered(
        self, venue: int, request: Request, order_id: int, replaced_id: int, now_ns: int
    ) -> None:
        """No answer in time, or one that could not be read: the outcome is unknown."""

    def on_push(
        self, venue: int, events: tuple[OrderEvent, ...], balances: tuple[Balance, ...], now_ns: int
    ) -> None:
        """What the venue says of its own accord. Where it names an order by its own number only,
        the entry has put in our name for it, as far as it remembers."""

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        """Connected, logged on, subscribed, and read: orders may be sent."""

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        """No orders can be sent; whatever was under way has an unknown outcome. So ends every
        connection, whether or not it had become ready."""

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        """A refusal that is about us or the market, not about one order: bad keys, permission,
        clock, rate limit. It comes beside the answer that it was in, if there was one."""

    def note_entry(self, venue: int, what: str, **facts: object) -> None:
        """Something an operator should see. Never a secret."""


class VenueEntry(Protocol):
    """One venue's order entry for one market. Prices are in the market's ticks."""

    @property
    def state(self) -> EntryState:
        """Orders may be sent while READY, and cancels and questions too."""

    @property
    def settle_ns(self) -> int:
        """A request whose answer is missing for so long can no longer reach the venue's books:
        from then on "no such order" is final."""

    @property
    def can_replace(self) -> bool:
        """Whether the venue promises that a replace stays post-only. If not, `replace` must not be
        called: cancel, and place anew once that is confirmed."""

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send a post-only order."""

    def cancel(self, order_id: int, now_ns: int) -> None:
        """Send a cancel."""

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        """Send a replace: the old order goes, the new one, post-only, comes, or neither."""

    def ask(self, order_id: int, now_ns: int) -> None:
        """Ask where one order stands: answered with STATE (and FILLs), or FAILED."""

    def reread(self, now_ns: int) -> None:
        """Read the account again; `on_ready` follows once more."""

    def on_timer(self, now_ns: int) -> None:
        """Called several times a second: answers that are due, waits that are over."""
