"""Hundreds of seeds; and market makers broken on purpose, which the first few must catch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from engine.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import order_layout as L
from engine.maker.order_layout import BUY, SELL
from net.entry.binance import BinanceRequests, PlaceTemplate
from net.entry.order import OrderEvent, Request, Style
from net.entry.session import Opening
from net.maker.book import side_of
from tests.trading.__main__ import main
from tests.trading.faults import FAULTS
from tests.trading.world import Life, Report, SeedFailedError, World

pytestmark = pytest.mark.usefixtures("compiled_kernels")

SEEDS = 6 if JIT_OFF else 12 if BOUNDS_CHECKED else 200
BATCHES = 1 if JIT_OFF else 6
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
def test_a_seed_gives_the_same_run_again() -> None:
    assert World(1).run() == World(1).run()


# --- the canary ----------------------------------------------------------------------------------


def counts_fills_twice(life: Life) -> None:
    """A book to which every report of an execution is a new one."""
    book, numbers = life.maker.book, itertools.count(1)
    take = book._take_fill

    def broken(venue: int, event: OrderEvent, now_ns: int) -> None:
        take(venue, event._replace(execution_id=next(numbers)), now_ns)

    vars(book)["_take_fill"] = broken


def sends_again(life: Life) -> None:
    """A maker that sends an order again that was not answered."""
    maker = life.maker
    on_unanswered = maker.on_unanswered

    def broken(venue: int, request: Request, order_id: int, replaced: int, now_ns: int) -> None:
        sent, entry = maker.book.sent.get(order_id), maker.entries[venue]
        if request is Request.PLACE and sent is not None and entry is not None:
            ticks = sent.price // maker.rules.tick_units[venue]
            entry.place(order_id, side_of(sent.slot), ticks, sent.lots, now_ns)
        on_unanswered(venue, request, order_id, replaced, now_ns)

    vars(maker)["on_unanswered"] = broken


def passes_the_gate(life: Life) -> None:
    """A risk gate that knows no position and no number of orders."""
    for word in (L.RISK_POSITION_LOTS_MAX, L.RISK_REDUCE_LOTS, L.RISK_OPEN_ORDERS_MAX):
        life.maker.risk[word] = L.LOTS_MAX


def forgets_a_slot(life: Life) -> None:
    """A kill that does not send its last cancel."""
    maker = life.maker
    kill, act = maker.kill, maker._act

    def broken(reason: int, now_ns: int) -> None:
        vars(maker)["_act"] = lambda count, now_ns: act(max(count - 1, 0), now_ns)
        kill(reason, now_ns)
        vars(maker)["_act"] = act

    vars(maker)["kill"] = broken


def believes_at_once(life: Life) -> None:
    """An order that is not there yet is taken for one that never will be."""
    vars(life.http.owner)["settle_ns"] = 0


def skips_strays(life: Life) -> None:
    """A maker that leaves the orders of its earlier life alone."""
    openings = life.maker.openings
    take = openings.take

    def broken(venue: int, opening: Opening, *rest: Any) -> tuple[int, int]:
        return take(venue, opening._replace(open_orders=()), *rest)

    vars(openings)["take"] = broken


def misses_trades(life: Life) -> None:
    """A maker that does not look at what was traded while it was not connected."""
    vars(life.maker.book)["take_missed"] = lambda *_: None


def trusts_a_broken_connection(life: Life) -> None:
    """What was sent on a connection that is gone is still waited for."""
    vars(life.maker.book)["lose"] = lambda *_: None


def does_not_wait(life: Life) -> None:
    """A maker that goes on where a venue has asked to be left alone."""
    vars(life.maker.manners)["must_wait"] = lambda *_: False


def forgets_what_is_neutral(life: Life) -> None:
    """Whatever is held at the start is no position."""
    life.maker.openings._neutral_lots = None


def may_take(life: Life) -> None:
    """Orders that are not post-only."""
    entry: Any = life.links[0].owner
    requests: BinanceRequests = entry._requests
    entry._place = {
        side: PlaceTemplate(requests, entry._market, side, Style.LIMIT, "") for side in (BUY, SELL)
    }


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
