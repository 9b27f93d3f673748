"""The market maker as a process, at simulated venues: real sockets, real keys, real signals."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from net.daemon.demo import simulated_keys
from net.venues.binance.orders.credentials import (
    BINANCE_API_KEY,
    BINANCE_ED25519_PEM,
    BINANCE_SECRET,
)
from net.venues.bitstamp.orders.credentials import BITSTAMP_API_KEY, BITSTAMP_SECRET
from tests.e2e.rig import (
    ONE_INSTRUMENT,
    Daemon,
    Venues,
    command,
    daemon,
    free_port,
    running,
    settings,
    simulated_venues,
    until,
)

MAKER = """
[maker]
orders = "live"
journal = "{journal}"
kill_file = "{kill_file}"
watchdog = false
[maker.quotes]
size = "0.01"
levels = 2
first = 0.5
step = 2
hold = 0.5
edge_bps_min = 0.2
[maker.risk]
order_size_max = "0.02"
order_value_max = "2000"
position_max = "0.1"
exposure_max = "10000"
daily_loss_max = "1000"
"""
ORDERS = 8
"""Two levels a side at two venues."""
VENUES = ("--maker-fee-bps", "0.1")
"""So little that quotes may be close to the market, where they are filled."""
OPEN_S = 40.0
"""Bitstamp's list of open orders may be ten seconds old: so long nothing is quoted."""


def orders_at(venues: Venues, venue: str) -> dict[str, Any]:
    """What a venue knows of our orders."""
    found: dict[str, Any] = venues.get(venue, "/simulator/stats")["orders"]
    return found


def open_at(venues: Venues) -> list[str]:
    """The names of our open orders at all venues."""
    return [
        order["client_order_id"]
        for venue in venues.urls
        for order in orders_at(venues, venue)["open"]
    ]


def net_lots_at(venues: Venues) -> int:
    """What all executions at all venues come to."""
    return sum(sum(orders_at(venues, venue)["net_lots"].values()) for venue in venues.urls)


def base_fees_at(venues: Venues) -> int:
    """What all venues have taken of the base currency."""
    return sum(orders_at(venues, venue)["fee_lots"].get("BTC", 0) for venue in venues.urls)


def fills_at(venues: Venues) -> int:
    """How many executions there were."""
    return sum(orders_at(venues, venue)["executions"] for venue in venues.urls)


def stat(name: str) -> dict[str, Any]:
    """What `pollux stat --json` says of the market maker."""
    done = subprocess.run(
        command("stat", "--name", name, "--json"), capture_output=True, timeout=60, check=False
    )
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def position_lots(name: str) -> int:
    """The position that the market maker has counted."""
    return int(Decimal(stat(name)["maker"]["position"]).scaleb(8))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False
    )


@dataclass
class Quoting:
    """A daemon that quotes, and its venues."""

    venues: Venues
    daemon: Daemon
    name: str
    folder: Path

    @property
    def kill_file(self) -> Path:
        return self.folder / "KILL"

    def wait_for_quotes(self) -> None:
        until(lambda: len(open_at(self.venues)) >= ORDERS // 2, OPEN_S, "quotes at the venues")

    def wait_for_none(self) -> None:
        until(lambda: not open_at(self.venues), 10, "no open order")


@pytest.fixture(scope="module")
def quoting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quoting]:
    folder = tmp_path_factory.mktemp("quoting")
    port = free_port()
    name = f"quoting-{port}"
    maker = MAKER.format(journal=folder / "journal", kill_file=folder / "KILL")
    with simulated_venues(folder, *VENUES) as venues:
        toml = venues.toml + settings(name, port) + maker
        with daemon(folder, toml, port, simulated_keys()) as process:
            it = Quoting(venues, process, name, folder)
            it.wait_for_quotes()
            yield it


def test_quotes_follow_the_market(quoting: Quoting) -> None:
    quoting.wait_for_quotes()
    first = set(open_at(quoting.venues))
    assert all(re.fullmatch(r"pollux-[0-9a-f]{8}-[0-9a-f]{8}", name) for name in first)
    until(lambda: not first & set(open_at(quoting.venues)), 60, "every quote was moved")


