"""A message that is built once and of which only the fields that change are written again.

Runs on: the engine thread. Called by: net.entry.binance, net.entry.bitstamp.
"""

from __future__ import annotations

from collections.abc import Sequence


class Template:
    """Fixed text around numbered fields, in one buffer.

    A value as wide as the one before it is written in place. Another width moves what follows,
    once: prices and amounts keep their decimals, so that happens when a number gains a digit.
    There is no padding: the buffer always equals the message that would be built afresh.
    """

    def __init__(self, literals: Sequence[bytes]) -> None:
        """The texts before, between and after the fields: one more than there are fields."""
        self.buffer = bytearray(b"".join(literals))
        self._widths = [0] * (len(literals) - 1)
        self._starts = []
        position = 0
        for literal in literals[:-1]:
            position += len(literal)
            self._starts.append(position)

    def put(self, field: int, value: bytes) -> None:
        """Write one field, counted from 0."""
        start, width = self._starts[field], self._widths[field]
        self.buffer[start : start + width] = value
        shift = len(value) - width
        if shift:
            self._widths[field] = len(value)
            for later in range(field + 1, len(self._starts)):
                self._starts[later] += shift
