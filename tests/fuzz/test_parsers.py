"""Every parser of outside bytes but the kernels: its documented error, or an answer; nothing else.

Control messages, REST answers, tapes (ours and the simulator's), the configuration, orders for
faults. Inputs are drawn at random and, which finds more, made of valid ones.
"""

from __future__ import annotations

import asyncio
import gzip
import string
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from net.config.schema import Config, ConfigError, parse_config
from net.daemon.tick_sizes import ask_listing
from net.feed.rest import RestClient
from net.simulator.faults import FAULTS, Order, read_order
from net.simulator.options import SimulatorError, SimulatorOptions
from net.simulator.tape_file import read_tape as read_simulated
from net.simulator.venues import SimulatedVenues
from net.sockets.http_body import RestError
from net.tape.tape import TapeError, TapeLine, read_tape
from net.venues.binance.market_data import BINANCE
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.interface import Control, MetadataError, VenueProtocol
from tests.engine.rig import binance_frame, binance_snapshot, bitstamp_frame

BOTH = pytest.mark.parametrize("protocol", [BINANCE, BITSTAMP], ids=lambda p: p.name)
DEEP = 1000
"""Nesting that orjson reads and that Python's own recursion does not survive."""

WORDS = (
    "event", "channel", "data", "message", "e", "E", "stream", "result", "id", "code", "msg",
    "error", "symbols", "symbol", "filters", "filterType", "PRICE_FILTER", "tickSize", "BTCUSDT",
    "market_symbol", "btcusd", "tick_size", "counter_decimals", "bts:subscription_succeeded",
    "bts:request_reconnect", "bts:error", "bts:", "serverShutdown", "depthUpdate", "0.01",
    "diff_order_book_btcusd", "btcusdt@depth", "u", "s", "b", "B", "a", "A",
)  # fmt: skip
texts = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=12,
)


def nested(depth: int, leaf: bytes = b"1") -> bytes:
    return b"[" * depth + leaf + b"]" * depth


# --- venues --------------------------------------------------------------------------------------


@BOTH
@given(value=values)
def test_any_control_message(protocol: VenueProtocol, value: Any) -> None:
    kind, text = protocol.control(value)
    assert isinstance(kind, Control) and isinstance(text, str)


BINANCE_INFO = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "filters": [
                {"filterType": "LOT_SIZE", "stepSize": "1"},
                {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
            ],
        }
    ]
}
BITSTAMP_INFO = [
    {"market_symbol": "ethusd", "counter_decimals": 1},
    {"market_symbol": "btcusd", "counter_decimals": 2, "tick_size": None},
]


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """A value with one part of it replaced, removed, or all of it left as it was."""
    if draw(st.integers(0, 4)) == 0 or not isinstance(whole, dict | list) or not whole:
        return draw(values)
    if isinstance(whole, dict):
        key = draw(st.sampled_from(sorted(whole)))
        rest = {name: part for name, part in whole.items() if name != key}
        return rest if draw(st.booleans()) else {**rest, key: draw(damaged(whole[key]))}
    at = draw(st.integers(0, len(whole) - 1))
    parts = [draw(damaged(whole[at]))] if draw(st.booleans()) else []
    return [*whole[:at], *parts, *whole[at + 1 :]]


ANSWERS = {BINANCE.name: BINANCE_INFO, BITSTAMP.name: BITSTAMP_INFO}
SYMBOLS = {BINANCE.name: "BTCUSDT", BITSTAMP.name: "btcusd"}


