"""Bitstamp's refusals as classes: its response codes and its reasons.

Sources: Bitstamp's list of response codes and authentication errors.
Runs on: any thread.
"""

from __future__ import annotations

from typing import Any

from engine.layout.units import NS_PER_S
from net.log.one_line import one_line
from net.orders.errors import ErrorClass as E
from net.orders.errors import (
    Refusal,
    RefusalRow,
    RefusalTable,
    class_by_status,
    class_without_code,
)
from net.orders.json_fields import TEXT_CHARACTERS_MAX
from net.orders.messages import NOT_SAID


def _codes(major: int, *ranges: tuple[int, int]) -> tuple[str, ...]:
    return tuple(f"{major}.{n:03}" for first, last in ranges for n in range(first, last + 1))


WAIT_DIGITS_MAX = 6
"""Retry-After in seconds: longer numbers are no waiting times."""

Row = RefusalRow[str]
REFUSALS = RefusalTable[str](
    Row(E.REJECTED,
     ("400.001", "500.004", "500.005", "500.006", "500.008", "500.014", "500.015", "500.017",
      "500.018", "500.020", "500.021", "500.022", "500.023", "410.001",
      *_codes(400, (40, 40), (42, 43), (45, 45), (52, 53), (57, 64), (69, 69), (74, 74),
              (76, 77), (86, 86)), "403.010")),
    Row(E.UNKNOWN_OUTCOME, _codes(500, (1, 3), (7, 7), (13, 13), (16, 16), (19, 19))),
    Row(E.RATE_LIMITED, ("400.002", "400.067", "400.068"), ("rate limit",)),
    Row(E.BAD_KEYS, ("API0001", "API0002", "API0005", "API0008", "API0011", "404.004")),
    Row(E.CLOCK_SKEW, ("API0017",)),
    Row(E.NO_PERMISSION, ("API0003", "API0006", "API0009", *_codes(403, (1, 9)))),
    Row(E.INSUFFICIENT_BALANCE, ("400.009", "400.075"), ("you have only", "insufficient balance")),
    Row(E.MARKET_SUSPENDED, ("400.003", "500.009", "500.010", "500.011", "500.012")),
    # How a maker-or-cancel order is refused is not documented; this is the simulator's.
    Row(E.WOULD_TAKE, (), ("would take",)),
    Row(E.UNKNOWN_ORDER, ("404.001", "404.002", "404.008"), ("order not found",)),
    Row(E.DUPLICATE, ("400.019",)),
    Row(E.BAD_FILTER,
     ("400.020", "400.021", "400.026", "400.037", "400.038", "400.039", "400.041", "400.046",
      *_codes(400, (27, 28), (55, 56), (65, 66), (70, 71))),
     ("minimum order size", "decimal places")),
    Row(E.BAD_SYMBOL, ("404.003", "404.005", "404.006", "404.007")),
    Row(E.BAD_REQUEST,
     ("API0004", "API0010", *(f"API{n:04}" for n in (12, 13, 14, 15, 16, 18, 19, 20, 21)),
      *_codes(400, (4, 8), (10, 18), (22, 25), (29, 36), (44, 44), (47, 51), (54, 54), (72, 73),
              (78, 85)), "405.001")),
)  # fmt: skip


def bitstamp_class(status: int, code: str, text: str) -> E:
    """The class of a refusal: the HTTP status, its code ("": none) and its reason.

    Its code is more exact than the status: some refusals have codes of 500 and more.
    """
    by_code = REFUSALS.by_code(code)
    if by_code is not None:
        return by_code
    if code.startswith("5"):
        return E.UNKNOWN_OUTCOME
    found = class_by_status(status) or REFUSALS.by_text(text)
    return found or (E.REJECTED if code else class_without_code(status))


def is_error(value: Any) -> bool:
    """Whether an answer with status 200 is a refusal all the same."""
    if not isinstance(value, dict):
        return False
    is_coded = "code" in value and "message" in value
    return value.get("status") == "error" or "error" in value or is_coded


def bitstamp_refusal(status: int, value: Any, retry_after: str) -> Refusal:
    """One of the venue's several shapes of error, with its Retry-After header."""
    fields = value if isinstance(value, dict) else {}
    code = fields.get("response_code") or fields.get("code") or ""
    code = code if isinstance(code, str) and len(code) <= TEXT_CHARACTERS_MAX else ""
    names = ("reason", "error", "message", "response_explanation")
    reason = next((fields[name] for name in names if fields.get(name)), "")
    text = one_line(reason).encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    kind = bitstamp_class(status, code, text)
    wait_ns = NOT_SAID
    is_number = retry_after.isascii() and retry_after.isdigit()
    if kind is E.RATE_LIMITED and is_number and len(retry_after) <= WAIT_DIGITS_MAX:
        wait_ns = int(retry_after) * NS_PER_S
    return Refusal(kind, text, wait_ns)
