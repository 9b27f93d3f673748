"""What Bitstamp has signed: one string of everything, without separators; and its own signatures.

Source: Bitstamp's HTTP API v2 description (authentication).
Runs on: the engine thread.
"""

from __future__ import annotations

import hmac
import re

from net.orders.messages import EntryError, quoted
from net.orders.signing import HmacSigner

CONTENT_TYPE = "application/x-www-form-urlencoded"
VERSION = "v2"
NONCE = re.compile(r"[0-9a-z-]{36}", re.ASCII)
"""36 lower-case characters, as a UUID has."""


def signed_prefix(key: str, method: str, host: str, path: str, query: str, has_body: bool) -> str:
    """The part of Bitstamp's string that requests to one path share."""
    content_type = CONTENT_TYPE if has_body else ""
    return f"BITSTAMP {key}{method}{host}{path}{query}{content_type}"


def signed_text(prefix: str, nonce: str, timestamp_ms: int, body: bytes) -> bytes:
    """The whole string to sign. Without a body, no content type: not here, not in the headers."""
    return f"{prefix}{nonce}{timestamp_ms}{VERSION}".encode() + body


def check_answer(
    signer: HmacSigner, nonce: str, timestamp_ms: int, content_type: str, body: bytes, given: str
) -> None:
    """EntryError where an answer's X-Server-Auth-Signature is not the venue's.

    `nonce` and `timestamp_ms` are the request's, the content type and the body the answer's.
    """
    signed = f"{nonce}{timestamp_ms}{content_type}".encode("utf-8", "replace") + body
    expected = signer.sign(signed)
    if not hmac.compare_digest(expected, given.lower().encode("utf-8", "replace")):
        raise EntryError(f"bitstamp: the answer's signature {quoted(given)!r} is not the venue's")


def nonce_bytes(nonce: str) -> bytes:
    """A nonce as bytes; EntryError where the venue would not take it."""
    if not isinstance(nonce, str) or not NONCE.fullmatch(nonce):
        raise EntryError(f"nonce {quoted(nonce)!r}: 36 lower-case letters, digits and dashes")
    return nonce.encode()
