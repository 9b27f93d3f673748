"""Signed requests over HTTP: what is handed to the connection, and what it brings back.

Runs on: any thread (types only).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

ANSWER_LIMIT_NS = 5_000_000_000
"""An answer takes some 150 ms (measured); a request that has none after so long is asked after."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request with what was signed in it; the transport adds host and length."""

    path: str
    """With its query."""
    headers: tuple[tuple[str, str], ...]
    body: bytes
    nonce: str
    timestamp_ms: int
    method: str = "POST"
    """Or GET, which changes nothing and may be sent again."""


class HttpAnswer(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """Names in any case: what the transport gives ignores it."""
    body: bytes


class HttpWire(Protocol):
    """Where requests go. Each ends in one on_http or on_http_failed of its owner, never at once."""

    def post(self, request: HttpRequest, key: int) -> None:
        """Send, in the order of the calls."""


class HttpOwner(Protocol):
    """Whose requests they are."""

    def on_http(self, key: int, answer: HttpAnswer, now_ns: int) -> None:
        """The answer to one request."""

    def on_http_failed(self, key: int, reason: str, was_sent: bool, now_ns: int) -> None:
        """No answer. `was_sent`: the venue may have got it; if not, nothing has happened."""
