"""`pollux serve` on a host whose name server does not answer: asking for a name takes a minute.

`python -m tests.operate.slow_names CONFIG`; only names under `.test` are meant.
Runs on: its own process.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

ANSWER_S = 60.0


def hang() -> None:
    """Let the names under `.test` wait."""
    ask = socket.getaddrinfo

    def answer(host: Any, *given: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".test"):
            time.sleep(ANSWER_S)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ask(host, *given, **named)

    socket.getaddrinfo = answer


if __name__ == "__main__":
    hang()
    import pollux

    pollux.main(["serve", "--config", sys.argv[1]])
