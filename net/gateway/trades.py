"""Streams of trades: from the ring in shared memory to each subscriber, which counts along.

Trades are few beside books, so they are looked for some hundred times a second and written in
Python. One look serves all subscribers: while nothing is traded, a thousand cost no more than one,
and the books' turn, which is on the same event loop, waits for none of them. A subscriber waits for
its client's window before it takes the next one: what the ring overwrites meanwhile is lost to it,
counted, and told. Nothing is queued.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from engine.sharing.directory import HandoffError
from engine.sharing.trades_ring import Trade, TradesCursor, TradesReader
from net.gateway.call import Call
from net.gateway.hub import Hub, Instrument
from net.gateway.status import RefusedError, Status
from proto.pollux.v1 import market_data_pb2 as pb

TRADES_LOOK_S = 0.005
"""Between two looks at the ring, while there are subscribers. 200 a second cost 1 % of a CPU."""
LAST_MAX = 1000
"""Past trades that a subscriber may ask for: fewer than the ring keeps."""


def trade_message(info_symbol: str, venue: str, trade: Trade, lost: int) -> bytes:
    """A trade as pollux.v1.Trade."""
    (price, price_decimals), (amount, amount_decimals) = trade.price, trade.amount
    return pb.Trade(
        symbol=info_symbol,
        venue=venue,
        aggressor_side=trade.side,  # type: ignore[arg-type]  # BUY and SELL are the enum's
        # Both are integers: Python rounds their quotient once.
        price=price / 10**price_decimals,
        amount=amount / 10**amount_decimals,
        price_units=price,
        price_decimals=price_decimals,
        amount_units=amount,
        amount_decimals=amount_decimals,
        venue_time_ns=trade.venue_ns,
        receive_time_ns=trade.receive_ns,
        venue_trade_id=trade.venue_id,
        book_sequence=trade.book_sequence,
        sequence=trade.sequence,
        lost=lost,
    ).SerializeToString()


class _Followed:
    """One instrument's trades, as a subscriber wants them."""

    def __init__(
        self, reader: TradesReader, instrument: Instrument, venues: Sequence[str], last: int
    ) -> None:
        self._symbol, self._names = instrument.info.symbol, instrument.info.venues
        self._wanted = frozenset(venues or self._names)
        self._cursor = TradesCursor(reader, instrument.index, last)
        self._told = 0
        """Lost trades that the subscriber knows of."""

    def next(self) -> tuple[bytes, int] | None:
        """The next message, and how many it says are lost; None where there is none yet."""
        while (trade := self._cursor.read()) is not None:
            venue = self._names[trade.venue]
            if venue in self._wanted:
                lost, self._told = self._cursor.lost - self._told, self._cursor.lost
                return trade_message(self._symbol, venue, trade, lost), lost
        return None


class _Look:
    """The one look at an engine's trades, for all subscribers that wait for more."""

    def __init__(self, hub: Hub, reader: TradesReader) -> None:
        self.reader = reader
        self._hub = hub
        self._waiting: set[asyncio.Future[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def more_than(self, seen: int) -> int:
        """Trades written so far, once there are more than `seen`. RefusedError: no engine."""
        while True:
            self._hub.require_engine()
            if (written := self.reader.written) != seen:
                return written
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(seen))
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)

    async def _look(self, seen: int) -> None:
        """Until nobody waits: wake those who do when trades have come, or the engine has gone."""
        try:
            await asyncio.sleep(TRADES_LOOK_S)
            while self._waiting:
                self._hub.check_engine()
                if self.reader.written != seen or self._hub.trouble is not None:
                    seen = self.reader.written
                    self._wake()
                await asyncio.sleep(TRADES_LOOK_S)
        finally:
            self._wake()  # whoever comes to wait in between looks for itself

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)


class TradeStreams:
    """The trades of the engine that a gateway serves."""

    def __init__(self, hub: Hub, name: str, writer_pid: int) -> None:
        self._hub, self._name, self._writer_pid = hub, name, writer_pid
        self._look: _Look | None = None

    async def stream(
        self, instruments: Sequence[Instrument], request: pb.StreamTradesRequest, call: Call
    ) -> None:
        """Until the client leaves. RefusedError: no engine, no trades, a wrong request."""
        if not 0 <= request.last <= LAST_MAX:
            text = f"last {request.last}: must be 0 to {LAST_MAX}"
            raise RefusedError(Status.INVALID_ARGUMENT, text)
        wanted = _wanted_of(instruments, list(request.venues))
        hub, look = self._hub, self._attached()
        what = " ".join((*(each.info.symbol for each in wanted), *request.venues)) + ", trades"
        with hub.subscribed(call, what) as row_at:
            followed = [
                _Followed(look.reader, each, venues, request.last)
                for each, venues in wanted.items()
            ]
            call.open_stream()
            seen = -1
            while True:
                seen = await look.more_than(seen)
                for each in followed:
                    while (found := each.next()) is not None:
                        message, lost = found
                        hub.counters.trades_lost += lost
                        hub.counters.sends(row_at)
                        await call.write(message)

    def _attached(self) -> _Look:
        if self._look is None:
            try:
                reader = TradesReader.attach(self._name)
            except HandoffError:
                reader = None
            if reader is None or reader.writer_pid != self._writer_pid:
                text = "this daemon takes no trades ([engine] trades = true makes it)"
                raise RefusedError(Status.UNIMPLEMENTED, text)
            self._look = _Look(self._hub, reader)
        return self._look


def _wanted_of(
    instruments: Sequence[Instrument], venues: list[str]
) -> Mapping[Instrument, Sequence[str]]:
    """The instruments that have any of these venues, and which; RefusedError: one has none."""
    known = {name for each in instruments for name in each.info.venues}
    for name in venues:
        if name not in known:
            text = f"no venue {name[:64]!r} here; known: {', '.join(sorted(known))}"
            raise RefusedError(Status.NOT_FOUND, text)
    return {
        each: [name for name in venues if name in each.info.venues]
        for each in instruments
        if not venues or set(venues) & set(each.info.venues)
    }
