"""Hundreds of seeds; and market makers broken on purpose, which the first few must catch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import order_layout as O
from engine.maker.order_layout import BUY, SELL
from net.maker.fees import NO_FEE
from net.maker.own_orders import side_of
from net.maker.recovery import Memory
from net.orders.interface import Opening
from net.orders.messages import OrderEvent, OrderRequest, Request, Style
from net.venues.binance.orders.requests import BinanceRequests, PlaceTemplate
from tests.trading.__main__ import main
from tests.trading.faults import FAULTS
from tests.trading.life import Life, Report, SeedFailedError
from tests.trading.network import LinkOutlet
from tests.trading.world import World

pytestmark = pytest.mark.usefixtures("compiled_kernels")

SEEDS = 6 if JIT_OFF else 12 if BOUNDS_CHECKED else 500
"""As many again are in test_more_seeds.py: files of tests run beside each other."""
BATCHES = 1 if JIT_OFF else 10
CANARY_SEEDS = 40
"""A broken market maker must not survive so many."""

_reports: list[Report] = []


@pytest.mark.kernel
@pytest.mark.parametrize("batch", range(BATCHES))
def test_seeds(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        _reports.append(World(seed).run())


@pytest.mark.skipif(JIT_OFF or BOUNDS_CHECKED, reason="too few seeds")
def test_every_fault_was_inflicted_and_every_defence_was_used() -> None:
    if len(_reports) < SEEDS:
        pytest.skip("not all seeds were run")
    assert set(FAULTS) == {fault for report in _reports for fault in report.faults}
    seen = {what for report in _reports for what in report.seen}
    told = {"late answer", "unanswered", "order rejected", "trouble at a venue", "unreadable frame"}
    assert told | {"order refused by risk", "quoting released"} <= seen
    assert sum(report.fills for report in _reports) > 3 * SEEDS
    # Bitstamp's 160 s were waited for, and somebody was barred.
    assert max(report.quiet_ns for report in _reports) > 100 * 10**9


@pytest.mark.skipif(JIT_OFF, reason="too slow")
def test_orders_of_a_session_that_is_logged_on_are_sent_by_compiled_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the seeds hold holds for them: half of the runs have such a key."""
    sent = {False: 0, True: 0}
    texts = LinkOutlet.texts

    def counted(outlet: LinkOutlet) -> list[bytes]:
        found = texts(outlet)
        sent[outlet.carrier.world.uses_ed25519] += len(found)
        return found

    monkeypatch.setattr(LinkOutlet, "texts", counted)
    for seed in range(6):
        World(seed).run()
    assert sent[True] > 50 and sent[False] == 0


def test_a_seed_gives_the_same_run_again() -> None:
    assert World(1).run() == World(1).run()


class Jumping(World):
    """Our host's wall clock is another at every look, as far as venues take its stamps."""

    def wall_ns(self) -> int:
        self.look = getattr(self, "look", 0) + 1
        return super().wall_ns() + (0, 30, -30)[self.look % 3] * 10**9


@pytest.mark.skipif(JIT_OFF, reason="too slow")
@pytest.mark.parametrize("seed", range(4))
def test_a_wall_clock_that_jumps_at_every_look_changes_nothing(seed: int) -> None:
    """Issue 13.1: at every state of maker and order entry, back and forth."""
    kinds = ("stall", "cut", "limited", "answer-lost")
    right, jumping = World(seed, kinds).run(), Jumping(seed, kinds).run()
    assert replace(right, digest="") == replace(jumping, digest="")


# --- the canary ----------------------------------------------------------------------------------


def counts_fills_twice(life: Life) -> None:
    """A book to which every report of an execution is a new one."""
    orders, numbers = life.maker.orders, itertools.count(1)
    take = orders._take_fill

    def broken(venue: int, event: OrderEvent) -> None:
        take(venue, event._replace(execution_id=next(numbers)))

    vars(orders)["_take_fill"] = broken


def sends_again(life: Life) -> None:
    """A maker that sends an order again that was not answered."""
    maker = life.maker
    on_unanswered = maker.on_unanswered

    def broken(venue: int, asked: OrderRequest, now_ns: int) -> None:
        request, order_id, _ = asked
        sent, entry = maker.orders.sent.get(order_id), maker.entries[venue]
        if request is Request.PLACE and sent is not None and entry is not None:
            ticks = sent.price // maker.rules.tick_units[venue]
            entry.place(order_id, side_of(sent.slot), ticks, sent.lots, now_ns)
        on_unanswered(venue, asked, now_ns)

    vars(maker)["on_unanswered"] = broken


def passes_the_gate(life: Life) -> None:
    """A risk gate that knows no position and no number of orders."""
    for word in (O.RISK_POSITION_LOTS_MAX, O.RISK_REDUCE_LOTS, O.RISK_OPEN_ORDERS_MAX):
        life.maker.risk[word] = O.LOTS_MAX


def forgets_a_slot(life: Life) -> None:
    """A kill that does not send its last cancel."""
    maker = life.maker
    kill, send = maker.halts.kill, maker.sender.send

    def broken(reason: int, now_ns: int) -> None:
        vars(maker.sender)["send"] = lambda count, now_ns: send(max(count - 1, 0), now_ns)
        kill(reason, now_ns)
        vars(maker.sender)["send"] = send

    vars(maker.halts)["kill"] = broken


def believes_at_once(life: Life) -> None:
    """An order that is not there yet is taken for one that never will be."""
    entry: Any = life.maker.entries[1]
    entry.settle_ns = 0


