"""What a venue's messages of trades become: exact trades in the ring of shared memory.

A message of trades is none of a book: the kernel answers OTHER, and it is read here, in Python and
with exact decimals, in some 10 to 20 us a trade. Books are never touched by it: one that is
malformed is counted, and that is all.
Runs on: the engine thread.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from engine.decoding.scale import decimal_unit
from engine.engine import Engine
from engine.layout import layout as L
from engine.sharing.directory import HandoffError
from engine.sharing.trades_ring import Trade, TradesWriter
from net.venues.interface import VenueProtocol
from net.venues.trades import VenueTrade, decode, times


class TradeCounters(Protocol):
    """A venue's meters of trades."""

    trades: int
    trades_malformed: int


class _Market(NamedTuple):
    instrument: int
    venue: int
    contract: tuple[int, int]


class TradeFeed:
    """One venue's trades of all its instruments."""

    def __init__(
        self,
        engine: Engine,
        connection: int,
        protocol: VenueProtocol,
        counters: TradeCounters,
        writer: TradesWriter,
    ) -> None:
        self._engine = engine
        self._protocol = protocol
        self._counters = counters
        self._writer = writer
        self._markets = {
            feed.symbol: _Market(number, venue, decimal_unit(feed.contract_value))
            for number, instrument in enumerate(engine.instruments)
            for venue, feed in enumerate(instrument.feeds)
            if feed.connection == connection
        }

    def takes(self, frame: bytes, receive_ns: int) -> bool:
        """Whether a text that is no book frame is one of trades, which are told then."""
        try:
            message = decode(frame)
        except (ValueError, RecursionError):
            return False  # others judge what it is
        try:
            found = self._protocol.trades(message)
            for trade in found or ():
                self._tell(trade, receive_ns)
        except (KeyError, TypeError, ValueError, HandoffError):
            self._counters.trades_malformed += 1
            return True
        return found is not None

    def _tell(self, trade: VenueTrade, receive_ns: int) -> None:
        market = self._markets.get(trade.symbol)
        if market is None:
            return
        self._writer.put(
            market.instrument,
            Trade(
                venue=market.venue,
                side=trade.side,
                price=trade.price,
                amount=times(trade.amount, market.contract),
                venue_ns=trade.venue_ns,
                receive_ns=receive_ns,
                book_sequence=self._book_sequence(market.instrument),
                venue_id=trade.venue_id,
            ),
        )
        self._counters.trades += 1

    def _book_sequence(self, instrument: int) -> int:
        at = self._engine.instrument_at(instrument) + L.INSTRUMENT_SEQUENCE
        return int(self._engine.arena[at])
