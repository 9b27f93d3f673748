"""Bitstamp driven by hand: both wires of its order entry, and a host that writes down.

A test says what the venue does: what the private connection and HTTP bring, and when.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY
from net.log.note import Note
from net.orders.errors import Refusal
from net.orders.http_requests import ANSWER_LIMIT_NS, HttpAnswer, HttpRequest
from net.orders.interface import EntryState, Opening, VenueEntry
from net.orders.messages import Balance, OrderEvent, OrderRequest
from net.orders.transfers import Transfer
from net.venues.bitstamp.orders.entry import BitstampEntry
from tests.net.orders.rig import BITSTAMP, BTCUSD

S, MS = 10**9, 10**6
START_NS = 1_700_000_000 * S
USER = 4_416_057
ORDERS, TRADES = f"private-my_orders_btcusd-{USER}", f"private-my_trades_btcusd-{USER}"
A, B = 7 << 32 | 1, 7 << 32 | 2
"""Two of our orders."""
NAME_A, NAME_B = format_client_id(A), format_client_id(B)
TOKEN = {"token": "abc", "valid_sec": 60, "user_id": USER}
NOT_FOUND = {"status": "error", "reason": "Order not found", "response_code": "404.002"}
BALANCES = [{"currency": "btc", "total": "10", "available": "9", "reserved": "1"}]
OPENING = (
    "websockets_token",
    "open_orders",
    "user_transactions",
    "fees/trading",
    "account_balances",
)
FEES = [
    {"market": "ethusd", "fees": {"maker": "0.10000", "taker": "0.20000"}},
    {"market": "btcusd", "fees": {"maker": "0.30000", "taker": "0.40000"}},
]
"""Per cent, as fees/trading tells them."""


class Host:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.transfers: list[tuple[Transfer, ...]] = []
        self.said: list[tuple[Any, ...]] = []
        self.notes: list[tuple[Note, dict[str, object]]] = []
        self.wall_ns: Callable[[], int] = lambda: START_NS

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        assert (venue, asked.replaced_id) == (3, 0)
        self.said.append(("answer", asked.kind, asked.order_id, events))

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        self.said.append(("unanswered", asked.kind, asked.order_id))

    def on_push(
        self,
        venue: int,
        events: tuple[OrderEvent, ...],
        balances: tuple[Balance, ...],
        now_ns: int,
    ) -> None:
        self.said.append(("push", events))

    def on_transfers(self, venue: int, transfers: tuple[Transfer, ...], now_ns: int) -> None:
        self.transfers.append(transfers)

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        self.said.append(("audit", reading))

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        self.said.append(("ready", opening))

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self.said.append(("lost", reason))

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        self.said.append(("trouble", refusal.error))

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        self.notes.append((note, facts))


class Venue:
    """Both wires, and what the venue says on them."""

    def __init__(self, open_orders_age_s: int = 0) -> None:
        self.now_ns = START_NS
        self.sent: list[Any] = []
        self.asked: dict[int, HttpRequest] = {}
        """Posted and not answered, by key."""
        self.posted: list[str] = []
        """The paths of everything posted."""
        self.dropped: list[tuple[str, int]] = []
        self.renewed: list[str] = []
        self.host = Host()
        self.wall_step_ns = 0
        self.host.wall_ns = lambda: self.now_ns + self.wall_step_ns
        self.events = 0
        self.entry: BitstampEntry = BitstampEntry(
            3,
            BTCUSD,
            BITSTAMP,
            self.host,
            self,
            self,
            new_nonce=lambda: str(uuid.UUID(int=len(self.posted))),
            open_orders_age_ns=open_orders_age_s * S,
        )
        conforms: VenueEntry = self.entry
        assert conforms.settle_ns >= 150 * S + ANSWER_LIMIT_NS and not conforms.can_replace

    def state(self) -> EntryState:
        return self.entry.state

    # --- the wires ---

    outlet = None

    def send(self, message: bytes | bytearray) -> None:
        self.sent.append(orjson.loads(message))

    def renew(self, reason: str) -> None:
        self.renewed.append(reason)

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        self.dropped.append((reason, wait_ns))

    def post(self, request: HttpRequest, key: int) -> None:
        assert key not in self.asked
        self.asked[key] = request
        self.posted.append(request.path)

    # --- what the venue does ---

    def key(self, path: str) -> int:
        """The oldest unanswered request to a path."""
        return next(key for key, each in self.asked.items() if path in each.path)

    def form(self, path: str) -> dict[str, str]:
        body = self.asked[self.key(path)].body.decode()
        return {name: values[0] for name, values in parse_qs(body).items()}

    def answer(self, path: str, value: Any, status: int = 200, **special: str) -> None:
        key = self.key(path)
        self.answer_key(key, self.asked.pop(key), value, status, **special)

    def answer_key(
        self,
        key: int,
        request: HttpRequest,
        value: Any,
        status: int = 200,
        retry_after: str = "",
        signature: str | None = None,
    ) -> None:
        body = value if isinstance(value, bytes) else orjson.dumps(value)
        kind = "application/json"
        text = f"{request.nonce}{request.timestamp_ms}{kind}".encode() + body
        if signature is None:
            signature = BITSTAMP.signer.sign(text).decode()
        given = {"Content-Type": kind, "X-Server-Auth-Signature": signature}
        given |= {"Retry-After": retry_after} if retry_after else {}
        self.entry.on_http(key, HttpAnswer(status, given, body), self.now_ns)

    def fail(self, path: str, was_sent: bool = True) -> None:
        key = self.key(path)
        del self.asked[key]
        self.entry.on_http_failed(key, "broken pipe", was_sent, self.now_ns)

    def text(self, event: str, channel: str, data: Any, **more: Any) -> None:
        message = {"event": event, "channel": channel, "data": data} | more
        self.entry.on_text(orjson.dumps(message), self.now_ns)

    def order(self, event: str, name: str, number: int, left: str = "0.5", **more: Any) -> None:
        """An event of my_orders, chained to the one before."""
        self.events += 1
        chain = {"event_id": f"e{self.events}", "pre_event_id": f"e{self.events - 1}"} | more
        data = {
            "id": number, "order_type": 0, "amount_str": left, "amount_at_create": "0.5",
            "price_str": "60000", "microtimestamp": "1700000000000000",
        } | ({"client_order_id": name} if name else {})  # fmt: skip
        self.text(event, ORDERS, data, **chain)

    def trade(self, number: int, trade_id: int) -> None:
        data = {
            "id": trade_id, "order_id": str(number), "amount": "0.5", "price": "60000",
            "fee": "1.5", "side": "buy", "microtimestamp": "1700000000000000",
        }  # fmt: skip
        self.text("trade", TRADES, data)

    def acknowledge(self) -> None:
        for channel in (ORDERS, TRADES):
            self.text("bts:subscription_succeeded", channel, {})

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * S)
        self.entry.on_timer(self.now_ns)

    def open(self, orders: list[Any] | None = None, trades: list[Any] | None = None) -> None:
        """As far as the four answers."""
        self.entry.on_open(self.now_ns)
        self.answer("websockets_token", TOKEN)
        self.acknowledge()
        self.wait(0)
        self.answer("user_transactions", trades or [])
        self.answer("open_orders", orders or [])
        self.answer("fees/trading", FEES)
        self.answer("account_balances", BALANCES)

    def lose(self) -> None:
        self.entry.on_lost("connection reset", self.now_ns)

    def place(self, order_id: int = A) -> None:
        self.entry.place(order_id, BUY, 60_000, 50_000_000, self.now_ns)

    def said(self) -> list[tuple[Any, ...]]:
        """What the host was told since the last time."""
        said, self.host.said = self.host.said, []
        return said


def ready(**more: Any) -> Venue:
    venue = Venue(**more)
    venue.open()
    assert venue.state() is EntryState.READY
    venue.said()
    return venue


def placed(name: str, number: int) -> dict[str, Any]:
    return {
        "id": str(number), "market": "BTC/USD", "datetime": "2022-01-31 14:43:15.796000",
        "type": "0", "price": "60000", "amount": "0.50000000", "client_order_id": name,
    }  # fmt: skip


def listed(name: str, number: int) -> dict[str, Any]:
    return placed(name, number) | {"amount_at_create": "0.50000000"}


def status(name: str, number: int, state: str = "Open", *trades: int) -> dict[str, Any]:
    each = {"price": "60000", "btc": "0.1", "usd": "6000", "fee": "1", "type": 2}
    when = {"datetime": "2022-01-31 14:43:15.796000"}
    return {
        "id": number, "type": "0", "status": state, "market": "BTC/USD",
        "amount_remaining": "0", "client_order_id": name,
        "transactions": [each | when | {"tid": tid} for tid in trades],
    }  # fmt: skip


def transaction(trade_id: int, number: int) -> dict[str, Any]:
    return {
        "id": trade_id, "datetime": "2022-01-31 14:43:15.796000", "type": "2", "order_id": number,
        "fee": "1", "btc": "0.5", "usd": "-30000", "btc_usd": "60000",
    }  # fmt: skip


def error(code: str, reason: str = "no") -> dict[str, str]:
    return {"status": "error", "reason": reason, "response_code": code}


def drive(venue: Venue, until: str) -> None:
    """An opening up to the request that is to fail."""
    venue.entry.on_open(venue.now_ns)
    if until == "websockets_token":
        return
    venue.answer("websockets_token", TOKEN)
    venue.acknowledge()
    venue.wait(0)
    if until == "order_status":
        venue.answer("open_orders", [listed(NAME_A, 1)])
        venue.answer("user_transactions", [])
        venue.answer("fees/trading", FEES)
        venue.answer("account_balances", [])


FAILURES: dict[str, Callable[[Venue, str], None]] = {
    "no answer": lambda venue, path: venue.fail(path),
    "not sent": lambda venue, path: venue.fail(path, was_sent=False),
    "too late": lambda venue, path: venue.wait(5.0),
    "refused": lambda venue, path: venue.answer(path, error("500.001"), 500),
    "a page": lambda venue, path: venue.answer(path, b"<html>", 502),
    "not JSON": lambda venue, path: venue.answer(path, b"{"),
    "another form": lambda venue, path: venue.answer(path, {"token": 7, "a": [1]}),
    "another signature": lambda venue, path: venue.answer(path, [], 200, signature="00"),
    "no signature": lambda venue, path: venue.answer(path, [], 200, signature=""),
    "connection lost": lambda venue, path: venue.lose(),
    "unreadable": lambda venue, path: venue.entry.on_text(b"{", venue.now_ns),
}
