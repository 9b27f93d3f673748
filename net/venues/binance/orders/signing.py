"""What Binance has signed, over its WebSocket API.

Parameters sorted by name, k=v joined by &, raw UTF-8, not encoded.
Source: Binance's web-socket-api.md (request security).
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Mapping


def signed_text(params: Mapping[str, str | int]) -> bytes:
    """The text to sign of a WebSocket API request: all parameters but `signature`."""
    names = sorted(name for name in params if name != "signature")
    return "&".join(f"{name}={params[name]}" for name in names).encode()
