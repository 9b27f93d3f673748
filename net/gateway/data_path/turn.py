"""One turn of the gateway, compiled: wait for a book or a socket, and serve the books at once.

    turn -> published? -> read and encode what is wanted -> pump the ready connections -> sockets?
      ^                                                                                     |
      '------------------- spin, or sleep for some 20 us until a socket is readable <- no --'

The engine wakes nobody: it publishes, and the turn looks. While nobody subscribes nothing is read,
and the turn sleeps in the kernel until a socket is readable. A turn ends where Python has
something to do: a socket is readable or writable, a notice is there, or its time is over.
Runs on: the gateway's event loop, without the GIL.
"""

from __future__ import annotations

from engine.compiling.atomics import (
    Bytes,
    Words,
    copy_bytes,
    int64,
    load_acquire,
    view_bytes,
    view_words,
)
from engine.compiling.c_calls import (
    EPOLL_EVENT_BYTES,
    epoll_descriptor,
    epoll_mask,
    epoll_wait,
    ppoll,
)
from engine.compiling.clock import CLOCK_BOOTTIME, CLOCK_REALTIME, clock_ns
from engine.compiling.jit import inner, kernel
from engine.layout import layout as L
from engine.layout.units import NEVER_NS, NS_PER_S
from engine.sharing.handoff import READ_TRIES_MAX, copy_slot
from engine.sharing.meters import observe
from net.gateway.counters import BOOKS_ENCODED, BOOKS_READ, PUBLISH_TO_GATEWAY
from net.gateway.data_path import layout as D
from net.gateway.data_path.encode import encode_form
from net.gateway.data_path.frames import (
    connection_at,
    cursor_at,
    instrument_at,
    make_ready,
    meters_of,
    pump,
    stream_at,
)

POLLIN = 1
PAUSE_PART, PAUSE_GROWTH_MAX = 128, 5
"""A pause is at most this part of the time since the last book, and so many times the shortest."""
SPINS_A_LOOK = 16
"""Looks at the published count between two at the sockets and the clock, which cost 300 ns."""


# --- books coming in -----------------------------------------------------------------------------


@inner
def _read_slot(words: Words, handoff: Words, instrument: int) -> bool:
    """Copy an instrument's newest slot, if it is another; False where the writer was faster.

    The copy is torn where the writer came round meanwhile: then it is made again.
    """
    at = instrument_at(instrument)
    ring = words[at + D.INSTRUMENT_RING]
    slot = view_words(words[D.WORDS_ADDRESS] + 8 * (at + D.INSTRUMENT_SLOT_AT), L.SLOT_WORDS)
    for _ in range(READ_TRIES_MAX):
        sequence = load_acquire(handoff, ring + L.RING_SEQUENCE)
        if sequence == words[at + D.INSTRUMENT_SEQUENCE]:
            return True
        if copy_slot(handoff, ring, sequence, slot):
            words[at + D.INSTRUMENT_SEQUENCE] = sequence
            words[at + D.INSTRUMENT_NOTICED_NS] = clock_ns(CLOCK_BOOTTIME)
            withdrawn = int64(1)
            for venue in range(words[at + D.INSTRUMENT_VENUES]):
                if slot[L.SLOT_VENUES_AT + venue * L.VENUE_WORDS + L.VENUE_STATE] == L.LIVE:
                    withdrawn = int64(0)
            words[at + D.INSTRUMENT_IS_WITHDRAWN] = withdrawn
            meters_of(words)[BOOKS_READ] += 1
            return True
    return False


@inner
def _encode(words: Words, raw: Bytes, form: int) -> None:
    f = words[D.FORMS_AT] + form * D.FORM_WORDS
    before = words[f + D.FORM_SEQUENCE]
    encode_form(words, raw, form)
    if words[f + D.FORM_SEQUENCE] != before:
        meters_of(words)[BOOKS_ENCODED] += 1


@inner
def _tell_cursors(words: Words, form: int) -> None:
    """Everybody at a form has something to look at."""
    cursor = words[words[D.FORMS_AT] + form * D.FORM_WORDS + D.FORM_CURSOR]
    while cursor != D.NONE:
        k = cursor_at(words, cursor)
        make_ready(words, words[stream_at(words, words[k + D.CURSOR_STREAM]) + D.STREAM_CONNECTION])
        cursor = words[k + D.CURSOR_NEXT_OF_FORM]


