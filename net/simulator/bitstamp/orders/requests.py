"""Requests of Bitstamp's REST API v2: authentication, form parameters, errors.

The text that is signed: "BITSTAMP " + key + METHOD + host + path + query + content type + nonce +
timestamp + "v2" + body, without the content type where there is no body. The host of the documents
is www.bitstamp.net; the address the client really called is accepted too.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NoReturn
from urllib.parse import parse_qsl

from aiohttp import web

from net.simulator.options import VenueInstrument
from net.simulator.orders.accounts import ApiKey
from net.simulator.orders.amounts import read_scaled

DOCUMENTED_HOST = "www.bitstamp.net"
CLOCK_MS_MAX = 150_000
NONCE_MS = 300_000  # the longer of the two documented spans
NONCES_MAX = 100_000
NONCE = re.compile(r"[0-9a-z\-]{36}")
FORM = "application/x-www-form-urlencoded"


class RefusalError(Exception):
    """An answer with an error."""

    def __init__(self, status: int, body: dict[str, object]) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def refuse(code: str, reason: object) -> NoReturn:
    """An error with a response code, whose first three digits are the HTTP status."""
    body = {"status": "error", "reason": reason, "response_code": code}
    raise RefusalError(int(code[:3]), body)


def refuse_all(code: str, text: str) -> NoReturn:
    """An error about the whole form."""
    refuse(code, {"__all__": [text]})


def not_found() -> NoReturn:
    """The order is not there."""
    body: dict[str, object] = {
        "status": "error",
        "reason": "Order not found",
        "response_code": "404.002",
        "response_explanation": "Order not found for corresponding request.",
    }
    raise RefusalError(404, body)


def _stop(code: str, reason: str) -> NoReturn:
    raise RefusalError(403, {"status": "error", "reason": reason, "code": code})


class Gate:
    """Checks who asks; remembers the nonces."""

    def __init__(self, keys: dict[str, ApiKey]) -> None:
        self._keys = keys
        self._nonces: dict[str, int] = {}

    def authenticate(self, request: web.Request, body: str, now_ms: int) -> ApiKey:
        """The key a request is signed with, or an API00xx refusal."""
        headers = request.headers
        scheme, _, name = headers.get("X-Auth", "").partition(" ")
        key = self._keys.get(name)
        if scheme != "BITSTAMP" or key is None or key.public_key is not None:
            _stop("API0001", "API key not found")
        timestamp, nonce = headers.get("X-Auth-Timestamp", ""), headers.get("X-Auth-Nonce", "")
        if not timestamp.isascii() or not timestamp.isdigit():
            _stop("API0017", "X-Auth-Timestamp header is missing or malformed")
        if abs(now_ms - int(timestamp)) > CLOCK_MS_MAX:
            _stop("API0017", "X-Auth-Timestamp header differs from current timestamp too much")
        content_type = headers.get("Content-Type", "")
        if content_type and not body:
            _stop("API0020", "Content-Type header must not be present when there is no body")
        if NONCE.fullmatch(nonce) is None or nonce in self._nonces:
            _stop("API0004", "Invalid nonce")
        signature = headers.get("X-Auth-Signature", "")
        if headers.get("X-Auth-Version") != "v2" or not any(
            key.signs(text.encode(), signature)
            for text in _signed(request, name, content_type, f"{nonce}{timestamp}v2{body}")
        ):
            _stop("API0005", "Invalid signature")
        self._keep(nonce, now_ms)
        return key

    def _keep(self, nonce: str, now_ms: int) -> None:
        while self._nonces:
            oldest = next(iter(self._nonces))
            if now_ms - self._nonces[oldest] <= NONCE_MS and len(self._nonces) < NONCES_MAX:
                break
            del self._nonces[oldest]
        self._nonces[nonce] = now_ms


def _signed(request: web.Request, name: str, content_type: str, end: str) -> list[str]:
    """The texts that may have been signed: by either host name."""
    query = f"?{request.query_string}" if request.query_string else ""
    middle = f"{request.path}{query}{content_type}{end}"
    start = f"BITSTAMP {name}{request.method}"
    hosts = (DOCUMENTED_HOST, request.host, request.host.rpartition(":")[0])
    return [f"{start}{host}{middle}" for host in hosts]


def server_signature(key: ApiKey, request: web.Request, content_type: str, body: bytes) -> str:
    """What proves that an answer is the venue's."""
    nonce = request.headers["X-Auth-Nonce"]
    timestamp = request.headers["X-Auth-Timestamp"]
    text = f"{nonce}{timestamp}{content_type}".encode() + body
    return hmac.new(key.secret, text, hashlib.sha256).hexdigest()


class Form:
    """The parameters of one request."""

    def __init__(self, body: str) -> None:
        self._values = dict(parse_qsl(body, keep_blank_values=True))

    def text(self, name: str) -> str:
        """A parameter, empty if it was not sent."""
        return self._values.get(name, "")

    def flag(self, name: str) -> bool:
        """A yes or no."""
        return self.text(name).lower() in ("true", "1")

    def integer(self, name: str, default: int, most: int) -> int:
        """A whole number in 0..most."""
        text = self.text(name) or str(default)
        if not (text.isascii() and text.isdigit()) or int(text) > most:
            refuse("400.001", {name: ["Enter a whole number."]})  # chosen
        return int(text)

    def order_id(self, name: str = "id") -> int | None:
        """An order's number, if it was sent; what is none belongs to no order."""
        text = self.text(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            not_found()
        return int(text)

    def amount(self, name: str, decimals: int) -> int:
        """A decimal as an integer, above zero."""
        try:
            value = read_scaled(self.text(name), decimals)
        except ValueError:
            text = f"Ensure that there are no more than {decimals} decimal places."
            refuse("400.001", {name: [text]})  # chosen
        if not value:
            refuse("400.001", {name: ["Ensure this value is greater than 0."]})  # chosen
        return value


def market_name(instrument: VenueInstrument) -> str:
    """BTC/USD."""
    return f"{instrument.base}/{instrument.quote}"
