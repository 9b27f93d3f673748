"""Progress on stderr of what takes long: compiling the kernels, reading a tape.

Runs on: the main thread of a command.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SHOWN_EVERY_S = 5.0
"""Where no terminal is."""


def tell_cache_refusals() -> None:
    """Why the cache of kernels is not the one that was to be used, on stderr."""
    from engine.compiling import jit

    while jit.cache_refusals:
        print(jit.cache_refusals.pop(0), file=sys.stderr, flush=True)


def compile_with_progress() -> None:
    """Compile or load the kernels of what is imported; a progress bar where that takes long."""
    from engine.compiling import jit

    tell_cache_refusals()
    started_s, is_missing = time.monotonic(), not jit.are_kernels_cached()
    if not sys.stderr.isatty():

        def report(done: int, total: int, name: str) -> None:
            if name and (is_missing or time.monotonic() - started_s > 1.0):
                print(f"compiling kernels {done + 1}/{total}: {name}", file=sys.stderr, flush=True)

        jit.compile_kernels(report)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("compiling kernels"), BarColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=1)
        jit.compile_kernels(
            lambda done, total, name: bar.update(
                task, completed=done, total=max(total, 1), description=name.rpartition(".")[2]
            )
        )


def progress_of_file(path: Path) -> Any:
    """A context manager whose value wraps an iterator of tape lines with a bar on stderr."""

    @contextlib.contextmanager
    def context() -> Iterator[Callable[[Iterator[Any]], Iterator[Any]]]:
        if not sys.stderr.isatty():
            yield lambda lines: lines
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),  # how many lines there are is known at the end
            TextColumn("{task.completed:,.0f} lines"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield lambda lines: iter(bar.track(lines, description=path.name))

    return context()


@contextlib.contextmanager
def progress_of_share() -> Iterator[Callable[[float, str], None]]:
    """Gives a function that shows on stderr how much is done, from 0 to 1, and of what: a bar on a
    terminal, elsewhere a line every SHOWN_EVERY_S seconds."""
    if not sys.stderr.isatty():
        shown_s = time.monotonic()

        def write(share: float, what: str) -> None:
            nonlocal shown_s
            if time.monotonic() - shown_s >= SHOWN_EVERY_S:
                shown_s = time.monotonic()
                print(f"{share:4.0%} {what}", file=sys.stderr, flush=True)

        yield write
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, what: bar.update(task, completed=share, description=what)
