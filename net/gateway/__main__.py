"""The gateway as a process of its own: `python -m net.gateway JSON`.

Takes the options as one JSON argument (GatewayOptions.to_json), prints `ready PORT` when it serves,
ends with 0 on SIGTERM or SIGINT, with 1 and one line on stderr when it cannot serve, and by itself
when the process that started it dies.
Runs on: its main thread, plus one that looks at the parent. Called by: the daemon, which must start
it from a thread that lives as long as the daemon: to Linux, a parent's death is that of its thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from engine.jit import compile_kernels
from net.gateway.options import GatewayError, GatewayOptions
from net.gateway.server import run_gateway

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

PARENT_PAUSE_S = 0.5
"""How often the parent is looked at, where the kernel's signal is missing or came too early."""


def main(argv: Sequence[str]) -> int:
    """Serve until told to end; the exit status."""
    parent_pid = os.getppid()
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # the second one forces

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    _die_with_parent()
    threading.Thread(target=_watch_parent, args=(parent_pid, stop), daemon=True).start()
    try:
        if len(argv) != 1:
            raise GatewayError("usage: python -m net.gateway JSON-OPTIONS")
        options = GatewayOptions.from_json(argv[0])
        compile_kernels()
        run_gateway(options, ready=_say_ready, stop=stop)
    except GatewayError as error:
        print(f"pollux gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _say_ready(port: int) -> None:
    print(f"ready {port}", flush=True)


def _die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent dies; elsewhere the parent watch does it alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _watch_parent(parent_pid: int, stop: threading.Event) -> None:
    while not stop.wait(PARENT_PAUSE_S):
        if os.getppid() != parent_pid:
            stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
