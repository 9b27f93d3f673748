"""Mutants by the million: a compiled maker of broken frames, the same for the same seed.

A mutant begins as a copy of a corpus entry and is changed one to four times, mostly once: bytes
and digits exchanged, tokens put in, parts deleted, doubled, taken from other entries, ends cut off.
Runs on: the fuzzers' thread.
"""

from __future__ import annotations

import numpy as np

from engine.compiling.atomics import Bytes, Words, int64
from engine.compiling.jit import inner, kernel

ROOM, LARGE_ROOM = 1 << 12, 1 << 17
"""Bytes a mutant may have: one page, or more than the largest frame that was recorded."""
CHANGES_MAX = 4
RUN_MAX = 24
"""Digits of a run: a few more than a mantissa may have."""
LEVELS_MAX = 20
"""How often a level is doubled at most."""
(
    MADE_ORIGIN,
    MADE_BYTES,
    MADE_WORDS,
) = range(3)
KINDS = 16
"""Of these kinds of change every second leaves JSON what it is: digits and levels."""

LETTERS = b'{}[],:"0123456789.eE+-\\ \t\n\x00\x1f\x7f\x80\xc3\xe2\xf0\xfftnfux'
"""Bytes that mean something to a reader of JSON, or to one of UTF-8."""

TOKENS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" ", b"\n\t ", b"null", b"true", b"false",
    b"[]", b"{}", b'""', b"0", b"1", b"-1", b"1.5", b"1e5", b"1E400", b"00", b"0.0", b".", b"-",
    b'"b":', b'"a":', b'"e":', b'"u":', b'"U":', b'"E":', b'"s":', b'"data":', b'"event":',
    b'"bids":', b'"asks":', b'"microtimestamp":', b'"timestamp":', b'"lastUpdateId":',
    b'"channel":', b'"stream":', b'"depthUpdate"', b'"BTCUSDT"', b'"ETHUSDT"', b'"data"',
    b'"diff_order_book_btcusd"', b'"diff_order_book_"', b'["1","1"]', b'[["1","1"]]',
    b'["61837.63000000","3.78826000"],', b'["9223372036854775807","0"],', b'"\\u0062":',
    b"\\u0000", b"\\ud83d\\ude00", b"\\ud83d", b"\\u00e9", b"\xf0\x9f\x98\x80", b"\xc3\xa9",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"9223372036854775807", b"9223372036854775808",
    b"92233720368.54775807", b"18446744073709551616", b"999999999999999999", b"0.00000001",
    b"000000000", b"00000000000000000", b"[" * 33, b'{"x":' * 33, b"[[", b"]]", b"]]}", b"}}",
    b'"E":10000000000000,', b'"E":100000000000000,',
)  # fmt: skip


class Pile:
    """Byte strings one behind the other, as kernels read them."""

    def __init__(self, entries: tuple[bytes, ...]) -> None:
        self.entries = entries
        self.bytes = np.frombuffer(b"".join(entries), np.uint8).copy()
        self.starts = np.cumsum([0, *map(len, entries)], dtype=np.int64)


@inner
def _draw(state: Words, below: int) -> int:
    """A number from 0 to below - 1: xorshift32 (G. Marsaglia, "Xorshift RNGs", 2003)."""
    x = int64(state[0])
    x ^= (x << 13) & 0xFFFFFFFF
    x ^= x >> 17
    x ^= (x << 5) & 0xFFFFFFFF
    state[0] = x
    return x % below


@inner
def _open_gap(out: Bytes, base: int, length: int, room: int, at: int, count: int) -> int:
    """Open a gap of `count` bytes at `at`: the new length; what is beyond `room` is lost."""
    after = min(length + count, room)
    for index in range(after - 1, at + count - 1, -1):
        out[base + index] = out[base + index - count]
    return after


@inner
def _insert(
    out: Bytes, base: int, length: int, room: int, at: int, source: Bytes, start: int, count: int
) -> int:
    length = _open_gap(out, base, length, room, at, count)
    for index in range(min(count, room - at)):
        out[base + at + index] = source[start + index]
    return length


@inner
def _delete(out: Bytes, base: int, length: int, at: int, count: int) -> int:
    count = min(count, length - at)
    for index in range(at, length - count):
        out[base + index] = out[base + index + count]
    return length - count


@inner
def _digit_from(out: Bytes, base: int, length: int, at: int) -> int:
    """The first digit at or behind `at`, or `at`."""
    for index in range(at, length):
        if 0x30 <= out[base + index] <= 0x39:
            return index
    return at


@inner
def _double_level(state: Words, out: Bytes, base: int, length: int, room: int, at: int) -> int:
    """Repeat the `[..]` that begins at or behind `at`, with a comma, a few times."""
    start = at
    while start < length and out[base + start] != 0x5B:
        start += 1
    stop = start
    while stop < length and out[base + stop] != 0x5D:
        stop += 1
    count = stop + 1 - start
    if stop >= length or count > 64:
        return length
    for _ in range(1 + _draw(state, LEVELS_MAX)):
        if length + count + 1 > room:
            break
        length = _open_gap(out, base, length, room, start, count + 1)
        for index in range(count):
            out[base + start + index] = out[base + start + index + count + 1]
        out[base + start + count] = 0x2C
    return length


