"""The spare book of a feed: it takes a snapshot and the buffered frames, then is the active one.

A feed has two books. One is active and published; the other is where a snapshot is loaded and the
buffered frames are run through until `activate` swaps them, so a running book can be audited, or
renewed, without withdrawing it.
Runs on: the engine thread; `stage_snapshot` on the housekeeping thread, on a stage of its own.
"""

from __future__ import annotations

from engine.book.frame import (
    ANY_FEED,
    apply_diff,
    check_book,
    connection_at,
    count,
    count_far_levels,
    feed_at,
    is_crossed,
    route,
    view_handoff,
)
from engine.book.integrity import settle_book
from engine.book.ladder import (
    clear_side,
    next_worse,
    place_window,
    read_top,
    set_level,
    size_window,
)
from engine.book.merge import publish
from engine.book.side import far_keys_at, lots_at, side_at, window_slots
from engine.compiling.arena import view_arena, view_stage
from engine.compiling.atomics import Words, view_bytes, view_words
from engine.compiling.jit import inner, kernel
from engine.decoding.decode import KIND_DIFF, KIND_SNAPSHOT
from engine.decoding.decode_kernel import decode
from engine.decoding.staging import drop_priceless, rows_at, scale_rows, survey_rows
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import view_meters


@kernel("int64(int64, int64, int64, int64, int64, int64, int64)", releases_gil=True)
def stage_message(
    arena_address: int,
    index: int,
    body_address: int,
    body_bytes: int,
    stage_address: int,
    stage_words: int,
    is_frame: int,
) -> int:
    """Decode a feed's REST body, or a frame, into a stage of the caller's; APPLIED or a refusal.

    Where a price or a quantity does not fit the feed's units the stage holds no levels, but what
    units would do. Reads only the feed's scales: safe beside the running engine, which compares the
    feed's UNITS_EPOCH before and after.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    stage = view_words(stage_address, stage_words)
    body = view_bytes(body_address, body_bytes)
    schema = arena[feed + L.FEED_RULES] + (L.RULES_FRAME_AT if is_frame else L.RULES_SNAPSHOT_AT)
    status = S.APPLIED
    for is_survey in range(2):  # one call of the decoder: it is compiled into each
        decoded = decode(body, arena, schema, stage)
        if decoded != S.APPLIED:
            return S.BAD_SCHEMA if decoded > S.APPLIED else decoded
        has_zero_prices = arena[arena[feed + L.FEED_RULES] + L.RULES_HAS_ZERO_PRICES] != 0
        is_snapshot = stage[L.STAGE_KIND] == KIND_SNAPSHOT
        if is_snapshot or has_zero_prices:
            drop_priceless(stage, is_snapshot)
        if not is_survey:
            status = scale_rows(stage, arena, feed)
            if status == S.APPLIED:
                return status
    survey_rows(stage)
    stage[L.STAGE_BIDS] = stage[L.STAGE_ASKS] = 0
    return status


@kernel("int64(int64, int64, int64, int64, int64, int64)", releases_gil=True)
def stage_large(
    arena_address: int,
    connection: int,
    body_address: int,
    body_bytes: int,
    stage_address: int,
    stage_words: int,
) -> int:
    """Decode a large frame into a stage of the caller's: the index of its feed, or ANY_FEED.

    Levels are left as they are written: `stage_message` scales them. Safe beside the engine.
    """
    arena = view_arena(arena_address)
    stage = view_words(stage_address, stage_words)
    body = view_bytes(body_address, body_bytes)
    rules = arena[connection_at(arena, connection) + L.CONNECTION_RULES]
    status = decode(body, arena, rules + L.RULES_FRAME_AT, stage)
    return route(arena, connection, body, stage) if status == S.APPLIED else ANY_FEED


@inner
def _load_side(arena: Words, side: int, stage: Words, is_asks: int, levels_limit: int) -> None:
    """Fill one side from a snapshot, as a diff of these rows would.

    Rows come best first, as a rule; walked backwards the far store is then only appended to. In any
    other order they are walked as they stand, so that of a price named twice the last row counts.
    """
    clear_side(arena, side)
    count = stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]
    is_cut = levels_limit > 0 and count + stage[L.STAGE_DROPPED] >= levels_limit
    slots = size_window(arena, side, count, is_cut)
    sign = -1 if is_asks else 1
    first = rows_at(stage, is_asks)
    best = L.NO_KEY
    worst = 2**62
    before = 2**62
    is_sorted = True
    for index in range(count):
        row = first + index * L.ROW_WORDS
        key = sign * stage[row + L.ROW_PRICE]
        is_sorted &= key < before
        before = key
        if stage[row + L.ROW_LOTS] > 0:
            best = max(best, key)
            worst = min(worst, key)
    if best == L.NO_KEY:
        return
    place_window(arena, side, slots, best)
    if is_sorted:
        arena[side + L.SIDE_BEST] = best
    for step in range(count):
        index = count - 1 - step if is_sorted else step
        row = first + index * L.ROW_WORDS
        set_level(arena, side, slots, sign * stage[row + L.ROW_PRICE], stage[row + L.ROW_LOTS])
    if is_cut:
        if is_sorted and count > levels_limit:  # who sends more need not send all between
            worst = sign * stage[first + (levels_limit - 1) * L.ROW_WORDS + L.ROW_PRICE]
        arena[side + L.SIDE_HORIZON] = max(arena[side + L.SIDE_HORIZON], worst - 1)


@inner
def _load(arena: Words, feed: int, stage: Words, levels_limit: int) -> None:
    """Fill the feed's spare book from a staged snapshot."""
    spare = 1 - arena[feed + L.FEED_ACTIVE_BOOK]
    assert spare == 0 or spare == 1, "a feed has two books"
    for is_asks in range(2):
        _load_side(arena, side_at(arena, feed, spare, is_asks), stage, is_asks, levels_limit)
    arena[feed + L.FEED_BOOK_ID_0 + spare] = stage[L.STAGE_LAST_ID]


