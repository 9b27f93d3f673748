"""One WebSocket connection: how it is opened, how it is closed, and why it ended.

What every connection to a venue has in common, whatever travels over it.
Runs on: the thread of the loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Callable

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)
from picows.proxy import ProxyError

from net.log.one_line import one_line
from net.sockets.proxy import by_proxy
from tuning.clock import wall_ns

FRAME_BYTES_MAX = 16 << 20
"""A frame or message longer than this ends the connection; whole books travel over REST."""
SIZE_16 = 126
"""In a frame's second byte: two bytes of size follow (RFC 6455, 5.2)."""
MESSAGE_PARTS_MAX = 1024
"""Of a fragmented message. Empty parts have no bytes that would count."""
CONNECT_LIMIT_S = 10.0
HANDSHAKE_LIMIT_S = 10.0
STEADY_S = 5.0
"""A connection that lasted so long makes the next attempt come soon: at most some 60 attempts in
five minutes, where Binance allows 300."""
CLOSE_LIMIT_S = 1.0
"""How long a venue may take to answer our closing frame: a shutdown waits for all of them at once.
"""

CONNECT_ERRORS = (OSError, WSError, ProxyError, TimeoutError, ssl.SSLError)
"""What `open_websocket` raises where the other side, or the way to it, is at fault."""


def tls_context(ca_file: str) -> ssl.SSLContext:
    """A context that verifies the peer; with `ca_file` a private authority instead of the system's.

    Raises OSError or ssl.SSLError where the file is not usable.
    """
    return ssl.create_default_context(cafile=ca_file or None)


class Listener(WSListener):  # type: ignore[misc]
    """What `open_websocket` opens a connection for."""

    transport: WSTransport | None = None
    is_given_up = False
    """Whether nobody waits for the connection any more: it is cut as soon as there is one."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if self.is_given_up:
            transport.disconnect(False)


class TextListener(Listener):
    """Hands on whole texts, put together from their fragments where they come in some.

    A frame is a view that dies with its callback: `on_text` is given a copy.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def on_text(self, raw: bytes, stamp_ns: int, is_last: bool) -> None:
        """One text, its stamp by the wall clock, and whether its frame is the buffer's last."""
        raise NotImplementedError

    def on_binary(self, stamp_ns: int) -> None:
        """A binary frame."""
        raise NotImplementedError

    def on_broken(self, reason: str) -> None:
        """The connection has to end."""
        raise NotImplementedError

    def on_other(self, is_last: bool) -> None:
        """A frame came that is no text, nor a part of one."""

    def on_rest(self, transport: WSTransport) -> None:
        """picows holds nothing, and no message is begun: the connection's next byte begins one."""

    @property
    def takes_texts(self) -> bool:
        """Whether a whole text is a message of its own: no fragments of another one are held."""
        return not self._parts

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        stamp_ns = wall_ns()
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            # No extension was agreed on (RFC 6455, 5.2); with one the first bit means compressed.
            self.on_broken("a compressed frame" if frame.rsv1 else "a reserved bit is set")
            return
        if frame.msg_type is not WSMsgType.TEXT or not frame.fin or self._parts:
            self._on_other(transport, frame, stamp_ns)
            return
        self.on_text(frame.get_payload_as_bytes(), stamp_ns, frame.last_in_buffer)
        if frame.last_in_buffer and frame.tail_size == 0:
            self.on_rest(transport)

    def _on_other(self, transport: WSTransport, frame: WSFrame, stamp_ns: int) -> None:
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._add_part(frame, stamp_ns)
            return
        if kind is WSMsgType.CLOSE:
            answer_close(transport)
        elif kind is WSMsgType.BINARY:
            self.on_binary(stamp_ns)
        self.on_other(frame.last_in_buffer)

    def _add_part(self, frame: WSFrame, stamp_ns: int) -> None:
        parts = self._parts
        if (frame.msg_type is WSMsgType.TEXT) == bool(parts):
            self.on_broken("fragments out of order")
            return
        parts.append(frame.get_payload_as_bytes())
        if len(parts) > MESSAGE_PARTS_MAX or sum(map(len, parts)) > FRAME_BYTES_MAX:
            self.on_broken("message too long")
        elif frame.fin:
            raw, self._parts = b"".join(parts), []
            self.on_text(raw, stamp_ns, frame.last_in_buffer)


