"""The two kinds of signature that venues take: HMAC-SHA256 and Ed25519.

A signer holds its secret in a form that nothing here prints: a keyed hash or a private key object.
What is signed is each venue's own (net.venues.<venue>.orders.signing).
Runs on: the engine thread.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Bytes = bytes | bytearray


class Signer(Protocol):
    """Signs for one key."""

    can_log_on: bool
    """Whether a connection can be logged on with it once, instead of signing each request."""

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