@kernel("int64(int64, int64, int64, int64, int64)")
def load_snapshot(
    arena_address: int, index: int, stage_address: int, stage_words: int, levels_limit: int
) -> int:
    """Load a staged snapshot into the feed's spare book, replacing whatever was there: APPLIED, or
    BAD_CHECKSUM where it is not the book that the venue had.

    `levels_limit`: a side of so many levels was cut there by the venue: the rest is unknown;
    0 where the venue sends its whole book.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    stage = view_words(stage_address, stage_words)
    assert stage[L.STAGE_KIND] == KIND_SNAPSHOT, "a diff is no whole book"
    _load(arena, feed, stage, levels_limit)
    return settle_book(arena, feed, 1 - arena[feed + L.FEED_ACTIVE_BOOK], stage)


@kernel("int64(int64, int64, int64, int64)")
def replay_frame(arena_address: int, index: int, frame_address: int, frame_bytes: int) -> int:
    """Run one buffered frame through the spare book: APPLIED, OLD, GAP or a refusal.

    The frame that ends where the book stands is OLD, and applied all the same: its quantities are
    those of that very moment, so it changes nothing, unless the book is another market's.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    stage = view_stage(arena)
    frame = view_bytes(frame_address, frame_bytes)
    status = decode(frame, arena, arena[feed + L.FEED_RULES] + L.RULES_FRAME_AT, stage)
    if status != S.APPLIED:
        return status
    assert stage[L.STAGE_KIND] == KIND_DIFF, "whole books are never buffered"
    spare = 1 - arena[feed + L.FEED_ACTIVE_BOOK]
    status = check_book(arena, feed, spare, stage)
    is_echo = stage[L.STAGE_LAST_ID] == arena[feed + L.FEED_BOOK_ID_0 + spare]
    if status != S.APPLIED and not is_echo:
        return status
    if arena[arena[feed + L.FEED_RULES] + L.RULES_HAS_ZERO_PRICES] != 0:
        drop_priceless(stage, False)
    scaled = scale_rows(stage, arena, feed)
    if scaled != S.APPLIED:
        return scaled
    unknown_deletes = apply_diff(arena, feed, spare, stage)
    if not is_echo:  # what an echo deletes is of course gone
        count(arena, feed, M.FEED_UNKNOWN_DELETES, unknown_deletes)
    settled = settle_book(arena, feed, spare, stage)
    return status if settled == S.APPLIED else settled


