"""Binance's API key, from the environment.

    POLLUX_BINANCE_API_KEY       the key's name
    POLLUX_BINANCE_ED25519_PEM   its private key: PEM text, or the path of a PEM file
    POLLUX_BINANCE_SECRET        or its HMAC secret, which cannot log on to a session
Runs on: the main thread, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from net.orders.credentials import read_token_variable
from net.orders.messages import EntryError
from net.orders.signing import Ed25519Signer, HmacSigner, Signer

BINANCE_API_KEY = "POLLUX_BINANCE_API_KEY"
BINANCE_ED25519_PEM = "POLLUX_BINANCE_ED25519_PEM"
BINANCE_SECRET = "POLLUX_BINANCE_SECRET"
PEM_BYTES_MAX = 16 << 10
"""An Ed25519 key in PEM has some 120 bytes, with comments a few more."""


@dataclass(frozen=True)
class BinanceKeys:
    """One Binance key."""

    api_key: str = field(repr=False)
    signer: Signer


def binance_keys(environment: Mapping[str, str]) -> BinanceKeys:
    """Binance's key; EntryError with one line."""
    api_key = read_token_variable(environment, BINANCE_API_KEY)
    pem, secret = environment.get(BINANCE_ED25519_PEM), environment.get(BINANCE_SECRET)
    if pem and secret:
        raise EntryError(f"{BINANCE_ED25519_PEM} and {BINANCE_SECRET} are both set: give one")
    if pem:
        return BinanceKeys(api_key, Ed25519Signer(_ed25519(pem)))
    if secret:
        return BinanceKeys(
            api_key, HmacSigner(read_token_variable(environment, BINANCE_SECRET).encode())
        )
    raise EntryError(f"neither {BINANCE_ED25519_PEM} nor {BINANCE_SECRET} is set")


def _ed25519(value: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_pem_bytes(value), password=None)
    except TypeError:
        raise EntryError(f"{BINANCE_ED25519_PEM}: the key has a password: remove it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise EntryError(f"{BINANCE_ED25519_PEM}: not a private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EntryError(f"{BINANCE_ED25519_PEM}: the key is not of the Ed25519 kind")
    return key


def _pem_bytes(value: str) -> bytes:
    if "-----BEGIN" in value:
        return value.encode("utf-8", "replace")
    try:
        with Path(value).open("rb") as file:
            return file.read(PEM_BYTES_MAX)
    except (OSError, ValueError):  # ValueError: a path with a zero byte
        raise EntryError(
            f"{BINANCE_ED25519_PEM}: neither PEM text nor the path of a file that can be read"
        ) from None
