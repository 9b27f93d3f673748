"""How a call ends: gRPC's status codes, and the error by which a service refuses.

https://github.com/grpc/grpc/blob/master/doc/statuscodes.md; the text's form in a header is that of
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
Runs on: any thread.
"""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The codes that the gateway gives."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class RefusedError(Exception):
    """A call that cannot be served: the status code and the text that the caller is given."""

    def __init__(self, code: Status, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def percent_encoded(text: str) -> bytes:
    """A text as the header `grpc-message` carries it: printable ASCII but the percent sign."""
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode("utf-8", "replace")
    )
