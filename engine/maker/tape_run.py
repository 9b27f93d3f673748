"""A tape's frames through the book, the paper orders' queues and the market maker's step: one loop.

What a market maker's run over a tape does for every frame is done here without Python in between.
The loop stops where something else is to be done: a timer or a message is due, a frame asks for the
book's sync, an order was filled, or the step wants messages sent. Whoever called does that, in the
same order as without this loop, and calls again.

A frame that is no book frame is handed out once for each shape: those that differ from one that
meant nothing in their digits alone mean nothing either.
Runs on: the main thread.
"""

from __future__ import annotations

from engine.book.frame import feed_at
from engine.book.frame_kernel import take_frame
from engine.compiling.arena import view_arena
from engine.compiling.atomics import Bytes, Words, int64, view_bytes, view_words
from engine.compiling.jit import inner, kernel
from engine.decoding.tape_line import line_end, read_time, read_venue, shape_of, unescape
from engine.layout import status as S
from engine.maker import queue_layout as P
from engine.maker import tape_layout as T
from engine.maker.queue_position import advance
from engine.maker.step import step_maker

_NO_VENUE = -1


@inner
def _venue_of(run: Words, text: Bytes, first: int, count: int) -> int:
    """The venue of a name in the text, or _NO_VENUE."""
    for venue in range(run[T.RUN_VENUES]):
        at = T.RUN_VENUES_AT + venue * T.TAPE_VENUE_WORDS
        if run[at + T.TAPE_VENUE_NAME_BYTES] != count:
            continue
        is_same = True
        for index in range(count):
            word = run[at + T.TAPE_VENUE_NAME_AT + (index >> 3)]
            is_same = is_same and (word >> (8 * (index & 7)) & 0xFF) == text[first + index]
        if is_same:
            return venue
    return _NO_VENUE


@inner
def _means_nothing(run: Words, raw: Bytes, count: int, connection: int) -> bool:
    """Whether a frame has the shape of one that meant nothing."""
    shapes = run[T.RUN_SHAPES]
    if shapes == 0 or count > T.SHAPE_BYTES_MAX:
        return False
    shape = shape_of(raw, count, connection)
    for index in range(shapes):
        if run[T.RUN_SHAPES_AT + index] == shape:
            return True
    return False


@inner
def _advance_all(run: Words, arena: Words) -> int:
    """Every paper venue's queue; how many fills there are."""
    fills = 0
    for paper in range(run[T.RUN_PAPERS]):
        at = T.RUN_PAPERS_AT + paper * T.PAPER_WORDS
        feed = feed_at(arena, run[at + T.PAPER_FEED])
        fills += advance(arena, feed, view_words(run[at + T.PAPER_QUEUE], P.QUEUE_WORDS))
    return fills


@inner
def _take_frame(run: Words, arena: Words, raw: Bytes, count: int, venue: int) -> int:
    """One frame of an open connection: STOP_AT_END where there is nothing to stop for."""
    at = T.RUN_VENUES_AT + venue * T.TAPE_VENUE_WORDS
    connection = run[at + T.TAPE_VENUE_CONNECTION]
    run[T.RUN_FRAMES] += 1
    if not _means_nothing(run, raw, count, connection):
        receive_ns = run[T.RUN_LINE_NS]
        status = take_frame(run[T.RUN_ARENA], connection, run[T.RUN_RAW], count, receive_ns, 1)
        if status == S.UNKNOWN_SYMBOL:
            run[at + T.TAPE_VENUE_OTHER_SYMBOLS] += 1
        elif status != S.APPLIED:
            run[T.RUN_STATUS] = status
            return T.STOP_AT_STATUS
    # Also after a frame that changed nothing: a snapshot may have come since the last step.
    if run[T.RUN_STEP] == 0:
        return T.STOP_AT_END
    if _advance_all(run, arena) > 0:
        return T.STOP_AT_FILL
    # A plain 0 is a type of its own, for which the whole step would be compiled once more.
    run[T.RUN_ACTIONS] = step_maker(run[T.RUN_STEP], run[T.RUN_NOW_NS], int64(0))
    return T.STOP_AT_ACTIONS if run[T.RUN_ACTIONS] > 0 else T.STOP_AT_END


@inner
def _take_line(run: Words, arena: Words, text: Bytes, at: int, end: int, raw: Bytes) -> int:
    """The line from `at` to its newline at `end`; STOP_AT_END: nothing is to be stopped for."""
    time_ns, behind = read_time(text, at, end)
    if behind < 0:
        return T.STOP_AT_LINE
    now_ns = max(run[T.RUN_NOW_NS], time_ns)
    if now_ns >= run[T.RUN_STOP_NS]:
        run[T.RUN_LINE_NS] = time_ns
        return T.STOP_IS_DUE
    name, behind = read_venue(text, behind, end)
    if behind < 0:
        return T.STOP_AT_LINE
    count = unescape(text, behind, end, raw)
    if count < 0:
        return T.STOP_AT_LINE
    venue = _venue_of(run, text, name, behind - name)
    if venue == _NO_VENUE:
        run[T.RUN_NOW_NS] = now_ns
        return T.STOP_AT_END
    if run[T.RUN_VENUES_AT + venue * T.TAPE_VENUE_WORDS + T.TAPE_VENUE_IS_OPEN] == 0:
        return T.STOP_AT_LINE
    run[T.RUN_NOW_NS], run[T.RUN_LINE_NS] = now_ns, time_ns
    run[T.RUN_VENUE], run[T.RUN_RAW_BYTES] = venue, count
    return _take_frame(run, arena, raw, count, venue)


@kernel("int64(int64)")
def run_tape(address: int) -> int:
    """Take lines up to the first that needs somebody: a STOP code. `address`: of the RUN words.

    The text ends with a newline, or its last line is whole.
    """
    run = view_words(address, T.RUN_WORDS)
    arena = view_arena(run[T.RUN_ARENA])
    size = run[T.RUN_TEXT_BYTES]
    text = view_bytes(run[T.RUN_TEXT], size)
    raw = view_bytes(run[T.RUN_RAW], run[T.RUN_RAW_ROOM])
    while run[T.RUN_AT] < size:
        at = run[T.RUN_AT]
        end = line_end(text, at, size)
        run[T.RUN_LINE_AT], run[T.RUN_LINE_END] = at, end
        stop = _take_line(run, arena, text, at, end, raw)
        if stop == T.STOP_IS_DUE:
            return stop
        run[T.RUN_AT] = end + 1
        run[T.RUN_LINES] += 1
        if stop != T.STOP_AT_END:
            return stop
    return T.STOP_AT_END


@kernel("int64(int64)")
def learn_shape(address: int) -> int:
    """The frame that the run stopped at means nothing: those of its shape are passed over from now
    on. Whether there was room for one more."""
    run = view_words(address, T.RUN_WORDS)
    count = run[T.RUN_RAW_BYTES]
    shapes = run[T.RUN_SHAPES]
    if shapes == T.SHAPES_MAX or count > T.SHAPE_BYTES_MAX:
        return 0
    venue = T.RUN_VENUES_AT + run[T.RUN_VENUE] * T.TAPE_VENUE_WORDS
    raw = view_bytes(run[T.RUN_RAW], run[T.RUN_RAW_ROOM])
    shape = shape_of(raw, count, run[venue + T.TAPE_VENUE_CONNECTION])
    run[T.RUN_SHAPES_AT + shapes] = shape
    run[T.RUN_SHAPES] = shapes + 1
    return 1
