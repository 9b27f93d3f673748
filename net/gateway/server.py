"""The gateway's life: attach to the handoff, bind, serve, notice the engine's death, shut down.

`run_gateway` blocks in the calling thread with an event loop of its own, so the same code is a
thread of the daemon or the main thread of `python -m net.gateway`. Beside it run one waiter thread
and gRPC's own polling thread.
Invariants: `ready` is called once, when calls are answered; after `stop` is set nothing new is
accepted, and it returns within three seconds; whatever prevents serving is a GatewayError.
Runs on: a housekeeping CPU.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection

from engine.maker.state_board import StateBoardFinder
from engine.sharing.handoff import HandoffError, HandoffReader
from net.gateway import maker_service, market_data_service, orderbook_service
from net.gateway.authorization import Permission
from net.gateway.clients import OTHER_CALLS_MAX, Clients
from net.gateway.connections import LOOK_EVERY_S, Connections
from net.gateway.counters import GatewayCounters, open_counters
from net.gateway.health_service import SERVICE_NAME as HEALTH
from net.gateway.health_service import HealthService
from net.gateway.hub import Hub, engine_trouble, wait_for_books
from net.gateway.options import GatewayError, GatewayOptions
from tuning.clock import steady_ns

TICK_S = 0.1
"""How often stop, heartbeat and waiter are looked at: a fraction of any sensible stale limit."""

ATTACH_PAUSE_S = 0.05

LAST_WORD_LIMIT_S = 2.0
"""How long a gateway that stops keeps its streams for the engine's last state. A daemon stops both
at once, and its feeds have a second for their closing handshakes."""
LAST_WORD_PAUSE_S = 0.02
STOP_GRACE_S = 0.5
"""What streams have to send their last status in, when the gateway stops."""
WAITER_TIMEOUT_S = 1.0
"""The waiter thread looks at its stop flag ten times a second."""

KEEPALIVE_TIME_MS = 20_000
"""A client that vanished without a word is pinged after this long, and
dropped when it has not answered for the next one: its place is needed within half a minute."""
KEEPALIVE_TIMEOUT_MS = 10_000
CLIENT_PING_INTERVAL_MS_MIN = 5_000
"""Clients may ping this often; gRPC's default of five minutes cuts off careful clients."""

HANDSHAKE_LIMIT_MS = 10_000
"""A connection that has not said HTTP/2 (and TLS) by then is closed: gRPC waits two minutes."""
IDLE_CONNECTION_MS_MAX = 600_000
"""A connection without a call is closed after this long: it takes the place of another."""
DESCRIPTORS_SPARE = 256
"""Descriptors that a process with a gateway needs beside those of its connections."""

SERVICES = (
    orderbook_service.SERVICE_NAME,
    market_data_service.SERVICE_NAME,
    maker_service.SERVICE_NAME,
)


def run_gateway(
    options: GatewayOptions,
    *,
    ready: Callable[[int], None],
    stop: threading.Event,
    counters: GatewayCounters | None = None,
    beat: Callable[[], None] | None = None,
) -> None:
    """Serve until `stop` is set; `ready` is given the bound port. GatewayError: cannot serve.

    `beat` is called some times a second as long as the event loop turns. Waits up to
    `attach_timeout_ms` for a living engine. The kernels of engine.sharing.handoff must be
    compiled already (`engine.compiling.jit.compile_kernels`).
    """
    _pin_thread(options.cpu)
    _allow_descriptors(options.connections_max + DESCRIPTORS_SPARE)
    credentials = _load_credentials(options)
    permission = Permission(options)  # before it waits: a token that cannot be read is told at once
    reader = _attach(options, stop)
    if reader is not None:
        counters = counters or open_counters(options, steady_ns())
        hub = Hub(reader, options, counters)
        finder = StateBoardFinder(options.handoff_name, reader.writer_pid)
        handlers = (
            orderbook_service.orderbook_handlers(hub),
            market_data_service.market_data_handlers(hub),
            maker_service.maker_handlers(hub, finder, permission),
        )
        beat = beat or (lambda: None)
        try:
            clients = Clients(options, permission, counters)
            asyncio.run(_serve(hub, options, handlers, clients, credentials, ready, stop, beat))
        finally:
            counters.close()


