"""A book as one line of text: for people (plain) or for programs (JSON), with exact decimals.

Runs on: any thread, pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from net.client.decimals import decimal_text
from proto.pollux.v1 import market_data_pb2 as pb

STATE_PREFIX = "VENUE_STATE_"


def state_name(state: int) -> str:
    """A state as people call it; a number that this program does not know stays a number."""
    value = pb.VenueState.DESCRIPTOR.values_by_number.get(state)
    return value.name.removeprefix(STATE_PREFIX) if value else str(state)


def price_text(book: pb.Book, ticks: int, *, grouped: bool = False) -> str:
    """A price, or a difference of prices, of this book."""
    return decimal_text(ticks * book.tick_mantissa, book.tick_decimals, grouped=grouped)


def amount_text(book: pb.Book, lots: int, *, grouped: bool = False) -> str:
    """An amount of this book."""
    return decimal_text(lots, book.lot_decimals, grouped=grouped)


def json_line(book: pb.Book) -> str:
    """The line that `pollux watch --json` prints."""
    return json.dumps(book_facts(book), separators=(",", ":"))


def book_facts(book: pb.Book) -> dict[str, object]:
    """A book as the object that is printed; `spread` is null when a side is empty."""
    return {
        "seq": book.sequence,
        "t": book.publish_time_ns,
        "symbol": book.symbol,
        "bids": _levels(book, book.bids),
        "asks": _levels(book, book.asks),
        "spread": (price_text(book, book.spread_ticks) if book.HasField("spread_ticks") else None),
        "crossed": book.crossed,
        "venues": {venue.venue: state_name(venue.state) for venue in book.venues},
    }


def _levels(book: pb.Book, levels: Iterable[pb.BookLevel]) -> list[list[str]]:
    return [
        [
            level.venue,
            price_text(book, level.price_ticks),
            amount_text(book, level.amount_lots),
        ]
        for level in levels
    ]


def plain_line(book: pb.Book) -> str:
    """One book for a person's eye: time, number, best levels, spread, depth, venues."""
    spread = price_text(book, book.spread_ticks) if book.HasField("spread_ticks") else "none"
    return "  ".join(
        [
            f"{time_text(book.publish_time_ns)} {book.symbol} #{book.sequence}",
            f"bid {_best(book, book.bids)}",
            f"ask {_best(book, book.asks)}",
            f"spread {spread}{' CROSSED' if book.crossed else ''}",
            f"levels {len(book.bids)}/{len(book.asks)}",
            " ".join(f"{venue.venue}={venue_text(venue)}" for venue in book.venues),
        ]
    )


def _best(book: pb.Book, levels: Iterable[pb.BookLevel]) -> str:
    for level in levels:
        amount = amount_text(book, level.amount_lots)
        return f"{price_text(book, level.price_ticks)} x {amount} {level.venue}"
    return "none"


def venue_text(venue: pb.VenueStatus) -> str:
    """A venue's state, with a mark when its depth is known only in part."""
    return state_name(venue.state) + ("(part)" if venue.incomplete else "")


def time_text(time_ns: int) -> str:
    """The time of day, UTC, to the millisecond."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    clock = datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
    return f"{clock}.{rest_ns // 1_000_000:03d}Z"


def duration_text(duration_ns: int) -> str:
    """A duration in the unit that suits it, three characters or so; never below zero."""
    duration_ns = max(duration_ns, 0)
    if duration_ns < 1_000_000:
        return f"{duration_ns / 1e6:.2f} ms"
    if duration_ns < 1_000_000_000:
        return f"{duration_ns // 1_000_000} ms"
    if duration_ns < 120_000_000_000:
        return f"{duration_ns / 1e9:.1f} s"
    return f"{duration_ns // 60_000_000_000} min"