async def open_websocket(
    listener: Callable[[], Listener],
    url: str,
    ssl_context: Callable[[], ssl.SSLContext],
    idle_ping_s: float,
    proxy: str = "",
) -> WSTransport:
    """A connection after its handshake, or one of CONNECT_ERRORS.

    `idle_ping_s`: a ping after so much silence; without an answer in as long it is cut.
    `proxy`: the address of one (net.sockets.proxy); the error names it.
    """
    secure: dict[str, object] = {"ssl_context": ssl_context()} if url.startswith("wss:") else {}
    if proxy.startswith("https:"):
        secure["proxy_ssl_context"] = ssl_context()
    opened: list[Listener] = []
    is_given_up = False

    def listen() -> Listener:
        opened.append(listener())
        opened[-1].is_given_up = is_given_up
        return opened[-1]

    try:
        # Not wait_for: before Python 3.12 it loses a cancellation that comes with the result.
        async with asyncio.timeout(CONNECT_LIMIT_S):
            transport, _ = await ws_connect(
                listen,
                url,
                websocket_handshake_timeout=HANDSHAKE_LIMIT_S,
                enable_auto_ping=True,
                auto_ping_idle_timeout=idle_ping_s,
                auto_ping_reply_timeout=idle_ping_s,
                max_frame_size=FRAME_BYTES_MAX,
                # The address is the operator's choice, not the answer's.
                max_redirects=0,
                proxy=proxy or None,
                **secure,
            )
    except BaseException as error:
        # picows leaves a connection open whose opening is cancelled: the handshake may have just
        # been done, or is done later and then asks for a listener.
        is_given_up = True
        for each in opened:
            if each.transport is not None:
                each.transport.disconnect(False)
        if proxy and isinstance(error, CONNECT_ERRORS):
            raise WSError(by_proxy(describe(error), proxy)) from None
        raise
    return transport


def answer_close(transport: WSTransport) -> None:
    """The venue closes, or answers our closing: the connection ends with its frame."""
    if not transport.is_close_frame_sent:
        transport.send_close()
    transport.disconnect()


async def close(transport: WSTransport) -> bool:
    """The closing handshake: our frame, then the venue's, then the connection; whether it came."""
    if not transport.is_close_frame_sent:
        transport.send_close(WSCloseCode.GOING_AWAY)
    try:
        await asyncio.wait_for(transport.wait_disconnected(), CLOSE_LIMIT_S)
    except CONNECT_ERRORS:
        transport.disconnect(False)
    return bool(transport.close_handshake and transport.close_handshake.recv)


def end_reason(transport: WSTransport, ended: asyncio.Future[None]) -> str:
    """Why a connection ended. `ended` is its `wait_disconnected`, done."""
    error = ended.exception()
    if error is not None:
        return describe(error)
    received = transport.close_handshake.recv if transport.close_handshake else None
    if received is not None:
        said = f"{int(received.code)} {one_line(received.reason or '')}".strip()
        return f"closed by the venue ({said})"
    return "the connection broke"


def describe(error: BaseException) -> str:
    """A network error in one line."""
    if isinstance(error, TimeoutError):
        return "timed out"
    # aiohttp wraps the error that says why.
    error = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    status = getattr(error, "status", 0)  # aiohttp's, of a proxy
    if status:
        return one_line(f"HTTP {status} {getattr(error, 'message', '')}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return one_line(f"certificate not accepted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        # Its number is OpenSSL's, not the system's.
        reason = error.reason or error.strerror or str(error)
        return one_line(f"TLS failed: {reason.replace('_', ' ').lower()}")
    if isinstance(error, ConnectionResetError) and not error.args:
        return os.strerror(errno.ECONNRESET)
    if isinstance(error, OSError) and error.errno is not None:
        # asyncio puts addresses into strerror; a failed look-up has a negative number.
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return one_line(str(error) or type(error).__name__)
