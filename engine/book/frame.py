"""What happens to one frame: decode, route, check the sequence, apply, publish. One kernel call.

Kernels here take addresses and integers only: converting arrays at the boundary costs more than
the work of a small frame. Nothing of a frame is applied before all of it has been verified.

A feed has two books: the active one, which is published and changed here, and a spare one
(engine.book.spare_book).
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.integrity import note_printed, settle_book
from engine.book.ladder import set_levels
from engine.book.merge import NOT_PUBLISHED, publish
from engine.book.prefetch import prefetch_other
from engine.book.routes import guess_feed, remember_feed, touch
from engine.book.rules import (
    CONTINUITY_CHAIN,
    CONTINUITY_LINK,
    CONTINUITY_NONE,
    CONTINUITY_TIME,
)
from engine.book.side import side_at, window_slots
from engine.compiling.arena import view_arena, view_stage
from engine.compiling.atomics import Bytes, Words, view_bytes, view_words
from engine.compiling.jit import hot, inlined, inner, kernel
from engine.decoding.decode import KIND_SNAPSHOT
from engine.decoding.decode_kernel import decode
from engine.decoding.frame_template import learn_template, read_by_template
from engine.decoding.schema import FIELD_LAST_ID
from engine.decoding.staging import drop_priceless, is_symbol, rows_at, scale_rows
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import view_meters
from engine.sharing.meters import observe

CROSSED_FRAMES_MAX = 3
"""Frames in a row that may leave a venue's own book crossed; then it is wrong, not busy."""

ANY_FEED = -1


@inlined
def view_handoff(arena: Words) -> Words:
    return view_words(arena[L.ENGINE_HANDOFF_ADDRESS], arena[L.ENGINE_HANDOFF_WORDS])


@inner
def feed_at(arena: Words, index: int) -> int:
    """The first word of a feed."""
    return arena[L.ENGINE_FEEDS_OFFSET] + index * arena[L.ENGINE_FEED_WORDS]


@inner
def connection_at(arena: Words, connection: int) -> int:
    """The first word of a connection."""
    return arena[L.ENGINE_CONNECTIONS_OFFSET] + connection * L.CONNECTION_WORDS


@inner
def count(arena: Words, feed: int, meter: int, amount: int) -> None:
    """Add to one of a feed's counters (engine.sharing.meter_layout)."""
    view_meters(arena)[arena[feed + L.FEED_METERS] + meter] += amount


@inner
def route(arena: Words, connection: int, frame: Bytes, stage: Words) -> int:
    """The index of the connection's feed that the staged symbol names, or -1."""
    for index in range(arena[L.ENGINE_FEEDS]):
        feed = feed_at(arena, index)
        if arena[feed + L.FEED_CONNECTION] == connection and is_symbol(frame, stage, arena, feed):
            return index
    return -1


@inner
def _check_stream(arena: Words, feed: int, stage: Words) -> int:
    """Whether the staged diff follows the feed's last frame: APPLIED, OLD, GAP or BACKWARDS.

    SAME_TIME, where times are all there is: another change of the same moment, or the same again.
    """
    last = arena[feed + L.FEED_LAST_FRAME_ID]
    if last == 0:
        return S.APPLIED
    last_id = stage[L.STAGE_LAST_ID]
    continuity = arena[arena[feed + L.FEED_RULES] + L.RULES_CONTINUITY]
    if continuity == CONTINUITY_TIME:
        if last_id == last:
            return S.SAME_TIME
        return S.BACKWARDS if last_id < last else S.APPLIED
    first_id = stage[L.STAGE_FIRST_ID]
    if continuity == CONTINUITY_LINK:
        return S.APPLIED if first_id == last + 1 else S.GAP
    if last_id <= last:
        return _came_before(arena, feed, last_id == last)
    if first_id == last + 1 or (first_id <= last and continuity != CONTINUITY_CHAIN):
        return S.APPLIED
    is_counted = arena[arena[feed + L.FEED_RULES] + L.RULES_IS_CONNECTION_WIDE] != 0
    return S.APPLIED if is_counted else S.GAP  # `_check_connection` has seen it