class _Body:
    """What aiohttp would hand over: one answer, whatever is asked."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status, self.headers, self.reason = status, headers, "Reason"
        self.content_length = len(body)
        self.content = self
        self._body = body

    async def __aenter__(self) -> _Body:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def get(self, *_: object, **__: object) -> _Body:
        return self

    async def read(self, count: int) -> bytes:
        return self._body[:count]

    async def iter_chunked(self, size: int) -> Any:
        for at in range(0, len(self._body), size):
            yield self._body[at : at + size]


def ask(
    protocol: VenueProtocol, body: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> str:
    """The tick size in an answer; RestError or MetadataError, and nothing else, if none is."""
    session: Any = _Body(status, body, headers or {})
    client = RestClient(protocol, "http://nowhere", session, False)
    try:
        listing, _, raw = asyncio.run(ask_listing(client, SYMBOLS[protocol.name]))
    except (RestError, MetadataError) as error:
        assert "\n" not in str(error), "one line"
        assert len(str(error)) < 1000, "one line that can be read"
        return ""
    assert raw == body
    return listing.tick_size


def test_the_answers_that_are_damaged_are_right_as_they_are() -> None:
    assert ask(BINANCE, orjson.dumps(BINANCE_INFO)) == "0.01"
    assert ask(BITSTAMP, orjson.dumps(BITSTAMP_INFO)) == "1E-2"


@BOTH
@given(data=st.data())
def test_any_answer_with_tick_sizes(protocol: VenueProtocol, data: st.DataObject) -> None:
    ask(protocol, orjson.dumps(data.draw(damaged(ANSWERS[protocol.name]))))


@BOTH
@given(raw=st.binary(max_size=40), status=st.sampled_from([200, 400, 404, 418, 429, 500, 503]))
def test_any_bytes_for_an_answer(protocol: VenueProtocol, raw: bytes, status: int) -> None:
    ask(protocol, raw, status)


header_texts = st.text(alphabet=string.digits + string.printable + "٣²½", max_size=20)


@BOTH
@given(
    status=st.sampled_from([200, 400, 418, 429, 503]),
    wait=header_texts,
    weight=header_texts,
    value=values,
)
def test_any_headers(
    protocol: VenueProtocol, status: int, wait: str, weight: str, value: Any
) -> None:
    headers = {"Retry-After": wait, "X-MBX-USED-WEIGHT-1M": weight}
    ask(protocol, orjson.dumps(value), status, headers)


STRANGE_ANSWERS = [
    b'"code"',
    b'["code"]',
    b'["code","symbols"]',
    b'{"code":1,"msg":' + nested(DEEP) + b"}",
    b'{"code":1,"x":' + nested(DEEP) + b"}",
    b'{"symbols":[{"symbol":"BTCUSDT","filters":[{"filterType":"PRICE_FILTER","tickSize":'
    + nested(DEEP)
    + b"}]}]}",
    b'[{"market_symbol":"btcusd","tick_size":' + nested(DEEP) + b"}]",
    b'[{"market_symbol":"btcusd","counter_decimals":1e308}]',
    b'[{"market_symbol":"btcusd","counter_decimals":"' + b"1" * 5000 + b'"}]',
    b'[{"market_symbol":"btcusd","tick_size":"' + b"1" * 5000 + b'"}]',
    b'{"code":1,"msg":"a\\nb"}',
    b'{"code":1,"msg":"' + b"x" * 100_000 + b'"}',
    b'{"msg":' + nested(DEEP) + b"}",
    nested(DEEP),
    nested(100_000),
]


@BOTH
@pytest.mark.parametrize("status", [200, 400, 429])
@pytest.mark.parametrize("body", STRANGE_ANSWERS, ids=lambda body: body[:24].decode())
def test_answers_made_to_trip(protocol: VenueProtocol, body: bytes, status: int) -> None:
    ask(protocol, body, status)


# --- tapes ---------------------------------------------------------------------------------------

LINES: list[dict[str, Any]] = [
    {"t": 1, "venue": "binance", "kind": "ws", "raw": binance_frame(1, 2, [("1", "2")]).decode()},
    {"t": 2, "venue": "bitstamp", "kind": "ws", "raw": bitstamp_frame(9, [("1", "2")]).decode()},
    {
        "t": 3,
        "venue": "binance",
        "kind": "rest",
        "path": "/api/v3/depth?symbol=BTCUSDT&limit=5",
        "raw": binance_snapshot(9, [("1", "2")]).decode(),
    },
]


def read_both(path: Path, content: bytes) -> None:
    """Both readers of tapes take a file, or say what is wrong with it."""
    path.write_bytes(content)
    try:
        for line in read_tape(path):
            assert isinstance(line, TapeLine) and line.t_ns > 0
    except TapeError as error:
        assert len(str(error)) < 1000 and str(path) in str(error)
    try:
        read_simulated(path)
    except SimulatorError as error:
        assert len(str(error)) < 1000 and str(path) in str(error)


@given(data=st.data())
def test_any_line_of_a_tape(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    lines = [data.draw(damaged(data.draw(st.sampled_from(LINES)))) for _ in range(2)]
    content = b"\n".join(map(orjson.dumps, lines))
    read_both(tmp_path_factory.getbasetemp() / "line.gz", gzip.compress(content, 1))


@given(data=st.data())
def test_any_text_in_a_tape(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """The frames and bodies in it are outside bytes too."""
    line = dict(data.draw(st.sampled_from(LINES)))
    inner = orjson.loads(line["raw"])
    line["raw"] = orjson.dumps(data.draw(damaged(inner))).decode()
    if data.draw(st.booleans()):
        line["raw"] = line["raw"][: data.draw(st.integers(0, 60))]
    path = tmp_path_factory.getbasetemp() / "text.gz"
    read_both(path, gzip.compress(orjson.dumps(line), 1))


@pytest.mark.parametrize("symbol", [None, 7, ["BTCUSDT"], {}])
def test_a_symbol_in_a_tape_that_is_no_text(tmp_path: Path, symbol: object) -> None:
    """Found by the test above, in one run of some thirty."""
    frame = orjson.loads(LINES[0]["raw"])
    frame["data"]["s"] = symbol
    line = {**LINES[0], "raw": orjson.dumps(frame).decode()}
    read_both(tmp_path / "symbol.gz", gzip.compress(orjson.dumps(line), 1))
    with pytest.raises(SimulatorError, match="symbol"):
        read_simulated(tmp_path / "symbol.gz")


@given(data=st.data())
def test_any_damage_to_a_tapes_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(gzip.compress(b"\n".join(map(orjson.dumps, LINES)), 1))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    read_both(tmp_path_factory.getbasetemp() / "file.gz", bytes(whole[:cut]))


@pytest.mark.parametrize("key", ["t", "kind", "venue", "raw", "path"])
def test_lines_made_to_trip(tmp_path: Path, key: str) -> None:
    for value in (nested(DEEP), nested(100_000), b'"' + b"x" * 10_000 + b'"', b"1e308", b"-1"):
        line = orjson.dumps({**LINES[2], key: "HERE"}).replace(b'"HERE"', value)
        read_both(tmp_path / "tape.gz", gzip.compress(line, 1))


# --- what clients say to the simulated venues ----------------------------------------------------


class _Client:
    """A connection as the simulated venues see it, as far as a control message goes."""

    combined, is_silenced, path = False, False, "/ws"

    def __init__(self) -> None:
        self.channels: dict[str, None] = {}
        self.replies: list[str] = []
        self.is_gone = False
        self.connection_id = 1

    def send(self, text: str) -> None:
        self.replies.append(text)

    def abort(self) -> None:
        self.is_gone = True

    async def close(self, code: int, reason: str = "") -> None:
        self.is_gone = True


async def tell(texts: list[str]) -> None:
    """Send texts to both venues: each is answered, or ends the connection."""
    async with SimulatedVenues(SimulatorOptions(far_levels_share=0.0)) as venues:
        for venue in ("binance", "bitstamp"):
            server = venues.server(venue)
            for text in texts:
                client: Any = _Client()
                await server.receive_text(client, text)
                assert client.is_gone or client.replies
                for reply in client.replies:
                    orjson.loads(reply)
                for channel in list(client.channels):
                    server.unsubscribe(client, channel)


REQUESTS: list[dict[str, Any]] = [
    {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1},
    {"method": "SET_PROPERTY", "params": ["combined", True], "id": "x"},
    {"event": "bts:subscribe", "data": {"channel": "diff_order_book_btcusd"}},
]


def test_any_request_to_a_simulated_venue() -> None:
    texts = [nested(depth).decode() for depth in (DEEP, 100_000)]
    for key in ("method", "params", "id", "event", "data"):
        for request in REQUESTS:
            raw = orjson.dumps({**request, key: "HERE"}).decode()
            texts.append(raw.replace('"HERE"', nested(DEEP).decode()))
    texts.append('{"x":' + nested(DEEP).decode() + "}")

    @settings(max_examples=300)
    @given(data=st.data())
    def collect(data: st.DataObject) -> None:
        raw = orjson.dumps(data.draw(damaged(data.draw(st.sampled_from(REQUESTS))))).decode()
        texts.append(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])

    collect()
    asyncio.run(tell(texts))


# --- the configuration ---------------------------------------------------------------------------

CONFIG = """
[[instrument]]
symbol = "BTC-USD"
depth = 10
  [[instrument.venue]]
  name = "binance"
  symbol = "BTCUSDT"
  tick_size = "0.01"
