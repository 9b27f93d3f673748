"""Starts and stops the simulated venues, and runs them as a program.

Runs on: `SimulatedVenues` lives in the caller's event loop; `run_simulator` makes its own in the
calling thread and blocks until SIGINT or SIGTERM.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from net.process.signals import closing
from net.simulator.clock import SimulatorClock
from net.simulator.connection import Interceptor
from net.simulator.faults import FaultInjector
from net.simulator.flow import CommonPrice
from net.simulator.options import (
    SimulatorError,
    SimulatorFailedError,
    SimulatorOptions,
    parse_symbols,
)
from net.simulator.registry import NAMES, VENUES, simulated_venue
from net.simulator.server import VenueServer
from net.simulator.source import Feed
from net.simulator.synthetic import SyntheticFeed
from net.simulator.tape import TapeClock, TapeFeed, origin_ns
from net.simulator.tape_file import read_tape

CONFIGURED_DEPTH = 10


class SimulatedVenues:
    """Every venue of the registry, on ports of their own.

    ::

        async with SimulatedVenues(SimulatorOptions(seed=7)) as venues:
            ...connect to venues.url(name)...

    Without an interceptor of the caller's, faults are injected as the options and the control
    endpoints order them.
    """

    def __init__(self, options: SimulatorOptions, interceptor: Interceptor | None = None) -> None:
        options.check()
        self._options = options
        self.names = options.venues or tuple(VENUES)
        """In the order of the ports."""
        for name in self.names:
            if name not in NAMES:
                raise SimulatorError(f"no venue {name!r} is simulated; known: {', '.join(NAMES)}")
        if interceptor is None:
            interceptor = FaultInjector(options.seed, has_tls=options.tls_cert is not None)
            for text in options.faults:
                interceptor.read(text)
        elif options.faults:
            raise SimulatorError("faults need the simulator's own interceptor")
        self._interceptor = interceptor
        self._servers: dict[str, VenueServer] = {}

    async def start(self) -> None:
        """Read the tape if there is one, listen, and start the market."""
        assert not self._servers, "started twice"
        clock = SimulatorClock(self._options.speed)
        feeds = _feeds(self._options, self.names, clock)
        for offset, name in enumerate(self.names):
            venue = simulated_venue(name)
            server = venue.server(venue, feeds[name], clock, self._options, self._interceptor)
            port = self._options.port_base + offset if self._options.port_base else 0
            try:
                await server.start(port, self._ssl_context(name))
            except SimulatorError:
                await self.stop()
                raise
            self._servers[name] = server
        if self._options.faults:
            self._interceptor.inflict(self._options.faults)

    def _ssl_context(self, venue: str) -> ssl.SSLContext | None:
        context = _ssl_context(self._options)
        if context is not None:
            # Called for every client hello, with or without a server name in it.
            context.sni_callback = lambda *_: (
                None if self._interceptor.accepts(venue) else ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            )
        return context

    async def stop(self) -> None:
        """Drop every connection and free the ports."""
        servers = list(self._servers.values())
        self._servers = {}
        await asyncio.gather(*(server.stop() for server in servers))

    async def __aenter__(self) -> SimulatedVenues:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def failed(self) -> None:
        """Returns only if a venue's pump dies, by raising its error."""
        pumps = [server.pump for server in self._servers.values() if server.pump is not None]
        while pumps:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
                pumps.remove(pump)  # a tape that ended and closed its clients
        await asyncio.Event().wait()

    def url(self, venue: str, scheme: str = "http") -> str:
        """scheme://host:port of a venue: REST, the websocket and orders are at the same port."""
        secure = "s" if self._options.tls_cert is not None else ""
        host = self._options.host
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}{secure}://{host}:{self._servers[venue].port}"

    def server(self, venue: str) -> VenueServer:
        """One venue's server, for tests."""
        return self._servers[venue]

    def configuration_toml(self) -> str:
        """The [[instrument]] and [venue.*] part of a daemon's configuration that points here."""
        listed: dict[str, list[tuple[str, str]]] = {}
        for name in self.names:
            for instrument in self._servers[name].feed.instruments.values():
                listed.setdefault(instrument.symbol, []).append((name, instrument.venue_symbol))
        out = []
        for symbol, venues in listed.items():
            out += ["[[instrument]]", f'symbol = "{symbol}"', f"depth = {CONFIGURED_DEPTH}"]
            for name, venue_symbol in venues:
                out += [
                    "  [[instrument.venue]]",
                    f'  name = "{name}"',
                    f'  symbol = "{venue_symbol}"',
                ]
            out.append("")
        authority = self._options.tls_ca or self._options.tls_cert
        for name in self.names:
            if not self._servers[name].feed.instruments:
                continue
            venue = simulated_venue(name)
            out += [
                f"[venue.{name}]",
                f'ws_url = "{self.url(name, "ws")}"',
                f'rest_url = "{self.url(name)}"',
            ]
            if venue.order_scheme:
                trade_url = f"{self.url(name, venue.order_scheme)}{venue.order_path}"
                out.append(f'trade_url = "{trade_url}"')
            if self._options.speed != 1:
                out.append("late_after_ms = 0")  # its time does not go by as the daemon's does
            if authority is not None:
                out.append(f"ca_file = '{authority.absolute()}'")
            out.append("")
        return "\n".join(out)


