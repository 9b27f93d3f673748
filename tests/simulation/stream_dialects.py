"""The dialects of venues whose whole books come in the stream.

Runs on: the tests' thread.
"""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime

import orjson

from net.venues.bybit.market_data import BYBIT
from net.venues.coinbase.market_data import COINBASE
from net.venues.kraken.market_data import KRAKEN
from net.venues.okx.market_data import OKX
from tests.simulation.dialect import (
    NUMBER,
    VIEW_DEPTH,
    Dialect,
    Ids,
    Rows,
    Telling,
    message_of,
    quoted,
)
from tests.simulation.readers import Read, numbers_as_text, pairs, sided, whole_number

NS_PER_MS = 1_000_000
NS_PER_US = 1_000
CHECKSUM_PAIRS = 25
"""Levels a side that OKX's checksum covers."""
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


class Okx(Dialect):
    """A chain of ids, a whole book at first, others by REST."""

    kind = OKX
    ids = Ids.JUMPS
    strips_zeros = True
    audit_interval_s = 20
    snapshot_depth = 40
    """All of it: the checksum covers 25 levels."""
    notice = '{"event":"notice","code":"64008","msg":"The connection will soon be closed."}'

    def text(self, told: Telling) -> str:
        previous = -1 if told.is_whole else told.previous_id
        return (
            f'{{"arg":{{"channel":"books","instId":"{told.symbol}"}},'
            f'"action":"{"snapshot" if told.is_whole else "update"}",'
            f'"data":[{{"asks":{quoted(told.asks, "0", "1")},'
            f'"bids":{quoted(told.bids, "0", "1")},"ts":"{told.now_ns // NS_PER_MS}",'
            f'"checksum":{told.checksum},"prevSeqId":{previous},"seqId":{told.last_id}}}]}}'
        )

    def snapshot(self, told: Telling) -> str:
        return (
            f'{{"code":"0","msg":"","data":[{{"asks":{quoted(told.asks, "0", "1")},'
            f'"bids":{quoted(told.bids, "0", "1")},"ts":"{told.now_ns // NS_PER_MS}",'
            f'"seqId":{told.last_id}}}]}}'
        )

    def checksum(self, bids: Rows, asks: Rows) -> int:
        parts = []
        for at in range(CHECKSUM_PAIRS):
            parts += [":".join(side[at]) for side in (bids, asks) if at < len(side)]
        value = zlib.crc32(":".join(parts).encode())
        return value - 2**32 if value >= 2**31 else value

    def acknowledgement(self, symbol: str) -> str:
        return f'{{"event":"subscribe","arg":{{"channel":"books","instId":"{symbol}"}}}}'

    def refusal(self, symbol: str) -> str:
        return f'{{"event":"error","code":"60018","msg":"books,instId:{symbol} doesn\'t exist."}}'

    def stranger(self) -> str:
        return self.text(Telling("NOSUCH-USDT", [("1", "1")], [], 1, 2, 0, 10**18))

    def read(self, raw: bytes) -> Read | None:
        message = message_of(raw)
        named, kind = message.get("arg"), message.get("action")
        if not isinstance(named, dict) or kind not in ("update", "snapshot"):
            return None
        channel = named.get("channel")
        if not isinstance(channel, str) or not channel.startswith("books"):
            return None
        (data,) = message["data"]
        assert isinstance(data["ts"], str)
        ids = (whole_number(data["prevSeqId"]), whole_number(data["seqId"]))
        sides = (pairs(data["bids"], longer=True), pairs(data["asks"], longer=True))
        checksum, is_whole = whole_number(data["checksum"]), kind == "snapshot"
        return Read(named["instId"], ids, int(data["ts"]), *sides, checksum, is_whole)

    def read_snapshot(self, raw: bytes) -> object:
        (data,) = orjson.loads(raw)["data"]
        assert isinstance(data["ts"], str) and int(data["ts"]) >= 0
        sides = (pairs(data["bids"], longer=True), pairs(data["asks"], longer=True))
        rows = [[row for row in side if row[0] > 0] for side in sides]
        return whole_number(data["seqId"]), rows


class Bybit(Dialect):
    """Ids step from frame to frame; a level that leaves the view is deleted."""

    kind = BYBIT
    ids = Ids.FRAMES
    snapshot_depth = 0
    view_depth = VIEW_DEPTH
    strips_zeros = True

    def text(self, told: Telling) -> str:
        time_ms = told.now_ns // NS_PER_MS
        return (
            f'{{"topic":"orderbook.50.{told.symbol}","ts":{time_ms},'
            f'"type":"{"snapshot" if told.is_whole else "delta"}","data":{{"s":"{told.symbol}",'
            f'"b":{quoted(told.bids)},"a":{quoted(told.asks)},"u":{told.last_id},'
            f'"seq":{7 * told.last_id}}},"cts":{time_ms}}}'
        )

    def acknowledgement(self, symbol: str) -> str:
        return f'{{"success":true,"ret_msg":"","req_id":"{symbol}","op":"subscribe"}}'

    def refusal(self, symbol: str) -> str:
        return (
            f'{{"success":false,"ret_msg":"error:handler not found,topic:{symbol}",'
            f'"req_id":"{symbol}","op":"subscribe"}}'
        )

    def stranger(self) -> str:
        return self.text(Telling("NOSUCHUSDT", [("1", "1")], [], 1, 2, 0, 10**18))

    def read(self, raw: bytes) -> Read | None:
        message = message_of(raw)
        topic, kind = message.get("topic"), message.get("type")
        is_book = isinstance(topic, str) and topic.startswith("orderbook.")
        if not is_book or kind not in ("delta", "snapshot"):
            return None
        data = message["data"]
        last_id = whole_number(data["u"])
        sides, is_whole = (pairs(data["b"]), pairs(data["a"])), kind == "snapshot"
        return Read(data["s"], (last_id,), whole_number(message["ts"]), *sides, 0, is_whole)


