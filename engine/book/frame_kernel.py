"""The frame kernel as other kernels call it: by its address, which stands in the arena.

A kernel that called `on_frame` itself would hold a copy of it, four megabytes of machine code that
take the compiler a minute each time. A call by address costs a nanosecond or two.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.frame import on_frame
from engine.compiling.atomics import Words, view_words
from engine.compiling.c_calls import call_words
from engine.compiling.jit import JIT_OFF, inner, kernel_address
from engine.decoding.decode_kernel import decode_message
from engine.decoding.other_parts import read_part
from engine.layout import layout as L

if JIT_OFF:
    take_frame = on_frame
else:

    @inner
    def take_frame(
        arena_address: int,
        connection: int,
        frame_address: int,
        frame_bytes: int,
        receive_ns: int,
        is_last: int,
    ) -> int:
        """`on_frame`, of the arena's own engine."""
        function = view_words(arena_address, L.ENGINE_WORDS)[L.ENGINE_FRAME_KERNEL]
        return call_words(
            function, arena_address, connection, frame_address, frame_bytes, receive_ns, is_last
        )


def place_kernels(arena: Words) -> None:
    """Write the addresses of the kernels that others call by them. Only after `compile_kernels`."""
    arena[L.ENGINE_FRAME_KERNEL] = kernel_address(on_frame)
    arena[L.ENGINE_DECODE_KERNEL] = kernel_address(decode_message)
    arena[L.ENGINE_PART_KERNEL] = kernel_address(read_part)
