"""Frames of a client that makes mistakes, against the gateway: `python -m tests.fuzz.http2`.

Frames are made by their grammar, right and wrong, and their bytes are changed and split at random.
After each of them what the gateway keeps is within its bounds and what it says is whole frames;
when a connection has ended every place of it is free again. A seed says everything again.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter

from bench.clients.h2 import PREFACE, frame
from engine.compiling.jit import compile_kernels
from net.gateway.authorization import Permission
from net.gateway.call import Call
from net.gateway.clients import Clients
from net.gateway.data_path import layout as D
from net.gateway.health_service import HealthService
from net.gateway.http2 import Connection
from net.gateway.hub import Hub
from net.gateway.link import READ_BYTES
from net.gateway.market_data_service import market_data_methods
from net.gateway.methods import Methods
from net.gateway.options import GatewayOptions
from net.gateway.orderbook_service import orderbook_methods
from net.gateway.reflection_service import reflection_methods
from net.gateway.trades import TradeStreams
from tests.net.gateway.data_path.rig import Client, Rig
from tests.net.gateway.rig import ladder
from tests.net.gateway.wire_client import WireClient, fields

PATHS = (
    "/orderbook.OrderbookAggregator/BookSummary", "/pollux.v1.MarketDataService/StreamBook",
    "/pollux.v1.MarketDataService/GetBook", "/pollux.v1.MarketDataService/StreamVenueStatus",
    "/pollux.v1.MarketDataService/StreamTrades",
    "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check", "/no/method",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
)  # fmt: skip
FRAMES_A_CONNECTION = 300
BOOK_EVERY = 16


class FuzzHost:
    """The listener's part, without sockets to accept."""

    def __init__(self, rig: Rig, methods: Methods, clients: Clients) -> None:
        self.path = rig.path
        self.methods = methods
        self.streams_max = clients.calls_max
        self.request_bytes_max = 1024
        self.deferred: list[Connection] = []
        self.calls: dict[int, Call] = {}
        self._clients = clients

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def admit(self, call: Call, needs_token: bool) -> None:
        self._clients.admit(call, needs_token)

    def defer(self, connection: Connection) -> None:
        self.deferred.append(connection)

    def know_stream(self, stream: int, call: Call | None) -> None:
        if call is None:
            self.calls.pop(stream, None)
        else:
            self.calls[stream] = call

    def forget(self, connection: Connection) -> None: ...

    def finish(self, connection: Connection) -> None: ...


class Session:
    """One connection of the fuzzer's."""

    def __init__(self, rig: Rig, host: FuzzHost, chance: random.Random) -> None:
        self.rig, self.host, self.chance = rig, host, chance
        self.client: Client = rig.connect(send_buffer=chance.choice((0, 0, 4096)))
        self.connection = Connection(host, self.client.place, "192.0.2.1:9", "192.0.2.1")
        self._said = bytearray()

    def receive(self, raw: bytes) -> None:
        """Bytes from the client, split as they please."""
        at = 0
        while at < len(raw):
            size = self.chance.choice((1, 9, 20, 1 << 16, 1 << 16))
            self.connection.receive(raw[at : at + size])
            at += size
            while self.host.deferred and not self.connection.is_closing:
                self.host.deferred.pop().serve()
                if self.connection.is_full:
                    self.serve()
            self.host.deferred.clear()

    def serve(self) -> None:
        """A turn of the data path; the client reads."""
        for kind, subject in self.rig.turn():
            if kind == D.NOTICE_SENT and subject in self.host.calls:
                self.host.calls[subject].on_sent()
            elif kind == D.NOTICE_STUCK:
                self.client.read()
                self.rig.path.unstick(self.client.place)
        self.client.read()

    def check(self) -> None:
        """What is kept is bounded."""
        connection, path = self.connection, self.rig.path
        assert len(connection._rest) <= D.FRAME_HEADER_BYTES + D.FRAME_BYTES_MAX + READ_BYTES
        assert path.backlog_bytes(connection.place) <= D.BACKLOG_BYTES
        streams = sum(call.stream is not None for call in connection.calls.values())
        at = int(path.words[D.CONNECTIONS_AT]) + connection.place * D.CONNECTION_WORDS
        assert streams == path.words[at + D.CONNECTION_STREAMS] == len(self.host.calls)
        assert path.words[at + D.CONNECTION_WINDOW] <= D.WINDOW_MAX

    async def end(self) -> None:
        self.connection.lose()
        for _ in range(3):
            await asyncio.sleep(0)
        self.client.read()
        assert not self.host.calls
        self.rig.path.remove_connection(self.client.place)
        self.client.close()
        self.rig.clients.remove(self.client)


BLOCKS = [WireClient.block(WireClient.__new__(WireClient), fields(path)) for path in PATHS]