@inner
def _came_before(arena: Words, feed: int, is_last: bool) -> int:
    """What an id is that does not rise: OLD; GAP where no frame can come twice but the last one.

    Two connections may overlap where books come by REST. Where they come in the stream, lower ids
    are those of a venue that counts anew. Where the connection is counted, an id that is the last
    one's is another part of the same frame.
    """
    if is_last and arena[arena[feed + L.FEED_RULES] + L.RULES_IS_CONNECTION_WIDE] != 0:
        return S.APPLIED
    is_streamed = arena[arena[feed + L.FEED_RULES] + L.RULES_IS_STREAMED] != 0
    return S.GAP if is_streamed and not is_last else S.OLD


@inner
def _check_connection(arena: Words, connection: int, stage: Words) -> int:
    """Whether a frame of any kind follows the connection's last one, where those are numbered.

    One without a number that is no book message is passed over.
    """
    if stage[L.STAGE_PRESENT] & (1 << FIELD_LAST_ID) == 0:
        return S.APPLIED
    at = connection_at(arena, connection) + L.CONNECTION_LAST_ID
    last = arena[at]
    arena[at] = stage[L.STAGE_LAST_ID]
    return S.APPLIED if last == L.NO_ID or stage[L.STAGE_LAST_ID] == last + 1 else S.GAP


@inner
def check_book(arena: Words, feed: int, book: int, stage: Words) -> int:
    """Whether the staged diff continues a book: APPLIED, OLD or GAP.

    With ids first <= id + 1 <= last joins; with numbers of a connection also another part of the
    frame that the book stands at. Times tell no gap; newer than the book is all there is.
    """
    book_id = arena[feed + L.FEED_BOOK_ID_0 + book]
    last_id = stage[L.STAGE_LAST_ID]
    rules = arena[feed + L.FEED_RULES]
    continuity = arena[rules + L.RULES_CONTINUITY]
    if continuity == CONTINUITY_TIME:
        # Another change of the book's own moment may be one that the book does not have yet.
        return S.OLD if last_id < book_id else S.APPLIED
    first_id = stage[L.STAGE_FIRST_ID]
    if continuity == CONTINUITY_LINK and first_id == book_id + 1:
        return S.APPLIED
    if last_id <= book_id:
        is_part = last_id == book_id and arena[rules + L.RULES_IS_CONNECTION_WIDE] != 0
        return S.APPLIED if is_part else S.OLD
    # The numbers of a connection have gaps in each feed, and were checked when the frame came.
    is_gap = first_id > book_id + 1 and arena[rules + L.RULES_IS_CONNECTION_WIDE] == 0
    return S.GAP if is_gap else S.APPLIED


@hot
def apply_diff(arena: Words, feed: int, book: int, stage: Words) -> int:
    """Set every staged level, mark the tops that may have changed and take over the id.

    How many levels were deleted that the book did not have.
    """
    depth = arena[arena[feed + L.FEED_INSTRUMENT] + L.INSTRUMENT_DEPTH]
    unknown_deletes = 0
    for is_asks in range(2):
        side = side_at(arena, feed, book, is_asks)
        slots = window_slots(arena, side)
        sign = -1 if is_asks else 1
        count = stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]
        row = rows_at(stage, is_asks)
        unknown_deletes += set_levels(arena, side, slots, sign, depth, stage, row, count)
    arena[feed + L.FEED_BOOK_ID_0 + book] = stage[L.STAGE_LAST_ID]
    return unknown_deletes


@inner
def count_far_levels(arena: Words, feed: int) -> None:
    """Tell how many levels of each side of the active book lie outside the window."""
    meters = view_meters(arena)
    for is_asks in range(2):
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        levels = arena[side + L.SIDE_FAR_LEVELS] - arena[side + L.SIDE_FAR_DELETED]
        meters[arena[side + L.SIDE_METERS] + M.SIDE_FAR_LEVELS] = levels


