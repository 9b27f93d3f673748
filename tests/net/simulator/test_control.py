"""The control endpoints, the fault seam, slow clients, TLS, start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket as sockets
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from net.simulator.connection import Connection, Interceptor
from net.simulator.options import SimulatorError, SimulatorOptions
from net.simulator.venues import SimulatedVenues
from tests.net.simulator.reference import closing, lab, pending, text

DEPTH = "btcusdt@depth@100ms"


def test_pause_and_resume() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            last = json.loads(await text(socket))
            assert await here.control(here.binance, "pause") == {"paused": True}
            for frame in await pending(socket, 0.3):
                event = json.loads(frame)
                assert event["U"] == last["u"] + 1
                last = event
            stats = await here.stats(here.binance)
            assert stats["paused"] and stats["books"]["BTCUSDT"]["version"] == last["u"]
            assert (await here.stats(here.bitstamp))["paused"] is False
            await here.control(here.binance, "resume")
            assert json.loads(await text(socket))["U"] == last["u"] + 1

    asyncio.run(main())


def test_drop_is_a_reset_and_close_a_handshake() -> None:
    async def main() -> None:
        async with lab() as here:
            for base in (here.binance + "/ws", here.bitstamp):
                root = base.removesuffix("/ws")
                for code in ("", "?code=1000"):
                    socket = await here.session.ws_connect(base)
                    assert await here.control(root, "close" + code) == {"closed": 1}
                    assert await closing(socket) == (1000 if code else 1001)
                port = int(root.rsplit(":", 1)[1])
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    (
                        f"GET {base.removeprefix(root) or '/'} HTTP/1.1\r\nHost: x\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                    ).encode()
                )
                assert b"101" in await reader.readuntil(b"\r\n\r\n")
                assert (await here.control(root, "drop"))["dropped"] == 1
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                writer.close()

    asyncio.run(main())


def test_a_deposit_is_the_customers_and_no_more_than_is_there_is_withdrawn() -> None:
    async def main() -> None:
        async with lab() as here:
            for base in (here.binance, here.bitstamp):
                before = await here.control(base, "deposit?asset=BTC&amount=0")
                after = await here.control(base, "deposit?asset=BTC&amount=1.5")
                assert after["free_lots"] - before["free_lots"] == 150_000_000
                assert await here.control(base, "deposit?asset=BTC&amount=-1.5") == before
                for bad in ("asset=BTC&amount=x", "asset=BTC", "asset=DOGE&amount=-1"):
                    async with here.session.post(f"{base}/simulator/deposit?{bad}") as answer:
                        assert answer.status == 400 and (await answer.json())["error"]

    asyncio.run(main())


def test_refuse() -> None:
    async def main() -> None:
        async with lab() as here:
            await here.control(here.binance, "refuse?seconds=0.4")
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await here.session.ws_connect(f"{here.binance}/ws")
            assert caught.value.status == 503
            async with here.session.get(f"{here.binance}/api/v3/ping") as response:
                assert response.status == 503
            await here.get(f"{here.bitstamp}/api/v2/markets/")  # the other venue is well
            await asyncio.sleep(0.45)
            await here.get(f"{here.binance}/api/v3/ping")
            for bad in ("refuse", "refuse?seconds=-1", "refuse?seconds=x", "close?code=7"):
                async with here.session.post(f"{here.binance}/simulator/{bad}") as response:
                    assert response.status == 400

    asyncio.run(main())


def test_stats_count() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            await text(socket)
            await here.get(f"{here.binance}/api/v3/depth?symbol=BTCUSDT")
            stats = await here.stats(here.binance)
            assert stats["connections"] == stats["connections_total"] == 1
            assert stats["requests"] == {"/ws/{streams}": 1, "/api/v3/depth": 1}
            assert stats["frames_sent"] >= 1 and stats["weight_used"] == 5
            assert stats["channels"] == {DEPTH: 1}
            assert float(stats["books"]["BTCUSDT"]["bid"][0]) < float(
                stats["books"]["BTCUSDT"]["ask"][0]
            )
            await socket.close()
            await asyncio.sleep(0.05)
            stats = await here.stats(here.binance)
            assert stats["connections"] == 0 and stats["channels"] == {}

    asyncio.run(main())


def test_a_client_that_does_not_read_is_cut_and_others_are_not() -> None:
    options = SimulatorOptions(far_levels_share=0.0, speed=200, backlog_frames_max=400)

    async def main() -> None:
        async with lab(options) as here:
            port = int(here.binance.rsplit(":", 1)[1])
            lazy = sockets.socket()
            lazy.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", port))
            lazy.sendall(
                (
                    f"GET /ws/{DEPTH}/btcusdt@depth20@100ms HTTP/1.1\r\nHost: x\r\n"
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                ).encode()
            )
            keen = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            last = json.loads(await text(keen))
            async with asyncio.timeout(20):
                while not (await here.stats(here.binance))["slow_clients_total"]:
                    for _ in range(50):
                        event = json.loads(await text(keen))
                        assert event["U"] == last["u"] + 1
                        last = event
            assert (await here.stats(here.binance))["connections"] == 1
            lazy.close()

    asyncio.run(main())


class Faults(Interceptor):
    """Doubles every frame of the first connection, hides the second's, answers 502 to time."""

    async def frame(self, connection: Connection, text: str) -> Sequence[str]:
        return (text, text) if connection.connection_id == 1 else ()

    async def response(self, request: web.Request, response: web.Response) -> web.Response:
        return web.Response(status=502) if request.path.endswith("/time") else response


