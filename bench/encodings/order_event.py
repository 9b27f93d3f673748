"""An order event in its forms: the consumer wants the change of position and value, and the rest.

A record is ORDER_FIELDS, one word each, which is what the journal and the order table keep of it.
Runs on: the harness's main thread.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import orjson

from bench.encodings.encoding import (
    UNITS_PER_TICK,
    Answer,
    Form,
    RecordForm,
    TextForm,
    message_class,
    units,
)
from bench.load.frames import SYMBOL, price, quantity
from bench.rig.kernels import bench_kernel
from bench.rig.ring import Rows
from bench.rig.venue_names import order_reader
from engine.compiling.atomics import view_words
from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, SELL
from net.orders.messages import Kind, Market, OrderEvent, Push

ORDER_FIELDS = (
    "order_id", "kind", "state", "venue_order_id", "side", "price_ticks", "quantity_lots",
    "filled_lots", "last_lots", "last_price_ticks", "execution_id", "fee_lots", "time_ns",
)  # fmt: skip
"""An order event's record: one word each."""
_ORDER = struct.Struct(f"<{len(ORDER_FIELDS)}q")
AT_KIND, AT_SIDE, AT_QUANTITY, AT_FILLED, AT_LAST_LOTS, AT_LAST_PRICE = (
    ORDER_FIELDS.index(name)
    for name in ("kind", "side", "quantity_lots", "filled_lots", "last_lots", "last_price_ticks")
)
KIND_FILL = 2
"""A number of this file's own: numba's cache does not look at net/."""
assert KIND_FILL == Kind.FILL


@bench_kernel("UniTuple(int64, 3)(int64)")
def use_order_record(record_address: int) -> Answer:
    """Of a fill: change of position and of value; lots that are left. Of others: only the rest."""
    record = view_words(record_address, len(ORDER_FIELDS))
    rest = record[AT_QUANTITY] - record[AT_FILLED]
    if record[AT_KIND] != KIND_FILL:
        return 0, 0, rest
    lots = record[AT_LAST_LOTS] if record[AT_SIDE] == BUY else -record[AT_LAST_LOTS]
    return lots, -lots * record[AT_LAST_PRICE], rest


def use_order(
    kind: int, side: int, quantity: int, filled: int, last_lots: int, last_price: int
) -> Answer:
    """The same in Python."""
    if kind != KIND_FILL:
        return 0, 0, quantity - filled
    lots = last_lots if side == BUY else -last_lots
    return lots, -lots * last_price, quantity - filled


MARKET = Market(SYMBOL, "BTC", "USDT", "0.01", "0.00001")
KINDS = {"NEW": int(Kind.ACCEPTED), "TRADE": KIND_FILL, "CANCELED": int(Kind.CANCELED)}
"""Of the events that the bench sends."""
SIDES = {"BUY": BUY, "SELL": SELL}


def read_order(read: Callable[[bytes], object], raw: bytes) -> OrderEvent:
    """The one event of a report, verified field by field, as order entry reads it."""
    push = read(raw)
    assert isinstance(push, Push) and len(push.events) == 1
    return push.events[0]


def order_words(event: OrderEvent) -> tuple[int, ...]:
    """An order event's numbers in the order of ORDER_FIELDS."""
    return (
        event.order_id or 0, event.kind, event.state, event.venue_order_id,
        event.side, event.price_ticks, event.quantity_lots, event.filled_lots, event.last_lots,
        event.last_price_ticks, event.execution_id, event.fee_lots, event.time_ns,
    )  # fmt: skip


Order = message_class("Order", ORDER_FIELDS)


class OrderTextPython(TextForm):
    name = "JSON, orjson in Python"

    def decode(self, taken: memoryview) -> tuple[int, ...]:
        """Only what is used, and nothing verified."""
        event = orjson.loads(taken)["event"]
        return (
            KINDS[event["x"]], SIDES[event["S"]], units(event["q"]), units(event["z"]),
            units(event["l"]), units(event["L"]) // UNITS_PER_TICK,
        )  # fmt: skip

    def use(self, decoded: tuple[int, int, int, int, int, int]) -> Answer:
        return use_order(*decoded)


