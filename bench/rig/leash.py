"""Runs a module as a process that ends with the one that started it, however that ends.

    python -m bench.rig.leash PARENT_PID MODULE ARGUMENT...

Before anything is imported, for a parent can die early too.
Runs on: the main thread of what the harness starts. Called by: the rigs, which must start it from a
thread that lives as long as they do: to Linux, a parent's death is that of its thread.
"""

from __future__ import annotations

import os
import runpy
import sys

from net.parent import die_with_parent


def leashed(module: str, *arguments: str) -> list[str]:
    """The argument list that runs a module on a leash held by this process."""
    return [sys.executable, "-m", "bench.rig.leash", str(os.getpid()), module, *arguments]


def hold(parent_pid: int) -> None:
    """Ask Linux for a SIGTERM when the parent ends; exit where it has ended already."""
    die_with_parent()
    if os.getppid() != parent_pid:
        sys.exit(1)


if __name__ == "__main__":
    hold(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
