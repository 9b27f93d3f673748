"""What happens to one frame: decode, route, check the sequence, apply, publish. One kernel call.

Kernels here take addresses and integers only: converting arrays at the boundary costs more than
the work of a small frame. Nothing of a frame is applied before all of it has been verified.

A feed has two books. One is active and published; the other is where a snapshot is loaded and the
buffered frames are run through (`load_snapshot`, `replay_frame`) until `activate` swaps them, so a
running book can be audited, or renewed, without withdrawing it.
Runs on: the engine thread; `stage_snapshot` on the housekeeping thread, on a stage of its own.
Called by: engine.engine.
"""

from __future__ import annotations

from engine import layout as L
from engine import meter_layout as M
from engine import status as S
from engine.atomics import Bytes, Words, view_bytes, view_words
from engine.decode import decode_diff, decode_snapshot
from engine.jit import hot, inlined, inner, kernel
from engine.ladder import clear_side, place_window, read_top, set_level, set_levels
from engine.merge import NOT_PUBLISHED, publish
from engine.meter_layout import view_meters
from engine.meters import observe
from engine.side import side_at
from engine.stage import is_symbol, rows_at, scale_rows
from engine.template import learn_template, read_by_template

CROSSED_FRAMES_MAX = 3
"""Frames in a row that may leave a venue's own book crossed; then it is wrong, not busy."""

ANY_FEED = -1


@inlined
def view_arena(address: int) -> Words:
    """The whole arena at its address."""
    header = view_words(address, L.ENGINE_WORDS)
    return view_words(address, header[L.ENGINE_ARENA_WORDS])


@inlined
def _view_stage(arena: Words) -> Words:
    return view_words(arena[L.ENGINE_STAGE_ADDRESS], arena[L.ENGINE_STAGE_WORDS])


@inlined
def _view_handoff(arena: Words) -> Words:
    return view_words(arena[L.ENGINE_HANDOFF_ADDRESS], arena[L.ENGINE_HANDOFF_WORDS])


@inner
def feed_at(arena: Words, index: int) -> int:
    """The first word of a feed."""
    return arena[L.ENGINE_FEEDS_OFFSET] + index * arena[L.ENGINE_FEED_WORDS]


@inner
def _route(arena: Words, connection: int, frame: Bytes, stage: Words) -> int:
    """The index of the connection's feed that the staged symbol names, or -1."""
    for index in range(arena[L.ENGINE_FEEDS]):
        feed = feed_at(arena, index)
        if arena[feed + L.FEED_CONNECTION] == connection and is_symbol(frame, stage, arena, feed):
            return index
    return -1


@inner
def _check_stream(arena: Words, feed: int, stage: Words) -> int:
    """Whether the staged diff follows the feed's last frame: APPLIED, OLD, GAP or BACKWARDS."""
    last = arena[feed + L.FEED_LAST_FRAME_ID]
    if last == 0:
        return S.APPLIED
    last_id = stage[L.STAGE_LAST_ID]
    if arena[feed + L.FEED_PROTOCOL] == L.PROTOCOL_BINANCE:
        if last_id <= last:
            return S.OLD
        return S.GAP if stage[L.STAGE_FIRST_ID] > last + 1 else S.APPLIED
    if last_id == last:
        return S.OLD
    return S.BACKWARDS if last_id < last else S.APPLIED


@inner
def _check_book(arena: Words, feed: int, book: int, stage: Words) -> int:
    """Whether the staged diff continues a book: APPLIED, OLD or GAP.

    Binance: U <= id + 1 <= u joins. Bitstamp tells no gap; newer than the book is all there is.
    """
    book_id = arena[feed + L.FEED_BOOK_ID_0 + book]
    if stage[L.STAGE_LAST_ID] <= book_id:
        return S.OLD
    is_binance = arena[feed + L.FEED_PROTOCOL] == L.PROTOCOL_BINANCE
    return S.GAP if is_binance and stage[L.STAGE_FIRST_ID] > book_id + 1 else S.APPLIED