def iso_text(now_ns: int) -> str:
    """A time as text, to the microsecond."""
    moment = datetime.fromtimestamp(now_ns // NS_PER_US / 1e6, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Kraken(Dialect):
    """No ids; ten levels a side, and a checksum of them in each frame."""

    kind = KRAKEN
    ids = Ids.FRAMES
    snapshot_depth = 0
    view_depth = KRAKEN.rules.bound
    deletes_pushed_out = False
    is_renumbered = True

    def text(self, told: Telling) -> str:
        bids, asks = (
            "[" + ",".join(f'{{"price":{p},"qty":{q}}}' for p, q in side) + "]"
            for side in (told.bids, told.asks)
        )
        return (
            f'{{"channel":"book","type":"{"snapshot" if told.is_whole else "update"}",'
            f'"data":[{{"symbol":"{told.symbol}","bids":{bids},"asks":{asks},'
            f'"checksum":{told.checksum},"timestamp":"{iso_text(told.now_ns)}"}}]}}'
        )

    def checksum(self, bids: Rows, asks: Rows) -> int:
        texts = [text for rows in (asks, bids) for row in rows for text in row]
        return zlib.crc32("".join(each.replace(".", "").lstrip("0") for each in texts).encode())

    def acknowledgement(self, symbol: str) -> str:
        result = f'{{"channel":"book","depth":10,"snapshot":true,"symbol":"{symbol}"}}'
        return f'{{"method":"subscribe","result":{result},"success":true}}'

    def refusal(self, symbol: str) -> str:
        error = f"Currency pair not supported {symbol}"
        return f'{{"error":"{error}","method":"subscribe","success":false,"symbol":"{symbol}"}}'

    def stranger(self) -> str:
        return self.text(Telling("NOSUCH/USD", [("1.00", "1.0")], [], 1, 2, 0, 10**18))

    def read(self, raw: bytes) -> Read | None:
        message = numbers_as_text(raw)
        kind = message.get("type")
        if message.get("channel") != "book" or kind not in ("update", "snapshot"):
            return None
        (data,) = message["data"]
        assert ISO_TIME.fullmatch(data["timestamp"].upper())
        bids, asks = (
            pairs([[row["price"], row["qty"]] for row in data[side]], is_bare=True)
            for side in ("bids", "asks")
        )
        checksum, is_whole = int(data["checksum"][1:]), kind == "snapshot"
        return Read(data["symbol"], (), 0, bids, asks, checksum, is_whole)


class Coinbase(Dialect):
    """One number for all frames of the connection; both sides in one list."""

    kind = COINBASE
    ids = Ids.FRAMES
    snapshot_depth = 0
    strips_zeros = True
    is_renumbered = True

    def text(self, told: Telling) -> str:
        time = iso_text(told.now_ns)
        updates = ",".join(
            f'{{"side":"{side}","event_time":"{time}","price_level":"{price}",'
            f'"new_quantity":"{amount}"}}'
            for side, rows in (("bid", told.bids), ("offer", told.asks))
            for price, amount in rows
        )
        kind = "snapshot" if told.is_whole else "update"
        events = f'[{{"type":"{kind}","product_id":"{told.symbol}","updates":[{updates}]}}]'
        return self.numbered("l2_data", time, events)

    def numbered(self, channel: str, time: str, events: str) -> str:
        """Any frame of the connection."""
        return (
            f'{{"channel":"{channel}","timestamp":"{time}","sequence_num":{NUMBER},'
            f'"events":{events}}}'
        )

    def answers(self, symbols: tuple[str, ...]) -> list[str]:
        """The answers to a request of books, and to that of heartbeats."""
        names = ",".join(f'"{each}"' for each in symbols)
        return [
            self.numbered("subscriptions", iso_text(0), f'[{{"subscriptions":{{{part}}}}}]')
            for part in (f'"level2":[{names}]', f'"level2":[{names}],"heartbeats":["heartbeats"]')
        ]

    def refusal(self, symbol: str) -> str:
        return '{"type":"error","message":"Failed to subscribe"}'

    def stranger(self) -> str:
        return self.text(Telling("NOSUCH-USD", [("1", "1")], [], 1, 2, 0, 10**18))

    def read(self, raw: bytes) -> Read | None:
        message = message_of(raw)
        if message.get("channel") != "l2_data":
            return None
        (event,) = message["events"]
        if event.get("type") not in ("update", "snapshot"):
            return None
        assert ISO_TIME.fullmatch(message["timestamp"].upper())
        bids, asks = sided(event["updates"])
        ids, is_whole = (whole_number(message["sequence_num"]),), event["type"] == "snapshot"
        return Read(event["product_id"], ids, 0, bids, asks, 0, is_whole)
