"""The daemon with short waits: every limit and back-off below, then the ordinary command line.

`python -m tests.faults.patience CONFIG NO_DNS` runs `pollux serve --config CONFIG`. The names
`binance.test` and `bitstamp.test` are this host, unless the file NO_DNS exists: then they are the
address in it, or, where it is empty, no name resolves. What the tests expect is computed from the
numbers here.
Runs on: its own process.
"""

from __future__ import annotations

import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

BACKOFF_FLOOR_MS, BACKOFF_FIRST_MS, BACKOFF_LIMIT_MS = 20, 80, 400
REQUEST_LIMIT_S = 1.0
CONNECT_LIMIT_S = 1.0
REACH_LIMIT_S = 1.0
QUIET_ASK_S = 1.0
STALE_AFTER_MS = 1000
BITSTAMP_AUDIT_S = 2

HOSTS = ("binance.test", "bitstamp.test")


def shorten() -> None:
    """Put the numbers above where the daemon reads its own."""
    import net.daemon.tick_sizes
    import net.feed.book_sync
    import net.feed.connection
    import net.feed.engine_thread
    import net.feed.rest
    import net.sockets.websocket
    from net.sockets.backoff import Backoff
    from net.venues.bitstamp.market_data import Bitstamp

    quick = partial(
        Backoff, floor_ms=BACKOFF_FLOOR_MS, first_ms=BACKOFF_FIRST_MS, limit_ms=BACKOFF_LIMIT_MS
    )
    replaced: dict[Any, dict[str, object]] = {
        net.feed.engine_thread: {"Backoff": quick},
        net.daemon.tick_sizes: {"Backoff": lambda rng, *_, **__: quick(rng)},
        net.feed.rest: {"REQUEST_LIMIT_S": REQUEST_LIMIT_S},
        net.feed.book_sync: {
            "REACH_LIMIT_NS": int(REACH_LIMIT_S * 1e9),
            "QUIET_ASK_NS": int(QUIET_ASK_S * 1e9),
        },
        net.feed.connection: {"SUBSCRIBE_LIMIT_S": CONNECT_LIMIT_S},
        net.sockets.websocket: {
            "CONNECT_LIMIT_S": CONNECT_LIMIT_S,
            "HANDSHAKE_LIMIT_S": CONNECT_LIMIT_S,
        },
        Bitstamp: {"audit_interval_s": BITSTAMP_AUDIT_S},
    }
    for where, names in replaced.items():
        for name, value in names.items():
            assert hasattr(where, name), f"{where} has no {name} any more"
            setattr(where, name, value)


def resolve_by(no_dns: Path) -> None:
    """Look names up as the module says; addresses are left alone."""
    ask = socket.getaddrinfo

    def answer(host: Any, *given: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in HOSTS:
            host = no_dns.read_text() if no_dns.exists() else "127.0.0.1"
            if not host:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ask(host, *given, **named)

    socket.getaddrinfo = answer


if __name__ == "__main__":
    shorten()
    resolve_by(Path(sys.argv[2]))
    import pollux

    pollux.main(["serve", "--config", sys.argv[1]])
