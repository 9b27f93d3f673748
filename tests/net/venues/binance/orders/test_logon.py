"""From a connection to Binance to orders: every step, and what can go wrong in it."""

from __future__ import annotations

import pytest

from net.orders.entry import BARRED_NS, LIMIT_WAIT_NS
from net.orders.errors import ErrorClass
from net.orders.interface import EntryNote, EntryState
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.binance.orders.entry import (
    OPENING_LIMIT_NS,
    SKEW_FIRST_NS,
    SKEW_NS_MAX,
)
from tests.net.orders import rig
from tests.net.venues.binance.orders.rig import (
    AHEAD_MS,
    BAD_KEYS,
    BROKEN,
    NAME,
    NO_PERMISSION,
    NS_PER_MS,
    NS_PER_S,
    SKEWED,
    Bench,
    commission,
    report,
    trade,
)

LOGGED_ON = ["time", "session.logon", "userDataStream.subscribe"]
SIGNED = ["time", "userDataStream.subscribe.signature"]
READ = ["openOrders.status", "myTrades", "account.commission", "account.status"]
METHODS = [*LOGGED_ON, *READ]
COMMISSION = "account.commission"
"""Without permission for it alone the venue is quoted all the same."""


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
    assert [event.client_order_id for event in opening.trades] == [NAME, None]
    assert [each.asset for each in opening.balances] == ["BTC", "USDT"]
    assert opening.maker_fee_ppm == 750


def test_the_fee_is_that_of_all_commissions_together_and_of_the_dearer_side() -> None:
    bench = Bench()
    bench.open_until("account.commission")
    more = {"tax_maker": "0.00000128", "special_buyer": "0.00001", "tax_seller": "0.00002"}
    bench.answer(commission("0.00100000", **more))
    bench.do_step()
    ((_, opening),) = bench.told
    # 1000 + 1.28 + 20 millionths, each rounded up: the discount ends with the asset it is paid in.
    assert opening.maker_fee_ppm == 1_000 + 2 + 20


@pytest.mark.parametrize(
    "refusal", [NO_PERMISSION, (400, -1020, "This operation is not supported.")]
)
def test_a_venue_that_refuses_to_tell_its_fees_is_quoted_all_the_same(
    refusal: tuple[int, int, str],
) -> None:
    bench = Bench()
    bench.open_until("account.commission")
    bench.refuse(refusal)
    bench.do_step()
    ((what, opening),) = bench.told
    assert (what, opening.maker_fee_ppm) == ("ready", None)


@pytest.mark.parametrize(
    "told", [{}, commission() | {"symbol": "ETHUSDT"}, commission("a tenth")], ids=str
)
def test_fees_that_make_no_sense_end_the_opening(told: dict[str, object]) -> None:
    bench = Bench()
    bench.open_until("account.commission")
    bench.answer(told)
    assert bench.drops and not bench.told


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
@pytest.mark.parametrize("method", [each for each in METHODS[1:] if each != COMMISSION])
def test_who_is_not_accepted_does_not_ask_again_soon(
    method: str, refusal: tuple[int, int, str]
) -> None:
    bench = Bench()
    bench.open_until(method)
    bench.refuse(refusal)
    assert bench.entry.state is EntryState.BARRED
    assert [wait_ns for _, wait_ns in bench.drops] == [BARRED_NS]
    assert [what for what, *_ in bench.told] == ["trouble"]
    assert EntryNote.BARRED in bench.notes
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
        assert bench.last["method"] == "time"
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


def test_the_trades_of_another_connection_s_orders_have_their_names() -> None:
    bench = Bench().ready()
    bench.hear(report(i=31))
    bench.entry.on_lost("", bench.now_ns)
    bench.open_until("myTrades")
    bench.answer([trade(31, 1), trade(32, 2)])
    bench.do_step()
    bench.do_step()
    assert [event.client_order_id for event in bench.told[-1][1].trades] == [NAME, None]
