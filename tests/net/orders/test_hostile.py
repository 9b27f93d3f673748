"""Broken, foreign and enormous input: the room's own error, or events of plain integers."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.maker.order_layout import BUY, SELL
from net.orders.json_fields import MESSAGE_BYTES_MAX
from net.orders.messages import Answer, EntryError, Kind, OrderEvent, Push, Request
from net.venues.binance.orders.events import BinanceReader
from net.venues.bitstamp.orders.events import BitstampReader
from tests.net.orders import rig

BINANCE = BinanceReader([rig.BTCUSDT, rig.ETHBTC])
BITSTAMP = BitstampReader([rig.BTCUSD, rig.ETHUSDT])
HALVES = rig.halves(
    409,
    -2021,
    json.loads(rig.ANSWER_CANCELED)["result"],
    {"code": -2010, "msg": "Order would immediately match and take."},
    ("SUCCESS", "FAILURE"),
)
BINANCE_MESSAGES = [*rig.BINANCE_MESSAGES, HALVES]
ERROR_CHARACTERS_MAX = 400

JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 2**63 - 1, 2**63, -(2**70), 0.5, 1e300, float("nan"), "", "-1",
    "1e99", "NaN", "0", "x", "1" * 40, "\udc80", "9" * 5000, "ä", "\n", [], {}, [[]], [{}],
]  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterable[tuple[Any, ...]]:
    """Every place in a decoded message."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*path, index))


def break_message(raw: bytes, seed: int) -> bytes:
    """An example of the venues' pages with a few bytes, or a few values, changed."""
    chance = random.Random(seed)
    if chance.random() < 0.3:
        data = bytearray(raw)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
        return bytes(data)
    value = json.loads(raw)
    for _ in range(chance.randint(1, 3)):
        path = chance.choice(list(paths(value)))
        if not path:
            continue
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        if chance.random() < 0.3 and isinstance(inner, dict):
            del inner[path[-1]]
        else:
            inner[path[-1]] = copy.deepcopy(chance.choice(JUNK))
    return json.dumps(value).encode()


