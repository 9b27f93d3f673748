"""The words that order entry shares between venues: markets, requests, events and answers.

Runs on: any thread.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, NamedTuple

from engine.decoding.scale import (
    INT64_MAX,
    PRICE_LIMIT,
    QUANTITY_LIMIT,
    ScaleError,
    decimal_unit,
    exact_count,
    units_per,
)
from engine.maker.client_ids import parse_client_id
from engine.maker.order_layout import NO_SIDE
from net.log.one_line import one_line
from net.orders.errors import ErrorClass, Refusal

LOT = (1, 8)
"""A lot is 1e-8 of the asset, at every venue."""

NOT_SAID = -1
"""Stands for a number that the venue did not give. Nothing is derived in its place."""

CLIENT_ID = re.compile(r"[a-zA-Z0-9_-]{1,36}", re.ASCII)
"""What is safe as a client order id at every venue: the strictest rule of any of them."""

QUOTED_CHARACTERS_MAX = 80
"""How much of an outsider's text an error repeats."""


class EntryError(Exception):
    """Input that is not what it should be: one line. Of a venue's text at most a little."""


def quoted(value: object) -> str:
    """The beginning of what an outsider said, in ASCII, for an error."""
    text = one_line(value).encode("ascii", "backslashreplace").decode()
    is_cut = len(text) > QUOTED_CHARACTERS_MAX
    return f"{text[:QUOTED_CHARACTERS_MAX]}..." if is_cut else text


class Style(Enum):
    """How an order may meet the book."""

    POST_ONLY = "post only"
    LIMIT = "limit"
    IMMEDIATE = "immediate or cancel"


class Request(Enum):
    """What was asked, so that its answer can be read."""

    PLACE = "place"
    CANCEL = "cancel"
    REPLACE = "replace"
    STATUS = "status"
    OPEN_ORDERS = "open orders"
    TRADES = "trades"


class OrderRequest(NamedTuple):
    """What was asked about which order."""

    kind: Request
    order_id: int
    """The order that it is about, or that it places; 0: not an order of the host's."""
    replaced_id: int = 0
    """The order that a REPLACE is to cancel."""


class Kind(IntEnum):
    """What has happened to an order. Positions are counted from FILL alone."""

    ACCEPTED = 1
    FILL = 2
    CANCELED = 3
    EXPIRED = 4
    REJECTED = 5
    REPLACED = 6
    """Its quantity was changed in place (an amend)."""
    PREVENTED = 7
    """A trade with ourselves was prevented; part of the quantity may be gone."""
    STATE = 8
    """Nothing new: how the venue sees the order now."""
    FAILED = 9
    """A request about the order did not do what it should; the error class says why."""


class State(IntEnum):
    """Where an order stands after an event."""

    UNKNOWN = 0
    OPEN = 1
    CANCEL_PENDING = 2
    FILLED = 3
    CANCELED = 4
    EXPIRED = 5
    REJECTED = 6


CLOSED_STATES = frozenset({State.FILLED, State.CANCELED, State.EXPIRED, State.REJECTED})


class OrderEvent(NamedTuple):
    """One thing that a venue says about one order. Numbers that it did not say are NOT_SAID."""

    kind: Kind
    state: State
    symbol: str
    client_order_id: str | None = None
    """As the order was named when it was placed; None where the venue did not say."""
    venue_order_id: int = NOT_SAID
    side: int = NO_SIDE
    price_ticks: int = NOT_SAID
    quantity_lots: int = NOT_SAID
    filled_lots: int = NOT_SAID
    """Cumulative."""
    last_lots: int = NOT_SAID
    """Of a FILL: this execution alone, as are the price, the fee and the maker flag."""
    last_price_ticks: int = NOT_SAID
    execution_id: int = NOT_SAID
    """Of a FILL: the trade's number in its market, the same wherever the venue speaks of it."""
    fee_lots: int = 0
    """1e-8 of `fee_asset`; negative for a rebate. A finer fee is rounded up."""
    fee_asset: str = ""
    is_maker: bool | None = None
    time_ns: int = NOT_SAID
    """When it happened, by the venue's clock."""
    error: ErrorClass = ErrorClass.NONE
    reason: str = ""

    @property
    def order_id(self) -> int | None:
        """The order's id, None where it is not one of ours."""
        name = self.client_order_id
        return None if name is None else parse_client_id(name)


def is_gone(events: Iterable[OrderEvent]) -> bool:
    """Whether an answer to a cancel or a question says that its order is not open any more."""
    return any(
        event.kind is Kind.CANCELED
        or event.state in CLOSED_STATES
        or event.error is ErrorClass.UNKNOWN_ORDER
        for event in events
    )


class Answer(NamedTuple):
    """What a venue answered to one request."""

    request_id: int | str | None
    """None where the transport matches answers (HTTP), or where the venue named none."""
    result: Any
    """Decoded and not yet looked into: `order_events` and its like do that."""
    refusal: Refusal | None


