"""The load: one websocket connection, frames sent at intended times, stamps of both times.

Open loop: frame i is due at start + i / rate, whatever became of the frames before it; a late send
counts from when it was due. The collector sits in the same process, on the same CPU: between two
sends, never while the engine is at work on a frame, it walks the ring of the handoff and notes when
each update id was published.
Runs on: a worker process of the harness, pinned to the first CPU, garbage collector off.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.load import frames as F
from bench.load.tls_link import TlsLink
from bench.rig.host import pin, prioritise, set_session_nice
from bench.rig.stamps import LATEST_ID, LATEST_NS, Stamps
from bench.rig.workers import Handler, Message
from engine.layout import layout as L
from engine.sharing.handoff import HandoffError, HandoffReader
from tuning.clock import wall_ns

ACCEPT_LIMIT_S = 20.0
START_DELAY_NS = 20_000_000
"""Between the handshake and the first frame: the target has to come back to its loop."""
DRAIN_LIMIT_S = 20.0
"""How long after the last frame its publication is waited for."""
QUIET_LIMIT_S = 5.0
"""Nothing published for so long: nothing will be."""
COLLECT_EVERY = 16
"""Frames between two walks of the ring, a quarter of its slots."""
SLEEP_MARGIN_NS = 100_000
"""With `yields` the sender sleeps until so long before a frame is due, then spins: twice what
waking up takes, and a fifth of the CPU that it shares with gateway and subscribers."""
REALTIME_PRIORITY = 10
"""Where it yields the CPU the sender asks for SCHED_FIFO, to get it back in time."""
FLOOD_ROWS = 64
"""Frames a send when flooding: some 80 kB."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Link = socket.socket | TlsLink


def accept(listener: socket.socket, tls: ssl.SSLContext | None) -> Link:
    """The next connection that is still there, upgraded to a websocket."""
    end_s = time.monotonic() + ACCEPT_LIMIT_S
    while True:
        listener.settimeout(max(end_s - time.monotonic(), 0.01))
        link, _ = listener.accept()
        try:
            return _upgrade(link, tls)
        except (OSError, ConnectionError):
            # A target that waited too long for its turn has left, and comes again.
            link.close()


def _upgrade(plain: socket.socket, tls: ssl.SSLContext | None) -> Link:
    """The opening handshake (RFC 6455, section 4.2). OSError: the peer has gone."""
    link: Link = plain
    plain.settimeout(ACCEPT_LIMIT_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        link = TlsLink(plain, tls)
    request = b""
    while b"\r\n\r\n" not in request:
        part = link.recv(4096)
        if not part:
            raise ConnectionError("left during the handshake")
        request += part
    if tls is None and _has_left(plain):
        raise ConnectionError("left before it was answered")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in request.split(b"\r\n")[1:])
    }
    digest = hashlib.sha1(headers[b"sec-websocket-key"] + _GUID).digest()
    link.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
    link.settimeout(None)
    return link


def _has_left(link: socket.socket) -> bool:
    """Whether the peer has closed the connection; it sends nothing more at this point."""
    link.setblocking(False)
    try:
        return link.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        link.settimeout(ACCEPT_LIMIT_S)


class Collector:
    """Notes publications: out of a handoff's ring, or nothing where the target does it itself.

    `instruments`: how many of the target's, its first, frames are sent to.
    """

    def __init__(self, stamps: Stamps, handoff: str, instruments: int = 1) -> None:
        self._stamps = stamps
        self._reader = reader = _attach(handoff) if handoff else None
        self.instruments = instruments
        self._sequences = [reader.sequence(n) + 1 for n in range(instruments) if reader]
        self.overwritten = 0

    def collect(self, last: int, frames: int) -> None:
        """Every book published since the last time, of those that the last frames were sent to."""
        for number in range(min(frames, self.instruments)):
            self._collect((last - number) % self.instruments)

    def _collect(self, instrument: int) -> None:
        reader = self._reader
        if reader is None:
            return
        published, columns = self._stamps.published, self._stamps.columns
        book = reader.book
        update_at = L.SLOT_VENUES_AT + L.VENUE_UPDATE_ID
        while True:
            got = reader.read_exact(instrument, self._sequences[instrument])
            if got == 0:
                return
            if got > 0:
                turn = int(book[update_at]) - F.FIRST_ID - 1
                index = turn * self.instruments + instrument
                if 0 <= index < columns and published[index] == 0:
                    published[index] = book[L.SLOT_PUBLISH_NS]
                    self._stamps.received[index] = book[L.SLOT_RECEIVE_NS]
            else:
                self.overwritten += 1
            self._sequences[instrument] += 1

    def latest(self, instrument: int = 0) -> tuple[int, int]:
        """The id that is visible now, and when it was published."""
        if self._reader is None:
            header = self._stamps.header
            return int(header[LATEST_ID]), int(header[LATEST_NS])
        if self._reader.read(instrument) <= 0:
            return 0, 0
        book = self._reader.book
        return int(book[L.SLOT_VENUES_AT + L.VENUE_UPDATE_ID]), int(book[L.SLOT_PUBLISH_NS])

    def drain(self, last: int) -> tuple[int, int]:
        """Collect until the last frame's id is visible, or nothing more comes; `latest` of it."""
        instrument, last_id = last % self.instruments, F.FIRST_ID + 1 + last // self.instruments
        end_s = time.monotonic() + DRAIN_LIMIT_S
        quiet_s = time.monotonic()
        seen = self.latest(instrument)
        while seen[0] < last_id and time.monotonic() < end_s:
            time.sleep(0.001)
            self.collect(last, COLLECT_EVERY)
            now = self.latest(instrument)
            if now != seen:
                seen, quiet_s = now, time.monotonic()
            elif time.monotonic() - quiet_s > QUIET_LIMIT_S:
                break
        self.collect(last, self.instruments)
        return seen


