"""The frame kernel as CPython calls it best: a built-in function with METH_FASTCALL.

numba's own entry points take a tuple, parse it, and convert each argument through an int object of
its own: some 150 ns of a small frame's time. Here a compiled C callback has the signature that
CPython calls built-ins by, and reads its three arguments where they are. What is fixed about a
connection travels in the built-in's `self`. (Python/C API, "Common Object Structures":
METH_FASTCALL; PyCFunction_NewEx is the documented constructor.)
Runs on: the engine thread. Called by: engine.engine.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import partial
from typing import cast

from numba import types

from engine.atomics import BYTES_HEADER, address_of, view_words
from engine.feed import on_frame
from engine.jit import JIT_OFF, callback

FrameHandler = Callable[[bytes, int, int], int]
"""f(frame, receive_ns, is_last) -> a status of engine.status."""

_ARGUMENTS = 3
_CONTEXT = struct.Struct("=3q")
"""The arena's address, the connection, the protocol: the characters of `self`, a bytes object."""
_METH_FASTCALL = 0x80
_FAILED = 0
"""NULL: CPython then raises the error that was set."""

if not JIT_OFF:
    _bytes_size = types.ExternalFunction("PyBytes_Size", types.int64(types.int64))
    _long_value = types.ExternalFunction("PyLong_AsLongLong", types.int64(types.int64))
    _long_new = types.ExternalFunction("PyLong_FromLongLong", types.int64(types.int64))
    _error_set = types.ExternalFunction("PyErr_Occurred", types.int64())
    _bad_argument = types.ExternalFunction("PyErr_BadArgument", types.int32())


@callback("int64(int64, int64, int64)")
def _call(own: int, arguments: int, count: int) -> int:
    """PyObject *_call(PyObject *self, PyObject *const *arguments, Py_ssize_t count)."""
    if count != _ARGUMENTS:
        _bad_argument()
        return _FAILED
    words = view_words(arguments, _ARGUMENTS)
    size = _bytes_size(words[0])
    receive_ns = _long_value(words[1])
    is_last = _long_value(words[2])
    if (size < 0 or receive_ns == -1 or is_last == -1) and _error_set() != 0:
        return _FAILED
    context = view_words(own + BYTES_HEADER, 3)
    frame = words[0] + BYTES_HEADER
    status = on_frame(context[0], context[1], context[2], frame, size, receive_ns, is_last)
    answer: int = _long_new(status)
    return answer


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("ml_name", ctypes.c_char_p),
        ("ml_meth", ctypes.c_void_p),
        ("ml_flags", ctypes.c_int),
        ("ml_doc", ctypes.c_char_p),
    )


_definitions: list[_MethodDef] = []
"""CPython keeps a pointer to the definition for as long as the function lives."""


def _frame_handler_without_jit(
    arena: int, connection: int, protocol: int, frame: bytes, receive_ns: int, is_last: int
) -> int:
    size = len(frame)
    return on_frame(arena, connection, protocol, address_of(frame), size, receive_ns, is_last)


def frame_handler(arena_address: int, connection: int, protocol: int) -> FrameHandler:
    """`on_frame` of one connection. TypeError for anything but (bytes, int, int).

    Only after `compile_kernels`; the arena must outlive the function.
    """
    if JIT_OFF:
        return partial(_frame_handler_without_jit, arena_address, connection, protocol)
    if not _definitions:
        flags = _METH_FASTCALL
        _definitions.append(_MethodDef(b"frame_handler", _call.address, flags, b"Take one frame."))
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype = ctypes.py_object
    new.argtypes = (ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.c_void_p)
    own = _CONTEXT.pack(arena_address, connection, protocol)
    return cast(FrameHandler, new(_definitions[0], own, None))
