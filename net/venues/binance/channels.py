"""How Binance is asked for channels: in the address, or where they are many in messages.

Source: the exchange's pages of its WebSocket streams: 1,024 channels and five messages a second a
connection. What an address may be is not said there; servers take 8 KiB as a rule.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import orjson

ADDRESS_SYMBOLS_MAX = 200
"""In an address: some 5 KiB."""
MESSAGE_SYMBOLS_MAX = 150
"""In a message: some 4 KiB, and few enough messages for a second."""


def stream_address(ws_url: str, channels: Sequence[str], *options: str) -> str:
    """The address of a connection that has these channels, or is to be asked for them."""
    is_told = len(channels) <= ADDRESS_SYMBOLS_MAX
    query = [f"streams={'/'.join(channels)}"] if is_told else []
    return "?".join(filter(None, (f"{ws_url}/stream", "&".join((*query, *options)))))


def stream_requests(channels: Sequence[str]) -> list[bytes]:
    """What to ask for after connecting; nothing where the address says it all."""
    if len(channels) <= ADDRESS_SYMBOLS_MAX:
        return []
    starts = range(0, len(channels), MESSAGE_SYMBOLS_MAX)
    parts = [channels[at : at + MESSAGE_SYMBOLS_MAX] for at in starts]
    return [
        orjson.dumps({"method": "SUBSCRIBE", "params": part, "id": number})
        for number, part in enumerate(parts, 1)
    ]


def channel(symbol: str, suffix: str) -> str:
    return f"{quote(symbol.lower())}@depth{suffix}"
