"""The merged book of one instrument: its live venues' best levels in one order, published.

Order: better price, then larger amount, then venue order in the configuration; two venues at one
price are two levels. A venue that is not LIVE contributes nothing. A crossed result is reported as
it is, with a flag. A book equal to the last one published is not published again.
Runs on: the engine thread. Called by: engine.feed.
"""

from __future__ import annotations

from engine import layout as L
from engine.atomics import Words
from engine.handoff import begin_slot, end_slot
from engine.jit import inner
from engine.ladder import read_top, side_at
from engine.wall import CLOCK_REALTIME, clock_ns

NOT_TOUCHED = -1
"""INSTRUMENT_TRIGGER while no frame has changed the instrument since it was published."""


@inner
def _now(arena: Words, receive_ns: int) -> int:
    """The wall clock in ns where the engine was told to read it; in a replay the time passed in."""
    if arena[L.ENGINE_READS_CLOCK] == 0:
        return receive_ns
    return clock_ns(CLOCK_REALTIME)


@inner
def _active_side(arena: Words, feed: int, is_asks: int) -> int:
    return side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)


@inner
def refresh_tops(arena: Words, feed: int, slots: int, depth: int) -> bool:
    """Read the top levels of both sides again where they may have changed; whether any was read."""
    was_read = False
    for is_asks in range(2):
        side = _active_side(arena, feed, is_asks)
        if arena[side + L.SIDE_TOP_IS_STALE] != 0:
            read_top(arena, side, slots, depth)
            was_read = True
    return was_read


@inner
def is_incomplete(arena: Words, feed: int, depth: int) -> bool:
    """Whether the venue's best `depth` levels reach where its book is known only in part."""
    for is_asks in range(2):
        side = _active_side(arena, feed, is_asks)
        horizon = arena[side + L.SIDE_HORIZON]
        levels = arena[side + L.SIDE_TOP_LEVELS]
        if horizon == L.NO_KEY:
            continue
        if levels < depth or arena[side + L.SIDE_TOP_KEYS_AT + depth - 1] <= horizon:
            return True
    return False


@inner
def _merge_side(arena: Words, instrument: int, is_asks: int) -> bool:
    """Merge one side into the instrument's merged words; whether it differs from before."""
    depth = arena[instrument + L.INSTRUMENT_DEPTH]
    venues = arena[instrument + L.INSTRUMENT_VENUES]
    merged = instrument + L.INSTRUMENT_MERGED_AT + is_asks * L.MERGED_SIDE_WORDS
    cursors = instrument + L.INSTRUMENT_CURSORS_AT
    for venue in range(venues):
        arena[cursors + venue] = 0
    sign = -1 if is_asks else 1
    changed = False
    count = 0
    while count < depth:
        best_venue = -1
        best_key = L.NO_KEY
        best_lots = 0
        for venue in range(venues):
            feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
            if arena[feed + L.FEED_STATE] != L.LIVE:
                continue
            side = _active_side(arena, feed, is_asks)
            cursor = arena[cursors + venue]
            if cursor >= arena[side + L.SIDE_TOP_LEVELS]:
                continue
            key = arena[side + L.SIDE_TOP_KEYS_AT + cursor] * arena[feed + L.FEED_TICK_MULTIPLIER]
            lots = arena[side + L.SIDE_TOP_LOTS_AT + cursor]
            if key > best_key or (key == best_key and lots > best_lots):
                best_venue, best_key, best_lots = venue, key, lots
        if best_venue < 0:
            break
        arena[cursors + best_venue] += 1
        level = merged + 1 + count * L.LEVEL_WORDS
        price = best_key * sign
        changed |= (
            arena[level + L.LEVEL_PRICE] != price
            or arena[level + L.LEVEL_LOTS] != best_lots
            or arena[level + L.LEVEL_VENUE] != best_venue
        )
        arena[level + L.LEVEL_PRICE] = price
        arena[level + L.LEVEL_LOTS] = best_lots
        arena[level + L.LEVEL_VENUE] = best_venue
        count += 1
    changed |= arena[merged] != count
    arena[merged] = count
    return changed