def _pin_thread(cpu: int | None) -> None:
    if cpu is None or not hasattr(os, "sched_setaffinity"):
        return
    try:
        # 0 is the calling thread; the threads it starts, gRPC's included, inherit the CPU.
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        raise GatewayError(f"gateway cpu {cpu}: cannot be used: {error.strerror}") from None


def _allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _attach(options: GatewayOptions, stop: threading.Event) -> HandoffReader | None:
    """Wait for the segment of a living engine; None when told to stop first.

    A segment left behind by a daemon that crashed counts as none at all.
    """
    deadline_s = time.monotonic() + options.attach_timeout_ms / 1000
    while not stop.is_set():
        try:
            reader = HandoffReader.attach(options.handoff_name)
            trouble = engine_trouble(reader, steady_ns(), options.heartbeat_stale_after_ms)
            if trouble is None:
                return reader
        except HandoffError as error:
            trouble = str(error)
        if time.monotonic() >= deadline_s:
            waited_s = options.attach_timeout_ms / 1000
            raise GatewayError(f"no book to serve after {waited_s:g} s: {trouble}")
        stop.wait(ATTACH_PAUSE_S)
    return None


# --- the server ----------------------------------------------------------------------------------


async def _serve(
    hub: Hub,
    options: GatewayOptions,
    handlers: tuple[grpc.GenericRpcHandler[Any, Any], ...],
    clients: Clients,
    credentials: grpc.ServerCredentials | None,
    ready: Callable[[int], None],
    stop: threading.Event,
    beat: Callable[[], None],
) -> None:
    server = grpc.aio.server(
        interceptors=(clients,),
        options=_channel_options(options),
        # Refused in other words than ours: so there is room for those who are refused in ours.
        maximum_concurrent_rpcs=2 * (options.subscribers_max + OTHER_CALLS_MAX),
    )
    server.add_generic_rpc_handlers(handlers)
    health_service = HealthService(SERVICES)
    health_service.set(not hub.trouble)
    server.add_generic_rpc_handlers((health_service.handlers(),))
    reflection.enable_server_reflection((*SERVICES, HEALTH, reflection.SERVICE_NAME), server)
    port = _bind(server, options, credentials)
    await server.start()

    stop_waiter = threading.Event()
    waiter = threading.Thread(
        target=wait_for_books,
        args=(
            HandoffReader.attach(options.handoff_name),
            hub,
            asyncio.get_running_loop(),
            stop_waiter,
            options.poll_us,
        ),
        name="gateway-waiter",
        daemon=True,
    )
    waiter.start()
    sweeping = asyncio.create_task(_keep_room(Connections(options, port), clients))
    try:
        ready(port)
        await _keep_watch(hub, health_service, waiter, stop, beat)
    finally:
        sweeping.cancel()
        await _retire(server, hub, health_service)
        stop_waiter.set()
        waiter.join(WAITER_TIMEOUT_S)


async def _keep_room(connections: Connections, clients: Clients) -> None:
    """Until cancelled: no connection stays that keeps others out."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.to_thread(connections.look, clients.connections())


async def _retire(server: grpc.aio.Server, hub: Hub, health_service: HealthService) -> None:
    """Accept nothing more, let the streams have the engine's last state, end them."""
    stopping = asyncio.create_task(server.stop(LAST_WORD_LIMIT_S + STOP_GRACE_S))
    health_service.retire()
    end_s = time.monotonic() + LAST_WORD_LIMIT_S
    while hub.counters.subscribers and not hub.trouble and time.monotonic() < end_s:
        await asyncio.sleep(LAST_WORD_PAUSE_S)
        hub.check_engine()
        hub.refresh()
    hub.close("the gateway is shutting down")
    await server.stop(STOP_GRACE_S)
    await stopping


