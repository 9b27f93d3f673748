"""Where every word of the own orders and of the risk gate lives.

Everything is int64 words, allocated once. One thread owns them all.

    table   | ACCOUNT | VENUE 0..V-1 |
    venue   | VENUE header | execution ids (a ring) | forgotten orders (a ring)
            | rows of slot 0 | rows of slot 1 | ...
    slot    | ROW 0..3: at most one order that may be open, and the last ones that are closed
    row     | ORDER words |
    wanted  | WANTED words of slot 0 | of slot 1 | ...
    actions | ACTION 0..A-1 |
    risk    | settings | state | refusals by code | windows of fills, of volume, of venue 0 | ...
    window  | WINDOW header | counts by bucket (a ring) |

A *slot* is one place for a quote: (venue, side, level). Prices are in the instrument's common price
unit, whichever venue they are for; quantities in lots; a *value* is price x lots / value scale.
Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.layout.layout import CACHE_LINE_WORDS, VENUES_MAX

(BUY, SELL) = range(2)
NO_SIDE = -1
"""Of an event that is not about an order, or does not say."""
SIDES = 2
SLOT_LEVELS = 10
"""Quotes a side and venue: the depth that is published by default."""
TAKE_LEVEL = SLOT_LEVELS - 1
"""Where orders that take have their slot: who sends any quotes one level less."""
VENUE_SLOTS = SIDES * SLOT_LEVELS

# --- bounds: with them no sum or product below leaves int64 --------------------------------------

PRICE_MAX = 1 << 40
"""The largest price in units: 10^10 dollars in cents."""
LOTS_MAX = 1 << 60
"""The most lots of an order or a fill: 10^10 of the base currency."""
POSITION_LOTS_MAX = 1 << 61
VALUE_MAX = 1 << 60
"""Values stay below it or at it; what would be larger counts as this, and halts."""
VALUE_SCALE_MAX = 1_000_000
"""The coarsest value unit: a price unit times a hundredth of the base currency."""

RATE_ONE = 10**8
"""A rate of 1: rates count 1e-8."""

assert PRICE_MAX * VALUE_SCALE_MAX < 1 << 62, "the remainder's product fits"
assert LOTS_MAX * 2 <= POSITION_LOTS_MAX and POSITION_LOTS_MAX + LOTS_MAX < 1 << 62

# --- states and events ---------------------------------------------------------------------------

(
    FREE,
    PENDING_NEW,
    OPEN,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_REPLACE,
    UNKNOWN,
    FILLED,
    CANCELED,
    REJECTED,
    EXPIRED,
) = range(11)
STATE_NAMES = (
    "FREE", "PENDING_NEW", "OPEN", "PARTIALLY_FILLED", "PENDING_CANCEL", "PENDING_REPLACE",
    "UNKNOWN", "FILLED", "CANCELED", "REJECTED", "EXPIRED",
)  # fmt: skip
STATES = len(STATE_NAMES)
"""From PENDING_NEW to UNKNOWN an order is *live*: it may be open at the venue."""

(
    SUBMIT,
    ACK,
    FILL,
    CANCEL_REQUEST,
    CANCEL_ACK,
    CANCEL_REJECT,
    REPLACE_REQUEST,
    REPLACE_ACK,
    REPLACE_REJECT,
    REJECT,
    EXPIRE,
    TIMEOUT,
    DISCONNECT,
    FOUND_OPEN,
    FOUND_CLOSED,
    NOT_FOUND,
) = range(16)
EVENT_NAMES = (
    "SUBMIT", "ACK", "FILL", "CANCEL_REQUEST", "CANCEL_ACK", "CANCEL_REJECT", "REPLACE_REQUEST",
    "REPLACE_ACK", "REPLACE_REJECT", "REJECT", "EXPIRE", "TIMEOUT", "DISCONNECT", "FOUND_OPEN",
    "FOUND_CLOSED", "NOT_FOUND",
)  # fmt: skip
EVENTS = len(EVENT_NAMES)
"""FOUND_OPEN, FOUND_CLOSED and NOT_FOUND are the answers to a question about one order."""

# --- the table -----------------------------------------------------------------------------------

(
    ACCOUNT_VENUES,
    ACCOUNT_VALUE_SCALE,
    ACCOUNT_EPOCH,
    ACCOUNT_SEQUENCE,
    ACCOUNT_POSITION_LOTS,
    ACCOUNT_CASH_VALUE,
    ACCOUNT_OPEN_BUY_LOTS,
    ACCOUNT_OPEN_SELL_LOTS,
    ACCOUNT_LIVE_ORDERS,
    ACCOUNT_FILLS,
    ACCOUNT_DUPLICATE_FILLS,
    ACCOUNT_INFERRED_FILLS,
    ACCOUNT_ORPHAN_FILLS,
    ACCOUNT_ORPHAN_EVENTS,
    ACCOUNT_IGNORED_EVENTS,
    ACCOUNT_BAD_EVENTS,
    ACCOUNT_ANOMALIES,
    ACCOUNT_FEE_VALUE,
    ACCOUNT_FEE_BASE_LOTS,
    ACCOUNT_UNVALUED_FEES,
    ACCOUNT_UNCONFIRMED,
    ACCOUNT_OBSTACLE,
) = range(22)
ACCOUNT_WORDS = 3 * CACHE_LINE_WORDS
"""OPEN_*_LOTS: what is left of all live orders of a side, should every one of them fill.
INFERRED_FILLS: fills known from a cumulative quantity before, or without, their own message.
ANOMALIES: an order filled beyond its quantity, or a number beyond its bound; these halt.
FEE_VALUE: all fees that have a value, whatever they were paid in; they are in the position and the
cash already. FEE_BASE_LOTS: what of them was paid in the base currency. UNVALUED_FEES: fills whose
fee was paid in an asset without a rate, which are in neither. UNCONFIRMED: orders and accounts of
earlier runs of which no venue has shown yet that none is open; in no row, and written from outside
the kernels."""

EXECUTIONS = 512
"""Execution ids remembered by venue: at ten fills a second those of the last 50 s."""
FORGOTTEN = 64
"""Orders remembered by venue whose row is taken while executions of theirs are still owed."""
(
    VENUE_EXECUTION_TURN,
    VENUE_FORGOTTEN_TURN,
    VENUE_CANNOT_REPLACE,
    VENUE_POSITION_LOTS,
    VENUE_FEE_VALUE,
    VENUE_BUYS,
    VENUE_SELLS,
    VENUE_TRADED_LOTS,
    VENUE_CASH_VALUE,
    VENUE_RATE,
    VENUE_RATED_CASH,
    VENUE_OWED_LOTS,
    VENUE_OWED_CASH,
) = range(13)
"""CANNOT_REPLACE: a quote moves by a cancel and, once that is done, a new order. POSITION_LOTS: the
venue's part of the position, FEE_VALUE: of the fees, CASH_VALUE: of the cash, both in its own quote
currency. BUYS, SELLS: fills so far, TRADED: what they have traded. RATE: what one of the venue's
quote currency is worth in the account's, in 1e-8 (engine.maker.rates); RATED_CASH: what the
account's cash has of this venue's. OWED: what of POSITION_LOTS and CASH_VALUE only a cumulative
quantity has told: the execution, with its fee, is still to come."""
TRADED_LOTS_MASK = POSITION_LOTS_MAX - 1
"""Traded lots count on from zero after it: only differences of them mean something."""
VENUE_EXECUTIONS_AT = 2 * CACHE_LINE_WORDS
VENUE_FORGOTTEN_AT = VENUE_EXECUTIONS_AT + EXECUTIONS
(FORGOTTEN_ID, FORGOTTEN_OWED_LOTS, FORGOTTEN_PRICE, FORGOTTEN_WORDS) = range(4)
VENUE_ROWS_AT = VENUE_FORGOTTEN_AT + FORGOTTEN * FORGOTTEN_WORDS

SLOT_ROWS = 4
"""A replace needs two; the others remember closed orders, whose fills may still arrive."""
(
    ORDER_ID,
    ORDER_STATE,
    ORDER_SLOT,
    ORDER_PRICE,
    ORDER_LOTS,
    ORDER_FILLED_LOTS,
    ORDER_EXECUTED_LOTS,
    ORDER_REPLACES_ID,
) = range(CACHE_LINE_WORDS)
ORDER_WORDS = CACHE_LINE_WORDS
"""EXECUTED is the sum of the executions seen; FILLED is that or the largest cumulative quantity
the venue has told, whichever is more. REPLACES_ID: the order this one takes the place of, or 0."""
SLOT_WORDS = SLOT_ROWS * ORDER_WORDS
VENUE_WORDS = VENUE_ROWS_AT + VENUE_SLOTS * SLOT_WORDS

EPOCH_MAX = (1 << 31) - 1
SEQUENCE_MAX = (1 << 32) - 1
"""A client order id is epoch << 32 | sequence; both start at 1."""
MAKERS_MAX = 32
"""Market makers of one run: each numbers its orders in a part of the sequence of its own."""
ORDERS_MAX = (SEQUENCE_MAX + 1) // MAKERS_MAX - 1
"""Of one market maker and run: at five a second those of ten months."""

# --- what is wanted, and what is to be done ------------------------------------------------------

(WANTED_PRICE, WANTED_LOTS, WANTED_WORDS) = range(3)
LEFT_ALONE = -1
"""Lots of a slot that nothing may be sent for, whatever is in it; 0 where nothing is wanted."""

(ACTION_KIND, ACTION_SLOT, ACTION_ID, ACTION_NEW_ID, ACTION_PRICE, ACTION_LOTS) = range(6)
ACTION_WORDS = 6
"""ID: the order to cancel or to replace. NEW_ID: the order that is new, once risk has passed it."""
(ACTION_SUBMIT, ACTION_CANCEL, ACTION_REPLACE, ACTION_TAKE) = range(1, 5)
"""TAKE: a new order that takes at once, and of which nothing rests."""
ACTION_KINDS = 5
"""Their numbers are below it."""

# --- risk ----------------------------------------------------------------------------------------

(
    RISK_ORDER_LOTS_MAX,
    RISK_NOTIONAL_MAX,
    RISK_COLLAR_BPS,
    RISK_OPEN_ORDERS_MAX,
    RISK_POSITION_LOTS_MAX,
    RISK_EXPOSURE_MAX,
    RISK_REDUCE_LOTS,
    RISK_DAILY_LOSS_MAX,
    RISK_STATE,
    RISK_HALT_REASON,
    RISK_FAIR_PRICE,
    RISK_RESULT_VALUE,
    RISK_NOW_NS,
    RISK_TODAY,
    RISK_DAY,
    RISK_DAY_START_VALUE,
    RISK_RESUMED_DAY,
    RISK_ANOMALIES_SEEN,
    RISK_HALTS,
    RISK_FILLS_SEEN,
    RISK_TRADED_LOTS_SEEN,
    RISK_FILL_NS,
    RISK_LAST_FAIR_PRICE,
    RISK_SHARED,
    RISK_SHARED_WORDS,
    RISK_MAKER,
    RISK_IS_KNOWN,
    RISK_REFUSALS_AT,
) = range(28)
"""NOTIONAL, EXPOSURE and DAILY_LOSS are values; DAY is -1 before the first fair price. RESULT:
cash and the position at the fair price, of the last time there was one, which LAST_FAIR is. TODAY
is for the market maker to write: days since the epoch in UTC, which never go back. RESUMED_DAY: the
one that an earlier run has begun, -1 for none. SEEN: what the windows have counted of the table's
fills; FILL_NS: when the latest was. SHARED: where the limits over all market makers are, 0 without
any; MAKER: the place of this one; IS_KNOWN: whether its position is, without which no other market
maker of its currencies may quote."""
(NORMAL, REDUCING, HALTED) = range(3)
RISK_STATE_NAMES = ("NORMAL", "REDUCING", "HALTED")

REFUSALS_MAX = 32
RISK_FILLS_WINDOW_AT = RISK_REFUSALS_AT + REFUSALS_MAX
(WINDOW_LIMIT, WINDOW_BUCKET_NS, WINDOW_BUCKET, WINDOW_COUNTS_AT) = range(4)
WINDOW_BUCKETS = 16
"""Parts of a rate window's span; one more is kept, so that any span of it is covered whole."""
WINDOW_WORDS = WINDOW_COUNTS_AT + WINDOW_BUCKETS + 1
RISK_VOLUME_WINDOW_AT = RISK_FILLS_WINDOW_AT + WINDOW_WORDS
RISK_WINDOWS_AT = RISK_VOLUME_WINDOW_AT + WINDOW_WORDS
"""The account's fills and volume, then the orders of each venue."""
(WINDOW_OWN, WINDOW_VENUE, WINDOW_DAY, WINDOWS) = range(4)

assert len(STATE_NAMES) == EXPIRED + 1 and len(EVENT_NAMES) == NOT_FOUND + 1
assert ACCOUNT_OBSTACLE < ACCOUNT_WORDS
assert WINDOW_BUCKETS >= 2 and VENUES_MAX >= 1


def table_words(venues: int) -> int:
    """Words of the order table of `venues` venues."""
    return ACCOUNT_WORDS + venues * VENUE_WORDS


def venue_word(venue: int, word: int) -> int:
    """Where a VENUE word of one venue is in the order table."""
    return ACCOUNT_WORDS + venue * VENUE_WORDS + word


def wanted_words(venues: int) -> int:
    """Words of the wanted quotes, slot by slot."""
    return venues * VENUE_SLOTS * WANTED_WORDS


def actions_words(venues: int) -> int:
    """Words of the actions: one for every row, which is what a kill may need."""
    return venues * VENUE_SLOTS * SLOT_ROWS * ACTION_WORDS


def risk_words(venues: int) -> int:
    """Words of the risk gate of `venues` venues."""
    return RISK_WINDOWS_AT + venues * WINDOWS * WINDOW_WORDS
