"""The trades' segment, word by word.

    header | RING 0 | RING 1 | ...          one ring an instrument, in the configuration's order
    ring   | sequence, padded to a cache line | TRADE 0 .. TRADES_MAX-1 |

A trade's numbers carry their own scale: `units * 10**-decimals`. So a venue may print a finer price
than its book's unit, and nothing has to be learned before the trade can be told.
Runs on: any thread (constants only).
"""

from __future__ import annotations

TRADES_KIND = "trades"
"""Of the segment, beside the handoff."""
TRADES_MAGIC = 0x54524144455F3031
TRADES_VERSION = 1

(MAGIC_AT, VERSION_AT, WRITER_PID, RINGS, WRITTEN) = range(5)
"""WRITTEN: trades in all rings together, which tells a reader of many whether to look at them."""
HEADER_WORDS = 8

RING_SEQUENCE = 0
"""Trades written so far: the number of the latest one; the first is 1."""
RING_TRADES_AT = 8
TRADES_MAX = 1024
"""Trades that a ring holds: a burst of a whole second at a busy venue. Readers look every few
milliseconds, so one that loses some has stood still for much longer."""

(
    TRADE_STAMP,
    TRADE_SEQUENCE,
    TRADE_VENUE,
    TRADE_SIDE,
    TRADE_PRICE_UNITS,
    TRADE_PRICE_DECIMALS,
    TRADE_AMOUNT_UNITS,
    TRADE_AMOUNT_DECIMALS,
    TRADE_VENUE_NS,
    TRADE_RECEIVE_NS,
    TRADE_BOOK_SEQUENCE,
    TRADE_ID_AT,
) = range(12)
"""TRADE_STAMP: the seqlock's version. TRADE_VENUE: the venue's place in the instrument.
TRADE_BOOK_SEQUENCE: of the instrument's book that was the latest when the trade came; 0: none."""
ID_BYTES_MAX = 40
"""A UUID as text has 36."""
TRADE_WORDS = TRADE_ID_AT + ID_BYTES_MAX // 8
RING_WORDS = RING_TRADES_AT + TRADES_MAX * TRADE_WORDS

(BUY, SELL) = (1, 2)
"""Of TRADE_SIDE: what the aggressor did, whose order took from the book."""
