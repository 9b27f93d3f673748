"""Where every word and byte of the data path lives: the descriptor of its two arrays.

`words` (int64) holds what is counted and linked, `raw` (uint8) what is sent. Both are allocated
once, for the most connections and streams that the options allow; a page that was never used is
never resident. Their one owner is the gateway's event loop, which alone calls the kernels.

    words      | HEADER | INSTRUMENT 0.. | FORM 0.. | CURSOR 0.. | STREAM 0.. | CONNECTION 0.. |
               | WANTED instruments | READY connections | NOTICES | FOUND events |
    instrument | INSTRUMENT header | the newest slot of the handoff, copied |
    raw        | TEXTS of each instrument | MESSAGE of each form | REST of each stream |
               | BACKLOG of each connection | BATCH | EVENTS of epoll |

A *form* is one way of writing one instrument's books: the plain summary, the venues' states, or the
v1 book with so many levels. A *cursor* is one stream's place in one form. A form knows its cursors
(to be told of a book), a stream its cursors and a connection its streams (to be served in turn).
A stream's REST is what its window had no room for of a message that was begun; a connection's
BACKLOG what its socket had no room for of a frame that was begun, and Python's frames behind it.
Runs on: any thread (constants only).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.layout import layout as L

NONE = -1
"""Ends a list; no descriptor, no form, no cursor."""

(
    EPOLL,
    IDLE,
    POLL_NS,
    MODE,
    PUBLISHED,
    BOOK_NS,
    IS_BUSY,
    DUE_NS,
    WANTED,
    READY,
    NOTICES,
    FOUND,
    WALK_STOP,
    METERS_ADDRESS,
    METERS_WORDS,
    ROWS_ADDRESS,
    ROWS_WORDS,
    WORDS_ADDRESS,
    RAW_ADDRESS,
    HANDOFF_ADDRESS,
    HANDOFF_WORDS,
    FORMS_AT,
    CURSORS_AT,
    STREAMS_AT,
    CONNECTIONS_AT,
    WANTED_AT,
    READY_AT,
    NOTICES_AT,
    FOUND_AT,
    TEXTS_AT,
    MESSAGES_AT,
    RESTS_AT,
    BACKLOGS_AT,
    BATCH_AT,
    EVENTS_AT,
    CONNECTIONS,
    FRAMES,
    POLL_AT,
) = range(38)
"""WANTED, READY, NOTICES, FOUND: how many there are of the lists at the places below. METERS and
ROWS: the meters' block and the table of those who listen, counted by the kernels. POLL: three words
for ppoll(2)."""
POLL_WORDS = 3
FRAMES_AT = POLL_AT + POLL_WORDS

(SPIN, BACKOFF, BLOCK) = range(3)
"""IDLE: what a turn does while nothing comes: looks again at once; sleeps for POLL_NS or,
the longer no book has come (BOOK_NS), for longer; sleeps for POLL_NS."""
(SERVING, LAST_WORD) = range(2)
"""MODE: all books are sent, or those alone that say that no venue can be trusted."""

BATCH_FRAMES = 64
"""Frames of one send(2): the books of as many streams of one connection."""
(FRAME_STREAM, FRAME_CURSOR, FRAME_PAYLOAD, FRAME_WORDS) = range(4)
HEADER_WORDS = FRAMES_AT + BATCH_FRAMES * FRAME_WORDS

(
    INSTRUMENT_RING,
    INSTRUMENT_SEQUENCE,
    INSTRUMENT_NOTICED_NS,
    INSTRUMENT_CURSORS,
    INSTRUMENT_VENUES,
    INSTRUMENT_DEPTH,
    INSTRUMENT_IS_WITHDRAWN,
    INSTRUMENT_SLOT_AT,
) = range(8)
INSTRUMENT_WORDS = INSTRUMENT_SLOT_AT + L.SLOT_WORDS

(SUMMARY, STATUS, BOOK) = range(3)
"""A form's kind; BOOK + depth - 1 for a v1 book."""
FORMS_EACH = BOOK + L.DEPTH_MAX
"""Forms of one instrument."""
(FORM_CURSOR, FORM_SEQUENCE, FORM_CONTENT, FORM_BYTES, FORM_WORDS) = range(5)
"""The first cursor; the book that MESSAGE holds; a hash of all but its times; the message's bytes,
gRPC's prefix included."""

(
    CURSOR_FORM,
    CURSOR_STREAM,
    CURSOR_NEXT_OF_FORM,
    CURSOR_BEFORE_OF_FORM,
    CURSOR_NEXT_OF_STREAM,
    CURSOR_SEQUENCE,
    CURSOR_CONTENT,
    CURSOR_EARLIEST_NS,
    CURSOR_WORDS,
) = range(9)
"""SEQUENCE: the last book taken, 0 before the first. A free cursor is linked by NEXT_OF_FORM."""

(
    STREAM_CONNECTION,
    STREAM_ID,
    STREAM_NEXT,
    STREAM_BEFORE,
    STREAM_CURSOR,
    STREAM_WINDOW,
    STREAM_INTERVAL_NS,
    STREAM_START_NS,
    STREAM_ROW,
    STREAM_REST_FROM,
    STREAM_REST_END,
    STREAM_IS_WAITING,
    STREAM_WORDS,
) = range(13)
"""IS_WAITING: Python wants a notice when the REST is gone."""

