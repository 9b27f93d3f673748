"""One step of the market maker, one kernel call: from the book as published to messages to send.

    fair price -> for each venue: its best prices less our own orders, the resting orders -> quotes
    -> wanted rows -> risk gate -> actions

The words of all of it stay where their rooms have allocated them; `STEP` words hold where that is,
and what each venue may do. Between two steps, events change the order table through its kernels.
Runs on: the engine thread. Called by: net.maker.
"""

from __future__ import annotations

import math

from engine import layout as E
from engine.atomics import Words, view_words
from engine.handoff import slot_at
from engine.jit import inner, kernel
from engine.maker import order_layout as L
from engine.maker import quote_layout as Q
from engine.maker.fair import AVAILABLE, price_at, update_fair
from engine.maker.orders import is_live, left_lots, rows_at
from engine.maker.quotes import update_quotes
from engine.maker.risk import decide_all
from engine.side import side_at

(
    STEP_ARENA,
    STEP_ARENA_WORDS,
    STEP_INSTRUMENT,
    STEP_VENUES,
    STEP_FAIR,
    STEP_QUOTES,
    STEP_TABLE,
    STEP_TABLE_WORDS,
    STEP_RISK,
    STEP_RISK_WORDS,
    STEP_WANTED,
    STEP_ACTIONS,
    STEP_SEQUENCE,
    STEP_VENUES_AT,
) = range(14)
"""Addresses and sizes; the instrument's offset in the arena; the sequence of the book used last."""
(VENUE_MAY_BUY, VENUE_MAY_SELL, VENUE_QUOTE_STATUS, VENUE_WORDS) = range(4)
STEP_WORDS = STEP_VENUES_AT + E.VENUES_MAX * VENUE_WORDS

(LEAVE, CANCEL, QUOTE) = range(3)
"""What a side of a venue may do: nothing is sent, what rests is cancelled, quotes are kept."""

assert Q.SLOTS == L.VENUE_SLOTS and Q.LEVELS_MAX == L.SLOT_LEVELS
assert L.BUY == 0 and L.SELL == 1


@inner
def _own_lots(table: Words, slot: int, price: int) -> int:
    """What is left of our orders of one venue and side at a price; `slot`: the side's first."""
    lots = 0
    row = rows_at(table, slot)
    for _ in range(L.SLOT_LEVELS * L.SLOT_ROWS):
        if table[row + L.ORDER_PRICE] == price:
            lots += left_lots(table, row)
        row += L.ORDER_WORDS
    return lots


@inner
def _best_of_others(
    arena: Words, feed: int, is_asks: int, table: Words, slot: int, tick_units: int
) -> int:
    """The venue's best price in its ticks, less what only we stand at; 0 where the side is empty.

    The book is a moment behind our orders, so a level that holds no more than ours counts as ours.
    Where all known levels are ours the last of them stands in for what is behind it.
    """
    side = side_at(arena, feed, arena[feed + E.FEED_ACTIVE_BOOK], is_asks)
    sign = -1 if is_asks else 1
    best = 0
    for level in range(arena[side + E.SIDE_TOP_LEVELS]):
        best = sign * arena[side + E.SIDE_TOP_KEYS_AT + level]
        lots = arena[side + E.SIDE_TOP_LOTS_AT + level]
        if lots > _own_lots(table, slot, best * tick_units):
            break
    return best


@inner
def _put_resting(table: Words, venue: int, quotes: Words, at: int, tick_units: int) -> None:
    """The venue's live orders as the quotes' resting rows: the newest of each slot."""
    for within in range(L.VENUE_SLOTS):
        row = rows_at(table, venue * L.VENUE_SLOTS + within)
        newest = 0
        price = 0
        lots = 0
        for _ in range(L.SLOT_ROWS):
            order_id = table[row + L.ORDER_ID]
            if is_live(table[row + L.ORDER_STATE]) and order_id > newest:
                newest = order_id
                price = table[row + L.ORDER_PRICE] // tick_units
                lots = left_lots(table, row)
            row += L.ORDER_WORDS
        resting = at + Q.QUOTE_RESTING_AT + within * Q.ROW_WORDS
        quotes[resting + Q.ROW_PRICE] = price
        quotes[resting + Q.ROW_LOTS] = lots


@inner
def _quote_venue(
    arena: Words, feed: int, venue: int, quotes: Words, at: int, table: Words, fair_price: float
) -> int:
    """Write one venue's inputs and let its quotes be computed; their status."""
    tick_units = arena[feed + E.FEED_TICK_MULTIPLIER]
    slot = venue * L.VENUE_SLOTS
    is_live_book = arena[feed + E.FEED_STATE] == E.LIVE
    bid = _best_of_others(arena, feed, 0, table, slot, tick_units)
    ask = _best_of_others(arena, feed, 1, table, slot + L.SLOT_LEVELS, tick_units)
    quotes[at + Q.QUOTE_BEST_BID] = bid if is_live_book else 0
    quotes[at + Q.QUOTE_BEST_ASK] = ask if is_live_book else 0
    quotes[at + Q.QUOTE_POSITION_LOTS] = table[L.ACCOUNT_POSITION_LOTS]
    _put_resting(table, venue, quotes, at, tick_units)
    return update_quotes(quotes, at, fair_price)


