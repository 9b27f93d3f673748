"""Market makers that step in the spin, against the same ones stepped by Python."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from bench.load.order_venue import ANSWERS
from engine.compiling.jit import JIT_OFF
from engine.layout.status import APPLIED
from net.maker import turn_rehearsal as TR
from net.orders.interface import EntryState
from net.venues.binance.orders.entry import BinanceEntry
from tests.net.maker.test_makers import BASES, NOW_NS, Desk, market
from tests.net.orders import rig
from tests.net.sockets.outlet_rig import PairOutlet
from tuning.clock import steady_ns

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(JIT_OFF, reason="without the JIT no kernel has an address"),
]

_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)


class Wire:
    """A venue that answers every request of the opening at once, and no order."""

    def __init__(self) -> None:
        self.outlet = PairOutlet()
        self.entry: BinanceEntry | None = None
        self.sent: list[dict[str, Any]] = []
        self.drops: list[str] = []

    def send(self, message: bytes | bytearray) -> None:
        request = orjson.loads(message)
        self.sent.append(request)

    def open(self, now_ns: int) -> None:
        """Answer until orders may be sent."""
        assert self.entry is not None
        while self.entry.state is not EntryState.READY:
            self._answer(self.sent.pop(0), now_ns)
        del self.sent[:]

    def accept(self, now_ns: int) -> int:
        """Accept the orders that have come; how many."""
        requests = [orjson.loads(text) for text in self.outlet.texts()]
        for request in requests:
            self._answer(request, now_ns)
        return len(requests)

    def _answer(self, request: dict[str, Any], now_ns: int) -> None:
        assert self.entry is not None
        build = ANSWERS.get(request["method"])
        result = build(request.get("params", {})) if build is not None else {}
        if isinstance(result, dict) and "symbol" in result:
            result["symbol"] = request["params"]["symbol"]
        answer = {"id": request["id"], "status": 200, "result": result}
        self.entry.on_text(orjson.dumps(answer), now_ns)

    def renew(self, reason: str) -> None:
        raise AssertionError(reason)

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        self.drops.append(reason)

    def orders(self) -> list[dict[str, Any]]:
        """What compiled code has sent since, but for the time and the number of the request."""
        found = [orjson.loads(text) for text in self.outlet.texts()]
        for request in found:
            del request["id"], request["params"]["timestamp"]
        return found


class LiveDesk(Desk):
    """Both market makers live at one venue; each its own connection."""

    def __init__(self) -> None:
        super().__init__("live")
        self.wires = [Wire(), Wire()]
        self._best = 60_000
        now_ns = steady_ns()
        bases = "BTC", "ETH"
        for base, wire, maker in zip(bases, self.wires, self.both, strict=True):
            wire.entry = BinanceEntry(0, market(base).market, rig.ED25519, wire, maker)
            maker.attach(0, wire.entry)
            wire.entry.on_open(now_ns)
            wire.open(now_ns)
        self.makers.guard(True)
        self.makers.on_timer(now_ns)
        self.frame(0, "2.0")
        self.frame(1, "2.0")
        self.makers.on_frame(steady_ns())
        assert all(wire.accept(steady_ns()) for wire in self.wires), "each has quoted"
        for wire in self.wires:
            del wire.sent[:]  # an audit's questions

    def move(self, index: int) -> None:
        """Both sides go up by a hundred: what is quoted has to follow."""
        self._best += 100
        self._ids[index] += 1
        number = self._ids[index]
        text = (
            f'{{"stream":"{BASES[index].lower()}usdt@depth","data":{{"e":"depthUpdate","E":1,'
            f'"s":"{BASES[index]}USDT","U":{number},"u":{number},'
            f'"b":[["{self._best}.00","1.0"]],'
            f'"a":[["{self._best - 90}.00","0"],["{self._best + 10}.00","1.0"]]}}}}'
        )
        assert self._handle(text.encode(), NOW_NS, 1) == APPLIED

    def spin(self) -> int:
        """What the spin does after a frame; how many were stepped."""
        return int(_FUNCTION(self.makers.function)(self.makers.address, 0, 0, 0, 0, 0))

    def rehearse(self) -> int:
        """What the spin does while nothing comes; how many were rehearsed."""
        turn = _FUNCTION(self.makers.function)
        return int(turn(self.makers.address, 1, steady_ns(), 0, 0, 0))

    def words(self) -> list[Any]:
        """Every word of both market makers, of their connections and of the engine."""
        found = [self.engine.arena]
        for maker, wire in zip(self.both, self.wires, strict=True):
            assert wire.entry is not None and wire.entry.compiled is not None
            found += [*maker._step.parts().values(), maker._step._words, wire.outlet.words]
            found += [wire.entry._pending.last_number, wire.entry.compiled._words]
            found += [maker.sender.compiled._words, maker.sender.compiled._numbers]
        return [each.copy() for each in found]

    def orders(self) -> list[list[dict[str, Any]]]:
        return [wire.orders() for wire in self.wires]

    def state(self) -> list[Any]:
        """What is remembered of each one's orders, and what is journaled."""
        sent = [
            {
                order_id: (each.slot, each.price, each.lots, each.state)
                for order_id, each in maker.orders.sent.items()
            }
            for maker in self.both
        ]
        return [sent, [(r.kind, r.order, r.instrument, r.lots) for r in self.journal.all]]

    def end(self) -> None:
        for wire in self.wires:
            wire.outlet.end()


