"""The benches' own kernels, kept apart from the engine's.

Compiled only where a bench runs, and after the engine's, whose kernels they call: those take no
further signature by then. The suites of the kernels know nothing of these.
Runs on: the main thread of harness and workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from engine.compiling import jit

F = TypeVar("F", bound=Callable[..., Any])

_declared: list[tuple[Any, str]] = []


def bench_kernel(signature: str) -> Callable[[F], F]:
    """Declare a kernel of one signature that runs without the GIL.

    Its constants must be of its own file or of engine/: numba's cache looks at no other.
    """

    def declare(function: F) -> F:
        if jit.JIT_OFF:
            return function
        dispatcher = numba.njit(nogil=True, cache=True, _nrt=False)(function)
        _declared.append((dispatcher, signature))
        return cast(F, dispatcher)

    return declare


def compile_bench_kernels() -> None:
    """The engine's kernels, then every declared one of the benches: compiled, or from the cache."""
    import engine.engine  # noqa: F401 (declares kernels)
    import net.sockets.event_loop  # noqa: F401 (one more)

    jit.compile_kernels()
    for dispatcher, signature in _declared:
        if not dispatcher.signatures:
            dispatcher.compile(signature)
            dispatcher.disable_compile()
