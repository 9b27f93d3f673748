"""From the words of a handoff slot to the bytes of a message: every conversion is in this file.

A book is read into a `Snapshot` once, and written once per *form* that somebody wants: the plain
Summary, the v1 book at one depth, the v1 venue states. All subscribers of a form are given the same
bytes object. A form is encoded on demand, so one that nobody wants costs nothing.

A message has a *wire* (what is sent) and a *content* (what makes it differ from the one before:
everything but times and numbers).
Invariants: prices, amounts and spreads stay integers until the one division that makes the double,
so each is the double nearest to the exact decimal.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from engine.compiling.atomics import Words
from engine.layout import layout as L
from engine.sharing.handoff import InstrumentInfo
from net.gateway.counters import GatewayCounters
from proto import orderbook_pb2
from proto.pollux.v1 import market_data_pb2 as pb

assert set(pb.VenueState.keys()) == {
    "VENUE_STATE_UNSPECIFIED",
    *(f"VENUE_STATE_{name}" for name in L.STATE_NAMES),
}, "the public states mirror the engine's"
STATES = tuple(pb.VenueState.Value(f"VENUE_STATE_{name}") for name in L.STATE_NAMES)
"""The public state for each of the engine's."""


class VenueReport(NamedTuple):
    """A venue's part of a slot header, in the layout's order."""

    state: int
    venue_ns: int
    receive_ns: int
    update_id: int
    flags: int


class Level(NamedTuple):
    """A merged level, in the layout's order."""

    price_ticks: int
    amount_lots: int
    venue: int


assert VenueReport._fields.index("flags") == L.VENUE_FLAGS == L.VENUE_WORDS - 1
assert Level._fields.index("venue") == L.LEVEL_VENUE == L.LEVEL_WORDS - 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One book as it lay in its slot."""

    info: InstrumentInfo
    """With the scales of this book."""
    sequence: int
    publish_ns: int
    receive_ns: int
    venue_ns: int
    trigger_venue: int
    is_crossed: bool
    venues: tuple[VenueReport, ...]
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @property
    def spread_ticks(self) -> int | None:
        """Best ask minus best bid; None when a side is empty."""
        if not self.bids or not self.asks:
            return None
        return self.asks[0].price_ticks - self.bids[0].price_ticks


def read_snapshot(slot: Words, info: InstrumentInfo) -> Snapshot:
    """The copied slot of an instrument as plain numbers."""
    words = slot.tolist()
    venues_end = L.SLOT_VENUES_AT + len(info.venues) * L.VENUE_WORDS
    return Snapshot(
        info=info.counted_as(slot),
        sequence=words[L.SLOT_SEQUENCE],
        publish_ns=words[L.SLOT_PUBLISH_NS],
        receive_ns=words[L.SLOT_RECEIVE_NS],
        venue_ns=words[L.SLOT_VENUE_NS],
        trigger_venue=words[L.SLOT_TRIGGER_VENUE],
        is_crossed=bool(words[L.SLOT_FLAGS] & L.FLAG_CROSSED),
        venues=tuple(
            VenueReport(*words[at : at + L.VENUE_WORDS])
            for at in range(L.SLOT_VENUES_AT, venues_end, L.VENUE_WORDS)
        ),
        bids=_read_levels(words, L.SLOT_BIDS_AT, words[L.SLOT_BIDS]),
        asks=_read_levels(words, L.SLOT_ASKS_AT, words[L.SLOT_ASKS]),
    )


def _read_levels(words: list[int], at: int, count: int) -> tuple[Level, ...]:
    assert 0 <= count <= L.DEPTH_MAX, f"a slot with {count} levels"
    part = words[at : at + count * L.LEVEL_WORDS]
    return tuple(map(Level, part[0::3], part[1::3], part[2::3]))


class Message(NamedTuple):
    """One encoded book; `sequence` 0 is the one before the first."""

    sequence: int
    content: bytes
    wire: bytes


Encode = Callable[[Snapshot], tuple[bytes, bytes]]
"""From a book to its content and its wire."""


class Form:
    """One way of writing an instrument's books; keeps the newest message."""

    def __init__(self, encode: Encode, counters: GatewayCounters) -> None:
        self._encode = encode
        self._counters = counters
        self._latest = Message(0, b"", b"")

    def message(self, book: Snapshot) -> Message:
        """The book in this form: encoded by the first caller, handed out to all others."""
        if self._latest.sequence != book.sequence:
            content, wire = self._encode(book)
            if content == self._latest.content:
                # One object for equal contents: the comparison of the subscribers is then by
                # identity, and the memory is one copy.
                content = self._latest.content
            self._latest = Message(book.sequence, content, wire)
            self._counters.encoded += 1
        return self._latest


