"""Shared words, unaligned loads and bit counts: the machine operations numba has no name for.

Every access to a word that another thread or process may write goes through `load_acquire` and
`store_release` here: a plain array element read in a compiled loop is hoisted out of it and never
seen to change. On x86-64 they cost a plain move; on ARM they order memory as the C11 model says.
Each intrinsic has a Python twin, used when the JIT is off.
Runs on: any thread.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from engine.compiling.jit import JIT_OFF

int64 = cast("Callable[[Any], int]", np.int64)
uint64 = cast("Callable[[Any], int]", np.uint64)
"""The compiler's integer types under names that the type checker takes for conversions to int."""

Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_MASK_64 = (1 << 64) - 1

BYTES_HEADER = bytes.__basicsize__ - 1
"""CPython keeps a bytes object's characters right behind its header; checked below."""


def address_of(raw: bytes) -> int:
    """Where a bytes object's characters are, for a kernel: valid as long as the object is kept."""
    return id(raw) + BYTES_HEADER


if ctypes.string_at(address_of(b"pollux"), 6) != b"pollux":
    raise ImportError("this Python keeps bytes elsewhere: Pollux needs CPython 3.11 or newer")

if JIT_OFF:

    def load_acquire(words: Words, index: int) -> int:
        """Read words[index]; later reads cannot move before it."""
        return int(words[index])

    def store_release(words: Words, index: int, value: int) -> None:
        """Write words[index]; earlier writes cannot move after it."""
        words[index] = value

    def fetch_add(words: Words, index: int, value: int) -> int:
        """Add to words[index] as one step whoever else does; what it was before.

        This twin is no one step: with the JIT off only one may add at a time.
        """
        before = int(words[index])
        words[index] = before + value
        return before

    def fence_acquire() -> None:
        """Earlier reads stay before everything that follows."""

    def fence_release() -> None:
        """Later writes stay after everything that came before."""

    def load_u64(frame: Bytes, index: int) -> int:
        """Eight frame bytes from `index` as a little-endian number; the caller proves the range."""
        assert index >= 0 and index + 8 <= len(frame), "read outside the frame"
        return uint64(int.from_bytes(frame[index : index + 8].tobytes(), "little"))

    def store_u64(buffer: Bytes, index: int, value: int) -> None:
        """Eight bytes from `index`, little-endian; the caller proves the range."""
        assert index >= 0 and index + 8 <= len(buffer), "written outside the buffer"
        raw = (int(value) & _MASK_64).to_bytes(8, "little")
        buffer[index : index + 8] = np.frombuffer(raw, np.uint8)

    def copy_bytes(target: Bytes, to: int, source: Bytes, start: int, count: int) -> None:
        """Copy source[start : start + count] to target[to:]; the two may overlap."""
        assert to >= 0 and to + count <= len(target), "written outside the buffer"
        assert start >= 0 and start + count <= len(source), "read outside the buffer"
        target[to : to + count] = source[start : start + count].copy()

    def float_bits(value: float) -> int:
        """The 64 bits of a double, as an int64."""
        return int.from_bytes(struct.pack("<d", value), "little", signed=True)

    def store_byte(words: Words, index: int, value: int) -> None:
        """Write the byte at `index` of the words' bytes."""
        words.view(np.uint8)[index] = value

    def prefetch(words: Words, index: int) -> None:
        """Ask for the cache line of words[index], which will be written soon."""

    def trailing_zeros(value: int) -> int:
        """Zero bits below the lowest one bit; 64 for zero."""
        value = int(value) & _MASK_64
        return 64 if value == 0 else (value & -value).bit_length() - 1

    def leading_zeros(value: int) -> int:
        """Zero bits above the highest one bit; 64 for zero."""
        return 64 - (int(value) & _MASK_64).bit_length()

    def multiply_wrapping(left: int, right: int) -> int:
        """The low 64 bits of the product, as uint64."""
        return uint64((int(left) * int(right)) & _MASK_64)

    def move_words(words: Words, to: int, start: int, count: int) -> None:
        """Move words[start : start + count] to words[to:]; the two may overlap."""
        words[to : to + count] = words[start : start + count].copy()

    def view_words(address: int, count: int) -> Words:
        """The int64 words at an address, without copying."""
        return np.ctypeslib.as_array((ctypes.c_int64 * int(count)).from_address(int(address)))

    def view_bytes(address: int, count: int) -> Bytes:
        """The bytes at an address, without copying."""
        return np.ctypeslib.as_array((ctypes.c_uint8 * int(count)).from_address(int(address)))

