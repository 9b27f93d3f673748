"""Signatures: the venues' vectors to the letter, and what the public key says of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from net.orders.messages import EntryError
from net.orders.signing import Ed25519Signer
from net.venues.binance.orders import signing as binance_signing
from net.venues.binance.orders.requests import BinanceRequests
from net.venues.bitstamp.orders import signing as bitstamp_signing
from net.venues.bitstamp.orders.requests import BitstampRequests
from tests.net.orders.rig import BITSTAMP, ED25519, HMAC, NONCE, NOW_MS, request_ids, timestamps

REST_PARAMS: list[tuple[str, str | int]] = [
    ("symbol", "LTCBTC"), ("side", "BUY"), ("type", "LIMIT"), ("timeInForce", "GTC"),
    ("quantity", 1), ("price", "0.1"), ("recvWindow", 5000), ("timestamp", 1499827319559),
]  # fmt: skip


def test_binance_rest_vector() -> None:
    """No request of ours goes over REST; the venue's own vector still proves the signer."""
    assert HMAC.signer.sign(urlencode(REST_PARAMS).encode()) == (
        b"c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    )


def test_binance_websocket_vector() -> None:
    params: dict[str, str | int] = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": 100,
        "timestamp": 1645423376532,
        "apiKey": HMAC.api_key,
        "signature": "is left out",
    }
    payload = binance_signing.signed_text(params)
    assert payload.decode() == (
        f"apiKey={HMAC.api_key}&price=52000.00&quantity=0.01000000&recvWindow=100&side=SELL"
        "&symbol=BTCUSDT&timeInForce=GTC&timestamp=1645423376532&type=LIMIT"
    )
    assert HMAC.signer.sign(payload) == (
        b"aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    )


def test_binance_websocket_payload_is_not_encoded() -> None:
    assert binance_signing.signed_text({"symbol": "币 &", "a": 1}) == "a=1&symbol=币 &".encode()


@pytest.mark.parametrize(
    ("path", "body", "signature"),
    [
        (
            "user_transactions/",
            b"offset=1",
            "1881037cace3ec02948985c1780b6615867e90bb840b96a75f7af3473e8b1ec3",
        ),
        (
            "account_balances/",
            b"",
            "4f717b759bc6e18704b7a6d0768e83baecb9956721cf78b2dd993c845b5187d0",
        ),
    ],
)
def test_bitstamp_vectors(path: str, body: bytes, signature: str) -> None:
    prefix = bitstamp_signing.signed_prefix(
        "api_key", "POST", "www.bitstamp.net", f"/api/v2/{path}", "", bool(body)
    )
    payload = bitstamp_signing.signed_text(prefix, NONCE, NOW_MS, body)
    assert BITSTAMP.signer.sign(payload).decode() == signature
    form = dict(parse_qsl(body.decode()))
    request = BitstampRequests(BITSTAMP).post(path, form, NONCE, NOW_MS)
    headers = dict(request.headers)
    assert headers["X-Auth-Signature"] == signature and request.body == body
    assert ("Content-Type" in headers) == bool(body)


def test_bitstamp_answers_are_verified() -> None:
    body, kind = b'{"id":1}', "application/json"
    good = hmac.new(
        b"api_key_secret", f"{NONCE}{NOW_MS}{kind}".encode() + body, hashlib.sha256
    ).hexdigest()
    bitstamp_signing.check_answer(BITSTAMP.signer, NONCE, NOW_MS, kind, body, good)
    bitstamp_signing.check_answer(BITSTAMP.signer, NONCE, NOW_MS, kind, body, good.upper())
    for other in (
        (NONCE, NOW_MS, kind, body + b" ", good),
        (NONCE, NOW_MS + 1, kind, body, good),
        (NONCE, NOW_MS, "text/html", body, good),
        (NONCE, NOW_MS, kind, body, ""),
        (NONCE, NOW_MS, kind, body, "\udc80" * 1000),
    ):
        with pytest.raises(EntryError, match="not the venue's") as caught:
            bitstamp_signing.check_answer(BITSTAMP.signer, *other)
        assert len(str(caught.value)) < 200


@given(request_ids, timestamps)
def test_a_logon_verifies_with_the_public_key(request_id: int, timestamp_ms: int) -> None:
    assert isinstance(ED25519.signer, Ed25519Signer)
    requests = BinanceRequests(ED25519, is_logged_on=False)
    message = orjson.loads(requests.logon(request_id, timestamp_ms))
    params = message["params"]
    assert (message["id"], message["method"]) == (request_id, "session.logon")
    assert list(params) == ["apiKey", "timestamp", "signature"]
    signed = f"apiKey={ED25519.api_key}&timestamp={timestamp_ms}".encode()
    ED25519.signer.public_key().verify(base64.b64decode(params["signature"]), signed)


@given(st.binary(max_size=200))
def test_a_begun_hash_is_the_whole_hash(payload: bytes) -> None:
    begun = BITSTAMP.signer.begun(payload[:50])
    begun.update(payload[50:])
    assert begun.hexdigest().encode() == BITSTAMP.signer.sign(payload)


def test_only_ed25519_logs_on() -> None:
    with pytest.raises(EntryError, match="only an Ed25519"):
        BinanceRequests(HMAC, is_logged_on=True)
    with pytest.raises(EntryError, match="only an Ed25519"):
        BinanceRequests(HMAC, is_logged_on=False).logon(1, NOW_MS)
