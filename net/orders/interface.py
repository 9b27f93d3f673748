"""What a venue's order entry is to the market maker, and what it tells it. Two protocols.

    market maker -> VenueEntry: place, take, cancel, replace, ask  -> requests of the venue
    market maker <- EntryHost:  answers, pushes, silence, state <- its answers and its events

An entry has no I/O and no clock: what it sends goes to the wire it was given, what arrives is
handed to it, and `now_ns`, steady time (tuning.clock), is passed into everything. It knows nothing
of positions or limits. It opens in a fixed order, and only then is it READY: connect, log on,
subscribe to the account's events, then read what is open, what has traded and what the account
holds.

Every request that is sent ends in exactly one `on_answer`, `on_unanswered` or `on_entry_lost`.
Nothing is told to the host within `place`, `take`, `cancel`, `replace`, `ask`, `reread`, `audit` or
`read_transfers`.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from net.log.note import Note
from net.orders.compiled_requests import CompiledRequests
from net.orders.errors import Refusal
from net.orders.http_requests import HttpOwner, HttpWire
from net.orders.markets import MarketRules
from net.orders.messages import Balance, Market, OrderEvent, OrderRequest, Request
from net.orders.transfers import Transfer
from net.sockets.outlet import Outlet
from net.sockets.private_connection import LineOwner


class EntryNote(Note):
    """What an entry tells an operator beside orders; a warning is what may need a deed."""

    BARRED = "order entry is barred", "warning"
    CLOCK_NOT_READ = "the venue's clock was not read", "warning"
    FEES_NOT_READ = "the venue does not tell its fees: those configured count", "warning"
    TRANSFERS_NOT_READ = "deposits and withdrawals were not read", "warning"
    AUDIT_FAILED = "the account was not audited", "info"
    GAP_FILLED = "events that were missing are read from the venue's history", "info"
    CHAIN_SHARED = "events name those of the account's other markets before them", "info"
    VENUE_ERROR = "the venue reports an error", "warning"
    UNANSWERED = "unanswered", "warning"
    UNREADABLE_ANSWER = "unreadable answer", "warning"
    UNREADABLE_FRAME = "unreadable frame", "warning"
    UNMATCHED_ANSWER = "an answer to nothing", "warning"
    TRADES_MISSED = "more was traded while disconnected than the venue lists at once", "warning"
    LATE_ANSWER = "late answer", "info"
    READY = "order entry is ready", "info"


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
    """The private connection that an entry's requests go out on: a
    `net.sockets.private_connection.Line`."""

    @property
    def outlet(self) -> Outlet | None:
        """Where compiled code may write its messages; None where it cannot."""

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
    maker_fee_ppm: int | None = None
    """What the venue takes of a post-only order's fill in our market, in millionths, below zero for
    a rebate; None where it has not said."""


class EntryHost(Protocol):
    """What a venue's order entry tells. `venue` is its index in the instrument."""

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        """The answer to one request."""

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        """No answer in time, or one that could not be read: the outcome is unknown."""

    def on_push(
        self, venue: int, events: tuple[OrderEvent, ...], balances: tuple[Balance, ...], now_ns: int
    ) -> None:
        """What the venue says of its own accord. Where it names an order by its own number only,
        the entry has put in our name for it, as far as it remembers."""

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        """Connected, logged on, subscribed, and read: orders may be sent."""

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        """The account as `audit` has read it; what happens meanwhile is told beside it."""

    def on_transfers(self, venue: int, transfers: tuple[Transfer, ...], now_ns: int) -> None:
        """The history that `read_transfers` has asked for."""

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        """No orders can be sent; whatever was under way has an unknown outcome. So ends every
        connection, whether or not it had become ready."""

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        """A refusal that is about us or the market, not about one order: bad keys, permission,
        clock, rate limit. It comes beside the answer that it was in, if there was one."""

    def wall_ns(self) -> int:
        """What time it is, for the venue to read."""

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        """Something an operator should see: an EntryNote, or a LineNote of its connection. Never a
        secret."""


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
    def audit_every_ns(self) -> int:
        """How often the account may be audited within the venue's limits; 0: never."""

    @property
    def can_replace(self) -> bool:
        """Whether the venue promises that a replace stays post-only. If not, `replace` must not be
        called: cancel, and place anew once that is confirmed."""

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send a post-only order."""

    def take(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send an order that takes up to its price at once; what is left of it expires."""

    def cancel(self, order_id: int, now_ns: int) -> None:
        """Send a cancel."""

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        """Send a cancel for each of these orders, and for no other of the account."""

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        """Send a replace: the old order goes, the new one, post-only, comes, or neither."""

    @property
    def compiled(self) -> CompiledRequests | None:
        """The same requests for compiled code to write and send; None where it cannot."""

    def note_sent(
        self, number: int, kind: Request, order_id: int, replaced_id: int, now_ns: int
    ) -> None:
        """Compiled code has sent this request: its answer is awaited like any other's.
        `replaced_id`: 0 but for a replace."""

    def ask(self, order_id: int, now_ns: int) -> None:
        """Ask where one order stands: answered with STATE (and FILLs), or FAILED."""

    def reread(self, now_ns: int) -> None:
        """Read the account again; `on_ready` follows once more."""

    def audit(self, now_ns: int) -> None:
        """Read the account while READY, beside everything else: `on_audit` follows, or a note that
        says why not. One at a time; nothing else is told for it."""

    def read_transfers(self, asset: str, since_ns: int, now_ns: int) -> None:
        """Read what has come into the account and gone out of it of an asset, all that is booked
        and complete since then by the venue's clock: `on_transfers` follows, or a note that says
        why not. While READY."""

    def on_timer(self, now_ns: int) -> None:
        """Called several times a second: answers that are due, waits that are over."""


