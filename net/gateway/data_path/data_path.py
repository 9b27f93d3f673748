"""The data path as Python sees it: who is connected, who follows what, and what goes to whom.

Owns the arrays (layout) and calls the kernels (turn). Connections, streams and cursors are numbers
here: places in the arrays, which are given to others when they are free. What a kernel wants to
tell comes back as notices, one turn later.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from engine.compiling.atomics import Bytes, Words, address_of
from engine.layout import layout as L
from engine.layout.units import NEVER_NS
from engine.sharing.handoff import HandoffReader, HandoffWriter, InstrumentInfo
from net.gateway.counters import GatewayCounters
from net.gateway.data_path import layout as D
from net.gateway.data_path.turn import read_instrument, turn, walk
from tuning.clock import steady_ns


class Places:
    """Numbers from 0 to a limit, each given to one at a time; the lowest unused first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free: list[int] = []
        self.used = 0
        """How many have ever been given at once: all numbers are below it."""

    def take(self) -> int | None:
        """A free number, or None."""
        if self._free:
            return self._free.pop()
        if self.used == self._limit:
            return None
        self.used += 1
        return self.used - 1

    def give_back(self, number: int) -> None:
        self._free.append(number)

    @property
    def room(self) -> int:
        return self._limit - self.used + len(self._free)


