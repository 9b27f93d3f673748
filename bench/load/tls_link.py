"""The server's end of a TLS connection whose records can be made before they are sent.

What a venue's encryption costs is the venue's: a bench seals a frame, then stamps and sends bytes.
Runs on: the sender's thread.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

RECEIVE_BYTES = 1 << 14


class TlsLink:
    """As much of a socket as the sender uses, and `seal`. OSError: the peer has gone."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        """Makes the handshake."""
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
        self._flush()

    def _flush(self) -> None:
        if self._out.pending:
            self._plain.sendall(self._out.read())

    def _fill(self) -> None:
        part = self._plain.recv(RECEIVE_BYTES)
        if not part:
            raise ConnectionError("left during the handshake")
        self._in.write(part)

    def recv(self, size: int) -> bytes:
        """Up to so many bytes; waits for one at least."""
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._fill()

    def seal(self, data: Any) -> bytes:
        """The records of some bytes: to be sent in the order in which they were made."""
        self._tls.write(data)
        return self._out.read()

    def send_sealed(self, records: Any) -> None:
        self._plain.sendall(records)

    def sendall(self, data: Any) -> None:
        self._plain.sendall(self.seal(data))

    def settimeout(self, timeout_s: float | None) -> None:
        self._plain.settimeout(timeout_s)

    def close(self) -> None:
        self._plain.close()

    def __enter__(self) -> TlsLink:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
