"""A venue of another form is one object and one line of the registry: nothing else is touched.

The product runs in a process of its own, with the toy venue registered before it starts; what it
publishes is held against dictionaries of Decimals.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from tests.child import run_module
from tests.e2e import rig
from tests.oracle import Levels, best

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(110)]

SYMBOL, TICK, DEPTH = "XBT/EUR", "0.5", 10
START_NS = 1_700_000_000 * 10**9
CONFIG = f"""
[[instrument]]
symbol = "BTC-EUR"
depth = {DEPTH}
  [[instrument.venue]]
  name = "toy"
  symbol = "{SYMBOL}"
  tick_size = "{TICK}"
"""

TopOfBook = tuple[Levels, Levels]


def number(value: Decimal, rng: random.Random) -> str:
    """A JSON number of this value, in one of the ways that venues write it."""
    plain = f"{value:f}"
    mantissa, exponent = int(value.scaleb(8)), "e-08"
    return rng.choice((plain, plain, f"{mantissa}{exponent}", f"{value:.9f}"))


@dataclass
class Market:
    """The venue's own book, and its messages."""

    rng: random.Random
    seq: int = 0
    sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = field(
        default_factory=lambda: ({}, {})
    )

    def _row(self, price: Decimal, qty: Decimal) -> str:
        parts = [f'"price": {number(price, self.rng)}', f'"qty":{number(qty, self.rng)}']
        parts += ['"orders":{"n":[1,2]}'] * self.rng.randrange(2)
        self.rng.shuffle(parts)
        return "{" + ",".join(parts) + "}"

    def _message(self, kind: str, rows: tuple[list[str], list[str]]) -> bytes:
        seconds, hundredths = divmod(self.seq, 100)  # as the tape: 10 ms a frame
        time = f"2023-11-14T22:13:{20 + seconds:02d}.{hundredths:02d}0000Z"
        sides = f'"bids":[{",".join(rows[0])}],"asks":[{" , ".join(rows[1])}]'
        head = f'{{"channel":"book","type":"{kind}","symbol":"{SYMBOL}","seq":{self.seq}'
        return f'{head},"time":"{time}",{sides}}}'.encode()

    def move(self) -> bytes:
        """A few levels change; the update that says so."""
        self.seq += 1
        rows: tuple[list[str], list[str]] = ([], [])
        for _ in range(self.rng.randrange(1, 5)):
            is_asks = self.rng.randrange(2)
            away = Decimal(self.rng.randrange(1, 40)) * Decimal(TICK)
            price = 30_000 + away if is_asks else 30_000 - away
            qty = Decimal(self.rng.randrange(1, 10**6)).scaleb(-8)
            if price in self.sides[is_asks] and self.rng.random() < 0.4:
                qty = Decimal(0)
                del self.sides[is_asks][price]
            else:
                self.sides[is_asks][price] = qty
            rows[is_asks].append(self._row(price, qty))
        return self._message("update", rows)

    def whole(self) -> bytes:
        """The whole book, as it stands."""
        rows = [[self._row(*level) for level in side.items()] for side in self.sides]
        return self._message("snapshot", (rows[0], rows[1]))

    def top(self) -> TopOfBook:
        return best(self.sides[0], DEPTH, 0), best(self.sides[1], DEPTH, 1)


def tape_of(seed: int) -> tuple[list[bytes], list[TopOfBook]]:
    """Frames with the stream's usual faults, and the books that a subscriber must see."""
    rng = random.Random(seed)
    market = Market(rng)
    seen: list[TopOfBook] = [([], [])]
    frames = [market.move(), market.move()]  # before the whole book: of no use
    is_live = False
    for _ in range(400):
        fault = rng.choices(("", "whole", "again", "lost"), (86, 8, 4, 2))[0]
        if not frames[2:] or fault == "whole":
            frames.append(market.whole())
            is_live = True
        elif fault == "again":
            frames.append(frames[-1])
        elif fault == "lost":
            market.move()
            frames.append(market.move())
            is_live = False
        else:
            frames.append(market.move())
        seen.append(market.top() if is_live else ([], []))
    return frames, changes(seen)


def changes(books: list[TopOfBook]) -> list[TopOfBook]:
    """Without books that are equal to the one before."""
    pairs = zip(books[1:], books, strict=False)
    return books[:1] + [book for book, before in pairs if book != before]


