"""Where every word of the market maker's board lives: what others see and steer of it.

A shared-memory segment beside the handoff's. All of it is written by the engine thread, but for
the two request words, which anybody may add to who may write the file.

    board   | HEADER | requests | answers | description | SLOT 0 | SLOT 1 |
    slot    | SLOT header | account | risk | VENUE 0..V-1 | ORDER 0..N-1 |
    account, risk: the words of order_layout, as they are

The two slots take turns, so that the latest is never the one being written: a writer that dies in
the middle leaves its last word readable.
Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.layout import layout as L
from engine.layout.layout import CACHE_LINE_WORDS, VENUES_MAX
from engine.maker import order_layout as O

BOARD_MAGIC = 0x4D2B58554C4C4F50
"""The letters POLLUX+M, little-endian."""
BOARD_VERSION = 6

(MAGIC_AT, VERSION_AT, WRITER_PID, START_NS, IS_CLOSED) = range(5)
HEARTBEAT_NS = CACHE_LINE_WORDS
"""Steady time (tuning.clock), as START_NS."""
SEQUENCE = HEARTBEAT_NS + 1
"""States published so far; the latest has this number."""
KILLS_ASKED = 2 * CACHE_LINE_WORDS
RELEASES_ASKED = KILLS_ASKED + 1
ACCEPTS_ASKED = RELEASES_ASKED + 1
"""Counted up by whoever asks, in a line of their own: the engine polls it."""
KILLS_DONE = 3 * CACHE_LINE_WORDS
RELEASES_DONE = KILLS_DONE + 1
ACCEPTS_DONE = RELEASES_DONE + 1
"""How many of them the engine has taken."""
CONTROL_WORDS = 4 * CACHE_LINE_WORDS
"""What those who ask map for writing: the state lies behind, out of their reach."""

(
    INFO_VENUES,
    INFO_IS_LIVE,
    INFO_PRICE_MANTISSA,
    INFO_PRICE_DECIMALS,
    INFO_LOT_DECIMALS,
    INFO_VALUE_SCALE,
) = range(CONTROL_WORDS, CONTROL_WORDS + 6)
INFO_SYMBOL_AT = CONTROL_WORDS + CACHE_LINE_WORDS
INFO_VENUE_NAMES_AT = INFO_SYMBOL_AT + L.SYMBOL_WORDS
SLOTS_AT = INFO_VENUE_NAMES_AT + VENUES_MAX * L.VENUE_NAME_WORDS
SLOTS = 2

(
    SLOT_VERSION,
    SLOT_PUBLISH_NS,
    SLOT_RESULT_NS,
    SLOT_RESULT_VALUE,
    SLOT_START_VALUE,
    SLOT_FAIR_STATUS,
    SLOT_FAIR_PRICE,
    SLOT_ORDERS,
) = range(8)
"""RESULT_NS: when the result was valued, 0 for never. START_VALUE: the result at the first fair
price since the start. FAIR_PRICE: float64 bits, in units."""
SLOT_ACCOUNT_AT = CACHE_LINE_WORDS
SLOT_RISK_AT = SLOT_ACCOUNT_AT + O.ACCOUNT_WORDS
SLOT_RISK_WORDS = O.RISK_FILLS_WINDOW_AT
"""The gate's settings, its state and its refusals: all but the windows of its rates."""
SLOT_VENUES_AT = SLOT_RISK_AT + SLOT_RISK_WORDS

(
    VENUE_ENTRY_STATE,
    VENUE_TROUBLE,
    VENUE_ORDERS,
    VENUE_CANCELS,
    VENUE_REPLACES,
    VENUE_FILLS,
    VENUE_FEE_PPM,
    VENUE_FEE_VALUE,
    VENUE_DIFFERENCE_LOTS,
    VENUE_RATE,
) = range(10)
VENUE_WORDS = 2 * CACHE_LINE_WORDS
"""Written by the market maker as things happen. ENTRY_STATE: net.orders.interface.EntryState.
TROUBLE: the last one's class, as the place in net.orders.errors.ErrorClass; 0 for none. The
others count what was sent, and the fills that came. FEE_PPM: what the venue takes of a fill, in
millionths; FEE_VALUE: what it has taken so far. DIFFERENCE: what the account holds that nobody has
counted, until it is accepted. RATE: what one of the venue's quote currency is worth in the market
maker's, in 1e-8 (engine.maker.rates)."""

SLOT_ORDERS_AT = SLOT_VENUES_AT + VENUES_MAX * VENUE_WORDS
ORDERS_MAX = VENUES_MAX * O.VENUE_SLOTS * O.SLOT_ROWS
"""Every row of the table."""
(ROW_ID, ROW_STATE, ROW_SLOT, ROW_PRICE, ROW_LOTS, ROW_FILLED_LOTS) = range(6)
ROW_WORDS = 6
_SLOT_USED = SLOT_ORDERS_AT + ORDERS_MAX * ROW_WORDS
SLOT_WORDS = -(-_SLOT_USED // CACHE_LINE_WORDS) * CACHE_LINE_WORDS
BOARD_WORDS = SLOTS_AT + SLOTS * SLOT_WORDS

assert INFO_VALUE_SCALE < INFO_SYMBOL_AT and SLOTS_AT % CACHE_LINE_WORDS == 0
assert (ROW_ID, ROW_FILLED_LOTS) == (O.ORDER_ID, O.ORDER_FILLED_LOTS), "copied as they stand"
assert ACCEPTS_DONE < CONTROL_WORDS
