"""When the watchdog acts, whom it cancels, and when it believes that it is done.

No I/O: the board, the clock and the venue are the test's.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.maker.client_ids import format_client_id
from engine.maker.state_board import StateBoardError, StateBoardReader
from net.config.schema import parse_config
from net.orders.errors import ErrorClass, Refusal
from net.orders.interface import EntryState, Opening
from net.orders.messages import Kind, Market, OrderEvent, OrderRequest, Request, State
from net.orders.sweep import READ_AGAIN_NS
from net.watchdog.heartbeat import LOOK_COUNTS_NS_MAX, HeartbeatMonitor
from net.watchdog.options import WatchdogError, WatchdogOptions
from net.watchdog.watchdog import GIVE_UP_NS, PRESS_LIMIT_MS, TERMINATED, Phase, Watchdog

MS, S = 10**6, 10**9
LOOK_NS = 50 * MS
AFTER_NS = 800 * MS
EPOCH = 1_700_000_000
A, B, EARLIER = EPOCH << 32 | 1, EPOCH << 32 | 2, (EPOCH - 5) << 32 | 1
LATER = (EPOCH + 1) << 32 | 1
"""Of a market maker that was started since."""


class Board:
    """What the engine shows."""

    def __init__(self) -> None:
        self.info = SimpleNamespace(venues=("binance", "bitstamp"))
        self.heartbeat_ns = 1
        self.is_closed = False
        self.is_writable = True
        self.kills_asked = self.kills_done = 0
        self.orders: list[tuple[int, int]] | None = [(0, A), (1, B)]

    def read(self) -> Any:
        if self.orders is None:
            raise StateBoardError("nothing yet")
        return SimpleNamespace(orders=[SimpleNamespace(venue=v, id=i) for v, i in self.orders])

    def request_kill(self) -> int:
        if not self.is_writable:
            raise StateBoardError("may read it, but ask for nothing")
        self.kills_asked += 1
        return self.kills_asked


class Entry:
    """A venue that is asked, and says nothing by itself."""

    can_replace, settle_ns = False, S
    compiled = None

    def __init__(self) -> None:
        self.state = EntryState.READY
        self.cancels: list[int] = []
        self.asks: list[int] = []
        self.readings = 0

    def cancel(self, order_id: int, now_ns: int) -> None:
        assert self.state is EntryState.READY
        self.cancels.append(order_id)

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        for order_id in order_ids:
            self.cancel(order_id, now_ns)

    def ask(self, order_id: int, now_ns: int) -> None:
        assert self.state is EntryState.READY
        self.asks.append(order_id)

    audit_every_ns = 0

    def read_transfers(self, asset: str, since_ns: int, now_ns: int) -> None: ...

    def audit(self, now_ns: int) -> None:
        raise AssertionError("a watchdog audits nothing")

    def note_sent(self, *_: object) -> None:
        raise AssertionError("nothing is sent by compiled code")

    def reread(self, now_ns: int) -> None:
        assert self.state is EntryState.READY
        self.state = EntryState.READING
        self.readings += 1

    def place(self, *_: object) -> None:
        raise AssertionError("a watchdog places nothing")

    take = replace = place

    def on_timer(self, now_ns: int) -> None:
        """Time passes."""


class World:
    """A guard, and all that it sees."""

    def __init__(self) -> None:
        self.board, self.is_gone = Board(), False
        self.steady_ns = 0
        self.is_beating = True
        self.said: list[str] = []
        board = cast(StateBoardReader, self.board)
        self.guard = Watchdog(board, EPOCH, AFTER_NS, lambda: self.is_gone, self.log, 0, lambda: 0)
        self.entries = (Entry(), Entry())
        for venue, entry in enumerate(self.entries):
            self.guard.attach(venue, entry)

    def log(self, level: str, event: str, **facts: object) -> None:
        self.said.append(event)

    def run(self, for_ns: int, *, is_terminated: bool = False) -> int | None:
        """Look as often as the process does; the exit status, if it comes."""
        end_ns = self.steady_ns + for_ns
        while self.steady_ns < end_ns:
            self.steady_ns += LOOK_NS
            self.board.heartbeat_ns += self.is_beating
            status = self.guard.on_timer(self.steady_ns, is_terminated=is_terminated)
            if status is not None:
                return status
        return None

    def is_in(self, phase: Phase) -> bool:
        return self.guard.phase is phase

    def hang(self) -> None:
        """The engine stands still until this is noticed."""
        self.is_beating = False
        assert self.run(AFTER_NS + 2 * LOOK_NS) is None
        assert self.is_in(Phase.CLEARING)

    def answer(self, venue: int, order_id: int, *, error: ErrorClass = ErrorClass.NONE) -> None:
        kind = Kind.FAILED if error is not ErrorClass.NONE else Kind.CANCELED
        state = State.UNKNOWN if kind is Kind.FAILED else State.CANCELED
        event = OrderEvent(kind, state, "M", format_client_id(order_id), error=error)
        self.guard.on_answer(venue, OrderRequest(Request.CANCEL, order_id), (event,), 0)

    def read(self, venue: int, *names: str) -> None:
        """The account has been read: these are open."""
        self.entries[venue].state = EntryState.READY
        orders = tuple(OrderEvent(Kind.STATE, State.OPEN, "M", name) for name in names)
        self.guard.on_ready(venue, Opening(orders, (), ()), 0)

    def clear(self) -> int | None:
        """The venues do all that they are asked, until it is believed; the exit status."""
        self.answer(0, A)
        self.answer(1, B)
        for _ in range(2):
            status = self.run(LOOK_NS)
            self.read(0)
            self.read(1)
            status = status if status is not None else self.run(READ_AGAIN_NS)
        return status


@pytest.fixture
def world() -> World:
    return World()


# --- the pulse -----------------------------------------------------------------------------------


def test_only_time_that_was_looked_at_counts() -> None:
    pulse = HeartbeatMonitor(7, 0)
    assert pulse.look(7, LOOK_NS) == LOOK_NS
    assert pulse.look(7, 3600 * S) == LOOK_NS + LOOK_COUNTS_NS_MAX, "we were asleep ourselves"
    assert pulse.look(8, 3601 * S) == 0
    assert pulse.look(8, 3601 * S + LOOK_NS) == LOOK_NS


# --- when ----------------------------------------------------------------------------------------


def test_a_heart_that_beats_is_left_alone(world: World) -> None:
    assert world.run(60 * S, is_terminated=True) is None, "a signal does not end it"
    assert all(e.cancels == [] and e.readings == 0 for e in world.entries)
    assert world.board.kills_asked == 0


def test_it_waits_as_long_as_it_was_told(world: World) -> None:
    world.is_beating = False
    world.run(AFTER_NS)
    assert world.is_in(Phase.WATCHING)
    world.run(2 * LOOK_NS)
    assert [entry.cancels for entry in world.entries] == [[A], [B]]
    assert world.board.kills_asked == 1, "it is the first thing that the engine finds"


def test_a_process_that_is_gone_is_not_waited_for(world: World) -> None:
    world.is_gone = True
    world.run(LOOK_NS)
    assert [entry.cancels for entry in world.entries] == [[A], [B]]
    assert world.board.kills_asked == 0


@pytest.mark.parametrize("is_gone", [False, True])
def test_an_end_in_order_is_the_end(world: World, is_gone: bool) -> None:
    world.board.orders, world.board.is_closed, world.is_gone = [], True, is_gone
    assert world.run(LOOK_NS) == 0
    assert world.said == []


def test_an_engine_that_failed_and_left_orders_is_no_end_in_order(world: World) -> None:
    world.board.is_closed = True
    assert world.run(LOOK_NS) is None
    assert [entry.cancels for entry in world.entries] == [[A], [B]]
    assert world.clear() == 0


def test_a_hung_engine_that_dies_is_cleared_after_once_more(world: World) -> None:
    world.hang()
    assert world.clear() is None and world.is_in(Phase.CLEAR)
    world.is_gone = True  # it may have done something between two beats
    assert world.run(LOOK_NS) is None
    assert world.is_in(Phase.CLEARING)
    assert world.clear() == 0


def test_an_engine_that_comes_back_has_taken_the_kill(world: World) -> None:
    world.hang()
    world.is_beating = True
    world.run(S)
    assert world.is_in(Phase.CLEARING), "it has not halted yet"
    world.board.kills_done = 1
    world.run(LOOK_NS)
    assert world.is_in(Phase.WATCHING)
    assert "the engine is back: quoting is halted until it is released" in world.said
    before = len(world.entries[0].cancels)
    assert world.run(60 * S) is None and len(world.entries[0].cancels) == before
    world.hang()
    assert world.board.kills_asked == 2 and len(world.entries[0].cancels) == before + 1


def test_a_board_that_cannot_be_written_or_read_does_not_stop_it(world: World) -> None:
    world.board.is_writable, world.board.orders = False, None
    world.hang()
    world.run(LOOK_NS)
    assert all(entry.readings == 1 for entry in world.entries), "the venues know"
    assert "a halt of quoting cannot be asked for" in world.said


# --- clearing ------------------------------------------------------------------------------------


def test_it_believes_two_clean_readings_of_its_own(world: World) -> None:
    world.is_gone = True
    world.run(LOOK_NS)
    world.answer(0, A)
    world.answer(1, B, error=ErrorClass.UNKNOWN_ORDER)
    world.run(LOOK_NS)
    assert [entry.readings for entry in world.entries] == [1, 1]
    world.read(0)
    world.read(1)
    assert world.run(READ_AGAIN_NS - LOOK_NS) is None
    assert [entry.readings for entry in world.entries] == [1, 1], "not so soon"
    assert world.run(2 * LOOK_NS) is None
    world.read(0)
    assert world.run(S) is None, "one venue is not both"
    world.read(1)
    assert world.run(LOOK_NS) == 0
    assert world.said[-1] == "no order of ours is open"


def test_what_a_reading_shows_of_ours_goes_and_nothing_else(world: World) -> None:
    world.board.orders = []
    world.is_gone = True
    world.run(LOOK_NS)
    theirs = [format_client_id(LATER), "by-hand-1", ""]
    world.read(0, format_client_id(EARLIER), *theirs)
    world.run(LOOK_NS)
    assert world.entries[0].cancels == [EARLIER]
    world.answer(0, EARLIER)
    for _ in range(2):
        world.run(READ_AGAIN_NS + LOOK_NS)
        world.read(0, *theirs)
        world.read(1)
    assert world.run(LOOK_NS) == 0
    assert world.entries[0].cancels == [EARLIER]


def test_an_order_that_turns_up_late_starts_the_readings_anew(world: World) -> None:
    world.board.orders = []
    world.is_gone = True
    world.run(LOOK_NS)
    world.read(0)
    world.run(READ_AGAIN_NS + LOOK_NS)
    world.read(0, format_client_id(A))
    world.run(LOOK_NS)
    world.answer(0, A)
    readings = world.entries[0].readings
    for again in (1, 2):
        world.run(READ_AGAIN_NS + LOOK_NS)
        assert world.entries[0].readings == readings + again
        world.read(0)


def test_a_reading_after_a_break_proves_nothing(world: World) -> None:
    world.board.orders = []
    world.is_gone = True
    world.run(LOOK_NS)
    world.guard.on_entry_lost(0, "broken", 0)
    world.read(0)  # of the new connection: maybe older than our cancels
    world.run(LOOK_NS)
    assert world.entries[0].readings == 2, "asked anew, at once"


def test_what_is_not_answered_is_cancelled_again_and_asked_after(world: World) -> None:
    world.is_gone = True
    world.run(LOOK_NS)
    world.answer(0, A, error=ErrorClass.RATE_LIMITED)
    world.guard.on_unanswered(1, OrderRequest(Request.CANCEL, B), 0)
    world.run(60 * S)
    for entry, order_id in zip(world.entries, (A, B), strict=True):
        assert len(entry.cancels) >= 60_000 // PRESS_LIMIT_MS and set(entry.cancels) == {order_id}
        assert len(entry.asks) == len(entry.cancels) - 1
        assert len(entry.cancels) < 60, "with waits that grow"
    gone = OrderEvent(Kind.STATE, State.FILLED, "M", format_client_id(A))
    world.guard.on_answer(0, OrderRequest(Request.STATUS, A), (gone,), 0)
    world.run(LOOK_NS)
    assert world.entries[0].readings == 1


def test_a_venue_that_cannot_be_reached_is_cleared_when_it_can(world: World) -> None:
    world.entries[1].state = EntryState.DISCONNECTED
    world.is_gone = True
    world.run(60 * S)
    assert world.entries[0].cancels != [] and world.entries[1].cancels == []
    world.read(1, format_client_id(B))
    world.run(LOOK_NS)
    assert world.entries[1].cancels == [B]


def test_a_venue_that_wants_to_be_left_alone_is(world: World) -> None:
    world.guard.on_trouble(1, Refusal(ErrorClass.RATE_LIMITED, "slow down", 5 * S), 0)
    world.is_gone = True
    world.run(4 * S)
    assert world.entries[1].cancels == [] and world.entries[0].cancels != []
    world.run(2 * S)
    assert world.entries[1].cancels == [B]


def test_it_gives_up_in_the_end_and_says_what_may_be_open(world: World) -> None:
    world.is_gone = True
    world.run(LOOK_NS)
    world.answer(0, A)
    world.steady_ns += GIVE_UP_NS
    assert world.run(LOOK_NS) is None, "its host slept: nothing was tried meanwhile"
    assert world.run(GIVE_UP_NS) == 1
    assert "given up: orders may be open" in world.said
    assert world.guard.unconfirmed() == [
        "binance: not confirmed",
        f"bitstamp: {format_client_id(B)}",
    ]


def test_a_hung_engine_is_not_given_up_and_a_signal_ends_the_watch_when_all_is_clear(
    world: World,
) -> None:
    world.hang()
    world.steady_ns += GIVE_UP_NS
    assert world.run(LOOK_NS) is None
    assert world.clear() is None
    assert world.run(LOOK_NS, is_terminated=True) == TERMINATED


def test_it_is_ready_when_every_venue_was(world: World) -> None:
    world.read(0)
    assert not world.guard.has_been_ready
    world.read(1)
    world.guard.on_entry_lost(1, "broken", 0)
    assert world.guard.has_been_ready


# --- what it is told -----------------------------------------------------------------------------

CONFIG = """
[[instrument]]
symbol = "BTC-USD"
  [[instrument.venue]]
  name = "bitstamp"
  symbol = "btcusd"
[engine]
cpu = 1
[maker]
orders = "live"
[maker.quotes]
size = "0.01"
[maker.risk]
order_size_max = "1"
order_value_max = "1000"
position_max = "5"
exposure_max = "1000"
daily_loss_max = "10"
[maker.venue.bitstamp]
weight = 2.0
"""


def test_options_survive_the_way() -> None:
    market = Market("btcusd", "BTC", "USD", "0.01", "0.00000001")
    config = parse_config(CONFIG, "test")
    options = WatchdogOptions.of(7, EPOCH, config, {"BTC-USD": {"bitstamp": market}})
    there = WatchdogOptions.from_json(options.to_json())
    assert there == options and there.config == config
    assert there.made_markets("BTC-USD") == {"bitstamp": market}


@pytest.mark.parametrize(
    ("text", "said"), [("{", "options: "), ('{"parent_pid": 0}', "parent_pid: ")]
)
def test_options_without_sense_are_one_line(text: str, said: str) -> None:
    with pytest.raises(WatchdogError) as caught:
        WatchdogOptions.from_json(text)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)