async def _keep_watch(
    hub: Hub,
    health_service: HealthService,
    waiter: threading.Thread,
    stop: threading.Event,
    beat: Callable[[], None],
) -> None:
    """Until `stop`: notice the engine's death and return, a dead waiter, a missed wake-up."""
    was_in_trouble = bool(hub.trouble)
    while not stop.is_set():
        await asyncio.sleep(TICK_S)
        beat()
        hub.beat()
        hub.check_engine()
        hub.refresh()
        assert waiter.is_alive(), "the waiter thread ended by itself"
        if bool(hub.trouble) != was_in_trouble:
            was_in_trouble = bool(hub.trouble)
            health_service.set(not hub.trouble)


def _channel_options(options: GatewayOptions) -> list[tuple[str, int]]:
    return [
        # Without this a second gateway on the same port is not an error but takes half the calls.
        ("grpc.so_reuseport", 0),
        # Above it a client's call would wait in silence: let ours be refused with a text instead.
        ("grpc.max_concurrent_streams", options.subscribers_max + OTHER_CALLS_MAX),
        ("grpc.max_receive_message_length", options.request_bytes_max),
        ("grpc.max_allowed_incoming_connections", options.connections_max),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_LIMIT_MS),
        ("grpc.max_connection_idle_ms", IDLE_CONNECTION_MS_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_INTERVAL_MS_MIN),
    ]


def _bind(
    server: grpc.aio.Server, options: GatewayOptions, credentials: grpc.ServerCredentials | None
) -> int:
    _probe_address(options)
    try:
        if credentials is None:
            return server.add_insecure_port(options.listen)
        return server.add_secure_port(options.listen, credentials)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise GatewayError(f"cannot listen on {options.listen}: {reason}") from None


def _probe_address(options: GatewayOptions) -> None:
    """GatewayError with the system's reason when the address cannot be bound.

    gRPC does not tell the reason, and of a name with several addresses it takes what it can get:
    with another program on 127.0.0.1 it would serve `localhost` on ::1 alone.
    """
    host, port = options.host_and_port()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, _, _, address in found:
            _probe_bind(family, kind, address)
    except OSError as error:
        reason = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise GatewayError(f"cannot listen on {options.listen}: {reason}") from None


def _probe_bind(family: int, kind: int, address: tuple[object, ...]) -> None:
    try:
        probe = socket.socket(family, kind)
    except OSError:
        return  # a host without IPv6 may still have the name in its hosts file
    with probe:
        # As gRPC does: connections of a gateway that has just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)


# --- TLS -----------------------------------------------------------------------------------------


def _load_credentials(options: GatewayOptions) -> grpc.ServerCredentials | None:
    """The server's credentials, or None without TLS. GatewayError names the file that is wrong.

    gRPC would take any bytes and fail at each handshake; the ssl module checks them here.
    """
    if not options.tls_cert:
        return None
    cert = _read_pem("tls_cert", options.tls_cert)
    key = _read_pem("tls_key", options.tls_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, or OpenSSL would ask for one on the terminal.
        context.load_cert_chain(options.tls_cert, options.tls_key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise GatewayError(
            f"gateway tls_cert {options.tls_cert} with tls_key {options.tls_key}: {_reason(error)}"
        ) from None
    client_ca = None
    if options.tls_client_ca:
        client_ca = _read_pem("tls_client_ca", options.tls_client_ca)
        try:
            context.load_verify_locations(options.tls_client_ca)
        except ssl.SSLError as error:
            raise GatewayError(
                f"gateway tls_client_ca {options.tls_client_ca}: {_reason(error)}"
            ) from None
    return grpc.ssl_server_credentials(
        [(key, cert)], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason.replace("_", " ").lower() if reason else "not usable PEM"


def _read_pem(option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise GatewayError(f"gateway {option} {path}: {error.strerror}") from None
