"""The gateway's life: attach to the handoff, bind, serve, notice the engine's death, shut down.

`run_gateway` blocks in the calling thread with an event loop of its own, so the same code is a
thread of the daemon or the main thread of `python -m net.gateway`. There is no other thread.
Invariants: `ready` is called once, when calls are answered; after `stop` is set nothing new is
accepted, and it returns within three seconds; whatever prevents serving is a GatewayError.
Runs on: a housekeeping CPU.
"""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
import threading
import time
from collections.abc import Callable

from engine.maker.state_board import StateBoardFinder
from engine.sharing.handoff import HandoffError, HandoffReader
from net.gateway import maker_service, market_data_service, orderbook_service
from net.gateway.authorization import Permission
from net.gateway.clients import Clients
from net.gateway.connections import LOOK_EVERY_S, Connections
from net.gateway.counters import GatewayCounters, open_counters
from net.gateway.data_path import layout as D
from net.gateway.data_path.data_path import DataPath
from net.gateway.event_loop import TurnSelector
from net.gateway.health_service import SERVICE_NAME as HEALTH
from net.gateway.health_service import HealthService
from net.gateway.hub import Hub, engine_trouble
from net.gateway.listener import Listener
from net.gateway.options import POLL_US, GatewayError, GatewayOptions
from net.gateway.reflection_service import reflection_methods
from net.gateway.tls import load_context
from net.gateway.trades import TradeStreams
from tuning.clock import steady_ns
from tuning.measures import timer_slack

TICK_S = 0.1
"""How often stop and heartbeat are looked at: a fraction of any sensible stale limit."""

ATTACH_PAUSE_S = 0.05

LAST_WORD_LIMIT_S = 2.0
"""How long a gateway that stops keeps its streams for the engine's last state. A daemon stops both
at once, and its feeds have a second for their closing handshakes."""
LAST_WORD_PAUSE_S = 0.02
STOP_GRACE_S = 0.5
"""What streams have to send their last status in, when the gateway stops."""
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
    timer_slack()  # or a sleep of 20 us would take 70
    _allow_descriptors(options.connections_max + DESCRIPTORS_SPARE)
    context = load_context(options)
    permission = Permission(options)  # before it waits: a token that cannot be read is told at once
    reader = _attach(options, stop)
    if reader is None:
        return
    counters = counters or open_counters(options, steady_ns())
    try:
        clients = Clients(options, permission, counters)
        path = _data_path(reader, options, clients.calls_max, counters)
        selector = TurnSelector(path)
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            gateway = _Gateway(options, reader, path, counters, clients, permission)
            runner.run(gateway.serve(context, selector, ready, stop, beat or (lambda: None)))
    finally:
        counters.close()


def _data_path(
    reader: HandoffReader, options: GatewayOptions, calls_max: int, counters: GatewayCounters
) -> DataPath:
    # Calls that have ended may wait for their clients to take the end: so there are twice as many.
    sizes = D.Sizes(len(reader.instruments), 2 * calls_max, options.connections_max)
    idle = (D.SPIN, D.BACKOFF, D.BLOCK)[list(POLL_US).index(options.idle)]
    return DataPath(reader, sizes, counters, idle=idle, poll_ns=1000 * POLL_US[options.idle])


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


class _Gateway:
    def __init__(
        self,
        options: GatewayOptions,
        reader: HandoffReader,
        path: DataPath,
        counters: GatewayCounters,
        clients: Clients,
        permission: Permission,
    ) -> None:
        self._options, self._reader, self._path = options, reader, path
        self._counters, self._clients, self._permission = counters, clients, permission

    async def serve(
        self,
        context: ssl.SSLContext | None,
        selector: TurnSelector,
        ready: Callable[[int], None],
        stop: threading.Event,
        beat: Callable[[], None],
    ) -> None:
        """Until `stop` is set."""
        options = self._options
        hub = Hub(self._reader, options, self._counters, self._path)
        trades = TradeStreams(hub, options.handoff_name, self._reader.writer_pid)
        finder = StateBoardFinder(options.handoff_name, self._reader.writer_pid)
        health = HealthService(SERVICES)
        health.set(not hub.trouble)
        methods = {
            **orderbook_service.orderbook_methods(hub),
            **market_data_service.market_data_methods(hub, trades),
            **maker_service.maker_methods(hub, finder, self._permission),
            **health.methods(),
            **reflection_methods((*SERVICES, HEALTH)),
        }
        listener = Listener(options, self._path, methods, self._clients, context)
        port = listener.open()
        selector.on_turn = listener.on_turn
        sweeping = asyncio.create_task(_keep_room(Connections(options), listener))
        try:
            ready(port)
            await _keep_watch(hub, health, sweeping, stop, beat)
        finally:
            sweeping.cancel()
            await _retire(listener, hub, health)


async def _keep_room(connections: Connections, listener: Listener) -> None:
    """Until cancelled: no connection stays that is dead, or keeps others out."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        listener.sweep()
        for link in connections.excess(listener.links.values(), listener.now_s()):
            link.lose()


async def _retire(listener: Listener, hub: Hub, health: HealthService) -> None:
    """Accept nothing more, let the streams have the engine's last state, end them."""
    listener.close_door()
    listener.retire(is_final=False)
    health.retire()
    end_s = time.monotonic() + LAST_WORD_LIMIT_S
    while hub.counters.subscribers and not hub.trouble and time.monotonic() < end_s:
        await asyncio.sleep(LAST_WORD_PAUSE_S)
        hub.check_engine()
    listener.retire(is_final=True)
    hub.close("the gateway is shutting down")
    end_s = time.monotonic() + STOP_GRACE_S
    while listener.links and time.monotonic() < end_s:
        await asyncio.sleep(LAST_WORD_PAUSE_S)
    listener.close()
    # What the calls' ends have posted still runs.
    await asyncio.sleep(0)


async def _keep_watch(
    hub: Hub,
    health: HealthService,
    sweeping: asyncio.Task[None],
    stop: threading.Event,
    beat: Callable[[], None],
) -> None:
    """Until `stop`: notice the engine's death and return."""
    was_in_trouble = bool(hub.trouble)
    while not stop.is_set():
        await asyncio.sleep(TICK_S)
        beat()
        hub.beat()
        hub.check_engine()
        assert not sweeping.done(), "the sweep ended by itself"
        if bool(hub.trouble) != was_in_trouble:
            was_in_trouble = bool(hub.trouble)
            health.set(not hub.trouble)
