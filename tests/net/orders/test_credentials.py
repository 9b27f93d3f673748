"""Keys from the environment: what is wrong is said, what is secret is not."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as S
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from net.orders.messages import EntryError
from net.orders.signing import Ed25519Signer
from net.venues.binance.orders.credentials import binance_keys
from net.venues.bitstamp.orders.credentials import bitstamp_keys

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PLAIN = S.NoEncryption()


def pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> str:
    hidden = S.BestAvailableEncryption(password) if password else PLAIN
    return key.private_bytes(S.Encoding.PEM, S.PrivateFormat.PKCS8, hidden).decode()


BINANCE = {"POLLUX_BINANCE_API_KEY": "apikey123", "POLLUX_BINANCE_ED25519_PEM": pem(PRIVATE)}


def test_a_pem_may_be_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem(PRIVATE))
    by_path = binance_keys(BINANCE | {"POLLUX_BINANCE_ED25519_PEM": str(file)})
    by_text = binance_keys(BINANCE)
    assert by_text.api_key == "apikey123" and by_text.signer.can_log_on
    assert by_path.signer.sign(b"x") == by_text.signer.sign(b"x")
    assert isinstance(by_text.signer, Ed25519Signer)
    assert by_text.signer.public_key() == PRIVATE.public_key()


def test_hmac_secrets() -> None:
    keys = binance_keys({"POLLUX_BINANCE_API_KEY": "namekey", "POLLUX_BINANCE_SECRET": "topsecret"})
    assert not keys.signer.can_log_on and len(keys.signer.sign(b"")) == 64
    other = bitstamp_keys(
        {"POLLUX_BITSTAMP_API_KEY": "namekey", "POLLUX_BITSTAMP_SECRET": "topsecret"}
    )
    assert other.signer.sign(b"x") == keys.signer.sign(b"x")
    for shown in (repr(keys), repr(other), str(vars(other.signer)), f"{keys.signer}"):
        assert "topsecret" not in shown and "namekey" not in shown
        assert b"topsecret".hex() not in shown


SECRET = "Zm9vYmFyc2VjcmV0"
WRONG = {
    "no api key": ({}, "POLLUX_BINANCE_API_KEY is not set"),
    "no secret": ({"POLLUX_BINANCE_API_KEY": "k"}, "neither POLLUX_BINANCE_ED25519_PEM nor"),
    "both": (BINANCE | {"POLLUX_BINANCE_SECRET": SECRET}, "both set: give one"),
    "a secret where the path goes": (
        BINANCE | {"POLLUX_BINANCE_ED25519_PEM": SECRET},
        "neither PEM text nor the path",
    ),
    "a zero byte": (BINANCE | {"POLLUX_BINANCE_ED25519_PEM": f"{SECRET}\0"}, "neither PEM text"),
    "a folder": (BINANCE | {"POLLUX_BINANCE_ED25519_PEM": "/"}, "neither PEM text"),
    "broken PEM": (
        BINANCE | {"POLLUX_BINANCE_ED25519_PEM": f"-----BEGIN PRIVATE KEY-----\n{SECRET}"},
        "not a private key in PEM",
    ),
    "another curve": (
        BINANCE | {"POLLUX_BINANCE_ED25519_PEM": pem(ec.generate_private_key(ec.SECP256R1()))},
        "not of the Ed25519 kind",
    ),
    "a password": (
        BINANCE | {"POLLUX_BINANCE_ED25519_PEM": pem(PRIVATE, b"pw")},
        "has a password",
    ),
    "a space": (
        {"POLLUX_BINANCE_API_KEY": "k", "POLLUX_BINANCE_SECRET": f"{SECRET} "},
        "POLLUX_BINANCE_SECRET: 1 to 256 of",
    ),
    "a header's end": ({"POLLUX_BINANCE_API_KEY": f"{SECRET}\r\nX: y"}, "POLLUX_BINANCE_API_KEY:"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_without_the_secret(case: str) -> None:
    environment, said = WRONG[case]
    with pytest.raises(EntryError, match=re.escape(said)) as caught:
        binance_keys(environment)
    everything = "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value) and SECRET not in everything


@given(st.text(min_size=1, max_size=300), st.sampled_from(["PEM", "SECRET"]))
def test_any_value_is_a_key_or_one_line(value: str, kind: str) -> None:
    name = "POLLUX_BINANCE_ED25519_PEM" if kind == "PEM" else "POLLUX_BINANCE_SECRET"
    try:
        keys = binance_keys({"POLLUX_BINANCE_API_KEY": "k", name: value})
    except EntryError as error:
        assert len(value) < 5 or value not in str(error)
    else:
        assert kind == "SECRET" and len(keys.signer.sign(b"")) == 64


def test_bitstamp_names_its_own_variables() -> None:
    with pytest.raises(EntryError, match="POLLUX_BITSTAMP_API_KEY is not set"):
        bitstamp_keys({})
    with pytest.raises(EntryError, match="POLLUX_BITSTAMP_SECRET is not set"):
        bitstamp_keys({"POLLUX_BITSTAMP_API_KEY": "k"})
