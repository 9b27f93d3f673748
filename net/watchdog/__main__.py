"""The watchdog as a process of its own: `python -m net.watchdog`, options as JSON on stdin.

Keys come from the environment, log lines go to stderr, `ready` and `beat` to stdout. It survives
the process that started it. A terminal's signals mean nothing to it, and SIGTERM ends it only when
its work is done. Exit status: 0, the engine has ended and no order of ours is open; 1, that could
not be confirmed, or it could not start (one line says why).
Runs on: its main thread.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Watch until the engine has ended; the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: terminated.append(number))
    from engine.compiling.jit import compile_kernels
    from net.watchdog.options import WatchdogError, WatchdogOptions
    from net.watchdog.process import run_watchdog

    try:
        options = WatchdogOptions.from_json(sys.stdin.read())
        compile_kernels()
        return run_watchdog(options, terminated)
    except WatchdogError as error:
        print(f"pollux watchdog: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    # Nothing is left to be closed, and an interpreter that has compiled code takes long to end.
    os._exit(main())
