"""How every kernel is compiled, cached and warmed up: the one place that knows numba's settings.

A *kernel* is a module-level function with one declared signature; Python calls it. An *inner*
function is called by kernels only and is compiled into them. Kernels are compiled by
`compile_kernels` at start, after which a call with any other argument types raises instead of
silently compiling again (a 30 ms stall in production).

The cache can never be stale: its directory's name is a hash of every source file a kernel can
depend on and of the settings that change the generated code.
Runs on: the thread that starts the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
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
        with _one_compiler(self.name):
            self.dispatcher.compile(self.signature)


@contextlib.contextmanager
def _one_compiler(name: str) -> Iterator[None]:
    """Compiling, or loading, one kernel: of several processes one compiles, the others load.

    What is in the cache already is loaded without waiting for anybody: a file beside it says so.
    The lock is the kernel's own and goes with the process that holds it.
    """
    directory = Path(numba_config.CACHE_DIR)
    ready = directory / f"{name}.ready"
    if ready.exists():
        yield
        return
    try:
        flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(directory / f"{name}.lock", flags, 0o600)
    except OSError:  # a cache that is read-only, or gone: compile for this process alone
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        with contextlib.suppress(OSError):
            ready.touch()
    finally:
        os.close(lock)


_registry: list[Kernel] = []


def _index_from_the_start(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
    """Lower an integer index as it is, without Python's meaning of negative ones.

    No kernel indexes from the end, and asking at every access costs three instructions each: a
    fifth of a frame's time. With NUMBA_BOUNDSCHECK=1 a negative index is then out of bounds, and
    caught. Where a future numba lowers indices elsewhere, kernels are merely slower.
    """
    return context.cast(builder, index, kind, types.intp if kind.signed else types.uintp)


arrayobj.fix_integer_index = _index_from_the_start


ROOT = Path(__file__).resolve().parents[2]
"""Of the source tree: engine/ lies in it, and the floors above."""

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([\w., \t]+))",
    re.MULTILINE,
)

_DECORATOR = re.compile(rb"\n@[\w.]*(?:kernel|callback|inner|hot|inlined)\b")
"""At the beginning of a line. Written so that the search is one for a fixed text: ten times faster.
"""


def _imported(text: bytes) -> Iterator[str]:
    """The modules whose constants or functions a source's kernels can have compiled in.

    Modules that are imported whole, and those that a constant is imported from. A regular
    expression instead of a parser: this runs at every start, over some hundred files.
    """
    for found in _IMPORT.finditer(text):
        package, names, modules = (part.decode("ascii", "replace") for part in found.groups(b""))
        words = re.findall(r"[\w.]+", names if package else modules)
        yield from (f"{package}.{word}" for word in words) if package else words
        if package and any(word.isupper() for word in words):
            yield package


def _source_files() -> list[Path]:
    """Every file whose text can change a kernel, in one order.

    All of engine/; of the floors above each file with a function under one of this file's
    decorators, and whatever it imports of ours: a constant that a kernel has compiled in.
    """
    engine = set((ROOT / "engine").glob("**/*.py"))
    floors = [ROOT / floor for floor in ("net", "tuning", "bench")]
    texts = {path: path.read_bytes() for floor in floors for path in floor.glob("**/*.py")}
    pending = [path for path, text in texts.items() if _DECORATOR.search(text)]
    found = set(pending)
    while pending:
        for module in _imported(texts[pending.pop()]):
            stem = ROOT / module.replace(".", "/")
            for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                if path in texts and path not in found:
                    found.add(path)
                    pending.append(path)
    return sorted(engine | found)


cache_refusals: list[str] = []
"""Why the cache that was to be used is not: one line each, for whoever starts a command."""

_CLOSED = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def _is_foreign(path: Path, *, is_closed: bool = False) -> str:
    """Why a part of a cache may be another user's work; empty where it is ours.

    `is_closed`: others cannot come there, whatever its own mode is.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:  # another process of ours has just renamed or removed it
        return ""
    if found.st_uid != os.geteuid():
        return f"{path} belongs to another user ({found.st_uid})"
    if stat.S_ISLNK(found.st_mode):
        return f"{path} is a link"
    if found.st_mode & _WRITABLE_BY_OTHERS and not is_closed:
        return f"others may write to {path} (mode {stat.S_IMODE(found.st_mode):04o}): chmod go-w"
    return ""


def _use_cache(directory: Path) -> str:
    """Make a cache's directory, or look at it: why it cannot be used, empty where it can.

    What lies in a cache is run: all of it must be ours, and nobody else may put anything there.
    """
    try:
        directory.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=stat.S_IRWXU)
        base = directory.parent.resolve()
        for parent in (base, *base.parents):
            found = parent.stat()
            is_open = found.st_mode & _WRITABLE_BY_OTHERS and not found.st_mode & stat.S_ISVTX
            if found.st_uid not in (0, os.geteuid()) or is_open:
                return f"others may write to {parent}, where it lies"
        if reason := _is_foreign(directory):
            return reason
        if not directory.is_dir() or not os.access(directory, os.W_OK):
            return f"{directory} is no directory that can be written"
        is_closed = not directory.stat().st_mode & _CLOSED
        for folder, folders, files in os.walk(directory):
            for name in (*folders, *files):
                if reason := _is_foreign(Path(folder, name), is_closed=is_closed):
                    return reason
    except OSError as error:
        return f"{error.filename or directory}: {error.strerror}"
    return ""


def cache_directory() -> Path:
    """Where compiled kernels are kept: POLLUX_CACHE_DIR, the user's cache, or a temporary place.

    The first that is ours alone; `cache_refusals` says what was wrong with the others.
    """
    digest = hashlib.sha256()
    for path in _source_files():
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    # numba finds a kernel by where its source lies: that of another checkout is none of ours.
    settings = (numba.__version__, sys.version, numba_config.BOUNDSCHECK, numba_config.OPT, ROOT)
    digest.update(repr(settings).encode())
    chosen = os.environ.get("POLLUX_CACHE_DIR")
    if chosen:
        base = Path(chosen)
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pollux"
    name = f"kernels-{digest.hexdigest()[:16]}"
    temporary = Path(tempfile.gettempdir())
    for place in (base, temporary / f"pollux-kernels-{os.geteuid()}"):
        reason = _use_cache(place / name)
        if not reason:
            return place / name
        cache_refusals.append(f"kernel cache not used: {reason}")
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


def kernel_address(dispatcher: Any) -> int:
    """The address by which C code calls a kernel: compiled code that calls it so holds no copy of
    it. 0 without the JIT. Only after `compile_kernels`."""
    if JIT_OFF:
        return 0
    compiled = next(iter(dispatcher.overloads.values()))
    name = compiled.fndesc.llvm_cfunc_wrapper_name
    return int(compiled.library.get_pointer_to_function(name))


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
        with _one_compiler(self.name):
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


def are_kernels_cached() -> bool:
    """Whether a process that declares the same kernels would only have to load them."""
    directory = Path(numba_config.CACHE_DIR or ".")
    declared: list[Kernel | Callback] = [*_registry, *_callbacks]
    return all((directory / f"{each.name}.ready").exists() for each in declared)


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
