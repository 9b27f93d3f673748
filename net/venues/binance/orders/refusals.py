"""Binance's refusals as classes: its codes and the messages of its matching engine.

Sources: Binance's errors.md.
Runs on: any thread.
"""

from __future__ import annotations

from net.orders.errors import ErrorClass as E
from net.orders.errors import RefusalRow, RefusalTable, class_by_status, class_without_code

Row = RefusalRow[int]
REFUSALS = RefusalTable[int](
    Row(E.REJECTED,
     (-1010, -1014, -1016, -1020, -2010, -2016, -2035, -2036, -2038),
     ("order was not canceled due to cancel restrictions", "would trigger immediately",
      "not supported for this symbol", "not support for this symbol",
      "unsupported order combination", "would change no state")),
    Row(E.UNKNOWN_OUTCOME, (-1000, -1001, -1006, -1007)),
    Row(E.RATE_LIMITED, (-1003, -1008, -1015, -1181)),
    Row(E.BAD_KEYS, (-1002, -1022, -2014, -2015)),
    Row(E.CLOCK_SKEW, (-1021,)),
    Row(E.NO_PERMISSION, (),
     ("this action is disabled on this account", "this account may not place or cancel orders",
      "this symbol is not permitted for this account", "symbol is restricted for this account",
      "api trading is not enabled")),
    Row(E.INSUFFICIENT_BALANCE, (), ("insufficient balance",)),
    Row(E.MARKET_SUSPENDED, (), ("market is closed",)),
    Row(E.WOULD_TAKE, (), ("would immediately match and take",)),
    Row(E.UNKNOWN_ORDER, (-2011, -2013, -2026, -2039), ("unknown order sent",)),
    Row(E.DUPLICATE, (), ("duplicate order sent",)),
    Row(E.BAD_FILTER,
     (-1013, -1111),
     ("filter failure", "price * qty is zero or less", "icebergqty exceeds qty",
      "filter minimum quantity", "symbol minimum quantity")),
    Row(E.BAD_SYMBOL, (-1121, -1122)),
    Row(E.BAD_REQUEST,
     (*range(-1109, -1099), -1112, *range(-1120, -1113), -1125, *range(-1130, -1126),
      -1134, -1135, -1139, -1145, -1194),
     ("cancel order is invalid. check origclordid",)),
    Row(E.PARTIAL, (-2021, -2022)),
)  # fmt: skip

ENGINE_CODES = frozenset({-1010, -1013, -2010, -2011, -2038})
"""Codes that stand for many reasons; the message tells which."""


def binance_class(status: int, code: int, text: str) -> E:
    """The class of a refusal: the answer's status (as in HTTP), its code (0: none), its message."""
    by_text = REFUSALS.by_text(text) if code in ENGINE_CODES else None
    return (
        class_by_status(status) or by_text or REFUSALS.by_code(code) or class_without_code(status)
    )
