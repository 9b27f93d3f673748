"""How every kernel is compiled, cached and warmed up: the one place that knows numba's settings.

A *kernel* is a module-level function with one declared signature; Python calls it. An *inner*
function is called by kernels only and is compiled into them. Kernels are compiled by
`compile_kernels` at start, after which a call with any other argument types raises instead of
silently compiling again (a 30 ms stall in production).

The cache can never be stale: its directory's name is a hash of every source file a kernel can
depend on and of the settings that change the generated code.
Runs on: the thread that starts the process. Called by: every module that defines kernels.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import config as numba_config
from numba import types
from numba.np import arrayobj

F = TypeVar("F", bound=Callable[..., Any])

JIT_OFF = bool(numba_config.DISABLE_JIT)
"""True under NUMBA_DISABLE_JIT=1: kernels are then plain Python, for coverage and debuggers."""

BOUNDS_CHECKED = bool(numba_config.BOUNDSCHECK)
"""True under NUMBA_BOUNDSCHECK=1: every array index is then verified."""


@dataclass(frozen=True)
class Kernel:
    """A registered kernel: its dispatcher and the only signature it may have."""

    name: str
    dispatcher: Any
    signature: str

    @property
    def is_compiled(self) -> bool:
        return bool(self.dispatcher.signatures)

    def compile(self) -> None:
        self.dispatcher.compile(self.signature)


_registry: list[Kernel] = []


def _index_from_the_start(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
    """Lower an integer index as it is, without Python's meaning of negative ones.

    No kernel indexes from the end, and asking at every access costs three instructions each: a
    fifth of a frame's time. With NUMBA_BOUNDSCHECK=1 a negative index is then out of bounds, and
    caught. Where a future numba lowers indices elsewhere, kernels are merely slower.
    """
    return context.cast(builder, index, kind, types.intp if kind.signed else types.uintp)


arrayobj.fix_integer_index = _index_from_the_start


def _source_files() -> list[Path]:
    """Every file whose text can change a kernel: all of engine/, and the rooms that define some."""
    root = Path(__file__).resolve().parent.parent
    rooms = sorted((root / "engine").glob("**/*.py"))
    others = sorted(
        path
        for floor in ("net", "tuning", "bench")
        for path in (root / floor).glob("**/*.py")
        if "from engine.jit import" in path.read_text(encoding="utf-8")
    )
    return rooms + others


def cache_directory() -> Path:
    """Where compiled kernels are kept: POLLUX_CACHE_DIR, the user's cache, or a temporary place."""
    digest = hashlib.sha256()
    for path in _source_files():
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    settings = (numba.__version__, sys.version, numba_config.BOUNDSCHECK, numba_config.OPT)
    digest.update(repr(settings).encode())
    chosen = os.environ.get("POLLUX_CACHE_DIR")
    if chosen:
        base = Path(chosen)
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pollux"
    directory = base / f"kernels-{digest.hexdigest()[:16]}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if os.access(directory, os.W_OK):
            return directory
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="pollux-kernels-"))


def kernel(signature: str, *, releases_gil: bool = False) -> Callable[[F], F]:
    """Declare a kernel with its one signature, for example `kernel("int64(int64[::1], int64)")`.

    `releases_gil`: for kernels that wait, or work for long beside the engine. The others are done
    sooner than the lock could be handed over, and must not lose it to another thread.
    """

    def declare(function: F) -> F:
        if JIT_OFF:
            return function
        dispatcher = numba.njit(nogil=releases_gil, cache=True, _nrt=False)(function)
        name = f"{function.__module__}.{function.__name__}"
        _registry.append(Kernel(name, dispatcher, signature))
        return cast(F, dispatcher)

    return declare


_INNER = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Nobody but kernels calls an inner function: without its wrappers it compiles a quarter faster."""


def inner(function: F) -> F:
    """Declare a function that only kernels call; it is compiled into them."""
    return function if JIT_OFF else cast(F, numba.njit(**_INNER)(function))


def hot(function: F) -> F:
    """Declare an inner function of the path every frame takes: never a call of its own.

    A call passes each array as seven words, and the compiler left alone makes ten of them a frame:
    5 % of its time. It costs half a minute of compiling, so nothing else is declared so.
    """
    if JIT_OFF or BOUNDS_CHECKED:
        return inner(function)
    return cast(F, numba.njit(**_INNER, forceinline=True)(function))


def inlined(function: F) -> F:
    """Declare an inner function that is pasted into its callers: one that returns a view."""
    if JIT_OFF:
        return function
    return cast(F, numba.njit(_nrt=False, inline="always")(function))


class Callback:
    """A compiled function that C code calls through its address; compiled with the kernels."""

    def __init__(self, function: Callable[..., Any], signature: str) -> None:
        self.name = f"{function.__module__}.{function.__name__}"
        self._function = function
        self._signature = signature
        self._compiled: Any = None

    @property
    def is_compiled(self) -> bool:
        return self._compiled is not None

    def compile(self) -> None:
        self._compiled = numba.cfunc(self._signature, cache=True)(self._function)

    @property
    def address(self) -> int:
        """Only after `compile_kernels`."""
        return int(self._compiled.address)


_callbacks: list[Callback] = []


def callback(signature: str) -> Callable[[Callable[..., Any]], Callback]:
    """Declare a callback with the signature C calls it by."""

    def declare(function: Callable[..., Any]) -> Callback:
        declared = Callback(function, signature)
        if not JIT_OFF:
            _callbacks.append(declared)
        return declared

    return declare


def kernels() -> tuple[Kernel, ...]:
    """All kernels declared by the modules imported so far."""
    return tuple(_registry)


def compile_kernels(report: Callable[[int, int, str], None] | None = None) -> None:
    """Compile, or load from the cache, every declared kernel; then forbid further compilation.

    `report(done_count, total_count, name)` is called before each one and once at the end.
    """
    pending: list[Kernel | Callback] = [*_registry, *_callbacks]
    pending = [each for each in pending if not each.is_compiled]
    for index, each in enumerate(pending):
        if report is not None:
            report(index, len(pending), each.name)
        each.compile()
    for each in _registry:
        each.dispatcher.disable_compile()
    if report is not None:
        report(len(pending), len(pending), "")


if not JIT_OFF:
    numba_config.CACHE_DIR = str(cache_directory())
