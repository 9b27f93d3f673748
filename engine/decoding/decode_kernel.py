"""The general reader as other kernels call it: by its address, which stands in the arena.

It is large and rarely run on the path of a frame; four kernels that held a copy each took the
compiler minutes. With bounds checked each holds one all the same: what fails in a kernel that is
called by its address raises nothing in its caller.
Runs on: the engine thread (frames) and the housekeeping thread (snapshots).
"""

from __future__ import annotations

from engine.compiling.arena import view_arena
from engine.compiling.atomics import Bytes, Words, view_bytes, view_words
from engine.compiling.c_calls import call_words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, inner, kernel
from engine.decoding.decode import decode as decode_here
from engine.layout import layout as L


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def decode_message(
    frame_address: int,
    frame_bytes: int,
    arena_address: int,
    schema: int,
    stage_address: int,
    stage_words: int,
) -> int:
    """`engine.decoding.decode.decode`, of blocks at these addresses."""
    arena = view_arena(arena_address)
    frame = view_bytes(frame_address, frame_bytes)
    return decode_here(frame, arena, schema, view_words(stage_address, stage_words))


if JIT_OFF or BOUNDS_CHECKED:
    decode = decode_here
else:

    @inner
    def decode(frame: Bytes, arena: Words, schema: int, stage: Words) -> int:
        return call_words(
            arena[L.ENGINE_DECODE_KERNEL],
            frame.ctypes.data,
            len(frame),
            arena.ctypes.data,
            schema,
            stage.ctypes.data,
            len(stage),
        )
