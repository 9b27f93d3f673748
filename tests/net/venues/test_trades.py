"""Each venue's messages of trades: recorded ones beside plain code of the test's own, and nonsense.

The oracle of a venue reads with orjson and Decimal, from the venue's documents, and shares nothing
with net/venues/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from engine.sharing.trades_layout import BUY, SELL
from net.venues.interface import Control
from net.venues.registry import VENUES
from net.venues.trades import VenueTrade, decode, exact, iso_time_ns, time_ns, times
from tests.recorded import read_tape

Told = tuple[str, int, Decimal, Decimal, int, str]
"""Symbol, side, price, amount, the venue's time in ns, id."""


@dataclass(frozen=True)
class Case:
    """A venue, a text of its documents, what that tells, and a recording with so many trades."""

    text: bytes
    told: list[Told]
    oracle: Callable[[bytes], Iterable[Told]]
    tape: str = ""
    trades: int = 0
    answers: tuple[bytes, ...] = ()
    """What the venue answers to a subscription of trades."""


def binance(raw: bytes) -> Iterable[Told]:
    data = orjson.loads(raw).get("data", {})
    if data.get("e") == "trade":
        side = SELL if data["m"] else BUY
        price, amount = Decimal(data["p"]), Decimal(data["q"])
        yield data["s"], side, price, amount, data["T"] * 1_000_000, str(data["t"])


def bitstamp(raw: bytes) -> Iterable[Told]:
    message = orjson.loads(raw)
    if message.get("event") == "trade":
        data, symbol = message["data"], message["channel"].split("_")[-1]
        price, amount = Decimal(data["price_str"]), Decimal(data["amount_str"])
        time = int(data["microtimestamp"]) * 1000
        yield symbol, (BUY, SELL)[data["type"]], price, amount, time, str(data["id"])


def iso_ns(text: str) -> int:
    """Of at most microseconds."""
    whole = datetime.fromisoformat(text.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=UTC)
    return whole // timedelta(microseconds=1) * 1000


def kraken(raw: bytes) -> Iterable[Told]:
    message = json.loads(raw, parse_float=str)
    if message.get("channel") == "trade" and message["type"] == "update":
        for each in message["data"]:
            side = BUY if each["side"] == "buy" else SELL
            price, amount, time = each["price"], each["qty"], iso_ns(each["timestamp"])
            id_ = str(each["trade_id"])
            yield each["symbol"], side, Decimal(price), Decimal(amount), time, id_


def coinbase(raw: bytes) -> Iterable[Told]:
    message = orjson.loads(raw)
    for event in message["events"] if message["channel"] == "market_trades" else []:
        for each in event["trades"][::-1] if event["type"] == "update" else []:
            side = SELL if each["side"] == "BUY" else BUY
            price, amount = Decimal(each["price"]), Decimal(each["size"])
            yield each["product_id"], side, price, amount, iso_ns(each["time"]), each["trade_id"]


def okx(raw: bytes) -> Iterable[Told]:
    message = orjson.loads(raw) if raw != b"pong" else {}
    if message.get("arg", {}).get("channel") == "trades" and "data" in message:
        for each in message["data"]:
            side = BUY if each["side"] == "buy" else SELL
            price, amount, time = Decimal(each["px"]), Decimal(each["sz"]), int(each["ts"]) * 10**6
            yield each["instId"], side, price, amount, time, each["tradeId"]


def bybit(raw: bytes) -> Iterable[Told]:
    message = orjson.loads(raw)
    for each in message["data"] if message.get("topic", "").startswith("publicTrade") else []:
        side = BUY if each["S"] == "Buy" else SELL
        price, amount, time = Decimal(each["p"]), Decimal(each["v"]), each["T"] * 10**6
        yield each["s"], side, price, amount, time, each["i"]


def gate(raw: bytes) -> Iterable[Told]:
    message = orjson.loads(raw)
    if message.get("channel") == "spot.trades" and message["event"] == "update":
        each = message["result"]
        side, time = BUY if each["side"] == "buy" else SELL, Decimal(each["create_time_ms"])
        price, amount = Decimal(each["price"]), Decimal(each["amount"])
        yield each["currency_pair"], side, price, amount, int(time * 10**6), str(each["id"])


def kucoin(raw: bytes) -> Iterable[Told]:
    message = orjson.loads(raw)
    if message.get("subject") == "trade.l3match":
        each = message["data"]
        side, time = BUY if each["side"] == "buy" else SELL, int(each["time"])
        price, amount = Decimal(each["price"]), Decimal(each["size"])
        yield each["symbol"], side, price, amount, time, each["tradeId"]


