"""An audit of the account at Binance: beside everything else, and harmless where it fails."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.maker.order_layout import BUY
from net.orders.interface import EntryNote, EntryState
from net.venues.binance.orders.entry import OPENING_LIMIT_NS
from tests.net.orders import rig
from tests.net.venues.binance.orders.rig import BROKEN, NAME, ONE, Bench, ack, order, trade

AUDIT = ["openOrders.status", "myTrades", "account.status"]


def asked_audit(bench: Bench) -> list[dict[str, Any]]:
    """Ask for one; its requests."""
    before = len(bench.requests)
    bench.entry.audit(bench.now_ns)
    bench.entry.audit(bench.now_ns)
    requests = bench.requests[before:]
    assert [each["method"] for each in requests] == AUDIT, "one at a time"
    return requests


def answer_audit(bench: Bench, requests: list[dict[str, Any]]) -> None:
    answers: list[Any] = [
        [order(NAME, 9, "NEW")],
        [trade(9, 5), trade(8, 4)],
        orjson.loads(rig.ANSWER_ACCOUNT)["result"],
    ]
    for request, answer in zip(requests, answers, strict=True):
        bench.answer(answer, request)


def test_an_audit_reads_the_account_beside_everything_else() -> None:
    bench = Bench().ready()
    requests = asked_audit(bench)
    assert requests[1]["params"]["limit"] == 50
    bench.entry.place(ONE, BUY, 6_000_000, 100_000, bench.now_ns)
    place = bench.last
    answer_audit(bench, requests)
    ((what, reading),) = bench.told
    assert what == "audit" and bench.entry.state is EntryState.READY
    assert [each.client_order_id for each in reading.open_orders] == [NAME]
    assert [each.client_order_id for each in reading.trades] == [NAME, None]
    assert [each.asset for each in reading.balances] == ["BTC", "USDT"]
    bench.answer(ack(), place)
    assert bench.told[-1][0] == "answer"
    answer_audit(bench, asked_audit(bench))
    assert bench.told[-1][0] == "audit"


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("how", ["refused", "nonsense", "late"])
def test_an_audit_that_fails_is_told_and_harms_nothing(at: int, how: str) -> None:
    bench = Bench().ready()
    requests = asked_audit(bench)
    if how == "refused":
        bench.refuse(BROKEN, requests[at])
    elif how == "nonsense":
        bench.answer([7], requests[at])
    else:
        bench.pass_time(OPENING_LIMIT_NS)
    assert bench.told == [] and bench.drops == [] and bench.entry.state is EntryState.READY
    assert bench.notes.count(EntryNote.AUDIT_FAILED) == 1
    answer_audit(bench, requests)
    assert bench.told == [], "what is left of it proves nothing"
    answer_audit(bench, asked_audit(bench))
    assert [what for what, *_ in bench.told] == ["audit"]


def test_an_audit_ends_with_its_connection() -> None:
    bench = Bench().ready()
    asked_audit(bench)
    bench.entry.on_lost("gone", bench.now_ns)
    bench.entry.audit(bench.now_ns)
    assert bench.told == [("lost", "gone")]
    bench.open_until("account.status")
    bench.do_step()
    answer_audit(bench, asked_audit(bench))
    assert [what for what, *_ in bench.told] == ["lost", "ready", "audit"]
