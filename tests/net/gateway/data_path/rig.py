"""A data path over an engine of the tests' own, and clients that are plain sockets in pairs."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field

from engine.layout import layout as L
from engine.sharing.handoff import HandoffReader, HandoffWriter, InstrumentInfo
from net.gateway.counters import GatewayCounters
from net.gateway.data_path import layout as D
from net.gateway.data_path.data_path import DataPath
from tests.net.gateway.rig import Engine

SIZES = D.Sizes(instruments=2, streams=64, connections=8)
DATA_HEAD = D.FRAME_HEADER_BYTES


@dataclass
class Client:
    """The other end of a connection, which reads when it is told to."""

    path: DataPath
    link: socket.socket
    server_link: socket.socket
    place: int
    raw: bytearray = field(default_factory=bytearray)
    messages: dict[int, list[bytes]] = field(default_factory=dict)
    """Of each stream, without gRPC's prefix."""
    frames: list[tuple[int, int]] = field(default_factory=list)
    """Stream and payload size of each DATA frame."""
    _parts: dict[int, bytearray] = field(default_factory=dict)

    def stream(self, stream_id: int, window: int = D.INITIAL_WINDOW_BYTES) -> int:
        """A new stream; its place."""
        place = self.path.add_stream(self.place, stream_id, window)
        assert place is not None
        return place

    def read(self, bytes_max: int = 1 << 24) -> None:
        """Take in what is there, at most so much."""
        left = bytes_max
        while left > 0 and select.select([self.link], [], [], 0)[0]:
            got = self.link.recv(min(left, 1 << 16))
            if not got:
                break
            left -= len(got)
            self.raw += got
        self._parse()

    def _parse(self) -> None:
        while len(self.raw) >= DATA_HEAD:
            size = int.from_bytes(self.raw[:3], "big")
            if len(self.raw) < DATA_HEAD + size:
                return
            kind, stream_id = self.raw[3], int.from_bytes(self.raw[5:9], "big")
            payload = bytes(self.raw[DATA_HEAD : DATA_HEAD + size])
            del self.raw[: DATA_HEAD + size]
            if kind != 0:
                continue
            self.frames.append((stream_id, size))
            part = self._parts.setdefault(stream_id, bytearray())
            part += payload
            while len(part) >= 5 and len(part) >= 5 + int.from_bytes(part[1:5], "big"):
                end = 5 + int.from_bytes(part[1:5], "big")
                self.messages.setdefault(stream_id, []).append(bytes(part[5:end]))
                del part[:end]

    def close(self) -> None:
        self.link.close()
        self.server_link.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection: TCP takes parts of what it is given, a local socket does not."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        theirs = socket.create_connection(door.getsockname())
        ours, _ = door.accept()
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


class Rig:
    """An engine, a data path over it, and its clients."""

    def __init__(
        self,
        sizes: D.Sizes = SIZES,
        *,
        instruments: tuple[InstrumentInfo, ...] = (),
        **options: int,
    ) -> None:
        self.engine = Engine(*instruments)
        self.reader = HandoffReader.attach(self.engine.name)
        self.counters = GatewayCounters()
        self.path = DataPath(self.reader, sizes, self.counters, **options)
        self._epoll = select.epoll()
        self.path.poll_by(self._epoll.fileno())
        self.clients: list[Client] = []
        self.row = self.counters.table.enter("a test", "x", 1)

    def connect(
        self, *, send_buffer: int = 0, is_encrypted: bool = False, keeps_bounds: bool = False
    ) -> Client:
        """A connection; with `keeps_bounds` each send(2) is received by itself."""
        if keeps_bounds:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        else:
            ours, theirs = tcp_pair()
        if send_buffer:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, send_buffer)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        ours.setblocking(False)
        place = self.path.add_connection(ours.fileno(), is_encrypted)
        assert place is not None
        self.clients.append(Client(self.path, theirs, ours, place))
        return self.clients[-1]

    def follow(self, stream: int, *wanted: tuple[int, int], interval_ns: int = 0) -> None:
        """Subscribe a stream to instruments' forms."""
        assert self.path.subscribe(stream, wanted, self.row, interval_ns)

    def turn(self, timeout_ns: int = 0) -> list[tuple[int, int]]:
        """One turn; the notices."""
        self.path.turn(timeout_ns)
        return self.path.take_notices()

    @staticmethod
    def ring_at(instrument: int) -> int:
        """Where an instrument's sequence is in the handoff."""
        return HandoffWriter.ring_at(instrument) + L.RING_SEQUENCE

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self._epoll.close()
        self.engine.close()