@hot
def _apply(arena: Words, feed: int, book: int, stage: Words) -> int:
    """Set every staged level, mark the tops that may have changed and take over the id.

    How many levels were deleted that the book did not have.
    """
    slots = arena[L.ENGINE_WINDOW_SLOTS]
    depth = arena[arena[feed + L.FEED_INSTRUMENT] + L.INSTRUMENT_DEPTH]
    unknown_deletes = 0
    for is_asks in range(2):
        side = side_at(arena, feed, book, is_asks)
        sign = -1 if is_asks else 1
        count = stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]
        row = rows_at(stage, is_asks)
        unknown_deletes += set_levels(arena, side, slots, sign, depth, stage, row, count)
    arena[feed + L.FEED_BOOK_ID_0 + book] = stage[L.STAGE_LAST_ID]
    return unknown_deletes


@inner
def _count_far_levels(arena: Words, feed: int) -> None:
    """Tell how many levels of each side of the active book lie outside the window."""
    meters = view_meters(arena)
    for is_asks in range(2):
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        levels = arena[side + L.SIDE_FAR_LEVELS] - arena[side + L.SIDE_FAR_DELETED]
        meters[arena[side + L.SIDE_METERS] + M.SIDE_FAR_LEVELS] = levels


@inner
def _is_crossed(arena: Words, feed: int, book: int) -> bool:
    """Whether a book has its best bid at or above its best ask."""
    bid = arena[side_at(arena, feed, book, 0) + L.SIDE_BEST]
    ask = arena[side_at(arena, feed, book, 1) + L.SIDE_BEST]
    return bid != L.NO_KEY and ask != L.NO_KEY and bid >= -ask


@inner
def _is_crossed_for_long(arena: Words, feed: int) -> bool:
    """Count the frames in a row that leave the active book crossed."""
    if not _is_crossed(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK]):
        arena[feed + L.FEED_CROSSED_FRAMES] = 0
        return False
    arena[feed + L.FEED_CROSSED_FRAMES] += 1
    return arena[feed + L.FEED_CROSSED_FRAMES] > CROSSED_FRAMES_MAX


@hot
def _take_frame(arena: Words, connection: int, protocol: int, frame: Bytes, receive_ns: int) -> int:
    """Everything up to publication; the status."""
    stage = _view_stage(arena)
    index = _read_as_before(arena, connection, frame, stage)
    if index >= 0:
        return _take_diff(arena, index, stage, len(frame), receive_ns)
    status = decode_diff(frame, protocol, stage)
    arena[L.ENGINE_LAST_FEED] = ANY_FEED
    if status != S.APPLIED:
        if status < 0:
            arena[L.ENGINE_LAST_FEED] = _route_refused(arena, connection, frame, stage)
        return status
    index = _route(arena, connection, frame, stage)
    if index < 0:
        return S.UNKNOWN_SYMBOL
    arena[L.ENGINE_LAST_FEED] = index
    feed = feed_at(arena, index)
    status = scale_rows(stage, arena, feed)
    if status != S.APPLIED:
        return status
    learn_template(frame, arena, feed, stage)
    return _take_diff(arena, index, stage, len(frame), receive_ns)


@hot
def _read_as_before(arena: Words, connection: int, frame: Bytes, stage: Words) -> int:
    """The feed whose template this frame has, its rows staged; or -1. The last feed goes first."""
    feeds = arena[L.ENGINE_FEEDS]
    index = max(arena[L.ENGINE_LAST_FEED], 0)
    for _ in range(feeds):
        feed = feed_at(arena, index)
        if arena[feed + L.FEED_CONNECTION] == connection and read_by_template(
            frame, arena, feed, stage
        ):
            return index
        index = index + 1 if index + 1 < feeds else 0
    return -1


