"""The daemon's HTTP listener: the web page, its events, Prometheus' page, health and readiness.

    /          the page (plain files beside this one)    /events?symbol=S   what it shows, pushed
    /metrics   Prometheus' text                          /healthz, /readyz  200, or 503 and why

Only what can be looked at is served, and only by our own names: nothing here changes anything.
Connections, the time one may
take and viewers are bounded; each has a thread of its own, which reads the handoff and the counters
and never asks the engine thread for anything.
Runs on: threads of its own.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from net.gateway.authorization import is_token_shown, read_token
from net.gateway.options import GatewayError, host_and_port_of
from net.log.log_function import LogFunction
from net.log.one_line import error_text, one_line
from net.observe.metrics.collector import make_registry
from net.observe.page.daemon_state import DaemonState
from net.observe.page.health import remarks, unhealthy, unready
from net.observe.page.page_state import PERIOD_S, PageState
from net.process.host_header import is_own_host
from tuning.clock import now

CONNECTIONS_MAX = 64
"""Threads: some viewers, and scrapers that come and go. One more is closed unanswered."""
VIEWERS_MAX = 16
"""Streams of events at once; so the others always find a connection free."""
TIME_LIMIT_S = 10.0
"""For a request to arrive, and for a viewer to take an event: who is slower is closed."""
STOP_POLL_S = 0.1

PLAIN, JSON, EVENTS = "text/plain; charset=utf-8", "application/json", "text/event-stream"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
}
PATHS = (*FILES, "/events", "/metrics", "/healthz", "/readyz")
assert VIEWERS_MAX < CONNECTIONS_MAX


class PageError(Exception):
    """The page cannot be served: one line."""


class _Server(ThreadingHTTPServer):
    """A thread a connection, so many and no more."""

    daemon_threads = True
    allow_reuse_port = False
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], daemon: DaemonState, log: LogFunction) -> None:
        host, port = address
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self.daemon = daemon
        self.own_hosts = (host, *daemon.config.metrics.hosts)
        """Names and addresses that it answers to."""
        given = daemon.config.metrics.token_file
        self.token = read_token(given, "metrics") if given else ""
        self.page_state = PageState(daemon)
        self.registry: CollectorRegistry = make_registry(daemon)
        self.files = {
            path: ((Path(__file__).parent / name).read_bytes(), kind)
            for path, (name, kind) in FILES.items()
        }
        self.stopping = threading.Event()
        self.viewers = threading.BoundedSemaphore(VIEWERS_MAX)
        self._log = log
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Less HTTPServer's own part, which asks a name server who this host is.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event; anything else is a line of the log."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self._log("error", "page request failed", reason=error_text(error))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = TIME_LIMIT_S
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:
        if not self._is_host_ours():
            self.close_connection = True
            said = one_line(self.headers.get("Host") or "no Host")
            text = f"{said} is not this page; [metrics] hosts may name it\n"
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, text.encode(), PLAIN)
            return
        if not self._is_allowed():
            self.close_connection = True
            self._answer(
                HTTPStatus.UNAUTHORIZED, b"the token of [metrics] token_file is asked for\n", PLAIN
            )
            return
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # a body that nobody reads
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path in self.server.files:
            self._answer(HTTPStatus.OK, *self.server.files[url.path])
        elif url.path == "/events":
            self._events(query.get("symbol", [""])[0])
        elif url.path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept") or "")
            self._answer(HTTPStatus.OK, encode(self.server.registry), kind)
        elif url.path == "/healthz":
            trouble = unhealthy(self.server.daemon, now())
            self._report([] if trouble is None else [trouble], "healthy")
        elif url.path == "/readyz":
            self._report(unready(self.server.daemon, now()), "ready")
        else:
            text = f"nothing is at {one_line(url.path)}; there is {' '.join(PATHS)}\n"
            self._answer(HTTPStatus.NOT_FOUND, text.encode(), PLAIN)

    def _is_host_ours(self) -> bool:
        """A browser says by which name it came (net.process.host_header); HTTP/1.0 need not."""
        said = self.headers.get_all("Host") or []
        if not said:
            return self.request_version == "HTTP/1.0"
        own = (self.connection.getsockname()[0], *self.server.own_hosts)
        return len(said) == 1 and is_own_host(said[0], own)

    def _is_allowed(self) -> bool:
        """Whether the token is shown, where there is one; a probe of health needs none."""
        token, shown = self.server.token, self.headers.get("Authorization") or ""
        is_probe = urlsplit(self.path).path == "/healthz"
        return not token or is_probe or is_token_shown(shown, token)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _report(self, troubles: list[str], fine: str) -> None:
        """Why not, or that all is well; behind it, what is odd in either case."""
        status = HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK
        odd = remarks(self.server.daemon, now())
        text = "; ".join((*(troubles or [fine]), *odd))
        self._answer(status, f"{text}\n".encode(), PLAIN)

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self._head(status, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        # The page needs nothing from elsewhere, and nobody may put it into a frame.
        policy = "default-src 'self'; img-src data:; frame-ancestors 'none'"
        self.send_header("Content-Security-Policy", policy)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="pollux"')
        if self.close_connection:
            self.send_header("Connection", "close")

    def _events(self, symbol: str) -> None:
        """Server-sent events (HTML standard, section 9.2) until the viewer or the daemon ends."""
        server, symbols = self.server, self.server.page_state.symbols
        if symbol and symbol not in symbols:
            text = f"no instrument {one_line(symbol)}; there is {' '.join(symbols)}\n"
            self._answer(HTTPStatus.NOT_FOUND, text.encode(), PLAIN)
            return
        if not server.viewers.acquire(blocking=False):
            text = f"{VIEWERS_MAX} viewers are connected already\n"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, text.encode(), PLAIN)
            return
        try:
            self.close_connection = True
            self._head(HTTPStatus.OK, EVENTS)
            self.end_headers()
            while self.command != "HEAD" and not server.stopping.is_set():
                self.wfile.write(b"data: " + server.page_state.look(symbol or symbols[0]) + b"\n\n")
                self.wfile.flush()
                server.stopping.wait(PERIOD_S)
        finally:
            server.viewers.release()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class cannot read, or has no method for: one line instead of a page."""
        status, text = HTTPStatus(code), message or HTTPStatus(code).phrase
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status, text = HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are served here"
        self.close_connection = True
        self.request_version = self.protocol_version  # an answer to any nonsense has a head
        self._answer(status, f"{one_line(text)}\n".encode(), PLAIN)

    def version_string(self) -> str:
        return "pollux"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are no events."""


class Page:
    """The listener at "host:port", serving from here on. PageError: the address cannot be had."""

    def __init__(self, listen: str, daemon: DaemonState, log: LogFunction) -> None:
        try:
            self._server = _Server(host_and_port_of(listen), daemon, log)
        except OSError as error:
            raise PageError(
                f"metrics.listen: cannot listen on {listen}: {error.strerror}"
            ) from None
        except GatewayError as error:
            raise PageError(str(error)) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_S,), name="page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Serve nobody any more."""
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