else:

    def _element_pointer(
        context: Any, builder: Any, array_type: Any, array: Any, index: Any
    ) -> Any:
        struct = context.make_array(array_type)(context, builder, array)
        return cgutils.gep_inbounds(builder, struct.data, index)

    @intrinsic
    def load_acquire(typingctx: Any, words: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            return builder.load_atomic(pointer, ordering="acquire", align=8)

        return types.int64(words, types.int64), codegen

    @intrinsic
    def store_release(typingctx: Any, words: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            builder.store_atomic(args[2], pointer, ordering="release", align=8)
            return context.get_dummy_value()

        return types.void(words, types.int64, types.int64), codegen

    @intrinsic
    def fetch_add(typingctx: Any, words: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

        return types.int64(words, types.int64, types.int64), codegen

    @intrinsic
    def fence_acquire(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.fence("acquire")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def fence_release(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.fence("release")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def load_u64(typingctx: Any, frame: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            word_type = context.get_value_type(types.uint64)
            return builder.load(builder.bitcast(pointer, word_type.as_pointer()), align=1)

        return types.uint64(frame, types.int64), codegen

    @intrinsic
    def store_u64(typingctx: Any, buffer: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            word_type = context.get_value_type(types.uint64)
            builder.store(args[2], builder.bitcast(pointer, word_type.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(buffer, types.int64, types.int64), codegen

    @intrinsic
    def copy_bytes(
        typingctx: Any, target: Any, to: Any, source: Any, start: Any, count: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            into = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            out_of = _element_pointer(context, builder, signature.args[2], args[2], args[3])
            cgutils.raw_memmove(builder, into, out_of, args[4], 1)
            return context.get_dummy_value()

        number = types.int64
        return types.void(target, number, source, number, number), codegen

    @intrinsic
    def float_bits(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(types.int64))

        return types.int64(types.float64), codegen

    @intrinsic
    def store_byte(typingctx: Any, words: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            struct = context.make_array(signature.args[0])(context, builder, args[0])
            byte_type = context.get_value_type(types.uint8)
            first = builder.bitcast(struct.data, byte_type.as_pointer())
            pointer = cgutils.gep_inbounds(builder, first, args[1])
            builder.store(builder.trunc(args[2], byte_type), pointer, align=1)
            return context.get_dummy_value()

        return types.void(words, types.int64, types.int64), codegen

    @intrinsic
    def prefetch(typingctx: Any, words: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            char = builder.bitcast(pointer, ir.IntType(8).as_pointer())
            # To write, into every cache level, data.
            flags = [ir.Constant(ir.IntType(32), flag) for flag in (1, 3, 1)]
            kind = ir.FunctionType(ir.VoidType(), [char.type, *(flag.type for flag in flags)])
            name = "llvm.prefetch.p0i8"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [char, *flags])
            return context.get_dummy_value()

        return types.void(words, types.int64), codegen

    @intrinsic
    def trailing_zeros(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.cttz(args[0], cgutils.false_bit)

        return types.int64(types.uint64), codegen

    @intrinsic
    def leading_zeros(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.ctlz(args[0], cgutils.false_bit)

        return types.int64(types.uint64), codegen

    @intrinsic
    def multiply_wrapping(typingctx: Any, left: Any, right: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.mul(args[0], args[1])

        return types.uint64(types.uint64, types.uint64), codegen

    @intrinsic
    def move_words(typingctx: Any, words: Any, to: Any, start: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            target = _element_pointer(context, builder, signature.args[0], args[0], args[1])
            source = _element_pointer(context, builder, signature.args[0], args[0], args[2])
            size = builder.mul(args[3], args[3].type(8))
            cgutils.raw_memmove(builder, target, source, size, 1)
            return context.get_dummy_value()

        return types.void(words, types.int64, types.int64, types.int64), codegen

    def _view(dtype: Any) -> Any:
        def typer(typingctx: Any, address: Any, count: Any) -> Any:
            array_type = types.Array(dtype, 1, "C")

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                struct = context.make_array(array_type)(context, builder)
                pointer = builder.inttoptr(args[0], struct.data.type)
                item_size = context.get_constant(types.intp, dtype.bitwidth // 8)
                context.populate_array(
                    struct,
                    data=pointer,
                    shape=cgutils.pack_array(builder, [args[1]]),
                    strides=cgutils.pack_array(builder, [item_size]),
                    itemsize=item_size,
                    meminfo=None,
                )
                return struct._getvalue()

            return array_type(types.int64, types.int64), codegen

        return typer

    view_words = intrinsic(_view(types.int64))
    view_bytes = intrinsic(_view(types.uint8))