class DataPath:
    """The arrays and their kernels. `idle`: layout.SPIN, BACKOFF or BLOCK; `poll_ns`: how long the
    latter two sleep between two looks at what the engine has published.
    """

    def __init__(
        self,
        reader: HandoffReader,
        sizes: D.Sizes,
        counters: GatewayCounters,
        *,
        idle: int = D.BACKOFF,
        poll_ns: int = 20_000,
    ) -> None:
        places, raw_places = sizes.words(), sizes.raw()
        self.words: Words = np.zeros(places[D.NONE], np.int64)
        self.raw: Bytes = np.zeros(raw_places[D.NONE], np.uint8)
        self._view = memoryview(self.words)  # type: ignore[arg-type]
        self._bytes = memoryview(self.raw)  # type: ignore[arg-type]
        self._counters = counters  # with them, their memory
        self._reader = reader
        self._connections = Places(sizes.connections)
        self._streams = Places(sizes.streams)
        self._cursors = Places(sizes.cursors)
        view, handoff = self._view, reader.words
        for name, at in chain(places.items(), raw_places.items()):
            if name != D.NONE:
                view[name] = at
        view[D.IDLE], view[D.POLL_NS], view[D.DUE_NS] = idle, poll_ns, NEVER_NS
        view[D.WORDS_ADDRESS] = self.words.ctypes.data
        view[D.RAW_ADDRESS] = self.raw.ctypes.data
        view[D.HANDOFF_ADDRESS], view[D.HANDOFF_WORDS] = handoff.ctypes.data, len(handoff)
        meters, rows = counters.words[counters.at :], counters.table.words
        view[D.METERS_ADDRESS], view[D.METERS_WORDS] = meters.ctypes.data, len(meters)
        view[D.ROWS_ADDRESS], view[D.ROWS_WORDS] = rows.ctypes.data, len(rows)
        forms = self.words[places[D.FORMS_AT] :][: sizes.forms * D.FORM_WORDS]
        forms[D.FORM_CURSOR :: D.FORM_WORDS] = D.NONE
        for index, info in enumerate(reader.instruments):
            self._describe(index, info)

    def _describe(self, index: int, info: InstrumentInfo) -> None:
        at = self._instrument_at(index)
        self._view[at + D.INSTRUMENT_RING] = HandoffWriter.ring_at(index)
        self._view[at + D.INSTRUMENT_VENUES] = len(info.venues)
        self._view[at + D.INSTRUMENT_DEPTH] = info.depth
        text_at = self._view[D.TEXTS_AT] + index * D.TEXTS_BYTES
        for place, text in enumerate((info.symbol, *info.venues)):
            raw = text.encode()
            start = text_at + place * D.TEXT_BYTES
            self._bytes[start] = len(raw)
            self._bytes[start + 1 : start + 1 + len(raw)] = raw

    @staticmethod
    def _instrument_at(index: int) -> int:
        return D.HEADER_WORDS + index * D.INSTRUMENT_WORDS

    def _connection_at(self, connection: int) -> int:
        return self._view[D.CONNECTIONS_AT] + connection * D.CONNECTION_WORDS

    def _stream_at(self, stream: int) -> int:
        return self._view[D.STREAMS_AT] + stream * D.STREAM_WORDS

    def _cursor_at(self, cursor: int) -> int:
        return self._view[D.CURSORS_AT] + cursor * D.CURSOR_WORDS

    # --- turns -----------------------------------------------------------------------------------

    def poll_by(self, epoll: int) -> None:
        """From now on turns look at this epoll descriptor too."""
        self._view[D.EPOLL] = epoll

    def turn(self, timeout_ns: int) -> list[tuple[int, int]]:
        """Serve books until something is to be done; which descriptors are ready for what."""
        count = turn(self.words, self.raw, timeout_ns, D.NONE)
        at, view = self._view[D.FOUND_AT], self._view
        return [(view[at + 2 * index], view[at + 2 * index + 1]) for index in range(count)]

    def take_notices(self) -> list[tuple[int, int]]:
        """What the kernels have to tell: kinds and whom they concern."""
        view, count = self._view, self._view[D.NOTICES]
        if not count:
            return []
        at = view[D.NOTICES_AT]
        view[D.NOTICES] = 0
        return [(view[at + 2 * index], view[at + 2 * index + 1]) for index in range(count)]

    def set_mode(self, mode: int) -> None:
        """layout.SERVING or LAST_WORD, from the next turn on, which looks at everybody again."""
        if self._view[D.MODE] != mode:
            self._view[D.MODE] = mode
            for connection in range(self._connections.used):
                self.make_ready(connection)

    # --- books -----------------------------------------------------------------------------------

    def message(self, instrument: int, kind: int) -> bytes | None:
        """The newest book in one form, without gRPC's prefix; None before the first."""
        form = instrument * D.FORMS_EACH + kind
        turn(self.words, self.raw, 0, form)
        at = self._view[D.FORMS_AT] + form * D.FORM_WORDS
        if not self._view[at + D.FORM_SEQUENCE]:
            return None
        start = self._view[D.MESSAGES_AT] + form * (D.MESSAGE_BYTES_MAX + D.HASH_BYTES)
        return bytes(self._bytes[start + 5 : start + self._view[at + D.FORM_BYTES]])

    def slot(self, instrument: int) -> Words | None:
        """The newest slot of an instrument, int64, shape (SLOT_WORDS,); None before the first."""
        if not read_instrument(self.words, instrument):
            return None
        at = self._instrument_at(instrument) + D.INSTRUMENT_SLOT_AT
        return self.words[at : at + L.SLOT_WORDS]

    # --- connections -----------------------------------------------------------------------------

    def add_connection(self, descriptor: int, is_encrypted: bool) -> int | None:
        """A place for a connection; None where all are taken."""
        connection = self._connections.take()
        if connection is None:
            return None
        view, at = self._view, self._connection_at(connection)
        view[D.CONNECTIONS] = self._connections.used
        is_ready = view[at + D.CONNECTION_IS_READY]  # of the list that it may still be in
        for word in range(D.CONNECTION_WORDS):
            view[at + word] = 0
        view[at + D.CONNECTION_IS_READY] = is_ready
        view[at + D.CONNECTION_DESCRIPTOR] = descriptor
        view[at + D.CONNECTION_WINDOW] = D.INITIAL_WINDOW_BYTES
        view[at + D.CONNECTION_STREAM] = view[at + D.CONNECTION_TURN] = D.NONE
        view[at + D.CONNECTION_IS_ENCRYPTED] = int(is_encrypted)
        return connection

    def remove_connection(self, connection: int) -> None:
        """It has no streams any more."""
        at = self._connection_at(connection)
        assert not self._view[at + D.CONNECTION_STREAMS], "a connection's streams outlive it"
        self._view[at + D.CONNECTION_STATE] = D.BROKEN
        self._view[at + D.CONNECTION_BACKLOG] = 0
        self._connections.give_back(connection)

    def make_ready(self, connection: int) -> None:
        """Have it pumped in the next turn."""
        view, at = self._view, self._connection_at(connection)
        if not view[at + D.CONNECTION_IS_READY]:
            view[at + D.CONNECTION_IS_READY] = 1
            view[view[D.READY_AT] + view[D.READY]] = connection
            view[D.READY] += 1

    def unstick(self, connection: int) -> None:
        """Its socket takes bytes again."""
        at = self._connection_at(connection)
        if self._view[at + D.CONNECTION_STATE] == D.STUCK:
            self._view[at + D.CONNECTION_STATE] = D.OPEN
        self.make_ready(connection)

    def stick(self, connection: int) -> None:
        """Its socket takes no more: nothing is laid out for it until `unstick`."""
        self._view[self._connection_at(connection) + D.CONNECTION_STATE] = D.STUCK

    def append(self, connection: int, frames: bytes) -> bool:
        """Send these whole frames behind all that has been begun; whether there was room."""
        view, at = self._view, self._connection_at(connection)
        size = view[at + D.CONNECTION_BACKLOG]
        if size + len(frames) > D.BACKLOG_BYTES:
            return False
        start = view[D.BACKLOGS_AT] + connection * D.BACKLOG_BYTES + size
        self._bytes[start : start + len(frames)] = frames
        view[at + D.CONNECTION_BACKLOG] = size + len(frames)
        self.make_ready(connection)
        return True

    def backlog_bytes(self, connection: int) -> int:
        """What waits for a connection's socket."""
        return self._view[self._connection_at(connection) + D.CONNECTION_BACKLOG]

    def take_backlog(self, connection: int) -> bytes:
        """What is to be encrypted; it is Python's from now on."""
        at = self._connection_at(connection)
        start = self._view[D.BACKLOGS_AT] + connection * D.BACKLOG_BYTES
        taken = bytes(self._bytes[start : start + self._view[at + D.CONNECTION_BACKLOG]])
        self._view[at + D.CONNECTION_BACKLOG] = 0
        return taken

    def walk(self, connection: int, received: bytes, start: int) -> tuple[int, int]:
        """Serve the frames of what was received that need no h2; where it stops, and why."""
        stop = walk(self.words, self.raw, address_of(received), start, len(received), connection)
        return stop, self._view[D.WALK_STOP]

    def ends_header_block(self, connection: int) -> bool:
        """Whether no header block is open."""
        return not self._view[self._connection_at(connection) + D.CONNECTION_HEADER_STREAM]

    # --- streams ---------------------------------------------------------------------------------

    def add_stream(self, connection: int, stream_id: int, window: int) -> int | None:
        """A place for a stream of a connection; None where all are taken."""
        stream = self._streams.take()
        if stream is None:
            return None
        view, at, c = self._view, self._stream_at(stream), self._connection_at(connection)
        for word in range(D.STREAM_WORDS):
            view[at + word] = 0
        first = view[c + D.CONNECTION_STREAM]
        view[at + D.STREAM_CONNECTION], view[at + D.STREAM_ID] = connection, stream_id
        view[at + D.STREAM_NEXT], view[at + D.STREAM_BEFORE] = first, D.NONE
        view[at + D.STREAM_CURSOR] = D.NONE
        view[at + D.STREAM_WINDOW] = window
        if first != D.NONE:
            view[self._stream_at(first) + D.STREAM_BEFORE] = stream
        view[c + D.CONNECTION_STREAM] = stream
        view[c + D.CONNECTION_STREAMS] += 1
        return stream

    def remove_stream(self, stream: int) -> None:
        """It and its cursors, with what was not sent of it."""
        self.unsubscribe(stream)
        view, at = self._view, self._stream_at(stream)
        c = self._connection_at(view[at + D.STREAM_CONNECTION])
        after, before = view[at + D.STREAM_NEXT], view[at + D.STREAM_BEFORE]
        if before == D.NONE:
            view[c + D.CONNECTION_STREAM] = after
        else:
            view[self._stream_at(before) + D.STREAM_NEXT] = after
        if after != D.NONE:
            view[self._stream_at(after) + D.STREAM_BEFORE] = before
        if view[c + D.CONNECTION_TURN] == stream:
            view[c + D.CONNECTION_TURN] = after
        view[c + D.CONNECTION_STREAMS] -= 1
        self._streams.give_back(stream)

    def widen_streams(self, connection: int, increment: int) -> bool:
        """Another initial window: whether all stay within HTTP/2's limit (RFC 9113, 6.9.2)."""
        view, is_within = self._view, True
        stream = view[self._connection_at(connection) + D.CONNECTION_STREAM]
        while stream != D.NONE:
            at = self._stream_at(stream)
            view[at + D.STREAM_WINDOW] += increment
            is_within = is_within and view[at + D.STREAM_WINDOW] <= D.WINDOW_MAX
            stream = view[at + D.STREAM_NEXT]
        self.make_ready(connection)
        return is_within

    def has_rest(self, stream: int) -> bool:
        """Whether a message of the stream has been begun and not been sent."""
        return bool(self._view[self._stream_at(stream) + D.STREAM_REST_END])

    def notify(self, stream: int) -> None:
        """Have a notice when the rest of the stream is gone; it has one."""
        self._view[self._stream_at(stream) + D.STREAM_IS_WAITING] = 1

    def give(self, stream: int, part: bytes) -> None:
        """Send this part of a message: the stream has no rest. A notice comes when it is gone."""
        view, at = self._view, self._stream_at(stream)
        assert not view[at + D.STREAM_REST_END] and 0 < len(part) <= D.REST_BYTES, "one at a time"
        start = view[D.RESTS_AT] + stream * D.REST_BYTES
        self._bytes[start : start + len(part)] = part
        view[at + D.STREAM_REST_FROM], view[at + D.STREAM_REST_END] = 0, len(part)
        view[at + D.STREAM_IS_WAITING] = 1
        self.make_ready(view[at + D.STREAM_CONNECTION])

    # --- subscriptions ---------------------------------------------------------------------------

    def subscribe(
        self, stream: int, wanted: Iterable[tuple[int, int]], row_at: int, interval_ns: int = 0
    ) -> bool:
        """Send a stream the newest book of each instrument in a form, now and when it changes.

        `wanted`: instruments and forms' kinds; `row_at`: its row of the table of those who listen.
        False where there is no room for so many.
        """
        wanted = tuple(wanted)
        if len(wanted) > self._cursors.room:
            return False
        view, at = self._view, self._stream_at(stream)
        view[at + D.STREAM_ROW], view[at + D.STREAM_INTERVAL_NS] = row_at, interval_ns
        view[at + D.STREAM_START_NS] = steady_ns()
        for instrument, kind in reversed(wanted):
            self._add_cursor(stream, instrument, instrument * D.FORMS_EACH + kind)
            turn(self.words, self.raw, 0, instrument * D.FORMS_EACH + kind)
        self.make_ready(view[at + D.STREAM_CONNECTION])
        return True

    def _add_cursor(self, stream: int, instrument: int, form: int) -> None:
        view, cursor = self._view, self._cursors.take()
        assert cursor is not None, "there was room"
        at, s = self._cursor_at(cursor), self._stream_at(stream)
        f = view[D.FORMS_AT] + form * D.FORM_WORDS
        first = view[f + D.FORM_CURSOR]
        for word in range(D.CURSOR_WORDS):
            view[at + word] = 0
        view[at + D.CURSOR_FORM], view[at + D.CURSOR_STREAM] = form, stream
        view[at + D.CURSOR_NEXT_OF_FORM], view[at + D.CURSOR_BEFORE_OF_FORM] = first, D.NONE
        view[at + D.CURSOR_NEXT_OF_STREAM] = view[s + D.STREAM_CURSOR]
        if first != D.NONE:
            view[self._cursor_at(first) + D.CURSOR_BEFORE_OF_FORM] = cursor
        view[f + D.FORM_CURSOR] = view[s + D.STREAM_CURSOR] = cursor
        i = self._instrument_at(instrument)
        view[i + D.INSTRUMENT_CURSORS] += 1
        if view[i + D.INSTRUMENT_CURSORS] == 1:
            view[view[D.WANTED_AT] + view[D.WANTED]] = instrument
            view[D.WANTED] += 1

    def unsubscribe(self, stream: int) -> None:
        """Begin no more books on a stream."""
        view, s = self._view, self._stream_at(stream)
        cursor = view[s + D.STREAM_CURSOR]
        while cursor != D.NONE:
            at = self._cursor_at(cursor)
            form = view[at + D.CURSOR_FORM]
            after, before = view[at + D.CURSOR_NEXT_OF_FORM], view[at + D.CURSOR_BEFORE_OF_FORM]
            if before == D.NONE:
                view[view[D.FORMS_AT] + form * D.FORM_WORDS + D.FORM_CURSOR] = after
            else:
                view[self._cursor_at(before) + D.CURSOR_NEXT_OF_FORM] = after
            if after != D.NONE:
                view[self._cursor_at(after) + D.CURSOR_BEFORE_OF_FORM] = before
            self._forget_cursor(form // D.FORMS_EACH)
            self._cursors.give_back(cursor)
            cursor = view[at + D.CURSOR_NEXT_OF_STREAM]
        view[s + D.STREAM_CURSOR] = D.NONE

    def _forget_cursor(self, instrument: int) -> None:
        view, at = self._view, self._instrument_at(instrument)
        view[at + D.INSTRUMENT_CURSORS] -= 1
        if view[at + D.INSTRUMENT_CURSORS]:
            return
        first, last = view[D.WANTED_AT], view[D.WANTED_AT] + view[D.WANTED] - 1
        place = next(each for each in range(first, last + 1) if view[each] == instrument)
        view[place] = view[last]
        view[D.WANTED] -= 1
