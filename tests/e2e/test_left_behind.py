"""Orders of a run that was killed, at a venue or in a market that the next run does not quote."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from net.daemon.demo import simulated_keys
from tests.e2e.rig import Venues, daemon, free_port, settings, simulated_venues, until
from tests.e2e.test_quoting import OPEN_S, ORDERS, VENUES, open_at, orders_at, run, stat

MAKER = """
[maker]
symbol = "{symbol}"
orders = "live"
journal = "{journal}"
watchdog = false
[maker.quotes]
size = "0.1"
levels = 2
first = 40
step = 10
hold = 20
[maker.fair]
crossed_bps_max = 500.0
[maker.risk]
order_size_max = "0.1"
order_value_max = "20000"
position_max = "1"
exposure_max = "100000"
daily_loss_max = "10000"
{more}
"""
CLEAN_S = 90.0
"""A venue whose list of open orders may be ten seconds old shows twice that none is open."""
SWITCHED_OFF = "[maker.venue.binance]\nquote = false\n"
BINANCE = '  [[instrument.venue]]\n  name = "binance"\n  symbol = "BTCUSDT"\n'


def without_binance(toml: str) -> str:
    """The first instrument without the venue, whose address stays."""
    assert toml.count(BINANCE) == 1
    return toml.replace(BINANCE, "")


def toml_of(venues: Venues, port: int, folder: Path, symbol: str, more: str = "") -> str:
    maker = MAKER.format(journal=folder / "journal", symbol=symbol, more=more)
    return venues.toml + settings(f"left-{port}", port) + maker


def left_by_a_killed_run(venues: Venues, folder: Path) -> dict[str, set[str]]:
    """The names of a full set of quotes, by venue, whose daemon is gone."""
    port = free_port()
    with daemon(folder, toml_of(venues, port, folder, "BTC-USD"), port, simulated_keys()) as it:
        until(lambda: len(open_at(venues)) == ORDERS, OPEN_S, "all quotes")
        it.process.popen.send_signal(signal.SIGKILL)
        it.process.popen.wait(10)
    return {venue: names_at(venues, venue) for venue in venues.urls}


def names_at(venues: Venues, venue: str) -> set[str]:
    return {order["client_order_id"] for order in orders_at(venues, venue)["open"]}


CASES: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "switched off": ("BTC-USD", SWITCHED_OFF, lambda toml: toml),
    "taken out": ("BTC-USD", "", without_binance),
    "swapped symbol": ("ETH-USD", "", lambda toml: toml),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_run_cancels_what_it_does_not_quote(tmp_path: Path, case: str) -> None:
    """Issue 14.2: four orders stayed open, and the end said that none was."""
    symbol, more, change = CASES[case]
    with simulated_venues(
        tmp_path, *VENUES, "--symbol", "BTC-USD", "--symbol", "ETH-USD"
    ) as venues:
        left = left_by_a_killed_run(venues, tmp_path)
        assert len(left["binance"]) == ORDERS // 2
        port = free_port()
        toml = change(toml_of(venues, port, tmp_path, symbol, more))
        with daemon(tmp_path, toml, port, simulated_keys()) as it:
            gone = "binance" if case != "swapped symbol" else "bitstamp"
            until(lambda: not left[gone] & names_at(venues, gone), CLEAN_S, "no order left")
            assert stat(f"left-{port}")["maker"]["risk_state"] == "NORMAL"
            earlier = set.union(*left.values())
            until(lambda: set(open_at(venues)) - earlier, CLEAN_S, "quotes, once it is clean")
            assert not earlier & set(open_at(venues))
            killed = run("kill", "--name", f"left-{port}")
            assert killed.returncode == 0 and not open_at(venues), killed.stderr
            assert it.process.end() == 0
            assert "no order of ours is open" in it.process.text


def test_without_its_keys_it_is_named_and_nothing_is_said_to_be_closed(tmp_path: Path) -> None:
    with simulated_venues(
        tmp_path, *VENUES, "--symbol", "BTC-USD", "--symbol", "ETH-USD"
    ) as venues:
        left = left_by_a_killed_run(venues, tmp_path)
        port = free_port()
        toml = toml_of(venues, port, tmp_path, "BTC-USD", SWITCHED_OFF)
        keys = {name: key for name, key in simulated_keys().items() if "BINANCE" not in name}
        with daemon(tmp_path, toml, port, keys) as it:
            until(lambda: "position at the start" in it.process.text, OPEN_S, "a start")
            assert "there is no key for it" in it.process.text
            shown = stat(f"left-{port}")["maker"]
            assert shown["risk_state"] == "HALTED" and shown["unconfirmed"] == 1
            killed = run("kill", "--name", f"left-{port}")
            assert killed.returncode == 1 and "an earlier run may still be open" in killed.stderr
            assert it.process.end() == 0
            assert "binance BTCUSDT: orders of an earlier run" in it.process.text
        assert names_at(venues, "binance") == left["binance"]