def random_frame(chance: random.Random) -> bytes:
    """One frame, as a client sends it or nearly so."""
    kind = chance.choice((0, 0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 8, 9, chance.randrange(256)))
    flags = chance.choice((0, 1, 4, 5, 5, chance.randrange(256)))
    stream = chance.choice((0, 1, 3, 5, 7, chance.randrange(1, 400), chance.randrange(2**32)))
    payload: bytes
    if kind == 0:
        size = chance.randrange(40)
        payload = chance.choice((bytes(5), b"\0\0\0\0\2\x10\5", chance.randbytes(size)))
    elif kind == 1:
        payload = chance.choice(BLOCKS)
        if not chance.randrange(3):
            payload = payload[: chance.randrange(len(payload) + 1)]
        if chance.randrange(2):
            stream = 2 * chance.randrange(200) + 1
    elif kind == 4:
        settings = [(chance.randrange(10), chance.choice((0, 1, 65_535, 100, 2**31, 2**14)))]
        payload = b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in settings)
        flags, stream = chance.choice((0, 0, 0, 1)), chance.choice((0, 0, 0, 0, stream))
    elif kind == 8:
        payload = chance.choice((0, 1, 100, 2**20, 2**31 - 1, 2**32 - 1)).to_bytes(4, "big")
    elif kind == 6:
        payload = chance.randbytes(8)
    elif kind == 9:
        payload = chance.choice((b"", chance.choice(BLOCKS)))
    else:
        payload = chance.randbytes(chance.choice((0, 4, 5, 8, chance.randrange(20))))
    raw = bytearray(frame(kind, flags, stream & 0xFFFFFFFF, payload))
    if not chance.randrange(12):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    if not chance.randrange(40):
        del raw[chance.randrange(len(raw)) :]
    return bytes(raw)


class Proper:
    """A client that keeps to the rules, at random."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._next, self._open = 1, [0]

    def frames(self) -> bytes:
        chance, stream = self._chance, self._chance.choice(self._open[-12:])
        act = chance.randrange(10)
        if act < 4:
            stream, self._next = self._next, self._next + 2
            block = chance.choice(BLOCKS)
            cut = chance.choice((len(block), chance.randrange(len(block))))
            head = frame(1, 4 * (cut == len(block)), stream, block[:cut])
            if cut < len(block):
                head += frame(9, 4, stream, block[cut:])
            if chance.randrange(4):
                self._open.append(stream)
                return head + frame(0, 1, stream, bytes(5))
            return head + frame(0, 0, stream, bytes(5)[: chance.randrange(6)])
        if act < 7:
            return frame(8, 0, stream, chance.choice((1, 100, 20_000)).to_bytes(4, "big"))
        if act < 8 and stream:
            self._open.remove(stream)
            return frame(3, 0, stream, (8).to_bytes(4, "big"))
        if act < 9:
            size = chance.choice((0, 50, 1000, 65_535))
            return frame(4, 0, 0, b"\0\4" + size.to_bytes(4, "big"))
        return frame(2, 0, self._next, bytes(5)) + frame(6, 1, 0, bytes(8))


async def fuzz(frames: int, seed: int) -> Counter[str]:
    """So many frames; what became of the connections."""
    chance, seen = random.Random(seed), Counter[str]()
    rig = Rig(D.Sizes(2, 64, 4))
    try:
        options = GatewayOptions(rig.engine.name, subscribers_max=16, streams_per_client_max=40)
        clients = Clients(options, Permission(options), rig.counters)
        hub = Hub(rig.reader, options, rig.counters, rig.path)
        trades = TradeStreams(hub, rig.engine.name, rig.reader.writer_pid)
        methods = {**orderbook_methods(hub), **market_data_methods(hub, trades),
                   **HealthService(("x",)).methods(), **reflection_methods(("x",))}  # fmt: skip
        host = FuzzHost(rig, methods, clients)
        books = 0
        while seen["frames"] < frames:
            session = Session(rig, host, chance)
            seen["connections"] += 1
            session.receive(PREFACE + frame(4, 0, 0, b""))
            proper, wrong = Proper(chance), chance.choice((0.0, 0.02, 0.1, 1.0))
            for _ in range(chance.randrange(1, FRAMES_A_CONNECTION)):
                is_wrong = chance.random() < wrong
                session.receive(random_frame(chance) if is_wrong else proper.frames())
                seen["frames"] += 1
                session.check()
                if seen["frames"] % BOOK_EVERY == 0:
                    books += 1
                    rig.engine.beat()
                    rig.engine.publish(*ladder(500 + books % 7))
                if not chance.randrange(4):
                    await asyncio.sleep(0)
                    session.serve()
                    session.check()
                if session.connection.is_closing:
                    seen["refused"] += 1
                    break
            seen["calls"] += session.connection._last_id > 0
            seen["messages"] += sum(map(len, session.client.messages.values()))
            await session.end()
        assert rig.path._streams.room == 64, "a stream's place is lost"
        assert rig.path.words[D.WANTED] == 0 and rig.counters.subscribers == 0
        return seen
    finally:
        rig.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    compile_kernels()
    begun_s = time.monotonic()
    seen = asyncio.run(fuzz(given.frames, given.seed))
    print(f"seed {given.seed}: {dict(seen)} in {time.monotonic() - begun_s:.0f} s")


if __name__ == "__main__":
    main()