class Balance(NamedTuple):
    """What the account holds of an asset, in lots."""

    asset: str
    free_lots: int
    locked_lots: int


class Notice(Enum):
    """What a message that brings no order event means."""

    NONE = "none"
    SUBSCRIBED = "subscribed"
    RECONNECT = "reconnect"
    STREAM_ENDED = "stream ended"
    SELF_TRADE = "self trade"
    ERROR = "error"


class Push(NamedTuple):
    """What a venue said of its own accord. Orders in markets that are not ours are left out."""

    events: tuple[OrderEvent, ...] = ()
    balances: tuple[Balance, ...] = ()
    notice: Notice = Notice.NONE
    text: str = ""
    event_id: str | None = None
    previous_event_id: str | None = None
    """The venue's chain of events, where it has one: a break in it may be a loss."""


@dataclass(frozen=True)
class Field:
    """How a number stands in a request: as `number // divisor * factor * 10**-decimals`, with all
    its decimals. It is from `least` to `most` and a multiple of `step`."""

    what: str
    least: int
    most: int = INT64_MAX
    step: int = 1
    divisor: int = 1
    factor: int = 1
    decimals: int = 0


TIMESTAMP = Field("timestamp in ms", 10**12, 10**13 - 1)
"""13 digits: the years 2001 to 2286. Anything else is no time in ms."""


@dataclass(frozen=True)
class Market:
    """One venue's market, and the exact writing and reading of its prices and quantities."""

    symbol: str
    """As the venue writes it in requests: BTCUSDT, btcusd."""
    base: str
    quote: str
    tick_size: str
    step_size: str
    """The quantity's step, a multiple of 1e-8."""
    tick: tuple[int, int] = field(init=False, repr=False)
    step_lots: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\W_]+([-_][^\W_]+)*", self.symbol):
            raise EntryError(f"{quoted(self.symbol)!r} is no market's symbol")
        try:
            tick, step = decimal_unit(self.tick_size), decimal_unit(self.step_size)
            step_lots = units_per(step, LOT)
        except ScaleError as error:
            raise EntryError(f"market {self.symbol}: {quoted(str(error))}") from None
        put = object.__setattr__
        put(self, "tick", tick)
        put(self, "step_lots", step_lots)

    @property
    def price_field(self) -> Field:
        """How a price above zero, in ticks, is written in a request."""
        factor, decimals = self.tick
        most = min(PRICE_LIMIT, INT64_MAX // factor)
        return Field("price in ticks", 1, most, factor=factor, decimals=decimals)

    @property
    def quantity_field(self) -> Field:
        """How a quantity above zero, in lots, is written in a request."""
        decimals = decimal_unit(self.step_size)[1]
        divisor = 10 ** (LOT[1] - decimals)
        what = f"quantity of {self.symbol} in lots"
        return Field(what, 1, QUANTITY_LIMIT, self.step_lots, divisor, decimals=decimals)

    def price_ticks(self, text: str) -> int:
        """A venue's price in ticks, zero included; ScaleError where it is not whole."""
        return exact_count(text, *self.tick, PRICE_LIMIT)


def whole_number(value: Any, least: int, most: int, what: str) -> int:
    """An integer of Python's or numpy's within limits; EntryError otherwise."""
    try:
        number = operator.index(value)
    except TypeError:
        raise EntryError(f"{what}: a {type(value).__name__} is no integer") from None
    if isinstance(value, bool) or not least <= number <= most:
        shown = number if number.bit_length() <= 64 else f"a number of {number.bit_length()} bits"
        raise EntryError(f"{what}: {shown} is not from {least} to {most}")
    return number


def client_id_bytes(text: str) -> bytes:
    """A client order id of ours as bytes; EntryError where a venue might refuse or change it."""
    if not isinstance(text, str) or not CLIENT_ID.fullmatch(text):
        raise EntryError(f"client order id {quoted(text)!r}: 1 to 36 of a-z A-Z 0-9 - _")
    return text.encode()


MAYBE_THERE = frozenset({ErrorClass.UNKNOWN_OUTCOME, ErrorClass.DUPLICATE, ErrorClass.PARTIAL})
"""Refusals of a new order after which it may be in the book all the same."""


def failure(
    request: Request,
    symbol: str,
    client_order_id: str | None,
    refusal: Refusal,
    order_id: int = NOT_SAID,
) -> OrderEvent:
    """What a refused request means for the order that it was about."""
    is_final = request is Request.PLACE and refusal.error not in MAYBE_THERE
    return OrderEvent(
        Kind.REJECTED if is_final else Kind.FAILED,
        State.REJECTED if is_final else State.UNKNOWN,
        symbol,
        client_order_id,
        order_id,
        error=refusal.error,
        reason=refusal.text,
    )
