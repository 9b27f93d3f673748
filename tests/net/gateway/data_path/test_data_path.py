"""The data path over real sockets: windows, what is begun, who skips, turns, intervals, the end."""

from __future__ import annotations

import os
import select
import time
from typing import Any, cast

import pytest

from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from net.gateway.data_path import layout as D
from net.gateway.data_path.frames import BATCHES_MAX
from net.gateway.data_path.turn import turn
from proto import orderbook_pb2
from proto.pollux.v1 import market_data_pb2 as pb
from tests.net.gateway.data_path.rig import SIZES, Client, Rig
from tests.net.gateway.rig import eventually, ladder

pytestmark = pytest.mark.kernel

BTC_SUMMARY, BTC_BOOK, ETH_SUMMARY = (0, D.SUMMARY), (0, D.BOOK + 9), (1, D.SUMMARY)


def sequences(client: Client, stream_id: int) -> list[int]:
    return [pb.Book.FromString(raw).sequence for raw in client.messages.get(stream_id, [])]


def bests(client: Client, stream_id: int) -> list[float]:
    summaries = map(orderbook_pb2.Summary.FromString, client.messages.get(stream_id, []))
    return [each.bids[0].price for each in summaries]


def test_the_newest_book_at_once_then_every_change(rig: Rig) -> None:
    rig.engine.publish(*ladder(400))
    rig.engine.publish(*ladder(500))
    client = rig.connect()
    rig.follow(client.stream(1), BTC_BOOK)
    assert rig.turn() == []
    rig.engine.publish(*ladder(501))
    rig.turn()
    rig.turn()
    client.read()
    assert sequences(client, 1) == [2, 3]
    assert (rig.counters.sent, rig.counters.conflated, rig.counters.encoded) == (2, 0, 2)


def test_nothing_is_read_that_nobody_follows(rig: Rig) -> None:
    rig.engine.publish(*ladder(500))
    rig.turn()
    assert rig.counters.books == 0
    client = rig.connect()
    stream = client.stream(1)
    rig.follow(stream, ETH_SUMMARY)
    rig.engine.publish(*ladder(500))
    rig.turn()
    assert rig.counters.books == 0, "another instrument's"
    rig.path.remove_stream(stream)
    rig.engine.publish([(7, 8, 0)], [], instrument=1)
    rig.turn()
    assert rig.counters.books == 0, "it has left"


def test_one_send_for_all_streams_of_a_connection(rig: Rig) -> None:
    rig.engine.publish(*ladder(500))
    client = rig.connect(keeps_bounds=True)
    ids = range(1, 21, 2)
    for stream_id in ids:
        rig.follow(client.stream(stream_id), BTC_SUMMARY)
    rig.turn()
    client.raw += client.link.recv(1 << 16)
    assert not select.select([client.link], [], [], 0)[0], "one send(2)"
    client._parse()
    assert sorted(client.messages) == list(ids)
    assert len({raw for each in ids for raw in client.messages[each]}) == 1


# --- windows -------------------------------------------------------------------------------------


def test_a_message_is_begun_as_far_as_the_window_goes_and_nothing_else_before_it_is_whole(
    rig: Rig,
) -> None:
    rig.engine.publish(*ladder(500))
    client = rig.connect()
    stream = client.stream(1, window=100)
    rig.follow(stream, BTC_BOOK)
    rig.turn()
    client.read()
    assert client.frames == [(1, 100)] and rig.path.has_rest(stream)
    for step in range(5):
        rig.engine.publish(*ladder(501 + step))
        rig.turn()
    client.read()
    assert client.frames == [(1, 100)], "the window is used up"
    assert rig.path.widen_streams(client.place, 1 << 20)
    rig.turn()
    rig.turn()
    client.read()
    assert sequences(client, 1) == [1, 6], "the rest of the old one, then the newest"
    assert rig.counters.conflated == 4


def test_a_window_far_smaller_than_a_message_starves_nobody(rig: Rig) -> None:
    rig.engine.publish(*ladder(500))
    client = rig.connect()
    rig.follow(client.stream(1, window=0), BTC_SUMMARY)
    rig.turn()
    for _ in range(2000):
        rig.path.widen_streams(client.place, 3)
        rig.turn()
        client.read()
        if client.messages:
            break
    assert bests(client, 1) == [5.0] and {size for _, size in client.frames} <= {1, 2, 3}


def test_the_connections_window_is_all_its_streams(rig: Rig) -> None:
    """65,535 bytes in all, then nothing; who is next is not always the same."""
    rig.engine.publish(*ladder(500))
    client = rig.connect()
    for stream_id in range(1, 17, 2):
        rig.follow(client.stream(stream_id, window=1 << 30), BTC_SUMMARY)
    for step in range(100):
        rig.engine.publish(*ladder(501 + step))
        rig.turn()
        client.read()
    assert sum(size for _, size in client.frames) == D.INITIAL_WINDOW_BYTES
    counts = [len(client.messages[each]) for each in range(1, 17, 2)]
    assert max(counts) - min(counts) <= 1


