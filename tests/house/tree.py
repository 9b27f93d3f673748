"""The tree as the tests of the house read it: every Python file, parsed, with its module's name.

Only files of git's index are looked at, so a scratch file breaks nothing; without git, all are.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FLOORS = ("engine", "proto", "tuning", "net", "bench", "pollux", "tests")


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: str
    """From the root of the tree, with slashes."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def floor(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    @property
    def room(self) -> str:
        """The folder below the floor (`net/feed`), or the file itself where it stands loose."""
        parts = self.path.split("/")
        return "/".join(parts[:2]) if len(parts) > 1 else parts[0]

    @property
    def module(self) -> str:
        """`net.feed.rest`; a package has the name of its folder."""
        return self.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""


@dataclass(frozen=True)
class Import:
    """One name that an import binds, or a whole module that it names."""

    line: int
    module: str
    """What is imported, as far as it is a module: `from net.feed import rest` names
    `net.feed.rest`, `from net.feed.rest import Rest` names `net.feed.rest`."""
    bound: str | None
    """The name that stands for the module in the file; None where only parts of it are bound."""
    is_renamed: bool
    """Whether `as` gave the name."""


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
def sources() -> tuple[Source, ...]:
    """Every Python file that people write: what is generated in proto/ is left out."""
    found: list[Path] = []
    for floor in FLOORS:
        found += [ROOT / "pollux.py"] if floor == "pollux" else (ROOT / floor).rglob("*.py")
    paths = {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}
    listed = tracked()
    if listed is not None:
        # A test may be new; it is looked at whether or not it is in the index.
        paths = {path for path in paths if path in set(listed) or path.startswith("tests/")}
    return tuple(
        Source(path, (ROOT / path).read_text(encoding="utf-8"))
        for path in sorted(paths)
        if "_pb2" not in path
    )


def of_floors(*floors: str) -> tuple[Source, ...]:
    return tuple(each for each in sources() if each.floor in floors)


@cache
def modules() -> frozenset[str]:
    """The names of all modules and packages of the tree, what is generated included."""
    names = {each.module for each in sources()}
    names |= {
        path.relative_to(ROOT).as_posix().removesuffix(".py").replace("/", ".")
        for path in (ROOT / "proto").rglob("*_pb2*.py")
    }
    packages = {name.rsplit(".", count)[0] for name in names for count in range(1, 6)}
    return frozenset(names | packages)


def imports(source: Source, known: Iterable[str] | None = None) -> Iterator[Import]:
    """Every import of a file, wherever it stands, what only a type checker reads included."""
    names = modules() if known is None else frozenset(known)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or (alias.name if "." not in alias.name else None)
                yield Import(node.lineno, alias.name, bound, alias.asname is not None)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if whole in names:
                    bound = alias.asname or alias.name
                    yield Import(node.lineno, whole, bound, alias.asname is not None)
                else:
                    yield Import(node.lineno, base, None, False)


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for each in ast.walk(source.tree):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each
