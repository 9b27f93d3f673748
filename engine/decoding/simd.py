"""A level's price and amount in one go: compare its fixed bytes, collect its digits, convert both.

A plan (engine.decoding.level_plan) says which of a level's bytes are fixed and where its digits
are. The first and the last sixteen bytes of the level are loaded into one register; its fixed bytes
are compared; one shuffle collects the digits that count, the price's in one half and the amount's
in the other, units last; and both are converted together: digit pairs (maddubs), pairs of pairs
(maddwd), and again. (W. Mula, "SIMD-ized parsing of integers", 2014.) Where the machine has no
AVX2, or no JIT, the same is done byte by byte.
Runs on: the engine thread.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.compiling.atomics import Bytes, Words, int64
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, inner
from engine.layout import layout as L

LANE_BYTES = L.PLAN_LANE_BYTES
"""Bytes of a level that one half of the register sees, and digits that fit in it."""
LANE_WORDS = L.PLAN_VECTOR_WORDS
(ORDER, FIXED, EXPECTED) = range(L.PLAN_VECTORS)
"""The vectors of a plan: which byte goes where (NO_BYTE: none), which are fixed, to what."""
NO_BYTE = 0x80

HAS_AVX2 = platform.machine() in ("x86_64", "AMD64") and bool(
    binding.get_host_cpu_features().get("avx2", False)
)
IS_VECTOR = HAS_AVX2 and not JIT_OFF and not BOUNDS_CHECKED
IS_WORTH_PLANNING = HAS_AVX2 or JIT_OFF or BOUNDS_CHECKED
"""Byte by byte is for tests: without AVX2 the general reader is faster."""


@inner
def _byte_of(plan: Words, vector_at: int, index: int) -> int:
    return (plan[vector_at + (index >> 3)] >> (8 * (index & 7))) & 0xFF


@inner
def _lane_value(frame: Bytes, at: int, plan: Words, plan_at: int, lane: int) -> int:
    """One lane's number, or -1 where a fixed byte differs or a digit is none."""
    for index in range(LANE_BYTES):
        byte = int64(frame[at + index])
        fixed = _byte_of(plan, plan_at + FIXED * LANE_WORDS, lane + index)
        expected = _byte_of(plan, plan_at + EXPECTED * LANE_WORDS, lane + index)
        if (byte ^ expected) & fixed != 0:
            return -1
    value = 0
    for index in range(LANE_BYTES):
        source = _byte_of(plan, plan_at + ORDER * LANE_WORDS, lane + index)
        digit = 0 if source == NO_BYTE else int64(frame[at + source]) ^ 0x30
        if digit > 9:
            return -1
        value = 10 * value + digit
    return value


if IS_VECTOR:

    @intrinsic
    def _convert_two(
        typingctx: Any, frame: Any, first: Any, second: Any, plan: Any, plan_at: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            i8, i16, i32, i64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
            half = ir.VectorType(i8, 16)
            words, bytes_, shorts, halves = (
                ir.VectorType(i64, 4),
                ir.VectorType(i8, 32),
                ir.VectorType(i16, 16),
                ir.VectorType(i32, 8),
            )

            def load(which: int, index: Any, target: Any) -> Any:
                kind = signature.args[which]
                struct = context.make_array(kind)(context, builder, args[which])
                element = cgutils.gep_inbounds(builder, struct.data, index)
                align = 1 if target is half else 8
                return builder.load(builder.bitcast(element, target.as_pointer()), align=align)

            def vector(which: int) -> Any:
                at = builder.add(args[4], ir.Constant(args[4].type, which * LANE_WORDS))
                return load(3, at, bytes_)

            def call(name: str, result: Any, *values: Any) -> Any:
                kind = ir.FunctionType(result, [value.type for value in values])
                function = cgutils.get_or_insert_function(builder.module, kind, name)
                return builder.call(function, values)

            def repeated(kind: Any, *pattern: int) -> Any:
                return ir.Constant(kind, list(pattern) * (kind.count // len(pattern)))

            both = ir.Constant(ir.VectorType(i32, 32), list(range(32)))
            text = builder.shuffle_vector(load(0, args[1], half), load(0, args[2], half), both)
            wrong = builder.and_(builder.xor(text, vector(EXPECTED)), vector(FIXED))
            values = builder.xor(text, repeated(bytes_, 0x30))
            digits = call("llvm.x86.avx2.pshuf.b", bytes_, values, vector(ORDER))
            carried = builder.or_(builder.add(digits, repeated(bytes_, 0x76)), digits)
            wrong = builder.or_(wrong, builder.and_(carried, repeated(bytes_, 0x80)))
            wrong = builder.bitcast(wrong, words)
            clean = call("llvm.x86.avx.ptestz.256", i32, wrong, wrong)
            pairs = call("llvm.x86.avx2.pmadd.ub.sw", shorts, digits, repeated(bytes_, 10, 1))
            fours = call("llvm.x86.avx2.pmadd.wd", halves, pairs, repeated(shorts, 100, 1))
            packed = call("llvm.x86.avx2.packusdw", shorts, fours, fours)
            eights = call("llvm.x86.avx2.pmadd.wd", halves, packed, repeated(shorts, 10000, 1))
            eights = builder.bitcast(eights, words)
            high = builder.and_(eights, repeated(words, 0xFFFFFFFF))
            low = builder.lshr(eights, repeated(words, 32))
            numbers = builder.add(builder.mul(high, repeated(words, 100_000_000)), low)
            price, lots = (
                builder.extract_element(numbers, ir.Constant(i32, lane)) for lane in (0, 2)
            )
            result = (builder.zext(clean, i64), price, lots)
            return context.make_tuple(builder, signature.return_type, result)

        index = types.int64
        three = types.UniTuple(types.int64, 3)
        return three(frame, index, index, plan, index), codegen

    @inner
    def two_numbers(
        frame: Bytes, first: int, second: int, plan: Words, plan_at: int
    ) -> tuple[bool, int, int]:
        """The two numbers a plan finds in the 16 bytes at `first` and at `second`.

        False first if a fixed byte is another or a digit is none. The caller proves both reads.
        """
        clean, left, right = _convert_two(frame, first, second, plan, plan_at)
        return clean != 0, left, right

else:

    @inner
    def two_numbers(
        frame: Bytes, first: int, second: int, plan: Words, plan_at: int
    ) -> tuple[bool, int, int]:
        """The two numbers a plan finds in the 16 bytes at `first` and at `second`.

        False first if a fixed byte is another or a digit is none. The caller proves both reads.
        """
        left = _lane_value(frame, first, plan, plan_at, 0)
        right = _lane_value(frame, second, plan, plan_at, LANE_BYTES)
        return left >= 0 and right >= 0, left, right
