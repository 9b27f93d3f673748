"""A frame with several books' messages in one list, as frames with one each.

Some venues wrap a book message in a list, which may hold several: Coinbase's `events`, of which
each names its product, under one number of the connection. The kernel reads one message a frame, so
such a frame is taken apart here, byte by byte as it was written: no number is printed anew. What a
part means, and whether it is right, the kernel says. Usual frames never come here.
Runs on: the engine thread.
"""

from __future__ import annotations

import re

PARTS_MAX = 256
"""More than any connection's markets: such a frame is refused."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]')
"""Of JSON all that nests or parts; whatever stands between two of them is a plain value."""
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")


def parts_of(message: bytes, key: str) -> list[bytes]:
    """The message once for each member of the list that is its member `key`, with that one alone.

    `message`: an object, which the kernel has found to be JSON. Empty where it has no such list, or
    one of more than PARTS_MAX.
    """
    spans = _member_spans(message, key.encode())
    if not 0 < len(spans) <= PARTS_MAX:
        return []
    head, tail = message[: spans[0][0]], message[spans[-1][1] :]
    return [head + message[start:stop] + tail for start, stop in spans]


def _member_spans(message: bytes, key: bytes) -> list[tuple[int, int]]:
    """Where the members of the list begin and end."""
    depth, before, is_next, is_inside = 0, b"", False, False
    spans: list[tuple[int, int]] = []
    start = 0
    for found in _TOKEN.finditer(message):
        token = found[0]
        if depth == 1 and token == b":":
            is_next = before == b'"%b"' % key
        elif token in _OPENING:
            depth += 1
            if depth == 2 and is_next and token == b"[":
                is_inside, start = True, found.end()
            is_next = False
        elif is_inside and depth == 2 and token in (b",", b"]"):
            spans.append((start, found.start()))
            start = found.end()
            if token == b"]":
                return spans
        elif token in _CLOSING:
            depth -= 1
        elif token == b",":
            is_next = False
        before = token
    return spans
