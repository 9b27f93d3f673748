"""Orders that compiled code sends, against the same ones sent by Python: equal to the last byte."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from engine.layout.layout import VENUES_MAX
from engine.maker import order_layout as O
from net.orders.compiled_requests import ActionSender
from net.orders.interface import EntryState
from net.orders.messages import EntryError, Request
from tests.net.orders import rig
from tests.net.sockets.outlet_rig import PairOutlet
from tests.net.venues.binance.orders.rig import ONE, START_NS, Bench, ack

pytestmark = pytest.mark.kernel

TICK_UNITS = 10
VENUE = 3
Action = tuple[int, int, int, int, int, int]


class Pair:
    """Two entries of one account that have sent the same so far: one by Python, one compiled."""

    def __init__(self, keys: Any = rig.ED25519) -> None:
        self.outlet = PairOutlet()
        self.python = Bench(keys).ready()
        Bench.outlet = self.outlet
        try:
            self.compiled = Bench(keys).ready()
        finally:
            Bench.outlet = None
        self.actions = np.zeros(O.actions_words(VENUES_MAX), np.int64)
        self.sender = ActionSender(self.actions)
        self.sender.attach(VENUE, self.compiled.entry.compiled, TICK_UNITS)

    def send(self, actions: list[Action], now_ns: int = START_NS, *, is_ready: bool = True) -> Any:
        """Send them by compiled code; the request numbers."""
        self.actions[: 6 * len(actions)] = np.array(actions, np.int64).ravel()
        requests = self.compiled.entry.compiled
        if requests is not None:
            requests.prepare(is_ready)
        self.sender.send(len(actions), now_ns)
        return self.sender.numbers(len(actions))

    def texts(self) -> list[bytes]:
        return self.outlet.texts()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.outlet.end()


def by_python(bench: Bench, action: Action, now_ns: int) -> None:
    kind, slot, old, new, price, lots = action
    entry, side = bench.entry, slot // O.SLOT_LEVELS & 1
    send: dict[int, Callable[[], None]] = {
        O.ACTION_SUBMIT: lambda: entry.place(new, side, price // TICK_UNITS, lots, now_ns),
        O.ACTION_TAKE: lambda: entry.take(new, side, price // TICK_UNITS, lots, now_ns),
        O.ACTION_REPLACE: lambda: entry.replace(old, new, side, price // TICK_UNITS, lots, now_ns),
        O.ACTION_CANCEL: lambda: entry.cancel(old, now_ns),
    }
    send[kind]()


def slot_of(side: int, level: int = 0, venue: int = VENUE) -> int:
    return venue * O.VENUE_SLOTS + side * O.SLOT_LEVELS + level


def drawn(rng: random.Random) -> Action:
    kind = rng.randrange(1, O.ACTION_KINDS)
    slot = slot_of(rng.randrange(2), rng.randrange(O.SLOT_LEVELS))
    old = rng.randrange(1, O.EPOCH_MAX) << 32 | rng.randrange(1, O.SEQUENCE_MAX)
    new = rng.randrange(1, O.EPOCH_MAX) << 32 | rng.randrange(1, O.SEQUENCE_MAX)
    price = TICK_UNITS * int(10 ** rng.uniform(0, 11))
    lots = 1000 * int(10 ** rng.uniform(0, 14))
    has_old, has_new = kind in (O.ACTION_CANCEL, O.ACTION_REPLACE), kind != O.ACTION_CANCEL
    return kind, slot, old * has_old, new * has_new, price * has_new, lots * has_new


def messages(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> list[bytes]:
    """What an entry hands to its wire from now on, to the byte."""
    found: list[bytes] = []
    monkeypatch.setattr(bench, "send", lambda message: found.append(bytes(message)))
    return found


def test_every_action_is_the_request_that_python_sends(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, now_ns = random.Random(7), START_NS
    expected = messages(monkeypatch, pair.python)
    for _ in range(150):
        now_ns += rng.randrange(10**10)
        actions = [drawn(rng) for _ in range(rng.randrange(1, 6))]
        numbers = pair.send(actions, now_ns)
        for action in actions:
            by_python(pair.python, action, now_ns)
        assert 0 not in numbers and numbers == sorted(set(numbers))
        assert pair.texts() == expected
        expected.clear()


def test_python_goes_on_numbering_where_compiled_code_stopped(pair: Pair) -> None:
    (number,) = pair.send([(O.ACTION_SUBMIT, slot_of(0), 0, ONE, 500, 3000)])
    pair.compiled.entry.cancel(ONE, START_NS)
    assert pair.compiled.last["id"] == number + 1
    (again,) = pair.send([(O.ACTION_CANCEL, slot_of(0), ONE, 0, 0, 0)])
    assert again == number + 2


def test_its_answer_is_awaited_like_any_other(pair: Pair) -> None:
    bench = pair.compiled
    (number,) = pair.send([(O.ACTION_SUBMIT, slot_of(0), 0, ONE, 500, 3000)], bench.now_ns)
    bench.entry.note_sent(number, Request.PLACE, ONE, 0, bench.now_ns)
    bench.answer(ack(), {"id": number})
    ((what, kind, order_id, replaced, (event,)),) = bench.told
    assert (what, kind, order_id, replaced) == ("answer", Request.PLACE, ONE, 0)
    assert event.order_id == ONE
    del bench.told[:]
    (number,) = pair.send([(O.ACTION_CANCEL, slot_of(0), ONE, 0, 0, 0)], bench.now_ns)
    bench.entry.note_sent(number, Request.CANCEL, ONE, 0, bench.now_ns)
    bench.pass_time(10**11)
    assert ("unanswered", Request.CANCEL, ONE, 0) in bench.told


@pytest.mark.parametrize(
    "bad",
    [
        (O.ACTION_SUBMIT, slot_of(1), 0, ONE, 500, 0),  # no lots
        (O.ACTION_SUBMIT, slot_of(1), 0, ONE, 505, 3000),  # between two ticks
        (O.ACTION_SUBMIT, slot_of(1), 0, 0, 500, 3000),  # no name
        (O.ACTION_REPLACE, slot_of(1), 5, ONE, 500, 3000),  # no name to replace
    ],
)
def test_what_cannot_be_written_is_pythons_and_all_behind_it(pair: Pair, bad: Action) -> None:
    """What follows it at its venue would overtake it."""
    good: Action = (O.ACTION_SUBMIT, slot_of(0), 0, ONE, 500, 3000)
    numbers = pair.send([good, bad, good])
    assert [bool(number) for number in numbers] == [True, False, False]
    assert len(pair.texts()) == 1
    (following,) = pair.send([good])
    assert following == numbers[0] + 1, "the number of what was not sent is given to the next"
    if bad[4] % TICK_UNITS == 0:
        with pytest.raises(EntryError):
            by_python(pair.compiled, bad, START_NS)


def test_a_venue_without_such_an_entry_stops_no_other(pair: Pair) -> None:
    here, there = slot_of(0), slot_of(0, venue=0)
    orders: list[Action] = [(O.ACTION_SUBMIT, slot, 0, ONE, 500, 3000) for slot in (there, here)]
    assert [bool(number) for number in pair.send(orders)] == [False, True]


def test_nothing_is_sent_while_the_entry_or_the_connection_is_not_free(pair: Pair) -> None:
    order: Action = (O.ACTION_SUBMIT, slot_of(0), 0, ONE, 500, 3000)
    assert pair.send([order], is_ready=False) == [0]
    pair.outlet.is_shut = True
    assert pair.send([order]) == [0]
    pair.outlet.is_shut = False
    assert pair.send([order]) != [0]
    pair.sender.attach(VENUE, None, TICK_UNITS)
    assert pair.send([order]) == [0]
    assert len(pair.texts()) == 1


def test_a_connection_that_fails_ends_the_entry(pair: Pair) -> None:
    bench = pair.compiled
    pair.outlet.theirs.close()
    (number,) = pair.send([(O.ACTION_SUBMIT, slot_of(0), 0, ONE, 500, 3000)], bench.now_ns)
    assert number, "it may have gone: it is awaited, and lost with the connection"
    bench.entry.note_sent(number, Request.PLACE, ONE, 0, bench.now_ns)
    assert bench.drops == [("sending failed: Broken pipe", 0)]


def test_a_key_that_signs_every_request_is_not_compiled() -> None:
    hmac = Pair(rig.HMAC)
    assert hmac.compiled.entry.compiled is None
    assert hmac.compiled.entry.state is EntryState.READY
    assert hmac.send([(O.ACTION_SUBMIT, slot_of(0), 0, ONE, 500, 3000)]) == [0]
    hmac.outlet.end()


def test_the_first_orders_stamps_are_told(pair: Pair) -> None:
    assert pair.sender.first_stamps_ns == (0, 0)
    pair.send([(O.ACTION_SUBMIT, slot_of(0), 0, ONE, 500, 3000)] * 2)
    first = pair.sender.first_stamps_ns
    assert 0 < first[0] <= first[1]
    pair.send([])
    assert pair.sender.first_stamps_ns == first
