"""The engine's arena and its stage as kernels view them, from addresses.

Runs on: any thread, inside kernels.
"""

from __future__ import annotations

from engine.compiling.atomics import Words, view_words
from engine.compiling.jit import inlined
from engine.layout import layout as L


@inlined
def view_arena(address: int) -> Words:
    """The whole arena at its address."""
    header = view_words(address, L.ENGINE_WORDS)
    return view_words(address, header[L.ENGINE_ARENA_WORDS])


@inlined
def view_stage(arena: Words) -> Words:
    """The engine thread's own stage."""
    return view_words(arena[L.ENGINE_STAGE_ADDRESS], arena[L.ENGINE_STAGE_WORDS])