@inner
def is_crossed(arena: Words, feed: int, book: int) -> bool:
    """Whether a book has its best bid at or above its best ask."""
    bid = arena[side_at(arena, feed, book, 0) + L.SIDE_BEST]
    ask = arena[side_at(arena, feed, book, 1) + L.SIDE_BEST]
    return bid != L.NO_KEY and ask != L.NO_KEY and bid >= -ask


@inner
def _is_crossed_for_long(arena: Words, feed: int) -> bool:
    """Count the frames in a row that leave the active book crossed."""
    if not is_crossed(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK]):
        arena[feed + L.FEED_CROSSED_FRAMES] = 0
        return False
    arena[feed + L.FEED_CROSSED_FRAMES] += 1
    return arena[feed + L.FEED_CROSSED_FRAMES] > CROSSED_FRAMES_MAX


@hot
def _take_frame(arena: Words, connection: int, frame: Bytes, receive_ns: int) -> int:
    """Everything up to publication; the status."""
    stage = view_stage(arena)
    if len(frame) > arena[L.ENGINE_LARGE_FRAME_BYTES] and _pass_large(arena, connection):
        return S.LARGE
    index = _read_as_before(arena, connection, frame, stage)
    if index >= 0:
        rules = arena[feed_at(arena, index) + L.FEED_RULES]
        if arena[rules + L.RULES_IS_CONNECTION_WIDE] != 0:
            if _check_connection(arena, connection, stage) != S.APPLIED:
                arena[L.ENGINE_LAST_FEED] = ANY_FEED
                return S.GAP
        return _take_diff(arena, index, stage, len(frame), receive_ns)
    arena[L.ENGINE_LAST_FEED] = ANY_FEED
    rules = arena[connection_at(arena, connection) + L.CONNECTION_RULES]
    status = decode(frame, arena, rules + L.RULES_FRAME_AT, stage)
    if status >= 0 and arena[rules + L.RULES_IS_CONNECTION_WIDE] != 0:
        if _check_connection(arena, connection, stage) != S.APPLIED:
            return S.GAP
    if status != S.APPLIED:
        if status < 0:
            arena[L.ENGINE_LAST_FEED] = _route_refused(arena, connection, frame, stage)
        return status
    index = route(arena, connection, frame, stage)
    if index < 0:
        return S.UNKNOWN_SYMBOL
    arena[L.ENGINE_LAST_FEED] = index
    feed = feed_at(arena, index)
    is_snapshot = stage[L.STAGE_KIND] == KIND_SNAPSHOT
    if is_snapshot or arena[rules + L.RULES_HAS_ZERO_PRICES] != 0:
        drop_priceless(stage, is_snapshot)
    note_printed(stage, arena, feed, is_snapshot)
    status = scale_rows(stage, arena, feed)
    if status != S.APPLIED:
        return status
    if is_snapshot:
        return _take_snapshot(arena, feed, stage, len(frame), receive_ns)
    learn_template(frame, arena, feed, stage)
    return _take_diff(arena, index, stage, len(frame), receive_ns)


@inner
def _pass_large(arena: Words, connection: int) -> bool:
    """Whether a large frame may be a whole book, in whose place others are counted meanwhile."""
    at = connection_at(arena, connection)
    rules = arena[at + L.CONNECTION_RULES]
    has_ids = arena[rules + L.RULES_CONTINUITY] != CONTINUITY_NONE
    if arena[rules + L.RULES_IS_STREAMED] == 0 or not has_ids:
        return False
    if arena[at + L.CONNECTION_LAST_ID] != L.NO_ID:
        arena[at + L.CONNECTION_LAST_ID] += 1
    return True


