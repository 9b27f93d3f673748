"""One client's socket: bytes in, bytes out where the data path does not send them itself, TLS.

Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from net.gateway.clients import network_of
from net.gateway.data_path import layout as D
from net.gateway.http2 import Connection
from net.gateway.tls import TlsRecords

if TYPE_CHECKING:
    from net.gateway.listener import Listener

READ_BYTES = 65_536
"""One read: then it is another client's turn."""
NOTSENT_BYTES = 65_536
"""What the kernel keeps of a connection beyond what its client has room for: less old books."""
FINISH_LOOK_S = 0.05
"""How often it is seen whether the last bytes of a connection have gone."""
FINISH_LIMIT_S = 1.0
"""What a client has to take them, and to close its side."""

_log = logging.getLogger("pollux.gateway")

_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class Link:
    """From accept to close; with `records` there is no connection before the handshake is done."""

    def __init__(
        self,
        listener: Listener,
        link: socket.socket,
        place: int,
        end: tuple[str, int],
        records: TlsRecords | None,
    ) -> None:
        self.place = place
        self.host, port = end
        self.peer = f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"
        self.connection: Connection | None = None
        self.since_s = listener.now_s()
        self.is_deferred = False
        """Whether it waits for its next turn."""
        self.has_frames = False
        """Whether it waits with frames that have been read."""
        self._listener = listener
        self._link = link
        self._records = records
        self._output = b""
        self._is_writing = self._is_closed = False
        self._is_reading = False
        link.setblocking(False)
        with contextlib.suppress(OSError):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
        if records is None:
            self.connection = Connection(listener, place, self.peer, network_of(self.host))
        self.read()

    @property
    def has_call(self) -> bool:
        return self.connection is not None and bool(self.connection.calls)

    # --- in --------------------------------------------------------------------------------------

    def read(self) -> None:
        """From now on."""
        if not self._is_reading and not self._is_closed:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._link, self._on_readable)

    def pause(self) -> None:
        """Not before `read` is called again."""
        if self._is_reading:
            self._is_reading = False
            asyncio.get_running_loop().remove_reader(self._link)

    def _on_readable(self) -> None:
        if self._listener.has_time():
            self._receive()
        else:
            self._listener.defer_link(self)

    def _receive(self) -> None:
        try:
            data = self._link.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            return self.lose()
        if not data:
            return self.lose()
        with self._lost_on_failure():
            if self._records is not None:
                data = self._decrypt(self._records, data)
            if data and self.connection is not None:
                self.connection.receive(data)

    def serve_again(self) -> None:
        """Its turn has come: for frames that wait, or for what the socket has."""
        has_frames, self.has_frames, self.is_deferred = self.has_frames, False, False
        if self._is_closed:
            return
        if has_frames and self.connection is not None:
            with self._lost_on_failure():
                self.connection.serve()
        else:
            self._receive()
        if not self.is_deferred:
            self.read()

    @contextlib.contextmanager
    def _lost_on_failure(self) -> Iterator[None]:
        """A mistake of ours that one client has found is not to end the others' service."""
        try:
            yield
        except Exception:
            _log.exception("the connection of %s failed", self.peer)
            self.lose()

    def _decrypt(self, records: TlsRecords, data: bytes) -> bytes:
        try:
            plain = records.decrypt(data)
        except ssl.SSLError:
            self._send(records.output())  # what is wrong, if the client still listens
            self.lose()
            return b""
        if records.is_open and self.connection is None:
            identity = records.identity()
            client = f"certificate {identity}" if identity else network_of(self.host)
            self.connection = Connection(self._listener, self.place, self.peer, client)
        self._send(records.output())
        return plain

    # --- out -------------------------------------------------------------------------------------

    def on_notice(self, kind: int) -> None:
        """What the data path has to tell of it."""
        if kind == D.NOTICE_STUCK:
            self.watch_writable()
        elif kind == D.NOTICE_TO_ENCRYPT:
            self.encrypt()
        else:
            self.lose()

    def encrypt(self) -> None:
        """Send what the data path has laid out."""
        if self._is_closed or self._records is None or self._output:
            return
        frames = self._listener.path.take_backlog(self.place)
        if frames:
            try:
                self._records.encrypt(frames)
            except ssl.SSLError:
                return self.lose()
            self._send(self._records.output())

    def _send(self, output: bytes) -> None:
        """Send these bytes behind what waits; what the socket does not take waits."""
        self._output += output
        if not self._output or self._is_closed:
            return
        try:
            sent = self._link.send(self._output)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            return self.lose()
        self._output = self._output[sent:]
        if self._output:
            self._listener.path.stick(self.place)
            self.watch_writable()
        else:
            self._listener.path.unstick(self.place)

    def watch_writable(self) -> None:
        """The socket is full: see when it is not."""
        if not self._is_writing and not self._is_closed:
            self._is_writing = True
            asyncio.get_running_loop().add_writer(self._link, self._on_writable)

    def _on_writable(self) -> None:
        self._is_writing = False
        asyncio.get_running_loop().remove_writer(self._link)
        if self._output:
            self._send(b"")
        else:
            self._listener.path.unstick(self.place)

    # --- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Close it when what waits has gone, or soon."""
        self.read()
        now_s = self._listener.now_s()
        asyncio.get_running_loop().call_soon(self._finish_by, now_s + FINISH_LIMIT_S)

    def _finish_by(self, limit_s: float) -> None:
        if self._is_closed:
            return
        loop = asyncio.get_running_loop()
        if self._listener.now_s() > limit_s:
            return self.lose()
        if not self._output and not self._listener.path.backlog_bytes(self.place):
            # The client reads to the end before it closes; a reset would take that from it.
            with contextlib.suppress(OSError):
                self._link.shutdown(socket.SHUT_WR)
        loop.call_later(FINISH_LOOK_S, self._finish_by, limit_s)

    def lose(self) -> None:
        """Close it at once."""
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._link)
        loop.remove_writer(self._link)
        if self.connection is not None:
            self.connection.lose()
        self._link.close()
        self._listener.forget_link(self)