@pytest.fixture
def desks() -> Iterator[tuple[LiveDesk, LiveDesk]]:
    made = LiveDesk(), LiveDesk()
    yield made
    for desk in made:
        desk.end()


def test_a_step_in_the_spin_is_the_step_of_python(desks: tuple[LiveDesk, LiveDesk]) -> None:
    spinning, python = desks
    for desk in desks:
        desk.move(1)
        assert desk.makers.due[0] == 2
    spinning.makers.prepare()
    assert spinning.spin() == 1, "the one whose instrument was touched"
    orders = spinning.orders()
    assert not orders[0] and orders[1], "sent before Python hears of it"
    spinning.makers.settle()
    python.makers.on_frame(steady_ns())
    assert python.orders() == orders
    assert spinning.state() == python.state()
    assert spinning.makers.due[0] == python.makers.due[0] == 0
    for wire in spinning.wires + python.wires:
        assert not wire.sent and not wire.drops, "Python has sent nothing"


def test_it_is_settled_once(desks: tuple[LiveDesk, LiveDesk]) -> None:
    desk = desks[0]
    desk.move(1)
    desk.makers.prepare()
    desk.spin()
    desk.makers.settle()
    after = desk.state()
    desk.makers.settle()
    desk.makers.on_frame(steady_ns())
    assert desk.state() == after


def test_what_the_spin_could_not_send_is_sent_after_it(desks: tuple[LiveDesk, LiveDesk]) -> None:
    desk, python = desks
    desk.wires[1].outlet.is_shut = True
    for each in desks:
        each.move(1)
    desk.makers.prepare()
    assert desk.spin() == 1 and not any(desk.orders())
    desk.makers.settle()
    python.makers.on_frame(steady_ns())
    late = desk.wires[1].sent
    for request in late:
        del request["id"], request["params"]["timestamp"]
    assert late == python.orders()[1] and late
    assert desk.state() == python.state()


def test_one_that_is_not_armed_is_pythons(desks: tuple[LiveDesk, LiveDesk]) -> None:
    desk = desks[0]
    paper = Desk()
    paper.makers.on_timer(steady_ns())
    paper.frame(1, "2.0")
    paper.makers.prepare()
    step = _FUNCTION(paper.makers.function)
    assert step(paper.makers.address, 0, 0, 0, 0, 0) == 0, "paper is asked before a step"
    assert paper.makers.due[0] == 2
    desk.frame(2, "2.0")
    desk.makers.prepare()
    assert desk.spin() == 0, "nobody quotes it"


def test_a_rehearsal_moves_every_order_and_changes_nothing(
    desks: tuple[LiveDesk, LiveDesk],
) -> None:
    desk = desks[0]
    desk.makers.prepare()
    before = desk.words()
    for _ in range(4):
        assert desk.rehearse() == 1
    for left, right in zip(before, desk.words(), strict=True):
        assert (left == right).all()
    assert not any(desk.orders()) and not any(wire.sent for wire in desk.wires)
    decided = [
        int(each.words[TR.REHEARSAL_ACTIONS]) for each in desk.makers._turn._rehearsals.values()
    ]
    assert decided == [2, 2], "both orders of both"
    assert not desk.makers._turn.is_unsettled and desk.makers.due[0] == 0


def test_one_that_is_not_armed_is_not_rehearsed() -> None:
    paper = Desk()
    paper.makers.on_timer(steady_ns())
    paper.makers.prepare()
    assert _FUNCTION(paper.makers.function)(paper.makers.address, 1, steady_ns(), 0, 0, 0) == 0