def replayed(tmp_path: Path, frames: list[bytes]) -> list[TopOfBook]:
    """What `pollux replay --json` publishes of a tape of these frames."""
    tape, config = tmp_path / "toy.jsonl.gz", tmp_path / "toy.toml"
    config.write_text(CONFIG)
    lines = [
        orjson.dumps(
            {"t": START_NS + n * 10**7, "venue": "toy", "kind": "ws", "raw": frame.decode()}
        )
        for n, frame in enumerate(frames)
    ]
    tape.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    arguments = ("replay", str(tape), "--config", str(config), "--json")
    done = run_module("tests.net.venues.toy", *arguments)
    assert done.returncode == 0, done.stderr
    books = [orjson.loads(line) for line in done.stdout.splitlines()[:-1]]
    return changes([(_levels(book["bids"]), _levels(book["asks"])) for book in books])


def _levels(rows: list[list[str]]) -> Levels:
    return [(Decimal(price), Decimal(amount)) for _, price, amount in rows]


@pytest.mark.parametrize("seed", range(3))
def test_a_tape_of_a_third_venue_is_replayed_as_its_dictionaries_say(
    tmp_path: Path, seed: int
) -> None:
    frames, wanted = tape_of(seed)
    assert len(wanted) > 150 and ([], []) in wanted[1:], "a tape with updates and with losses"
    assert replayed(tmp_path, frames) == wanted


class Server:
    """The venue on a real socket: subscriptions in, a whole book and updates out."""

    def __init__(self) -> None:
        self.market = Market(random.Random(7))
        self.port = 0
        self.asked: list[str] = []
        self._transports: list[WSTransport] = []
        self._is_ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        ).start()  # fmt: skip
        assert self._is_ready.wait(10), "the venue did not start"

    async def _serve(self) -> None:
        for _ in range(30):
            self.market.move()
        server = await ws_create_server(lambda _request: _Listener(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await server.serve_forever()

    def on_asked(self, transport: WSTransport, asked: dict[str, str]) -> None:
        self.asked.append(asked["method"])
        self._transports.append(transport)
        transport.send(WSMsgType.TEXT, b'{"type":"subscribed"}')
        transport.send(WSMsgType.TEXT, self.market.whole())

    def send(self, count: int, lost: int = 0) -> None:
        """So many updates, the first `lost` of which never leave; then it is quiet."""

        async def send() -> None:
            for index in range(count):
                frame = self.market.move()
                if index >= lost:
                    self._transports[-1].send(WSMsgType.TEXT, frame)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(10)


class _Listener(WSListener):  # type: ignore[misc]
    def __init__(self, server: Server) -> None:
        self._server = server

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self._server.on_asked(transport, orjson.loads(frame.get_payload_as_bytes()))
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


def test_a_third_venue_is_served_over_real_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, port = Server(), rig.free_port()

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.net.venues.toy", *arguments]

    monkeypatch.setattr(rig, "command", command)
    toml = CONFIG + f'[venue.toy]\nws_url = "ws://127.0.0.1:{server.port}"\n'
    toml += "late_after_ms = 0\n"  # the market's times are made up, a hundredth of a second a move
    toml += rig.settings(f"toy-{port}", port)
    with rig.daemon(tmp_path, toml, port) as daemon:

        def shown() -> TopOfBook:
            book = daemon.get()
            if book is None:
                return [], []
            tick = Decimal(book.tick_mantissa).scaleb(-book.tick_decimals)
            sides = [
                [
                    (
                        level.price_ticks * tick,
                        Decimal(level.amount_lots).scaleb(-book.lot_decimals),
                    )
                    for level in side
                ]
                for side in (book.bids, book.asks)
            ]
            return sides[0], sides[1]

        daemon.wait_for(toy="LIVE")
        server.send(200)
        rig.until(lambda: shown() == server.market.top(), what="the book after 200 updates")
        assert server.asked == ["subscribe"], "nothing was lost, nothing is asked for again"
        server.send(20, lost=1)
        rig.until(lambda: shown() == server.market.top(), what="the book after a loss")
        assert server.asked == ["subscribe", "again"]


def test_the_toy_is_unknown_where_it_is_not_registered(tmp_path: Path) -> None:
    """The other tests prove nothing if a venue is known without its line in the registry."""
    config = tmp_path / "toy.toml"
    config.write_text(CONFIG)
    done: subprocess.CompletedProcess[str] = run_module(
        "pollux", "replay", "no-such.gz", "--config", str(config)
    )
    assert done.returncode == 2 and "unknown venue" in done.stderr
