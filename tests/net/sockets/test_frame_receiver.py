"""Frames that are taken in compiled code against the same bytes through picows alone.

The bytes are random: texts, control frames, fragments, and whatever a server must not send, in
random pieces. Whatever is seen of it has to be the same.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from engine.layout import layout as L
from net.feed import connection as stream
from net.feed.connection import FeedConnection, _Listener, _QuotingListener
from net.sockets import frame_receiver
from net.sockets import frames as RF
from net.sockets.websocket import FRAME_BYTES_MAX
from tests.net.rig import ASKS, BIDS, Desk, binance_diff

pytestmark = pytest.mark.kernel

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
logging.getLogger("picows").setLevel(logging.CRITICAL)


class Link:
    """A transport that keeps what is written and brings what it is told to."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_closed = False
        self._socket = socket.socket()
        self._protocol: Any = None

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._socket if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 1  # what is sent goes through `write`

    def write(self, data: bytes) -> None:
        self.written += data

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def bring(self, raw: bytes) -> None:
        """What the socket has received, as a transport does it."""
        while raw:
            room = memoryview(self._protocol.get_buffer(-1)).cast("B")
            part, raw = raw[: len(room)], raw[len(room) :]
            room[: len(part)] = part
            self._protocol.buffer_updated(len(part))

    def end(self) -> None:
        self._protocol.connection_lost(None)
        self._socket.close()


class Stream(FeedConnection):
    """A connection's owner; it keeps what a tape would, and why it was dropped."""

    def __init__(self, desk: Desk, *, is_recording: bool) -> None:
        self.desk = desk
        self.venue = desk.venues["binance"]
        self.is_recording = is_recording
        self.taped: list[bytes] = []
        self.drops: list[str] = []

    def record(self, raw: bytes, t_ns: int) -> None:
        assert t_ns > 0
        self.taped.append(raw)

    def on_open(self) -> None: ...

    def rehearse(self, raw: bytes) -> None: ...

    def drop(self, reason: str) -> None:
        self.drops.append(reason)


class End:
    """A desk at the far end of one websocket connection."""

    def __init__(self, *, is_recording: bool, asks: Callable[[Stream], _Listener] | None) -> None:
        self.desk = Desk()
        self.desk.connect("binance")
        self.stream = Stream(self.desk, is_recording=is_recording)
        self.listener = (asks or _Listener)(self.stream)
        self.link = Link()
        picows = WSProtocol(
            "venue", "/", True, lambda: self.listener, logging.getLogger("picows.test"),
            True, None, False, 10, 10, 1, True, FRAME_BYTES_MAX, None, 16384,
        )  # fmt: skip
        self.picows = picows
        self.link.set_protocol(picows)
        picows.connection_made(self.link)
        key = bytes(self.link.written).split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        digest = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.link.written.clear()
        self.link.bring(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
        )

    def answer(self, book_id: int) -> None:
        """The snapshot, where one is asked for."""
        if self.desk.syncs["binance"].is_asking:
            self.desk.answer("binance", book_id, BIDS, ASKS)

    def seen(self) -> dict[str, object]:
        """All that has become of the bytes."""
        desk, engine = self.desk, self.desk.engine
        engine.publish_touched()
        words = engine.meters.words
        handshake = self.picows.transport.close_handshake
        received = handshake and handshake.recv
        return {
            "taped": self.stream.taped,
            "drops": self.stream.drops,
            "sent": unmasked(bytes(self.link.written)),
            "closed": self.link.is_closed,
            "close": received and (received.code, received.reason),
            "notes": desk.notes,
            "control": (desk.acknowledgements, desk.refusals, desk.reconnects, desk.withdrawals),
            "counters": engine.counters(0),
            "venue": words[engine.meters.venue_at[0] : engine.meters.venue_at[0] + 5].tolist(),
            "state": desk.state("binance"),
            "last id": engine.last_frame_id(0),
            "book": (desk.bids(), desk.asks()),
        }


def unmasked(raw: bytes) -> list[tuple[int, bytes]]:
    """The short frames that a client sent."""
    frames = []
    while raw:
        size, mask = raw[1] & 0x7F, raw[2:6]
        body = bytes(each ^ mask[at % 4] for at, each in enumerate(raw[6 : 6 + size]))
        frames.append((raw[0], body))
        raw = raw[6 + size :]
    return frames