@inner
def _want(
    wanted: Words, venue: int, step: Words, words: int, quotes: Words, at: int, tick_units: int
) -> None:
    """What is wanted of a venue's slots, prices in common units."""
    for within in range(L.VENUE_SLOTS):
        row = at + Q.QUOTE_WANTED_AT + within * Q.ROW_WORDS
        slot = (venue * L.VENUE_SLOTS + within) * L.WANTED_WORDS
        may = step[words + VENUE_MAY_BUY + within // L.SLOT_LEVELS]
        wanted[slot + L.WANTED_PRICE] = quotes[row + Q.ROW_PRICE] * tick_units
        if may == QUOTE:
            wanted[slot + L.WANTED_LOTS] = quotes[row + Q.ROW_LOTS]
        else:
            wanted[slot + L.WANTED_LOTS] = 0 if may == CANCEL else L.LEFT_ALONE


@inner
def _newest_receive_ns(arena: Words, instrument: int, venues: int) -> int:
    """When the last frame of any live venue arrived."""
    newest = 0
    for venue in range(venues):
        feed = arena[instrument + E.INSTRUMENT_FEEDS_AT + venue]
        if arena[feed + E.FEED_STATE] == E.LIVE:
            newest = max(newest, arena[feed + E.FEED_RECEIVE_NS])
    return newest


@inner
def _step(step: Words, arena: Words, instrument: int, sequence: int, now_ns: int) -> int:
    venues = step[STEP_VENUES]
    fair = view_words(step[STEP_FAIR], Q.FAIR_WORDS)
    quotes = view_words(step[STEP_QUOTES], venues * Q.QUOTE_WORDS)
    table = view_words(step[STEP_TABLE], step[STEP_TABLE_WORDS])
    risk = view_words(step[STEP_RISK], step[STEP_RISK_WORDS])
    wanted = view_words(step[STEP_WANTED], venues * L.VENUE_SLOTS * L.WANTED_WORDS)
    actions_words = venues * L.VENUE_SLOTS * L.SLOT_ROWS * L.ACTION_WORDS
    actions = view_words(step[STEP_ACTIONS], actions_words)
    handoff = view_words(arena[E.ENGINE_HANDOFF_ADDRESS], arena[E.ENGINE_HANDOFF_WORDS])
    slot = slot_at(arena[instrument + E.INSTRUMENT_BOARD], sequence)
    received_ns = _newest_receive_ns(arena, instrument, venues)
    status = update_fair(handoff, slot, fair, 0, received_ns, now_ns)
    fair_price = price_at(fair, 0)
    for venue in range(venues):
        feed = arena[instrument + E.INSTRUMENT_FEEDS_AT + venue]
        words = STEP_VENUES_AT + venue * VENUE_WORDS
        at = venue * Q.QUOTE_WORDS
        if step[words + VENUE_MAY_BUY] == QUOTE or step[words + VENUE_MAY_SELL] == QUOTE:
            step[words + VENUE_QUOTE_STATUS] = _quote_venue(
                arena, feed, venue, quotes, at, table, fair_price
            )
        tick_units = arena[feed + E.FEED_TICK_MULTIPLIER]
        _want(wanted, venue, step, words, quotes, at, tick_units)
    has_fair = status == AVAILABLE and 0.5 <= fair_price < float(L.PRICE_MAX)
    fair_units = math.floor(fair_price + 0.5) if has_fair else 0
    return decide_all(table, risk, wanted, actions, fair_units, now_ns)


@kernel("int64(int64, int64, int64)")
def step_maker(address: int, now_ns: int, is_forced: int) -> int:
    """Take one step; how many actions are to be sent as they stand.

    `address`: of the STEP words. Nothing is done where the book is the one of the step before,
    unless `is_forced`, or where none has been published yet.
    """
    step = view_words(address, STEP_WORDS)
    arena = view_words(step[STEP_ARENA], step[STEP_ARENA_WORDS])
    instrument = step[STEP_INSTRUMENT]
    sequence = arena[instrument + E.INSTRUMENT_SEQUENCE]
    if sequence == 0 or (sequence == step[STEP_SEQUENCE] and is_forced == 0):
        return 0
    step[STEP_SEQUENCE] = sequence
    return _step(step, arena, instrument, sequence, now_ns)
