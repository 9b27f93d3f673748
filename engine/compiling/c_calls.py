"""C functions as kernels call them: those of libc by name, any other by its address.

A library that a process may lack (OpenSSL) cannot be called by name: compiled code that names it
could not be loaded. Its functions' addresses travel in words.
Runs on: any thread.
"""

from __future__ import annotations

import ctypes
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from engine.compiling.jit import JIT_OFF

if JIT_OFF:
    _int_function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)

    def call_int(address: int, first: int, second: int, third: int) -> int:
        """Call the C function at `address` with three words at most; the int it returns."""
        return int(_int_function(int(address))(int(first), int(second), int(third)))

    def call_words(
        address: int, first: int, second: int, third: int, fourth: int, fifth: int, sixth: int
    ) -> int:
        """Call the kernel at `address` (engine.compiling.jit.kernel_address) with six words."""
        raise AssertionError("without the JIT no kernel has an address")

    def move_bytes(target: int, source: int, count: int) -> None:
        """memmove(3): the two may overlap."""
        ctypes.memmove(int(target), int(source), int(count))

else:

    @intrinsic
    def call_int(typingctx: Any, address: Any, first: Any, second: Any, third: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word, half = ir.IntType(64), ir.IntType(32)
            function_type = ir.FunctionType(half, [word] * 3)
            function = builder.inttoptr(args[0], function_type.as_pointer())
            return builder.sext(builder.call(function, args[1:]), word)

        return types.int64(*[types.int64] * 4), codegen

    @intrinsic
    def call_words(
        typingctx: Any, address: Any, first: Any, second: Any, third: Any, fourth: Any, fifth: Any,
        sixth: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(64)
            function_type = ir.FunctionType(word, [word] * 6)
            function = builder.inttoptr(args[0], function_type.as_pointer())
            return builder.call(function, args[1:])

        return types.int64(*[types.int64] * 7), codegen

    move_bytes = types.ExternalFunction("memmove", types.intp(types.intp, types.intp, types.intp))