class Scales:
    """An instrument's integers as doubles, each rounded once."""

    def __init__(self, info: InstrumentInfo) -> None:
        self._tick_mantissa = info.tick_mantissa
        self._tick_divisor: int = 10**info.tick_decimals
        self._lot_divisor: int = 10**info.lot_decimals

    def price(self, ticks: int) -> float:
        """The double nearest to a price, or to a difference of prices."""
        # Python divides integers of any size with one correct rounding.
        return ticks * self._tick_mantissa / self._tick_divisor

    def amount(self, lots: int) -> float:
        """The double nearest to an amount."""
        return lots / self._lot_divisor


def summary_form(info: InstrumentInfo, counters: GatewayCounters) -> Form:
    """The message of orderbook.OrderbookAggregator/BookSummary."""
    names = info.venues

    def encode(book: Snapshot) -> tuple[bytes, bytes]:
        price, amount = Scales(book.info).price, Scales(book.info).amount
        summary = orderbook_pb2.Summary(spread=price(book.spread_ticks or 0))
        for add, levels in ((summary.bids.add, book.bids), (summary.asks.add, book.asks)):
            for ticks, lots, venue in levels:
                add(exchange=names[venue], price=price(ticks), amount=amount(lots))
        wire = summary.SerializeToString()
        return wire, wire

    return Form(encode, counters)


def book_form(info: InstrumentInfo, depth: int, counters: GatewayCounters) -> Form:
    """The message pollux.v1.Book with at most `depth` levels a side."""
    names = info.venues

    def encode(book: Snapshot) -> tuple[bytes, bytes]:
        price, amount = Scales(book.info).price, Scales(book.info).amount
        spread_ticks = book.spread_ticks
        content_part = pb.Book(
            symbol=info.symbol,
            crossed=book.is_crossed,
            spread_ticks=spread_ticks,
            spread=None if spread_ticks is None else price(spread_ticks),
            tick_mantissa=book.info.tick_mantissa,
            tick_decimals=book.info.tick_decimals,
            lot_decimals=book.info.lot_decimals,
        )
        for add, levels in ((content_part.bids.add, book.bids), (content_part.asks.add, book.asks)):
            for ticks, lots, venue in levels[:depth]:
                add(
                    venue=names[venue],
                    price_ticks=ticks,
                    amount_lots=lots,
                    price=price(ticks),
                    amount=amount(lots),
                )
        times_part = pb.Book(
            sequence=book.sequence,
            publish_time_ns=book.publish_ns,
            receive_time_ns=book.receive_ns,
            venue_time_ns=book.venue_ns,
            trigger_venue=names[book.trigger_venue] if _is_venue(book, info) else "",
            venues=_venue_statuses(info, book),
        )
        content = content_part.SerializeToString()
        # Two encoded messages of one type, one after the other, are the encoding of their merger:
        # https://protobuf.dev/programming-guides/encoding/#last-one-wins
        return _states_key(book) + content, times_part.SerializeToString() + content

    return Form(encode, counters)


def venue_status_form(info: InstrumentInfo, counters: GatewayCounters) -> Form:
    """The message pollux.v1.VenueStatusUpdate."""

    def encode(book: Snapshot) -> tuple[bytes, bytes]:
        update = pb.VenueStatusUpdate(
            symbol=info.symbol,
            sequence=book.sequence,
            publish_time_ns=book.publish_ns,
            venues=_venue_statuses(info, book),
        )
        return _states_key(book), update.SerializeToString()

    return Form(encode, counters)


def unknown_venue_status(info: InstrumentInfo) -> bytes:
    """The VenueStatusUpdate of an instrument that nothing was published for."""
    update = pb.VenueStatusUpdate(symbol=info.symbol)
    for name in info.venues:
        update.venues.add(venue=name)
    return update.SerializeToString()


def instrument_message(info: InstrumentInfo) -> pb.Instrument:
    """An instrument as ListInstruments describes it, in the scales of its newest book."""
    return pb.Instrument(
        symbol=info.symbol,
        venues=info.venues,
        depth=info.depth,
        tick_mantissa=info.tick_mantissa,
        tick_decimals=info.tick_decimals,
        lot_decimals=info.lot_decimals,
        checked_by=info.checked_by,
    )


def _is_venue(book: Snapshot, info: InstrumentInfo) -> bool:
    return 0 <= book.trigger_venue < len(info.venues)


def _states_key(book: Snapshot) -> bytes:
    """What a subscriber counts as a change of the venues: states and flags, not times."""
    return bytes(word & 0xFF for venue in book.venues for word in (venue.state, venue.flags))


def _venue_statuses(info: InstrumentInfo, book: Snapshot) -> list[pb.VenueStatus]:
    return [
        pb.VenueStatus(
            venue=name,
            state=STATES[venue.state],
            incomplete=bool(venue.flags & L.FLAG_INCOMPLETE),
            venue_time_ns=venue.venue_ns,
            receive_time_ns=venue.receive_ns,
            update_id=venue.update_id,
        )
        for name, venue in zip(info.venues, book.venues, strict=True)
    ]
