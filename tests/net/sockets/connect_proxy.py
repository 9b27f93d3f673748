"""An HTTP proxy for the tests: CONNECT tunnels, with a password, with TLS, or refusing.

Runs on: a thread of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
from collections.abc import Iterator

PASSWORD = "s3cret/word"
LOGIN = "desk:s3cret%2Fword"


class ConnectProxy:
    """Tunnels to this host, whatever name is asked for. `answer`: what is said instead."""

    def __init__(self, *, has_password: bool) -> None:
        self.port = 0
        self.asked: list[str] = []
        """The authority of each CONNECT that was let through."""
        self.answer: bytes | None = None
        self._has_password = has_password
        self._links: set[asyncio.StreamWriter] = set()

    async def serve(self, tls: ssl.SSLContext | None) -> asyncio.Server:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._tunnel(reader, writer)
        writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, authority, _ = head.split("\r\n")[0].split(" ")
        login = base64.b64encode(f"desk:{PASSWORD}".encode()).decode()
        answer = self.answer
        if answer is None and self._has_password and f": Basic {login}\r\n" not in head:
            answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        if answer is None and method != "CONNECT":
            answer = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"
        if answer is not None:
            writer.write(answer)
            await writer.drain()
            return
        self.asked.append(authority)
        far_reader, far_writer = await asyncio.open_connection(
            "127.0.0.1", int(authority.rpartition(":")[2])
        )
        self._links.add(far_writer)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    def cut(self) -> None:
        """End every tunnel."""
        for link in self._links:
            link.transport.abort()
        self._links.clear()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def connect_proxy(
    tls: ssl.SSLContext | None = None, *, has_password: bool = False
) -> Iterator[ConnectProxy]:
    """One that serves while the block runs."""
    proxy, loop = ConnectProxy(has_password=has_password), asyncio.new_event_loop()
    server = loop.run_until_complete(proxy.serve(tls))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(proxy.cut)
        loop.call_soon_threadsafe(loop.call_later, 0.05, loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()
