"""C functions as kernels call them: those of libc by name, any other by its address.

A library that a process may lack (OpenSSL) cannot be called by name: compiled code that names it
could not be loaded. Its functions' addresses travel in words.
Runs on: any thread.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from engine.compiling.atomics import Bytes, int64, view_bytes
from engine.compiling.jit import JIT_OFF, inner

MSG_DONTWAIT, MSG_NOSIGNAL = 0x40, 0x4000
"""From sys/socket.h on Linux: -1 at once instead of waiting; no SIGPIPE."""
EPOLL_EVENT_BYTES = 12 if platform.machine() in ("x86_64", "AMD64") else 16
"""struct epoll_event is packed to 12 bytes on x86-64 and 16 bytes long elsewhere (epoll_ctl(2))."""
_EPOLL_DATA_AT = EPOLL_EVENT_BYTES - 8

if JIT_OFF:
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.recv.restype = _libc.send.restype = ctypes.c_ssize_t

    def epoll_wait(descriptor: int, address: int, count: int, timeout_ms: int) -> int:
        """epoll_wait(2)."""
        where = ctypes.c_void_p(int(address))
        return int(_libc.epoll_wait(int(descriptor), where, int(count), int(timeout_ms)))

    def ppoll(address: int, count: int, timeout_address: int, mask: int) -> int:
        """ppoll(2)."""
        where = (ctypes.c_void_p(int(address)), ctypes.c_ulong(int(count)))
        rest = (ctypes.c_void_p(int(timeout_address)), ctypes.c_void_p(int(mask)))
        return int(_libc.ppoll(*where, *rest))

    def recv(descriptor: int, address: int, size: int, flags: int) -> int:
        """recv(2)."""
        where = (ctypes.c_void_p(int(address)), ctypes.c_size_t(int(size)))
        return int(_libc.recv(int(descriptor), *where, int(flags)))

    def send(descriptor: int, address: int, size: int, flags: int) -> int:
        """send(2)."""
        where = (ctypes.c_void_p(int(address)), ctypes.c_size_t(int(size)))
        return int(_libc.send(int(descriptor), *where, int(flags)))

    def error_number() -> int:
        """The calling thread's errno."""
        return ctypes.get_errno()

    _int_function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)

    def call_int(address: int, first: int, second: int, third: int) -> int:
        """Call the C function at `address` with three words at most; the int it returns."""
        return int(_int_function(int(address))(int(first), int(second), int(third)))

    def call_words(
        address: int, first: int, second: int, third: int, fourth: int, fifth: int, sixth: int
    ) -> int:
        """Call the kernel at `address` (engine.compiling.jit.kernel_address) with six words."""
        raise AssertionError("without the JIT no kernel has an address")

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

    epoll_wait = types.ExternalFunction(
        "epoll_wait", types.int32(types.int32, types.intp, types.int32, types.int32)
    )
    ppoll = types.ExternalFunction(
        "ppoll", types.int32(types.intp, types.uint64, types.intp, types.intp)
    )
    _transfer = types.int64(types.int32, types.intp, types.intp, types.int32)
    recv = types.ExternalFunction("recv", _transfer)
    send = types.ExternalFunction("send", _transfer)
    _errno_location = types.ExternalFunction("__errno_location", types.intp())

    @inner
    def error_number() -> int:
        """errno is below 256 in all of Linux, so its first byte says it."""
        return int64(view_bytes(_errno_location(), 4)[0])


@inner
def _half_word(raw: Bytes, at: int) -> int:
    value = int64(0)
    for byte in range(4):
        value |= int64(raw[at + byte]) << (8 * byte)
    return value


@inner
def epoll_mask(raw: Bytes, at: int) -> int:
    """What the struct epoll_event at an offset tells of."""
    return _half_word(raw, at)


@inner
def epoll_descriptor(raw: Bytes, at: int) -> int:
    """Whose it is; the upper half of epoll's 64-bit data is garbage: only 32 bits are ours."""
    return _half_word(raw, at + _EPOLL_DATA_AT)
