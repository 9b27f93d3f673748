"""What is signed, and how, at each venue.

    Binance, WebSocket API   parameters sorted by name, k=v joined by &, raw UTF-8, not encoded
    Binance, REST            parameters in the order sent, percent-encoded before they are signed
    Bitstamp v2              one string of everything, without separators

A signer holds its secret in a form that nothing here prints: a keyed hash or a private key object.
Sources: Binance's web-socket-api.md and rest-api.md (request security), Bitstamp's HTTP API v2
description (authentication).
Runs on: the engine thread. Called by: net.entry.binance, net.entry.bitstamp, net.entry.keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from net.entry.order import EntryError, quoted

Bytes = bytes | bytearray

BITSTAMP_CONTENT_TYPE = "application/x-www-form-urlencoded"
BITSTAMP_VERSION = "v2"
NONCE = re.compile(r"[0-9a-z-]{36}", re.ASCII)
"""Bitstamp's: 36 lower-case characters, as a UUID has."""


class Signer(Protocol):
    """Signs for one key."""

    can_log_on: bool
    """Whether Binance's session.logon takes this kind of key: Ed25519 alone."""

    def sign(self, payload: Bytes) -> bytes:
        """The signature as it stands in a message: always of the same length."""


class HmacSigner:
    """HMAC-SHA256 in lower-case hex, 64 characters. The key is absorbed once and not kept."""

    can_log_on = False

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(secret, digestmod=hashlib.sha256)

    def sign(self, payload: Bytes) -> bytes:
        return self.begun(payload).hexdigest().encode()

    def begun(self, prefix: Bytes) -> hmac.HMAC:
        """A hash that has taken in the key and a beginning: for what many messages share."""
        started = self._keyed.copy()
        started.update(prefix)
        return started

    def __repr__(self) -> str:
        return "HmacSigner(...)"


class Ed25519Signer:
    """Ed25519 in base64, 88 characters."""

    can_log_on = True

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, payload: Bytes) -> bytes:
        return base64.b64encode(self._key.sign(bytes(payload)))

    def public_key(self) -> Ed25519PublicKey:
        """What the venue verifies with."""
        return self._key.public_key()

    def __repr__(self) -> str:
        return "Ed25519Signer(...)"


def binance_ws_payload(params: Mapping[str, str | int]) -> bytes:
    """The text to sign of a WebSocket API request: all parameters but `signature`."""
    names = sorted(name for name in params if name != "signature")
    return "&".join(f"{name}={params[name]}" for name in names).encode()


def binance_rest_query(params: Sequence[tuple[str, str | int]], signer: Signer) -> str:
    """A REST request's query (or form), signed; the signature comes last."""
    query = urlencode(params, quote_via=quote)
    return f"{query}&signature={quote(signer.sign(query.encode()).decode(), safe='')}"


def bitstamp_prefix(key: str, method: str, host: str, path: str, query: str, has_body: bool) -> str:
    """The part of Bitstamp's string that requests to one path share."""
    content_type = BITSTAMP_CONTENT_TYPE if has_body else ""
    return f"BITSTAMP {key}{method}{host}{path}{query}{content_type}"


def bitstamp_payload(prefix: str, nonce: str, timestamp_ms: int, body: bytes) -> bytes:
    """The whole string to sign. Without a body, no content type: not here, not in the headers."""
    return f"{prefix}{nonce}{timestamp_ms}{BITSTAMP_VERSION}".encode() + body


def check_bitstamp_answer(
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
    """A nonce for Bitstamp as bytes; EntryError where the venue would not take it."""
    if not isinstance(nonce, str) or not NONCE.fullmatch(nonce):
        raise EntryError(f"nonce {quoted(nonce)!r}: 36 lower-case letters, digits and dashes")
    return nonce.encode()
