"""The frame kernel as a built-in function: what is called for every frame.

Runs on: the engine thread.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from engine.book.frame import on_frame
from engine.book.frame_kernel import take_frame
from engine.compiling import builtin as C
from engine.compiling.atomics import BYTES_HEADER, address_of, view_words
from engine.compiling.jit import JIT_OFF, callback

FrameHandler = Callable[[bytes, int, int], int]
"""f(frame, receive_ns, is_last) -> a status of engine.layout.status."""

_ARGUMENTS = 3
_CONTEXT = struct.Struct("=2q")
"""The arena's address, the connection: the characters of `self`, a bytes object."""


@callback("int64(int64, int64, int64)")
def _call(own: int, arguments: int, count: int) -> int:
    """PyObject *_call(PyObject *self, PyObject *const *arguments, Py_ssize_t count)."""
    if count != _ARGUMENTS:
        C.bad_argument()
        return C.FAILED
    words = view_words(arguments, _ARGUMENTS)
    size = C.bytes_size(words[0])
    receive_ns = C.long_value(words[1])
    is_last = C.long_value(words[2])
    if (size < 0 or receive_ns == -1 or is_last == -1) and C.error_set() != 0:
        return C.FAILED
    context = view_words(own + BYTES_HEADER, 2)
    frame = words[0] + BYTES_HEADER
    status = take_frame(context[0], context[1], frame, size, receive_ns, is_last)
    answer: int = C.long_new(status)
    return answer


def _frame_handler_without_jit(
    arena: int, connection: int, frame: bytes, receive_ns: int, is_last: int
) -> int:
    size = len(frame)
    return on_frame(arena, connection, address_of(frame), size, receive_ns, is_last)


def frame_handler(arena_address: int, connection: int) -> FrameHandler:
    """`on_frame` of one connection. TypeError for anything but (bytes, int, int).

    Only after `compile_kernels`; the arena must outlive the function.
    """
    if JIT_OFF:
        return partial(_frame_handler_without_jit, arena_address, connection)
    return C.builtin(_call, _CONTEXT.pack(arena_address, connection))
