"""Order entry at Binance with a wire and a host that keep what they are told.

No socket and no clock: a test is the venue, the market maker and time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from engine.maker.client_ids import format_client_id
from net.log.note import Note
from net.orders.errors import Refusal
from net.orders.interface import EntryHost, EntryState, Opening, VenueEntry
from net.orders.messages import OrderEvent, OrderRequest
from net.orders.transfers import Transfer
from net.sockets.outlet import Outlet
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.binance.orders.entry import BinanceEntry
from tests.net.orders import rig

NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000
START_NS = rig.NOW_MS * NS_PER_MS
AHEAD_MS = 5_000
"""How far the venue's clock is ahead of ours."""
EPOCH = 7 << 32
ONE, TWO = EPOCH + 1, EPOCH + 2
NAME, OTHER = format_client_id(ONE), format_client_id(TWO)
VENUE = 3

BAD_KEYS = (401, -2015, "Invalid API-key, IP, or permissions for action.")
SKEWED = (400, -1021, "Timestamp for this request is outside of the recvWindow.")
NO_PERMISSION = (400, -2010, "This action is disabled on this account.")
GONE = (400, -2011, "Unknown order sent.")
NEVER = (400, -2013, "Order does not exist.")
TAKES = (400, -2010, "Order would immediately match and take.")
BROKEN = (500, -1000, "An unknown error occurred while processing the request.")


class Bench:
    """An entry, its wire and its host. What the entry sends is read back from the bytes."""

    def __init__(self, keys: BinanceKeys = rig.ED25519) -> None:
        self.transfers: list[tuple[Transfer, ...]] = []
        self.now_ns = START_NS
        self.requests: list[dict[str, Any]] = []
        self.told: list[tuple[Any, ...]] = []
        self.drops: list[tuple[str, int]] = []
        self.renewals: list[str] = []
        self.notes: list[Note] = []
        self.on_ready_do: Callable[[], None] = lambda: None
        self.entry = BinanceEntry(VENUE, rig.BTCUSDT, keys, self, self)
        self.venue_entry: VenueEntry = self.entry  # for the type checker: they fit
        self.entry_host: EntryHost = self

    # the wire

    outlet: Outlet | None = None

    def send(self, message: bytes | bytearray) -> None:
        self.requests.append(orjson.loads(bytes(message)))

    def renew(self, reason: str) -> None:
        self.renewals.append(reason)

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        self.drops.append((reason, wait_ns))

    # the host

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        assert (venue, now_ns) == (VENUE, self.now_ns)
        self.told.append(("answer", *asked, events))

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        self.told.append(("unanswered", *asked))

    def on_push(self, venue: int, events: Any, balances: Any, now_ns: int) -> None:
        self.told.append(("push", events, balances))

    def on_transfers(self, venue: int, transfers: tuple[Transfer, ...], now_ns: int) -> None:
        self.transfers.append(transfers)

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        self.told.append(("audit", reading))

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        assert self.entry.state is EntryState.READY
        self.told.append(("ready", opening))
        self.on_ready_do()

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self.told.append(("lost", reason))

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        self.told.append(("trouble", refusal.error, refusal.wait_ns))

    def wall_ns(self) -> int:
        return self.now_ns

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        assert "apiKey" not in str(facts)
        self.notes.append(note)

    # what happens

    @property
    def last(self) -> dict[str, Any]:
        return self.requests[-1]

    def pass_time(self, ns: int) -> None:
        self.now_ns += ns
        self.entry.on_timer(self.now_ns)

    def hear(self, message: object) -> None:
        raw = message if isinstance(message, bytes) else orjson.dumps(message)
        self.entry.on_text(raw, self.now_ns)

    def answer(self, result: object, request: dict[str, Any] | None = None) -> None:
        asked = request or self.last
        self.hear({"id": asked["id"], "status": 200, "result": result})

    def refuse(
        self,
        refusal: tuple[int, int, str],
        request: dict[str, Any] | None = None,
        data: object = None,
    ) -> None:
        status, code, text = refusal
        error = {"code": code, "msg": text} | ({} if data is None else {"data": data})
        self.hear({"id": (request or self.last)["id"], "status": status, "error": error})

    def open_until(self, method: str) -> None:
        """Connect, and answer well until this is asked."""
        self.entry.on_open(self.now_ns)
        while self.last["method"] != method:
            self.do_step()

    def do_step(self) -> None:
        now_ms = self.now_ns // NS_PER_MS + AHEAD_MS
        self.answer(
            {
                "time": {"serverTime": now_ms},
                "session.logon": {"apiKey": "?"},
                "userDataStream.subscribe": {"subscriptionId": 0},
                "userDataStream.subscribe.signature": {"subscriptionId": 0},
                "openOrders.status": [order(NAME, 9, "NEW")],
                "myTrades": [trade(9, 5), trade(8, 4)],
                "account.commission": commission(),
                "account.status": orjson.loads(rig.ANSWER_ACCOUNT)["result"],
            }[self.last["method"]]
        )

    def ready(self) -> Bench:
        self.open_until("account.status")
        self.do_step()
        assert self.entry.state is EntryState.READY
        del self.told[:]
        return self


def commission(maker: str = "0.00075000", **more: Any) -> dict[str, Any]:
    """As account.commission has it; `more`: of the other kinds and parts, by `kind_part`."""
    found: dict[str, Any] = {"symbol": "BTCUSDT"}
    for kind in ("standard", "special", "tax"):
        parts = {part: "0.00000000" for part in ("maker", "taker", "buyer", "seller")}
        parts |= {part: more[f"{kind}_{part}"] for part in parts if f"{kind}_{part}" in more}
        found[f"{kind}Commission"] = parts
    found["standardCommission"] |= {"maker": maker, "taker": "0.00100000"}
    discount = {"enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB"}
    return found | {"discount": discount | {"discount": "0.75000000"}}


def order(name: str, number: int, status: str, filled: str = "0.00000000") -> dict[str, Any]:
    """As order.status and openOrders.status have it."""
    found: dict[str, Any] = orjson.loads(rig.ANSWER_STATUS)["result"]
    return found | {
        "clientOrderId": name,
        "orderId": number,
        "status": status,
        "executedQty": filled,
    }


def trade(number: int, trade_id: int) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(rig.ANSWER_TRADES)["result"][0]
    return found | {"orderId": number, "id": trade_id, "qty": "0.00400000"}


def ack(name: str = NAME, number: int = 9) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(rig.ANSWER_ACK)["result"]
    return found | {"clientOrderId": name, "orderId": number}


def canceled(name: str = NAME) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(rig.ANSWER_CANCELED)["result"]
    return found | {"origClientOrderId": name}


def report(**changes: object) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(rig.REPORT_TRADE)
    found["event"] |= {"s": "BTCUSDT", "p": "60000.00", "L": "60000.00", "c": NAME} | changes
    return found
