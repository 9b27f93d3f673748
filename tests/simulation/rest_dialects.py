"""The dialects of venues whose whole books come by REST.

Runs on: the tests' thread.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from net.venues.binance.market_data import BINANCE
from net.venues.binance_usdm.market_data import BINANCE_USDM
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.gate.market_data import GATE
from net.venues.interface import VenueProtocol
from net.venues.kucoin.market_data import KUCOIN
from tests import oracle
from tests.simulation.dialect import Dialect, Ids, Telling, listed, message_of, quoted
from tests.simulation.readers import Read, pairs, whole_number

US_PER_S = 1_000_000
NS_PER_MS = 1_000_000


def _as_read(found: oracle.Diff | None) -> Read | None:
    """What an oracle of one venue has read."""
    if found is None:
        return None
    ids = (found.first_id, found.last_id)
    return Read(found.symbol, ids, found.time_ns, found.bids, found.asks)


class Binance(Dialect):
    """Ranges of ids, snapshots by REST."""

    kind: VenueProtocol = BINANCE
    ticks = ("0.01", "0.05")
    has_exponents = True
    notice = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'

    def text(self, told: Telling) -> str:
        return (
            f'{{"stream":"{told.symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate",'
            f'"E":{told.now_ns // NS_PER_MS},"s":"{told.symbol}","U":{told.first_id},'
            f'"u":{told.last_id},"b":{quoted(told.bids)},"a":{quoted(told.asks)}}}}}'
        )

    def snapshot(self, told: Telling) -> str:
        bids, asks = quoted(told.bids), quoted(told.asks)
        return f'{{"lastUpdateId":{told.last_id},"bids":{bids},"asks":{asks}}}'

    def stranger(self) -> str:
        return (
            '{"stream":"nosuch@depth@100ms","data":{"e":"depthUpdate","E":1700000000000,'
            '"s":"NOSUCH","U":1,"u":2,"b":[["1.00","1.0"]],"a":[]}}'
        )

    def read(self, raw: bytes) -> Read | None:
        return _as_read(oracle.read_binance_diff(raw))

    def read_snapshot(self, raw: bytes) -> object:
        return oracle.read_binance_snapshot(raw)


class BinanceUsdm(Binance):
    """Each diff names the one before it; ids jump."""

    kind = BINANCE_USDM
    ids = Ids.JUMPS

    def text(self, told: Telling) -> str:
        time_ms = told.now_ns // NS_PER_MS
        return (
            f'{{"stream":"{told.symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate",'
            f'"E":{time_ms},"T":{time_ms - 1},"s":"{told.symbol}","U":{told.first_id},'
            f'"u":{told.last_id},"pu":{told.previous_id},'
            f'"b":{quoted(told.bids)},"a":{quoted(told.asks)}}}}}'
        )

    def stranger(self) -> str:
        return super().stranger().replace('"u":2', '"u":2,"pu":0')

    def read(self, raw: bytes) -> Read | None:
        message = message_of(raw)
        data = message["data"] if isinstance(message.get("data"), dict) else message
        if data.get("e") != "depthUpdate":
            return None
        ids = (whole_number(data["pu"]), whole_number(data["u"]))
        time_ns = whole_number(data["E"]) * NS_PER_MS
        return Read(data["s"], ids, time_ns, pairs(data["b"]), pairs(data["a"]))


class Bitstamp(Dialect):
    """Times are all there is."""

    kind = BITSTAMP
    ids = Ids.TIMES
    ticks = ("0.01", "0.1", "1")
    audit_interval_s = 20
    snapshot_depth = 0
    has_exponents = True
    notice = '{"event":"bts:request_reconnect","channel":"","data":""}'

    def text(self, told: Telling) -> str:
        return (
            f'{{"data":{{"timestamp":"{told.last_id // US_PER_S}",'
            f'"microtimestamp":"{told.last_id}","bids":{quoted(told.bids)},'
            f'"asks":{quoted(told.asks)}}},'
            f'"channel":"diff_order_book_{told.symbol}","event":"data"}}'
        )

    def snapshot(self, told: Telling) -> str:
        return (
            f'{{"timestamp":"{told.last_id // US_PER_S}","microtimestamp":"{told.last_id}",'
            f'"bids":{quoted(told.bids)},"asks":{quoted(told.asks)}}}'
        )

    def acknowledgement(self, symbol: str) -> str:
        channel = f"diff_order_book_{symbol}"
        return f'{{"event":"bts:subscription_succeeded","channel":"{channel}","data":{{}}}}'

    def refusal(self, symbol: str) -> str:
        return '{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad."}}'

    def stranger(self) -> str:
        return (
            '{"data":{"timestamp":"1","microtimestamp":"1700000000000000","bids":[],"asks":[]},'
            '"channel":"diff_order_book_nosuch","event":"data"}'
        )

    def read(self, raw: bytes) -> Read | None:
        return _as_read(oracle.read_bitstamp_diff(raw))

    def read_snapshot(self, raw: bytes) -> object:
        return oracle.read_bitstamp_snapshot(raw)

    def ahead(self, told: Telling, ahead_s: int) -> Telling:
        return replace(told, last_id=told.last_id + ahead_s * US_PER_S)


class Gate(Dialect):
    """Ranges of ids as Binance's, in another frame."""

    kind = GATE
    strips_zeros = True

    def text(self, told: Telling) -> str:
        time_ms = told.now_ns // NS_PER_MS
        return (
            f'{{"time":{time_ms // 1000},"time_ms":{time_ms},'
            f'"channel":"spot.order_book_update","event":"update","result":{{"t":{time_ms},'
            f'"e":"depthUpdate","E":{time_ms // 1000},"s":"{told.symbol}","U":{told.first_id},'
            f'"u":{told.last_id},"b":{quoted(told.bids)},"a":{quoted(told.asks)}}}}}'
        )

    def snapshot(self, told: Telling) -> str:
        time_ms = told.now_ns // NS_PER_MS
        return (
            f'{{"id":{told.last_id},"current":{time_ms},"update":{time_ms},'
            f'"asks":{quoted(told.asks)},"bids":{quoted(told.bids)}}}'
        )

    def acknowledgement(self, symbol: str) -> str:
        return (
            '{"time":0,"channel":"spot.order_book_update","event":"subscribe",'
            '"result":{"status":"success"}}'
        )

    def refusal(self, symbol: str) -> str:
        error = f'{{"code":2,"message":"unknown currency pair: {symbol}"}}'
        return (
            '{"time":0,"channel":"spot.order_book_update","event":"subscribe",'
            f'"error":{error},"result":null}}'
        )

    def stranger(self) -> str:
        return self.text(Telling("NOSUCH_USDT", [("1.00", "1.0")], [], 1, 2, 0, 10**18))

    def read(self, raw: bytes) -> Read | None:
        message = message_of(raw)
        data = message.get("result")
        if not isinstance(data, dict) or data.get("e") != "depthUpdate":
            return None
        ids = (whole_number(data["U"]), whole_number(data["u"]))
        time_ns = whole_number(data["t"]) * NS_PER_MS
        return Read(data["s"], ids, time_ns, pairs(data["b"]), pairs(data["a"]))

    def read_snapshot(self, raw: bytes) -> object:
        body = orjson.loads(raw)
        whole_number(body.get("update", 0))
        return listed(body["bids"], body["asks"], body["id"])