@inner
def _encode_wanted(words: Words, raw: Bytes, instrument: int) -> None:
    """Encode an instrument's new book in every form that somebody is at, and tell them."""
    for kind in range(D.BOOK + words[instrument_at(instrument) + D.INSTRUMENT_DEPTH]):
        form = instrument * D.FORMS_EACH + kind
        if words[words[D.FORMS_AT] + form * D.FORM_WORDS + D.FORM_CURSOR] != D.NONE:
            _encode(words, raw, form)
            _tell_cursors(words, form)


@inner
def _read_wanted(words: Words, raw: Bytes, handoff: Words) -> None:
    """Read every instrument that somebody follows and that has a new book; encode and tell."""
    words[D.PUBLISHED] = load_acquire(handoff, L.HANDOFF_PUBLISHED)
    words[D.BOOK_NS] = clock_ns(CLOCK_BOOTTIME)
    words[D.IS_BUSY] = 0
    for index in range(words[D.WANTED]):
        instrument = words[words[D.WANTED_AT] + index]
        at = instrument_at(instrument)
        before = words[at + D.INSTRUMENT_SEQUENCE]
        if not _read_slot(words, handoff, instrument):
            words[D.IS_BUSY] = 1
            continue
        if words[at + D.INSTRUMENT_SEQUENCE] == before:
            continue
        latency_ns = clock_ns(CLOCK_REALTIME) - words[at + D.INSTRUMENT_SLOT_AT + L.SLOT_PUBLISH_NS]
        observe(meters_of(words), PUBLISH_TO_GATEWAY, latency_ns)
        _encode_wanted(words, raw, instrument)


@inner
def _prepare(words: Words, raw: Bytes, handoff: Words, form: int) -> None:
    """Have a form hold its instrument's newest book; whoever follows that one has it too."""
    instrument = form // D.FORMS_EACH
    before = words[instrument_at(instrument) + D.INSTRUMENT_SEQUENCE]
    if not _read_slot(words, handoff, instrument):
        words[D.IS_BUSY] = 1
    if words[instrument_at(instrument) + D.INSTRUMENT_SEQUENCE] != before:
        _encode_wanted(words, raw, instrument)
    _encode(words, raw, form)


@kernel("int64(int64[::1], int64)")
def read_instrument(words: Words, instrument: int) -> int:
    """Copy an instrument's newest slot to its words; the sequence, 0 before the first."""
    handoff = view_words(words[D.HANDOFF_ADDRESS], words[D.HANDOFF_WORDS])
    _read_slot(words, handoff, instrument)
    return words[instrument_at(instrument) + D.INSTRUMENT_SEQUENCE]


# --- serving -------------------------------------------------------------------------------------


@inner
def _pump_ready(words: Words, raw: Bytes, now_ns: int) -> None:
    """Pump whoever is ready now; who becomes so meanwhile has the next turn."""
    count = words[D.READY]
    ready_at = words[D.READY_AT]
    # Who is marked again while it is pumped gets a place that has been read.
    words[D.READY] = 0
    for index in range(count):
        connection = words[ready_at + index]
        words[connection_at(words, connection) + D.CONNECTION_IS_READY] = 0
        pump(words, raw, connection, now_ns)


@inner
def _ready_when_due(words: Words, now_ns: int) -> None:
    """An interval is over: whoever holds a book back looks again."""
    words[D.DUE_NS] = NEVER_NS
    for connection in range(words[D.CONNECTIONS]):
        at = connection_at(words, connection)
        if words[at + D.CONNECTION_IS_HELD] == 1 and words[at + D.CONNECTION_STATE] == D.OPEN:
            make_ready(words, connection)


@inner
def _find_events(words: Words, raw: Bytes) -> int:
    """Which descriptors are ready for what, in the words from FOUND_AT on; how many."""
    address = words[D.RAW_ADDRESS] + words[D.EVENTS_AT]
    count = epoll_wait(words[D.EPOLL], address, D.DESCRIPTORS_FOUND_MAX, 0)
    count = max(int64(count), int64(0))
    for index in range(count):
        at = words[D.EVENTS_AT] + index * EPOLL_EVENT_BYTES
        words[words[D.FOUND_AT] + 2 * index] = epoll_descriptor(raw, at)
        words[words[D.FOUND_AT] + 2 * index + 1] = epoll_mask(raw, at)
    words[D.FOUND] = count
    return count


