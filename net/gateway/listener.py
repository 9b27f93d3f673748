"""The gateway's sockets: who may connect, whose turn it is, who is dropped.

Every client has its turn: what one sends beyond a few frames is served after the others', and for
a millisecond at most before books are looked at again.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque

from net.gateway.call import Call
from net.gateway.clients import Clients, plain_host
from net.gateway.data_path import layout as D
from net.gateway.data_path.data_path import DataPath
from net.gateway.http2 import Code, Connection
from net.gateway.link import Link
from net.gateway.listening import listening_sockets
from net.gateway.methods import Methods
from net.gateway.options import GatewayOptions
from net.gateway.tls import TlsRecords

ACCEPTS_A_TURN = 32
ACCEPT_PAUSE_S = 0.2
"""After a failed accept: a process without a descriptor left would fail at once again."""
WORK_S = 0.001
"""What clients that send much may take of a turn, all together."""
FULL_PAUSE_S = 0.02
"""Before a client is heard again that does not read its answers."""

BEGUN_LIMIT_S = 10.0
"""A connection that has not said HTTP/2 (and TLS) by then is closed, and so is one with a frame or
a header block that was begun so long ago."""
IDLE_LIMIT_S = 600.0
"""A connection without a call is closed after this long: it takes the place of another."""
KEEPALIVE_S = 20.0
"""A client that has said nothing for so long is asked for a sign of life."""
KEEPALIVE_LIMIT_S = 10.0
"""What it has for it: a client that vanished has its place for half a minute at most."""


class Listener:
    """One address, with its connections; the host of net.gateway.http2."""

    def __init__(
        self,
        options: GatewayOptions,
        path: DataPath,
        methods: Methods,
        clients: Clients,
        context: ssl.SSLContext | None,
    ) -> None:
        self.path = path
        self.methods = methods
        self.streams_max = clients.calls_max
        self.request_bytes_max = options.request_bytes_max
        self.links: dict[int, Link] = {}
        """By their places in the data path."""
        self._options = options
        self._clients = clients
        self._context = context
        self._calls: dict[int, Call] = {}
        self._deferred: deque[Link] = deque()
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self._turn_end_s = 0.0

    def now_s(self) -> float:
        return self._loop.time()

    # --- accepting -------------------------------------------------------------------------------

    def open(self) -> int:
        """Listen; the port. GatewayError: the address cannot be had."""
        self._sockets = listening_sockets(self._options.listen)
        for each in self._sockets:
            self._loop.add_reader(each, self._accept, each)
        port: int = self._sockets[0].getsockname()[1]
        return port

    def close_door(self) -> None:
        """Accept nobody any more."""
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        self._sockets = []

    def _accept(self, door: socket.socket) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                link, end = door.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:
                self._loop.remove_reader(door)
                self._loop.call_later(ACCEPT_PAUSE_S, self._accept_again, door)
                return
            self._welcome(link, (plain_host(end[0]), end[1]))

    def _accept_again(self, door: socket.socket) -> None:
        if door in self._sockets:
            self._loop.add_reader(door, self._accept, door)

    def _welcome(self, link: socket.socket, end: tuple[str, int]) -> None:
        place = self.path.add_connection(link.fileno(), self._context is not None)
        if place is None:
            link.close()
            return
        records = TlsRecords(self._context) if self._context is not None else None
        self.links[place] = Link(self, link, place, end, records)

    # --- turns -----------------------------------------------------------------------------------

    def on_turn(self, notices: list[tuple[int, int]]) -> None:
        """A turn of the data path has ended: what it has to tell."""
        self._turn_end_s = self.now_s() + WORK_S
        for kind, subject in notices:
            if kind == D.NOTICE_SENT:
                call = self._calls.get(subject)
                if call is not None:
                    call.on_sent()
            elif subject in self.links:
                self.links[subject].on_notice(kind)

    def has_time(self) -> bool:
        """Whether clients' frames may be served in this turn."""
        return self.now_s() < self._turn_end_s

    def defer(self, connection: Connection) -> None:
        link = self.links.get(connection.place)
        if link is not None:
            link.has_frames = True
            self.defer_link(link, FULL_PAUSE_S if connection.is_full else 0.0)

    def defer_link(self, link: Link, pause_s: float = 0.0) -> None:
        """Have `serve_again` called when others have had their turn; nothing is read before."""
        if link.is_deferred:
            return
        link.pause()
        link.is_deferred = True
        if pause_s:
            self._loop.call_later(pause_s, self._hear_again, link)
        else:
            self._hear_again(link)

    def _hear_again(self, link: Link) -> None:
        if not self._deferred:
            self._loop.call_soon(self._serve_deferred)
        self._deferred.append(link)

    def _serve_deferred(self) -> None:
        links, self._deferred = self._deferred, deque()
        while links and self.has_time():
            links.popleft().serve_again()
        links.extend(self._deferred)
        self._deferred = links
        if links:
            self._loop.call_soon(self._serve_deferred)

    # --- calls and connections (http2.Host) ------------------------------------------------------

    def admit(self, call: Call, needs_token: bool) -> None:
        self._clients.admit(call, needs_token)

    def know_stream(self, stream: int, call: Call | None) -> None:
        if call is None:
            self._calls.pop(stream, None)
        else:
            self._calls[stream] = call

    def finish(self, connection: Connection) -> None:
        link = self.links.get(connection.place)
        if link is not None:
            link.finish()
        else:  # it fails while it is made
            self._loop.call_soon(self._finish_later, connection.place)

    def _finish_later(self, place: int) -> None:
        if place in self.links:
            self.links[place].finish()

    def forget(self, connection: Connection) -> None:
        link = self.links.get(connection.place)
        if link is not None:
            link.lose()

    def forget_link(self, link: Link) -> None:
        """It is closed."""
        if self.links.get(link.place) is link:
            del self.links[link.place]
        self.path.remove_connection(link.place)

    # --- who is dropped --------------------------------------------------------------------------

    def sweep(self) -> None:
        """Once a second or so: ask the silent ones, drop those that do not answer or do nothing."""
        now_s = self.now_s()
        for link in list(self.links.values()):
            connection = link.connection
            if connection is None or not connection.has_greeted:
                if now_s - link.since_s > BEGUN_LIMIT_S:
                    link.lose()
            elif connection.is_closing:
                continue
            elif connection.begun_s and now_s - connection.begun_s > BEGUN_LIMIT_S:
                connection.fail(Code.ENHANCE_YOUR_CALM)
            elif connection.ping_s and now_s - connection.ping_s > KEEPALIVE_LIMIT_S:
                link.lose()
            elif not connection.calls and now_s - connection.idle_since_s > IDLE_LIMIT_S:
                connection.retire(is_final=True)
            elif not connection.ping_s and now_s - connection.read_s > KEEPALIVE_S:
                connection.ask_for_life()

    def retire(self, *, is_final: bool) -> None:
        """Tell every client that its connection ends: first that it will, then that it does."""
        for link in list(self.links.values()):
            if link.connection is not None and link.connection.has_greeted:
                link.connection.retire(is_final=is_final)
            elif is_final:
                link.lose()

    def close(self) -> None:
        """Close everything at once."""
        self.close_door()
        for link in list(self.links.values()):
            link.lose()
