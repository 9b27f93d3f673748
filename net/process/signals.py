"""The signals that end a command, heard from its first moment on, whatever its main thread does.

Python runs a handler between two instructions of the main thread: one that compiles a kernel, or
waits for a FIFO's other end, hears nothing. So the system writes each signal's number to a pipe,
and a thread reads it there (signal.set_wakeup_fd). What the first signal does:

    there is nothing to close    the process ends at once
    within `closing`             whoever closes is told, and has END_LIMIT_S for it

A second SIGTERM or SIGINT forces, unless it is the first one's echo: `timeout` and other wrappers
send one to the process and one to its group. A closed terminal sends its SIGHUP more than once: it
begins an end and forces none. It is left alone where it was ignored from the start (nohup), and
under a service manager, to whom it means something else.
Nothing heavy is imported: this comes before all other imports.
Runs on: the main thread (`hear_signals`, `closing`), a thread of its own (what they are given).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

INSISTING = frozenset({signal.SIGTERM, signal.SIGINT})
ENDING = (*INSISTING, signal.SIGHUP)
ECHO_S = 0.1
"""A second signal within this time is the first one again."""
END_LIMIT_S = 4.4
"""From the first signal to the end of the process, whatever hangs: 5 s are promised."""
FORCED = 130
"""The exit status after a second signal: not everything was closed."""
HANGUP_S = 0.2
"""A closed terminal refuses what is written a moment before its SIGHUP comes."""
SHOW_CURSOR = b"\x1b[?25h"
"""A progress bar on the terminal hides it."""

Action = Callable[[], object]


class _Closing(NamedTuple):
    begin: Action | None
    leave: Action


class _Hearing:
    """The process's signals, as long as it is open. On the main thread."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.closings: list[_Closing] = []
        self.actions: dict[int, Action] = {}
        self._end_s: float | None = None
        self._forced_from_s: float | None = None
        self._is_handled = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._fd_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._thread.start()
        is_ours = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        is_managed = "NOTIFY_SOCKET" in os.environ
        self._before = {number: signal.signal(number, self._handle) for number in INSISTING}
        if is_ours:
            handler = signal.SIG_IGN if is_managed else self._handle
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, handler)

    @property
    def is_ending(self) -> bool:
        return self._end_s is not None

    def close(self) -> None:
        """As it was before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def enter(self, closing: _Closing) -> None:
        self.closings.append(closing)
        if self._end_s is not None and closing.begin is not None:
            closing.begin()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        """Python's own part, on the main thread: the exception of `closing` without a `begin`."""
        is_first, self._is_handled = not self._is_handled, True
        if is_first and self.closings and self.closings[-1].begin is None:
            raise KeyboardInterrupt

    def _listen(self) -> None:
        while True:
            left_s = None if self._end_s is None else max(self._end_s - time.monotonic(), 0)
            if not select.select([self._reader], [], [], left_s)[0]:
                self._leave(self.status)
            numbers = os.read(self._reader, 64)
            if not numbers:
                return
            for number in numbers:
                self._take(number)

    def _take(self, number: int) -> None:
        if number in self.actions:
            self.actions[number]()
        if number not in ENDING:
            return
        if number in INSISTING:
            if self._forced_from_s is None:
                self._forced_from_s = time.monotonic() + ECHO_S
            elif time.monotonic() > self._forced_from_s:
                self._leave(FORCED)
        if self._end_s is None:
            self._end_s = time.monotonic() + END_LIMIT_S
            if not self.closings:
                self._leave(self.status)
            begin = self.closings[-1].begin
            if begin is not None:
                begin()

    def _leave(self, status: int) -> None:
        for closing in reversed(self.closings):
            with contextlib.suppress(Exception):
                closing.leave()
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), SHOW_CURSOR)
        os._exit(status)


_hearing: list[_Hearing] = []
"""The process's one, where it hears."""


def hear_signals(status: int) -> None:
    """From now on to the end of the process; `status` is that of one which a signal ends."""
    if not _hearing:
        _hearing.append(_Hearing(status))


@contextlib.contextmanager
def _heard() -> Iterator[_Hearing]:
    """The process's signals; for the block alone where a command is called by another program."""
    if _hearing:
        yield _hearing[0]
        return
    hear_signals(0)
    try:
        yield _hearing[0]
    finally:
        _hearing.pop().close()


def _nothing() -> None:
    pass


@contextlib.contextmanager
def closing(begin: Action | None = None, leave: Action = _nothing) -> Iterator[None]:
    """A block with something to close at the end.

    The first signal calls `begin`, on the listening thread; without one it raises KeyboardInterrupt
    on the main thread. `leave` is called, last of all, where the block does not end in time or is
    forced to.
    """
    with _heard() as hearing:
        hearing.enter(_Closing(begin, leave))
        try:
            yield
        finally:
            hearing.closings.pop()


@contextlib.contextmanager
def on_signal(number: int, action: Action) -> Iterator[None]:
    """Within the block a signal of another kind calls `action`, on the listening thread."""
    with _heard() as hearing:
        hearing.actions[number] = action
        before = signal.signal(number, lambda _number, _frame: None)
        try:
            yield
        finally:
            signal.signal(number, before)
            del hearing.actions[number]


def is_ending() -> bool:
    """Whether a signal has come; where output has failed, it may be a moment behind."""
    if _hearing and not _hearing[0].is_ending:
        time.sleep(HANGUP_S)
    return bool(_hearing) and _hearing[0].is_ending


def status_of_end() -> int:
    """The exit status of a command that a KeyboardInterrupt ends."""
    return _hearing[0].status if _hearing else FORCED