@kernel("int64(int64, int64)")
def differing_levels(arena_address: int, index: int) -> int:
    """How many of the best DEPTH_MAX levels differ between the active book and the spare one.

    Only levels that both books know completely are compared (above both horizons).
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    differing = 0
    for is_asks in range(2):
        one = side_at(arena, feed, 0, is_asks)
        other = side_at(arena, feed, 1, is_asks)
        read_top(arena, one, window_slots(arena, one), L.DEPTH_MAX)
        read_top(arena, other, window_slots(arena, other), L.DEPTH_MAX)
        horizon = max(arena[one + L.SIDE_HORIZON], arena[other + L.SIDE_HORIZON])
        for level in range(L.DEPTH_MAX):
            has_one = level < arena[one + L.SIDE_TOP_LEVELS]
            has_other = level < arena[other + L.SIDE_TOP_LEVELS]
            key = arena[one + L.SIDE_TOP_KEYS_AT + level] if has_one else L.NO_KEY
            other_key = arena[other + L.SIDE_TOP_KEYS_AT + level] if has_other else L.NO_KEY
            if max(key, other_key) <= horizon:
                break
            lots = arena[one + L.SIDE_TOP_LOTS_AT + level]
            if key != other_key or lots != arena[other + L.SIDE_TOP_LOTS_AT + level]:
                differing += 1
        arena[one + L.SIDE_TOP_IS_STALE] = 1
        arena[other + L.SIDE_TOP_IS_STALE] = 1
    return differing


@kernel("int64(int64, int64)")
def is_spare_crossed(arena_address: int, index: int) -> int:
    """Whether the spare book, to which frames may have been added, is crossed."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    return 1 if is_crossed(arena, feed, 1 - arena[feed + L.FEED_ACTIVE_BOOK]) else 0


@kernel("void(int64, int64, int64, int64)")
def activate(arena_address: int, index: int, state: int, now_ns: int) -> None:
    """Make the spare book the active one and the feed LIVE, or STALE, and publish."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    active = 1 - arena[feed + L.FEED_ACTIVE_BOOK]
    arena[feed + L.FEED_ACTIVE_BOOK] = active
    arena[feed + L.FEED_IS_BUFFERED] = 0
    arena[feed + L.FEED_CROSSED_FRAMES] = 0
    for is_asks in range(2):
        arena[side_at(arena, feed, active, is_asks) + L.SIDE_TOP_IS_STALE] = 1
    view_meters(arena)[arena[feed + L.FEED_METERS] + M.FEED_SNAPSHOT_NS] = now_ns
    count_far_levels(arena, feed)
    is_state_new = arena[feed + L.FEED_STATE] != state
    arena[feed + L.FEED_STATE] = state
    instrument = arena[feed + L.FEED_INSTRUMENT]
    publish(arena, instrument, view_handoff(arena), feed, now_ns, is_state_new)


@kernel("void(int64, int64)")
def clear_books(arena_address: int, index: int) -> None:
    """Empty both books of a feed: at start, before the first snapshot."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    for book in range(2):
        for is_asks in range(2):
            clear_side(arena, side_at(arena, feed, book, is_asks))


@kernel("void(int64, int64)")
def clear_spare(arena_address: int, index: int) -> None:
    """Empty a feed's spare book: all words of its windows are zero then."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    for is_asks in range(2):
        clear_side(arena, side_at(arena, feed, 1 - arena[feed + L.FEED_ACTIVE_BOOK], is_asks))


@inner
def _does_side_fit(
    arena: Words, side: int, price_max: int, lots_max: int, divisor: int, is_change: bool
) -> bool:
    """Whether every level keeps to the limits, its lots being a multiple of the divisor.

    `is_change`: they are divided by it.
    """
    slots, far_max = window_slots(arena, side), arena[L.ENGINE_FAR_MAX]
    far = far_keys_at(arena, side)
    index = arena[side + L.SIDE_FAR_LEVELS] - 1
    key = arena[side + L.SIDE_BEST]
    while key != L.NO_KEY or index >= 0:
        at = lots_at(side, slots) + (key & (slots - 1))
        if key == L.NO_KEY:
            key, at = arena[far + index], far + far_max + index
            index -= 1
        lots = arena[at]
        fits = abs(key) <= price_max and lots % divisor == 0 and lots // divisor <= lots_max
        if lots != 0 and not fits:
            return False
        if is_change:
            arena[at] = lots // divisor
        is_far = at >= far
        key = L.NO_KEY if is_far else next_worse(arena, side, slots, key)
    return True


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def rescale_book(
    arena_address: int, index: int, price_max: int, lots_max: int, divisor: int, is_change: int
) -> int:
    """Whether the active book would fit these limits with its lots divided; `is_change`: do it."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    fits = True
    for is_asks in range(2):
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        fits &= _does_side_fit(arena, side, price_max, lots_max, divisor, is_change != 0)
        arena[side + L.SIDE_TOP_IS_STALE] = 1
    return 1 if fits else 0
