"""`pollux serve` whose engine thread stands still while a file is there; all others go on.

`python -m tests.operate.hung_engine CONFIG FILE`
Runs on: its own process.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from net.feed.clock_check import HostCheck


def hang_while(path: Path) -> None:
    """What the engine thread does at each of its timers waits for the file to go."""
    look = HostCheck.look

    def wait(self: HostCheck, *given: Any) -> None:
        while path.exists():
            time.sleep(0.05)
        look(self, *given)

    HostCheck.look = wait  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    hang_while(Path(sys.argv[2]))
    import pollux

    pollux.main(["serve", "--config", sys.argv[1]])