def frame(kind: int, body: bytes, *, first: int = 0x80, mask: int = 0, width: int = 0) -> bytes:
    """A server's frame; `width` forces so many bytes of length, where the length needs less."""
    size = len(body)
    if width == 8 or size > 0xFFFF:
        head = bytes([127 | mask]) + size.to_bytes(8, "big")
    elif width == 2 or size > 125:
        head = bytes([126 | mask]) + size.to_bytes(2, "big")
    else:
        head = bytes([size | mask])
    return bytes([first | kind]) + head + body


class Venue:
    """Says mostly what it should."""

    def __init__(self, rng: random.Random, *, is_well_behaved: bool = False) -> None:
        self._rng = rng
        self.last_id = 100
        self._is_well_behaved = is_well_behaved

    def _diff(self) -> bytes:
        rng = self._rng
        self.last_id += 1 if rng.random() < 0.97 else rng.choice([-3, 2])
        rows = [
            [(f"{100 + sign * rng.randrange(1, 60) / 100:.2f}", str(rng.randrange(3)))]
            for sign in (-1, 1)
        ]
        pad = b" " * rng.choices([0, 100, 1000, 70_000], [200, 20, 10, 1])[0]
        return binance_diff(self.last_id, self.last_id, rows[0], rows[1]) + pad

    def _odd_text(self) -> bytes:
        rng = self._rng
        texts = (
            b"", b"{}", b"[1,2", b"\xff\xfe", b'{"result":null,"id":1}',
            b'{"error":{"code":2,"msg":"no"},"id":1}', self._diff()[:-5],
            self._diff().replace(b"BTCUSDT", b"NOSUCH").replace(b"btcusdt", b"nosuch"),
            b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
        )  # fmt: skip
        return rng.choice(texts)

    def says(self, count: int) -> list[bytes]:
        """So many frames, in stretches that begin and end with what ends a connection.

        picows looks one frame ahead: it refuses that before it delivers the one in front, so that
        the answer to that may be lost.
        """
        said = [b""]
        for _ in range(count):
            if self._rng.random() < 0.94 or self._is_well_behaved:
                said[-1] += self._frame()
            else:
                said += [self._nonsense(), b""]
        return said

    def _frame(self) -> bytes:
        rng, roll = self._rng, self._rng.random()
        if roll < 0.05:
            return frame(TEXT, self._odd_text())
        if roll < 0.11:
            return frame(rng.choice([PING, PONG]), rng.randbytes(rng.choice([0, 4, 125])))
        if roll < 0.17:
            return self._fragments()
        if roll < 0.19:
            return frame(BINARY, rng.randbytes(rng.randrange(200)))
        return frame(TEXT, self._diff())

    def _fragments(self) -> bytes:
        rng, text = self._rng, self._diff()
        cuts = sorted(rng.randrange(len(text)) for _ in range(rng.randrange(1, 4)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        said = b""
        for at, part in enumerate(parts):
            is_end = at == len(parts) - 1
            said += frame(0 if at else TEXT, part, first=0x80 if is_end else 0)
            if not is_end and rng.random() < 0.5:
                said += frame(PING, b"between")
        return said

    def _nonsense(self) -> bytes:
        rng = self._rng
        return rng.choice(
            (
                frame(TEXT, self._diff(), first=0x80 | rng.choice([0x40, 0x20, 0x10])),
                frame(TEXT, self._diff(), first=0),
                frame(0, b"{}"),
                frame(rng.choice([3, 7, 11, 15]), b"x"),
                frame(TEXT, self._diff(), mask=0x80),
                frame(TEXT, b"x" * 20, width=rng.choice([2, 8])),
                frame(TEXT, b"x" * 300, width=8),
                frame(PING, b"x" * 126),
                frame(PING, b"x", first=0),
                frame(CLOSE, b""),
                frame(CLOSE, b"\x03"),
                frame(CLOSE, rng.choice([1000, 1001, 999, 1005, 4000]).to_bytes(2, "big") + b"so"),
                frame(CLOSE, b"\x03\xe8\xff"),
                b"\x81\x7f" + (FRAME_BYTES_MAX + 1).to_bytes(8, "big"),
                b"\x81\x7f" + rng.choice([1 << 63, 1 << 45]).to_bytes(8, "big"),
            )
        )


def pieces(raw: bytes, rng: random.Random) -> list[bytes]:
    """The bytes in pieces: one at a time, all at once, or at random."""
    if rng.random() < 0.1 and len(raw) < 20_000:
        return [raw[at : at + 1] for at in range(len(raw))]
    size_max = rng.choice([3, 50, 500, 5_000, 50_000, 10**6])
    if len(raw) / size_max > 5_000:
        size_max = 500
    found, at = [], 0
    while at < len(raw):
        size = rng.randrange(1, size_max + 1)
        found.append(raw[at : at + size])
        at += size
    return found


def run(seed: int, *, is_taken: bool, is_recording: bool, is_well_behaved: bool) -> Any:
    """What becomes of one seed's bytes, and how many texts went past picows."""
    rng = random.Random(seed)
    venue = Venue(rng, is_well_behaved=is_well_behaved)
    end = End(is_recording=is_recording, asks=None)
    if not is_taken:
        end.listener.on_rest = lambda transport: None  # type: ignore[method-assign]
    end.link.bring(frame(TEXT, binance_diff(100, 100)))
    end.answer(100)
    assert end.desk.state("binance") == "LIVE"
    for _ in range(rng.randrange(2, 12)):
        for said in venue.says(rng.randrange(1, 25)):
            for piece in pieces(said, rng):
                end.link.bring(piece)
        end.answer(venue.last_id)
    seen = end.seen()
    receiver = end.listener._receiver
    taken = int(receiver.words[RF.TAKEN]) if receiver is not None else 0
    end.link.end()
    return seen, taken


@pytest.fixture(autouse=True)
def _still_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "steady_ns", lambda: Desk.now_ns)


SEEDS = 8


@pytest.mark.parametrize("is_recording", [False, True])
@pytest.mark.parametrize("buffer_bytes", [300, 4096, frame_receiver.BUFFER_BYTES])
def test_the_same_becomes_of_bytes_as_through_picows_alone(
    buffer_bytes: int, is_recording: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_receiver, "BUFFER_BYTES", buffer_bytes)

    async def main() -> None:
        # Why a connection has ended is asked by nobody here.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        taken = 0
        for seed in range(SEEDS):
            facts = {"is_recording": is_recording, "is_well_behaved": seed % 2 == 0}
            expected, nothing = run(seed, is_taken=False, **facts)
            got, count = run(seed, is_taken=True, **facts)
            assert got == expected, f"seed {seed}"
            assert nothing == 0
            taken += count
        assert taken > 10 * SEEDS, "the texts have gone another way"

    asyncio.run(main())


class Quoting:
    """A market maker of the one instrument; it keeps where the stream stood at each step."""

    def __init__(self, desk: Desk) -> None:
        engine = self._engine = desk.engine
        engine.arena[engine.instrument_at(0) + L.INSTRUMENT_MAKER_BIT] = 1
        words = engine.arena[L.ENGINE_MAKERS_DUE : L.ENGINE_MAKERS_DUE + 1]
        self.due = memoryview(words)  # type: ignore[arg-type]  # an array is a buffer
        self.steps: list[int] = []

    def on_frame(self, now_ns: int) -> None:
        self.due[0] = 0
        self.steps.append(self._engine.last_frame_id(0))


def test_a_market_maker_steps_once_all_that_came_is_taken() -> None:
    async def main() -> None:
        made: list[Quoting] = []

        def asks(owner: Stream) -> _Listener:
            made.append(Quoting(owner.desk))
            return _QuotingListener(owner, made[0])

        end = End(is_recording=False, asks=asks)
        end.link.bring(frame(TEXT, binance_diff(100, 100)))
        end.answer(100)
        steps = made[0].steps
        steps.clear()
        texts = [frame(TEXT, binance_diff(each, each)) for each in range(101, 106)]
        end.link.bring(b"".join(texts[:3]))
        end.link.bring(b"".join(texts[3:]) + frame(PING, b""))
        assert steps == [103, 105]
        end.link.bring(frame(TEXT, binance_diff(105, 105)))
        assert steps == [103, 105], "an old frame touches nothing"
        end.link.end()

    asyncio.run(main())
