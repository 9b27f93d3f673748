"""Sockets that listen at an address, or why it cannot be had.

A file without kernels: the daemon asks for its addresses before it loads any.
Runs on: any thread.
"""

from __future__ import annotations

import contextlib
import errno
import socket

from net.gateway.options import GatewayError, host_and_port_of

QUEUE = 1024
"""Connections that the kernel accepts ahead of us."""
BIND_TRIES = 16
"""For a free port that is free at all addresses of a name."""


def listening_sockets(listen: str, key: str = "gateway.listen") -> list[socket.socket]:
    """All of a name's addresses, at one port; GatewayError with the configuration's `key` and the
    system's reason."""
    host, port = host_and_port_of(listen)
    try:
        return _bound(host, port)
    except OSError as error:
        reason = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise GatewayError(f"{key}: cannot listen on {listen}: {reason}") from None


def ask_for(listen: str, key: str) -> None:
    """GatewayError where another process listens there already, or nobody may."""
    for each in listening_sockets(listen, key):
        each.close()


def _bound(host: str, port: int) -> list[socket.socket]:
    for left in range(BIND_TRIES - 1, -1, -1):
        with contextlib.ExitStack() as on_failure:
            try:
                bound = _bound_once(host, port, on_failure)
            except OSError as error:
                if port == 0 and error.errno == errno.EADDRINUSE and left:
                    continue  # the port that one address has given is taken at another
                raise
            on_failure.pop_all()
            return bound
    raise AssertionError("the last try returns or raises")


def _bound_once(host: str, port: int, on_failure: contextlib.ExitStack) -> list[socket.socket]:
    bound: list[socket.socket] = []
    for family, address, is_dual in _addresses(host, port):
        try:
            door = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # a host without IPv6 may still have the name in its hosts file
        on_failure.callback(door.close)
        # Connections of a gateway that has just ended do not count.
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not is_dual))
        if bound and port == 0:
            door.bind((address[0], bound[0].getsockname()[1], *address[2:]))
        else:
            door.bind(address)
        door.listen(QUEUE)
        door.setblocking(False)
        bound.append(door)
    if not bound:
        raise OSError(errno.EADDRNOTAVAIL, "the name has no address")
    return bound


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...], bool]]:
    """Families, addresses and whether IPv4 comes there too: a wildcard stands for both."""
    if host in ("0.0.0.0", "::", "") and socket.has_dualstack_ipv6():
        return [(socket.AF_INET6, ("::", port, 0, 0), True)]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, address, False) for family, _, _, _, address in found]
