"""A frame rehearsed while nothing comes, so that the next real one finds its path warm.

Real feeds send 10 to 50 frames a second. In the 20 to 100 ms between two of them the CPU forgets
what a frame needs: the code's cache lines, how its branches go, the lines of its book. So the idle
spin takes a frame now and then through the very path that real ones take (net.sockets.frames), to
an engine of one feed that nobody reads, and asks for the lines of the live books besides, one feed
a turn. The frame is the first that a feed had to buffer; the spare engine's stream is set back
before each time, so that it is always the next one, and its book never the one published last.
Runs on: the engine thread.
"""

from __future__ import annotations

import numpy as np

from engine.book.frame import feed_at
from engine.book.prefetch import prefetch_feed
from engine.book.side import side_at
from engine.compiling.arena import view_arena
from engine.compiling.atomics import Words, view_words
from engine.compiling.jit import inner, kernel
from engine.engine import Engine
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.sockets import frames as RF

EVERY_NS = 500_000
"""Between two rehearsals; one takes some microseconds, during which a frame would wait."""
WINDOW_SLOTS, FAR_LEVELS_MAX = 1 << 12, 1 << 10
"""Of the spare engine: a frame's own levels are all that it holds."""

TRIES_MAX = 3
"""Frames that are tried, each with a spare engine of its own."""

(
    LIVE_ARENA,
    TAKE_FUNCTION,
    SPARE,
    FIRST_ID,
    FRAME_BYTES,
    NEXT_FEED,
    DUE_NS,
    REHEARSAL_WORDS,
) = range(8)
"""SPARE: the address of the spare engine's receiver words, 0 before there is a frame to rehearse.
FRAME_BYTES: the frame in its buffer, header included. FIRST_ID: the first id that it has."""


@inner
def _set_back(arena: Words, first_id: int) -> None:
    """Let the frame be the next one, and its book another than the last one published."""
    feed = feed_at(arena, 0)
    active = arena[feed + L.FEED_ACTIVE_BOOK]
    arena[feed + L.FEED_LAST_FRAME_ID] = 0
    arena[feed + L.FEED_BOOK_ID_0 + active] = first_id - 1
    merged = arena[feed + L.FEED_INSTRUMENT] + L.INSTRUMENT_MERGED_AT
    for is_asks in range(2):
        arena[side_at(arena, feed, active, is_asks) + L.SIDE_TOP_IS_STALE] = 1
        arena[merged + is_asks * L.MERGED_SIDE_WORDS] = 0


@inner
def _play(words: Words) -> int:
    """Take the frame once; the outcome."""
    receiver = view_words(words[SPARE], RF.RECEIVER_WORDS)
    _set_back(view_arena(receiver[RF.ARENA]), words[FIRST_ID])
    receiver[RF.START] = 0
    receiver[RF.END] = words[FRAME_BYTES]
    return RF.take_by(words[TAKE_FUNCTION], words[SPARE], 0)


@inner
def rehearse(words: Words, now_ns: int) -> bool:
    """Rehearse if it is time to, by steady time; whether it was."""
    if now_ns < words[DUE_NS]:
        return False
    words[DUE_NS] = now_ns + EVERY_NS
    if words[SPARE] == 0:
        return True
    _play(words)
    arena = view_arena(words[LIVE_ARENA])
    index = words[NEXT_FEED]
    words[NEXT_FEED] = index + 1 if index + 1 < arena[L.ENGINE_FEEDS] else 0
    prefetch_feed(arena, feed_at(arena, index))
    return True


@inner
def put_off(words: Words, now_ns: int) -> None:
    """A real frame has just kept the path warm."""
    words[DUE_NS] = now_ns + EVERY_NS


@kernel("int64(int64)")
def play_once(address: int) -> int:
    """Take the frame once; the outcome."""
    return _play(view_words(address, REHEARSAL_WORDS))


class Rehearsal:
    """What the spin rehearses for one engine: nothing until it has learned a frame."""

    def __init__(self, live: Engine) -> None:
        self._live = live
        self._tries = 0
        self._spare: Engine | None = None
        self._buffer = np.zeros(0, np.uint8)
        self._receiver = np.zeros(RF.RECEIVER_WORDS, np.int64)
        self.words = np.zeros(REHEARSAL_WORDS, np.int64)
        self.words[LIVE_ARENA] = live.address
        self.words[TAKE_FUNCTION] = RF.take_function()
        self.address = int(self.words.ctypes.data)

    @property
    def is_ready(self) -> bool:
        """Whether there is a frame to rehearse."""
        return bool(self.words[SPARE])

    def learn(self, raw: bytes, feed: int) -> None:
        """Rehearse this frame of a feed from now on, where none is yet and it can be."""
        if self.is_ready or self._tries == TRIES_MAX or not 125 < len(raw) <= 0xFFFF:
            return
        self._tries += 1
        live, words, receiver = self._live.feeds[feed], self.words, self._receiver
        spec = FeedSpec(live.venue, live.rules, 0, live.symbol, live.tick_size)
        depth = max(each.depth for each in self._live.instruments)
        spare = self._spare = Engine(
            (InstrumentSpec("REHEARSAL", (spec,), depth),),
            reads_clock=True,
            window_slots=WINDOW_SLOTS,
            far_levels_max=FAR_LEVELS_MAX,
        )
        spare.activate(0, 0)
        framed = bytes([RF.TEXT, 126]) + len(raw).to_bytes(2, "big") + raw
        # One byte more than it ever holds: a full buffer would be handed over.
        self._buffer = np.frombuffer(framed + bytes(1), np.uint8)
        receiver[:] = 0
        receiver[RF.BUFFER], receiver[RF.BUFFER_BYTES] = self._buffer.ctypes.data, len(self._buffer)
        receiver[RF.ARENA] = spare.address
        words[FRAME_BYTES] = len(framed)
        words[SPARE] = receiver.ctypes.data
        words[FIRST_ID] = 1
        play_once(self.address)  # which may not fit, but tells the ids that it has
        words[FIRST_ID] = spare.staged_first_id
        receiver[RF.STATUS] = S.APPLIED
        play_once(self.address)
        if receiver[RF.STATUS] != S.APPLIED or spare.last_feed != 0:
            words[SPARE] = 0
