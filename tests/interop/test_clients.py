"""Subscribers by other gRPC implementations: grpc-go, grpc-js and grpcurl, from their registries.

Each is built once, in a cache of the user's; without its toolchain, or without its registry, its
tests are skipped and say so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from proto import orderbook_pb2
from tests.net.gateway.rig import Beating, gateway_thread, ladder

HERE = Path(__file__).parent
BUILD_LIMIT_S = 900
RUN_LIMIT_S = 60
MESSAGES = 50
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"

pytestmark = pytest.mark.timeout(BUILD_LIMIT_S + RUN_LIMIT_S)


def built(name: str, sources: Path, make: Callable[[Path], list[list[str]]]) -> Path:
    """A folder with a client, built there if it is not yet."""
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        digest.update(path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "pollux-interop" / f"{name}-{digest.hexdigest()[:12]}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sources, folder)
        for command in make(folder):
            if shutil.which(command[0]) is None:
                pytest.skip(f"no {command[0]} on this host")
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=BUILD_LIMIT_S,
                check=False, env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"},
            )  # fmt: skip
            if done.returncode:
                pytest.skip(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
        (folder / "ready").touch()
    return folder


def go_client() -> list[str]:
    folder = built("go", HERE / "go", lambda _: [["go", "build", "-o", "client", "."]])
    return [str(folder / "client")]


def node_client() -> list[str]:
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    folder = built("node", HERE / "node", lambda _: [install])
    return ["node", str(folder / "client.js")]


CLIENTS = {"grpc-go": go_client, "grpc-js": node_client}


@pytest.fixture
def engine() -> Iterator[Beating]:
    """It publishes another book every few milliseconds."""
    made, stop = Beating(), threading.Event()

    def publish() -> None:
        step = 0
        while not stop.wait(0.01):
            step += 1
            made.publish(*ladder(6_000_000 + step))

    made.publish(*ladder(6_000_000))
    thread = threading.Thread(target=publish)
    thread.start()
    yield made
    stop.set()
    thread.join()
    made.close()


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
def test_a_subscriber(
    engine: Beating, client: Callable[[], list[str]], is_encrypted: bool, tmp_path: Path
) -> None:
    command = client()
    options: dict[str, str] = {}
    more: list[str] = []
    if is_encrypted:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        files = {name: tmp_path / f"{name}.pem" for name in ("ca", "tls_cert", "tls_key")}
        authority.cert_pem.write_to_path(str(files["ca"]))
        files["tls_cert"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        files["tls_key"].write_bytes(issued.private_key_pem.bytes())
        options = {name: str(files[name]) for name in ("tls_cert", "tls_key")}
        more = [str(files["ca"])]
    with gateway_thread(engine, **options) as gateway:
        done = subprocess.run(
            [*command, f"localhost:{gateway.port}", *more], capture_output=True, text=True,
            timeout=RUN_LIMIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    raws = [base64.b64decode(rest) for what, rest in lines if what == "message"]
    bests = [orderbook_pb2.Summary.FromString(raw).bids[0].price for raw in raws]
    assert len(bests) == MESSAGES and bests == sorted(set(bests))
    said = dict(each for each in lines if each[0] != "message")
    assert said["stream"].split()[0] in ("0", "1"), "whole, or cancelled by itself"
    assert said["refused"] == "5 unknown symbol 'DOGE'; known: BTC-USD, ETH-USD"
    assert said["unknown"].startswith("12 there is no method")
    assert said["deadline"].startswith("4 ")
    assert said.get("health", "SERVING <nil>") == "SERVING <nil>"


def test_grpcurl_by_reflection(engine: Beating, tmp_path: Path) -> None:
    sources = tmp_path / "grpcurl"
    sources.mkdir()
    (sources / "version").write_text(GRPCURL)
    folder = built("grpcurl", sources, lambda _: [["go", "install", GRPCURL]])

    def grpcurl(*arguments: str) -> str:
        done = subprocess.run(
            [str(folder / "grpcurl"), "-plaintext", *arguments], capture_output=True, text=True,
            timeout=RUN_LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    with gateway_thread(engine) as gateway:
        names = grpcurl(gateway.target, "list").split()
        assert "pollux.v1.MarketDataService" in names and "orderbook.OrderbookAggregator" in names
        described = grpcurl(gateway.target, "describe", "pollux.v1.Book")
        assert "int64 sequence = 2;" in described
        asked = ("-d", '{"symbol": "BTC-USD", "depth": 2}', gateway.target)
        book = json.loads(grpcurl(*asked, "pollux.v1.MarketDataService/GetBook"))
        assert len(book["bids"]) == 2
        health = grpcurl(gateway.target, "grpc.health.v1.Health/Check")
        assert json.loads(health) == {"status": "SERVING"}
