"""Pollux's own service: pollux.v1.MarketDataService, exact, numbered, timed, for every instrument.

Runs on: the gateway's event loop. Called by: gRPC, through net.gateway.server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio

from net.gateway.books import instrument, unknown_venue_status
from net.gateway.calls import unary_stream, unary_unary
from net.gateway.hub import Board, Context, Cursor, Hub, RefusedError
from proto.pollux.v1 import market_data_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["MarketDataService"]
SERVICE_NAME = SERVICE.full_name

INTERVAL_MS_MAX = 3_600_000
"""One hour, as the .proto says: a longer pause is a mistaken unit."""

ECHO_CHARACTERS_MAX = 64
"""How much of a wrong symbol comes back in the text: a symbol has at most 64 bytes."""


def market_data_handlers(hub: Hub) -> grpc.GenericRpcHandler[Any, Any]:
    """The methods of the service over this hub."""
    service = _MarketData(hub)
    handlers = {
        "StreamBook": unary_stream(service.stream_book, pb.StreamBookRequest.FromString),
        "GetBook": unary_unary(service.get_book, pb.GetBookRequest.FromString),
        "ListInstruments": unary_unary(
            service.list_instruments, pb.ListInstrumentsRequest.FromString
        ),
        "StreamVenueStatus": unary_stream(
            service.stream_venue_status, pb.StreamVenueStatusRequest.FromString
        ),
    }
    assert set(handlers) == set(SERVICE.methods_by_name), "every method of the .proto, no other"
    return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)


class _MarketData:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def stream_book(self, request: pb.StreamBookRequest, context: Context) -> None:
        self._hub.require_engine()
        boards = self._boards(request.symbols)
        for board in boards:
            _check_depth(request.depth, board)
        interval_ms = request.min_interval_ms
        if not 0 <= interval_ms <= INTERVAL_MS_MAX:
            raise _wrong(f"min_interval_ms {interval_ms}: must be 0 to {INTERVAL_MS_MAX}")
        cursors = [Cursor(board, board.at_depth(request.depth)) for board in boards]
        what = _symbols_text(boards)
        what += f", depth {request.depth}" if request.depth else ""
        what += f", every {interval_ms} ms" if interval_ms else ""
        await self._hub.stream(context, cursors, what, interval_ms / 1000)

    async def stream_venue_status(
        self, request: pb.StreamVenueStatusRequest, context: Context
    ) -> None:
        self._hub.require_engine()
        boards = self._boards(request.symbols)
        cursors = [
            Cursor(board, board.status, unknown_venue_status(board.info)) for board in boards
        ]
        await self._hub.stream(context, cursors, f"{_symbols_text(boards)}, venue states")

    async def get_book(self, request: pb.GetBookRequest, _context: Context) -> bytes:
        self._hub.require_engine()
        board = self._boards([request.symbol] if request.symbol else [])[0]
        _check_depth(request.depth, board)
        self._hub.refresh()
        if board.book is None:
            text = f"{board.info.symbol} has no book yet: the engine has published none"
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, text)
        return board.at_depth(request.depth).message(board.book).wire

    async def list_instruments(
        self, _request: pb.ListInstrumentsRequest, _context: Context
    ) -> bytes:
        self._hub.require_engine()
        known = [instrument(board.info) for board in self._hub.boards]
        return pb.ListInstrumentsResponse(instruments=known).SerializeToString()

    def _boards(self, symbols: Iterable[str]) -> list[Board]:
        """The instruments of a request, each once, in its order; all for an empty one."""
        wanted = list(dict.fromkeys(symbols)) or list(self._hub.by_symbol)
        for symbol in wanted:
            if symbol not in self._hub.by_symbol:
                known = ", ".join(self._hub.by_symbol)
                text = f"unknown symbol {symbol[:ECHO_CHARACTERS_MAX]!r}; known: {known}"
                raise RefusedError(grpc.StatusCode.NOT_FOUND, text)
        return [self._hub.by_symbol[symbol] for symbol in wanted]


def _symbols_text(boards: Iterable[Board]) -> str:
    return " ".join(board.info.symbol for board in boards)


def _check_depth(depth: int, board: Board) -> None:
    if not 0 <= depth <= board.info.depth:
        raise _wrong(
            f"depth {depth}: must be 0 to {board.info.depth}, the depth of {board.info.symbol}"
        )


def _wrong(text: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, text)