def test_a_walk_opens_windows_and_answers_pings(rig: Rig) -> None:
    client = rig.connect()
    stream = client.stream(1, window=0)
    update = b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x05"
    ping = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"
    other = b"\0\0\0\x04\x01\0\0\0\0"
    raw = update + ping + update + other + update[:7]
    assert rig.path.walk(client.place, raw, 0) == (len(update) * 2 + len(ping), D.WALK_FRAME)
    at = len(raw) - 7
    assert rig.path.walk(client.place, raw, at) == (at, D.WALK_PARTIAL)
    at = int(rig.path.words[D.STREAMS_AT]) + stream * D.STREAM_WORDS
    assert rig.path.words[at + D.STREAM_WINDOW] == 10
    rig.turn()
    assert client.link.recv(100) == b"\0\0\x08\x06\x01\0\0\0\0" + b"12345678"


@pytest.mark.parametrize(
    ("raw", "stop"),
    [
        (b"\0\0\x04\x08\0\0\0\0\x01\x7f\xff\xff\xff", D.WALK_STREAM_OVERFLOW),
        (b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff", D.WALK_OVERFLOW),
        (b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\0", D.WALK_FRAME),
        (b"\0\0\x04\x08\0\0\0\0\x03\0\0\0\x01", D.WALK_FRAME),
        (b"\0\0\x03\x08\0\0\0\0\x01\0\0\0", D.WALK_FRAME),
        (b"\0\x40\x01\0\0\0\0\0\x01", D.WALK_TOO_LONG),
        (b"\0\0\x08\x06\0\0\0\0\x01" + bytes(8), D.WALK_FRAME),
        (b"\0\0\x08\x06\x01\0\0\0\0" + bytes(8), D.WALK_FRAME),
        ((b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)) * 5, D.WALK_PINGS),
        (b"", D.WALK_PARTIAL),
    ],
)
def test_what_a_walk_leaves_to_others(rig: Rig, raw: bytes, stop: int) -> None:
    client = rig.connect()
    client.stream(1)
    assert rig.path.walk(client.place, raw, 0)[1] == stop


def test_header_blocks_are_not_interrupted(rig: Rig) -> None:
    """Between HEADERS and the CONTINUATION that ends it every frame is h2's to refuse."""
    client = rig.connect()
    client.stream(1)
    update = b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x05"
    for head, is_open in ((b"\0\0\0\x01\0\0\0\0\x05", True), (b"\0\0\0\x09\x04\0\0\0\x05", False)):
        assert rig.path.walk(client.place, head + update, 0) == (0, D.WALK_FRAME)
        assert rig.path.ends_header_block(client.place) is not is_open
        assert rig.path.walk(client.place, update, 0)[1] == (
            D.WALK_FRAME if is_open else D.WALK_PARTIAL
        )


# --- sockets that are full -----------------------------------------------------------------------


def test_a_full_socket_keeps_one_frame_begun_and_then_has_the_newest(rig: Rig) -> None:
    client = rig.connect(send_buffer=4096)
    for stream_id in range(1, 9, 2):
        rig.follow(client.stream(stream_id, window=1 << 30), BTC_BOOK)
    rig.path.walk(client.place, b"\0\0\x04\x08\0\0\0\0\0\x40\0\0\0", 0)
    stuck = []
    for step in range(300):
        rig.engine.publish(*ladder(500 + step))
        stuck += rig.turn()
    assert stuck == [(D.NOTICE_STUCK, client.place)], "told once"
    assert rig.path.backlog_bytes(client.place) <= 9 + 1500, "a part of one frame"
    assert eventually(lambda: take_all(rig, client))
    for stream_id in range(1, 9, 2):
        found = sequences(client, stream_id)
        assert found[-1] == 300 and found == sorted(set(found)) and len(found) < 150
    assert not client.raw, "whole frames to the last"
    at = int(rig.path.words[D.CONNECTIONS_AT]) + client.place * D.CONNECTION_WORDS
    sent = sum(size for _, size in client.frames)
    opened = D.INITIAL_WINDOW_BYTES + (1 << 30)
    assert rig.path.words[at + D.CONNECTION_WINDOW] == opened - sent, "what was never sent is back"
    assert rig.counters.conflated == 4 * 300 - rig.counters.sent


def take_all(rig: Rig, client: Client) -> bool:
    """Read and have the rest sent; whether every stream has its newest book."""
    client.read()
    rig.path.unstick(client.place)
    rig.turn()
    client.read()
    return all(sequences(client, each)[-1:] == [300] for each in range(1, 9, 2)) and not client.raw


def test_who_is_stuck_delays_nobody(rig: Rig) -> None:
    deaf, other = rig.connect(send_buffer=4096), rig.connect()
    for each in (deaf, other):
        rig.path.walk(each.place, b"\0\0\x04\x08\0\0\0\0\0\x40\0\0\0", 0)
        rig.follow(each.stream(1, window=1 << 30), BTC_BOOK)
    for step in range(100):
        rig.engine.publish(*ladder(500 + step))
        rig.turn()
        other.read()
    assert sequences(other, 1) == list(range(1, 101))


def test_a_client_that_is_gone_is_told_of(rig: Rig) -> None:
    client = rig.connect()
    rig.follow(client.stream(1), BTC_BOOK)
    client.link.close()
    told: list[tuple[int, int]] = []

    def is_told() -> bool:
        """The first frame to it is answered with a reset, which the next one meets."""
        rig.engine.publish(*ladder(500 + rig.counters.books))
        told.extend(rig.turn())
        return bool(told)

    assert eventually(is_told)
    assert told == [(D.NOTICE_BROKEN, client.place)]
    rig.engine.publish(*ladder(400))
    assert rig.turn() == [], "once"


def test_python_s_frames_go_behind_what_was_begun(rig: Rig) -> None:
    client = rig.connect(send_buffer=4096)
    rig.follow(client.stream(1, window=1 << 20), BTC_BOOK)
    for step in range(200):
        rig.engine.publish(*ladder(500 + step))
        rig.turn()
    settings = b"\0\0\0\x04\x01\0\0\0\0"
    assert rig.path.append(client.place, settings)
    assert not rig.path.append(client.place, bytes(D.BACKLOG_BYTES)), "bounded"
    raw = b""
    for _ in range(100):
        rig.path.unstick(client.place)
        rig.turn()
        while select.select([client.link], [], [], 0)[0]:
            raw += client.link.recv(1 << 16)
    at = kinds = 0
    while at < len(raw):
        kinds += raw[at + 3] == 4
        at += 9 + int.from_bytes(raw[at : at + 3], "big")
    assert (at, kinds) == (len(raw), 1)


def test_an_encrypted_connection_s_frames_are_python_s_to_send(rig: Rig) -> None:
    client = rig.connect(is_encrypted=True)
    for stream_id in range(1, 9, 2):
        rig.follow(client.stream(stream_id), BTC_BOOK)
    rig.engine.publish(*ladder(500))
    assert rig.turn() == [(D.NOTICE_TO_ENCRYPT, client.place)]
    client.raw += rig.path.take_backlog(client.place)
    client._parse()
    assert sorted(client.messages) == [1, 3, 5, 7]
    assert not select.select([client.link], [], [], 0)[0], "nothing in the clear"


def test_the_part_of_a_frame_that_a_socket_did_not_take_is_kept(rig: Rig) -> None:
    """Sockets of any room: somewhere a frame is cut, and its rest is the backlog."""
    cut = 0
    for room in range(4608, 9216, 512):
        client = rig.connect(send_buffer=room)
        rig.path.walk(client.place, b"\0\0\x04\x08\0\0\0\0\0\x40\0\0\0", 0)
        stream = client.stream(1, window=1 << 30)
        rig.follow(stream, BTC_BOOK)
        for step in range(60):
            rig.engine.publish(*ladder(500 + step + room))
            rig.turn()
        cut += rig.path.backlog_bytes(client.place) > 0
        newest = int(rig.engine.writer.words[rig.ring_at(0)])

        def has_newest(client: Client = client, newest: int = newest) -> bool:
            client.read()
            rig.path.unstick(client.place)
            rig.turn()
            return sequences(client, 1)[-1:] == [newest] and not client.raw

        assert eventually(has_newest)
        found = sequences(client, 1)
        assert found == sorted(set(found))
        rig.path.remove_stream(stream)
        rig.path.remove_connection(client.place)
    assert cut, "no frame was cut"


# --- messages of Python's ------------------------------------------------------------------------


def test_a_part_of_a_message_and_the_notice_behind_it(rig: Rig) -> None:
    client = rig.connect()
    stream = client.stream(1, window=10)
    message = os.urandom(20)
    rig.path.give(stream, (20).to_bytes(5, "big") + message)
    assert rig.turn() == []
    rig.path.widen_streams(client.place, 100)
    assert rig.turn() == [(D.NOTICE_SENT, stream)]
    client.read()
    assert client.messages == {1: [message]}


# --- intervals and the end -----------------------------------------------------------------------


def test_an_interval_holds_back_and_its_end_wakes_the_turn(rig: Rig) -> None:
    client = rig.connect()
    rig.follow(client.stream(1), BTC_BOOK, interval_ns=50_000_000)
    rig.engine.publish(*ladder(500))
    rig.turn()
    begun_s = time.monotonic()
    for step in range(3):
        rig.engine.publish(*ladder(501 + step))
        rig.turn()
    client.read()
    assert sequences(client, 1) == [1]
    while len(sequences(client, 1)) < 2:
        rig.turn(1_000_000)
        client.read()
    assert sequences(client, 1) == [1, 4]
    assert 0.045 < time.monotonic() - begun_s < 0.5
    assert rig.counters.conflated == 2


def test_the_last_word_is_that_nothing_can_be_trusted(rig: Rig) -> None:
    rig.engine.publish(*ladder(500))
    client = rig.connect()
    rig.follow(client.stream(1), BTC_BOOK, ETH_SUMMARY)
    rig.turn()
    rig.path.set_mode(D.LAST_WORD)
    rig.engine.publish(*ladder(501))
    rig.turn()
    client.read()
    assert sequences(client, 1) == [1], "levels of an engine that is dead"
    rig.engine.publish(states=[L.DISCONNECTED, L.STALE])
    rig.turn()
    client.read()
    assert sequences(client, 1) == [1, 3]


def test_a_turn_sleeps_until_a_book_a_socket_or_its_time(rig: Rig) -> None:
    client = rig.connect()
    watched = select.epoll.fromfd(int(rig.path.words[D.EPOLL]))
    watched.register(client.server_link, select.EPOLLIN)
    begun_s = time.monotonic()
    assert rig.path.turn(30_000_000) == []
    assert time.monotonic() - begun_s >= 0.03
    client.link.send(b"x")
    for _ in range(2):
        begun_s = time.monotonic()
        found = rig.path.turn(5_000_000_000)
        assert found == [(client.server_link.fileno(), select.EPOLLIN)]
        assert time.monotonic() - begun_s < 1
        rig.follow(client.stream(1), BTC_BOOK)


@pytest.mark.skipif(JIT_OFF, reason="there are no kernels")
def test_a_turn_holds_no_gil() -> None:
    assert cast(Any, turn).targetoptions["nogil"] is True


# --- places --------------------------------------------------------------------------------------


def test_who_leaves_leaves_his_place(rig: Rig) -> None:
    """Streams come and go in any order; who stays is served, and every place is given again."""
    stay = rig.connect()
    rig.follow(stay.stream(99), BTC_SUMMARY)
    for round_ in range(5):
        client = rig.connect()
        streams = [client.stream(2 * n + 1) for n in range(40)]
        for stream in streams:
            rig.follow(stream, BTC_SUMMARY, ETH_SUMMARY)
        rig.engine.publish(*ladder(500 + round_))
        rig.turn()
        for stream in streams[::2] + streams[1::2]:
            rig.path.remove_stream(stream)
        rig.path.remove_connection(client.place)
        rig.turn()
    stay.read()
    assert bests(stay, 99) == [5.0, 5.01, 5.02, 5.03, 5.04]
    assert rig.path.words[D.WANTED] == 1
    assert rig.path._streams.room == SIZES.streams - 1
    assert rig.path._cursors.room == SIZES.cursors - 1


def test_a_place_that_was_to_be_served_next_is_another_s_now(rig: Rig) -> None:
    """The stream whose turn it is leaves, and another connection is given its place."""
    first, second = rig.connect(), rig.connect()
    rig.engine.publish(*ladder(500))
    streams = [first.stream(n, window=1 << 30) for n in range(1, 9, 2)]
    for stream in streams:
        rig.follow(stream, BTC_BOOK)
    for step in range(70):
        rig.engine.publish(*ladder(501 + step))
        rig.turn()
    at = int(rig.path.words[D.CONNECTIONS_AT]) + first.place * D.CONNECTION_WORDS
    turn_of = int(rig.path.words[at + D.CONNECTION_TURN])
    assert rig.path.words[at + D.CONNECTION_WINDOW] == 0 and turn_of in streams
    rig.path.remove_stream(turn_of)
    assert second.stream(77) == turn_of
    rig.path.walk(first.place, b"\0\0\x04\x08\0\0\0\0\0\x40\0\0\0", 0)
    rig.follow(turn_of, BTC_BOOK)
    for step in range(3):
        rig.engine.publish(*ladder(900 + step))
        rig.turn()
    time.sleep(0.05)
    for client in (first, second):
        client.read()
    assert {stream for stream, _ in second.frames} == {77}
    assert 77 not in {stream for stream, _ in first.frames}


def test_places_are_bounded(rig: Rig) -> None:
    clients = [rig.connect() for _ in range(SIZES.connections)]
    assert rig.path.add_connection(0, False) is None
    for number in range(SIZES.streams):
        clients[0].stream(2 * number + 1)
    assert rig.path.add_stream(clients[0].place, 999, 0) is None
    assert SIZES.streams <= BATCHES_MAX * D.BATCH_FRAMES
