"""A few frames of each venue of another form than the first two, and how orjson's reader sees them.

Frames are as venues write them; numbers are read as the texts they are, so that nothing is rounded.
Runs on: the fuzzers' thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Rows = list[tuple[Decimal, Decimal]]
Reader = Callable[[Any], tuple[Rows, Rows]]


@dataclass(frozen=True)
class Sample:
    """One venue: its symbol, frames, and the reader of its levels."""

    symbol: str
    frames: tuple[bytes, ...]
    read: Reader


def exact(raw: bytes) -> Any:
    """A message whose numbers are Decimals. ValueError where it is no JSON."""
    return json.loads(raw, parse_float=Decimal, parse_int=Decimal)


def _pairs(rows: Any) -> Rows:
    return [(Decimal(row[0]), Decimal(row[1])) for row in rows]


def _objects(rows: Any) -> Rows:
    return [(row["price"], row["qty"]) for row in rows]


def _sided(rows: Any, names: tuple[str, str]) -> tuple[Rows, Rows]:
    found: tuple[Rows, Rows] = ([], [])
    for row in rows:
        side, price, qty = (
            (row["side"], row["price_level"], row["new_quantity"]) if isinstance(row, dict) else row
        )
        found[names.index(side)].append((Decimal(price), Decimal(qty)))
    return found


def _kraken(message: Any) -> tuple[Rows, Rows]:
    (data,) = message["data"]
    return _objects(data["bids"]), _objects(data["asks"])


def _okx(message: Any) -> tuple[Rows, Rows]:
    (data,) = message["data"]
    return _pairs(data["bids"]), _pairs(data["asks"])


def _coinbase(message: Any) -> tuple[Rows, Rows]:
    (event,) = message["events"]
    return _sided(event["updates"], ("bid", "offer"))


def _short(message: Any) -> tuple[Rows, Rows]:
    data = message.get("data", message.get("result", message))
    return _pairs(data["b"]), _pairs(data["a"])


def _kucoin(message: Any) -> tuple[Rows, Rows]:
    changes = message["data"]["changes"]
    bids, asks = (_pairs(changes[key]) for key in ("bids", "asks"))
    return [row for row in bids if row[0] > 0], [row for row in asks if row[0] > 0]


_STAMP = b'"timestamp":"2026-08-09T02:31:05.776685Z"'
SAMPLES = {
    "kraken": Sample(
        "BTC/USD",
        (
            b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":'
            b'[{"price":64785.7,"qty":0.00000000},{"price":64788.5,"qty":0.00005100}],'
            b'"checksum":3713844912,' + _STAMP + b"}]}",
            b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":'
            b'[{"price":64838.4,"qty":0.24942987}],"asks":[{"price":64838.5,"qty":1.00000000}],'
            b'"checksum":1487839906,' + _STAMP + b"}]}",
            b'{"channel":"heartbeat"}',
        ),
        _kraken,
    ),
    "okx": Sample(
        "BTC-USDT",
        (
            b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":'
            b'[["30249.4","0","0","0"],["30261","4.5","0","1"]],"bids":[["30182.6","452","0","1"]],'
            b'"ts":"1652459225464","checksum":0,"prevSeqId":123456,"seqId":123457}]}',
            b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":'
            b'[],"bids":[["1","2","0","1"]],"ts":"1","checksum":-855196043}]}',
            b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}',
        ),
        _okx,
    ),
    "bybit": Sample(
        "BTCUSDT",
        (
            b'{"topic":"orderbook.50.BTCUSDT","ts":1786310816516,"type":"delta","data":{"s":'
            b'"BTCUSDT","b":[["65140.4","0.885797"],["65140","0"]],"a":[],"u":62505424,"seq":7},'
            b'"cts":1786310816513}',
            b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"BTCUSDT","b":'
            b'[["65095.30","0.005"]],"a":[["65095.40","1"]],"u":1,"seq":2},"cts":3}',
        ),
        _short,
    ),
    "binance-usdm": Sample(
        "BTCUSDT",
        (
            b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161256299,'
            b'"T":1723161256298,"s":"BTCUSDT","U":5123107832006,"u":5123107837557,'
            b'"pu":5123107831937,"b":[["58710.20","0.014"]],"a":[["58710.30","0.000"]]}}',
        ),
        _short,
    ),
    "coinbase": Sample(
        "BTC-USD",
        (
            b'{"channel":"l2_data","timestamp":"2026-08-09T02:31:05.627674887Z","sequence_num":1,'
            b'"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid",'
            b'"event_time":"2026-08-09T02:31:04.728712Z","price_level":"64759.71",'
            b'"new_quantity":"0"},{"side":"offer","event_time":"2026-08-09T02:31:04.72Z",'
            b'"price_level":"65418","new_quantity":"0.03877489"}]}]}',
            b'{"channel":"heartbeats","timestamp":"2026-08-09T02:31:05Z","sequence_num":2,'
            b'"events":[{"current_time":"x","heartbeat_counter":6466}]}',
        ),
        _coinbase,
    ),
    "gemini": Sample(
        "BTCUSD",
        (
            b'{"type":"l2_updates","symbol":"BTCUSD","changes":[["buy","301.66","11.538318"],'
            b'["sell","303.55","0"]]}',
            b'{"type":"l2_updates","symbol":"BTCUSD","changes":[["buy","1","2"]],"trades":[]}',
        ),
        lambda message: _sided(message["changes"], ("buy", "sell")),
    ),
    "gate": Sample(
        "BTC_USDT",
        (
            b'{"time":1619093532,"time_ms":1619093532978,"channel":"spot.order_book_update",'
            b'"event":"update","result":{"t":1619093532978,"e":"depthUpdate","E":1619093532,'
            b'"s":"BTC_USDT","U":2691446,"u":2691447,"b":[["0.00010322","5360.209"]],'
            b'"a":[["7.997","0"]]}}',
        ),
        _short,
    ),
    "kucoin": Sample(
        "BTC-USDT",
        (
            b'{"data":{"sequenceStart":1613277183874,"symbol":"BTC-USDT","changes":{"asks":'
            b'[["0","0","1613277183874"],["242.9","1.5","1613277183875"]],"bids":[]},'
            b'"sequenceEnd":1613277183875},"subject":"trade.l2update",'
            b'"topic":"/market/level2:BTC-USDT","type":"message"}',
        ),
        _kucoin,
    ),
}