(
    CONNECTION_DESCRIPTOR,
    CONNECTION_WINDOW,
    CONNECTION_STREAM,
    CONNECTION_STREAMS,
    CONNECTION_TURN,
    CONNECTION_BACKLOG,
    CONNECTION_STATE,
    CONNECTION_IS_ENCRYPTED,
    CONNECTION_IS_READY,
    CONNECTION_IS_HELD,
    CONNECTION_HEADER_STREAM,
    CONNECTION_PING_NS,
    CONNECTION_STRIKES,
    CONNECTION_WORDS,
) = range(14)
"""TURN: the stream to be served first. IS_HELD: a book waits for its stream's interval.
HEADER_STREAM: the stream whose header block has begun and not ended, or 0."""
(OPEN, STUCK, BROKEN) = range(3)
"""STATE: a stuck socket takes no more until Python finds it writable, a broken one never."""

(NOTICE_STUCK, NOTICE_BROKEN, NOTICE_TO_ENCRYPT, NOTICE_SENT) = range(4)
NOTICE_WORDS = 2
"""A kind, and the connection; of NOTICE_SENT the stream whose REST is gone."""

(WALK_PARTIAL, WALK_FRAME, WALK_TOO_LONG, WALK_OVERFLOW, WALK_STREAM_OVERFLOW, WALK_PINGS,
 WALK_FULL) = range(7)  # fmt: skip
"""Why `walk` has stopped: the rest is no whole frame; a whole frame that h2 is to see; one longer
than allowed; a window beyond its limit; too many pings; no room for an answer."""

PREFIX_BYTES = 5
"""gRPC's, before each message: whether it is compressed, and its length."""
MESSAGE_BYTES_MAX = 9216
"""gRPC's prefix and the largest book: 100 levels of 75 bytes, 16 venues of 80, 300 for the rest."""
assert (
    PREFIX_BYTES + 2 * L.DEPTH_MAX * (43 + L.VENUE_NAME_BYTES_MAX) + L.VENUES_MAX * 80 + 300
    <= MESSAGE_BYTES_MAX
)
HASH_BYTES = 8
"""Zeros behind a message, so that it can be read eight bytes at a time."""

FRAME_HEADER_BYTES = 9
FRAME_BYTES_MAX = 16_384
"""RFC 9113, section 4.2: the least that every peer takes, and the most that we ever send or take.
"""
REST_BYTES = FRAME_BYTES_MAX
"""Of a stream: a book that was begun, or a part of a longer message of Python's."""
assert MESSAGE_BYTES_MAX <= REST_BYTES
BACKLOG_BYTES = 1 << 16
"""Of a connection: a frame that was begun, and what Python has to say behind it."""
BATCH_BYTES = 1 << 18
DESCRIPTORS_FOUND_MAX = 64
"""Descriptors that one turn finds."""

WINDOW_MAX = (1 << 31) - 1
INITIAL_WINDOW_BYTES = 65_535
"""RFC 9113, section 6.9.2."""

TEXT_BYTES = 1 + L.SYMBOL_BYTES_MAX
"""A text's length and its bytes."""
TEXTS_BYTES = (1 + L.VENUES_MAX) * TEXT_BYTES
"""Of an instrument: its symbol and its venues' names."""

CURSORS_MAX = 1 << 20
"""However many streams and instruments there are."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything there is room for."""

    instruments: int
    streams: int
    connections: int

    @property
    def forms(self) -> int:
        return self.instruments * FORMS_EACH

    @property
    def cursors(self) -> int:
        """Every stream may follow every instrument, as long as that is not absurdly much."""
        return min(self.streams * self.instruments, max(CURSORS_MAX, self.streams))

    def words(self) -> dict[int, int]:
        """The places of the regions behind the instruments, and with NONE the end of all."""
        parts = (
            (FORMS_AT, self.forms * FORM_WORDS),
            (CURSORS_AT, self.cursors * CURSOR_WORDS),
            (STREAMS_AT, self.streams * STREAM_WORDS),
            (CONNECTIONS_AT, self.connections * CONNECTION_WORDS),
            (WANTED_AT, self.instruments),
            (READY_AT, self.connections),
            (NOTICES_AT, NOTICE_WORDS * (3 * self.connections + self.streams)),
            (FOUND_AT, 2 * DESCRIPTORS_FOUND_MAX),
        )
        return _placed(parts, HEADER_WORDS + self.instruments * INSTRUMENT_WORDS)

    def raw(self) -> dict[int, int]:
        """The same of the bytes."""
        parts = (
            (TEXTS_AT, self.instruments * TEXTS_BYTES),
            (MESSAGES_AT, self.forms * (MESSAGE_BYTES_MAX + HASH_BYTES)),
            (RESTS_AT, self.streams * REST_BYTES),
            (BACKLOGS_AT, self.connections * BACKLOG_BYTES),
            (BATCH_AT, BATCH_BYTES),
            (EVENTS_AT, DESCRIPTORS_FOUND_MAX * 16),
        )
        return _placed(parts, 0)


def _placed(parts: tuple[tuple[int, int], ...], first: int) -> dict[int, int]:
    places, at = {}, first
    for name, size in parts:
        places[name] = at
        at += -(-size // 8) * 8
    places[NONE] = at
    return places
