"""Fills of orders that rest on paper, by the place that each would have in its level's queue.

An order joins the end of its level: what the venue shows there is ahead of it. From then on

* the other side's best price at or through the order's own: filled, whole;
* a trade at its price takes what is ahead first, then the order; one through its price fills it;
* less at its level than before, beyond the trades that were told: cancelled, ahead of the order in
  proportion to what is ahead, ahead' = ahead * after / before, rounded up. That is the power
  probability model f(x) = x^n of hftbacktest (nkaz001, "Probability queue position models",
  PowerProbQueueFunc) with n = 1; the idea that a cancel is ahead of an order with a probability
  that grows with what is ahead is Rigtorp's ("Estimating order queue position", 2013). With the
  model BEHIND every cancel is behind the order, as in hftbacktest's RiskAdverseQueueModel;
* the level emptied, and with it the side's best price fell behind the order, while no trades are
  told: what stood behind the order was taken, and whoever took it met the order first: it is filled
  by as much as had stood behind it. A best price moves when its queue is depleted (Cont and de
  Larrard, "Price dynamics in a Markovian limit order market", SIAM J. Financial Math. 4, 2013);
* more at its level than before: that came behind it.

Nothing is taken from the book, so that quotes move nobody and two of ours do not share a taker.
Runs on: the engine thread.
"""

from __future__ import annotations

import numpy as np

from engine.book.frame import feed_at
from engine.book.ladder import level_lots
from engine.book.side import side_at
from engine.compiling.arena import view_arena
from engine.compiling.atomics import Words, view_words
from engine.compiling.jit import inner, kernel
from engine.decoding.scan import POWERS_OF_TEN
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import queue_layout as P

_PRODUCT_MAX = 2**63 - 1
_HALF_MAX = 2**62


@inner
def _row_at(row: int) -> int:
    return P.QUEUE_ROWS_AT + row * P.RESTING_WORDS


@inner
def share_up(part: int, now: int, before: int) -> int:
    """ceil(part * now / before); 0 <= part <= before, 0 <= now < before.

    Exact for `before` below 2^62; beyond it, to a few lots.
    """
    if part == 0 or now == 0:
        return 0
    if part <= (_PRODUCT_MAX - before) // now:
        return (part * now + before - 1) // before
    if before >= _HALF_MAX:  # a doubled remainder must fit
        part, before = (part >> 1) + (part & 1), before >> 1
    quotient = 0
    rest = 0
    for bit in range(62, -1, -1):
        quotient *= 2
        rest *= 2
        if rest >= before:
            rest -= before
            quotient += 1
        if now >> bit & 1 != 0:
            quotient += part // before
            rest += part % before
            if rest >= before:
                rest -= before
                quotient += 1
    return quotient + (1 if rest > 0 else 0)