def test_the_seam_for_faults() -> None:
    async def main() -> None:
        async with lab(interceptor=Faults()) as here:
            one = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            two = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            assert await text(one) == await text(one)
            assert await pending(two, 0.3) == []
            async with here.session.get(f"{here.binance}/api/v3/time") as response:
                assert response.status == 502
            await here.get(f"{here.binance}/api/v3/ping")

    asyncio.run(main())


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    issued.cert_chain_pems[0].write_to_path(str(files["cert"]))
    issued.private_key_pem.write_to_path(str(files["key"]))
    options = SimulatorOptions(tls_cert=files["cert"], tls_key=files["key"], tls_ca=files["ca"])

    async def main() -> None:
        trust = ssl.create_default_context(cafile=str(files["ca"]))
        async with lab(options, connector=aiohttp.TCPConnector(ssl=trust)) as here:
            assert here.binance.startswith("https://")
            socket = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            assert "depthUpdate" in await text(socket)
            await here.get(f"{here.bitstamp}/api/v2/markets/")
            parsed = tomllib.loads(here.venues.configuration_toml())
            assert parsed["venue"]["binance"]["ws_url"].startswith("wss://")
            assert Path(parsed["venue"]["binance"]["ca_file"]) == files["ca"]
            await here.control(here.binance, "drop")
            assert await closing(socket) in (None, 1006)

    asyncio.run(main())
    with pytest.raises(SimulatorError, match="key"):
        SimulatedVenues(SimulatorOptions(tls_cert=files["cert"]))
    bad = SimulatedVenues(SimulatorOptions(tls_cert=files["ca"], tls_key=files["key"]))
    with pytest.raises(SimulatorError, match=r"ca\.pem"):
        asyncio.run(bad.start())


def test_configuration_and_ports() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(symbols=("BTC-USD", "ETH-USD"))) as here:
            parsed = tomllib.loads(here.venues.configuration_toml())
            assert [each["symbol"] for each in parsed["instrument"]] == ["BTC-USD", "ETH-USD"]
            assert parsed["instrument"][1]["venue"] == [
                {"name": "binance", "symbol": "ETHUSDT"},
                {"name": "bitstamp", "symbol": "ethusd"},
            ]
            assert parsed["venue"]["binance"] == {
                "ws_url": here.binance.replace("http", "ws"),
                "rest_url": here.binance,
                "trade_url": here.binance.replace("http", "ws") + "/ws-api/v3",
            }
            assert parsed["venue"]["bitstamp"]["trade_url"] == here.bitstamp
            port = int(here.binance.rsplit(":", 1)[1])
            busy = SimulatedVenues(SimulatorOptions(port_base=port))
            with pytest.raises(SimulatorError, match=str(port)):
                await busy.start()

    asyncio.run(main())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_simulator_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    program = (
        "import sys; from net.simulator.venues import *; "
        "sys.exit(run_simulator(SimulatorOptions(), lambda s: print(s, flush=True)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONWARNINGS": "error::ResourceWarning"},
    )
    assert process.stdout is not None and process.stderr is not None
    with process:
        addresses = [process.stdout.readline() for _ in range(2)]
        process.send_signal(number)
        assert addresses[0].startswith("# binance http://127.0.0.1:")
        assert addresses[1].startswith("# bitstamp http://127.0.0.1:")
        assert process.wait(5) == 0
        assert process.stderr.read() == ""


def test_a_strangers_page_in_a_browser_controls_nothing() -> None:
    """Issue 13, point 11: neither by a name of its own (DNS rebinding) nor from its own address."""

    async def main() -> None:
        async with lab() as here:
            foreign = (
                {"Host": "evil.example"},
                {"Host": "evil.example:9440", "Origin": "http://evil.example:9440"},
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
            )
            for url in (here.binance, here.bitstamp):
                for headers in foreign:
                    async with here.session.post(
                        f"{url}/simulator/pause", headers=headers
                    ) as answer:
                        assert answer.status == 403, headers
                        assert (await answer.text()).count("\n") == 1
                    async with here.session.get(
                        f"{url}/simulator/stats", headers=headers
                    ) as answer:
                        assert answer.status == 403, headers
                port = url.rsplit(":", 1)[1]
                for own in ({"Host": f"localhost:{port}"}, {"Origin": url}, {}):
                    async with here.session.get(f"{url}/simulator/stats", headers=own) as answer:
                        assert answer.status == 200, own
                        assert (await answer.json())["paused"] is False

    asyncio.run(main())
