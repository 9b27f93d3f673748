"""The merged book of one instrument: its live venues' best levels in one order, published.

Order: better price, then larger amount, then venue order in the configuration; two venues at one
price are two levels. A venue that is not LIVE contributes nothing. A crossed result is reported as
it is, with a flag. A book equal to the last one published is not published again.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.ladder import read_top
from engine.book.side import side_at, window_slots
from engine.compiling.atomics import Words, prefetch
from engine.compiling.clock import CLOCK_REALTIME, clock_ns
from engine.compiling.jit import hot, inner
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from engine.sharing.handoff import begin_slot, end_slot, slot_at
from engine.sharing.meter_layout import view_meters

NOT_TOUCHED = -1
"""INSTRUMENT_TRIGGER while no frame has changed the instrument since it was published."""

NOT_PUBLISHED = -1
"""What `publish` answers where the book is the one last published."""


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
def _refresh_tops(arena: Words, feed: int, depth: int) -> int:
    """Read the top levels again where they may have changed: 1 for bids, 2 for asks, 3 both."""
    read = 0
    for is_asks in range(2):
        side = _active_side(arena, feed, is_asks)
        if arena[side + L.SIDE_TOP_IS_STALE] != 0:
            read_top(arena, side, window_slots(arena, side), depth)
            read |= 1 + is_asks
    return read


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
def _set_merged(arena: Words, merged: int, at: int, price: int, lots: int, venue: int) -> int:
    """Write one merged level; 1 where it differs from the level that was there."""
    level = merged + 1 + at * L.LEVEL_WORDS
    differs = (
        (arena[level + L.LEVEL_PRICE] ^ price)
        | (arena[level + L.LEVEL_LOTS] ^ lots)
        | (arena[level + L.LEVEL_VENUE] ^ venue)
    )
    arena[level + L.LEVEL_PRICE] = price
    arena[level + L.LEVEL_LOTS] = lots
    arena[level + L.LEVEL_VENUE] = venue
    return differs


@hot
def _copy_side(arena: Words, instrument: int, is_asks: int, venue: int, merged: int) -> int:
    """The merged side where one venue is live; how many levels, minus one more if changed."""
    feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
    side = _active_side(arena, feed, is_asks)
    factor = arena[feed + L.FEED_TICK_MULTIPLIER] * (-1 if is_asks else 1)
    lots_factor = arena[feed + L.FEED_LOT_MULTIPLIER]
    count = arena[side + L.SIDE_TOP_LEVELS]
    differs = 0
    for at in range(count):
        price = arena[side + L.SIDE_TOP_KEYS_AT + at] * factor
        lots = arena[side + L.SIDE_TOP_LOTS_AT + at] * lots_factor
        differs |= _set_merged(arena, merged, at, price, lots, venue)
    return count if differs == 0 else -1 - count


@inner
def _load_head(arena: Words, instrument: int, is_asks: int, venue: int, cursor: int) -> None:
    """Keep a venue's next level, in the instrument's ticks, beside the others' for comparison."""
    feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
    side = _active_side(arena, feed, is_asks)
    head = instrument + L.INSTRUMENT_HEADS_AT + venue * L.HEAD_WORDS
    arena[head + L.HEAD_CURSOR] = cursor
    if cursor >= arena[side + L.SIDE_TOP_LEVELS]:
        arena[head + L.HEAD_KEY] = L.NO_KEY
        return
    key = arena[side + L.SIDE_TOP_KEYS_AT + cursor]
    arena[head + L.HEAD_KEY] = key * arena[feed + L.FEED_TICK_MULTIPLIER]
    lots = arena[side + L.SIDE_TOP_LOTS_AT + cursor]
    arena[head + L.HEAD_LOTS] = lots * arena[feed + L.FEED_LOT_MULTIPLIER]


@inner
def _merge_heads(arena: Words, instrument: int, is_asks: int, merged: int) -> int:
    """The merged side of several venues; how many levels, or minus one more if it changed."""
    depth = arena[instrument + L.INSTRUMENT_DEPTH]
    venues = arena[instrument + L.INSTRUMENT_VENUES]
    heads = instrument + L.INSTRUMENT_HEADS_AT
    for venue in range(venues):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        if arena[feed + L.FEED_STATE] == L.LIVE:
            _load_head(arena, instrument, is_asks, venue, 0)
        else:
            arena[heads + venue * L.HEAD_WORDS + L.HEAD_KEY] = L.NO_KEY
    sign = -1 if is_asks else 1
    differs = 0
    count = 0
    while count < depth:
        best_venue = -1
        best_key = L.NO_KEY
        best_lots = 0
        for venue in range(venues):
            head = heads + venue * L.HEAD_WORDS
            key = arena[head + L.HEAD_KEY]
            lots = arena[head + L.HEAD_LOTS]
            if key > best_key or (key == best_key and key != L.NO_KEY and lots > best_lots):
                best_venue, best_key, best_lots = venue, key, lots
        if best_venue < 0:
            break
        differs |= _set_merged(arena, merged, count, best_key * sign, best_lots, best_venue)
        cursor = arena[heads + best_venue * L.HEAD_WORDS + L.HEAD_CURSOR]
        _load_head(arena, instrument, is_asks, best_venue, cursor + 1)
        count += 1
    return count if differs == 0 else -1 - count


