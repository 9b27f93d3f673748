"""Requests of Binance's WebSocket API: parameters, signatures, clock and order-count rules.

The payload that is signed is every parameter but `signature`, sorted by name, joined as
`name=value` with `&`, neither encoded nor reformatted: hence numbers keep the text they were sent
in. Error codes and texts are the exchange's published ones; "observed" or "chosen" marks the rest.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from net.simulator.options import VenueInstrument
from net.simulator.orders.accounts import ApiKey
from net.simulator.orders.amounts import PrecisionError, read_scaled

RECV_WINDOW_US = 5_000_000
RECV_WINDOW_US_MAX = 60_000_000
AHEAD_US_MAX = 1_000_000
MICROSECONDS_FROM = 10**14  # a larger timestamp is in microseconds
COMMON = ("apiKey", "signature", "timestamp", "recvWindow", "returnRateLimits")
KEY_TEXT = re.compile(r"[A-Za-z0-9_\-]{1,128}")
CLIENT_ID_TEXT = re.compile(r"[a-zA-Z0-9_\-]{1,36}")
INTEGER_TEXT = re.compile(r"[0-9]{1,18}")
FILL_REFUND_TAKER, FILL_REFUND_MAKER = 1, 5  # the second is the FAQ's illustration


class ApiError(Exception):
    """An answer with an error: HTTP-like status, code and text."""

    def __init__(self, status: int, code: int, text: str, data: object = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.data = data

    def body(self) -> dict[str, object]:
        """The `error` object."""
        body: dict[str, object] = {"code": self.code, "msg": self.text}
        return body if self.data is None else body | {"data": self.data}


def mandatory(name: str) -> NoReturn:
    """A parameter that is missing or malformed."""
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    raise ApiError(400, -1102, text)


class _NumberText(str):
    """A JSON number as it was written."""


def parse(data: str) -> dict[str, object]:
    """A request; its `params` keep the text of their numbers."""
    try:
        request = json.loads(data, parse_float=_NumberText, parse_int=_NumberText)
    except ValueError:
        raise ApiError(400, -1000, "Malformed request: not JSON.") from None  # chosen
    if not isinstance(request, dict):
        raise ApiError(400, -1000, "Malformed request: not an object.")  # chosen
    return request


def request_id(request: dict[str, object]) -> int | str | None:
    """The id to echo: an integer, a text of up to 36 characters, or null."""
    found = request.get("id")
    if isinstance(found, _NumberText) and found.lstrip("-").isdigit():
        return int(found)
    if isinstance(found, str) and not isinstance(found, _NumberText) and len(found) <= 36:
        return found
    return None


class Params:
    """The parameters of one request; each is noted as read."""

    def __init__(self, found: object) -> None:
        if not isinstance(found, dict):
            raise ApiError(400, -1000, "Malformed request: params is not an object.")  # chosen
        self._texts: dict[str, str] = {}
        for name, value in found.items():
            if isinstance(value, bool):
                self._texts[name] = "true" if value else "false"
            elif isinstance(value, str):
                self._texts[name] = str(value)
            else:
                mandatory(name)
        self._read = set(COMMON)

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def text(self, name: str) -> str | None:
        """A parameter, None if it was not sent."""
        self._read.add(name)
        return self._texts.get(name)

    def need(self, name: str) -> str:
        """A parameter that must be there."""
        return self.text(name) or mandatory(name)

    def integer(self, name: str) -> int | None:
        """A whole number."""
        text = self.text(name)
        if text is None:
            return None
        if INTEGER_TEXT.fullmatch(text) is None:
            legal = "'^[0-9]{1,20}$'"
            message = f"Illegal characters found in parameter '{name}'; legal range is {legal}."
            raise ApiError(400, -1100, message)
        return int(text)

    def choice(self, name: str, allowed: tuple[str, ...], code: int, what: str) -> str:
        """One of a few words."""
        text = self.need(name)
        if text not in allowed:
            raise ApiError(400, code, f"Invalid {what}.")
        return text

    def scaled(self, name: str, filter_name: str, decimals: int) -> int:
        """A decimal as an integer; more than 8 decimals is -1111, off the grid fails a filter."""
        text = self.need(name)
        try:
            read_scaled(text, 8)
        except PrecisionError:
            raise ApiError(400, -1111, f"Parameter '{name}' has too much precision.") from None
        except ValueError:
            mandatory(name)
        try:
            return read_scaled(text, decimals)
        except ValueError:
            filter_failure(filter_name)

    def client_id(self, name: str) -> str | None:
        """A client's own id."""
        text = self.text(name)
        if text is not None and CLIENT_ID_TEXT.fullmatch(text) is None:
            legal = "'^[a-zA-Z0-9-_]{1,36}$'"
            message = f"Illegal characters found in parameter '{name}'; legal range is {legal}."
            raise ApiError(400, -1100, message)
        return text

    def unwanted(self, *names: str) -> None:
        """Parameters that this kind of order has no use for."""
        for name in names:
            if name in self._texts:
                raise ApiError(400, -1106, f"Parameter '{name}' sent when not required.")

    def finish(self) -> None:
        """Nothing may be left unread."""
        left = set(self._texts) - self._read
        if left:
            read, sent = len(self._texts) - len(left), len(self._texts)
            text = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
            raise ApiError(400, -1104, f"{text}'{sent}'.")

    # -- who asks, and when --------------------------------------------------------------------

    def payload(self) -> bytes:
        """What is signed."""
        pairs = sorted(pair for pair in self._texts.items() if pair[0] != "signature")
        return "&".join(f"{name}={value}" for name, value in pairs).encode()

    def key(self, keys: dict[str, ApiKey]) -> ApiKey:
        """The key this request is signed with, by its signature."""
        name = self.need("apiKey")
        if KEY_TEXT.fullmatch(name) is None:
            raise ApiError(401, -2014, "API-key format invalid.")
        key = keys.get(name)
        signature = self.need("signature")
        if key is None:
            raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")
        if not key.signs(self.payload(), signature):
            raise ApiError(400, -1022, "Signature for this request is not valid.")
        return key

    def check_time(self, server_us: int) -> None:
        """The clock rule: not 1000 ms ahead, not older than recvWindow."""
        timestamp = self.integer("timestamp")
        if timestamp is None:
            mandatory("timestamp")
        sent_us = timestamp if timestamp >= MICROSECONDS_FROM else timestamp * 1_000
        window_us = RECV_WINDOW_US
        if "recvWindow" in self:
            try:
                window_us = read_scaled(self.need("recvWindow"), 3)
            except ValueError:
                mandatory("recvWindow")
            if window_us > RECV_WINDOW_US_MAX:
                raise ApiError(400, -1131, "'recvWindow' must be less than 60000.")
        if sent_us >= server_us + AHEAD_US_MAX:
            text = "Timestamp for this request was 1000ms ahead of the server's time."
            raise ApiError(400, -1021, text)
        if server_us - sent_us > window_us:
            text = "Timestamp for this request is outside of the recvWindow."
            raise ApiError(400, -1021, text)