class Kucoin(Dialect):
    """Ranges of ids; a change at zero only moves them."""

    kind = KUCOIN
    nonsense_is_legal = ("zero_price",)

    def text(self, told: Telling) -> str:
        more = str(told.last_id)
        asks = quoted([("0", "0"), *told.asks], more)
        return (
            f'{{"type":"message","topic":"/market/level2:{told.symbol}",'
            f'"subject":"trade.l2update","data":{{"changes":{{"asks":{asks},'
            f'"bids":{quoted(told.bids, more)}}},"sequenceEnd":{told.last_id},'
            f'"sequenceStart":{told.first_id},"symbol":"{told.symbol}",'
            f'"time":{told.now_ns // NS_PER_MS}}}}}'
        )

    def snapshot(self, told: Telling) -> str:
        return (
            f'{{"code":"200000","data":{{"time":{told.now_ns // NS_PER_MS},'
            f'"sequence":"{told.last_id}","bids":{quoted(told.bids)},'
            f'"asks":{quoted(told.asks)}}}}}'
        )

    def acknowledgement(self, symbol: str) -> str:
        return f'{{"id":"{symbol}","type":"ack"}}'

    def refusal(self, symbol: str) -> str:
        return f'{{"id":"{symbol}","type":"error","code":404,"data":"topic {symbol}"}}'

    def stranger(self) -> str:
        return self.text(Telling("NOSUCH-USDT", [("1.00", "1.0")], [], 1, 2, 0, 10**18))

    def read(self, raw: bytes) -> Read | None:
        message = message_of(raw)
        topic, prefix = message.get("topic"), "/market/level2:"
        if not isinstance(topic, str) or not topic.startswith(prefix) or topic == prefix:
            return None
        data = message["data"]
        ids = (whole_number(data["sequenceStart"]), whole_number(data["sequenceEnd"]))
        bids, asks = (
            [row for row in pairs(data["changes"][side], longer=True) if row[0] != 0]
            for side in ("bids", "asks")
        )
        return Read(topic.removeprefix(prefix), ids, whole_number(data.get("time", 0)), bids, asks)

    def read_snapshot(self, raw: bytes) -> object:
        data = orjson.loads(raw)["data"]
        assert isinstance(data["sequence"], str)
        whole_number(data.get("time", 0))
        return listed(data["bids"], data["asks"], int(data["sequence"]))
