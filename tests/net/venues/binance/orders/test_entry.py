"""Order entry at Binance once it is open: requests, answers, silence, trouble, renewal."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.maker.order_layout import BUY, SELL
from net.orders.entry import BARRED_NS
from net.orders.errors import ErrorClass
from net.orders.interface import EntryState
from net.orders.messages import EntryError, Kind, Request, State
from net.venues.binance.orders.entry import (
    ANSWER_LIMIT_NS,
    CLOCK_EVERY_NS,
    CLOCK_RETRY_NS,
    BinanceEntry,
)
from tests.net.orders import rig
from tests.net.venues.binance.orders.rig import (
    AHEAD_MS,
    BAD_KEYS,
    BROKEN,
    GONE,
    NAME,
    NEVER,
    NO_PERMISSION,
    NS_PER_MS,
    NS_PER_S,
    ONE,
    OTHER,
    SKEWED,
    TAKES,
    TWO,
    Bench,
    ack,
    canceled,
    order,
    report,
    trade,
)

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
    assert bench.last["id"] == 8
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
    bench.pass_time(BinanceEntry.age_ns_max - 1)
    assert bench.renewals == []
    bench.pass_time(1)
    bench.pass_time(1)
    assert len(bench.renewals) == 1
    bench.entry.on_lost("closed", bench.now_ns)
    bench.ready()
    bench.pass_time(BinanceEntry.age_ns_max)
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
    assert bench.told == [] and bench.last["method"] == "openOrders.status"
    bench.answer([order("theirs-2", 22, "NEW")])
    for _ in range(3):
        bench.do_step()
    assert bench.entry.state is EntryState.READY
    ((what, opening),) = bench.told
    assert what == "ready" and [each.venue_order_id for each in opening.open_orders] == [22]
