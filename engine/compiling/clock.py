"""The clock, as compiled code reads it: the only place in engine/ that knows one exists.

It is read only where a flag or a caller asks for it; a replay never does. clock_gettime goes
through the vDSO: some 25 ns.
Runs on: any thread.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.compiling.jit import JIT_OFF
from engine.layout.units import NS_PER_S

CLOCK_REALTIME = 0
CLOCK_BOOTTIME = 7
"""Of Linux: tuning.clock's steady time."""
if JIT_OFF:
    import time

    def clock_ns(clock: int) -> int:
        """A clock of clock_gettime(2), in ns."""
        return time.clock_gettime_ns(clock)

else:

    @intrinsic
    def clock_ns(typingctx: Any, clock: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word, half = ir.IntType(64), ir.IntType(32)
            timespec = cgutils.alloca_once(builder, ir.ArrayType(word, 2))
            function_type = ir.FunctionType(half, [half, timespec.type])
            function = cgutils.get_or_insert_function(
                builder.module, function_type, "clock_gettime"
            )
            builder.call(function, [builder.trunc(args[0], half), timespec])
            value = builder.load(timespec)
            seconds = builder.mul(builder.extract_value(value, 0), word(NS_PER_S))
            return builder.add(seconds, builder.extract_value(value, 1))

        return types.int64(types.int64), codegen