[venue.binance]
ws_url = "ws://127.0.0.1:1"
snapshot_depth = 1000
[engine]
name = "one"
cpu = 1
idle = "block"
stale_after_ms = 5000
[gateway]
listen = "127.0.0.1:5002"
[metrics]
listen = ""
[log]
level = "info"
"""


def parse(text: str) -> None:
    try:
        assert isinstance(parse_config(text, "source"), Config)
    except ConfigError as error:
        assert str(error).startswith("source: ")
        assert "\n" not in str(error) and len(str(error)) < 5000


TOML_PIECES = st.sampled_from(
    ["1", "-1", "1e400", "nan", "true", '"x"', "''", "[]", "{}", "[[1]]", "2020-13-45", '"""', "[",
     "]", "=", "\n", ".", "0x", "inf", "1979-05-27T07:32:00Z", '"\\ud800"', '"\\uFFFF"', "\0",
     "[venue]", "[venue.nowhere]", "[[instrument]]", "[engine]", 'name = "binance"', "٣", "'", "#"]
)  # fmt: skip


@given(data=st.data())
def test_any_configuration(data: st.DataObject) -> None:
    lines = CONFIG.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[at].partition("=")
        piece = data.draw(TOML_PIECES | st.text(max_size=6))
        choice = data.draw(st.integers(0, 3))
        if choice == 0:
            del lines[at]
        elif choice == 1:
            lines.insert(at, piece)
        else:
            lines[at] = f"{key}= {piece}" if equals else piece
        lines = lines or [""]
    parse("\n".join(lines))


