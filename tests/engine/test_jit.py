"""How kernels are compiled: never stale, never twice, never allocating."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from engine import jit
from engine.atomics import Words
from engine.jit import BOUNDS_CHECKED, JIT_OFF, kernel

ROOT = Path(__file__).resolve().parents[2]

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
    for each in jit.kernels():
        assert each.is_compiled
        assert len(each.dispatcher.signatures) == 1


@pytest.mark.usefixtures("compiled_only")
def test_kernels_that_wait_or_work_for_long_release_the_gil() -> None:
    for name in ("feed.stage_snapshot", "handoff.wait_for_publish"):
        assert by_name(name).dispatcher.targetoptions["nogil"] is True
    assert by_name("feed.on_frame").dispatcher.targetoptions["nogil"] is False


@pytest.mark.skipif(not BOUNDS_CHECKED or JIT_OFF, reason="indices are not checked in this mode")
@pytest.mark.parametrize("index", [-1, -4, 4, 2**62])
def test_an_index_outside_is_caught_where_indices_are_checked(index: int) -> None:
    """Negative ones too: kernels do not index from the end (engine.jit lowers indices as is)."""
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
from engine.jit import cache_directory
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
    net = tmp_path / "net"
    net.mkdir()
    (net / "other.py").write_text("ANSWER = 1\n")
    (net / "spin.py").write_text("from engine.jit import kernel\nANSWER = 1\n")
    return tmp_path


@pytest.mark.once
def test_any_changed_byte_of_the_sources_changes_the_cache(tree: Path) -> None:
    names = cache_names(
        tree,
        "engine/layout.py|DEPTH_MAX = 50|DEPTH_MAX = 51",
        "engine/scan.py|DEPTH_MAX = 32|DEPTH_MAX = 33",
        "engine/status.py|GAP = -1|GAP = -7",
        "engine/jit.py|settings|settings ",
        "net/spin.py|ANSWER = 1|ANSWER = 2",
    )
    assert len(names) == 6
    assert len(set(names)) == 6, "an edit that serves a stale kernel"
    before, after = cache_names(tree, "net/other.py|ANSWER = 1|ANSWER = 2")
    assert before == after == names[-1], "a file no kernel depends on"


@pytest.mark.once
def test_settings_that_change_the_code_change_the_cache(tree: Path) -> None:
    checked = cache_names(tree, NUMBA_BOUNDSCHECK="1")
    assert checked != cache_names(tree, NUMBA_BOUNDSCHECK="0")


@pytest.mark.once
def test_a_cache_that_cannot_be_written_is_replaced(tree: Path) -> None:
    (tree / "cache").write_text("a file where the directory should be")
    assert cache_names(tree)[0].startswith("pollux-kernels-")


@pytest.mark.skipif(not JIT_OFF, reason="the kernels are compiled")
def test_without_the_jit_kernels_are_plain_functions() -> None:
    assert jit.kernels() == ()
    assert adds(np.arange(4)) == 6
