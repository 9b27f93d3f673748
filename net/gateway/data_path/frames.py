"""DATA frames to subscribers, compiled: laid out side by side, sent by one call a connection.

A connection that is ready is *pumped*: what its socket had no room for goes first; then its
streams are served in turn, each with what is left of a message that was begun, or with the newest
book of each of its cursors that it has not seen. The frames of a batch are laid into one buffer, as
far as the windows of stream and connection reach, and sent at once. What is sent is entered; a
frame of which the socket took a part leaves the rest in the connection's backlog; frames behind it
count as never laid, so a client that takes nothing is later given the newest book, not these.

A message of which a stream's window took a part leaves the rest with the stream, and nothing else
of the stream is begun before that is gone. So nothing is ever queued but what has been begun.
An encrypted connection's frames go to its backlog, for Python to encrypt.
Runs on: the gateway's event loop, without the GIL.
"""

from __future__ import annotations

from errno import EAGAIN, EINTR

from engine.compiling.atomics import Bytes, Words, copy_bytes, int64, view_words
from engine.compiling.c_calls import MSG_DONTWAIT, MSG_NOSIGNAL, error_number, send
from engine.compiling.clock import CLOCK_BOOTTIME, clock_ns
from engine.compiling.jit import inlined, inner
from engine.sharing.meters import observe
from net.gateway.counters import (
    BOOKS_CONFLATED,
    BOOKS_UNCHANGED,
    GATEWAY_TO_WRITTEN,
    MESSAGES_SENT,
)
from net.gateway.data_path import layout as D
from net.gateway.data_path.encode import message_at
from net.gateway.subscribers import CONFLATED, SENT

BATCHES_MAX = 16
"""Batches of one connection before another one's turn: a thousand streams."""
INTERVAL_STEP_NS = 1_000_000
"""Intervals are whole milliseconds, and so is when they end: one look serves many streams."""


@inner
def connection_at(words: Words, connection: int) -> int:
    return words[D.CONNECTIONS_AT] + connection * D.CONNECTION_WORDS


@inner
def stream_at(words: Words, stream: int) -> int:
    return words[D.STREAMS_AT] + stream * D.STREAM_WORDS


@inner
def cursor_at(words: Words, cursor: int) -> int:
    return words[D.CURSORS_AT] + cursor * D.CURSOR_WORDS


@inner
def instrument_at(instrument: int) -> int:
    return D.HEADER_WORDS + instrument * D.INSTRUMENT_WORDS


@inner
def backlog_at(words: Words, connection: int) -> int:
    return words[D.BACKLOGS_AT] + connection * D.BACKLOG_BYTES


@inner
def rest_at(words: Words, stream: int) -> int:
    return words[D.RESTS_AT] + stream * D.REST_BYTES


@inner
def notice(words: Words, kind: int, subject: int) -> None:
    """Tell Python: each kind at most once a subject and turn, so there is room."""
    at = words[D.NOTICES_AT] + words[D.NOTICES] * D.NOTICE_WORDS
    words[at] = kind
    words[at + 1] = subject
    words[D.NOTICES] += 1


@inner
def make_ready(words: Words, connection: int) -> None:
    """Have a connection pumped in this turn, or in the next one where it is being pumped."""
    at = connection_at(words, connection)
    if words[at + D.CONNECTION_IS_READY] == 0:
        words[at + D.CONNECTION_IS_READY] = 1
        words[words[D.READY_AT] + words[D.READY]] = connection
        words[D.READY] += 1


@inner
def _send_now(words: Words, connection: int, start: int, size: int) -> int:
    """Send raw[start : start + size]; how much the socket took, less where it is stuck."""
    at = connection_at(words, connection)
    address = words[D.RAW_ADDRESS] + start
    flags = MSG_DONTWAIT | MSG_NOSIGNAL
    sent = send(words[at + D.CONNECTION_DESCRIPTOR], address, size, flags)
    if sent == size:
        return sent
    if sent < 0:
        number = error_number()
        if number != EAGAIN and number != EINTR:
            words[at + D.CONNECTION_STATE] = D.BROKEN
            notice(words, D.NOTICE_BROKEN, connection)
            return 0
        sent = int64(0)
    words[at + D.CONNECTION_STATE] = D.STUCK
    notice(words, D.NOTICE_STUCK, connection)
    return sent