@inner
def _sleep(words: Words, duration_ns: int) -> bool:
    """Sleep until a socket is ready, or so long; whether one is.

    An epoll descriptor can be polled itself, and ppoll(2) counts in nanoseconds.
    """
    words[D.POLL_AT] = POLLIN << 32 | words[D.EPOLL]
    words[D.POLL_AT + 1] = duration_ns // NS_PER_S
    words[D.POLL_AT + 2] = duration_ns % NS_PER_S
    address = words[D.WORDS_ADDRESS] + 8 * D.POLL_AT
    return ppoll(address, 1, address + 8, 0) != 0


@inner
def _pause_ns(words: Words, now_ns: int) -> int:
    """How long to sleep before the next look at what is published.

    A sleep costs some 10 us of CPU, however short it is: 22 % of a core for 20 us at a time, 8 %
    for 100. Where books are rare a look is late by a smaller part of their distance all the same.
    """
    poll_ns = words[D.POLL_NS]
    if words[D.IDLE] == D.BLOCK:
        return poll_ns
    wanted_ns = (now_ns - words[D.BOOK_NS]) // PAUSE_PART
    return max(poll_ns, min(wanted_ns, PAUSE_GROWTH_MAX * poll_ns))


@kernel("int64(int64[::1], uint8[::1], int64, int64)", releases_gil=True)
def turn(words: Words, raw: Bytes, timeout_ns: int, form: int) -> int:
    """Serve books until Python has something to do or the time is over; how many events are found.

    NOTICES and FOUND say what. Every wait ends after `timeout_ns` at the latest. With a `form` that
    is not NONE, have that one hold its instrument's newest book, and do no more. (One kernel for
    both: the encoders take ten seconds to compile.)
    """
    handoff = view_words(words[D.HANDOFF_ADDRESS], words[D.HANDOFF_WORDS])
    if form != D.NONE:
        _prepare(words, raw, handoff, form)
        return 0
    now_ns = clock_ns(CLOCK_BOOTTIME)
    end_ns = now_ns + timeout_ns
    words[D.FOUND] = 0
    looks = True
    while True:
        if words[D.WANTED] > 0:
            published = load_acquire(handoff, L.HANDOFF_PUBLISHED)
            if published != words[D.PUBLISHED] or words[D.IS_BUSY] == 1:
                _read_wanted(words, raw, handoff)
            if now_ns >= words[D.DUE_NS]:
                _ready_when_due(words, now_ns)
        if words[D.READY] > 0:
            _pump_ready(words, raw, now_ns)
        count = _find_events(words, raw) if looks else int64(0)
        if count > 0 or words[D.NOTICES] > 0 or now_ns >= end_ns:
            return count
        looks = True
        if words[D.READY] > 0 or words[D.IS_BUSY] == 1:
            now_ns = clock_ns(CLOCK_BOOTTIME)
            continue
        left_ns = min(end_ns, words[D.DUE_NS]) - now_ns
        if words[D.WANTED] == 0:
            looks = _sleep(words, end_ns - now_ns)
        elif words[D.IDLE] == D.SPIN:
            for _ in range(SPINS_A_LOOK):
                if load_acquire(handoff, L.HANDOFF_PUBLISHED) != words[D.PUBLISHED]:
                    break
        elif left_ns > 0:
            looks = _sleep(words, min(left_ns, _pause_ns(words, now_ns)))
        now_ns = clock_ns(CLOCK_BOOTTIME)


# --- what clients send ---------------------------------------------------------------------------

(HEADERS, WINDOW_UPDATE, CONTINUATION, PING) = (1, 8, 9, 6)
ACKNOWLEDGED, END_HEADERS = 1, 4
PING_BYTES, INCREMENT_BYTES = 8, 4
PINGS_EARLY_MAX = 2
"""As gRPC's servers: pings that come too soon after another, without a frame of ours between."""
PING_INTERVAL_NS = 5 * NS_PER_S
"""Clients may ping this often; gRPC's default of five minutes cuts off careful clients."""


@inner
def _number(raw: Bytes, at: int, count: int) -> int:
    """A big-endian number."""
    value = int64(0)
    for place in range(count):
        value = value << 8 | int64(raw[at + place])
    return value


@inner
def _find_stream(words: Words, connection: int, stream_id: int) -> int:
    stream = words[connection_at(words, connection) + D.CONNECTION_STREAM]
    while stream != D.NONE and words[stream_at(words, stream) + D.STREAM_ID] != stream_id:
        stream = words[stream_at(words, stream) + D.STREAM_NEXT]
    return stream