@inner
def _change_digits(state: Words, out: Bytes, base: int, length: int, room: int, at: int) -> int:
    """Another digit for one, or a run of digits put in before it."""
    at = _digit_from(out, base, length, at)
    if _draw(state, 3) > 0:
        out[base + at] = 0x30 + _draw(state, 10)
        return length
    count = 1 + _draw(state, RUN_MAX)
    length = _open_gap(out, base, length, room, at, count)
    fill = _draw(state, 12)
    for index in range(min(count, room - at)):
        out[base + at + index] = 0x30 + (fill if fill < 10 else _draw(state, 10))
    return length


@inner
def _change(
    state: Words,
    out: Bytes,
    base: int,
    length: int,
    room: int,
    pile: Bytes,
    starts: Words,
    tokens: Bytes,
    token_starts: Words,
    letters: Bytes,
) -> int:
    """One change; the new length."""
    kind = _draw(state, KINDS)
    at = _draw(state, length)
    if kind == 0:
        out[base + at] = letters[_draw(state, len(letters))]
    elif kind == 1:
        out[base + at] = int64(out[base + at]) ^ (1 << _draw(state, 8))
    elif kind == 2:
        length = _delete(out, base, length, at, 1 + _draw(state, 8))
    elif kind == 3 or kind == 4:
        token = _draw(state, len(token_starts) - 1)
        start = token_starts[token]
        count = token_starts[token + 1] - start
        if kind == 4:
            length = _delete(out, base, length, at, count)
            at = min(at, length)
        length = _insert(out, base, length, room, at, tokens, start, count)
    elif kind == 5:
        length = 1 + at
    elif kind == 6:
        # A part of another entry, or of this one, in place of what is here or beside it.
        other = _draw(state, len(starts) - 1)
        start = starts[other] + _draw(state, starts[other + 1] - starts[other])
        count = 1 + _draw(state, min(starts[other + 1] - start, 256))
        if _draw(state, 2) == 0:
            length = _delete(out, base, length, at, count)
            at = min(at, length)
        length = _insert(out, base, length, room, at, pile, start, count)
    elif kind == 7:
        length = _delete(out, base, length, at, 1 + _draw(state, length))
    elif kind <= 9:
        length = _double_level(state, out, base, length, room, at)
    else:
        length = _change_digits(state, out, base, length, room, at)
    return max(length, 1)


@kernel(
    "void(int64[::1], uint8[::1], int64[::1], uint8[::1], int64[::1], uint8[::1], uint8[::1],"
    " int64[::1])"
)
def make_mutants(
    state: Words,
    pile: Bytes,
    starts: Words,
    tokens: Bytes,
    token_starts: Words,
    letters: Bytes,
    out: Bytes,
    made: Words,
) -> None:
    """Fill `out`, the same room for each mutant; `made` gets each one's origin and length."""
    count = len(made) // MADE_WORDS
    room = len(out) // count
    for index in range(count):
        base = index * room
        # The frames that venues send come first, and more often than what fuzzing has kept.
        origin = min(_draw(state, len(starts) - 1), _draw(state, len(starts) - 1))
        start = starts[origin]
        length = min(starts[origin + 1] - start, room)
        for byte in range(length):
            out[base + byte] = pile[start + byte]
        changes = 1 + _draw(state, CHANGES_MAX) * _draw(state, 2)
        for _ in range(changes):
            length = _change(
                state, out, base, length, room, pile, starts, tokens, token_starts, letters
            )
        made[index * MADE_WORDS + MADE_ORIGIN] = origin
        made[index * MADE_WORDS + MADE_BYTES] = length


class Mutants:
    """Batches of mutants of a corpus; batch `number` is the same for the same seed."""

    def __init__(self, corpus: tuple[bytes, ...], count: int, room: int = ROOM) -> None:
        self.room = room
        self.pile = Pile(tuple(raw[:room] for raw in corpus))
        self._tokens = Pile(TOKENS)
        self._letters = np.frombuffer(LETTERS, np.uint8).copy()
        self.out = np.zeros(count * room, np.uint8)
        self.made = np.zeros(count * MADE_WORDS, np.int64)

    def make(self, seed: int, number: int) -> list[tuple[int, int]]:
        """Each one's origin and length; the bytes are in `out`."""
        mixed = (seed * 2_654_435_761 + number * 40_503 + 0x9E3779B9) & 0xFFFFFFFF
        state = np.array([mixed or 1], np.int64)
        pile, tokens = self.pile, self._tokens
        make_mutants(
            state, pile.bytes, pile.starts, tokens.bytes, tokens.starts, self._letters, self.out,
            self.made,
        )  # fmt: skip
        return [(int(o), int(n)) for o, n in self.made.reshape(-1, MADE_WORDS).tolist()]

    def raw(self, index: int, length: int) -> bytes:
        return self.out[index * self.room : index * self.room + length].tobytes()


__all__ = ["LARGE_ROOM", "ROOM", "Mutants"]
