"""The page of a real daemon: there from its first second, and it names what is wrong."""

from __future__ import annotations

import contextlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import (
    FIXED_TICKS,
    ONE_INSTRUMENT,
    Process,
    free_port,
    running,
    settings,
    until,
)
from tests.operate import rig
from tests.operate.rig import gateways_of

pytestmark = pytest.mark.timeout(90)

NOBODY = "127.0.0.1:1"
"""A port that refuses connections: what a firewall may do too."""


class Paged:
    """A daemon that has a page, and no venue that could be reached."""

    def __init__(self, toml: str) -> None:
        port = free_port()
        self.listen = f"127.0.0.1:{free_port()}"
        self.name = f"page-{port}"
        ours = settings(self.name, port).replace('listen = ""', f'listen = "{self.listen}"')
        self._toml = toml + ours

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Process]:
        config = folder / f"{self.name}.toml"
        config.write_text(self._toml)
        with running(folder, "serve", "serve", "--config", str(config)) as process:
            yield process
        assert "Traceback" not in process.text

    def says(self, path: str) -> tuple[int, str]:
        """A status and a line; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.listen}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


UNREACHED = FIXED_TICKS.format(ws_url=f"ws://{NOBODY}")


def test_a_blocked_network_is_named_before_there_is_an_engine(folder: Path) -> None:
    unknown_tick = ONE_INSTRUMENT.replace('tick_size = "0.01"', "")
    daemon = Paged(f'{unknown_tick}\n[venue.binance]\nrest_url = "http://{NOBODY}"\n')
    with daemon.running(folder) as process:
        wanted = "binance BTCUSDT is not started (market not learned yet: "
        until(lambda: daemon.says("/readyz")[1].startswith(wanted), what="the reason")
        assert daemon.says("/readyz")[0] == 503 and daemon.says("/healthz")[0] == 200
        assert process.end() == 0


def test_the_parts_of_a_daemon_are_named(folder: Path) -> None:
    daemon = Paged(UNREACHED)
    with daemon.running(folder) as process:
        until(lambda: daemon.says("/metrics")[1].count("pollux_gateway_serving 1.0"))
        until(lambda: "disconnected" in daemon.says("/readyz")[1])
        status, text = daemon.says("/readyz")
        assert status == 503 and "; " not in text
        assert text.startswith("binance BTCUSDT is ") and ", no data yet (disconnected: " in text
        os.kill(gateways_of(daemon.name)[0], rig.KILL)
        until(lambda: daemon.says("/readyz")[1].endswith("; the gateway does not serve\n"))
        until(lambda: "the gateway" not in daemon.says("/readyz")[1])
        assert daemon.says("/healthz") == (200, "healthy\n")
        assert process.end() == 0
