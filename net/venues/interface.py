"""The questions every venue answers. Facts only.

Runs on: any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from engine.book.rules import BookRules

if TYPE_CHECKING:
    from net.orders.interface import VenueOrders
    from net.venues.trades import VenueTrade


class Control(Enum):
    """What a text frame that is no book frame means to us."""

    IGNORED = "ignored"
    SUBSCRIBED = "subscribed"
    RECONNECT = "reconnect"
    ERROR = "error"
    UNKNOWN = "unknown"


class MetadataError(Exception):
    """The venue's answer names no tick size for the symbol: one line.

    `is_final`: it does not know the symbol, and will not. Otherwise the answer was none of the kind
    it should be, and another may be better.
    """

    def __init__(self, text: str, *, is_final: bool = True) -> None:
        super().__init__(text)
        self.is_final = is_final


class MarketStatus(Enum):
    """What a venue says of a market. Only one that trades has a book to be awaited."""

    TRADING = "trading"
    HALTED = "halted"
    PRE_OPEN = "pre-open"
    DELISTED = "delisted"


@dataclass(frozen=True)
class Listing:
    """A market as its venue lists it: decimals as text."""

    tick_size: str
    lot_size: str = ""
    """The step of quantities; empty where it is not said."""
    status: MarketStatus = MarketStatus.TRADING
    contract_value: str = "1"
    """What a quantity of one is, in the base asset."""


def tick_text(value: Any) -> str:
    """A tick size as text; TypeError where it is neither text nor a number."""
    if not isinstance(value, str | int | float):
        raise TypeError
    return str(value)


@dataclass(frozen=True)
class RestLimit:
    """So much weight in so many seconds, of which we allow ourselves a part."""

    weight_max: int
    window_s: int


class OwnSettings(BaseModel):
    """Settings that one venue alone has, beside those of every venue (net.config); here none.

    A venue that has some derives a class in its own folder and names it in `own_settings`; its
    methods are then given an instance of that class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class VenueProtocol(Protocol):
    """One venue: where it is, what to ask it, and how its book is read and kept."""

    name: str
    rules: BookRules
    """Its frames' form, and what joins them: what the engine knows of the venue."""
    ws_url: str
    rest_url: str
    trade_url: str
    """Where orders go."""
    rest_limit: RestLimit
    has_acknowledgements: bool
    """Whether each message of `subscriptions` is confirmed."""
    has_contracts: bool
    """Whether quantities are contracts, whose value a listing tells."""
    metadata_weight: int
    """What a metadata request costs of it."""
    own_settings: type[OwnSettings]
    """The schema of the settings that only this venue has."""
    used_weight_header: str
    audit_interval_s: int
    connection_age_max_s: int
    maker_fee_ppm: int
    """What it takes of a post-only order's fill by its standard, in millionths; an account may
    have other terms."""

    def stream_url(self, ws_url: str, symbols: Sequence[str], own: OwnSettings) -> str:
        """Where to connect for the diffs of these symbols."""

    @property
    def token_path(self) -> str:
        """Of the REST address: what a POST is answered goes into that of each connection; empty
        where no token is needed."""

    def token_address(self, url: str, answer: Any) -> str:
        """A stream's address with the token of such an answer; KeyError, TypeError or ValueError
        where it has none. Nothing else of the answer is used."""

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        """What to send after connecting, some symbols in each message; none where the address says
        it all."""

    def resubscriptions(self, symbol: str) -> list[bytes]:
        """What makes the venue send this symbol's whole book in the stream again; nothing where
        books come by REST, or where only a new connection brings one."""

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        """What to send on the books' connection, once those are there, for these symbols' trades:
        single ones where the venue has them; nothing where they are not read yet. What answers it
        is IGNORED by `control`: it confirms no book."""

    def trades(self, message: Any) -> list[VenueTrade] | None:
        """The trades that a message of the stream tells, the oldest first; None: it is another one.

        `message`: as `net.venues.trades.decode` has it. KeyError, TypeError, ValueError: it is one
        of trades, and malformed."""

    def heartbeat(self) -> bytes | None:
        """What to send on an idle connection beside protocol pings."""

    @property
    def heartbeat_answer(self) -> bytes:
        """What the venue answers to it where that is no JSON; empty otherwise."""

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        """How many levels a side a snapshot may be asked for, ascending: the last is what is
        wanted, the others cost less of the REST limit. 0: the whole book, at any time."""

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        """Path and query of a book with so many levels a side, at most."""

    def snapshot_weight(self, depth: int) -> int:
        """What that costs of the REST limit."""

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        """Whose book, and how deep, a recorded REST path asks for; None: for something else."""

    def ban_end_ms(self, body: Any) -> int | None:
        """When the venue will hear us again, in ms since 1970, where a refusal's body says so."""

    def metadata_path(self, symbol: str) -> str:
        """Path and query of what names the tick size."""

    def has_no_symbol(self, body: Any) -> bool:
        """Whether the body of a refused metadata request says that there is no such symbol: the
        venue's own words, not what some gateway before it answers."""

    def is_metadata(self, path: str) -> bool:
        """Whether a recorded REST path is one of `metadata_path`."""

    def tick_size(self, body: Any, symbol: str) -> str:
        """The tick size in a metadata answer, as text; MetadataError if it is not there."""

    def listing(self, body: Any, symbol: str) -> Listing:
        """All that a metadata answer says of a market; MetadataError as of `tick_size`."""

    def control(self, message: Any) -> tuple[Control, str]:
        """What a decoded text frame that is no book frame means, and a text for the log: of
        SUBSCRIBED the symbols, with spaces between them, where the venue names any."""

    @property
    def orders(self) -> VenueOrders | None:
        """The order-entry half, loaded on first use; None where only market data is to be had.

        Who asks for none loads none: reading a configuration imports no order entry.
        """
