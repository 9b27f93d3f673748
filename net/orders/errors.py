"""Why a venue did not do what it was asked: the classes of refusals.

A class says what to do next, not what the venue calls it. Each venue's folder has the table of its
own codes and texts (net.venues.<venue>.orders.refusals).
Runs on: any thread.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Generic, NamedTuple, TypeVar

from net.sockets.http_body import BANNED


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
    text: str
    """The venue's own words, one line of bounded length."""
    wait_ns: int = -1
    """For RATE_LIMITED: how long the venue wants to be left alone; -1 where it does not say."""


Code = TypeVar("Code", int, str)


class RefusalRow(NamedTuple, Generic[Code]):
    """A row of a venue's table: codes and parts of messages that mean one class.

    Texts are parts of its messages, in lower case.
    """

    error: ErrorClass
    codes: tuple[Code, ...] = ()
    texts: tuple[str, ...] = ()


class RefusalTable(Generic[Code]):
    """A venue's refusals by its codes and by its texts. A code stands in one row."""

    def __init__(self, *rows: RefusalRow[Code]) -> None:
        self.rows: tuple[RefusalRow[Code], ...] = rows
        self._codes: dict[Code, ErrorClass] = {}
        self._texts: list[tuple[str, ErrorClass]] = []
        for row in rows:
            for code in row.codes:
                assert code not in self._codes, f"{code} stands in two rows"
                self._codes[code] = row.error
            assert all(text == text.lower() for text in row.texts), row.texts
            self._texts += [(text, row.error) for text in row.texts]

    def by_code(self, code: Code) -> ErrorClass | None:
        """The class of a code; None where it is in no row."""
        return self._codes.get(code)

    def by_text(self, text: str) -> ErrorClass | None:
        """The class of the first text that is part of a message; None where none is."""
        lower = text.lower()
        return next((error for part, error in self._texts if part in lower), None)


def class_by_status(status: int) -> ErrorClass | None:
    """What an HTTP status says whatever the code is; None where it says nothing certain."""
    if status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT:
        return ErrorClass.UNKNOWN_OUTCOME
    return ErrorClass.RATE_LIMITED if status in (HTTPStatus.TOO_MANY_REQUESTS, BANNED) else None


def class_without_code(status: int) -> ErrorClass:
    """A refusal that has no code: what stands in front of the venue turned us away."""
    by_status = {
        401: ErrorClass.BAD_KEYS,
        HTTPStatus.FORBIDDEN: ErrorClass.RATE_LIMITED,
        404: ErrorClass.BAD_SYMBOL,
    }
    return by_status.get(status, ErrorClass.REJECTED)
