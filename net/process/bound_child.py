"""Runs a module as a process that ends with the one that started it, however that ends.

    python -m net.process.bound_child PARENT_PID MODULE ARGUMENT...

Before anything is imported, for a parent can die early too.
Whoever starts it must do so from a thread that lives as long as itself: to Linux, a parent's death
is that of its thread.
Runs on: the main thread of the child.
"""

from __future__ import annotations

import os
import runpy
import sys

from net.process.parent_death import die_with_parent


def bound_arguments(module: str, *arguments: str) -> list[str]:
    """The argument list that runs a module that ends with this process."""
    from net.process.child import child_command  # the child itself has no use for it

    return child_command("net.process.bound_child", str(os.getpid()), module, *arguments)


def hold(parent_pid: int) -> None:
    """Ask Linux for a SIGTERM when the parent ends; exit where it has ended already."""
    die_with_parent()
    if os.getppid() != parent_pid:
        sys.exit(1)


if __name__ == "__main__":
    hold(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