def test_the_position_is_the_venues(quoting: Quoting) -> None:
    """While it moves the two are read one after the other; quiet, they are equal."""

    until(lambda: fills_at(quoting.venues) >= 3, 90, "fills")
    assert run("kill", "--name", quoting.name).returncode == 0
    quoting.wait_for_none()
    net = net_lots_at(quoting.venues) - base_fees_at(quoting.venues)
    until(lambda: position_lots(quoting.name) == net, 10, f"a position of {net} lots")
    assert stat(quoting.name)["maker"]["fills"] == fills_at(quoting.venues)
    assert run("release", "--name", quoting.name).returncode == 0


@pytest.mark.parametrize("how", ["file", "signal"])
def test_kill_cancels_everything_until_release(quoting: Quoting, how: str) -> None:
    quoting.wait_for_quotes()
    if how == "file":
        quoting.kill_file.touch()
    else:
        quoting.daemon.process.popen.send_signal(signal.SIGUSR1)
    quoting.wait_for_none()
    if how == "file":
        run("release", "--name", quoting.name)
        assert stat(quoting.name)["maker"]["risk_state"] == "HALTED"
        quoting.kill_file.unlink()
        until(lambda: "kill file" in quoting.daemon.process.text, 5, "the refused release is told")
    assert run("release", "--name", quoting.name).returncode == 0
    quoting.wait_for_quotes()


def test_a_crash_leaves_orders_that_the_next_run_finds(quoting: Quoting) -> None:
    """kill -9, then the same configuration again: strays cancelled, the position carried on."""
    quoting.wait_for_quotes()
    quoting.daemon.process.popen.send_signal(signal.SIGKILL)
    quoting.daemon.process.popen.wait(10)
    left = set(open_at(quoting.venues))
    assert left
    port = free_port()
    maker = MAKER.format(journal=quoting.folder / "journal", kill_file=quoting.kill_file)
    toml = quoting.venues.toml + settings(quoting.name, port) + maker
    with daemon(quoting.folder, toml, port, simulated_keys()) as process:
        until(lambda: "position at the start" in process.process.text, OPEN_S, "a start")
        quoting.wait_for_quotes()
        assert not left & set(open_at(quoting.venues))
        assert run("kill", "--name", quoting.name).returncode == 0
        until(lambda: not open_at(quoting.venues), 10, "no open order")
        net = net_lots_at(quoting.venues) - base_fees_at(quoting.venues)
        until(lambda: position_lots(quoting.name) == net, 10, f"a position of {net} lots")
        assert process.process.end(signal.SIGTERM) == 0
        assert "no order of ours is open" in process.process.text
    assert open_at(quoting.venues) == []


def test_a_kill_outlives_the_daemon_and_a_deposit_waits_for_a_word(quoting: Quoting) -> None:
    """Issue 14.1 and 14.3, with the journal of the runs before: the last one was killed."""
    if quoting.daemon.process.popen.poll() is None:
        assert run("kill", "--name", quoting.name).returncode == 0
        assert quoting.daemon.process.end(signal.SIGTERM) == 0
    quoting.venues.post("binance", "deposit?asset=BTC&amount=1&listed=no")
    port, name = free_port(), quoting.name
    maker = MAKER.format(journal=quoting.folder / "journal", kill_file=quoting.kill_file)
    toml = quoting.venues.toml + settings(name, port) + maker
    net = net_lots_at(quoting.venues) - base_fees_at(quoting.venues)
    with daemon(quoting.folder, toml, port, simulated_keys()) as process:
        until(lambda: "position at the start" in process.process.text, OPEN_S, "a start")
        assert "the account holds what nobody has counted" in process.process.text
        shown = stat(name)["maker"]
        assert shown["risk_state"] == "HALTED" and position_lots(name) == net
        assert [each["difference"] for each in shown["venues"].values()] == [
            "1.00000000", "0.00000000",
        ]  # fmt: skip
        for what, status in (("release", 1), ("accept", 0), ("release", 0)):
            assert stat(name)["maker"]["risk_state"] == "HALTED" and not open_at(quoting.venues)
            assert run(what, "--name", name).returncode == status
        quoting.wait_for_quotes()
        assert "release refused: an account is disputed" in process.process.text
        killed = run("kill", "--name", name)
        assert killed.returncode == 0 and not open_at(quoting.venues), killed.stderr
        net = net_lots_at(quoting.venues) - base_fees_at(quoting.venues)
        until(lambda: position_lots(name) == net, 10, f"a position of {net} lots")
        assert process.process.end(signal.SIGTERM) == 0


