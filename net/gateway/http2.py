"""One client's connection: HTTP/2 by h2, DATA frames out by the data path, calls in between.

    socket -> (TLS) -> walk (windows, pings; compiled) -> h2 -> calls
    socket <- (TLS) <- the data path's backlog <- h2's frames, DATA frames

h2 decides what a frame means: preface, SETTINGS, HPACK, the states of streams, errors, GOAWAY. It
never sends DATA and never sees an ordinary WINDOW_UPDATE: the windows for what we send are the data
path's alone, which is told of another initial window here. What we receive is h2's to account for.

What a client may cost is bounded: the bytes that wait (one frame and what one read brings), the
frames served before another client's turn (FRAMES_A_TURN), the bytes of a header block, the frames
that ask for nothing (Allowance), and what waits for its socket (layout.BACKLOG_BYTES).
Runs on: the gateway's event loop.
"""

from __future__ import annotations

from typing import Any, Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hpack
from hyperframe.frame import GoAwayFrame, PingFrame

from net.gateway.call import Call, Metadata
from net.gateway.data_path import layout as D
from net.gateway.data_path.data_path import DataPath
from net.gateway.methods import Methods
from net.gateway.request_headers import Headers, is_grpc, is_well_formed, timeout_s
from net.gateway.status import RefusedError, Status, percent_encoded

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)  # fmt: skip
END_STREAM, ACK = 0x1, 0x1

FRAMES_A_TURN = 8
"""Frames for h2, some 100 us each: then it is another client's turn, and the books'."""
HEADER_LIST_BYTES_MAX = 16_384
"""Of a call's headers as HTTP/2 counts them; the largest token and some metadata are far below."""
HEADER_BLOCK_BYTES_MAX = 32_768
"""Of HEADERS and its CONTINUATIONs, as sent."""
CLOSED_STREAMS_MAX = 256
"""Streams that h2 remembers as closed, to tell a late frame from a wrong one."""

ALLOWANCE_MAX, ALLOWANCE_A_S = 1000.0, 100.0
"""Frames that ask for nothing: resets, SETTINGS, priorities, empty DATA, continuations. A client
that ends all its calls at once sends one each."""

ALL_STREAMS = 2**31 - 1
Code = h2.errors.ErrorCodes