@hot
def _read_as_before(arena: Words, connection: int, frame: Bytes, stage: Words) -> int:
    """The feed whose template this frame has, its rows staged; or -1.

    First those that its first and its last bytes have meant before, then all, the last one first.
    """
    feeds = arena[L.ENGINE_FEEDS]
    last = max(arena[L.ENGINE_LAST_FEED], 0)
    for attempt in range(0 if arena[L.ENGINE_ROUTES] != 0 else 2, 2 + feeds):
        if attempt < 2:
            index = guess_feed(arena, frame, attempt != 0)
        else:
            index = last + attempt - 2
            index = index if index < feeds else index - feeds
        if index < 0:
            continue
        feed = feed_at(arena, index)
        if attempt < 2:
            prefetch_other(arena, index, feed)
        if arena[feed + L.FEED_CONNECTION] == connection and read_by_template(
            frame, arena, feed, stage
        ):
            if attempt >= 2 and arena[L.ENGINE_ROUTES] != 0:
                remember_feed(arena, frame, index, feed)
            return index
    return -1


@inner
def _is_in_time(arena: Words, feed: int, stage: Words, receive_ns: int) -> bool:
    """Whether the staged frame's age on arrival is within the feed's bounds."""
    lag = receive_ns - stage[L.STAGE_TIME]
    if arena[feed + L.FEED_LAG_MIN_NS] <= lag <= arena[feed + L.FEED_LAG_MAX_NS]:
        return True
    return stage[L.STAGE_TIME] == 0


@hot
def _count_frame(arena: Words, feed: int, stage: Words, frame_bytes: int) -> None:
    """Count a book frame."""
    meters, counters = view_meters(arena), arena[feed + L.FEED_METERS]
    meters[counters + M.FEED_FRAMES] += 1
    meters[counters + M.FEED_BYTES] += frame_bytes
    meters[counters + M.FEED_LEVELS] += stage[L.STAGE_BIDS] + stage[L.STAGE_ASKS]


@inner
def _number_frame(arena: Words, feed: int, stage: Words) -> None:
    """Give a frame the id that its venue does not send."""
    continuity = arena[arena[feed + L.FEED_RULES] + L.RULES_CONTINUITY]
    is_without = (
        continuity == CONTINUITY_LINK and stage[L.STAGE_PRESENT] & (1 << FIELD_LAST_ID) == 0
    )
    if continuity == CONTINUITY_NONE or is_without:
        stage[L.STAGE_LAST_ID] = arena[feed + L.FEED_LAST_FRAME_ID] + 1
        stage[L.STAGE_FIRST_ID] = stage[L.STAGE_LAST_ID]


@hot
def _stamp_frame(arena: Words, feed: int, stage: Words, receive_ns: int) -> None:
    """The feed's stream stands at the staged frame, which came now."""
    arena[feed + L.FEED_LAST_FRAME_ID] = stage[L.STAGE_LAST_ID]
    arena[feed + L.FEED_VENUE_NS] = stage[L.STAGE_TIME]
    arena[feed + L.FEED_RECEIVE_NS] = receive_ns
    if stage[L.STAGE_TIME] > 0:
        lag = arena[feed + L.FEED_METERS] + M.FEED_RECEIVE_LAG
        observe(view_meters(arena), lag, receive_ns - stage[L.STAGE_TIME])


@inner
def _take_snapshot(arena: Words, feed: int, stage: Words, frame_bytes: int, receive_ns: int) -> int:
    """Count a whole book that came in the stream, and leave it in the stage: SNAPSHOT.

    It continues nothing: the stream goes on from here, whatever came before.
    """
    if not _is_in_time(arena, feed, stage, receive_ns):
        return S.OUT_OF_TIME
    _number_frame(arena, feed, stage)
    _count_frame(arena, feed, stage, frame_bytes)
    count(arena, feed, M.FEED_DROPPED_LEVELS, stage[L.STAGE_DROPPED])
    _stamp_frame(arena, feed, stage, receive_ns)
    return S.SNAPSHOT