def skips_strays(life: Life) -> None:
    """A maker that leaves the orders of its earlier life alone."""
    recovery = life.maker.recovery
    take = recovery.take

    def broken(venue: int, opening: Opening, *rest: Any) -> tuple[int, int]:
        return take(venue, opening._replace(open_orders=()), *rest)

    vars(recovery)["take"] = broken


def misses_trades(life: Life) -> None:
    """A maker that does not look at what was traded while it was not connected."""
    vars(life.maker.orders)["take_missed"] = lambda *_: None


def trusts_a_broken_connection(life: Life) -> None:
    """What was sent on a connection that is gone is still waited for."""
    vars(life.maker.orders)["lose"] = lambda *_: None


def does_not_wait(life: Life) -> None:
    """A maker that goes on where a venue has asked to be left alone."""
    vars(life.maker.refusal_backoff)["must_wait"] = lambda *_: False


def forgets_what_is_neutral(life: Life) -> None:
    """Whatever is held at the start is no position."""
    memories = [each and Memory(each.base) for each in life.maker.recovery._memories]
    life.maker.recovery._memories = memories
    vars(life.maker)["_tell_start"] = lambda *_: None


def may_take(life: Life) -> None:
    """Orders that are not post-only."""
    entry: Any = life.links[0].owner
    requests: BinanceRequests = entry._requests
    entry._place = {
        side: PlaceTemplate(requests, entry._market, side, Style.LIMIT, "") for side in (BUY, SELL)
    }


def counts_by_the_wall_clock(life: Life) -> None:
    """What waits looks at a clock that whoever keeps it may set."""
    life.links[0].world.counts_by_wall = True


def counts_no_fees(life: Life) -> None:
    """A maker that believes that fills cost nothing."""
    vars(life.maker.fees)["of"] = lambda *_: NO_FEE


def counts_a_fee_in_base_as_money(life: Life) -> None:
    """A maker to which every fee is one in quote."""
    rules = life.maker.fees.rules
    life.maker.fees.rules = replace(rules, bases=("", ""), quotes=(*rules.quotes, "BTC"))


def audits_nothing(life: Life) -> None:
    """A maker that believes what events tell, and nothing else."""
    vars(life.maker.audit)["on_timer"] = lambda *_: None


def believes_in_clean_venues(life: Life) -> None:
    """A venue that is switched off is said to be clean before anybody has looked."""
    for cleaner in life.cleaners:
        accounts = iter(cleaner._accounts)
        vars(cleaner)["on_timer"] = lambda now_ns, left=accounts, each=cleaner: [
            each._on_clean(account) for account in left
        ]


def says_that_all_is_closed(life: Life) -> None:
    """An end that names nothing."""
    vars(life.maker)["unconfirmed"] = lambda: []


def holds_what_was_deposited(life: Life) -> None:
    """A deposit is a position, to be sold."""
    recovery = life.maker.recovery
    accept = recovery.accept

    def broken(venues: Sequence[int]) -> None:
        starts = {venue: recovery.starts[venue] for venue in venues}
        accept(venues)
        for venue, start in starts.items():
            if start is not None:
                at = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_POSITION_LOTS
                life.maker.table[at] += start.difference_lots
                life.maker.table[O.ACCOUNT_POSITION_LOTS] += start.difference_lots

    vars(recovery)["accept"] = broken


BROKEN: dict[str, tuple[Callable[[Life], None], tuple[str, ...]]] = {
    "counts fills twice": (counts_fills_twice, ("duplicate-fill",)),
    "sends again": (sends_again, ("answer-lost", "post-lost")),
    "passes the gate": (passes_the_gate, ("stall",)),
    "forgets a slot": (forgets_a_slot, ("kill",)),
    "believes at once": (believes_at_once, ("post-slow",)),
    "skips strays": (skips_strays, ("crash",)),
    "misses trades": (misses_trades, ("late-fill", "cut")),
    "trusts a broken connection": (trusts_a_broken_connection, ("cut",)),
    "forgets what is neutral": (forgets_what_is_neutral, ("crash",)),
    "does not wait": (does_not_wait, ("limited",)),
    "may take": (may_take, ("stall",)),
    "audits nothing": (audits_nothing, ("event-lost",)),
    "counts no fees": (counts_no_fees, ("stall",)),
    "counts a fee in base as money": (counts_a_fee_in_base_as_money, ("stall",)),
    "believes in clean venues": (believes_in_clean_venues, ("switch-off",)),
    "says that all is closed": (says_that_all_is_closed, ("reconfigure", "stall")),
    "holds what was deposited": (holds_what_was_deposited, ("transfer", "crash")),
    "counts by the wall clock": (counts_by_the_wall_clock, ("clock-step",)),
}
"""What is broken, and the faults that bring it to light."""


@pytest.mark.skipif(JIT_OFF, reason="too slow")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_maker_is_caught(name: str) -> None:
    sabotage, faults = BROKEN[name]
    with pytest.raises(SeedFailedError, match="replay: python"):
        for seed in range(CANARY_SEEDS):
            World(seed, faults, broken=sabotage).run()


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.skipif(JIT_OFF, reason="too slow")
def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["3:5"]) == 0
    assert "2 seeds" in capsys.readouterr().out
    monkeypatch.setattr(World, "_compare", _differs)
    assert main(["3", "--lines", "20"]) == 1
    out = capsys.readouterr().out
    assert "replay: python -m tests.trading 3" in out and "binance <" in out


def _differs(world: World) -> None:
    raise AssertionError("believes otherwise")
