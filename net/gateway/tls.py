"""TLS of the gateway: its certificates, and one connection's records.

The socket is not the ssl module's: bytes come in and go out by memory, so that the data path serves
connections with and without it alike.
Runs on: the gateway's thread (the files), its event loop (the records).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from net.gateway.options import GatewayError, GatewayOptions

RECORD_BYTES = 65_536
"""Of one record: 16 KiB."""
PROTOCOL = "h2"
"""What ALPN must agree on (RFC 9113, section 3.2)."""


class TlsRecords:
    """One connection. ssl.SSLError: the client does what TLS does not allow, or has no right."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_open = False
        """Whether the handshake is done."""

    def decrypt(self, received: bytes) -> bytes:
        """What the client says in these bytes, if anything. `output` may have grown."""
        self._incoming.write(received)
        parts: list[bytes] = []
        try:
            if not self.is_open:
                self._object.do_handshake()
                if self._object.selected_alpn_protocol() != PROTOCOL:
                    raise ssl.SSLError(0, "the client does not offer h2")
                self.is_open = True
            while part := self._object.read(RECORD_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def encrypt(self, frames: bytes) -> None:
        """Have `output` grow by these."""
        self._object.write(frames)

    def output(self) -> bytes:
        """What is to be sent, once."""
        return self._outgoing.read()

    def identity(self) -> str:
        """Whom the client's certificate names; empty without one."""
        found: dict[str, Any] = dict(self._object.getpeercert() or {})
        names = [str(name) for _, name in found.get("subjectAltName", ())]
        if not names:
            subject = found.get("subject", ())
            names = [str(value) for part in subject for key, value in part if key == "commonName"]
        return " ".join(names)


def load_context(options: GatewayOptions) -> ssl.SSLContext | None:
    """What handshakes are made with; None without TLS. GatewayError names the wrong file."""
    if not options.tls_cert:
        return None
    _require_file("tls_cert", options.tls_cert)
    _require_file("tls_key", options.tls_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([PROTOCOL])
    try:
        # An empty password, or OpenSSL would ask for one on the terminal.
        context.load_cert_chain(options.tls_cert, options.tls_key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise GatewayError(
            f"gateway tls_cert {options.tls_cert} with tls_key {options.tls_key}: {_reason(error)}"
        ) from None
    if options.tls_client_ca:
        _require_file("tls_client_ca", options.tls_client_ca)
        try:
            context.load_verify_locations(options.tls_client_ca)
        except ssl.SSLError as error:
            raise GatewayError(
                f"gateway tls_client_ca {options.tls_client_ca}: {_reason(error)}"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason.replace("_", " ").lower() if reason else "not usable PEM"


def _require_file(option: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise GatewayError(f"gateway {option} {path}: {error.strerror}") from None