class ConnectedEntry(NamedTuple):
    """One entry, and who is told what its connections carry: itself, or a part of it."""

    entry: VenueEntry
    line_owner: LineOwner
    http_owner: HttpOwner | None
    """None for a venue whose requests go over the private connection."""


class Keys(Protocol):
    """One key of one venue, as its own folder reads it; no repr shows a secret."""

    @property
    def api_key(self) -> str:
        """The key's name: no secret."""


class EntryAddress(NamedTuple):
    """Where a venue is reached, as configured."""

    trade_url: str
    """Where orders go."""
    ws_url: str
    """Where its public stream is; some venues tell of the account there too."""
    rest_url: str
    """Where the rest is asked for; some venues have the account's history there."""


class EntryConnector(Protocol):
    """Makes what an entry is carried over, kept up by its maker once the entry is there."""

    def connection(self, url: str) -> Wire:
        """The entry's private connection: one for an entry."""

    def http(self, base_url: str) -> HttpWire:
        """Its requests over HTTP, if it sends any: one for an entry."""


class VenueOrders(Protocol):
    """The order-entry half of a venue: `net.venues.<venue>.orders.ORDERS`, loaded on first use."""

    key_names: tuple[str, ...]
    """The variables of the environment that `read_keys` looks at."""

    def read_keys(self, environment: Mapping[str, str]) -> Keys:
        """The venue's key; EntryError with one line that names the variable at fault."""

    def key_variables(self, api_key: str, secret: str) -> dict[str, str]:
        """The environment from which `read_keys` reads this key with an HMAC secret."""

    def market_rules(self, body: Any, symbol: str) -> MarketRules:
        """A market's units and limits in a metadata answer; EntryError where they are not there."""

    def make_entry(
        self,
        venue: int,
        market: Market,
        keys: Keys,
        address: EntryAddress,
        host: EntryHost,
        connector: EntryConnector,
        *,
        self_trade_mode: str = "",
    ) -> ConnectedEntry:
        """The order entry in one market. `venue`: its index in the instrument; `keys`: from
        `read_keys`; `self_trade_mode`: "" for the market's default, ignored where there is none."""
