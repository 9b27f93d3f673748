"""The gateway's connections: none that does nothing keeps a newcomer out, and no client has all.

gRPC accepts so many and then no more, whoever has them, and has no call to look at them or to close
one. They are this process's sockets, though: so they are looked at, and one that must go is shut
down, which gRPC takes for the client's end.
Runs on: a helper thread of the gateway's event loop.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from net.gateway.clients import Endpoint, network_of, plain_host
from net.gateway.options import GatewayOptions

LOOK_EVERY_S = 0.5
FAMILIES = (socket.AF_INET, socket.AF_INET6)
CROWDED = 0.75
"""From this part of all places on, idle connections are closed; no client may have more of them."""
IDLE_LIMIT_S = 3.0
"""How long one may then be without a call: a newcomer has made its first one by then."""
UNDIVIDED = 16
"""So few places are not divided among clients."""

_log = logging.getLogger("pollux.gateway")


@dataclass
class _Connection:
    descriptor: int
    since_s: float


class Connections:
    """Those of the listener at a port."""

    def __init__(self, options: GatewayOptions, port: int) -> None:
        self._port = port
        self._crowd = max(UNDIVIDED, int(options.connections_max * CROWDED))
        self._client_limit = min(options.client_streams_max, self._crowd)
        self._known: dict[Endpoint, _Connection] = {}

    def look(self, calling: set[Endpoint]) -> None:
        """Close what must go; `calling` are those that have a call."""
        try:
            names = os.listdir("/proc/self/fd")
        except OSError:  # not Linux
            return
        if len(names) <= min(self._client_limit, self._crowd):
            self._known.clear()
            return
        now_s, before = time.monotonic(), self._known
        self._known = {}
        for end, descriptor in self._find(names):
            since_s = before[end].since_s if end in before else now_s
            self._known[end] = _Connection(descriptor, since_s)
        by_client: dict[str, list[Endpoint]] = defaultdict(list)
        for end in self._known:
            by_client[network_of(end[0])].append(end)
        gone = {end for ends in by_client.values() for end in self._beyond_share(ends, calling)}
        excess = len(self._known) - len(gone) - self._crowd
        if excess > 0:
            limit_s = now_s - IDLE_LIMIT_S
            idle = [e for e, known in self._known.items() if known.since_s < limit_s]
            idle = [e for e in idle if e not in calling and e not in gone]
            idle.sort(key=lambda e: (-len(by_client[network_of(e[0])]), self._known[e].since_s))
            gone.update(idle[:excess])
        for end in gone:
            self._shut(end)

    def _beyond_share(self, ends: list[Endpoint], calling: set[Endpoint]) -> list[Endpoint]:
        """What a client has too many: first without a call, the oldest; then others, the newest."""
        excess = len(ends) - self._client_limit
        if excess <= 0:
            return []
        client = network_of(ends[0][0])
        _log.warning(
            "%s has %d connections, %d are closed: a client may hold %d "
            "([gateway] streams_per_client_max, connections_max)",
            client, len(ends), excess, self._client_limit,
        )  # fmt: skip
        age = {end: self._known[end].since_s for end in ends}
        idle = sorted((end for end in ends if end not in calling), key=age.__getitem__)
        others = sorted((e for e in ends if e in calling), key=age.__getitem__, reverse=True)
        return [*idle, *others][:excess]

    def _find(self, names: list[str]) -> Iterator[tuple[Endpoint, int]]:
        """This process's connections at the port, and their descriptors."""
        for name in names:
            with contextlib.suppress(OSError, ValueError), _duplicate(int(name)) as link:
                if self._is_ours(link):
                    yield _peer(link), int(name)

    def _is_ours(self, link: socket.socket) -> bool:
        is_tcp = link.family in FAMILIES and link.type == socket.SOCK_STREAM
        return is_tcp and link.getsockname()[1] == self._port

    def _shut(self, end: Endpoint) -> None:
        """Unless its descriptor is another's by now."""
        known = self._known[end]
        with contextlib.suppress(OSError, ValueError), _duplicate(known.descriptor) as link:
            if self._is_ours(link) and _peer(link) == end:
                link.shutdown(socket.SHUT_RDWR)


def _peer(link: socket.socket) -> Endpoint:
    host, port = link.getpeername()[:2]
    return plain_host(host), port


@contextlib.contextmanager
def _duplicate(descriptor: int) -> Iterator[socket.socket]:
    """The same socket by a descriptor of our own: nobody can close it meanwhile. OSError: none."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError(errno.ENOTSOCK, "no socket")
    copy = os.dup(descriptor)
    try:
        link = socket.socket(fileno=copy)
    except OSError:  # another file by now
        os.close(copy)
        raise
    with link:
        yield link
