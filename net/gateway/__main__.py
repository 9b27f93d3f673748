"""The gateway as a process of its own: `python -m net.gateway JSON`.

Takes the options as one JSON argument (GatewayOptions.to_json), prints `ready PORT` when it serves
and, where the daemon started it, `beat` once a second. Ends with 0 on SIGTERM or SIGINT, with 1 and
one line on stderr when it cannot serve, and by itself when the process that started it dies.
Before it imports what takes long it asks to die with its parent, and sees whether that one still
lives: a parent that was killed a moment after the start would otherwise leave an orphan.
Whoever starts it must do so from a thread that lives as long as itself: to Linux, a parent's death
is that of its thread.
Runs on: its main thread, plus one that looks for signals and at the parent.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from net.gateway.options import GatewayError, GatewayOptions
from net.process.parent_death import die_with_parent

WATCH_PAUSE_S = 0.05
"""How often it is looked whether a signal came, and whether the parent lives: the kernel's own word
of that may be missing or have come too early."""

END_LIMIT_S = 5.0
"""A gateway returns within three seconds of being told to; this is for one that hangs."""


def main(argv: Sequence[str]) -> int:
    """Serve until told to end; the exit status."""
    # Until there is something to close, a signal simply ends the process.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent()
    try:
        if len(argv) != 1:
            raise GatewayError("usage: python -m net.gateway JSON-OPTIONS")
        options = GatewayOptions.from_json(argv[0])
        parent_pid = options.parent_pid or os.getppid()
        if os.getppid() != parent_pid:
            raise GatewayError("the process that started this one has ended")
        _serve(options, parent_pid)
    except GatewayError as error:
        with contextlib.suppress(BrokenPipeError):
            print(f"pollux gateway: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _import_server() -> Callable[..., None]:
    """`run_gateway`, with its kernels loaded: what takes long at a start, made short.

    The engine may have to share its CPU with this. What is made here lives as long as the process,
    so the collector of garbage would look at it in vain, now and later. numba would load a parser
    of C for kernels that call C by it (cffi), which none does.
    """
    gc.disable()
    sys.modules.setdefault("cffi", None)  # type: ignore[arg-type]
    from engine.compiling.jit import compile_kernels
    from net.gateway.server import run_gateway

    compile_kernels()
    gc.freeze()
    gc.enable()
    return run_gateway


def _serve(options: GatewayOptions, parent_pid: int) -> None:
    run_gateway = _import_server()
    stop = threading.Event()
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # No more than this: a handler may run within itself, and an Event's lock is not its own
        # thread's twice. A parent's death brings one SIGTERM for each of its threads.
        signal.signal(number, lambda number, _frame: signals.append(number))
    watch = threading.Thread(target=_watch, args=(parent_pid, signals, stop), daemon=True)
    watch.start()
    beat = _beats() if options.parent_pid else None
    run_gateway(options, ready=_say_ready, stop=stop, beat=beat)


def _say_ready(port: int) -> None:
    print(f"ready {port}", flush=True)


def _beats() -> Callable[[], None]:
    """A function that writes `beat` to stdout once a second, and never waits for its reader."""
    from net.process.child import BEAT_S

    descriptor = sys.stdout.fileno()
    last_s = 0.0

    def beat() -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= BEAT_S:
            last_s = now_s
            os.set_blocking(descriptor, False)
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(descriptor, b"beat\n")

    return beat


def _watch(parent_pid: int, signals: list[int], stop: threading.Event) -> None:
    """Set `stop` on a signal or the parent's death; end the process where that does not."""
    while not signals and os.getppid() == parent_pid:
        time.sleep(WATCH_PAUSE_S)
    stop.set()
    time.sleep(END_LIMIT_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
