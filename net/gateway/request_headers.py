"""A call's headers: whether HTTP/2 and gRPC allow them, and the deadline in them.

Runs on: the gateway's event loop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Headers = list[tuple[bytes, bytes]]

CONTENT_TYPE = re.compile(rb"application/grpc(?:\+proto)?(?:;.*)?", re.IGNORECASE)
TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])", re.ASCII)
TIMEOUT_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
TIMEOUT_MAX_S = 1e7
"""A longer one is none: the loop's timers cannot hold it."""

PSEUDO_FIELDS = {b":method", b":scheme", b":path", b":authority"}
FORBIDDEN_FIELDS = {
    b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade",
}  # fmt: skip
FIELD_NAME = re.compile(rb":?[!-9;-@\[-~]+")
"""Printable ASCII without capitals, and no colon but in front (RFC 9113, section 8.2.1)."""
BAD_IN_VALUES = re.compile(rb"[\0\r\n]")


def is_well_formed(headers: Headers) -> bool:
    """Whether a request's fields are what RFC 9113 allows (sections 8.2 and 8.3).

    But for white space around a value, which gRPC's own clients send and its servers take.
    """
    seen: set[bytes] = set()
    for name, value in headers:
        if not FIELD_NAME.fullmatch(name) or BAD_IN_VALUES.search(value):
            return False
        if name.startswith(b":"):
            if name not in PSEUDO_FIELDS or name in seen or b"" in seen:
                return False
            seen.add(name)
            continue
        seen.add(b"")  # from here on no pseudo field
        if name in FORBIDDEN_FIELDS or (name == b"te" and value.lower() != b"trailers"):
            return False
    return seen >= {b":method", b":scheme", b":path"}


def is_grpc(fields: Mapping[bytes, bytes]) -> bool:
    """Whether the content is a gRPC request, of protobuf messages."""
    return CONTENT_TYPE.fullmatch(fields.get(b"content-type", b"")) is not None


def timeout_s(raw: bytes) -> float | None:
    """A deadline; None where there is none that we know."""
    found = TIMEOUT.fullmatch(raw)
    if found is None:
        return None
    seconds = int(found[1]) * TIMEOUT_UNITS_S[found[2]]
    return seconds if seconds < TIMEOUT_MAX_S else None
