"""A few messages of each venue, as venues write them: frames of the stream, and REST answers.

Runs on: the fuzzers' thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.engine.decoding.rig import BINANCE, BITSTAMP, SYMBOL
from tests.fuzz.corpus import corpus
from tests.fuzz.target import DIFFS, SNAPSHOTS


@dataclass(frozen=True)
class Sample:
    """One venue: its symbol, frames, and answers where its books come by REST."""

    symbol: str
    frames: tuple[bytes, ...]
    answers: tuple[bytes, ...] = ()


def _kept(feed: int) -> Sample:
    """What the fuzzer of the first two venues begins from."""
    return Sample(SYMBOL[feed], corpus(DIFFS, feed), corpus(SNAPSHOTS, feed))


_STAMP = b'"timestamp":"2026-08-09T02:31:05.776685Z"'
SAMPLES = {
    "binance": _kept(BINANCE),
    "bitstamp": _kept(BITSTAMP),
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
        (
            b'{"code":"0","msg":"","data":[{"asks":[["30249.4","0.5","0","2"]],"bids":'
            b'[["30182.6","452","0","1"],["30180","1","0","1"]],"ts":"1652459225464",'
            b'"seqId":123457}]}',
        ),
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
    ),
    "binance-usdm": Sample(
        "BTCUSDT",
        (
            b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161256299,'
            b'"T":1723161256298,"s":"BTCUSDT","U":5123107832006,"u":5123107837557,'
            b'"pu":5123107831937,"b":[["58710.20","0.014"]],"a":[["58710.30","0.000"]]}}',
        ),
        (
            b'{"lastUpdateId":303212654508,"E":1617647797886,"T":1617647797881,"bids":'
            b'[["1.2236","49.4"],["1.2234","392.5"]],"asks":[["1.2240","0.1"]]}',
            b'{"lastUpdateId":7,"bids":[],"asks":[["1.2","3"]]}',
        ),
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
    ),
    "gemini": Sample(
        "BTCUSD",
        (
            b'{"type":"l2_updates","symbol":"BTCUSD","changes":[["buy","301.66","11.538318"],'
            b'["sell","303.55","0"]]}',
            b'{"type":"l2_updates","symbol":"BTCUSD","changes":[["buy","1","2"]],"trades":[]}',
        ),
    ),
    "gate": Sample(
        "BTC_USDT",
        (
            b'{"time":1619093532,"time_ms":1619093532978,"channel":"spot.order_book_update",'
            b'"event":"update","result":{"t":1619093532978,"e":"depthUpdate","E":1619093532,'
            b'"s":"BTC_USDT","U":2691446,"u":2691447,"b":[["0.00010322","5360.209"]],'
            b'"a":[["7.997","0"]]}}',
        ),
        (
            b'{"id":2691446,"current":1619093532999,"update":1619093532978,"asks":'
            b'[["0.00010396","5876.967"],["0.0001052","16944.29"]],"bids":[["0.0001","2"]]}',
            b'{"id":2691446,"asks":[["0.00010396","5876.967"]],"bids":[]}',
        ),
    ),
    "kucoin": Sample(
        "BTC-USDT",
        (
            b'{"data":{"sequenceStart":1613277183874,"symbol":"BTC-USDT","changes":{"asks":'
            b'[["0","0","1613277183874"],["242.9","1.5","1613277183875"]],"bids":[]},'
            b'"sequenceEnd":1613277183875},"subject":"trade.l2update",'
            b'"topic":"/market/level2:BTC-USDT","type":"message"}',
        ),
        (
            b'{"code":"200000","data":{"time":1619378326628,"sequence":"1613277183892","bids":'
            b'[["242.649","5"],["242.646","0.68148185"]],"asks":[["242.9","0.4"]]}}',
        ),
    ),
}
