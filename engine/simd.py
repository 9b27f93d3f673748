"""Four decimal numbers at once: the whole and fraction digits of a level's price and amount.

Each number is up to eight digits somewhere in the frame. Its eight bytes are loaded, shifted so
that exactly its digits are left, and all four are converted together: digit pairs (maddubs), pairs
of pairs (maddwd), then the two halves. (W. Mula, "SIMD-ized parsing of integers", 2014.) Where the
machine has no AVX2 the same is done one by one.
Runs on: the engine thread. Called by: engine.template.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.atomics import Bytes, Words, int64, load_u64, uint64
from engine.jit import BOUNDS_CHECKED, JIT_OFF, inner
from engine.scan import digits_value, non_digits

PLAN_WORDS = 8
"""A plan: four shifts in bits (64: no digits at all), then four masks of the bytes that count."""

HAS_AVX2 = platform.machine() in ("x86_64", "AMD64") and bool(
    binding.get_host_cpu_features().get("avx2", False)
)
IS_VECTOR = HAS_AVX2 and not JIT_OFF and not BOUNDS_CHECKED


@inner
def _one_number(frame: Bytes, at: int, plan: Words, plan_at: int, out: Words, out_at: int) -> int:
    word = load_u64(frame, at)
    shift = plan[plan_at]
    out[out_at] = digits_value(word, 8 - (shift >> 3)) if shift < 64 else 0
    return non_digits(word) & uint64(plan[plan_at + 4])


if IS_VECTOR:

    @intrinsic
    def _convert_four(
        typingctx: Any, frame: Any, a: Any, b: Any, c: Any, d: Any, plan: Any, plan_at: Any,
        out: Any, out_at: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            i8, i16, i32, i64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
            words, bytes_, shorts, halves = (
                ir.VectorType(i64, 4),
                ir.VectorType(i8, 32),
                ir.VectorType(i16, 16),
                ir.VectorType(i32, 8),
            )

            def pointer(kind: Any, array: Any, index: Any, target: Any) -> Any:
                struct = context.make_array(kind)(context, builder, array)
                element = cgutils.gep_inbounds(builder, struct.data, index)
                return builder.bitcast(element, target.as_pointer())

            def call(name: str, result: Any, *values: Any) -> Any:
                kind = ir.FunctionType(result, [value.type for value in values])
                function = cgutils.get_or_insert_function(builder.module, kind, name)
                return builder.call(function, values)

            def repeated(vector: Any, *pattern: int) -> Any:
                return ir.Constant(vector, list(pattern) * (vector.count // len(pattern)))

            kinds = signature.args
            text = ir.Constant(words, ir.Undefined)
            for lane in range(4):
                source = pointer(kinds[0], args[0], args[1 + lane], i64)
                value = builder.load(source, align=1)
                text = builder.insert_element(text, value, ir.Constant(i32, lane))
            shifts = builder.load(pointer(kinds[5], args[5], args[6], words), align=8)
            masks_at = builder.add(args[6], ir.Constant(args[6].type, 4))
            masks = builder.load(pointer(kinds[5], args[5], masks_at, words), align=8)
            digits = builder.xor(builder.bitcast(text, bytes_), repeated(bytes_, 0x30))
            carried = builder.or_(builder.add(digits, repeated(bytes_, 0x76)), digits)
            high = builder.and_(carried, repeated(bytes_, 0x80))
            wrong = builder.and_(builder.bitcast(high, words), masks)
            clean = call("llvm.x86.avx.ptestz.256", i32, wrong, wrong)
            shifted = call(
                "llvm.x86.avx2.psllv.q.256", words, builder.bitcast(digits, words), shifts
            )
            pairs = call(
                "llvm.x86.avx2.pmadd.ub.sw", shorts, builder.bitcast(shifted, bytes_),
                repeated(bytes_, 10, 1),
            )  # fmt: skip
            fours = call("llvm.x86.avx2.pmadd.wd", halves, pairs, repeated(shorts, 100, 1))
            both = builder.bitcast(fours, words)
            first = builder.and_(both, repeated(words, 0xFFFFFFFF))
            second = builder.lshr(both, repeated(words, 32))
            value = builder.add(builder.mul(first, repeated(words, 10000)), second)
            builder.store(value, pointer(kinds[7], args[7], args[8], words), align=8)
            return builder.zext(clean, i64)

        index = types.int64
        return types.int64(frame, index, index, index, index, plan, index, out, index), codegen

    @inner
    def four_numbers(
        frame: Bytes, a: int, b: int, c: int, d: int, plan: Words, plan_at: int, out: Words,
        out_at: int,
    ) -> bool:  # fmt: skip
        """Convert the numbers at a, b, c, d by a plan into out[out_at:]; whether all are digits.

        The caller proves that eight bytes can be read at each position.
        """
        return _convert_four(frame, a, b, c, d, plan, plan_at, out, out_at) != 0

else:

    @inner
    def four_numbers(
        frame: Bytes, a: int, b: int, c: int, d: int, plan: Words, plan_at: int, out: Words,
        out_at: int,
    ) -> bool:  # fmt: skip
        """Convert the numbers at a, b, c, d by a plan into out[out_at:]; whether all are digits.

        The caller proves that eight bytes can be read at each position.
        """
        wrong = _one_number(frame, a, plan, plan_at, out, out_at)
        wrong |= _one_number(frame, b, plan, plan_at + 1, out, out_at + 1)
        wrong |= _one_number(frame, c, plan, plan_at + 2, out, out_at + 2)
        wrong |= _one_number(frame, d, plan, plan_at + 3, out, out_at + 3)
        return int64(wrong) == 0
