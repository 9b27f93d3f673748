"""A venue that answers late, twice, wrongly or never: every request still ends exactly once."""

from __future__ import annotations

import random

import orjson
import pytest

from engine.maker.order_layout import BUY
from net.orders.interface import EntryState
from net.orders.messages import Request
from net.venues.binance.orders.entry import ANSWER_LIMIT_NS, RECV_WINDOW_MS
from tests.net.orders.test_hostile import break_message
from tests.net.venues.binance.orders.rig import (
    BAD_KEYS,
    BROKEN,
    EPOCH,
    GONE,
    NS_PER_MS,
    SKEWED,
    Bench,
    ack,
    canceled,
    order,
    report,
    trade,
)

STEPS = 400


class Chaos:
    """One seed's venue and market maker."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.bench = Bench().ready()
        self.order_id = EPOCH
        self.open: dict[tuple[Request, int], int] = {}
        """What has been sent and has not ended, and when it was sent."""
        self.ended = 0
        self.waiting: list[bytes] = []
        """What the venue has in hand and may send, once, twice or broken."""
        self.seen = self.dropped = 0

    def run(self) -> None:
        steps = [self.ask_something] * 4 + [self.say_something] * 6 + [self.pass_time] * 2
        for _ in range(STEPS):
            if self.chance.random() < 0.005:
                self.lose()
            self.chance.choice(steps)()
            self.look()
        for _ in range(3):
            self.bench.pass_time(ANSWER_LIMIT_NS)
            self.look()
        assert self.open == {}, "a request without an end"

    def ask_something(self) -> None:
        bench, entry = self.bench, self.bench.entry
        self.order_id += 2
        old, new = self.order_id, self.order_id + 1
        kind = self.chance.choice([Request.PLACE, Request.CANCEL, Request.REPLACE, Request.STATUS])
        self.open[kind, new] = bench.now_ns
        if kind is Request.PLACE:
            entry.place(new, BUY, 6_000_000, 100_000, bench.now_ns)
        elif kind is Request.CANCEL:
            entry.cancel(new, bench.now_ns)
        elif kind is Request.REPLACE:
            entry.replace(old, new, BUY, 6_000_000, 100_000, bench.now_ns)
        else:
            entry.ask(new, bench.now_ns)
        self.prepare(bench.last)

    def prepare(self, request: dict[str, object]) -> None:
        """Answers that a venue could give to the latest request, right or wrong."""
        params = request.get("params")
        assert isinstance(params, dict)
        name = str(params.get("newClientOrderId") or params.get("origClientOrderId") or "")
        result = {
            "order.place": ack(name),
            "order.cancel": canceled(name),
            "order.status": order(name, 9, "FILLED", self.chance.choice(["0", "0.004", "0.008"])),
            "myTrades": [trade(9, 1)],
        }.get(str(request["method"]), {"cancelResult": "SUCCESS", "newOrderResult": "SUCCESS"})
        if self.chance.random() < 0.4:
            status, code, text = self.chance.choice([BROKEN, GONE, SKEWED, BAD_KEYS])
            answer = {"status": status, "error": {"code": code, "msg": text}}
        else:
            answer = {"status": 200, "result": result}
        self.waiting.append(orjson.dumps({"id": request["id"], **answer}))

    def say_something(self) -> None:
        self.waiting.append(orjson.dumps(report(t=self.chance.randrange(10**6))))
        raw = self.chance.choice(self.waiting)
        if self.chance.random() < 0.7:
            self.waiting.remove(raw)
        if self.chance.random() < 0.1:
            raw = break_message(raw, self.chance.randrange(2**32))
        sent = len(self.bench.requests)
        self.bench.hear(raw)
        if len(self.bench.requests) > sent:  # the trades of an order
            self.prepare(self.bench.last)

    def pass_time(self) -> None:
        self.bench.pass_time(self.chance.randrange(RECV_WINDOW_MS) * NS_PER_MS)
        if self.bench.last["method"] == "time":
            self.bench.do_step()

    def look(self) -> None:
        """What the host has been told since; then the line does what it was told."""
        for what, *told in self.bench.told[self.seen :]:
            if what in ("answer", "unanswered"):
                del self.open[told[0], told[1]]  # KeyError: ended twice, or never sent
                self.ended += 1
        self.seen = len(self.bench.told)
        oldest_ns = min(self.open.values(), default=self.bench.now_ns)
        assert self.bench.now_ns - oldest_ns <= 3 * ANSWER_LIMIT_NS, "one that is waited for still"
        if len(self.bench.drops) > self.dropped:
            self.lose()

    def lose(self) -> None:
        self.bench.entry.on_lost("for the test", self.bench.now_ns)
        assert self.bench.entry.state is not EntryState.READY
        self.open.clear()
        self.bench.ready()
        self.seen, self.dropped = 0, len(self.bench.drops)


@pytest.mark.parametrize("seed", range(12))
def test_every_request_ends_once(seed: int) -> None:
    chaos = Chaos(seed)
    chaos.run()
    assert chaos.ended > STEPS / 20


def test_it_has_everything_in_it() -> None:
    """Else the test above would prove little."""
    benches = []
    for seed in range(5):
        chaos = Chaos(seed)
        chaos.run()
        benches.append(chaos.bench)
    assert sum(bench.entry.late_answers for bench in benches) > 5
    assert sum(bench.entry.unmatched_answers for bench in benches) > 5
    assert sum(bench.entry.unreadable_frames for bench in benches) > 5
    assert sum(len(bench.drops) for bench in benches) > 5