@inner
def _take_diff(arena: Words, index: int, stage: Words, frame_bytes: int, receive_ns: int) -> int:
    """Count, check and apply a staged diff whose rows are ticks and lots; the status."""
    arena[L.ENGINE_LAST_FEED] = index
    feed = feed_at(arena, index)
    meters, counters = view_meters(arena), arena[feed + L.FEED_METERS]
    meters[counters + M.FEED_FRAMES] += 1
    meters[counters + M.FEED_BYTES] += frame_bytes
    meters[counters + M.FEED_LEVELS] += stage[L.STAGE_BIDS] + stage[L.STAGE_ASKS]
    status = _check_stream(arena, feed, stage)
    if status == S.GAP:
        # The broken stream begins anew with this frame: it is the first to be buffered.
        arena[feed + L.FEED_LAST_FRAME_ID] = stage[L.STAGE_LAST_ID]
    if status != S.APPLIED:
        meters[counters + M.FEED_OLD] += 1 if status == S.OLD else 0
        return status
    arena[feed + L.FEED_LAST_FRAME_ID] = stage[L.STAGE_LAST_ID]
    arena[feed + L.FEED_VENUE_NS] = stage[L.STAGE_TIME]
    arena[feed + L.FEED_RECEIVE_NS] = receive_ns
    observe(meters, counters + M.FEED_RECEIVE_LAG, receive_ns - stage[L.STAGE_TIME])
    return _apply_by_state(arena, index, stage)


@hot
def _apply_by_state(arena: Words, index: int, stage: Words) -> int:
    feed = feed_at(arena, index)
    state = arena[feed + L.FEED_STATE]
    if state != L.LIVE and state != L.STALE:
        return S.BUFFER
    book = arena[feed + L.FEED_ACTIVE_BOOK]
    status = _check_book(arena, feed, book, stage)
    if status == S.APPLIED:
        unknown_deletes = _apply(arena, feed, book, stage)
        view_meters(arena)[arena[feed + L.FEED_METERS] + M.FEED_UNKNOWN_DELETES] += unknown_deletes
        _count_far_levels(arena, feed)
        arena[arena[feed + L.FEED_INSTRUMENT] + L.INSTRUMENT_TRIGGER] = index
        if _is_crossed_for_long(arena, feed):
            return S.CROSSED_TOO_LONG
    elif status == S.GAP:
        return status
    if state == L.STALE:
        return S.RESUMED
    return S.APPLIED_AND_BUFFER if arena[feed + L.FEED_IS_BUFFERED] != 0 else status


@inner
def _route_refused(arena: Words, connection: int, frame: Bytes, stage: Words) -> int:
    """Whose frame was refused: the feed its symbol names if that was read, else any."""
    if stage[L.STAGE_SYMBOL_END] > stage[L.STAGE_SYMBOL_START]:
        return _route(arena, connection, frame, stage)
    return ANY_FEED


@hot
def _publish_touched(arena: Words) -> None:
    """Publish every instrument that a frame has touched since it was last published."""
    handoff = _view_handoff(arena)
    for index in range(arena[L.ENGINE_INSTRUMENTS]):
        instrument = arena[L.ENGINE_INSTRUMENTS_OFFSET] + index * L.INSTRUMENT_WORDS
        trigger = arena[instrument + L.INSTRUMENT_TRIGGER]
        if trigger >= 0:
            feed = feed_at(arena, trigger)
            receive_ns = arena[feed + L.FEED_RECEIVE_NS]
            publish_ns = publish(arena, instrument, handoff, feed, receive_ns, False)
            if publish_ns != NOT_PUBLISHED and arena[L.ENGINE_READS_CLOCK] != 0:
                latency = arena[instrument + L.INSTRUMENT_METERS] + M.INSTRUMENT_PUBLISH_LATENCY
                observe(view_meters(arena), latency, publish_ns - receive_ns)


