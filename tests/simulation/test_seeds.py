"""Hundreds of seeds; and systems that are broken on purpose, which the first few must catch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest

from engine.book.rules import CHECKSUM_NONE
from engine.compiling.atomics import Words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.layout import layout as L
from engine.layout import status as S
from net.feed.book_sync import BookSync
from net.feed.venue_feeds import VenueFeeds
from tests.simulation.__main__ import main
from tests.simulation.faults import FAULTS
from tests.simulation.world import Report, SeedFailedError, World

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]

SEEDS = 2 if JIT_OFF else 20 if BOUNDS_CHECKED else 200
BATCHES = 1 if JIT_OFF else 10
FIRST = ("binance", "bitstamp")
CANARY_SEEDS = 40
"""A broken system must not survive so many."""

_reports: list[Report] = []


@pytest.mark.parametrize("batch", range(BATCHES))
def test_seeds(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        _reports.append(World(seed).run())


@pytest.mark.skipif(JIT_OFF or BOUNDS_CHECKED, reason="too few seeds")
def test_every_fault_was_inflicted_and_every_defence_was_used() -> None:
    if len(_reports) < SEEDS:
        pytest.skip("not all seeds were run")
    struck = {fault for report in _reports for fault in report.faults}
    assert set(FAULTS) == struck
    seen = {what for report in _reports for what in report.seen}
    wanted = {S.TEXTS[status] for status in (S.GAP, S.BAD_CHECKSUM, S.BAD_JSON)}
    assert wanted | {"no data", "resumed", "moved to another server"} <= seen
    assert any(what.startswith("audit failed") for what in seen)


@pytest.mark.skipif(JIT_OFF, reason="too slow")
def test_time_that_runs_backwards_is_seen_where_times_are_all_there_is() -> None:
    """One of nine venues is of that kind, and few of its diffs are overtaken."""
    seen = {what for seed in range(5) for what in World(seed, ("reorder",), FIRST).run().seen}
    assert S.TEXTS[S.BACKWARDS] in seen


def test_a_seed_gives_the_same_run_again() -> None:
    assert World(1).run() == World(1).run()


# --- the canary ----------------------------------------------------------------------------------


def loses_deletes(venue: VenueFeeds) -> None:
    """A decoder that takes a deleted level for one of the least amount."""
    handle = venue.handle

    def broken(raw: bytes, receive_ns: int, is_last: int) -> int:
        return handle(raw.replace(b'"0.00000000"', b'"0.00000001"'), receive_ns, is_last)

    venue.handle = broken


def ignores(status_ignored: int, venue: VenueFeeds) -> None:
    """Sessions that go on as if nothing had been."""

    def broken(on_status: Callable[..., None], status: int, *rest: object) -> None:
        if status != status_ignored:
            on_status(status, *rest)

    for sync in venue.syncs:
        vars(sync)["on_status"] = partial(broken, sync.on_status)


def takes_any_snapshot(venue: VenueFeeds) -> None:
    """Sessions that join a snapshot older than their buffer."""
    rules = copy.copy(venue.protocol.rules)
    vars(rules)["joins"] = lambda snapshot_id, first_id: True
    vars(venue.protocol)["rules"] = rules


def never_audits(venue: VenueFeeds) -> None:
    """Sessions that find no lost diff."""
    for sync in venue.syncs:
        vars(sync)["_start_audit"] = lambda now_ns: None


def never_goes_stale(venue: VenueFeeds) -> None:
    for sync in venue.syncs:
        vars(sync)["_stale_after_ns"] = 10**18


def rules_of(venue: VenueFeeds) -> tuple[list[int], Words]:
    """Where the rules of a venue's feeds and of its connection are in the arena."""
    engine = venue._engine
    found = {int(engine.arena[engine._feed_at(sync.feed) + L.FEED_RULES]) for sync in venue.syncs}
    return sorted(found), engine.arena


def ignores_checksums(venue: VenueFeeds) -> None:
    """An engine that keeps a book whatever its checksum is."""
    places, arena = rules_of(venue)
    for at in places:
        arena[at + L.RULES_CHECKSUM] = CHECKSUM_NONE