def broken(messages: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(break_message, st.sampled_from(messages), st.integers(0, 2**64))


def check_events(events: tuple[OrderEvent, ...]) -> None:
    """Whatever was read: exact integers of 64 bits, and a fill that is complete."""
    for event in events:
        for name, value in event._asdict().items():
            if isinstance(value, int) and not isinstance(value, bool):
                assert -(2**63) <= value < 2**63, name
            assert not isinstance(value, float), name
        (event.client_order_id or "").encode()
        event.reason.encode()
        if event.kind is Kind.FILL:
            assert min(event.last_lots, event.last_price_ticks, event.execution_id) >= 0
            assert min(event.venue_order_id, event.time_ns) >= -1 and event.side in (BUY, SELL)


@contextlib.contextmanager
def only_the_rooms_error() -> Any:
    try:
        yield
    except EntryError as error:
        text = str(error)
        assert len(text) < ERROR_CHARACTERS_MAX and "\n" not in text
        text.encode()


def feed_binance(raw: bytes) -> None:
    with only_the_rooms_error():
        read = BINANCE.read(raw)
        if isinstance(read, Push):
            check_events(read.events)
            return
        for market in (rig.BTCUSDT, rig.ETHBTC):
            for request in Request:
                with only_the_rooms_error():
                    check_events(BINANCE.order_events(request, read, market, "a", "b"))
        with only_the_rooms_error():
            BINANCE.balances(read)
        with only_the_rooms_error():
            BINANCE.server_time_ns(read)


def feed_bitstamp(status: int, raw: bytes) -> None:
    with only_the_rooms_error():
        check_events(BITSTAMP.event(raw).events)
    with only_the_rooms_error():
        read = BITSTAMP.read(status, raw)
        for request in Request:
            with only_the_rooms_error():
                check_events(BITSTAMP.order_events(request, read, rig.BTCUSD, "a", "b"))
        with only_the_rooms_error():
            BITSTAMP.balances(read)
        with only_the_rooms_error():
            BITSTAMP.channel_token(read)


@settings(max_examples=1000)
@given(broken(BINANCE_MESSAGES))
def test_broken_words_of_binance(raw: bytes) -> None:
    feed_binance(raw)


@settings(max_examples=1000)
@given(st.sampled_from([200, 400, 404, 500]), broken([*rig.BITSTAMP_FRAMES, *rig.BITSTAMP_BODIES]))
def test_broken_words_of_bitstamp(status: int, raw: bytes) -> None:
    feed_bitstamp(status, raw)


@pytest.mark.parametrize("raw", BINANCE_MESSAGES, ids=range(len(BINANCE_MESSAGES)))
def test_every_message_of_binance_cut_at_every_byte(raw: bytes) -> None:
    assert isinstance(BINANCE.read(raw), Answer | Push)
    for size in range(len(raw)):
        with pytest.raises(EntryError, match="not JSON"):
            BINANCE.read(raw[:size])


@pytest.mark.parametrize("raw", rig.BITSTAMP_FRAMES, ids=range(len(rig.BITSTAMP_FRAMES)))
def test_every_frame_of_bitstamp_cut_at_every_byte(raw: bytes) -> None:
    assert isinstance(BITSTAMP.event(raw), Push)
    for size in range(len(raw)):
        with pytest.raises(EntryError, match="not JSON"):
            BITSTAMP.event(raw[:size])


ENORMOUS = {
    "too many bytes": b'{"status":200,"result":"' + b"x" * MESSAGE_BYTES_MAX + b'"}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep result": b'{"id":1,"status":200,"result":' + b"[" * 900 + b"]" * 900 + b"}",
    "a long number": b'{"id":1,"status":200,"result":{"orderId":' + b"9" * 100_000 + b"}}",
    "a long id": b'{"id":"' + b"x" * 100_000 + b'","status":200}',
    "a long text": b'{"status":"error","event":"' + b"x" * 100_000 + b'"}',
    "half a pair": b'{"status":"error","reason":"\\ud800","event":"\\ud800","channel":"\\udfff"}',
    "no UTF-8": b'{"event":"\xff\xfe"}',
    "not a number": b'{"status":"error","amount":NaN}',
    "nothing": b"",
    "zeros": bytes(100),
}


@pytest.mark.parametrize("name", ENORMOUS)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_enormous_and_foreign_input(name: str, status: int) -> None:
    feed_binance(ENORMOUS[name])
    feed_bitstamp(status, ENORMOUS[name])
    if name in ("too many bytes", "nothing", "zeros", "no UTF-8"):
        with pytest.raises(EntryError):
            BINANCE.read(ENORMOUS[name])
        with pytest.raises(EntryError):
            BITSTAMP.event(ENORMOUS[name])


@pytest.mark.parametrize("key", ["l", "L", "t", "n", "z", "q", "p", "i", "S", "T", "x", "X", "c"])
def test_a_fill_with_a_part_missing_is_no_fill(key: str) -> None:
    message = json.loads(rig.REPORT_TRADE)
    del message["event"][key]
    with pytest.raises(EntryError, match=rf"^{key} is missing"):
        BINANCE.read(json.dumps(message).encode())


@pytest.mark.parametrize("key", ["amount", "price", "fee", "id", "order_id", "side"])
def test_a_trade_of_bitstamp_with_a_part_missing_is_no_fill(key: str) -> None:
    message = json.loads(rig.MY_TRADE)
    del message["data"][key]
    with pytest.raises(EntryError, match=rf"^{key} is missing"):
        BITSTAMP.event(json.dumps(message).encode())


def test_numbers_that_came_through_floating_point_are_refused() -> None:
    message = json.loads(rig.REPORT_TRADE)
    message["event"]["l"] = 0.4
    with pytest.raises(EntryError, match=r"l: '0\.4' is not a decimal number"):
        BINANCE.read(json.dumps(message).encode())


def test_fills_without_a_side_are_no_fills() -> None:
    message = json.loads(rig.ANSWER_FULL)
    del message["result"]["side"]
    read = BINANCE.read(json.dumps(message).encode())
    assert isinstance(read, Answer)
    with pytest.raises(EntryError, match=r"^side is missing"):
        BINANCE.order_events(Request.PLACE, read, rig.BTCUSDT)
    status = json.loads(rig.ORDER_STATUS)
    del status["type"]
    looked_up = BITSTAMP.read(200, json.dumps(status).encode())
    with pytest.raises(EntryError, match=r"^type is missing"):
        BITSTAMP.order_events(Request.STATUS, looked_up, rig.BTCUSD)