@kernel("int64(int64, int64, int64, int64, int64, int64, int64)")
def on_frame(
    arena_address: int,
    connection: int,
    protocol: int,
    frame_address: int,
    frame_bytes: int,
    receive_ns: int,
    is_last: int,
) -> int:
    """Take one websocket text frame of a connection; a status of engine.status.

    `is_last`: no further frame is waiting in the receive buffer, so publish what changed. After a
    negative status nothing is published: the caller withdraws the feed first, then calls
    `publish_touched`. The feed's index is left in ENGINE_LAST_FEED, ANY_FEED where the frame did
    not tell.
    """
    arena = view_arena(arena_address)
    frame = view_bytes(frame_address, frame_bytes)
    status = _take_frame(arena, connection, protocol, frame, receive_ns)
    if is_last != 0 and status >= 0:
        _publish_touched(arena)
    return status


@kernel("void(int64)")
def publish_touched(arena_address: int) -> None:
    """Publish what frames have touched, where the last frame of a buffer was no book frame."""
    _publish_touched(view_arena(arena_address))


@kernel("void(int64, int64)")
def restart_stream(arena_address: int, index: int) -> None:
    """Forget the last frame's id: after a refused frame the next one starts the stream anew."""
    arena = view_arena(arena_address)
    arena[feed_at(arena, index) + L.FEED_LAST_FRAME_ID] = 0


@kernel("void(int64, int64, int64)")
def set_buffered(arena_address: int, index: int, is_buffered: int) -> None:
    """Ask for every applied frame of a live feed to be buffered too (for an audit), or stop."""
    arena = view_arena(arena_address)
    arena[feed_at(arena, index) + L.FEED_IS_BUFFERED] = is_buffered


@kernel("void(int64, int64, int64, int64)")
def set_state(arena_address: int, index: int, state: int, now_ns: int) -> None:
    """Change a feed's state; its instrument is published at once, with or without its levels."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    arena[feed + L.FEED_STATE] = state
    if state == L.DISCONNECTED or state == L.BUFFERING:
        arena[feed + L.FEED_IS_BUFFERED] = 0
        arena[feed + L.FEED_CROSSED_FRAMES] = 0
    if state == L.DISCONNECTED or state == L.CONNECTING:
        arena[feed + L.FEED_LAST_FRAME_ID] = 0
    publish(arena, arena[feed + L.FEED_INSTRUMENT], _view_handoff(arena), feed, now_ns, True)


@kernel("int64(int64, int64, int64, int64, int64, int64)", releases_gil=True)
def stage_snapshot(
    arena_address: int,
    index: int,
    body_address: int,
    body_bytes: int,
    stage_address: int,
    stage_words: int,
) -> int:
    """Decode a REST body for a feed into a stage of the caller's; APPLIED or a refusal.

    Reads only the feed's scales, which never change: safe beside the running engine.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    stage = view_words(stage_address, stage_words)
    body = view_bytes(body_address, body_bytes)
    status = decode_snapshot(body, arena[feed + L.FEED_PROTOCOL], stage)
    return scale_rows(stage, arena, feed) if status == S.APPLIED else status


@inner
def _load_side(arena: Words, side: int, stage: Words, is_asks: int, levels_limit: int) -> None:
    """Fill one side from a snapshot, as a diff of these rows would.

    Rows come best first, as a rule; walked backwards the far store is then only appended to. In any
    other order they are walked as they stand, so that of a price named twice the last row counts.
    """
    slots = arena[L.ENGINE_WINDOW_SLOTS]
    clear_side(arena, side, slots)
    count = stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]
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
    if levels_limit > 0 and count >= levels_limit:
        arena[side + L.SIDE_HORIZON] = max(arena[side + L.SIDE_HORIZON], worst - 1)


