"""The questions every venue answers. Facts only. Runs on: any thread. Called by: net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


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


class VenueProtocol(Protocol):
    """One venue. `protocol` is engine.layout's number for its frames."""

    name: str
    protocol: int
    ws_url: str
    rest_url: str
    trade_url: str
    """Where orders go."""
    rest_limit: RestLimit
    used_weight_header: str
    audit_interval_s: int
    has_gap_detection: bool
    connection_age_max_s: int

    def stream_url(self, ws_url: str, symbols: Sequence[str], interval_ms: int) -> str:
        """Where to connect for the diffs of these symbols."""

    def subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        """What to send after connecting, one message each; none where the address says it all."""

    def heartbeat(self) -> bytes | None:
        """What to send on an idle connection beside protocol pings."""

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        """Path and query of the whole book."""

    def snapshot_weight(self, depth: int) -> int:
        """What a snapshot costs of the REST limit."""

    def levels_limit(self, depth: int) -> int:
        """A snapshot side with this many levels was cut; 0 where the whole book is sent."""

    def snapshot_symbol(self, path: str) -> str | None:
        """Whose book a recorded REST path asks for; None where it asks for something else."""

    def metadata_path(self, symbol: str) -> str:
        """Path and query of what names the tick size."""

    def is_metadata(self, path: str) -> bool:
        """Whether a recorded REST path is one of `metadata_path`."""

    def tick_size(self, body: Any, symbol: str) -> str:
        """The tick size in a metadata answer, as text; MetadataError if it is not there."""

    def joins(self, snapshot_id: int, first_id: int) -> bool:
        """Whether a snapshot is new enough for a buffer that starts with `first_id`."""

    def control(self, message: Any) -> tuple[Control, str]:
        """What a decoded text frame that is no book frame means, and a text for the log."""
