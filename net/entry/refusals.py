"""Why a venue did not do what it was asked: one table of classes, and where each comes from.

A class says what to do next, not what the venue calls it. Sources: Binance's errors.md and its
messages of the matching engine; Bitstamp's list of response codes and authentication errors.
Runs on: any thread. Called by: net.entry.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ErrorClass(Enum):
    """What a refusal means for the one who asked."""

    NONE = "no error"
    REJECTED = "refused for good: nothing happened, and the same again would be refused"
    UNKNOWN_OUTCOME = "it may have happened: find out by the client order id"
    RATE_LIMITED = "nothing happened: wait, then ask again"
    BAD_KEYS = "the key, its signature or its address is not accepted"
    CLOCK_SKEW = "our clock and the venue's are too far apart"
    NO_PERMISSION = "the account or its key may not do this"
    INSUFFICIENT_BALANCE = "too little money"
    MARKET_SUSPENDED = "the market does not trade now"
    WOULD_TAKE = "a post-only order would have traded at once"
    UNKNOWN_ORDER = "no such open order: filled, cancelled or never there; ask for its state"
    DUPLICATE = "the client order id is taken: the order may be there already"
    BAD_FILTER = "price or quantity break the market's rules"
    BAD_SYMBOL = "no such market"
    BAD_REQUEST = "malformed: a mistake of ours"
    PARTIAL = "one half happened: the answer's parts say which"


class Refusal(NamedTuple):
    """A refused request."""

    error: ErrorClass
    code: str
    """The venue's, "" where it gave none."""
    text: str
    """The venue's own words, one line of bounded length."""
    wait_ns: int = -1
    """For RATE_LIMITED: how long the venue wants to be left alone; -1 where it does not say."""


class Row(NamedTuple):
    """Where a class comes from. Texts are parts of messages in lower case."""

    error: ErrorClass
    binance_codes: tuple[int, ...] = ()
    binance_texts: tuple[str, ...] = ()
    bitstamp_codes: tuple[str, ...] = ()
    bitstamp_texts: tuple[str, ...] = ()


def _codes(major: int, *ranges: tuple[int, int]) -> tuple[str, ...]:
    return tuple(f"{major}.{n:03}" for first, last in ranges for n in range(first, last + 1))


E = ErrorClass
TABLE = (
    Row(
        E.REJECTED,
        (-1010, -1014, -1016, -1020, -2010, -2016, -2035, -2036, -2038),
        ("order was not canceled due to cancel restrictions", "would trigger immediately",
         "not supported for this symbol", "not support for this symbol",
         "unsupported order combination", "would change no state"),
        ("400.001", "500.004", "500.005", "500.006", "500.008", "500.014", "500.015", "500.017",
         "500.018", "500.020", "500.021", "500.022", "500.023", "410.001",
         *_codes(400, (40, 40), (42, 43), (45, 45), (52, 53), (57, 64), (69, 69), (74, 74),
                 (76, 77), (86, 86)), "403.010"),
    ),
    Row(
        E.UNKNOWN_OUTCOME,
        (-1000, -1001, -1006, -1007),
        bitstamp_codes=(*_codes(500, (1, 3), (7, 7), (13, 13), (16, 16), (19, 19)),),
    ),
    Row(
        E.RATE_LIMITED,
        (-1003, -1008, -1015, -1181),
        bitstamp_codes=("400.002", "400.067", "400.068"),
        bitstamp_texts=("rate limit",),
    ),
    Row(
        E.BAD_KEYS,
        (-1002, -1022, -2014, -2015),
        bitstamp_codes=("API0001", "API0002", "API0005", "API0008", "API0011", "404.004"),
    ),
    Row(E.CLOCK_SKEW, (-1021,), bitstamp_codes=("API0017",)),
    Row(
        E.NO_PERMISSION,
        (),
        ("this action is disabled on this account", "this account may not place or cancel orders",
         "this symbol is not permitted for this account", "symbol is restricted for this account",
         "api trading is not enabled"),
        ("API0003", "API0006", "API0009", *_codes(403, (1, 9))),
    ),
    Row(
        E.INSUFFICIENT_BALANCE,
        (),
        ("insufficient balance",),
        ("400.009", "400.075"),
        ("you have only", "insufficient balance"),
    ),
    Row(
        E.MARKET_SUSPENDED,
        (),
        ("market is closed",),
        ("400.003", "500.009", "500.010", "500.011", "500.012"),
    ),
    # Bitstamp does not document how it refuses a maker-or-cancel order; this is the simulator's.
    Row(E.WOULD_TAKE, (), ("would immediately match and take",), (), ("would take",)),
    Row(
        E.UNKNOWN_ORDER,
        (-2011, -2013, -2026, -2039),
        ("unknown order sent",),
        ("404.001", "404.002", "404.008"),
        ("order not found",),
    ),
    Row(E.DUPLICATE, (), ("duplicate order sent",), ("400.019",)),
    Row(
        E.BAD_FILTER,
        (-1013, -1111),
        ("filter failure", "price * qty is zero or less", "icebergqty exceeds qty",
         "filter minimum quantity", "symbol minimum quantity"),
        ("400.020", "400.021", "400.026", "400.037", "400.038", "400.039", "400.041", "400.046",
         *_codes(400, (27, 28), (55, 56), (65, 66), (70, 71))),
        ("minimum order size", "decimal places"),
    ),
    Row(E.BAD_SYMBOL, (-1121, -1122), bitstamp_codes=("404.003", "404.005", "404.006", "404.007")),
    Row(
        E.BAD_REQUEST,
        (*range(-1109, -1099), -1112, *range(-1120, -1113), -1125, *range(-1130, -1126),
         -1134, -1135, -1139, -1145, -1194),
        ("cancel order is invalid. check origclordid",),
        ("API0004", "API0010", *(f"API{n:04}" for n in (12, 13, 14, 15, 16, 18, 19, 20, 21)),
         *_codes(400, (4, 8), (10, 18), (22, 25), (29, 36), (44, 44), (47, 51), (54, 54), (72, 73),
                 (78, 85)), "405.001"),
    ),
    Row(E.PARTIAL, (-2021, -2022)),
)  # fmt: skip
"""Codes stand in one row each. A text is more exact than its code, and is looked at first."""