@given(text=st.text(max_size=80))
def test_any_text_for_a_configuration(text: str) -> None:
    parse(text)


CONFIGS = [
    "x = " + "[" * 5000,
    "x = " + "[" * 5000 + "]" * 5000,
    "x = " + "{a=" * 5000,
    "x = " + "1" * 5000,
    "[" + "a." * 5000 + "a]",
    "x = 1e" + "9" * 5000,
    "x = 99999-99-99",
    CONFIG.replace("10", "1" * 5000),
    CONFIG.replace("0.01", "1" * 5000),
    CONFIG.replace("5002", "1" * 5000),
    CONFIG.replace("5002", "5002٣"),
    CONFIG.replace("[gateway]", "[gateway]\n" + "x" * 5000 + " = 1"),
]


@pytest.mark.parametrize("text", CONFIGS, ids=lambda text: text[:12].strip())
def test_configurations_made_to_trip(text: str) -> None:
    parse(text)


# --- orders for faults ---------------------------------------------------------------------------


def order(text: str) -> None:
    try:
        found = read_order(text)
    except SimulatorError as error:
        assert len(str(error)) < 20_000
        return
    assert isinstance(found, Order) and found.times >= 1 and found.for_s >= 0


numbers = st.sampled_from(["", "0", "1", ".", "1e9", "1e999", "e", "..", "9" * 400, "-1", "٣"])


@given(name=st.sampled_from([*FAULTS, "x", ""]), rest=st.lists(numbers, min_size=4, max_size=4),
       venue=st.sampled_from(["", ":binance", ":bitstamp", ":x"]))  # fmt: skip
def test_any_order(name: str, rest: list[str], venue: str) -> None:
    value, at, times, seconds = rest
    order(f"{name}={value}{venue}@{at}x{times}")
    order(f"{name}{venue}@{at}/{seconds}")
    order(f"{name}{value}{venue}{at}{times}")


@given(text=st.text(alphabet=string.ascii_lowercase + "0123456789=:@x/.-e", max_size=30))
def test_any_text_for_an_order(text: str) -> None:
    order(text)
