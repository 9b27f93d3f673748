"""How kernels are compiled: never stale, never twice, never allocating."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pytest

from engine.compiling import jit
from engine.compiling.atomics import Words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, kernel

Spoil = Callable[[Path], None]
ROOT = Path(__file__).resolve().parents[3]

ALLOCATIONS = (b"NRT_MemInfo_alloc", b"NRT_Allocate", b"NRT_MemInfo_new", b"NRT_Reallocate")
"""Every way into numba's allocator; compiled code names what it calls in its symbol table."""


@kernel("int64(int64[::1])")
def adds(words: Words) -> int:
    """A kernel that keeps the rules."""
    total = 0
    for index in range(len(words)):
        total += words[index]
    return total


@kernel("int64(int64[::1], int64)")
def picks(words: Words, index: int) -> int:
    """One element."""
    found: int = words[index]
    return found


def machine_code(each: jit.Kernel) -> bytes:
    """The cached object code of a kernel, all it calls linked in."""
    module, function = each.name.rsplit(".", 1)
    directory = Path(numba.config.CACHE_DIR)
    files = list(directory.rglob(f"{module.rsplit('.', 1)[-1]}.{function}-*.nbc"))
    assert files, f"{each.name} is not in the cache"
    return b"".join(file.read_bytes() for file in files)


def allocations(each: jit.Kernel) -> list[bytes]:
    code = machine_code(each)
    assert each.name.rsplit(".", 1)[1].encode() in code, "this is not the kernel's code"
    return [symbol for symbol in ALLOCATIONS if symbol in code]


def by_name(name: str) -> jit.Kernel:
    (found,) = [each for each in jit.kernels() if each.name.endswith(name)]
    return found


@pytest.mark.usefixtures("compiled_only")
def test_no_kernel_allocates() -> None:
    ours = [each for each in jit.kernels() if each.name.startswith("engine.")]
    assert len(ours) >= 15
    assert {each.name: allocations(each) for each in ours} == {each.name: [] for each in ours}


@pytest.mark.skipif(JIT_OFF, reason="nothing is compiled")
def test_a_kernel_that_allocates_does_not_even_compile() -> None:
    """Kernels are compiled without numba's runtime: there is no allocator to call."""

    def allocates(count: int) -> int:
        return int(np.zeros(count, np.int64).sum())

    before = len(jit.kernels())
    kernel("int64(int64)")(allocates)
    broken = jit._registry.pop()
    assert len(jit.kernels()) == before
    with pytest.raises(numba.core.errors.TypingError):
        broken.dispatcher.compile(broken.signature)
    assert allocations(by_name("test_jit.adds")) == []


@pytest.mark.usefixtures("compiled_only")
def test_every_kernel_has_its_one_signature() -> None:
    names = [each.name for each in jit.kernels()]
    assert len(names) == len(set(names))
    signatures = {each.name: len(each.dispatcher.signatures) for each in jit.kernels()}
    assert signatures == dict.fromkeys(names, 1)


@pytest.mark.usefixtures("compiled_only")
def test_kernels_that_work_for_long_release_the_gil() -> None:
    assert by_name("spare_book.stage_message").dispatcher.targetoptions["nogil"] is True
    assert by_name("frame.on_frame").dispatcher.targetoptions["nogil"] is False


@pytest.mark.skipif(not BOUNDS_CHECKED or JIT_OFF, reason="indices are not checked in this mode")
@pytest.mark.parametrize("index", [-1, -4, 4, 2**62])
def test_an_index_outside_is_caught_where_indices_are_checked(index: int) -> None:
    """Negative ones too: kernels do not index from the end (engine.compiling.jit lowers indices as
    is)."""
    words = np.zeros(4, np.int64)
    assert picks(words, 3) == 0
    with pytest.raises(IndexError):
        picks(words, index)


