"""Issue 13, point 11: the page answers to our names only: no stranger's page can read it."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from net.config.schema import MetricsSettings
from net.observe.page.server import PageError
from tests.net.observe.page.test_page import Served

OWN = (
    "127.0.0.1", "127.0.0.1:9102", "localhost", "LocalHost:9102", "localhost.", "[::1]:9102",
    "127.9.9.9", "desk.example.org", "DESK.example.org:80", "10.0.0.5",
)  # fmt: skip
FOREIGN = (
    "evil.example", "evil.example:9102", "127.0.0.1.evil.example", "localhost.evil.example",
    "192.0.2.1", "desk.example.org.evil.example", "", "[", "localhost@evil.example", "0x7f000001",
    "a b", "\xff",
)  # fmt: skip


@pytest.fixture
def page() -> Iterator[Served]:
    served = Served()
    served.page.close()
    metrics = MetricsSettings(hosts=("desk.example.org", "10.0.0.5"))
    served.daemon.config = served.daemon.config.model_copy(update={"metrics": metrics})
    served.__post_init__()
    served.start()
    yield served
    served.page.close()


def answer(page: Served, head: str) -> str:
    """To a raw request."""
    with socket.create_connection(("127.0.0.1", page.page.port), 5) as link:
        link.sendall(head.encode("latin-1") + b"\r\n\r\n")
        text = b""
        while part := link.recv(65536):
            text += part
    return text.decode()


def get(page: Served, host: str, path: str = "/healthz") -> str:
    return answer(page, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close")


def test_our_own_names_are_served(page: Served) -> None:
    for host in OWN:
        assert get(page, host).startswith("HTTP/1.1 200 "), host


def test_a_strangers_name_is_not(page: Served) -> None:
    """Whatever is asked for; one line says what to do."""
    for host in FOREIGN:
        said = get(page, host)
        assert said.startswith("HTTP/1.1 421 "), (host, said)
        head, _, body = said.partition("\r\n\r\n")
        assert "[metrics] hosts" in body and body.count("\n") == 1 and "Connection: close" in head
    for path in ("/", "/events", "/metrics", "/readyz", "/nothing"):
        assert get(page, "evil.example", path).startswith("HTTP/1.1 421 "), path


def test_a_request_names_one_host(page: Served) -> None:
    two = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close"
    assert answer(page, two).startswith("HTTP/1.1 421 ")
    assert answer(page, "GET /healthz HTTP/1.1\r\nConnection: close").startswith("HTTP/1.1 421 ")
    assert answer(page, "GET /healthz HTTP/1.0").startswith("HTTP/1.1 200 ")


def test_the_token_is_asked_for_on_loopback_too(tmp_path: Path) -> None:
    """By all but the probe of health; as a bearer's or as the password that a browser asks for."""
    token, path = "a-token-of-the-tests", tmp_path / "token"
    path.touch(0o600)
    path.write_text(token)
    served = Served()
    served.page.close()
    metrics = MetricsSettings(token_file=str(path))
    served.daemon.config = served.daemon.config.model_copy(update={"metrics": metrics})
    served.__post_init__()
    served.start()

    def status(path: str, shown: str = "") -> int:
        return served.ask(path, **({"Authorization": shown} if shown else {}))[0]

    basic = base64.b64encode(f"me:{token}".encode()).decode()
    wrong = base64.b64encode(f"{token}:".encode()).decode()
    for page in ("/", "/page.js", "/events?symbol=none", "/metrics", "/readyz", "/nothing"):
        for shown in ("", "Bearer x", f"Basic {wrong}", "Basic %", f"Digest {token}", token):
            assert status(page, shown) == 401, (page, shown)
        for shown in (f"Bearer {token}", f"Basic {basic}"):
            assert status(page, shown) in (200, 404, 503), (page, shown)
    assert status("/healthz") == 200
    assert served.ask("/metrics")[2].getheader("WWW-Authenticate") == 'Basic realm="pollux"'
    served.page.close()
    path.chmod(0o644)
    with pytest.raises(PageError, match=r"metrics token_file .*\(0644\): chmod 600"):
        served.__post_init__()