@inner
def _order_lots(lots: int, lot_decimals: int) -> int:
    """A level's lots in lots of 1e-8, rounded down; at most LOTS_MAX."""
    if lot_decimals >= L.LOT_DECIMALS:
        found = lots // POWERS_OF_TEN[min(lot_decimals - L.LOT_DECIMALS, len(POWERS_OF_TEN) - 1)]
        return min(found, O.LOTS_MAX)
    factor = POWERS_OF_TEN[L.LOT_DECIMALS - lot_decimals]
    return min(lots, O.LOTS_MAX // factor) * factor


@inner
def _fill(words: Words, row: int, lots: int, cause: int) -> None:
    """Leave one fill of a row, and take its lots off."""
    at = _row_at(row)
    lots = min(lots, words[at + P.RESTING_LEFT_LOTS])
    if lots <= 0:
        return
    words[at + P.RESTING_LEFT_LOTS] -= lots
    count = words[P.QUEUE_FILLS]
    assert count < P.RESTING_MAX, "one fill of each order"
    fill = P.QUEUE_FILLS_AT + count * P.FILLED_WORDS
    words[fill + P.FILLED_ID] = words[at + P.RESTING_ID]
    words[fill + P.FILLED_SIDE] = words[at + P.RESTING_SIDE]
    words[fill + P.FILLED_PRICE] = words[at + P.RESTING_PRICE]
    words[fill + P.FILLED_LOTS] = lots
    words[fill + P.FILLED_LEFT_LOTS] = words[at + P.RESTING_LEFT_LOTS]
    words[fill + P.FILLED_CAUSE] = cause
    words[P.QUEUE_FILLS] = count + 1


@inner
def _close_gaps(words: Words) -> None:
    """Forget rows with nothing left; the others keep their order."""
    kept = 0
    for row in range(words[P.QUEUE_ROWS]):
        at = _row_at(row)
        if words[at + P.RESTING_LEFT_LOTS] > 0:
            if kept != row:
                for word in range(P.RESTING_WORDS):
                    words[_row_at(kept) + word] = words[at + word]
            kept += 1
    words[P.QUEUE_ROWS] = kept


@inner
def _key_of(arena: Words, feed: int, side: int, price_ticks: int) -> int:
    """An order's price as the key of its own side's levels."""
    key = price_ticks * arena[feed + L.FEED_DECLARED_UNITS]
    return -key if side == O.SELL else key


@inner
def _is_reached(arena: Words, feed: int, side: int, key: int) -> bool:
    """Whether the other side's best price is at a key of this side, or through it."""
    book = arena[feed + L.FEED_ACTIVE_BOOK]
    best = arena[side_at(arena, feed, book, 1 - side) + L.SIDE_BEST]
    return best != L.NO_KEY and best >= -key


@inner
def _take_level(arena: Words, feed: int, words: Words, row: int, now: int, is_touch: bool) -> None:
    """Move one order up its queue: the level at its price has `now` lots, of the feed.

    `is_touch`: the side's best price is worse than the order's.
    """
    at = _row_at(row)
    before = words[at + P.RESTING_LEVEL_LOTS] - words[at + P.RESTING_TRADED_LOTS]
    ahead = words[at + P.RESTING_AHEAD_LOTS]
    if words[at + P.RESTING_EPOCH] != arena[feed + L.FEED_UNITS_EPOCH]:
        words[at + P.RESTING_EPOCH] = arena[feed + L.FEED_UNITS_EPOCH]
        ahead = now
    elif now < before:
        if now == 0 and is_touch and words[P.QUEUE_HAS_TRADES] == 0:
            behind = _order_lots(before - ahead, arena[feed + L.FEED_LOT_DECIMALS])
            _fill(words, row, behind, P.BY_DEPLETION)
        if words[P.QUEUE_MODEL] == P.PROPORTIONAL:
            ahead = share_up(ahead, now, before)
    words[at + P.RESTING_LEVEL_LOTS] = now
    words[at + P.RESTING_TRADED_LOTS] = 0
    words[at + P.RESTING_AHEAD_LOTS] = min(ahead, now)


@inner
def advance(arena: Words, feed: int, words: Words) -> int:
    """Let the book that a feed shows now act on the orders that rest there; how many fills.

    A book that is not LIVE says nothing: what has changed when it is again is taken at once.
    """
    words[P.QUEUE_FILLS] = 0
    if words[P.QUEUE_ROWS] == 0 or arena[feed + L.FEED_STATE] != L.LIVE:
        return 0
    book = arena[feed + L.FEED_ACTIVE_BOOK]
    for row in range(words[P.QUEUE_ROWS]):
        at = _row_at(row)
        side = words[at + P.RESTING_SIDE]
        key = _key_of(arena, feed, side, words[at + P.RESTING_PRICE])
        if _is_reached(arena, feed, side, key):
            _fill(words, row, words[at + P.RESTING_LEFT_LOTS], P.BY_PRICE)
            continue
        own = side_at(arena, feed, book, side)
        now = level_lots(arena, own, key)
        _take_level(arena, feed, words, row, now, arena[own + L.SIDE_BEST] < key)
    if words[P.QUEUE_FILLS] > 0:
        _close_gaps(words)
    fills: int = words[P.QUEUE_FILLS]
    return fills


@kernel("int64(int64, int64, int64)")
def advance_queue(arena_address: int, feed_index: int, address: int) -> int:
    """`advance` for Python. `address`: of the QUEUE words; the fills are left in them."""
    arena = view_arena(arena_address)
    return advance(arena, feed_at(arena, feed_index), view_words(address, P.QUEUE_WORDS))


@kernel("int64(int64, int64, int64, int64, int64, int64, int64)")
def join_queue(
    arena_address: int,
    feed_index: int,
    address: int,
    order_id: int,
    side: int,
    price_ticks: int,
    lots: int,
) -> int:
    """A post-only order reaches the venue: RESTS, WOULD_TAKE, or NO_ROOM.

    Needs price and lots above zero. While the book is not LIVE an order is taken unseen, and joins
    the end of its level once it is.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, feed_index)
    words = view_words(address, P.QUEUE_WORDS)
    count = words[P.QUEUE_ROWS]
    if count == P.RESTING_MAX:
        return P.NO_ROOM
    key = _key_of(arena, feed, side, price_ticks)
    epoch = P.NO_EPOCH
    level = 0
    if arena[feed + L.FEED_STATE] == L.LIVE:
        if _is_reached(arena, feed, side, key):
            return P.WOULD_TAKE
        own = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], side)
        level = level_lots(arena, own, key)
        epoch = arena[feed + L.FEED_UNITS_EPOCH]
    at = _row_at(count)
    words[at + P.RESTING_ID] = order_id
    words[at + P.RESTING_SIDE] = side
    words[at + P.RESTING_PRICE] = price_ticks
    words[at + P.RESTING_LEFT_LOTS] = lots
    words[at + P.RESTING_LEVEL_LOTS] = level
    words[at + P.RESTING_AHEAD_LOTS] = level
    words[at + P.RESTING_TRADED_LOTS] = 0
    words[at + P.RESTING_EPOCH] = epoch
    words[P.QUEUE_ROWS] = count + 1
    return P.RESTS


@kernel("int64(int64, int64, int64, int64, int64, int64[::1])")
def take_levels(
    arena_address: int, feed_index: int, side: int, price_ticks: int, lots: int, taken: Words
) -> int:
    """What an order takes that reaches the venue and never rests: how many levels, in `taken`.

    The other side's best levels, as far as they are at the order's price or better; a price between
    two declared ticks is the worse one. Nothing where the book is not LIVE. `taken`: TAKEN words of
    DEPTH_MAX levels.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, feed_index)
    if arena[feed + L.FEED_STATE] != L.LIVE:
        return 0
    other = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], 1 - side)
    parts, limit = arena[feed + L.FEED_DECLARED_UNITS], _key_of(arena, feed, side, price_ticks)
    sign = -1 if side == O.BUY else 1
    count = 0
    for level in range(arena[other + L.SIDE_TOP_LEVELS]):
        key = arena[other + L.SIDE_TOP_KEYS_AT + level]
        if lots <= 0 or key < -limit:
            break
        level_has = _order_lots(
            arena[other + L.SIDE_TOP_LOTS_AT + level], arena[feed + L.FEED_LOT_DECIMALS]
        )
        at = count * P.TAKEN_WORDS
        taken[at + P.TAKEN_PRICE] = sign * (key // parts)
        taken[at + P.TAKEN_LOTS] = min(level_has, lots)
        lots -= taken[at + P.TAKEN_LOTS]
        count += 1
    return count


@kernel("int64(int64, int64)")
def leave_queue(address: int, order_id: int) -> int:
    """An order is cancelled: what was left of it in lots, or NOT_RESTING."""
    words = view_words(address, P.QUEUE_WORDS)
    for row in range(words[P.QUEUE_ROWS]):
        at = _row_at(row)
        if words[at + P.RESTING_ID] == order_id:
            left: int = words[at + P.RESTING_LEFT_LOTS]
            words[at + P.RESTING_LEFT_LOTS] = 0
            _close_gaps(words)
            return left
    return P.NOT_RESTING


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def trade_queue(
    arena_address: int, feed_index: int, address: int, side: int, price_ticks: int, lots: int
) -> int:
    """A trade with resting orders of one side, told by the venue; how many fills it has left.

    `side`: of the orders that were taken; `lots`: the feed's. Nobody tells of trades yet: this is
    where they come in, with QUEUE_HAS_TRADES.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, feed_index)
    words = view_words(address, P.QUEUE_WORDS)
    words[P.QUEUE_FILLS] = 0
    sign = -1 if side == O.SELL else 1
    for row in range(words[P.QUEUE_ROWS]):
        at = _row_at(row)
        if words[at + P.RESTING_SIDE] != side:
            continue
        if sign * price_ticks < sign * words[at + P.RESTING_PRICE]:
            _fill(words, row, words[at + P.RESTING_LEFT_LOTS], P.BY_TRADE)
        elif price_ticks == words[at + P.RESTING_PRICE]:
            ahead = words[at + P.RESTING_AHEAD_LOTS]
            level = words[at + P.RESTING_LEVEL_LOTS]
            beyond = _order_lots(max(lots - ahead, 0), arena[feed + L.FEED_LOT_DECIMALS])
            _fill(words, row, beyond, P.BY_TRADE)
            words[at + P.RESTING_AHEAD_LOTS] = max(ahead - lots, 0)
            traded = min(lots, level - words[at + P.RESTING_TRADED_LOTS])
            words[at + P.RESTING_TRADED_LOTS] += traded
    _close_gaps(words)
    fills: int = words[P.QUEUE_FILLS]
    return fills


def new_queue(model: int) -> Words:
    """The QUEUE words of a venue where nothing rests. `model`: PROPORTIONAL or BEHIND."""
    assert 0 <= model < len(P.QUEUE_MODEL_NAMES)
    words = np.zeros(P.QUEUE_WORDS, np.int64)
    words[P.QUEUE_MODEL] = model
    return words
