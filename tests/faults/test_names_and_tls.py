"""Faults below the websocket, over real TLS: handshakes refused, names that do not resolve.

The venues are addressed by name; what the name says is decided on the client's side (patience.py).
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import trustme

from bench.rig.venue_names import SYMBOLS
from net.simulator.options import SimulatorOptions
from tests.faults import patience
from tests.faults.rig import FRAME_S, RECOVER_S, SPEED, Lab, laboratory

pytestmark = pytest.mark.timeout(60)


def tls_options(folder: Path) -> SimulatorOptions:
    """Venues with a certificate for their names, from an authority of their own."""
    authority = trustme.CA()
    issued = authority.issue_cert(*patience.HOSTS, "127.0.0.1")
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    issued.private_key_pem.write_to_path(str(files["key"]))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(files["cert"]), append=True)
    return SimulatorOptions(
        seed=9,
        speed=SPEED,
        far_levels_share=0.0,
        tls_cert=files["cert"],
        tls_key=files["key"],
        tls_ca=files["ca"],
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("names")
    with laboratory(folder, options=tls_options(folder), named=True) as running:
        running.until_live(20)
        yield running


def readiness(lab: Lab) -> str:
    """What /readyz says."""
    try:
        with urllib.request.urlopen(f"http://{lab.metrics}/readyz", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def connect_failures(lab: Lab, venue: str) -> int:
    """Connections that could not be made, as Prometheus sees them."""
    with urllib.request.urlopen(f"http://{lab.metrics}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    (found,) = re.findall(rf'pollux_connect_failures_total{{venue="{venue}"}} (\d+)', text)
    return int(found)


def assert_told(lab: Lab, reason: str, failures: dict[str, int]) -> None:
    """A way to both venues that is blocked: in the log, in numbers and in /readyz."""

    def is_told() -> bool:
        said = readiness(lab)
        return all(
            re.search(rf"{venue} \w+ is [A-Z]+, last data .* ago \(.*disconnected: {reason}", said)
            and connect_failures(lab, venue) >= failures[venue] + 2
            for venue in SYMBOLS
        )

    lab.until(is_told, RECOVER_S, f"{reason} in {readiness(lab)}")
    lines = [orjson.loads(each) for each in lab.log.read_text().splitlines() if each[:1] == "{"]
    for venue, host in zip(SYMBOLS, patience.HOSTS, strict=True):
        wanted = {"event": "disconnected", "venue": venue, "level": "warning"}
        told = [each for each in lines if wanted.items() <= each.items()]
        last = [each for each in told if re.match(reason, each["reason"])][-1]
        assert last["address"].startswith(f"{host}:") and last["attempt"] >= 1


def test_tls_handshakes_that_fail_withdraw_the_venue_until_they_succeed(lab: Lab) -> None:
    lab.until_calm()
    before = lab.look()
    failures = {venue: connect_failures(lab, venue) for venue in SYMBOLS}
    seconds = 1.5
    lab.inflict(f"tls/{seconds}", "reset")
    lab.until(lambda: "LIVE" not in lab.states.values(), 5, "both withdrawn")
    assert_told(lab, "(TLS failed|Connection reset by peer)", failures)
    lab.until_live(seconds + RECOVER_S)
    lab.assert_right()
    after = lab.look()
    for venue in SYMBOLS:
        assert after.strikes(venue)["tls"] >= 2, "tried again"
        assert after.strikes(venue)["tls"] <= seconds / (patience.BACKOFF_FLOOR_MS / 1000) / 2
        assert after.connections(venue) - before.connections(venue) == 1
    assert lab.log.read_text().count("SSL handshake failed") >= 2, "the log says why"


def test_a_name_that_does_not_resolve_withdraws_the_venue_until_it_does(lab: Lab) -> None:
    lab.until_calm()
    before = lab.look()
    failures = {venue: connect_failures(lab, venue) for venue in SYMBOLS}
    lab.no_dns.touch()
    lab.inflict("reset")
    lab.until(lambda: "LIVE" not in lab.states.values(), 5, "both withdrawn")
    assert_told(lab, "Temporary failure in name resolution", failures)
    time.sleep(0.5)
    assert not {"LIVE", "STALE"} & set(lab.states.values())
    assert lab.look().connections("binance") == before.connections("binance")
    assert lab.log.read_text().count("Temporary failure in name resolution") >= 4
    lab.no_dns.unlink()
    lab.until_live()
    time.sleep(4 * FRAME_S)
    lab.assert_right()
    after = lab.look()
    for venue in SYMBOLS:
        assert after.connections(venue) - before.connections(venue) == 1


@contextlib.contextmanager
def black_hole(ports: list[int]) -> Iterator[str]:
    """An address of this host where connections to these ports are neither made nor refused."""
    address = "127.0.0.2"
    with contextlib.ExitStack() as stack:
        for port in ports:
            hole = stack.enter_context(socket.socket())
            hole.bind((address, port))
            hole.listen(0)
            for _ in range(3):  # more than its queue takes: from here on it drops what comes
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((address, port))
        yield address


def test_a_network_that_swallows_everything_is_told_until_it_does_not(lab: Lab) -> None:
    lab.until_calm()
    failures = {venue: connect_failures(lab, venue) for venue in SYMBOLS}
    with black_hole([int(url.rpartition(":")[2]) for url in lab.urls.values()]) as address:
        lab.no_dns.write_text(address)
        lab.inflict("reset")
        lab.until(lambda: "LIVE" not in lab.states.values(), 5, "both withdrawn")
        assert_told(lab, "timed out", failures)
    lab.no_dns.unlink()
    lab.until_live(patience.CONNECT_LIMIT_S + RECOVER_S)
    lab.assert_right()


@pytest.mark.parametrize("order", ["reset", "hang-up", "close", "silence", "fragments=7x3"])
def test_the_same_over_tls(lab: Lab, order: str) -> None:
    """A TLS connection ends in other ways than a plain one; what follows is the same."""
    lab.until_calm()
    before = lab.look()
    lab.inflict(order)
    ends = order != "fragments=7x3"
    limit_s = RECOVER_S + 2 * patience.STALE_AFTER_MS / 1000
    for venue in SYMBOLS:
        wanted = before.connections(venue) + ends
        lab.until(
            lambda venue=venue, wanted=wanted: (  # type: ignore[misc]
                lab.look().connections(venue) >= wanted
                and lab.look().strikes(venue) != before.strikes(venue)
            ),
            limit_s,
            f"{venue} connected anew",
        )
    lab.until_live(limit_s)
    lab.assert_right()
    after = lab.look()
    for venue in SYMBOLS:
        assert after.connections(venue) - before.connections(venue) == ends
        assert after.count("refused_frames", venue) == 0
