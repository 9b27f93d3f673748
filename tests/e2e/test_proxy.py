"""Issue 13.8: a daemon that reaches its venues by a proxy alone: their names resolve nowhere.

The venues speak TLS; the proxy asks for a password, which no log line may show.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from net.daemon.demo import simulated_keys
from tests.e2e.rig import daemon, free_port, running, settings, simulated_venues, until
from tests.e2e.test_quoting import MAKER, OPEN_S
from tests.net.sockets.connect_proxy import LOGIN, PASSWORD, connect_proxy

pytestmark = pytest.mark.timeout(240)
HOSTS = ("binance.example", "bitstamp.example")


def far_away(toml: str, ca_file: Path) -> str:
    """The simulated venues' configuration with names in place of addresses."""
    lines, hosts = [], iter(HOSTS)
    host = ""
    for line in toml.splitlines():
        host = next(hosts) if line.startswith("[venue.") else host
        named = line.replace("//127.0.0.1", f"//{host}") if "_url" in line else line
        lines.append(f'ca_file = "{ca_file}"' if line.startswith("ca_file") else named)
    return "\n".join(lines) + "\n"


def test_8_a_daemon_and_its_watchdog_reach_the_venues_by_a_proxy(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert(*HOSTS, "127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "cert.pem"), append=True)
    tls = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with simulated_venues(tmp_path, *tls) as venues, connect_proxy(has_password=True) as proxy:
        toml = far_away(venues.toml, tmp_path / "ca.pem")
        toml = toml.replace("[venue.binance]", '[venue.binance]\ntime_unit = "us"')
        assert all(toml.count(f"//{host}:") >= 3 for host in HOSTS)
        address = f"http://127.0.0.1:{proxy.port}"
        variables = {
            "HTTPS_PROXY": address.replace("//", f"//{LOGIN}@"),
            "NO_PROXY": "elsewhere.example,10.0.0.0/8",
        }
        port = free_port()
        maker = MAKER.format(journal=tmp_path / "journal", kill_file=tmp_path / "KILL")
        ours = settings(f"proxy-{port}", port).replace('idle = "block"', 'idle = "spin"')
        ours += maker.replace("watchdog = false", "watchdog = true")
        with daemon(tmp_path, toml + ours, port, variables | simulated_keys()) as live:
            live.wait_for(binance="LIVE", bitstamp="LIVE")
            until(lambda: "the watchdog is ready" in live.process.text, OPEN_S, "its watchdog")
            for host in HOSTS:
                # Stream and orders, REST, and the watchdog's.
                assert sum(each.startswith(f"{host}:") for each in proxy.asked) >= 4, proxy.asked
            proxy.answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
            proxy.cut()
            said = f"502 (by the proxy {address})"
            until(lambda: live.process.text.count(said) >= 2, what="the proxy named")
            proxy.answer = None
            live.wait_for(binance="LIVE", bitstamp="LIVE")
            assert live.process.end() == 0
            for secret in (PASSWORD, LOGIN, LOGIN.partition(":")[2]):
                assert secret not in live.process.text
        # The venue's own setting says it too, also for what is on this host.
        own = venues.toml.replace("ca_file = ", f'proxy = "http://127.0.0.1:{free_port()}"\n#')
        with running(tmp_path, "check", "check", "--config", str(write(tmp_path, own))) as check:
            assert check.popen.wait(60) == 1
            assert check.text.count("Connection refused (by the proxy http://127.0.0.1:") == 2
        bad = {"ALL_PROXY": "socks5://127.0.0.1:1"}
        config = str(write(tmp_path, toml))
        with running(tmp_path, "serve", "serve", "--config", config, keys=bad) as refused:
            assert refused.popen.wait(60) == 2
            assert "ALL_PROXY: 'socks5://127.0.0.1:1' is not the address" in refused.text


def write(folder: Path, toml: str) -> Path:
    path = folder / "written.toml"
    path.write_text(toml)
    return path