def _feeds(
    options: SimulatorOptions, venues: tuple[str, ...], clock: SimulatorClock
) -> dict[str, Feed]:
    if options.tape is not None:
        unplayed = [name for name in venues if simulated_venue(name).read_frame is None]
        if unplayed:
            raise SimulatorError(f"tapes of {', '.join(unplayed)} are not played")
        tapes = read_tape(options.tape)
        tape_clock = TapeClock(options.speed, origin_ns(tapes.values()), options.tape_start_delay_s)
        return {name: TapeFeed(simulated_venue(name), tapes[name], tape_clock) for name in venues}
    names = [f"{base}-{quote}" for base, quote in parse_symbols(options.symbols)]
    prices = {name: CommonPrice(options.seed, name) for name in names}
    return {
        name: SyntheticFeed(
            simulated_venue(name),
            options.symbols,
            prices,
            seed=options.seed,
            start_ns=clock.start_ns,
            far_levels_share=options.far_levels_share,
        )
        for name in venues
    }


def _ssl_context(options: SimulatorOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SimulatorError(f"{options.tls_cert}: cannot be used for TLS: {error}") from None
    return context


def run_simulator(options: SimulatorOptions, announce: Callable[[str], None]) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status (0 clean, 1 failed).

    Bad input raises `SimulatorError` before anything is announced. `announce` gets the addresses
    and the configuration that points here, once.
    """
    return asyncio.run(_run(options, announce))


async def _run(options: SimulatorOptions, announce: Callable[[str], None]) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)

    with closing(stop):
        return await _serve(options, announce, stopping)


async def _serve(
    options: SimulatorOptions, announce: Callable[[str], None], stopping: asyncio.Event
) -> int:
    async with SimulatedVenues(options) as venues:
        addresses = [f"# {name} {venues.url(name)}\n" for name in venues.names]
        announce("".join(addresses) + venues.configuration_toml())
        failed = asyncio.create_task(venues.failed())
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if failed.done():
            raise SimulatorFailedError(f"the simulated venues failed: {failed.exception()!r}")
        failed.cancel()
    return 0


def announcer(write_config: Path | None) -> Callable[[str], None]:
    """Prints the addresses and the configuration that points here; keeps a copy in a file."""

    def announce(text: str) -> None:
        print(text, flush=True)
        if write_config is None:
            return
        fresh = write_config.with_name(f"{write_config.name}.new")
        try:
            fresh.write_text(f"{text}\n", encoding="utf-8")
            fresh.rename(write_config)
        except OSError as error:
            raise SimulatorError(f"{write_config}: {error.strerror}") from None

    return announce
