"""The house rules that a machine can hold: floors, the top level, sizes, docstrings, clocks.

Only files of git's index are looked at, so a scratch file breaks nothing; without git, all are.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "tuning": set(),
    "engine": set(),
    "proto": set(),
    "net": {"engine", "proto", "tuning"},
    "bench": {"net", "engine", "proto", "tuning"},
    "pollux": {"bench", "net", "engine", "proto", "tuning"},
    "tests": {"pollux", "bench", "net", "engine", "proto", "tuning"},
}
"""Each floor and the floors below it (design, section 2). An arrow never points up."""

TOP_LEVEL = {
    "pyproject.toml", "engine", "net", "proto", "tuning", "tests", "bench", "README.md",
    "pollux.py", "LICENSE", "Makefile", "requirements.lock",
}  # fmt: skip
DOT_FILES = {
    ".ci", ".dockerignore", ".editorconfig", ".gitattributes", ".github", ".gitignore",
    ".pre-commit-config.yaml", ".python-version",
}  # fmt: skip

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
LINE_COLUMNS_MAX = 100
LONGER_FUNCTIONS: dict[str, str] = {}
"""Functions that may be longer, each with its reason. Keep it short."""

PRAGMA = re.compile(r"\s*# (type: ignore|noqa|fmt: skip).*$")

CLOCKS = {"time", "random", "datetime", "secrets", "uuid"}
"""Modules that no file of engine/ may import, but for the twins that stand in with the JIT off."""


@cache
def tracked() -> tuple[str, ...] | None:
    """The paths in git's index, or None where this is no checkout."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "--cached"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(done.stdout.splitlines()) or None


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file that people write: what is generated in proto/ is left out."""
    found = []
    for floor in MAY_IMPORT:
        where = [ROOT / f"{floor}.py"] if floor == "pollux" else (ROOT / floor).rglob("*.py")
        found += [path for path in where if path.is_file() and "_pb2" not in path.name]
    listed = tracked()
    if listed is not None:
        known = {ROOT / path for path in listed}
        # This file's own floor may be new; it is looked at whether or not it is in the index.
        found = [path for path in found if path in known or path.parts[len(ROOT.parts)] == "tests"]
    return tuple(sorted(path for path in found if "__pycache__" not in path.parts))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def floor_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, first word of the module) of every import below a node, wherever it stands."""
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            for alias in each.names:
                yield each.lineno, alias.name.split(".")[0]
        elif isinstance(each, ast.ImportFrom):
            if each.level:
                yield each.lineno, "."
            elif each.module:
                yield each.lineno, each.module.split(".")[0]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for each in ast.walk(tree_of(path)):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each


def climbs(path: Path, floor: str) -> list[str]:
    """The imports of a file that point up or sideways."""
    allowed = MAY_IMPORT[floor] | {floor}
    return [
        f"{path.name}:{line} imports {module}"
        for line, module in imports(tree_of(path))
        if module in MAY_IMPORT and module not in allowed
    ]


# --- floors --------------------------------------------------------------------------------------


def test_no_import_points_up() -> None:
    bad = [
        f"{name_of(path)}: {each}" for path in sources() for each in climbs(path, floor_of(path))
    ]
    assert bad == []


def test_the_check_of_floors_can_fail(tmp_path: Path) -> None:
    source = tmp_path / "bad.py"
    source.write_text("def late() -> None:\n    from net import daemon\n\nimport bench.run\n")
    assert len(climbs(source, "engine")) == 2
    assert climbs(source, "bench") == []


def test_the_floors_below_engine_have_something_to_check() -> None:
    floors = {floor_of(path) for path in sources()}
    assert {"engine", "tests"} <= floors


def test_the_top_level_is_what_the_design_says() -> None:
    listed = tracked()
    if listed is None:
        pytest.skip("no git checkout")
    top = {path.split("/")[0] for path in listed}
    assert top - TOP_LEVEL - DOT_FILES == set()


def test_the_top_level_is_complete() -> None:
    missing = sorted(entry for entry in TOP_LEVEL if not (ROOT / entry).exists())
    if "README.md" in missing:
        pytest.skip(f"still being built: {', '.join(missing)}")
    assert missing == []


# --- style ---------------------------------------------------------------------------------------


def test_files_and_lines_stay_short() -> None:
    bad = []
    for path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > FILE_LINES_MAX:
            bad.append(f"{name_of(path)}: {len(lines)} lines")
        for number, line in enumerate(lines, 1):
            # As ruff does: a comment for a tool at the line's end does not count.
            if len(PRAGMA.sub("", line)) > LINE_COLUMNS_MAX:
                bad.append(f"{name_of(path)}:{number}: {len(line)} columns")
    assert bad == []


def test_functions_stay_short() -> None:
    long = {}
    for path in sources():
        for each in functions(path):
            assert each.end_lineno is not None
            length = each.end_lineno - each.lineno + 1
            if length > FUNCTION_LINES_MAX:
                long[f"{name_of(path)}:{each.name}"] = length
    assert {key: length for key, length in long.items() if key not in LONGER_FUNCTIONS} == {}
    assert set(LONGER_FUNCTIONS) <= set(long), "an exception that is needed no longer"


def test_every_module_says_what_it_is() -> None:
    bad = []
    for path in sources():
        is_empty = not path.read_text(encoding="utf-8").strip()
        if not ast.get_docstring(tree_of(path)) and not (path.name == "__init__.py" and is_empty):
            bad.append(name_of(path))
    assert bad == []


def test_every_module_of_the_engine_names_its_thread_and_its_callers() -> None:
    for path in sources():
        if floor_of(path) == "engine" and path.name != "__init__.py":
            text = ast.get_docstring(tree_of(path)) or ""
            if path.name not in ("status.py", "layout.py"):
                assert "Runs on:" in text, name_of(path)


# --- clocks and chance ---------------------------------------------------------------------------


def without_twins(tree: ast.Module) -> ast.Module:
    """The module less its `if JIT_OFF:` branches, the Python twins of intrinsics and libc calls."""
    body = []
    for each in tree.body:
        if isinstance(each, ast.If) and ast.unparse(each.test) == "JIT_OFF":
            body += each.orelse
        else:
            body.append(each)
    return ast.Module(body=body, type_ignores=[])


def test_the_engine_has_no_clock_and_no_chance() -> None:
    bad = [
        f"{name_of(path)}:{line} imports {module}"
        for path in sources()
        if floor_of(path) == "engine"
        for line, module in imports(without_twins(tree_of(path)))
        if module in CLOCKS
    ]
    assert bad == []


def test_the_engine_has_no_sockets_and_no_logging() -> None:
    forbidden = {"socket", "ssl", "select", "asyncio", "logging", "structlog", "picows", "grpc"}
    bad = [
        f"{name_of(path)}:{line} imports {module}"
        for path in sources()
        if floor_of(path) == "engine"
        for line, module in imports(tree_of(path))
        if module in forbidden | {"threading", "aiohttp", "requests", "urllib"}
    ]
    assert bad == []