class _H2(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = CLOSED_STREAMS_MAX


class Allowance:
    """How many frames that ask for nothing a client may still send."""

    def __init__(self, now_s: float) -> None:
        self._left, self._seen_s = ALLOWANCE_MAX, now_s

    def spend(self, now_s: float) -> bool:
        """One more; whether it was allowed."""
        grown = self._left + (now_s - self._seen_s) * ALLOWANCE_A_S
        self._left, self._seen_s = min(grown, ALLOWANCE_MAX) - 1, now_s
        return self._left >= 0


class Host(Protocol):
    """The listener, as its connections need it."""

    path: DataPath
    methods: Methods
    streams_max: int
    request_bytes_max: int

    def now_s(self) -> float:
        """The loop's time."""

    def admit(self, call: Call, needs_token: bool) -> None:
        """Count a call for its client; RefusedError."""

    def defer(self, connection: Connection) -> None:
        """Have `serve` called when others have had their turn."""

    def know_stream(self, stream: int, call: Call | None) -> None:
        """Whose notices those of a stream are."""

    def forget(self, connection: Connection) -> None:
        """It is closed."""

    def finish(self, connection: Connection) -> None:
        """Close it when what waits has gone."""


class Connection:
    """From the first byte to the last; `peer`: an address with its port, `client`: who counts."""

    def __init__(self, host: Host, place: int, peer: str, client: str) -> None:
        self.place = place
        self.peer, self.client = peer, client
        self.calls: dict[int, Call] = {}
        self.since_s = self.read_s = self.idle_since_s = host.now_s()
        """When it began, when something came last, when its last call ended."""
        self.has_greeted = False
        """Whether the client has said HTTP/2."""
        self.is_closing = self.is_lost = False
        self.ping_s = 0.0
        """When it was asked for a sign of life; 0 where it has answered."""
        self.begun_s = 0.0
        """When a frame or a header block began that is not whole; 0 where none is."""
        self._host = host
        self._path = host.path
        self._rest = b""
        self._is_retired = False
        self._last_id = 0
        self._block_bytes = 0
        self._allowance = Allowance(self.since_s)
        # h2 would end the connection for a malformed request, where the RFC wants its stream's end.
        config = h2.config.H2Configuration(
            client_side=False, header_encoding=None, validate_inbound_headers=False
        )
        self._h2 = _H2(config)
        codes = h2.settings.SettingCodes
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: host.streams_max,
                codes.MAX_HEADER_LIST_SIZE: HEADER_LIST_BYTES_MAX,
            },
        )
        self._h2.decoder.max_header_list_size = HEADER_LIST_BYTES_MAX
        self._h2.initiate_connection()
        self._flush()

    # --- what comes in ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """What the socket, or TLS, had."""
        self.read_s, self.ping_s = self._host.now_s(), 0.0
        if self.is_closing:
            return  # what it says now is not heard
        self._rest = self._rest + data if self._rest else data
        self.serve()

    def serve(self) -> None:
        """Serve what has come, as far as one turn goes."""
        at, raw, stop = 0, self._rest, D.WALK_FRAME
        if not self.has_greeted:
            at = self._greet(raw)
            if at == 0:
                return
        for _ in range(FRAMES_A_TURN):
            if self.is_full:
                stop = D.WALK_FULL
                break
            at, stop = self._path.walk(self.place, raw, at)
            if stop != D.WALK_FRAME:
                break
            end = at + D.FRAME_HEADER_BYTES + int.from_bytes(raw[at : at + 3], "big")
            self._feed(raw[at:end])
            if self.is_closing:
                return
            at = end
        self._keep(raw[at:])
        if stop in (D.WALK_FRAME, D.WALK_FULL):
            if self._rest:
                self._host.defer(self)
        elif stop != D.WALK_PARTIAL:
            self._on_stop(stop, raw[at:])

    def _keep(self, rest: bytes) -> None:
        """Keep what is to be served later; a frame or a header block that was begun must end."""
        self._rest = rest
        if not rest and self._path.ends_header_block(self.place):
            self.begun_s = 0.0
        elif not self.begun_s:
            self.begun_s = self.read_s

    def _greet(self, raw: bytes) -> int:
        """The preface and the SETTINGS behind it; 0 while they are not whole."""
        size = len(PREFACE)
        if not PREFACE.startswith(raw[:size]):
            self.fail(Code.PROTOCOL_ERROR)
            return 0
        head = raw[size : size + D.FRAME_HEADER_BYTES]
        if len(head) < D.FRAME_HEADER_BYTES:
            return 0
        end = size + D.FRAME_HEADER_BYTES + int.from_bytes(head[:3], "big")
        if head[3] != SETTINGS or head[4] or end - size > D.FRAME_BYTES_MAX:
            self.fail(Code.PROTOCOL_ERROR)
            return 0
        if len(raw) < end:
            return 0
        self.has_greeted = True
        self._feed(raw[:end])
        return 0 if self.is_closing else end

    def _on_stop(self, stop: int, frame: bytes) -> None:
        """What the data path does not put up with."""
        if stop == D.WALK_STREAM_OVERFLOW:
            stream_id = int.from_bytes(frame[5:9], "big") & ALL_STREAMS
            self._rest = frame[D.FRAME_HEADER_BYTES + 4 :]
            self._reset(stream_id, Code.FLOW_CONTROL_ERROR)
            self._on_reset(stream_id)
            self._host.defer(self)
        elif stop == D.WALK_PINGS:
            self.fail(Code.ENHANCE_YOUR_CALM, b"too_many_pings")
        elif stop == D.WALK_TOO_LONG:
            self.fail(Code.FRAME_SIZE_ERROR)
        else:
            self.fail(Code.FLOW_CONTROL_ERROR)

    def _feed(self, frame: bytes) -> None:
        """Give one whole frame to h2, and do what it says."""
        if not self._is_bearable(frame):
            return self.fail(Code.ENHANCE_YOUR_CALM)
        kind, flags, size = frame[3], frame[4], len(frame) - D.FRAME_HEADER_BYTES
        if kind == SETTINGS and flags & ACK and size and self.has_greeted:
            return self.fail(Code.FRAME_SIZE_ERROR)
        if kind == GOAWAY:
            return self._on_goaway(frame)
        try:
            events = self._h2.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            self._h2.clear_outbound_data_buffer()  # its goodbye: ours says why
            code = Code(error.error_code)
            if code == Code.PROTOCOL_ERROR and isinstance(error.__cause__, hpack.HPACKError):
                code = Code.COMPRESSION_ERROR
            return self.fail(code)
        for event in events:
            if not self.is_closing:
                self._on_event(event)
        if not self.is_closing:
            self._flush()

    def _is_bearable(self, frame: bytes) -> bool:
        """Whether a frame asks for something, or is one of few that do not."""
        kind, size = frame[3], len(frame) - D.FRAME_HEADER_BYTES
        if kind in (HEADERS, CONTINUATION):
            self._block_bytes = size + (self._block_bytes if kind == CONTINUATION else 0)
            if self._block_bytes > HEADER_BLOCK_BYTES_MAX:
                return False
        if kind in (HEADERS, WINDOW_UPDATE) or (kind == DATA and (size or frame[4] & END_STREAM)):
            return True
        return self._allowance.spend(self._host.now_s())

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._on_request(event)
        elif isinstance(event, h2.events.DataReceived):
            self._on_data(event)
        elif isinstance(event, h2.events.StreamEnded):
            call = self.calls.get(event.stream_id)
            if call is not None:
                call.receive_end()
        elif isinstance(event, h2.events.StreamReset):
            self._on_reset(event.stream_id)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._on_settings(event)

    def _on_goaway(self, frame: bytes) -> None:
        """The client ends it when its calls have ended; h2 would answer them no more."""
        if int.from_bytes(frame[5:9], "big") & ALL_STREAMS:
            return self.fail(Code.PROTOCOL_ERROR)
        if len(frame) < D.FRAME_HEADER_BYTES + 8:
            return self.fail(Code.FRAME_SIZE_ERROR)
        self._is_retired = True
        self._close_if_done()

    def _on_request(self, event: Any) -> None:
        stream_id, headers = event.stream_id, event.headers
        if self._is_retired and stream_id > self._last_id:
            return self._reset(stream_id, Code.REFUSED_STREAM)
        self._last_id = max(self._last_id, stream_id)
        fields = dict(headers)
        if not is_well_formed(headers):
            return self._reset(stream_id, Code.PROTOCOL_ERROR)
        if fields.get(b":method") != b"POST":
            return self._answer(stream_id, [(b":status", b"405"), (b"allow", b"POST")])
        if not is_grpc(fields):
            return self._answer(stream_id, [(b":status", b"415")])
        path = fields[b":path"].decode("latin-1")
        method = self._host.methods.get(path)
        if method is None:
            return self._refuse(stream_id, Status.UNIMPLEMENTED, f"there is no method {path[:128]}")
        encoding = fields.get(b"grpc-encoding", b"identity")
        if encoding != b"identity":
            name = encoding.decode("latin-1")[:32]
            text = f"requests of encoding {name!r}: only `identity` is known"
            return self._refuse(stream_id, Status.UNIMPLEMENTED, text)
        metadata: Metadata = tuple((name.decode("latin-1"), value) for name, value in headers)
        call = Call(self, stream_id, method, metadata, self._host.request_bytes_max)
        self.calls[stream_id] = call
        try:
            self._host.admit(call, method.needs_token)
        except RefusedError as refused:
            return call.end(refused.code, refused.text)
        limit_s = timeout_s(fields.get(b"grpc-timeout", b""))
        if limit_s is not None:
            call.expire_in(limit_s)

    def _on_data(self, event: Any) -> None:
        if event.flow_controlled_length:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        call = self.calls.get(event.stream_id)
        if call is not None:
            call.receive(event.data)

    def _on_reset(self, stream_id: int) -> None:
        call = self.calls.get(stream_id)
        if call is not None:
            call.cancel()
            self._forget_call(call)

    def _on_settings(self, event: Any) -> None:
        codes = h2.settings.SettingCodes
        change = event.changed_settings.get(codes.INITIAL_WINDOW_SIZE)
        if change is not None:
            grown = change.new_value - (change.original_value or 0)
            if not self._path.widen_streams(self.place, grown):
                self.fail(Code.FLOW_CONTROL_ERROR)

    # --- calls (call.Wire) -----------------------------------------------------------------------

    def add_stream(self, stream_id: int) -> int | None:
        if self.is_lost:
            return None
        # h2 has seen what the client opened of it before it had a place.
        window = self._h2.streams[stream_id].outbound_flow_control_window
        stream = self._path.add_stream(self.place, stream_id, window)
        if stream is not None:
            self._h2.send_headers(stream_id, [*_ANSWER])
            self._flush()
            self._host.know_stream(stream, self.calls[stream_id])
        return stream

    def give(self, stream: int, part: bytes) -> None:
        self._path.give(stream, part)

    def has_rest(self, stream: int) -> bool:
        return self._path.has_rest(stream)

    def notify(self, stream: int) -> None:
        self._path.notify(stream)

    def unsubscribe(self, stream: int) -> None:
        self._path.unsubscribe(stream)

    def end_call(self, call: Call, status: Status, text: str) -> None:
        fields: Headers = [(b"grpc-status", b"%d" % status)]
        if text:
            fields.append((b"grpc-message", percent_encoded(text)))
        if not call.is_answered:
            fields = [*_ANSWER, *fields]
        self._answer(call.id, fields, is_request_over=call.is_request_over)
        self._forget_call(call)

    def reset_call(self, call: Call) -> None:
        self._reset(call.id, Code.ENHANCE_YOUR_CALM)
        self._forget_call(call)

    def _forget_call(self, call: Call) -> None:
        self.calls.pop(call.id, None)
        if call.stream is not None:
            self._host.know_stream(call.stream, None)
            self._path.remove_stream(call.stream)
            call.stream = None
        self.idle_since_s = self._host.now_s()
        self._close_if_done()

    def _refuse(self, stream_id: int, status: Status, text: str) -> None:
        fields = [(b"grpc-status", b"%d" % status), (b"grpc-message", percent_encoded(text))]
        self._answer(stream_id, [*_ANSWER, *fields])

    def _answer(self, stream_id: int, fields: Headers, *, is_request_over: bool = False) -> None:
        """Headers that end the stream, and the request with it."""
        if self.is_lost or self.is_closing:
            return
        try:
            self._h2.send_headers(stream_id, fields, end_stream=True)
            if not is_request_over:
                self._h2.reset_stream(stream_id, Code.NO_ERROR)
        except h2.exceptions.ProtocolError:
            return  # the client has closed it, and said so in the same breath
        self._flush()

    def _reset(self, stream_id: int, code: Code) -> None:
        try:
            self._h2.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            return
        self._flush()

    # --- what goes out ---------------------------------------------------------------------------

    def _flush(self) -> None:
        frames = self._h2.data_to_send()
        if frames:
            self._append(frames)

    def _append(self, frames: bytes) -> None:
        if not self.is_lost and not self._path.append(self.place, frames):
            self.lose()  # it asks and does not read

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the socket that nothing more is taken in."""
        return self._path.backlog_bytes(self.place) > D.BACKLOG_BYTES // 2

    def ask_for_life(self) -> None:
        """A ping: whoever is there answers."""
        self.ping_s = self._host.now_s()
        self._append(PingFrame(0, opaque_data=b"are you?").serialize())

    # --- its end ---------------------------------------------------------------------------------

    def retire(self, *, is_final: bool) -> None:
        """Say that the connection will end: calls of this moment are served, then no others."""
        if self.is_closing or self.is_lost:
            return
        last_id = ALL_STREAMS
        if is_final:
            self._is_retired, last_id = True, self._last_id
        self._append(GoAwayFrame(0, last_stream_id=last_id).serialize())
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_retired and not self.calls:
            self.close()

    def fail(self, code: Code, text: bytes = b"") -> None:
        """Say what is wrong with the connection, and end it."""
        if not self.is_closing:
            goodbye = GoAwayFrame(
                0, last_stream_id=self._last_id, error_code=code, additional_data=text
            )
            self._append(goodbye.serialize())
            self.close()

    def close(self) -> None:
        """End it when what waits has gone; no call is served any more."""
        if not self.is_closing:
            self.is_closing = True
            self._rest = b""
            self.drop_calls()
            self._host.finish(self)

    def drop_calls(self) -> None:
        """The client is gone: nothing is to be said to anybody."""
        for call in list(self.calls.values()):
            call.cancel()
            self._forget_call(call)

    def lose(self) -> None:
        """It is over, at once."""
        if not self.is_lost:
            self.is_lost = self.is_closing = True
            self._rest = b""
            self.drop_calls()
            self._host.forget(self)


_ANSWER: Headers = [(b":status", b"200"), (b"content-type", b"application/grpc")]