@pytest.mark.usefixtures("compiled_only")
@pytest.mark.parametrize(
    "argument",
    [
        np.zeros(4, np.int32),
        np.zeros(4, np.uint64),
        np.zeros(4, np.float64),
        np.zeros((2, 2), np.int64),
        np.zeros(8, np.int64)[::2],
        [1, 2],
        1.5,
        "x",
        None,
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_another_type_raises_instead_of_compiling(argument: object) -> None:
    with pytest.raises(TypeError):
        adds(argument)  # type: ignore[arg-type]
    assert len(by_name("test_jit.adds").dispatcher.signatures) == 1


@pytest.mark.usefixtures("compiled_only")
def test_a_read_only_array_is_another_type() -> None:
    words = np.zeros(4, np.int64)
    assert adds(words) == 0
    words.flags.writeable = False
    with pytest.raises(TypeError):
        adds(words)


def test_compiling_again_does_nothing_and_says_so() -> None:
    reports: list[tuple[int, int, str]] = []
    jit.compile_kernels(lambda *report: reports.append(report))
    assert reports == [(0, 0, "")]


CACHE_NAMES = """
import sys
from pathlib import Path
from engine.compiling.jit import cache_directory
names = [cache_directory().name]
for text in sys.argv[1:]:
    path, old, new = text.split("|")
    file = Path(path)
    file.write_text(file.read_text().replace(old, new, 1))
    names.append(cache_directory().name)
print("\\n".join(names))
"""


def cache_names(tree: Path, *edits: str, **environment: str) -> list[str]:
    """The cache directory's name before and after each edit of the tree's sources."""
    done = subprocess.run(
        [sys.executable, "-c", CACHE_NAMES, *edits],
        cwd=tree,
        env={
            **os.environ,
            "PYTHONPATH": str(tree),
            "POLLUX_CACHE_DIR": str(tree / "cache"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("__py*"))
    sockets = tmp_path / "net" / "sockets"
    sockets.mkdir(parents=True)
    (sockets / "other.py").write_text("ANSWER = 1\n")
    (sockets / "limits.py").write_text("ANSWER = 1\n")
    (sockets / "event_loop.py").write_text(
        "from engine.compiling import (\n    jit,\n)\nfrom net.sockets import limits\nANSWER = 1\n"
        '@jit.kernel("int64()")\ndef answer() -> int:\n    return ANSWER\n'
    )
    return tmp_path


@pytest.mark.once
def test_any_changed_byte_of_the_sources_changes_the_cache(tree: Path) -> None:
    names = cache_names(
        tree,
        "engine/layout/layout.py|DEPTH_MAX = 50|DEPTH_MAX = 51",
        "engine/decoding/scan.py|DEPTH_MAX = 32|DEPTH_MAX = 33",
        "engine/layout/status.py|GAP = -1|GAP = -7",
        "engine/compiling/jit.py|settings|settings ",
        "net/sockets/event_loop.py|ANSWER = 1|ANSWER = 2",
        "net/sockets/limits.py|ANSWER = 1|ANSWER = 2",
    )
    assert len(names) == 7
    assert len(set(names)) == 7, "an edit that serves a stale kernel"
    before, after = cache_names(tree, "net/sockets/other.py|ANSWER = 1|ANSWER = 2")
    assert before == after == names[-1], "a file no kernel depends on"


@pytest.mark.once
def test_every_kernel_and_what_it_imports_of_ours_is_in_the_hash() -> None:
    """A module that drops out of the hash serves its kernels stale."""
    done = subprocess.run(
        [sys.executable, "-c", KERNEL_SOURCES],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "0"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    defining, missing = done.stdout.splitlines()
    assert int(defining) >= 12, "modules that define kernels"
    assert missing == "", "not in the cache's hash"


KERNEL_SOURCES = """
import sys, pathlib
import bench.run, net.daemon.maker_supervisor
from engine.compiling import jit
hashed = set(map(str, jit._source_files()))
names = {each.name.rpartition(".")[0] for each in jit.kernels()}
print(len(names))
seen, pending = set(), list(names)
while pending:
    name = pending.pop()
    module = sys.modules[name]
    if name in seen or name.split(".")[0] not in ("engine", "net", "bench", "tuning"):
        continue
    seen.add(name)
    for value in vars(module).values():
        if type(value) is type(sys):
            pending.append(value.__name__)
        elif hasattr(value, "py_func"):  # a compiled function, of whatever module
            pending.append(value.py_func.__module__)
print(" ".join(sorted(n for n in seen if sys.modules[n].__file__ not in hashed)))
"""

COMPILES = """
import sys
from engine.compiling import jit
from engine.sharing import segment
jit.compile_kernels()
print(sum(sum(each.dispatcher.stats.cache_misses.values()) for each in jit.kernels()))
"""


@pytest.mark.once
def test_of_several_processes_one_compiles_and_the_others_load(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "POLLUX_CACHE_DIR": str(tmp_path),
        "NUMBA_DISABLE_JIT": "0",
    }

    def missed_by(processes_count: int) -> list[int]:
        children = [
            subprocess.Popen(
                [sys.executable, "-c", COMPILES],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
            )
            for _ in range(processes_count)
        ]
        return [int(child.communicate(timeout=100)[0]) for child in children]

    kernels_count = sum(missed_by(4))
    assert kernels_count >= 2, "each kernel is compiled"
    (ready,) = {len(list(each.glob("*.ready"))) for each in tmp_path.iterdir()}
    assert kernels_count == ready, "once"
    assert missed_by(2) == [0, 0], "a full cache: none is compiled again"


@pytest.mark.once
def test_settings_that_change_the_code_change_the_cache(tree: Path) -> None:
    checked = cache_names(tree, NUMBA_BOUNDSCHECK="1")
    assert checked != cache_names(tree, NUMBA_BOUNDSCHECK="0")


def cache_of(base: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache that a process uses whose own is to lie in `base`."""
    monkeypatch.setenv("POLLUX_CACHE_DIR", str(base))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    jit.cache_refusals.clear()
    return jit.cache_directory()


def become_file(cache: Path) -> None:
    cache.rmdir()
    cache.touch()


def become_link(cache: Path) -> None:
    cache.symlink_to(cache.rename(cache.with_name("elsewhere")))


def hold(mode: int = 0o600, owner: int = os.geteuid(), folder_mode: int = 0o700) -> Spoil:
    """A file of a kernel in a cache."""

    def spoil(cache: Path) -> None:
        cache.chmod(folder_mode)
        (cache / "k.nbi").touch()
        (cache / "k.nbi").chmod(mode)
        os.chown(cache / "k.nbi", owner, -1)

    return spoil


SPOILT: dict[str, tuple[Spoil, str]] = {
    "a file in its place": (become_file, "is no directory that"),
    "others may write there": (lambda cache: cache.chmod(0o777), r"mode 0777\): chmod go-w"),
    "its group may write there": (lambda cache: cache.chmod(0o770), r"mode 0770\): chmod go-w"),
    "others may write where it lies": (lambda cache: cache.parent.chmod(0o777), "others may write"),
    "a link": (become_link, "is a link"),
    "a link in it": (lambda cache: (cache / "k.nbi").symlink_to("/etc/passwd"), "is a link"),
    "a file for all in an open one": (hold(0o666, folder_mode=0o755), r"k\.nbi \(mode 0666\)"),
    "another user's": (lambda cache: os.chown(cache, 65534, 65534), "another user"),
    "another user's file in it": (hold(owner=65534), r"k\.nbi belongs to another user"),
}


@pytest.mark.once
@pytest.mark.parametrize("how", SPOILT)
def test_a_cache_that_others_may_have_written_is_not_used(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 13.9: its pickles and its machine code are run."""
    if "user" in how and os.geteuid() != 0:
        pytest.skip("not root: may not give a file away")
    base, temporary = tmp_path / "base", tmp_path / "temporary"
    temporary.mkdir()
    cache = cache_of(base, temporary, monkeypatch)
    assert cache.parent == base and cache.stat().st_mode & 0o777 == 0o700
    assert cache_of(base, temporary, monkeypatch) == cache and not jit.cache_refusals
    spoil, words = SPOILT[how]
    spoil(cache)
    other = cache_of(base, temporary, monkeypatch)
    assert other == temporary / f"pollux-kernels-{os.geteuid()}" / cache.name
    (said,) = jit.cache_refusals
    assert re.search(words, said) and said.startswith("kernel cache not used: ")
    assert "\n" not in said
    assert cache_of(base, temporary, monkeypatch) == other, "kept for the next start"
    other.chmod(0o777)
    last = cache_of(base, temporary, monkeypatch)
    assert last.parent == temporary and len(jit.cache_refusals) == 2


@pytest.mark.skipif(not JIT_OFF, reason="the kernels are compiled")
def test_without_the_jit_kernels_are_plain_functions() -> None:
    assert jit.kernels() == ()
    assert adds(np.arange(4)) == 6