@inner
def _widen(words: Words, connection: int, stream_id: int, increment: int) -> int:
    """A WINDOW_UPDATE; why the walk stops, or WALK_PARTIAL (it does not).

    What is no ordinary one, h2 judges: an increment of zero, a stream that is not ours any more.
    """
    at = connection_at(words, connection) + D.CONNECTION_WINDOW
    overflow = D.WALK_OVERFLOW
    if stream_id != 0:
        stream = _find_stream(words, connection, stream_id)
        if stream == D.NONE:
            return D.WALK_FRAME
        at = stream_at(words, stream) + D.STREAM_WINDOW
        overflow = D.WALK_STREAM_OVERFLOW
    if increment == 0:
        return D.WALK_FRAME
    if words[at] + increment > D.WINDOW_MAX:
        return overflow
    words[at] += increment
    make_ready(words, connection)
    return D.WALK_PARTIAL


@inner
def _answer_ping(
    words: Words, raw: Bytes, source: Bytes, at: int, connection: int, now_ns: int
) -> int:
    """Put the answer to the PING at source[at] into the backlog; why the walk stops, or not."""
    c = connection_at(words, connection)
    size = D.FRAME_HEADER_BYTES + PING_BYTES
    if words[c + D.CONNECTION_BACKLOG] + size > D.BACKLOG_BYTES // 2:
        return D.WALK_FULL
    if now_ns - words[c + D.CONNECTION_PING_NS] < PING_INTERVAL_NS:
        words[c + D.CONNECTION_STRIKES] += 1
        if words[c + D.CONNECTION_STRIKES] > PINGS_EARLY_MAX:
            return D.WALK_PINGS
    words[c + D.CONNECTION_PING_NS] = now_ns
    to = words[D.BACKLOGS_AT] + connection * D.BACKLOG_BYTES + words[c + D.CONNECTION_BACKLOG]
    copy_bytes(raw, to, source, at, size)
    raw[to + 4] = ACKNOWLEDGED
    words[c + D.CONNECTION_BACKLOG] += size
    make_ready(words, connection)
    return D.WALK_PARTIAL


@inner
def _note_headers(words: Words, c: int, kind: int, flags: int, stream_id: int) -> None:
    """Header blocks are not to be interrupted: until one has ended, h2 sees every frame."""
    if kind == HEADERS and flags & END_HEADERS == 0:
        words[c + D.CONNECTION_HEADER_STREAM] = stream_id
    elif kind == CONTINUATION and flags & END_HEADERS != 0:
        words[c + D.CONNECTION_HEADER_STREAM] = 0


@kernel("int64(int64[::1], uint8[::1], int64, int64, int64, int64)")
def walk(words: Words, raw: Bytes, address: int, start: int, end: int, connection: int) -> int:
    """Serve the frames at `address` + start that need no h2: open windows, pings. Where it stops.

    WALK_STOP says why. Of WALK_FRAME the frame begins there and is whole before `end`.
    """
    source = view_bytes(address, end)
    c = connection_at(words, connection)
    now_ns = clock_ns(CLOCK_BOOTTIME)
    at = start
    stop = D.WALK_PARTIAL
    while end - at >= D.FRAME_HEADER_BYTES:
        size = _number(source, at, 3)
        if size > D.FRAME_BYTES_MAX:
            stop = D.WALK_TOO_LONG
            break
        if end - at < D.FRAME_HEADER_BYTES + size:
            break
        kind, flags = int64(source[at + 3]), int64(source[at + 4])
        stream_id = _number(source, at + 5, 4) & D.WINDOW_MAX
        stop = D.WALK_FRAME
        if words[c + D.CONNECTION_HEADER_STREAM] == 0:
            body = at + D.FRAME_HEADER_BYTES
            if kind == WINDOW_UPDATE and size == INCREMENT_BYTES:
                increment = _number(source, body, INCREMENT_BYTES) & D.WINDOW_MAX
                stop = _widen(words, connection, stream_id, increment)
            elif (
                kind == PING and size == PING_BYTES and stream_id == 0 and flags & ACKNOWLEDGED == 0
            ):
                stop = _answer_ping(words, raw, source, at, connection, now_ns)
        if stop != D.WALK_PARTIAL:
            if stop == D.WALK_FRAME:
                _note_headers(words, c, kind, flags, stream_id)
            break
        at += D.FRAME_HEADER_BYTES + size
    words[D.WALK_STOP] = stop
    return at