def filter_failure(name: str) -> NoReturn:
    """An order that breaks a filter of exchangeInfo."""
    raise ApiError(400, -1013, f"Filter failure: {name}")


def order_amounts(
    params: Params, instrument: VenueInstrument, *, has_price: bool
) -> tuple[int, int]:
    """(price_ticks, qty_lots); 0 for what was not asked or not sent."""
    price_ticks = 0
    if has_price:
        price_ticks = params.scaled("price", "PRICE_FILTER", instrument.price_decimals)
        if not price_ticks:
            filter_failure("PRICE_FILTER")
    if not has_price and "quantity" not in params:
        return 0, 0
    steps = params.scaled("quantity", "LOT_SIZE", instrument.qty_decimals)
    if not steps:
        filter_failure("LOT_SIZE")
    return price_ticks, steps * instrument.qty_step_lots


class OrderCount:
    """The ORDERS limits: how many unfilled orders were placed in each clock-aligned window."""

    def __init__(self, per_10s: int, per_day: int) -> None:
        self._limits = (("SECOND", 10, per_10s), ("DAY", 1, per_day))
        self._seconds = (10, 86_400)
        self._windows = [0, 0]
        self._counts = [0, 0]

    def _turn(self, now_ns: int) -> None:
        for index, seconds in enumerate(self._seconds):
            window = now_ns // (seconds * 1_000_000_000)
            if window != self._windows[index]:
                self._windows[index], self._counts[index] = window, 0

    def add(self, now_ns: int, count: int = 1) -> None:
        """Count orders, or take back (never below zero) what a first fill gives back."""
        self._turn(now_ns)
        self._counts = [max(0, each + count) for each in self._counts]

    def check(self, now_ns: int) -> None:
        """-1015 if one more order is not allowed."""
        self._turn(now_ns)
        for index, (interval, number, limit) in enumerate(self._limits):
            if self._counts[index] >= limit:
                self.refuse(now_ns, index, f"{limit} orders per {number} {interval}")

    def refuse(self, now_ns: int, index: int = 0, what: str = "") -> NoReturn:
        """The refusal, with the end of the window."""
        length_ms = self._seconds[index] * 1_000
        now_ms = now_ns // 1_000_000
        text = f"Too many new orders; current limit is {what or 'reached'}."
        retry_ms = (now_ms // length_ms + 1) * length_ms
        raise ApiError(429, -1015, text, {"serverTime": now_ms, "retryAfter": retry_ms})

    def rows(self, now_ns: int) -> list[dict[str, object]]:
        """The `rateLimits` rows of this kind."""
        self._turn(now_ns)
        return [
            {
                "rateLimitType": "ORDERS",
                "interval": interval,
                "intervalNum": number,
                "limit": limit,
                "count": count,
            }
            for (interval, number, limit), count in zip(self._limits, self._counts, strict=True)
        ]


def notional_filter(instrument: VenueInstrument, notional_lots: int, minimum: str) -> None:
    """NOTIONAL, from below."""
    if notional_lots < read_scaled(minimum, 8):
        filter_failure("NOTIONAL")