class OrderTextReader(TextForm):
    name = "JSON, our reader in Python"

    def __init__(self) -> None:
        super().__init__()
        self._read = order_reader(MARKET)

    def decode(self, taken: memoryview) -> OrderEvent:
        return read_order(self._read, bytes(taken))

    def use(self, decoded: OrderEvent) -> Answer:
        return use_order(
            decoded.kind, decoded.side, decoded.quantity_lots, decoded.filled_lots,
            decoded.last_lots, decoded.last_price_ticks,
        )  # fmt: skip


class OrderProtobuf(Form):
    name = "protobuf in Python"

    def __init__(self) -> None:
        super().__init__()
        self._read = order_reader(MARKET)

    def encode(self, raw: bytes) -> bytes:
        words = order_words(read_order(self._read, raw))
        encoded: bytes = Order(**dict(zip(ORDER_FIELDS, words, strict=True))).SerializeToString()
        return encoded

    def decode(self, taken: memoryview) -> Any:
        return Order.FromString(taken)

    def use(self, decoded: Any) -> Answer:
        return use_order(
            decoded.kind, decoded.side, decoded.quantity_lots, decoded.filled_lots,
            decoded.last_lots, decoded.last_price_ticks,
        )  # fmt: skip


class OrderRecordPython(RecordForm):
    name = "int64 records in Python"

    def __init__(self) -> None:
        super().__init__()
        self._read = order_reader(MARKET)
        self._rows = Rows()

    def encode(self, raw: bytes) -> tuple[int, int]:
        row = self._rows.turn()
        _ORDER.pack_into(self._rows.views[row], 0, *order_words(read_order(self._read, raw)))
        return self._rows.addresses[row], _ORDER.size

    def decode(self, taken: int) -> Any:
        return _ORDER.unpack_from(self.ring.taken.views[taken])

    def use(self, decoded: Any) -> Answer:
        return use_order(
            decoded[AT_KIND], decoded[AT_SIDE], decoded[AT_QUANTITY], decoded[AT_FILLED],
            decoded[AT_LAST_LOTS], decoded[AT_LAST_PRICE],
        )  # fmt: skip


class OrderRecordCompiled(OrderRecordPython):
    name = "int64 records compiled"

    def decode(self, taken: int) -> int:
        return self.ring.taken.addresses[taken]

    def use(self, decoded: int) -> Answer:
        return use_order_record(decoded)


FORMS: tuple[type[Form], ...] = (
    OrderTextPython, OrderTextReader, OrderProtobuf, OrderRecordPython, OrderRecordCompiled,
)  # fmt: skip


def reports(count: int, seed: int = 1) -> list[bytes]:
    """So many execution reports as the venue sends them: new, filled in part, canceled."""
    rng = random.Random(seed)
    return [_report(rng, number) for number in range(1, count + 1)]


def _report(rng: random.Random, number: int) -> bytes:
    kind, state = rng.choice((("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("CANCELED",) * 2))
    lots = rng.randrange(2, 10**5) * 1000
    last = rng.randrange(1, lots // 1000) * 1000 if kind == "TRADE" else 0
    at, time_ms = price(6_000_000 + rng.randrange(-500, 500)), 1_700_000_000_000 + number
    name = format_client_id(1 << 32 | number)
    own, original = (f"cancel-{number}", name) if kind == "CANCELED" else (name, "")
    event = {
        "e": "executionReport", "E": time_ms, "s": MARKET.symbol, "c": own,
        "S": rng.choice(("BUY", "SELL")), "o": "LIMIT_MAKER", "f": "GTC", "q": quantity(lots),
        "p": at, "P": price(0), "F": quantity(0), "g": -1, "C": original, "x": kind, "X": state,
        "r": "NONE", "i": 40_000_000_000 + number, "l": quantity(last), "z": quantity(last),
        "L": at if last else price(0), "n": quantity(last // 1000), "N": "BNB" if last else None,
        "T": time_ms, "t": 5_000_000_000 + number if last else -1, "I": 90_000_000_000 + number,
        "w": kind != "CANCELED", "m": bool(last), "M": False, "O": time_ms, "Z": quantity(0),
        "Y": quantity(0), "Q": quantity(0), "W": time_ms, "V": "EXPIRE_MAKER",
    }  # fmt: skip
    return orjson.dumps({"subscriptionId": 0, "event": event})