def cuts_nothing(venue: VenueFeeds) -> None:
    """An engine that keeps the levels that the venue has dropped, and looks at no checksum."""
    places, arena = rules_of(venue)
    for at in places:
        arena[at + L.RULES_CHECKSUM] = CHECKSUM_NONE
        arena[at + L.RULES_BOUND] = 0


def ignores_numbers(venue: VenueFeeds) -> None:
    """An engine that takes any number of a connection for the next one."""
    handle, engine = venue.handle, venue._engine

    def broken(raw: bytes, receive_ns: int, is_last: int) -> int:
        engine.restart_connection(venue.connection)
        return handle(raw, receive_ns, is_last)

    venue.handle = broken


def shows_late_books(venue: VenueFeeds) -> None:
    """Sessions that show a whole book of the stream however late it is."""
    for sync in venue.syncs:
        vars(sync)["_judge_time"] = lambda now_ns: None


def goes_live_at_once(venue: VenueFeeds) -> None:
    """Sessions that show a snapshot before the stream has reached it."""

    def eager(sync: BookSync, now_ns: int) -> None:
        stage, sync._held = sync._held, None
        assert stage is not None
        sync._engine.load(sync.feed, stage, 0)
        sync._forget(now_ns)
        sync._engine.activate(sync.feed, now_ns)

    for sync in venue.syncs:
        vars(sync)["_try_join"] = partial(eager, sync)


BROKEN: dict[str, tuple[Callable[[VenueFeeds], None], str, tuple[str, ...]]] = {
    "loses deletes": (loses_deletes, "hold", FIRST),
    "ignores gaps": (partial(ignores, S.GAP), "drop", FIRST),
    "ignores time that runs backwards": (partial(ignores, S.BACKWARDS), "reorder", FIRST),
    "ignores refused frames": (partial(ignores, S.BAD_JSON), "truncate", FIRST),
    "takes any snapshot": (takes_any_snapshot, "old", FIRST),
    "never audits": (never_audits, "drop", FIRST),
    "never goes stale": (never_goes_stale, "stall", FIRST),
    "goes live at once": (goes_live_at_once, "delay", FIRST),
    "ignores checksums": (ignores_checksums, "misread", ("kraken", "okx")),
    "cuts nothing": (cuts_nothing, "hold", ("kraken",)),
    "ignores what a diff follows": (partial(ignores, S.GAP), "drop", ("okx",)),
    "ignores the chain": (partial(ignores, S.GAP), "drop", ("binance-usdm",)),
    "ignores steps": (partial(ignores, S.GAP), "drop", ("bybit",)),
    "ignores ranges": (partial(ignores, S.GAP), "drop", ("gate", "kucoin")),
    "ignores numbers of the connection": (ignores_numbers, "drop", ("coinbase",)),
    "shows late books": (shows_late_books, "lag", ("kraken", "bybit")),
}
"""What is broken, the fault that brings it to light, and the venues that it befalls."""


@pytest.mark.skipif(JIT_OFF, reason="too slow")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_system_is_caught(name: str) -> None:
    sabotage, fault, venues = BROKEN[name]
    with pytest.raises(SeedFailedError, match="--seed"):
        for seed in range(CANARY_SEEDS):
            world = World(seed, (fault,), venues)
            for link in world.links.values():
                sabotage(link.venue)
            world.run()


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.skipif(JIT_OFF, reason="too slow")
def test_the_command_runs_seeds_and_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3:6"]) == 0
    assert "3 seeds" in capsys.readouterr().out


@pytest.mark.skipif(JIT_OFF, reason="too slow")
def test_a_failing_seed_prints_its_last_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BookSync, "break_off", lambda *_: None)
    statuses = [main(["--seed", str(seed), "--trace"]) for seed in range(8)]
    out = capsys.readouterr().out
    assert 1 in statuses and "replay: python -m tests.simulation --seed" in out
    assert "takes" in out, "the trace shows frames"