@inner
def _send_backlog(words: Words, raw: Bytes, connection: int) -> bool:
    """Send what has been waiting; whether all of it has gone."""
    at = connection_at(words, connection)
    size = words[at + D.CONNECTION_BACKLOG]
    if size == 0:
        return True
    if words[at + D.CONNECTION_IS_ENCRYPTED] == 1:
        notice(words, D.NOTICE_TO_ENCRYPT, connection)
        return False
    start = backlog_at(words, connection)
    sent = _send_now(words, connection, start, size)
    if 0 < sent < size:
        copy_bytes(raw, start, raw, start + sent, size - sent)
    words[at + D.CONNECTION_BACKLOG] = size - sent
    return sent == size


@inner
def _put_frame(raw: Bytes, at: int, payload: int, stream_id: int) -> None:
    """The header of a DATA frame without flags (RFC 9113, sections 4.1 and 6.1)."""
    raw[at] = payload >> 16
    raw[at + 1] = payload >> 8 & 255
    raw[at + 2] = payload & 255
    raw[at + 3] = 0
    raw[at + 4] = 0
    for place in range(4):
        raw[at + 5 + place] = stream_id >> (24 - 8 * place) & 255


@inner
def _lay_frame(
    words: Words, raw: Bytes, at: int, stream: int, cursor: int, source: int, size: int
) -> int:
    """Lay as much of raw[source : source + size] as the windows reach, at least a byte; its end.

    Where they have no room at all, nothing is laid and `at` comes back.
    """
    s = stream_at(words, stream)
    c = connection_at(words, words[s + D.STREAM_CONNECTION])
    payload = min(size, words[s + D.STREAM_WINDOW], words[c + D.CONNECTION_WINDOW])
    if payload <= 0:
        return at
    words[s + D.STREAM_WINDOW] -= payload
    words[c + D.CONNECTION_WINDOW] -= payload
    _put_frame(raw, at, payload, words[s + D.STREAM_ID])
    copy_bytes(raw, at + D.FRAME_HEADER_BYTES, raw, source, payload)
    frame = D.FRAMES_AT + words[D.FRAMES] * D.FRAME_WORDS
    words[frame + D.FRAME_STREAM] = stream
    words[frame + D.FRAME_CURSOR] = cursor
    words[frame + D.FRAME_PAYLOAD] = payload
    words[D.FRAMES] += 1
    return at + D.FRAME_HEADER_BYTES + payload


@inlined
def meters_of(words: Words) -> Words:
    """The gateway's meters, from their block on."""
    return view_words(words[D.METERS_ADDRESS], words[D.METERS_WORDS])


@inlined
def rows_of(words: Words) -> Words:
    """The table of those who listen."""
    return view_words(words[D.ROWS_ADDRESS], words[D.ROWS_WORDS])


@inner
def _count_skipped(words: Words, cursor: int, sequence: int) -> None:
    """A cursor takes a book: those between it and the last one were left out."""
    k = cursor_at(words, cursor)
    before = words[k + D.CURSOR_SEQUENCE]
    if before > 0 and sequence - before > 1:
        s = stream_at(words, words[k + D.CURSOR_STREAM])
        meters_of(words)[BOOKS_CONFLATED] += sequence - before - 1
        rows_of(words)[words[s + D.STREAM_ROW] + CONFLATED] += sequence - before - 1
    words[k + D.CURSOR_SEQUENCE] = sequence