def _attach(handoff: str) -> HandoffReader:
    end_s = time.monotonic() + ACCEPT_LIMIT_S
    while True:
        try:
            return HandoffReader.attach(handoff)
        except HandoffError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.01)


def _pace(link: Link, frames: F.FrameSet, request: Message, at: Stamps, walk: Collector) -> None:
    """Send every frame when it is due; over TLS its records are made before."""
    interval_ns = 1e9 / request["rate_hz"]
    yields, count, instruments = request["yields"], request["count"], walk.instruments
    clock, rows = wall_ns, frames.rows
    seal: Callable[[memoryview], bytes | memoryview] = memoryview
    send: Callable[[Any], None] = link.sendall
    if isinstance(link, TlsLink):
        seal, send = link.seal, link.send_sealed
    intended, actual = at.intended, at.actual
    views = [memoryview(row) for row in frames.matrix]
    start_ns = clock() + START_DELAY_NS
    for index in range(count):
        row = index % rows
        frames.renumber(row, 1, F.FIRST_ID + 1 + index // instruments)
        outgoing = seal(views[row])
        due_ns = start_ns + int(index * interval_ns)
        if yields:
            rest_ns = due_ns - clock() - SLEEP_MARGIN_NS
            if rest_ns > 0:
                time.sleep(rest_ns / 1e9)
        now_ns = clock()
        while now_ns < due_ns:
            now_ns = clock()
        send(outgoing)
        intended[index], actual[index] = due_ns, now_ns
        if index % COLLECT_EVERY == COLLECT_EVERY - 1:
            half_ns = due_ns + int(interval_ns / 2)
            while clock() < half_ns:
                pass
            walk.collect(index, COLLECT_EVERY)


def _flood(link: Link, frames: F.FrameSet, request: Message) -> tuple[int, int]:
    """Send batches as fast as the connection takes them; (frames sent, first send)."""
    end_ns = wall_ns() + START_DELAY_NS
    while wall_ns() < end_ns:
        pass
    first_ns = wall_ns()
    end_ns = first_ns + int(request["seconds"] * 1e9)
    sent = 0
    while wall_ns() < end_ns and sent < request["count"]:
        row = sent % (frames.rows - frames.rows % FLOOD_ROWS)
        frames.renumber(row, FLOOD_ROWS, F.FIRST_ID + 1 + sent)
        link.sendall(memoryview(frames.matrix[row : row + FLOOD_ROWS]).cast("B"))  # type: ignore[arg-type]
        sent += FLOOD_ROWS
    # A row of its own ends it: a book seen before, a whole turn of the rows ago, would not be
    # published again, and its frame never be seen.
    frames.renumber(frames.rows - 1, 1, F.FIRST_ID + 1 + sent)
    link.sendall(memoryview(frames.matrix[-1]))
    return sent + 1, first_ns


def _asks_for_realtime() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except (OSError, AttributeError):
        return False
    return True


def _release_realtime() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Sender:
    """A listening socket, and one run after the other on it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls: ssl.SSLContext | None = None
        self._frames: dict[tuple[int, bool, int], F.FrameSet] = {}

    def listen(self, request: Message) -> Message:
        """Where to connect; with `tls_cert` the next connections are TLS."""
        pin(request["cpu"])
        prioritise()
        set_session_nice()
        self._tls = None
        if request.get("tls_cert"):
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(request["tls_cert"])
        return {"port": self._listener.getsockname()[1]}

    def _set(self, levels: int, moves: bool = False, instruments: int = 1) -> F.FrameSet:
        """Where there is one instrument, the last row is for the end of a flood."""
        rows = F.ROWS + 1 if instruments == 1 else F.ROWS
        key = levels, moves, instruments
        if key not in self._frames:
            self._frames[key] = F.frame_set(levels, rows, moves=moves, instruments=instruments)
        return self._frames[key]

    def run(self, request: Message) -> Message:
        """Accept one connection and send at a rate; what was sent and seen."""
        instruments = request.get("instruments", 1)
        frames = self._set(request["levels"], request.get("moves", False), instruments)
        stamps = Stamps(Path(request["stamps"]), request["columns"])
        with accept(self._listener, self._tls) as link:
            walk = Collector(stamps, request["handoff"], instruments)
            is_realtime = request["yields"] and _asks_for_realtime()
            gc.collect()
            gc.disable()
            try:
                _pace(link, frames, request, stamps, walk)
            finally:
                gc.enable()
                _release_realtime()
            latest, _ = walk.drain(request["count"] - 1)
            return {
                "sent": request["count"],
                "latest": latest - F.FIRST_ID,
                "overwritten": walk.overwritten,
                "is_realtime": bool(is_realtime),
                "frame_bytes": frames.frame_bytes,
            }

    def flood(self, request: Message) -> Message:
        """Accept one connection and send as fast as it goes; how long all of it took."""
        frames = self._set(request["levels"])
        stamps = Stamps(Path(request["stamps"]), request["columns"])
        stamps.header[:] = 0
        with accept(self._listener, self._tls) as link:
            walk = Collector(stamps, request["handoff"])
            sent, first_ns = _flood(link, frames, request)
            latest, latest_ns = walk.drain(sent - 1)
            return {
                "sent": sent,
                "published": latest - F.FIRST_ID,
                "taken_ns": latest_ns - first_ns,
                "frame_bytes": frames.frame_bytes,
            }


def handlers() -> dict[str, Handler]:
    """`listen`, then `run` or `flood` any number of times."""
    sender = Sender()
    handle: dict[str, Callable[[Message], Message]] = {
        "listen": sender.listen, "run": sender.run, "flood": sender.flood,
    }  # fmt: skip
    return handle
