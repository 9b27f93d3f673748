"""Compiled code as CPython calls it best: a built-in function with METH_FASTCALL.

numba's own entry points take a tuple, parse it, and convert each argument through an int object of
its own: some 150 ns of a small frame's time. Here a compiled C callback has the signature that
CPython calls built-ins by, and reads its arguments where they are. What is fixed about a function
travels in the built-in's `self`. (Python/C API, "Common Object Structures": METH_FASTCALL;
PyCFunction_NewEx is the documented constructor.)
Runs on: any thread that holds the GIL.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

from numba import types

from engine.compiling.jit import JIT_OFF, Callback

FAILED = 0
"""NULL: CPython then raises the error that was set."""
_METH_FASTCALL = 0x80

if not JIT_OFF:
    bytes_size = types.ExternalFunction("PyBytes_Size", types.int64(types.int64))
    bytes_new = types.ExternalFunction(
        "PyBytes_FromStringAndSize", types.int64(types.int64, types.int64)
    )
    long_value = types.ExternalFunction("PyLong_AsLongLong", types.int64(types.int64))
    long_new = types.ExternalFunction("PyLong_FromLongLong", types.int64(types.int64))
    error_set = types.ExternalFunction("PyErr_Occurred", types.int64())
    bad_argument = types.ExternalFunction("PyErr_BadArgument", types.int32())


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("ml_name", ctypes.c_char_p),
        ("ml_meth", ctypes.c_void_p),
        ("ml_flags", ctypes.c_int),
        ("ml_doc", ctypes.c_char_p),
    )


_definitions: dict[str, _MethodDef] = {}
"""CPython keeps a pointer to the definition for as long as a function lives."""


def builtin(call: Callback, context: bytes) -> Callable[..., Any]:
    """A built-in function that runs `call` with `context` as its `self`, a bytes object.

    Only after `compile_kernels`.
    """
    definition = _definitions.get(call.name)
    if definition is None:
        name = call.name.rpartition(".")[2].encode()
        definition = _MethodDef(name, call.address, _METH_FASTCALL, None)
        _definitions[call.name] = definition
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype = ctypes.py_object
    new.argtypes = (ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.c_void_p)
    return cast(Callable[..., Any], new(definition, context, None))
