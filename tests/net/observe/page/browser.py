"""A headless Chromium, where there is one, driven by its DevTools protocol.

The protocol: https://chromedevtools.github.io/devtools-protocol/. No driver is needed for the few
calls a test makes.
Runs on: the tests' thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
START_LIMIT_S = 30.0
POLL_S = 0.05


class Tab:
    """One tab; what went wrong in it is in `troubles`, what it asked for in `requests`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._calls = 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method; events that come meanwhile are kept."""
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        while True:
            said = await self._socket.receive_json()
            if said.get("id") == self._calls:
                assert "error" not in said, said
                found: dict[str, Any] = said["result"]
                return found
            self._keep(said["method"], said["params"])

    def _keep(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown" or method == "Log.entryAdded":
            self.troubles.append(str(parameters))

    async def open(self, url: str) -> None:
        for domain in ("Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """What an expression is worth in the page; None where it throws."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, expression: str, limit_s: float = 10.0) -> None:
        """Until an expression is true; AssertionError with the page's text."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while await self.value(expression) is not True:
                    await asyncio.sleep(POLL_S)
                return
        raise AssertionError(f"never {expression}: {await self.value('document.body.innerText')}")


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """A Chromium with its profile in a folder, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"),
        *(f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(START_LIMIT_S):
            port = b""
            while not port:
                line = await process.stderr.readline()
                assert line, "Chromium ended"
                found = re.search(rb"ws://127.0.0.1:(\d+)/", line)
                port = found[1] if found else b""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port.decode()}/json/list") as answer:
                address = (await answer.json())[0]["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        # What it says to the end is not read: a full pipe must not hold it.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.communicate(), 10)