@inner
def _take_diff(arena: Words, index: int, stage: Words, frame_bytes: int, receive_ns: int) -> int:
    """Count, check and apply a staged diff whose rows are ticks and lots; the status."""
    arena[L.ENGINE_LAST_FEED] = index
    feed = feed_at(arena, index)
    _number_frame(arena, feed, stage)
    status = _check_stream(arena, feed, stage)
    is_next = status == S.APPLIED or status == S.SAME_TIME
    if is_next and not _is_in_time(arena, feed, stage, receive_ns):
        return S.OUT_OF_TIME
    _count_frame(arena, feed, stage, frame_bytes)
    if status == S.GAP:
        # The broken stream begins anew with this frame: it is the first to be buffered.
        arena[feed + L.FEED_LAST_FRAME_ID] = stage[L.STAGE_LAST_ID]
    if not is_next:
        if status == S.OLD:
            count(arena, feed, M.FEED_OLD, 1)
        return status
    _stamp_frame(arena, feed, stage, receive_ns)
    result = _apply_by_state(arena, index, stage)
    return S.SAME_TIME if status == S.SAME_TIME and result == S.APPLIED else result


@hot
def _apply_by_state(arena: Words, index: int, stage: Words) -> int:
    feed = feed_at(arena, index)
    state = arena[feed + L.FEED_STATE]
    if state != L.LIVE and state != L.STALE:
        return S.BUFFER
    book = arena[feed + L.FEED_ACTIVE_BOOK]
    status = check_book(arena, feed, book, stage)
    if status == S.APPLIED:
        unknown_deletes = apply_diff(arena, feed, book, stage)
        count(arena, feed, M.FEED_UNKNOWN_DELETES, unknown_deletes)
        count_far_levels(arena, feed)
        settled = settle_book(arena, feed, book, stage)
        if settled != S.APPLIED:
            return settled
        touch(arena, arena[feed + L.FEED_INSTRUMENT], index)
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
        return route(arena, connection, frame, stage)
    return ANY_FEED


@hot
def _publish_touched(arena: Words) -> None:
    """Publish every instrument that a frame has touched since it was last published."""
    handoff = view_handoff(arena)
    touched = arena[L.ENGINE_TOUCHED_OFFSET]
    for position in range(arena[L.ENGINE_TOUCHED]):
        instrument = arena[touched + position]
        arena[instrument + L.INSTRUMENT_IS_LISTED] = 0
        trigger = arena[instrument + L.INSTRUMENT_TRIGGER]
        if trigger >= 0:  # not published meanwhile, with a change of its state
            feed = feed_at(arena, trigger)
            receive_ns = arena[feed + L.FEED_RECEIVE_NS]
            publish_ns = publish(arena, instrument, handoff, feed, receive_ns, False)
            if publish_ns != NOT_PUBLISHED and arena[L.ENGINE_READS_CLOCK] != 0:
                latency = arena[instrument + L.INSTRUMENT_METERS] + M.INSTRUMENT_PUBLISH_LATENCY
                observe(view_meters(arena), latency, publish_ns - receive_ns)
    arena[L.ENGINE_TOUCHED] = 0


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def on_frame(
    arena_address: int,
    connection: int,
    frame_address: int,
    frame_bytes: int,
    receive_ns: int,
    is_last: int,
) -> int:
    """Take one websocket text frame of a connection; a status of engine.layout.status.

    `is_last`: no further frame is waiting in the receive buffer, so publish what changed. After a
    negative status nothing is published: the caller withdraws the feed first, then calls
    `publish_touched`. The feed's index is left in ENGINE_LAST_FEED, ANY_FEED where the frame did
    not tell.
    """
    arena = view_arena(arena_address)
    frame = view_bytes(frame_address, frame_bytes)
    status = _take_frame(arena, connection, frame, receive_ns)
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
def restart_connection(arena_address: int, connection: int, number: int) -> None:
    """The connection stands at this number; after NO_ID the next one is taken as it is."""
    arena = view_arena(arena_address)
    arena[connection_at(arena, connection) + L.CONNECTION_LAST_ID] = number


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
    publish(arena, arena[feed + L.FEED_INSTRUMENT], view_handoff(arena), feed, now_ns, True)
