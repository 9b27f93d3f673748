"""Pollux's own service: pollux.v1.MarketDataService, exact, numbered, timed, for every instrument.

Runs on: the gateway's event loop.
"""

from __future__ import annotations

from collections.abc import Iterable

from net.gateway.book_messages import instrument_message, unknown_venue_status
from net.gateway.call import Call
from net.gateway.data_path import layout as D
from net.gateway.hub import Hub, Instrument
from net.gateway.methods import Method, Methods, service_methods
from net.gateway.status import RefusedError, Status
from net.gateway.trades import TradeStreams
from proto.pollux.v1 import market_data_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["MarketDataService"]
SERVICE_NAME = SERVICE.full_name

INTERVAL_MS_MAX = 3_600_000
"""One hour, as the .proto says: a longer pause is a mistaken unit."""

ECHO_CHARACTERS_MAX = 64
"""How much of a wrong symbol comes back in the text: a symbol has at most 64 bytes."""


def market_data_methods(hub: Hub, trades: TradeStreams) -> Methods:
    """The methods of the service over this hub and its engine's trades."""
    service = _MarketData(hub, trades)
    methods = {
        "StreamBook": Method(service.stream_book, pb.StreamBookRequest.FromString),
        "GetBook": Method(service.get_book, pb.GetBookRequest.FromString),
        "ListInstruments": Method(service.list_instruments, pb.ListInstrumentsRequest.FromString),
        "StreamVenueStatus": Method(
            service.stream_venue_status, pb.StreamVenueStatusRequest.FromString
        ),
        "StreamTrades": Method(service.stream_trades, pb.StreamTradesRequest.FromString),
    }
    return service_methods(SERVICE, methods)


class _MarketData:
    def __init__(self, hub: Hub, trades: TradeStreams) -> None:
        self._hub = hub
        self._trades = trades

    async def stream_book(self, request: pb.StreamBookRequest, call: Call) -> None:
        self._hub.require_engine()
        instruments = self._instruments(request.symbols)
        for instrument in instruments:
            _check_depth(request.depth, instrument)
        interval_ms = request.min_interval_ms
        if not 0 <= interval_ms <= INTERVAL_MS_MAX:
            raise _wrong(f"min_interval_ms {interval_ms}: must be 0 to {INTERVAL_MS_MAX}")
        wanted = [(each, each.book_kind(request.depth)) for each in instruments]
        what = _symbols_text(instruments)
        what += f", depth {request.depth}" if request.depth else ""
        what += f", every {interval_ms} ms" if interval_ms else ""
        await self._hub.stream(call, wanted, what, interval_s=interval_ms / 1000)

    async def stream_venue_status(self, request: pb.StreamVenueStatusRequest, call: Call) -> None:
        self._hub.require_engine()
        instruments = self._instruments(request.symbols)
        unknown = [(each, unknown_venue_status(each.info)) for each in instruments]
        wanted = [(each, D.STATUS) for each in instruments]
        what = f"{_symbols_text(instruments)}, venue states"
        await self._hub.stream(call, wanted, what, unknown=unknown)

    async def stream_trades(self, request: pb.StreamTradesRequest, call: Call) -> None:
        self._hub.require_engine()
        await self._trades.stream(self._instruments(request.symbols), request, call)

    async def get_book(self, request: pb.GetBookRequest, _call: Call) -> bytes:
        self._hub.require_engine()
        instrument = self._instruments([request.symbol] if request.symbol else [])[0]
        _check_depth(request.depth, instrument)
        message = instrument.message(instrument.book_kind(request.depth))
        if message is None:
            text = f"{instrument.info.symbol} has no book yet: the engine has published none"
            raise RefusedError(Status.UNAVAILABLE, text)
        return message

    async def list_instruments(self, _request: pb.ListInstrumentsRequest, _call: Call) -> bytes:
        self._hub.require_engine()
        known = [instrument_message(each.newest_info) for each in self._hub.instruments]
        return pb.ListInstrumentsResponse(instruments=known).SerializeToString()

    def _instruments(self, symbols: Iterable[str]) -> list[Instrument]:
        """The instruments of a request, each once, in its order; all for an empty one."""
        wanted = list(dict.fromkeys(symbols)) or list(self._hub.by_symbol)
        for symbol in wanted:
            if symbol not in self._hub.by_symbol:
                known = ", ".join(self._hub.by_symbol)
                text = f"unknown symbol {symbol[:ECHO_CHARACTERS_MAX]!r}; known: {known}"
                raise RefusedError(Status.NOT_FOUND, text)
        return [self._hub.by_symbol[symbol] for symbol in wanted]


def _symbols_text(instruments: Iterable[Instrument]) -> str:
    return " ".join(instrument.info.symbol for instrument in instruments)


def _check_depth(depth: int, instrument: Instrument) -> None:
    info = instrument.info
    if not 0 <= depth <= info.depth:
        raise _wrong(f"depth {depth}: must be 0 to {info.depth}, the depth of {info.symbol}")


def _wrong(text: str) -> RefusedError:
    return RefusedError(Status.INVALID_ARGUMENT, text)