@kernel("void(int64, int64, int64, int64, int64)")
def load_snapshot(
    arena_address: int, index: int, stage_address: int, stage_words: int, levels_limit: int
) -> None:
    """Load a staged snapshot into the feed's spare book, replacing whatever was there.

    `levels_limit`: a side of this many levels was cut by the venue, so what lies beyond is unknown;
    0 where the venue sends its whole book.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    stage = view_words(stage_address, stage_words)
    spare = 1 - arena[feed + L.FEED_ACTIVE_BOOK]
    for is_asks in range(2):
        _load_side(arena, side_at(arena, feed, spare, is_asks), stage, is_asks, levels_limit)
    arena[feed + L.FEED_BOOK_ID_0 + spare] = stage[L.STAGE_LAST_ID]


@kernel("int64(int64, int64, int64, int64)")
def replay_frame(arena_address: int, index: int, frame_address: int, frame_bytes: int) -> int:
    """Run one buffered frame through the spare book: APPLIED, OLD, GAP or a refusal.

    The frame that ends where the book stands is OLD, and applied all the same: its quantities are
    those of that very moment, so it changes nothing, unless the book is another market's.
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    stage = _view_stage(arena)
    frame = view_bytes(frame_address, frame_bytes)
    status = decode_diff(frame, arena[feed + L.FEED_PROTOCOL], stage)
    if status != S.APPLIED:
        return status
    spare = 1 - arena[feed + L.FEED_ACTIVE_BOOK]
    status = _check_book(arena, feed, spare, stage)
    is_echo = stage[L.STAGE_LAST_ID] == arena[feed + L.FEED_BOOK_ID_0 + spare]
    if status != S.APPLIED and not is_echo:
        return status
    scaled = scale_rows(stage, arena, feed)
    if scaled != S.APPLIED:
        return scaled
    unknown_deletes = _apply(arena, feed, spare, stage)
    if not is_echo:
        # What an echo deletes is of course gone.
        view_meters(arena)[arena[feed + L.FEED_METERS] + M.FEED_UNKNOWN_DELETES] += unknown_deletes
    return status


@kernel("int64(int64, int64)")
def differing_levels(arena_address: int, index: int) -> int:
    """How many of the best DEPTH_MAX levels differ between the active book and the spare one.

    Only levels that both books know completely are compared (above both horizons).
    """
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    slots = arena[L.ENGINE_WINDOW_SLOTS]
    differing = 0
    for is_asks in range(2):
        one = side_at(arena, feed, 0, is_asks)
        other = side_at(arena, feed, 1, is_asks)
        read_top(arena, one, slots, L.DEPTH_MAX)
        read_top(arena, other, slots, L.DEPTH_MAX)
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
    return 1 if _is_crossed(arena, feed, 1 - arena[feed + L.FEED_ACTIVE_BOOK]) else 0


@kernel("void(int64, int64, int64)")
def activate(arena_address: int, index: int, now_ns: int) -> None:
    """Make the spare book the active one and the feed LIVE, and publish."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    active = 1 - arena[feed + L.FEED_ACTIVE_BOOK]
    arena[feed + L.FEED_ACTIVE_BOOK] = active
    arena[feed + L.FEED_IS_BUFFERED] = 0
    arena[feed + L.FEED_CROSSED_FRAMES] = 0
    for is_asks in range(2):
        arena[side_at(arena, feed, active, is_asks) + L.SIDE_TOP_IS_STALE] = 1
    view_meters(arena)[arena[feed + L.FEED_METERS] + M.FEED_SNAPSHOT_NS] = now_ns
    _count_far_levels(arena, feed)
    was_live = arena[feed + L.FEED_STATE] == L.LIVE
    arena[feed + L.FEED_STATE] = L.LIVE
    instrument = arena[feed + L.FEED_INSTRUMENT]
    publish(arena, instrument, _view_handoff(arena), feed, now_ns, not was_live)


@kernel("void(int64, int64)")
def clear_books(arena_address: int, index: int) -> None:
    """Empty both books of a feed: at start, before the first snapshot."""
    arena = view_arena(arena_address)
    feed = feed_at(arena, index)
    for book in range(2):
        for is_asks in range(2):
            side = side_at(arena, feed, book, is_asks)
            clear_side(arena, side, arena[L.ENGINE_WINDOW_SLOTS])
