"""The venues' API keys. They come from the environment and from nowhere else.

    POLLUX_BINANCE_API_KEY       the key's name
    POLLUX_BINANCE_ED25519_PEM   its private key: PEM text, or the path of a PEM file
    POLLUX_BINANCE_SECRET        or its HMAC secret, which cannot log on to a session
    POLLUX_BITSTAMP_API_KEY, POLLUX_BITSTAMP_SECRET

What is missing or malformed is one line that names the variable and never its value: the secret
may have been put into the wrong one. Secrets are not kept as text and no repr shows them.
Runs on: the main thread, once. Called by: net.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from net.entry.order import EntryError
from net.entry.signing import Ed25519Signer, HmacSigner, Signer

BINANCE_API_KEY = "POLLUX_BINANCE_API_KEY"
BINANCE_ED25519_PEM = "POLLUX_BINANCE_ED25519_PEM"
BINANCE_SECRET = "POLLUX_BINANCE_SECRET"
BITSTAMP_API_KEY = "POLLUX_BITSTAMP_API_KEY"
BITSTAMP_SECRET = "POLLUX_BITSTAMP_SECRET"

TOKEN = re.compile(r"[A-Za-z0-9_+/=.-]{1,256}", re.ASCII)
"""Keys and HMAC secrets: nothing that could end a header or need quoting in JSON."""
PEM_BYTES_MAX = 16 << 10
"""An Ed25519 key in PEM has some 120 bytes, with comments a few more."""


@dataclass(frozen=True)
class BinanceKeys:
    """One Binance key."""

    api_key: str = field(repr=False)
    signer: Signer


@dataclass(frozen=True)
class BitstampKeys:
    """One Bitstamp key."""

    api_key: str = field(repr=False)
    signer: HmacSigner


def binance_keys(environment: Mapping[str, str]) -> BinanceKeys:
    """Binance's key; EntryError with one line."""
    api_key = _token(environment, BINANCE_API_KEY)
    pem, secret = environment.get(BINANCE_ED25519_PEM), environment.get(BINANCE_SECRET)
    if pem and secret:
        raise EntryError(f"{BINANCE_ED25519_PEM} and {BINANCE_SECRET} are both set: give one")
    if pem:
        return BinanceKeys(api_key, Ed25519Signer(_ed25519(pem)))
    if secret:
        return BinanceKeys(api_key, HmacSigner(_token(environment, BINANCE_SECRET).encode()))
    raise EntryError(f"neither {BINANCE_ED25519_PEM} nor {BINANCE_SECRET} is set")


def bitstamp_keys(environment: Mapping[str, str]) -> BitstampKeys:
    """Bitstamp's key; EntryError with one line."""
    api_key = _token(environment, BITSTAMP_API_KEY)
    return BitstampKeys(api_key, HmacSigner(_token(environment, BITSTAMP_SECRET).encode()))


def _token(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise EntryError(f"{name} is not set")
    if not TOKEN.fullmatch(value):
        raise EntryError(f"{name}: 1 to 256 of A-Z a-z 0-9 _ + / = . - and no white space")
    return value


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