CASES: dict[str, Case] = {
    "binance": Case(
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT",'
        b'"t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,'
        b'"M":true}}',
        [("BTCUSDT", SELL, Decimal("61837.63"), Decimal("0.02"), 1723161255342 * 10**6,
          "3735683259")],
        binance, "binance-btcusdt-20240808", 9757, (b'{"result":null,"id":1000000}',),
    ),
    "bitstamp": Case(
        b'{"data":{"id":216000477,"timestamp":"1641343699","amount":0.0792,'
        b'"amount_str":"0.07920000","price":3805.44,"price_str":"3805.44","type":0,'
        b'"microtimestamp":"1641343699596000","buy_order_id":1443875737346049,'
        b'"sell_order_id":1443875731320832},"channel":"live_trades_ethusd","event":"trade"}',
        [("ethusd", BUY, Decimal("3805.44"), Decimal("0.0792"), 1641343699596 * 10**6,
          "216000477")],
        bitstamp, "bitstamp-ten-pairs-20210405", 32,
        (b'{"event":"bts:subscription_succeeded","channel":"live_trades_xlmeur","data":{}}',),
    ),
    "kraken": Case(
        b'{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell",'
        b'"price":0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,'
        b'"timestamp":"2023-09-25T07:49:37.708706Z"},{"symbol":"BTC/USD","side":"buy",'
        b'"price":64785.7,"qty":1e-8,"ord_type":"limit","trade_id":4665907,'
        b'"timestamp":"2023-09-25T07:49:37.708706Z"}]}',
        [("MATIC/USD", SELL, Decimal("0.5117"), Decimal("40"), 1695628177708706000, "4665906"),
         ("BTC/USD", BUY, Decimal("64785.7"), Decimal("1e-8"), 1695628177708706000, "4665907")],
        kraken, answers=(
            b'{"method":"subscribe","result":{"channel":"trade","snapshot":false,'
            b'"symbol":"BTC/USD"},"success":true}',),
    ),
    "coinbase": Case(
        b'{"channel":"market_trades","client_id":"","timestamp":"2026-08-09T02:31:05.6Z",'
        b'"sequence_num":12,"events":[{"type":"update","trades":[{"trade_id":"12",'
        b'"product_id":"ETH-USD","price":"1260.01","size":"0.3","side":"BUY",'
        b'"time":"2019-08-14T20:42:27.265Z"},{"trade_id":"11","product_id":"ETH-USD",'
        b'"price":"1260.02","size":"0.1","side":"SELL","time":"2019-08-14T20:42:27.264Z"}]}]}',
        [("ETH-USD", BUY, Decimal("1260.02"), Decimal("0.1"), 1565815347264 * 10**6, "11"),
         ("ETH-USD", SELL, Decimal("1260.01"), Decimal("0.3"), 1565815347265 * 10**6, "12")],
        coinbase,
    ),
    "okx": Case(
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",'
        b'"tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy",'
        b'"ts":"1630048897897","count":"3"}]}',
        [("BTC-USDT", BUY, Decimal("42219.9"), Decimal("0.12060306"), 1630048897897 * 10**6,
          "130639474")],
        okx, "okx-books-three-20220513", 74,
        (b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}',),
    ),
    "bybit": Case(
        b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{'
        b'"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",'
        b'"i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false}]}',
        [("BTCUSDT", BUY, Decimal("16578.50"), Decimal("0.001"), 1672304486865 * 10**6,
          "20f43950-d8dd-5b31-9112-a178eb6023af")],
        bybit, answers=(
            b'{"success":true,"ret_msg":"","conn_id":"a","req_id":"publicTrade.BTCUSDT",'
            b'"op":"subscribe"}',),
    ),
    "gate": Case(
        b'{"time":1619093546,"channel":"spot.trades","event":"update","result":{"id":816995970,'
        b'"create_time":1619093546,"create_time_ms":"1619093546958.116","side":"buy",'
        b'"currency_pair":"NEO_BTC","amount":"0.5000000000","price":"0.0018735000"}}',
        [("NEO_BTC", BUY, Decimal("0.0018735"), Decimal("0.5"), 1619093546958116000,
          "816995970")],
        gate, "gate-spot-ten-20210422", 9,
        (b'{"time":1,"channel":"spot.trades","event":"subscribe","result":{"status":"success"}}',),
    ),
    "kucoin": Case(
        b'{"data":{"symbol":"DAPPT-BTC","sequence":"1612701563869","side":"buy",'
        b'"size":"81.8814","price":"0.0000001117","takerOrderId":"6085c097587c2000060cde57",'
        b'"time":"1619378327739050725","type":"match","makerOrderId":"6085c06144b3790006512a4d",'
        b'"tradeId":"6085c09769bc506996295e36"},"subject":"trade.l3match",'
        b'"topic":"/market/match:DAPPT-BTC","type":"message"}',
        [("DAPPT-BTC", BUY, Decimal("0.0000001117"), Decimal("81.8814"), 1619378327739050725,
          "6085c09769bc506996295e36")],
        kucoin, "kucoin-nine-20210425", 18,
        (b'{"id":"/market/match:DAPPT-BTC","type":"ack"}',),
    ),
}  # fmt: skip


def told(trade: VenueTrade) -> Told:
    price, amount = (Decimal(u).scaleb(-d) for u, d in (trade.price, trade.amount))
    return trade.symbol, trade.side, price, amount, trade.venue_ns, trade.venue_id


def read(venue: str, raw: bytes) -> list[Told]:
    found = VENUES[venue].trades(decode(raw))
    return [told(trade) for trade in found or []]


@pytest.mark.parametrize("venue", CASES)
def test_a_documented_message_is_read(venue: str) -> None:
    case = CASES[venue]
    assert read(venue, case.text) == case.told == list(case.oracle(case.text))


@pytest.mark.parametrize("venue", [name for name, case in CASES.items() if case.tape])
def test_every_recorded_trade_is_read_and_nothing_else_is_one(venue: str) -> None:
    case, count = CASES[venue], 0
    for line in read_tape(case.tape):
        if line.kind == "ws" and line.venue == venue and line.raw != b"pong":
            wanted = list(case.oracle(line.raw))
            found = VENUES[venue].trades(decode(line.raw))
            assert (found is None) == (not wanted)
            assert [told(trade) for trade in found or []] == wanted
            count += len(wanted)
    assert count == case.trades


@pytest.mark.parametrize("venue", CASES)
def test_a_trade_with_a_part_that_is_missing_or_wrong_is_an_error_and_no_trade(venue: str) -> None:
    bad: tuple[Any, ...] = (None, [], {}, "", "x", -1, "-1", "NaN", "1e400", 1.5, True)

    def spoiled(value: Any) -> Iterable[Any]:
        """The message with one member gone, or of another type, at every place of a trade."""
        if isinstance(value, dict):
            for key in value:
                yield {each: value[each] for each in value if each != key}
                for wrong in bad:
                    yield {**value, key: wrong}
                for inner in spoiled(value[key]):
                    yield {**value, key: inner}
        elif isinstance(value, list):
            for at, member in enumerate(value):
                for inner in spoiled(member):
                    yield [*value[:at], inner, *value[at + 1 :]]

    protocol, refused = VENUES[venue], 0
    whole = read(venue, CASES[venue].text)
    for message in spoiled(orjson.loads(CASES[venue].text)):
        try:
            found = protocol.trades(decode(orjson.dumps(message)))
        except (KeyError, TypeError, ValueError):
            refused += 1
            continue
        for trade in found or []:
            _, side, price, amount, time, name = told(trade)
            assert isinstance(trade.symbol, str) and side in (BUY, SELL) and name
            assert price > 0 and amount > 0 and time > 0
    assert refused > 20 and whole


@pytest.mark.parametrize("venue", CASES)
def test_what_answers_a_subscription_of_trades_confirms_no_book(venue: str) -> None:
    protocol = VENUES[venue]
    assert protocol.trade_subscriptions(["A", "B"]) and not protocol.trade_subscriptions([])
    for raw in CASES[venue].answers:
        assert protocol.trades(decode(raw)) is None
        assert protocol.control(orjson.loads(raw))[0] is Control.IGNORED


def test_numbers_are_exact_or_refused() -> None:
    assert exact("0.07920000") == (7920000, 8)
    assert exact(Decimal("1E-8")) == exact("1E-8") == (1, 8)
    assert exact("1.2e3") == (1200, 0) and exact(7) == (7, 0)
    assert exact("9223372036854775807") == (2**63 - 1, 0)
    wrong: list[Any] = [
        "", "x", "0", "-1", "NaN", "Infinity", "1e-19", "1e19", "1e999999999",
        "9223372036854775808",
        1.5, True, None, [],
    ]  # fmt: skip
    for value in wrong:
        with pytest.raises(ValueError):
            exact(value)
    assert times((3, 0), (1, 2)) == (3, 2) and times((500, 1), (10, 0)) == (500, 0)
    with pytest.raises(ValueError):
        times((2**62, 0), (4, 0))


def test_times_are_exact_or_refused() -> None:
    assert time_ns("1723161255342", 10**6) == time_ns(1723161255342, 10**6) == 1723161255342 * 10**6
    assert iso_time_ns("2026-08-09T02:31:05.606409921Z") == 1786242665606409921
    assert iso_time_ns("2026-08-09T02:31:05.6Z") == 1786242665600000000
    assert iso_time_ns("2026-08-09T02:31:05Z") == 1786242665000000000
    wrong: list[Any] = ["", "-1", -1, 0, "1.5", 1.5, True, None, "x", "9" * 30, "\u0661"]
    for value in wrong:
        with pytest.raises(ValueError):
            time_ns(value, 1)
    for text in ("", "2026-08-09", "2026-08-09T02:31:05", "2026-08-09T02:31:05.1234567890Z", None):
        with pytest.raises(ValueError):
            iso_time_ns(text)
