"""Binance's order entry as a session: every stage, and what can go wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, SELL
from net.entry.binance_session import (
    AGE_NS_MAX,
    ANSWER_LIMIT_NS,
    BARRED_NS,
    CLOCK_EVERY_NS,
    CLOCK_RETRY_NS,
    LIMIT_WAIT_NS,
    OPENING_LIMIT_NS,
    SKEW_FIRST_NS,
    SKEW_NS_MAX,
    BinanceEntry,
)
from net.entry.keys import BinanceKeys
from net.entry.order import EntryError, Kind, OrderEvent, Request, State
from net.entry.refusals import ErrorClass, Refusal
from net.entry.session import EntryHost, EntryState, Opening, VenueEntry

from . import rig

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
        self.now_ns = START_NS
        self.requests: list[dict[str, Any]] = []
        self.told: list[tuple[Any, ...]] = []
        self.drops: list[tuple[str, int]] = []
        self.renewals: list[str] = []
        self.notes: list[str] = []
        self.on_ready_do: Callable[[], None] = lambda: None
        self.entry = BinanceEntry(VENUE, rig.BTCUSDT, keys, self, self)
        self.venue_entry: VenueEntry = self.entry  # for the type checker: they fit
        self.entry_host: EntryHost = self

    # the wire

    def send(self, message: bytes | bytearray) -> None:
        self.requests.append(orjson.loads(bytes(message)))

    def renew(self, reason: str) -> None:
        self.renewals.append(reason)

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        self.drops.append((reason, wait_ns))

    # the host

    def on_answer(
        self,
        venue: int,
        request: Request,
        order_id: int,
        replaced_id: int,
        events: tuple[OrderEvent, ...],
        now_ns: int,
    ) -> None:
        assert (venue, now_ns) == (VENUE, self.now_ns)
        self.told.append(("answer", request, order_id, replaced_id, events))

    def on_unanswered(
        self, venue: int, request: Request, order_id: int, replaced_id: int, now_ns: int
    ) -> None:
        self.told.append(("unanswered", request, order_id, replaced_id))

    def on_push(self, venue: int, events: Any, balances: Any, now_ns: int) -> None:
        self.told.append(("push", events, balances))

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        assert self.entry.state is EntryState.READY
        self.told.append(("ready", opening))
        self.on_ready_do()

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self.told.append(("lost", reason))

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        self.told.append(("trouble", refusal.error, refusal.wait_ns))

    def note_entry(self, venue: int, what: str, **facts: object) -> None:
        assert "apiKey" not in str(facts)
        self.notes.append(what)

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
                "account.status": orjson.loads(rig.ANSWER_ACCOUNT)["result"],
            }[self.last["method"]]
        )

    def ready(self) -> Bench:
        self.open_until("account.status")
        self.do_step()
        assert self.entry.state is EntryState.READY
        del self.told[:]
        return self


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


# --- opening -------------------------------------------------------------------------------------

LOGGED_ON = ["time", "session.logon", "userDataStream.subscribe"]
SIGNED = ["time", "userDataStream.subscribe.signature"]
READ = ["openOrders.status", "myTrades", "account.status"]
METHODS = [*LOGGED_ON, *READ]


@pytest.mark.parametrize(
    ("keys", "first"), [(rig.ED25519, LOGGED_ON), (rig.HMAC, SIGNED)], ids=["ed25519", "hmac"]
)
def test_it_opens_in_order_by_the_venue_s_clock(keys: BinanceKeys, first: list[str]) -> None:
    bench = Bench(keys)
    assert bench.entry.state is EntryState.DISCONNECTED
    bench.entry.on_open(bench.now_ns)
    states = []
    for _ in [*first, *READ]:
        states.append(bench.entry.state)
        bench.now_ns += 10 * NS_PER_MS
        bench.do_step()
    assert [request["method"] for request in bench.requests] == [*first, *READ]
    assert states == [EntryState.OPENING] * len(first) + [EntryState.READING] * len(READ)
    # The answer took 10 ms, of which half was the way back.
    assert bench.entry.clock_offset_ns == (AHEAD_MS + 5) * NS_PER_MS
    for index, request in enumerate(bench.requests[1:], 1):
        if request["method"] != "userDataStream.subscribe":
            sent_ms = rig.NOW_MS + 10 * index
            assert request["params"]["timestamp"] == sent_ms + AHEAD_MS + 5
        is_signed = keys is rig.HMAC or request["method"] == "session.logon"
        assert ("signature" in request.get("params", {})) == is_signed
    assert len({request["id"] for request in bench.requests}) == len(bench.requests)
    ((what, opening),) = bench.told
    assert what == "ready"
    assert [event.client_order_id for event in opening.open_orders] == [NAME]
    assert [event.client_order_id for event in opening.trades] == [NAME, ""]
    assert [each.asset for each in opening.balances] == ["BTC", "USDT"]


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_at_any_step_starts_from_the_beginning(method: str) -> None:
    bench = Bench()
    bench.open_until(method)
    old = bench.last
    bench.entry.on_lost("gone", bench.now_ns)
    assert bench.told == [("lost", "gone")]
    assert bench.entry.state is EntryState.DISCONNECTED
    bench.pass_time(OPENING_LIMIT_NS)
    assert bench.drops == [], "what was under way went with the connection"
    bench.entry.on_open(bench.now_ns)
    sent = len(bench.requests)
    bench.answer([], old)
    assert len(bench.requests) == sent, "an answer to a request of another connection"
    bench.ready()


@pytest.mark.parametrize("method", METHODS)
def test_a_step_without_an_answer_ends_the_connection(method: str) -> None:
    bench = Bench()
    bench.open_until(method)
    bench.pass_time(OPENING_LIMIT_NS - 1)
    assert bench.drops == []
    bench.pass_time(1)
    assert len(bench.drops) == 1 and bench.drops[0][1] == 0
    bench.pass_time(OPENING_LIMIT_NS)
    assert len(bench.drops) == 1


@pytest.mark.parametrize("method", ["time", *READ])
@pytest.mark.parametrize("is_readable", [True, False])
def test_a_malformed_answer_ends_the_opening(method: str, is_readable: bool) -> None:
    bench = Bench()
    bench.open_until(method)
    if is_readable:
        bench.answer({"balances": 7, "serverTime": "soon"})
    else:
        bench.hear({"id": bench.last["id"], "status": 200})
    assert len(bench.drops) == 1 and bench.told == []
    assert bench.entry.unreadable_frames == 1


@pytest.mark.parametrize("refusal", [BAD_KEYS, NO_PERMISSION])
@pytest.mark.parametrize("method", METHODS[1:])
def test_who_is_not_accepted_does_not_ask_again_soon(
    method: str, refusal: tuple[int, int, str]
) -> None:
    bench = Bench()
    bench.open_until(method)
    bench.refuse(refusal)
    assert bench.entry.state is EntryState.BARRED
    assert [wait_ns for _, wait_ns in bench.drops] == [BARRED_NS]
    assert [what for what, *_ in bench.told] == ["trouble"]
    assert "order entry is barred" in bench.notes
    bench.entry.on_lost("dropped", bench.now_ns)
    assert bench.entry.state is EntryState.BARRED
    bench.pass_time(BARRED_NS)
    bench.ready()


@pytest.mark.parametrize("method", ["session.logon", *READ])
def test_a_wrong_clock_is_read_again_once(method: str) -> None:
    bench = Bench()
    bench.open_until(method)
    bench.refuse(SKEWED)
    assert bench.last["method"] == "time" and bench.drops == []
    bench.do_step()
    assert bench.last["method"] == method, "the same step again, and none before it"
    bench.refuse(SKEWED)
    assert bench.entry.state is EntryState.BARRED
    assert bench.told == [("trouble", ErrorClass.CLOCK_SKEW, -1)]


def test_a_clock_that_stays_wrong_is_asked_less_and_less() -> None:
    bench = Bench()
    for _ in range(8):
        bench.open_until("session.logon")
        bench.refuse(SKEWED)
        bench.do_step()
        bench.refuse(SKEWED)
        bench.entry.on_lost("dropped", bench.now_ns)
    waits_ns = [wait_ns for _, wait_ns in bench.drops]
    assert waits_ns[:3] == [SKEW_FIRST_NS, 2 * SKEW_FIRST_NS, 4 * SKEW_FIRST_NS]
    assert max(waits_ns) == waits_ns[-1] == SKEW_NS_MAX
    bench.ready()
    bench.entry.on_lost("", bench.now_ns)
    bench.open_until("session.logon")
    bench.refuse(SKEWED)
    bench.do_step()
    bench.refuse(SKEWED)
    assert bench.drops[-1][1] == SKEW_FIRST_NS


def test_a_rate_limit_ends_the_opening_for_as_long_as_it_says() -> None:
    bench = Bench()
    bench.open_until("openOrders.status")
    limited = (429, -1003, "Too much request weight used.")
    bench.refuse(limited, data={"serverTime": rig.NOW_MS, "retryAfter": rig.NOW_MS + 1500})
    bench.entry.on_lost("", bench.now_ns)
    bench.open_until("session.logon")
    bench.refuse(limited)
    assert [wait_ns for _, wait_ns in bench.drops] == [1500 * NS_PER_MS, LIMIT_WAIT_NS]
    assert bench.told[0] == ("trouble", ErrorClass.RATE_LIMITED, 1500 * NS_PER_MS)
    assert bench.entry.state is not EntryState.BARRED


def test_an_opening_that_fails_otherwise_is_tried_again() -> None:
    bench = Bench()
    bench.open_until("userDataStream.subscribe")
    bench.refuse(BROKEN)
    assert [wait_ns for _, wait_ns in bench.drops] == [0] and bench.told == []


def test_what_happens_while_reading_is_handed_on_at_once_and_in_order() -> None:
    bench = Bench()
    bench.open_until("openOrders.status")
    for number in (77, 78):
        bench.hear(report(t=number))
        bench.do_step()
    bench.hear(rig.ACCOUNT_POSITION.replace(b'"ETH"', b'"BTC"'))
    bench.do_step()
    assert [what for what, *_ in bench.told] == ["push", "push", "push", "ready"]
    assert [told[1][0].execution_id for told in bench.told[:2]] == [77, 78]
    assert bench.told[2][2][0].asset == "BTC"


def test_a_slow_reading_of_the_clock_is_not_used() -> None:
    bench = Bench()
    bench.entry.on_open(bench.now_ns)
    bench.now_ns += NS_PER_S + 1
    bench.do_step()
    assert len(bench.drops) == 1 and len(bench.requests) == 1


# --- requests ------------------------------------------------------------------------------------


def test_requests_are_what_was_asked_for() -> None:
    bench = Bench().ready()
    now_ns = bench.now_ns
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, now_ns)
    shared = {"symbol": "BTCUSDT", "recvWindow": 2000, "timestamp": rig.NOW_MS + AHEAD_MS}
    placed = {"side": "BUY", "type": "LIMIT_MAKER", "newOrderRespType": "ACK", "price": "60000.00"}
    placed |= {"quantity": "0.00100", "newClientOrderId": NAME}
    assert bench.last["method"] == "order.place" and bench.last["params"] == shared | placed
    bench.entry.cancel(ONE, now_ns)
    assert bench.last["method"] == "order.cancel"
    assert bench.last["params"] == shared | {"origClientOrderId": NAME}
    bench.entry.replace(ONE, TWO, SELL, 6_000_001, 200_000, now_ns)
    assert bench.last["method"] == "order.cancelReplace"
    params = bench.last["params"]
    assert params["cancelOrigClientOrderId"] == NAME and params["newClientOrderId"] == OTHER
    assert (params["side"], params["price"], params["quantity"]) == ("SELL", "60000.01", "0.00200")
    assert params["cancelReplaceMode"] == "STOP_ON_FAILURE"
    bench.entry.ask(TWO, now_ns)
    assert bench.last["params"] == shared | {"origClientOrderId": OTHER}
    assert bench.told == []


def test_an_answer_is_given_once_and_with_its_events() -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    place = bench.last
    bench.entry.cancel(TWO, bench.now_ns)
    bench.refuse(GONE)
    bench.answer(ack(), place)
    bench.answer(ack(), place)
    assert [told[:4] for told in bench.told] == [
        ("answer", Request.CANCEL, TWO, 0),
        ("answer", Request.PLACE, ONE, 0),
    ]
    failed, accepted = bench.told[0][4][0], bench.told[1][4][0]
    assert (failed.kind, failed.error) == (Kind.FAILED, ErrorClass.UNKNOWN_ORDER)
    assert (accepted.kind, accepted.client_order_id) == (Kind.ACCEPTED, NAME)
    assert bench.entry.unmatched_answers == 1
    bench.pass_time(ANSWER_LIMIT_NS)
    assert len(bench.told) == 2


def test_a_report_may_come_before_its_answer() -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    bench.hear(report(x="NEW", X="NEW"))
    bench.answer(ack(number=4293153))
    assert [what for what, *_ in bench.told] == ["push", "answer"]


def test_the_halves_of_a_replace_are_told_by_their_names() -> None:
    bench = Bench().ready()
    bench.entry.replace(ONE, TWO, BUY, 6_000_000, 100_000, bench.now_ns)
    raw = orjson.loads(
        rig.halves(409, -2021, canceled(), {"code": -2010, "msg": TAKES[2]}, ("SUCCESS", "FAILURE"))
    )
    bench.hear(raw | {"id": bench.last["id"]})
    (what, request, order_id, replaced_id, (gone, failed)) = bench.told[0]
    assert (what, request, order_id, replaced_id) == ("answer", Request.REPLACE, TWO, ONE)
    assert (gone.kind, gone.client_order_id) == (Kind.CANCELED, NAME)
    assert (failed.kind, failed.client_order_id) == (Kind.REJECTED, OTHER)
    assert failed.error is ErrorClass.WOULD_TAKE


@pytest.mark.parametrize(
    "frame",
    [
        {"status": 200, "result": {"symbol": "ETHBTC", "orderId": 1}},
        {"status": 200, "result": ack(OTHER)},
        {"status": 200},
        {"status": "fine", "result": ack()},
        {"status": 302, "result": ack()},
    ],
)
def test_an_answer_that_cannot_be_read_leaves_the_outcome_open(frame: dict[str, Any]) -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    bench.hear({"id": bench.last["id"], **frame})
    assert bench.told == [("unanswered", Request.PLACE, ONE, 0)]
    assert bench.entry.unreadable_frames == 1 and bench.drops == []
    bench.pass_time(ANSWER_LIMIT_NS)
    assert len(bench.told) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"event":{"e":7}}',
        b'{"id":null,"status":"?"}',
        orjson.dumps(report(L="60000.001")),
        b'{"id":1000000,"status":"?"}',
        orjson.dumps(report(L="60000.001") | {"id": 7}),
    ],
)
def test_a_frame_that_may_have_been_an_event_ends_the_connection(raw: bytes) -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    assert bench.last["id"] == 7
    bench.hear(raw)
    assert len(bench.drops) == 1 and bench.entry.unreadable_frames == 1
    bench.entry.on_lost("dropped", bench.now_ns)
    assert bench.told == [("lost", "dropped")]


def test_what_is_under_way_ends_with_the_connection_alone() -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    place = bench.last
    bench.entry.ask(TWO, bench.now_ns)
    bench.entry.on_lost("cut", bench.now_ns)
    bench.pass_time(ANSWER_LIMIT_NS)
    assert bench.told == [("lost", "cut")]
    bench.entry.on_open(bench.now_ns)
    bench.answer(ack(), place)
    assert bench.told == [("lost", "cut")]


def test_a_late_answer_is_no_answer_but_its_events_are_told() -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    place = bench.last
    bench.entry.place(TWO, BUY, 6_000_000, 100_000, bench.now_ns)
    refused = bench.last
    bench.entry.cancel(ONE, bench.now_ns)
    cancel = bench.last
    bench.pass_time(ANSWER_LIMIT_NS - 1)
    assert bench.told == []
    bench.pass_time(1)
    requests = [Request.PLACE, Request.PLACE, Request.CANCEL]
    assert [told[:2] for told in bench.told] == [("unanswered", each) for each in requests]
    del bench.told[:]
    bench.answer(ack(), place)
    bench.refuse(TAKES, refused)
    bench.refuse(GONE, cancel)
    bench.answer(ack(), place)
    assert [what for what, *_ in bench.told] == ["push", "push"]
    kinds = [told[1][0].kind for told in bench.told]
    assert kinds == [Kind.ACCEPTED, Kind.REJECTED]
    assert bench.entry.late_answers == 3 and bench.entry.unmatched_answers == 1


def test_what_cannot_be_written_is_not_sent_and_not_waited_for() -> None:
    bench = Bench().ready()
    sent = len(bench.requests)
    with pytest.raises(EntryError):
        bench.entry.place(ONE, BUY, 6_000_000, 100_001, bench.now_ns)
    with pytest.raises(EntryError):
        bench.entry.replace(ONE, TWO, BUY, 0, 100_000, bench.now_ns)
    bench.pass_time(ANSWER_LIMIT_NS)
    assert len(bench.requests) == sent and bench.told == []


def test_a_mistake_of_the_host_is_not_taken_for_the_venue_s() -> None:
    """Else one request would end twice."""
    bench = Bench()

    def send_nonsense() -> None:
        bench.entry.place(ONE, BUY, 6_000_000, 1, bench.now_ns)

    bench.on_ready_do = send_nonsense
    bench.open_until("account.status")
    with pytest.raises(EntryError):
        bench.do_step()
    assert bench.entry.unreadable_frames == 0


# --- questions -----------------------------------------------------------------------------------


def test_a_question_brings_the_state_and_the_trades() -> None:
    bench = Bench().ready()
    bench.entry.ask(ONE, bench.now_ns)
    bench.answer(order("renamed-by-its-cancel", 11, "CANCELED", "0.00800000"))
    assert bench.last["method"] == "myTrades" and bench.last["params"]["orderId"] == 11
    assert bench.told == []
    bench.answer([trade(11, 1), trade(11, 2)])
    ((_, request, order_id, _, (state, *fills)),) = bench.told
    assert (request, order_id) == (Request.STATUS, ONE)
    assert (state.kind, state.state, state.client_order_id) == (Kind.STATE, State.CANCELED, NAME)
    assert [(fill.kind, fill.client_order_id) for fill in fills] == [(Kind.FILL, NAME)] * 2


def test_a_question_about_what_never_traded_is_one_request() -> None:
    bench = Bench().ready()
    bench.entry.ask(ONE, bench.now_ns)
    bench.answer(order(NAME, 11, "NEW"))
    bench.entry.ask(TWO, bench.now_ns)
    bench.refuse(NEVER)
    assert [told[4][0].kind for told in bench.told] == [Kind.STATE, Kind.FAILED]
    assert bench.told[1][4][0].error is ErrorClass.UNKNOWN_ORDER


@pytest.mark.parametrize("spoil", ["missing", "refused", "silence", "nonsense"])
def test_a_state_without_its_trades_is_no_answer(spoil: str) -> None:
    bench = Bench().ready()
    bench.entry.ask(ONE, bench.now_ns)
    bench.pass_time(ANSWER_LIMIT_NS - 1)
    bench.answer(order(NAME, 11, "FILLED", "0.00800000"))
    trades = bench.last
    if spoil == "missing":
        bench.answer([trade(11, 1)])
    elif spoil == "refused":
        bench.refuse(BROKEN)
    elif spoil == "nonsense":
        bench.answer([{"id": 1}])
    else:
        bench.pass_time(ANSWER_LIMIT_NS - 1)
        assert bench.told == []
        bench.pass_time(1)
    assert bench.told == [("unanswered", Request.STATUS, ONE, 0)]
    if spoil == "silence":
        bench.answer([trade(11, 1)], trades)
        assert [event.kind for event in bench.told[1][1]] == [Kind.FILL]


# --- trouble -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ((429, -1015, "Too many new orders."), ErrorClass.RATE_LIMITED),
        (SKEWED, ErrorClass.CLOCK_SKEW),
        (NO_PERMISSION, ErrorClass.NO_PERMISSION),
    ],
)
def test_trouble_is_told_before_the_answer_it_was_in(
    refusal: tuple[int, int, str], error: ErrorClass
) -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    bench.refuse(refusal)
    assert [told[0] for told in bench.told] == ["trouble", "answer"]
    assert bench.told[0][1] is error and bench.told[1][4][0].error is error
    assert bench.entry.state is EntryState.READY and bench.drops == []
    bench.pass_time(1)
    assert (bench.last["method"] == "time") == (error is ErrorClass.CLOCK_SKEW)


def test_trouble_in_a_half_is_trouble() -> None:
    bench = Bench().ready()
    bench.entry.replace(ONE, TWO, BUY, 6_000_000, 100_000, bench.now_ns)
    failed = {"code": -2010, "msg": NO_PERMISSION[2]}
    raw = orjson.loads(rig.halves(409, -2021, canceled(), failed, ("SUCCESS", "FAILURE")))
    bench.hear(raw | {"id": bench.last["id"]})
    assert bench.told[0] == ("trouble", ErrorClass.NO_PERMISSION, -1)


def test_a_key_that_is_revoked_ends_the_session() -> None:
    bench = Bench().ready()
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    bench.hear({"id": None, "status": 401, "error": {"code": -2015, "msg": BAD_KEYS[2]}})
    assert bench.entry.state is EntryState.BARRED
    assert [wait_ns for _, wait_ns in bench.drops] == [BARRED_NS]
    bench.entry.on_lost("dropped", bench.now_ns)
    assert bench.told == [("trouble", ErrorClass.BAD_KEYS, -1), ("lost", "dropped")]


# --- the session's life --------------------------------------------------------------------------


def test_the_clock_is_read_again_and_again() -> None:
    bench = Bench().ready()
    sent = len(bench.requests)
    bench.pass_time(CLOCK_EVERY_NS - 1)
    assert len(bench.requests) == sent
    bench.pass_time(1)
    assert bench.last["method"] == "time" and len(bench.requests) == sent + 1
    bench.answer({"serverTime": bench.now_ns // NS_PER_MS + 77})
    assert bench.entry.clock_offset_ns == 77 * NS_PER_MS
    bench.pass_time(CLOCK_EVERY_NS)
    bench.pass_time(ANSWER_LIMIT_NS)
    bench.pass_time(CLOCK_RETRY_NS)
    assert [each["method"] for each in bench.requests[sent:]] == ["time"] * 3
    bench.now_ns += 2 * NS_PER_S
    bench.answer({"serverTime": 10**12})
    assert bench.entry.clock_offset_ns == 77 * NS_PER_MS, "a slow reading was used"
    assert bench.drops == [] and bench.told == []


def test_an_old_connection_is_renewed_once() -> None:
    bench = Bench().ready()
    bench.pass_time(AGE_NS_MAX - 1)
    assert bench.renewals == []
    bench.pass_time(1)
    bench.pass_time(1)
    assert len(bench.renewals) == 1
    bench.entry.on_lost("closed", bench.now_ns)
    bench.ready()
    bench.pass_time(AGE_NS_MAX)
    assert len(bench.renewals) == 2


def test_announcements_of_the_venue() -> None:
    bench = Bench().ready()
    bench.hear(rig.SHUTDOWN)
    bench.hear(rig.SHUTDOWN)
    assert len(bench.renewals) == 1 and bench.drops == []
    bench.hear(b'{"subscriptionId":0,"event":{"e":"balanceUpdate","E":1}}')
    bench.hear(orjson.dumps(report(s="ETHBTC")))
    assert bench.told == [] and bench.drops == []
    bench.hear(b'{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1}}')
    assert len(bench.drops) == 1


def test_the_account_is_read_again_on_the_same_connection() -> None:
    bench = Bench().ready()
    bench.entry.reread(bench.now_ns)
    assert bench.entry.state is EntryState.READING and bench.told == []
    assert bench.last["method"] == "openOrders.status"
    bench.answer([order("theirs-2", 22, "NEW")])
    bench.do_step()
    bench.do_step()
    assert bench.entry.state is EntryState.READY
    ((what, opening),) = bench.told
    assert what == "ready" and [each.venue_order_id for each in opening.open_orders] == [22]