@inner
def _wants(words: Words, cursor: int, now_ns: int) -> bool:
    """Whether a cursor has a book to send now."""
    k = cursor_at(words, cursor)
    form = words[k + D.CURSOR_FORM]
    f = words[D.FORMS_AT] + form * D.FORM_WORDS
    sequence = words[f + D.FORM_SEQUENCE]
    if sequence == words[k + D.CURSOR_SEQUENCE]:
        return False
    if words[D.MODE] == D.LAST_WORD:
        if words[instrument_at(form // D.FORMS_EACH) + D.INSTRUMENT_IS_WITHDRAWN] == 0:
            return False
    elif now_ns < words[k + D.CURSOR_EARLIEST_NS]:
        s = stream_at(words, words[k + D.CURSOR_STREAM])
        c = connection_at(words, words[s + D.STREAM_CONNECTION])
        words[c + D.CONNECTION_IS_HELD] = 1
        words[D.DUE_NS] = min(words[D.DUE_NS], words[k + D.CURSOR_EARLIEST_NS])
        return False
    if words[k + D.CURSOR_SEQUENCE] > 0 and (
        words[f + D.FORM_CONTENT] == words[k + D.CURSOR_CONTENT]
    ):
        _count_skipped(words, cursor, sequence)
        meters_of(words)[BOOKS_UNCHANGED] += 1
        return False
    return True


@inner
def _lay_stream(words: Words, raw: Bytes, at: int, end: int, stream: int, now_ns: int) -> int:
    """Lay what a stream has; where it ends, or -1 - that where the batch or a window is full."""
    s = stream_at(words, stream)
    if words[s + D.STREAM_REST_END] > 0:
        source = rest_at(words, stream) + words[s + D.STREAM_REST_FROM]
        size = words[s + D.STREAM_REST_END] - words[s + D.STREAM_REST_FROM]
        laid_at = _lay_frame(words, raw, at, stream, D.NONE, source, size)
        if laid_at - at < size + D.FRAME_HEADER_BYTES:
            return laid_at
        at = laid_at
    cursor = words[s + D.STREAM_CURSOR]
    while cursor != D.NONE:
        if _wants(words, cursor, now_ns):
            k = cursor_at(words, cursor)
            form = words[k + D.CURSOR_FORM]
            size = words[words[D.FORMS_AT] + form * D.FORM_WORDS + D.FORM_BYTES]
            if words[D.FRAMES] == D.BATCH_FRAMES or at + D.FRAME_HEADER_BYTES + size > end:
                return -1 - at
            laid_at = _lay_frame(words, raw, at, stream, cursor, message_at(words, form), size)
            if laid_at - at < size + D.FRAME_HEADER_BYTES:
                return laid_at
            at = laid_at
        cursor = words[cursor_at(words, cursor) + D.CURSOR_NEXT_OF_STREAM]
    return at


@inner
def _lay_batch(words: Words, raw: Bytes, connection: int, start: int, end: int, now_ns: int) -> int:
    """Lay a connection's frames from raw[start] to at most raw[end]; where they end.

    Below zero -1 - that: there may be more. The next batch begins with the stream that had no room.
    """
    c = connection_at(words, connection)
    words[D.FRAMES] = 0
    at = start
    stream = words[c + D.CONNECTION_TURN]
    for _ in range(words[c + D.CONNECTION_STREAMS]):
        if stream == D.NONE:
            stream = words[c + D.CONNECTION_STREAM]
        words[c + D.CONNECTION_TURN] = stream
        if words[c + D.CONNECTION_WINDOW] <= 0:
            return at
        if words[D.FRAMES] == D.BATCH_FRAMES or at + D.FRAME_HEADER_BYTES + D.REST_BYTES > end:
            return -1 - at
        at = _lay_stream(words, raw, at, end, stream, now_ns)
        if at < 0:
            return at
        stream = words[stream_at(words, stream) + D.STREAM_NEXT]
    words[c + D.CONNECTION_TURN] = D.NONE
    return at


@inner
def _enter_book(words: Words, raw: Bytes, frame: int, now_ns: int) -> None:
    """A book's frame is on its way: count it, keep what the window had no room for."""
    stream, cursor = words[frame + D.FRAME_STREAM], words[frame + D.FRAME_CURSOR]
    s, k = stream_at(words, stream), cursor_at(words, cursor)
    form = words[k + D.CURSOR_FORM]
    f = words[D.FORMS_AT] + form * D.FORM_WORDS
    _count_skipped(words, cursor, words[f + D.FORM_SEQUENCE])
    words[k + D.CURSOR_CONTENT] = words[f + D.FORM_CONTENT]
    payload, size = words[frame + D.FRAME_PAYLOAD], words[f + D.FORM_BYTES]
    if payload < size:
        copy_bytes(
            raw, rest_at(words, stream), raw, message_at(words, form) + payload, size - payload
        )
        words[s + D.STREAM_REST_FROM] = 0
        words[s + D.STREAM_REST_END] = size - payload
    meters = meters_of(words)
    meters[MESSAGES_SENT] += 1
    rows_of(words)[words[s + D.STREAM_ROW] + SENT] += 1
    noticed_ns = words[instrument_at(form // D.FORMS_EACH) + D.INSTRUMENT_NOTICED_NS]
    due_ns = max(noticed_ns, words[s + D.STREAM_START_NS])
    due_ns = max(due_ns, words[k + D.CURSOR_EARLIEST_NS])
    observe(meters, GATEWAY_TO_WRITTEN, now_ns - due_ns)
    interval_ns = words[s + D.STREAM_INTERVAL_NS]
    if interval_ns > 0:
        steps = (now_ns + interval_ns + INTERVAL_STEP_NS - 1) // INTERVAL_STEP_NS
        words[k + D.CURSOR_EARLIEST_NS] = steps * INTERVAL_STEP_NS


@inner
def _enter_rest(words: Words, frame: int) -> None:
    """A part of a stream's rest is on its way."""
    stream = words[frame + D.FRAME_STREAM]
    s = stream_at(words, stream)
    words[s + D.STREAM_REST_FROM] += words[frame + D.FRAME_PAYLOAD]
    if words[s + D.STREAM_REST_FROM] == words[s + D.STREAM_REST_END]:
        words[s + D.STREAM_REST_FROM] = words[s + D.STREAM_REST_END] = 0
        if words[s + D.STREAM_IS_WAITING] == 1:
            words[s + D.STREAM_IS_WAITING] = 0
            notice(words, D.NOTICE_SENT, stream)


@inner
def _enter_batch(words: Words, raw: Bytes, connection: int, start: int, sent: int) -> None:
    """Enter the frames of which anything was sent; take the others back."""
    c = connection_at(words, connection)
    now_ns = clock_ns(CLOCK_BOOTTIME)
    at = start
    for index in range(words[D.FRAMES]):
        frame = D.FRAMES_AT + index * D.FRAME_WORDS
        payload = words[frame + D.FRAME_PAYLOAD]
        end = at + D.FRAME_HEADER_BYTES + payload
        if at >= start + sent:
            words[stream_at(words, words[frame + D.FRAME_STREAM]) + D.STREAM_WINDOW] += payload
            words[c + D.CONNECTION_WINDOW] += payload
        else:
            if end > start + sent:
                left = end - (start + sent)
                copy_bytes(raw, backlog_at(words, connection), raw, start + sent, left)
                words[c + D.CONNECTION_BACKLOG] = left
            if words[frame + D.FRAME_CURSOR] == D.NONE:
                _enter_rest(words, frame)
            else:
                _enter_book(words, raw, frame, now_ns)
            words[c + D.CONNECTION_STRIKES] = 0  # a client may ping as often as we send
        at = end


@inner
def pump(words: Words, raw: Bytes, connection: int, now_ns: int) -> None:
    """Send what a connection has waiting, and the newest of what its streams have not seen."""
    c = connection_at(words, connection)
    if words[c + D.CONNECTION_STATE] != D.OPEN or not _send_backlog(words, raw, connection):
        return
    words[c + D.CONNECTION_IS_HELD] = 0
    is_encrypted = words[c + D.CONNECTION_IS_ENCRYPTED] == 1
    start = words[D.BATCH_AT]
    end = start + D.BATCH_BYTES
    if is_encrypted:
        # Half of it stays for what Python has to say.
        start = backlog_at(words, connection)
        end = start + D.BACKLOG_BYTES // 2
    for _ in range(BATCHES_MAX):
        laid_end = _lay_batch(words, raw, connection, start, end, now_ns)
        is_whole = laid_end >= 0
        if not is_whole:
            laid_end = -1 - laid_end
        size = laid_end - start
        if size == 0:
            return
        if is_encrypted:
            _enter_batch(words, raw, connection, start, size)
            words[c + D.CONNECTION_BACKLOG] = size
            notice(words, D.NOTICE_TO_ENCRYPT, connection)
            return
        sent = _send_now(words, connection, start, size)
        _enter_batch(words, raw, connection, start, sent)
        if is_whole or sent < size:
            return
    make_ready(words, connection)
