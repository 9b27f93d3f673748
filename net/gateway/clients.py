"""In front of every method: the token, and what one client may hold of the gateway's places.

A client is a certificate, or without one an address (of IPv6 its /64: a host has as many addresses
as it likes). Where a client has all that it may have, a new connection of its own still gets a
place: that of the connection with the most, whose newest call ends. So neither a stranger nor a
program on the same host that reads nothing shuts others out.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

from net.gateway.authorization import Permission
from net.gateway.call import Call
from net.gateway.counters import GatewayCounters
from net.gateway.options import GatewayOptions
from net.gateway.status import RefusedError, Status

OTHER_CALLS_MAX = 256
"""Calls beside the subscribers' streams: unary ones, health watches, reflection."""


class Clients:
    """Who calls, and how often at once."""

    def __init__(
        self, options: GatewayOptions, permission: Permission, counters: GatewayCounters
    ) -> None:
        self.calls_max = options.subscribers_max + OTHER_CALLS_MAX
        self._limit = options.client_streams_max
        self._permission = permission
        self._counters = counters
        self._calls: dict[str, list[Call]] = {}
        """Of each client, the oldest first."""
        self._total = 0

    def _text(self) -> str:
        return f"a client may hold {self._limit} calls ([gateway] streams_per_client_max)"

    def admit(self, call: Call, needs_token: bool) -> None:
        """One more call; RefusedError where its client may not, or where there are too many."""
        if needs_token:
            self._permission.check_look(call)
        calls = self._calls.get(call.client, [])
        if len(calls) >= self._limit and not self._evict(calls, call):
            self._counters.refused += 1
            raise RefusedError(Status.RESOURCE_EXHAUSTED, self._text())
        if self._total >= self.calls_max:
            self._counters.refused += 1
            text = f"this gateway has {self.calls_max} calls ([gateway] subscribers_max)"
            raise RefusedError(Status.RESOURCE_EXHAUSTED, text)
        self._calls.setdefault(call.client, []).append(call)
        self._total += 1
        call.on_left = lambda: self._leave(call)

    def _leave(self, call: Call) -> None:
        self._total -= 1
        calls = self._calls[call.client]
        calls.remove(call)
        if not calls:
            del self._calls[call.client]

    def _evict(self, calls: list[Call], newcomer: Call) -> bool:
        """End the newest call of the connection with the most, if it has two more than its own."""
        counts = Counter(call.connection for call in calls)
        fullest, most = counts.most_common(1)[0]
        if most < counts[newcomer.connection] + 2:
            return False
        last = next(call for call in reversed(calls) if call.connection is fullest)
        text = f"another connection of this client needed the place: {self._text()}"
        last.end(Status.RESOURCE_EXHAUSTED, text)
        return True


def plain_host(host: str) -> str:
    """An address as we write it: without a zone, and IPv4 as itself."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def network_of(host: str) -> str:
    """The client that a plain address stands for."""
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host
