"""A program: frames placed exactly against inaccessible pages, whole and cut at every length.

    python -m tests.engine.decoding.guard_pages inside|over-read|under-read

Any read outside a frame ends the process with SIGSEGV. The last two modes do that on purpose.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
from typing import cast

import numpy as np

from engine.book.frame import on_frame
from engine.compiling.jit import JIT_OFF, compile_kernels
from engine.engine import Stage
from engine.layout import status as S
from tests.engine.decoding.rig import BINANCE, BITSTAMP, STRANGE, Decoder
from tests.engine.rig import binance_frame, binance_snapshot, bitstamp_frame, bitstamp_snapshot

PAGE = mmap.PAGESIZE
PROT_NONE = 0


class Fence:
    """A few readable pages between two that are not."""

    def __init__(self, pages: int = 1) -> None:
        self._memory = mmap.mmap(-1, (pages + 2) * PAGE)
        self._words = np.frombuffer(self._memory, np.uint8)
        self.first = int(self._words.ctypes.data) + PAGE
        self.end = self.first + pages * PAGE
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (self.first - PAGE, self.end):
            answer = libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), PROT_NONE)
            assert answer == 0, "mprotect failed"

    def at_end(self, raw: bytes) -> int:
        """The address of a copy whose last byte is the last that may be read."""
        address = self.end - len(raw)
        ctypes.memmove(address, raw, len(raw))
        return address

    def at_start(self, raw: bytes) -> int:
        """The address of a copy whose first byte is the first that may be read."""
        ctypes.memmove(self.first, raw, len(raw))
        return self.first


def frames() -> list[tuple[int, bytes]]:
    """Frames of both venues that end in a number, a literal, an escape, a long character."""
    level = [("61837.63000000", "3.78826000"), ("1.1", "0")]
    head = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","1"]],"a":[["'
    odd = [
        head + b"12345678.12345678",
        head + b"1.1234567",
        head[:-4] + b'[],"x":"\\ud83d\\ude00',
        head[:-4] + b'[],"x":"\xf0\x9f\x98\x80',
        head[:-4] + b'[],"x":false',
        head[:-4] + b'[],"x":-1.5e+10',
        b'{"s":"BTCUSDT"',
        b'{"data":{"microtimestamp":"12',
        b'{"channel":"diff_order_book_btcusd',
    ]
    good = [(BINANCE, binance_frame(1, 2, level, level)), (BITSTAMP, bitstamp_frame(9, level))]
    return good + [(feed, raw) for raw in odd for feed in (BINANCE, BITSTAMP)]


def read_all(fence: Fence) -> int:
    decoder = Decoder()
    engine = decoder.rig.engine
    for feed in (BINANCE, BITSTAMP):
        engine.restart_stream(feed)
    count = 0
    learned = dict(frames()[:2])
    for feed, raw in frames():
        connection = (int(engine.arena.ctypes.data), feed)
        lengths = range(0, len(raw) + 1, 3 if JIT_OFF else 1)
        for length, place in itertools.product(lengths, (fence.at_end, fence.at_start)):
            cut = raw[:length]
            # Once after a frame of the same form, which the engine has learned, once after none.
            good = learned[feed]
            for before in (good, STRANGE[feed]):
                on_frame(*connection, fence.at_start(before), len(before), 1, 1)
                assert on_frame(*connection, place(cut), len(cut), 1, 1) in S.TEXTS
            count += 1
    stage = Stage(100)
    row = [("61837.63000000", "3.78826000")]
    for feed, make in ((BINANCE, binance_snapshot), (BITSTAMP, bitstamp_snapshot)):
        body = make(10**15, row, row)
        for length, place in itertools.product(range(1, len(body)), (fence.at_end, fence.at_start)):
            where = place(body[:length])
            view = memoryview((ctypes.c_char * length).from_address(where))
            engine.stage(feed, cast(bytes, view), stage)
            count += 1
    return count


def main(mode: str) -> None:
    fence = Fence()
    if mode == "over-read":
        ctypes.string_at(fence.at_end(b"{}"), 3)
    elif mode == "under-read":
        ctypes.string_at(fence.at_start(b"{}") - 1, 2)
    else:
        compile_kernels()
        print("read", read_all(fence))


if __name__ == "__main__":
    main(sys.argv[1])
