"""The watchdog as it is in earnest: real processes, real sockets, simulated venues.

One daemon hangs, loses its watchdog and ends in order; the second is killed; the third cannot
cancel everything when it ends.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.soak.counts import post
from tests.e2e.rig import until
from tests.net.watchdog.rig import (
    CLEARED_S,
    MARGIN_S,
    QUOTES,
    READY_S,
    Market,
    Quoting,
    has_all_quotes,
    quoting,
    status_of_orphan,
)

pytestmark = pytest.mark.usefixtures("compiled_kernels")
UNREACHABLE_S = 4.0
QUOTED_S = 0.5
"""Quotes that may be there are there by then, and no watchdog has started yet."""
FOREIGN = {"binance": "by-hand-1", "bitstamp": "by-hand-2"}


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    market = Market()
    for venue, name in FOREIGN.items():
        market.place_foreign(venue, name)
    yield market
    assert {venue: market.open_names(venue) for venue in FOREIGN} == {
        venue: [name] for venue, name in FOREIGN.items()
    }, "orders of others, and no other"
    market.close()


@pytest.fixture(scope="module")
def live(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quoting]:
    with quoting(tmp_path_factory.mktemp("watched"), market) as running:
        yield running


def cut_off(market: Market, venue: str, for_s: float) -> None:
    """Lose every connection to a venue; it accepts none for a while."""
    url = market.thread.urls[venue]
    post(url, f"refuse?seconds={for_s}", None)
    post(url, "drop", None)


def test_an_engine_that_hangs_loses_its_orders_and_stays_halted(
    live: Quoting, market: Market
) -> None:
    # One venue cannot be reached when it matters.
    cut_off(market, "bitstamp", UNREACHABLE_S)
    began_s = time.monotonic()
    live.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: not market.ours("binance"), CLEARED_S, "Binance's orders gone")
        assert market.ours("bitstamp") and time.monotonic() - began_s < UNREACHABLE_S
        until(lambda: not market.ours("bitstamp"), UNREACHABLE_S + 2 * CLEARED_S, "Bitstamp's gone")
        until(lambda: live.has_said("no order of ours is open"), 10, "confirmed")
    finally:
        live.process.send_signal(signal.SIGCONT)
    until(live.is_halted, MARGIN_S, "halted")
    until(lambda: live.has_said("the engine is back"), MARGIN_S, "told")
    assert market.all_ours() == 0
    live.board().request_release()
    until(lambda: has_all_quotes(market), 10, "quotes after the release")


def test_without_its_watchdog_nothing_is_quoted(live: Quoting, market: Market) -> None:
    first = live.watchdog()
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert first.is_running() and has_all_quotes(market), "a signal does not end the watch"
    first.kill()
    until(lambda: market.all_ours() == 0, MARGIN_S, "no quotes")
    assert live.is_halted()
    live.board().request_release()
    time.sleep(QUOTED_S)
    assert market.all_ours() == 0, "released, but not watched"
    until(lambda: live.has_said("the watchdog is ready", 2), READY_S, "another one")
    assert live.watchdog().pid != first.pid
    until(lambda: has_all_quotes(market), 10, "quotes again: released, and watched")


def test_an_end_in_order_ends_the_watch(live: Quoting, market: Market) -> None:
    watchdog = live.watchdog()
    said = len(live.text)
    live.process.terminate()
    assert live.process.wait(10) == 0, live.text[-2000:]
    assert market.all_ours() == 0
    assert not watchdog.is_running(), "it ends before the daemon does"
    last = live.text[said:]
    assert "watchdog" not in last and "cancelling" not in last, last


def test_a_daemon_that_is_killed_leaves_no_orders(market: Market, tmp_path: Path) -> None:
    with quoting(tmp_path, market) as daemon:
        watchdog = daemon.watchdog()
        os.killpg(daemon.process.pid, signal.SIGKILL)  # all that is in its process group
        until(lambda: market.all_ours() == 0, CLEARED_S, "all orders gone")
        assert status_of_orphan(watchdog.pid, 20) == 0
        assert daemon.has_said("no order of ours is open")


def test_what_an_end_in_order_could_not_cancel_is_cancelled_after_it(
    market: Market, tmp_path: Path
) -> None:
    with quoting(tmp_path, market) as daemon:
        watchdog = daemon.watchdog()
        cut_off(market, "bitstamp", UNREACHABLE_S)
        daemon.process.terminate()
        assert daemon.process.wait(10) == 0, daemon.text[-2000:]
        assert not market.ours("binance") and len(market.ours("bitstamp")) == QUOTES
        assert status_of_orphan(watchdog.pid, UNREACHABLE_S + 20) == 0
        assert market.all_ours() == 0