@inner
def _is_crossed(arena: Words, instrument: int) -> bool:
    bids = instrument + L.INSTRUMENT_MERGED_AT
    asks = bids + L.MERGED_SIDE_WORDS
    if arena[bids] == 0 or arena[asks] == 0:
        return False
    return arena[bids + 1 + L.LEVEL_PRICE] >= arena[asks + 1 + L.LEVEL_PRICE]


@inner
def _write_slot(
    arena: Words, instrument: int, handoff: Words, trigger_feed: int, receive_ns: int
) -> None:
    board = arena[instrument + L.INSTRUMENT_BOARD]
    sequence = arena[instrument + L.INSTRUMENT_SEQUENCE] + 1
    arena[instrument + L.INSTRUMENT_SEQUENCE] = sequence
    slot = begin_slot(handoff, board, sequence)
    handoff[slot + L.SLOT_RECEIVE_NS] = receive_ns
    handoff[slot + L.SLOT_VENUE_NS] = arena[trigger_feed + L.FEED_VENUE_NS]
    handoff[slot + L.SLOT_TRIGGER_VENUE] = arena[trigger_feed + L.FEED_VENUE]
    crossed = _is_crossed(arena, instrument)
    arena[instrument + L.INSTRUMENT_CROSSED] += 1 if crossed else 0
    handoff[slot + L.SLOT_FLAGS] = L.FLAG_CROSSED if crossed else 0
    depth = arena[instrument + L.INSTRUMENT_DEPTH]
    for venue in range(arena[instrument + L.INSTRUMENT_VENUES]):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        at = slot + L.SLOT_VENUES_AT + venue * L.VENUE_WORDS
        handoff[at + L.VENUE_STATE] = arena[feed + L.FEED_STATE]
        handoff[at + L.VENUE_VENUE_NS] = arena[feed + L.FEED_VENUE_NS]
        handoff[at + L.VENUE_RECEIVE_NS] = arena[feed + L.FEED_RECEIVE_NS]
        active = arena[feed + L.FEED_ACTIVE_BOOK]
        handoff[at + L.VENUE_UPDATE_ID] = arena[feed + L.FEED_BOOK_ID_0 + active]
        incomplete = arena[feed + L.FEED_IS_INCOMPLETE] != 0
        handoff[at + L.VENUE_FLAGS] = L.FLAG_INCOMPLETE if incomplete else 0
    for is_asks in range(2):
        merged = instrument + L.INSTRUMENT_MERGED_AT + is_asks * L.MERGED_SIDE_WORDS
        count = arena[merged]
        handoff[slot + (L.SLOT_ASKS if is_asks else L.SLOT_BIDS)] = count
        levels = slot + (L.SLOT_ASKS_AT if is_asks else L.SLOT_BIDS_AT)
        for index in range(min(count, depth) * L.LEVEL_WORDS):
            handoff[levels + index] = arena[merged + 1 + index]
    handoff[slot + L.SLOT_PUBLISH_NS] = _now(arena, receive_ns)
    end_slot(handoff, board, slot, sequence)


@inner
def publish(
    arena: Words,
    instrument: int,
    handoff: Words,
    trigger_feed: int,
    receive_ns: int,
    is_forced: bool,
) -> bool:
    """Merge an instrument and publish it if its levels changed or `is_forced`; whether it was.

    Forced: a venue's state changed, which subscribers must see even where no level did.
    """
    slots = arena[L.ENGINE_WINDOW_SLOTS]
    depth = arena[instrument + L.INSTRUMENT_DEPTH]
    arena[instrument + L.INSTRUMENT_TRIGGER] = NOT_TOUCHED
    for venue in range(arena[instrument + L.INSTRUMENT_VENUES]):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        if arena[feed + L.FEED_STATE] == L.LIVE and refresh_tops(arena, feed, slots, depth):
            arena[feed + L.FEED_IS_INCOMPLETE] = is_incomplete(arena, feed, depth)
    changed = _merge_side(arena, instrument, 0)
    changed |= _merge_side(arena, instrument, 1)
    if not (changed or is_forced):
        arena[instrument + L.INSTRUMENT_UNCHANGED] += 1
        return False
    _write_slot(arena, instrument, handoff, trigger_feed, receive_ns)
    return True
