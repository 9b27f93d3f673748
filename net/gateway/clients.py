"""In front of every method: the token, and what one client may hold of the gateway's places.

A client is a certificate, or without one an address (of IPv6 its /64: a host has as many addresses
as it likes). Where a client has all that it may have, a new connection of its own still gets a
place: that of the connection with the most, whose newest stream ends. So neither a stranger nor a
program on the same host that reads nothing shuts others out.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import urllib.parse
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from net.gateway.authorization import Permission
from net.gateway.counters import GatewayCounters
from net.gateway.hub import Context, RefusedError
from net.gateway.options import GatewayOptions

OTHER_CALLS_MAX = 256
"""Calls beside the subscribers' streams: unary ones, health watches, reflection."""
ABORT_LIMIT_S = 0.1
"""A client that does not read cannot be given a status at once; its place is free all the same."""
HEALTH_PREFIX = "/grpc.health.v1.Health/"
"""Probes have no token, and learn nothing but whether there is a service."""

Endpoint = tuple[str, int]
"""An address and a port."""
Behavior = Callable[[Any, Context], Awaitable[Any]]


class _Call:
    """One call that runs."""

    def __init__(self, client: str, connection: str) -> None:
        self.client = client
        self.connection = connection
        self.task = asyncio.current_task()
        self.is_evicted = False


# Generic in the stub alone.
class Clients(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Who calls, and how often at once."""

    def __init__(
        self, options: GatewayOptions, permission: Permission, counters: GatewayCounters
    ) -> None:
        self._limit = options.client_streams_max
        self._total_max = options.subscribers_max + OTHER_CALLS_MAX
        self._permission = permission
        self._counters = counters
        self._calls: dict[str, list[_Call]] = {}
        """Of each client, the oldest first."""
        self._total = 0
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def connections(self) -> set[Endpoint]:
        """Those that have a call."""
        return {endpoint_of(call.connection) for calls in self._calls.values() for call in calls}

    # The stub knows of no method that is not there.
    async def intercept_service(  # type: ignore[override]
        self,
        continuation: Callable[..., Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method: str = details.method
        if method not in self._handlers:
            handler = await continuation(details)
            if handler is None:
                return None  # no such method: gRPC says so, and it is not kept
            self._handlers[method] = self._guarded(handler, method.startswith(HEALTH_PREFIX))
        return self._handlers[method]

    def _guarded(
        self, handler: grpc.RpcMethodHandler[Any, Any], is_health: bool
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The same method behind the door; an async generator becomes a coroutine that writes."""
        behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream
        assert behavior is not None, "no service has a method of another kind"

        async def call(request: Any, context: Context) -> Any:
            try:
                if not is_health:
                    self._permission.check_look(context)
                entered = self._enter(context)
            except RefusedError as refused:
                await context.abort(refused.code, refused.text)
                raise AssertionError("abort returned") from refused
            try:
                return await _run(behavior, request, context)
            except asyncio.CancelledError:
                if entered.is_evicted:
                    text = f"another connection of this client needed the place: {self._text()}"
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ABORT_LIMIT_S):
                            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
                raise
            finally:
                self._leave(entered)

        make = (
            grpc.unary_unary_rpc_method_handler if handler.unary_unary
            else grpc.unary_stream_rpc_method_handler if handler.unary_stream
            else grpc.stream_stream_rpc_method_handler
        )  # fmt: skip
        return make(call, handler.request_deserializer, handler.response_serializer)

    def _text(self) -> str:
        return f"a client may hold {self._limit} calls ([gateway] streams_per_client_max)"

    def _enter(self, context: Context) -> _Call:
        """One more call; RefusedError where its client, or everybody, has too many."""
        call = _Call(_client_of(context), context.peer())
        calls = self._calls.setdefault(call.client, [])
        running = [each for each in calls if not each.is_evicted]
        if len(running) >= self._limit and not _evict(running, call.connection):
            self._counters.refused += 1
            raise RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, self._text())
        if self._total >= self._total_max:
            self._counters.refused += 1
            text = f"this gateway has {self._total_max} calls ([gateway] subscribers_max)"
            raise RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        calls.append(call)
        self._total += 1
        return call

    def _leave(self, call: _Call) -> None:
        self._total -= 1
        calls = self._calls[call.client]
        calls.remove(call)
        if not calls:
            del self._calls[call.client]


async def _run(behavior: Behavior, request: Any, context: Context) -> Any:
    answer = behavior(request, context)
    if not hasattr(answer, "__aiter__"):
        return await answer
    async for message in answer:
        await context.write(message)
    return None


def _evict(calls: list[_Call], connection: str) -> bool:
    """End the newest call of the connection with the most, if it has more by two than this one."""
    counts = Counter(call.connection for call in calls)
    fullest, most = counts.most_common(1)[0]
    if most < counts[connection] + 2:
        return False
    last = next(call for call in reversed(calls) if call.connection == fullest)
    last.is_evicted = True
    if last.task is not None:
        last.task.cancel()
    return True


def _client_of(context: Context) -> str:
    identities = context.peer_identities()
    if identities:
        return "certificate " + b" ".join(identities).decode("utf-8", "replace")
    return network_of(endpoint_of(context.peer())[0])


def endpoint_of(peer: str) -> Endpoint:
    """A peer as gRPC names one: `ipv4:127.0.0.1:80`, `ipv6:%5B::1%5D:80`."""
    host, _, port = urllib.parse.unquote(peer).partition(":")[2].rpartition(":")
    return plain_host(host), int(port)


def plain_host(host: str) -> str:
    """An address as we write it: without brackets and zone, and IPv4 as itself."""
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def network_of(host: str) -> str:
    """The client that a plain address stands for."""
    return str(ipaddress.ip_network((host, 64), strict=False)) if ":" in host else host