def pages(listen: str) -> str:
    """All that the daemon's listener shows."""
    shown = []
    for path in ("/", "/metrics", "/healthz", "/readyz", "/nothing", "/events?symbol=DOGE"):
        try:
            with urllib.request.urlopen(f"http://{listen}{path}", timeout=5) as answer:
                shown.append(answer.read().decode())
        except urllib.error.HTTPError as error:
            shown.append(error.read().decode())
    with urllib.request.urlopen(f"http://{listen}/events", timeout=5) as events:
        shown.append(events.readline().decode())
    return "\n".join(shown)


def commands_of(pid: int) -> str:
    """The command lines of a process and of all it has started, which every user may read."""
    process = psutil.Process(pid)
    return str([each.cmdline() for each in (process, *process.children(recursive=True))])


def test_wrong_keys_are_told_nowhere_shown_and_nothing_is_tried_again(tmp_path: Path) -> None:
    port, listen = free_port(), f"127.0.0.1:{free_port()}"
    maker = MAKER.format(journal=tmp_path / "journal", kill_file="")
    maker = maker.replace("watchdog = false", "watchdog = true")
    secrets = {
        BINANCE_API_KEY: "BinanceApiKeyThatNobodyMaySee",
        BINANCE_SECRET: "BinanceSecretThatNobodyMaySee" * 2,
        BITSTAMP_API_KEY: "BitstampApiKeyThatNobodyMaySee",
        BITSTAMP_SECRET: "BitstampSecretThatNobodyMaySee",
    }
    # One key is unknown to its venue, the other one known with another secret.
    keys = secrets | {BITSTAMP_API_KEY: simulated_keys()[BITSTAMP_API_KEY]}
    with simulated_venues(tmp_path) as venues:
        ours = settings(f"keys-{port}", port).replace('listen = ""', f'listen = "{listen}"')
        with daemon(tmp_path, venues.toml + ours + maker, port, keys) as process:
            until(lambda: process.process.text.count("trouble at a venue") >= 2, 15, "trouble")
            until(lambda: process.process.text.count("watchdog in trouble") >= 2, 20, "its trouble")
            process.wait_for(binance="LIVE", bitstamp="LIVE")
            total = [venues.get(v, "/simulator/stats")["connections_total"] for v in venues.urls]
            assert max(total) <= 5 and open_at(venues) == []
            shown = pages(listen) + commands_of(process.process.popen.pid)
            assert process.process.end() == 0
            shown += process.process.text
    assert "pollux_maker_entry_ready" in shown and "net.gateway" in shown
    assert "MaySee" not in shown and keys[BITSTAMP_API_KEY] not in shown
    for secret in keys.values():
        for form in (secret.encode().hex(), base64.b64encode(secret.encode()).decode()):
            assert form not in shown


@pytest.mark.parametrize("wrong", ["path", "PEM"])
def test_a_bad_private_key_is_one_line_that_does_not_show_it(tmp_path: Path, wrong: str) -> None:
    config = tmp_path / "pollux.toml"
    maker = MAKER.format(journal=tmp_path / "journal", kill_file="")
    config.write_text(ONE_INSTRUMENT + settings("pem", free_port()) + maker)
    key = "KeyThatNobodyMaySee"
    pem = key if wrong == "path" else f"-----BEGIN PRIVATE KEY-----\n{key}\n"
    keys = {BINANCE_API_KEY: key, BINANCE_ED25519_PEM: pem}
    with running(tmp_path, "serve", "serve", "--config", str(config), keys=keys) as process:
        assert process.popen.wait(30) == 2
    (line,) = [each for each in process.text.splitlines() if each.startswith("pollux: ")]
    assert f'maker.orders = "live": {BINANCE_ED25519_PEM}: ' in line
    assert "MaySee" not in process.text and "Traceback" not in process.text