@inner
def _merge_side(arena: Words, instrument: int, is_asks: int) -> bool:
    """Merge one side into the instrument's merged words; whether it differs from before."""
    merged = instrument + L.INSTRUMENT_MERGED_AT + is_asks * L.MERGED_SIDE_WORDS
    live = 0
    live_venue = 0
    for venue in range(arena[instrument + L.INSTRUMENT_VENUES]):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        if arena[feed + L.FEED_STATE] == L.LIVE:
            live += 1
            live_venue = venue
    if live == 1:
        count = _copy_side(arena, instrument, is_asks, live_venue, merged)
    else:
        count = _merge_heads(arena, instrument, is_asks, merged)
    changed = count < 0
    if changed:
        count = -1 - count
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
def ask_for_next_slot(
    arena: Words, instrument: int, handoff: Words, ring: int, sequence: int
) -> None:
    """Have the cache lines of the slot that is written next brought near meanwhile."""
    slot = slot_at(ring, sequence)
    venues = arena[instrument + L.INSTRUMENT_VENUES] * L.VENUE_WORDS
    levels = arena[instrument + L.INSTRUMENT_DEPTH] * L.LEVEL_WORDS
    for word in range(0, L.SLOT_VENUES_AT + venues, L.CACHE_LINE_WORDS):
        prefetch(handoff, slot + word)
    for word in range(0, levels, L.CACHE_LINE_WORDS):
        prefetch(handoff, slot + L.SLOT_BIDS_AT + word)
        prefetch(handoff, slot + L.SLOT_ASKS_AT + word)


@hot
def _write_slot(
    arena: Words, instrument: int, handoff: Words, trigger_feed: int, receive_ns: int
) -> int:
    """Write the merged book to the next slot; when it was published."""
    ring = arena[instrument + L.INSTRUMENT_RING]
    sequence = arena[instrument + L.INSTRUMENT_SEQUENCE] + 1
    assert sequence > 0, "sequences begin at one"
    arena[instrument + L.INSTRUMENT_SEQUENCE] = sequence
    slot = begin_slot(handoff, ring, sequence)
    handoff[slot + L.SLOT_RECEIVE_NS] = receive_ns
    handoff[slot + L.SLOT_VENUE_NS] = arena[trigger_feed + L.FEED_VENUE_NS]
    handoff[slot + L.SLOT_TRIGGER_VENUE] = arena[trigger_feed + L.FEED_VENUE]
    crossed = _is_crossed(arena, instrument)
    meters, counters = view_meters(arena), arena[instrument + L.INSTRUMENT_METERS]
    meters[counters + M.INSTRUMENT_PUBLISHED] = sequence
    meters[counters + M.INSTRUMENT_CROSSED] += 1 if crossed else 0
    handoff[slot + L.SLOT_FLAGS] = L.FLAG_CROSSED if crossed else 0
    handoff[slot + L.SLOT_TICK_MANTISSA] = arena[instrument + L.INSTRUMENT_TICK_MANTISSA]
    handoff[slot + L.SLOT_TICK_DECIMALS] = arena[instrument + L.INSTRUMENT_TICK_DECIMALS]
    handoff[slot + L.SLOT_LOT_DECIMALS] = arena[instrument + L.INSTRUMENT_LOT_DECIMALS]
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
        assert 0 <= count <= depth, "more levels than the book's depth"
        handoff[slot + (L.SLOT_ASKS if is_asks else L.SLOT_BIDS)] = count
        levels = slot + (L.SLOT_ASKS_AT if is_asks else L.SLOT_BIDS_AT)
        for index in range(min(count, depth) * L.LEVEL_WORDS):
            handoff[levels + index] = arena[merged + 1 + index]
    publish_ns = _now(arena, receive_ns)
    handoff[slot + L.SLOT_PUBLISH_NS] = publish_ns
    end_slot(handoff, ring, slot, sequence)
    ask_for_next_slot(arena, instrument, handoff, ring, sequence + 1)
    return publish_ns


@inner
def publish(
    arena: Words,
    instrument: int,
    handoff: Words,
    trigger_feed: int,
    receive_ns: int,
    is_forced: bool,
) -> int:
    """Merge an instrument and publish it if its levels changed or `is_forced`.

    Returns when it was published, in ns, or NOT_PUBLISHED. Forced: a venue's state changed, which
    subscribers must see even where no level did.
    """
    depth = arena[instrument + L.INSTRUMENT_DEPTH]
    arena[instrument + L.INSTRUMENT_TRIGGER] = NOT_TOUCHED
    arena[L.ENGINE_MAKERS_DUE] |= arena[instrument + L.INSTRUMENT_MAKER_BIT]
    read = 3 if is_forced else 0
    for venue in range(arena[instrument + L.INSTRUMENT_VENUES]):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        if arena[feed + L.FEED_STATE] == L.LIVE:
            read_here = _refresh_tops(arena, feed, depth)
            if read_here != 0:
                arena[feed + L.FEED_IS_INCOMPLETE] = is_incomplete(arena, feed, depth)
            read |= read_here
    changed = read & 1 != 0 and _merge_side(arena, instrument, 0)
    changed |= read & 2 != 0 and _merge_side(arena, instrument, 1)
    if not (changed or is_forced):
        unchanged = arena[instrument + L.INSTRUMENT_METERS] + M.INSTRUMENT_UNCHANGED
        view_meters(arena)[unchanged] += 1
        return NOT_PUBLISHED
    return _write_slot(arena, instrument, handoff, trigger_feed, receive_ns)
