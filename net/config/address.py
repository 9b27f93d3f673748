"""Addresses in the configuration: where to listen, and where a venue is.

Runs on: the main thread, once.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def listen_address(value: str) -> str:
    """The value, if it is "host:port" or empty; ValueError says what it must be."""
    if value and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}", value):
        raise ValueError('must be "host:port", for example "127.0.0.1:5002"')
    if value and int(value.rpartition(":")[2]) > 65535:
        raise ValueError("the port must be at most 65535")
    return value


def url(value: str, schemes: tuple[str, ...]) -> str:
    """The value without its last slash, if it is an address; ValueError says what it must be."""
    if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"must start with {' or '.join(f'{s}://' for s in schemes)}")
    if "@" in value or "?" in value or "#" in value:
        raise ValueError("must hold no user, password or query: secrets come from the environment")
    try:
        parts = urlsplit(value)
        is_address = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # a name of too long parts too
        is_address = False
    if not is_address or re.search(r"\s", value):
        raise ValueError("is not an address")
    return value.rstrip("/")
