"""The light HTTP/2 reader: every split of the bytes gives the same messages, events and answers."""

from __future__ import annotations

import random
import socket
import threading

import numpy as np
import pytest

from bench.clients.h2 import (
    ACK,
    ASK_EVENT,
    BID_EVENT,
    DATA,
    HEADERS,
    NO_EVENT,
    PING,
    PREFACE,
    SEEN_NS,
    SETTINGS,
    Connections,
    frame,
)
from bench.load.two_venue_server import amount_of
from proto.orderbook_pb2 import Summary
from tuning.clock import wall_ns

pytestmark = pytest.mark.timeout(60)

STREAMS, MESSAGES = 3, 40


def summary(bid_event: int, ask_event: int, spread: float = 0.01) -> bytes:
    """A message whose best levels tell of these events, and whose other levels of none."""
    made = Summary(spread=spread)
    for levels, event in ((made.bids, bid_event), (made.asks, ask_event)):
        levels.add(exchange="some venue", price=60000.5, amount=amount_of(event) / 1e8)
        levels.add(exchange="other", price=60001.5, amount=7.25)
    return made.SerializeToString()


class Scripted(threading.Thread):
    """A server that sends bytes in pieces of random size, then keeps what it is sent."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pieces = pieces
        self.got = b""

    def run(self) -> None:
        with self._listener, self._listener.accept()[0] as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in self._pieces:
                link.sendall(piece)
            link.shutdown(socket.SHUT_WR)
            while part := link.recv(65536):
                self.got += part


def cut(rng: random.Random, data: bytes, least: int, most: int) -> list[bytes]:
    parts = []
    while data:
        size = rng.randrange(least, most + 1)
        parts.append(data[:size])
        data = data[size:]
    return parts


def script(rng: random.Random, frame_bytes_max: int) -> tuple[bytes, set[tuple[int, int]]]:
    """What a server says, and the events in it: DATA frames that end anywhere in a message."""
    bodies: list[list[bytes]] = []
    events = set()
    for stream in range(STREAMS):
        body = b""
        for number in range(MESSAGES):
            pair = 2 * number, 1000 * stream + 2 * number + 1
            events.add(pair)
            message = summary(*pair, spread=0.0 if number % 3 == 0 else 0.5)
            body += b"\0" + len(message).to_bytes(4, "big") + message
        bodies.append(cut(rng, body, 1, frame_bytes_max))
    said = frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 4, 1, b"\x88")
    while any(bodies):
        index = rng.choice([n for n, parts in enumerate(bodies) if parts])
        said += frame(DATA, 0, 2 * index + 1, bodies[index].pop(0))
        if rng.random() < 0.1:
            said += frame(PING, 0, 0, b"12345678")
    return said, events


@pytest.mark.parametrize("frame_bytes_max", [40, 700, 4000])
def test_messages_are_counted_whatever_they_are_cut_into(frame_bytes_max: int) -> None:
    rng = random.Random(frame_bytes_max)
    said, events = script(rng, frame_bytes_max)
    server = Scripted(cut(rng, said, 1, 900))
    server.start()
    begun_ns = wall_ns()
    clients = Connections(server.target, "/a.B/C", [STREAMS], 1000)
    while not clients.ended:
        clients.read(1000)
    log = clients.log()
    assert clients.received == [MESSAGES] * STREAMS
    seen = {(int(row[BID_EVENT]), int(row[ASK_EVENT])) for row in log}
    assert seen <= events and len(log) == len(seen)
    if frame_bytes_max == 4000:
        assert len(seen) > len(events) / 2, "most messages lie in one frame"
    assert np.all(np.diff(log[:, SEEN_NS], prepend=begun_ns) >= 0)
    clients.close()
    server.join(10)
    assert server.got.startswith(PREFACE) and frame(SETTINGS, ACK, 0, b"") in server.got
    assert server.got.count(frame(PING, ACK, 0, b"12345678")) == said.count(b"12345678")


def test_amounts_that_stand_for_no_event_are_told_apart() -> None:
    empty = Summary(spread=1.0)
    odd = Summary(spread=1.0)
    odd.bids.add(exchange="x", price=1.0, amount=2.5)
    said = b""
    for message in (empty.SerializeToString(), odd.SerializeToString(), summary(12_345_678, 5)):
        body = b"\0" + len(message).to_bytes(4, "big") + message
        said += frame(DATA, 0, 1, body)
    server = Scripted([said])
    server.start()
    clients = Connections(server.target, "/a.B/C", [1], 10)
    while not clients.ended:
        clients.read(1000)
    rows = [(int(row[BID_EVENT]), int(row[ASK_EVENT])) for row in clients.log()]
    assert rows == [(NO_EVENT, NO_EVENT), (NO_EVENT, NO_EVENT), (12_345_678, 5)]
    clients.close()
