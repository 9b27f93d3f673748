"""Where every word of the paper orders at one venue lives, and what their kernels answer.

    queue | QUEUE header | FILL 0..N-1: of the last call | ROW 0..N-1: resting, oldest first |

Prices are in the ticks that the venue declares. Lots of an order are 1e-8, lots of a level are the
feed's own (FEED_LOT_DECIMALS), which a feed may change at run time.
Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.layout.layout import CACHE_LINE_WORDS
from engine.maker import order_layout as O

RESTING_MAX = O.VENUE_SLOTS * O.SLOT_ROWS
"""Orders that may rest at a venue at once: as many as the order table has rows."""

(QUEUE_ROWS, QUEUE_FILLS, QUEUE_MODEL, QUEUE_HAS_TRADES) = range(4)
"""ROWS: how many orders rest; FILLS: how many fills the last call has left. HAS_TRADES: the venue's
trades are told too, so that what a level loses beyond them was cancelled."""
QUEUE_FILLS_AT = CACHE_LINE_WORDS

(PROPORTIONAL, BEHIND) = range(2)
QUEUE_MODEL_NAMES = ("proportional", "behind")
"""Where a level's orders are cancelled: ahead of ours and behind it alike, or always behind it."""

(
    FILLED_ID,
    FILLED_SIDE,
    FILLED_PRICE,
    FILLED_LOTS,
    FILLED_LEFT_LOTS,
    FILLED_CAUSE,
    FILLED_WORDS,
) = range(7)
(BY_PRICE, BY_DEPLETION, BY_TRADE, BY_TAKING) = range(4)
CAUSE_NAMES = ("price", "depletion", "trade", "taking")
"""Why an order was filled: the other side reached its price; its level emptied; a trade told; it
took."""
TAKEN_WORDS = 2
(TAKEN_PRICE, TAKEN_LOTS) = range(TAKEN_WORDS)
"""Of one level, what an order takes: the price in the ticks that the venue declares."""

(
    RESTING_ID,
    RESTING_SIDE,
    RESTING_PRICE,
    RESTING_LEFT_LOTS,
    RESTING_LEVEL_LOTS,
    RESTING_AHEAD_LOTS,
    RESTING_TRADED_LOTS,
    RESTING_EPOCH,
) = range(CACHE_LINE_WORDS)
RESTING_WORDS = CACHE_LINE_WORDS
"""LEVEL: the lots at the order's price when the book was last looked at; AHEAD: of them, those
before ours; TRADED: of them, what trades have taken since. EPOCH: of the feed's units, in which
these three are counted; NO_EPOCH: the venue's book was not known when the order came."""
NO_EPOCH = -1
QUEUE_ROWS_AT = QUEUE_FILLS_AT + RESTING_MAX * FILLED_WORDS
QUEUE_WORDS = QUEUE_ROWS_AT + RESTING_MAX * RESTING_WORDS

(RESTS, WOULD_TAKE, NO_ROOM) = range(3)
"""What becomes of a post-only order that reaches the venue."""
NOT_RESTING = -1