_BINANCE_CODES = {code: row.error for row in TABLE for code in row.binance_codes}
_BINANCE_TEXTS = [(text, row.error) for row in TABLE for text in row.binance_texts]
_BITSTAMP_CODES = {code: row.error for row in TABLE for code in row.bitstamp_codes}
_BITSTAMP_TEXTS = [(text, row.error) for row in TABLE for text in row.bitstamp_texts]

ENGINE_CODES = frozenset({-1010, -1013, -2010, -2011, -2038})
"""Binance codes that stand for many reasons; the message tells which."""

REQUEST_TIMEOUT, TOO_MANY_REQUESTS, BANNED, FORBIDDEN = 408, 429, 418, 403


def binance_class(status: int, code: int, text: str) -> ErrorClass:
    """A refusal by Binance: the answer's status (as in HTTP), its code (0: none), its message."""
    if status >= 500 or status == REQUEST_TIMEOUT:
        return E.UNKNOWN_OUTCOME
    if status in (TOO_MANY_REQUESTS, BANNED):
        return E.RATE_LIMITED
    if code in ENGINE_CODES:
        lower = text.lower()
        found = next((error for part, error in _BINANCE_TEXTS if part in lower), None)
        if found is not None:
            return found
    if code in _BINANCE_CODES:
        return _BINANCE_CODES[code]
    # Without a code it is the firewall in front of the venue that turned us away.
    by_status = {401: E.BAD_KEYS, FORBIDDEN: E.RATE_LIMITED, 404: E.BAD_SYMBOL}
    return by_status.get(status, E.REJECTED)


def bitstamp_class(status: int, code: str, text: str) -> ErrorClass:
    """A refusal by Bitstamp: the HTTP status, its code ("": none) and its reason.

    Its code is more exact than the status: some refusals have codes of 500 and more.
    """
    if code in _BITSTAMP_CODES:
        return _BITSTAMP_CODES[code]
    if code.startswith("5") or status >= 500 or status == REQUEST_TIMEOUT:
        return E.UNKNOWN_OUTCOME
    if status in (TOO_MANY_REQUESTS, BANNED):
        return E.RATE_LIMITED
    lower = text.lower()
    found = next((error for part, error in _BITSTAMP_TEXTS if part in lower), None)
    if found is not None:
        return found
    by_status = {401: E.BAD_KEYS, FORBIDDEN: E.RATE_LIMITED, 404: E.BAD_SYMBOL}
    return E.REJECTED if code else by_status.get(status, E.REJECTED)
