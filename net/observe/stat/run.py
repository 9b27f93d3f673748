"""`pollux stat`: shows a daemon once, or over and over until Ctrl-C.

Each look attaches anew, so a daemon that dies, ends or comes back is seen as what it is. On a
terminal the text is drawn in place; elsewhere there is one block, or one line of JSON, an interval.
Runs on: the main thread of a command.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

from net.observe.stat.read import Stat, StatError, read_stat
from net.observe.stat.text import stat_lines
from net.process.terminal import can_draw, discard_output
from tuning.clock import now, wall_ns


@dataclass(frozen=True)
class StatOptions:
    """What the command line says. `interval_s` 0: look once."""

    name: str
    json: bool = False
    interval_s: float = 0.0


def run_stat(options: StatOptions, stdout: TextIO) -> int:
    """Show the daemon; the exit status. StatError where there is none at first."""
    stat = read_stat(options.name, now())
    try:
        with _printer(options, stdout) as show:
            show(_said(options, stat))
            if not options.interval_s:
                return stat.status
            _watch(options, stat, show)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        discard_output(stdout)
    return 0


def _watch(options: StatOptions, last: Stat, show: Callable[[str], None]) -> None:
    due_s = time.monotonic()
    before: Stat | None = last
    while True:
        now_s = time.monotonic()  # read once: a second reading may lie past due_s
        due_s = max(due_s + options.interval_s, now_s)
        time.sleep(due_s - now_s)
        try:
            stat = last = read_stat(options.name, now())
        except StatError as error:
            before = None
            show(_said_of_none(options, last, error))
            continue
        show(_said(options, stat.since(before)))
        before = stat


def _said(options: StatOptions, stat: Stat) -> str:
    return json.dumps(stat.facts()) if options.json else "\n".join(stat_lines(stat))


def _said_of_none(options: StatOptions, last: Stat, error: StatError) -> str:
    """What is said after the end of a daemon that took its segment away."""
    if options.json:
        facts = {"name": last.name, "pid": None, "trouble": "stopped", "t": wall_ns()}
        return json.dumps(facts)
    return f"daemon {last.name}, pid {last.pid}: stopped\n  {error}"


@contextlib.contextmanager
def _printer(options: StatOptions, stdout: TextIO) -> Iterator[Callable[[str], None]]:
    """How a text is shown: in place where that can be, otherwise below the one before."""
    if options.interval_s and not options.json and can_draw(stdout):
        with _drawn_in_place(stdout) as draw:
            yield draw
        return
    is_first = True

    def write(text: str) -> None:
        nonlocal is_first
        gap = "" if is_first or options.json else "\n"
        is_first = False
        stdout.write(f"{gap}{text}\n")
        stdout.flush()

    yield write


@contextlib.contextmanager
def _drawn_in_place(stdout: TextIO) -> Iterator[Callable[[str], None]]:
    """The terminal's other screen, as long as it lasts."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=stdout, highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)
