"""What most venues answer alike: market data alone, whole books in the stream, no REST snapshots.

A venue derives from this and overrides what it does otherwise.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from net.venues.interface import Listing, MetadataError, OwnSettings, VenueProtocol

if TYPE_CHECKING:
    from net.orders.interface import VenueOrders
    from net.venues.trades import VenueTrade

DAY_S = 24 * 3600


class MarketDataVenue(VenueProtocol):
    """The answers of a venue that sends its books in its stream and takes no orders from us."""

    trade_url = ""
    own_settings: type[OwnSettings] = OwnSettings
    used_weight_header = ""
    has_acknowledgements = True
    has_contracts = False
    metadata_weight = 1
    audit_interval_s = 600
    """Of no meaning without REST snapshots."""
    connection_age_max_s = 7 * DAY_S
    """No limit is known: a fresh connection once a week."""
    metadata_route = ""
    """The path of `metadata_path`, without its query or what stands behind it."""

    def stream_url(self, ws_url: str, symbols: Sequence[str], own: OwnSettings) -> str:
        return ws_url

    @property
    def token_path(self) -> str:
        return ""

    def token_address(self, url: str, answer: Any) -> str:
        raise ValueError

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return []

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return []

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return None

    def heartbeat(self) -> bytes | None:
        return None

    @property
    def heartbeat_answer(self) -> bytes:
        return b""

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        return (0,)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        raise AssertionError(f"{self.name}: whole books come in the stream")

    def snapshot_weight(self, depth: int) -> int:
        return 1

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        return None

    def ban_end_ms(self, body: Any) -> int | None:
        return None

    def has_no_symbol(self, body: Any) -> bool:
        return False

    def is_metadata(self, path: str) -> bool:
        return urlsplit(path).path.startswith(self.metadata_route)

    def tick_size(self, body: Any, symbol: str) -> str:
        return self.listing(body, symbol).tick_size

    def missing(self, symbol: str, *, is_final: bool) -> MetadataError:
        """The error of `listing`, to be raised."""
        return MetadataError(f"{self.name}: markets has no {symbol}", is_final=is_final)

    @abstractmethod
    def listing(self, body: Any, symbol: str) -> Listing: ...

    @property
    def orders(self) -> VenueOrders | None:
        return None
