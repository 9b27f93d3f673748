"""What a message says to another reader: json and Decimal, told by a schema what the form is.

It shares nothing with engine/decoding but the declaration of the form, and knows nothing of speed:
every member is kept, so that one that comes twice or stands elsewhere is seen.
Runs on: the fuzzers' thread.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema

Rows = list[tuple[Decimal, Decimal]]
WHOLE_DIGITS_MAX = 18
"""Of ids and times."""
MICROSECONDS_DIGITS = 15
"""Of a time that may be in either unit: so long it is one of microseconds."""
NS_MAX = 2**63 - 1
YEARS = range(1970, 2201)
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_ABOVE_ZERO = re.compile(r"[-0.]*[1-9]", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)([0-5]\d|60)(?:\.(\d{1,9}))?Z", re.ASCII)


class NoBookError(ValueError):
    """No book message of this form, and why."""


class Bare(str):
    """A number that stands without quotes, as it is written."""


class Members(list[tuple[str, Any]]):
    """An object with all of its members, those that come twice too."""


@dataclass(frozen=True)
class Reading:
    """A book message. `ids`: the first and the last, None where it has none; `checksum`: below zero
    where it has none; `amounts`: the texts of all its prices and quantities."""

    is_snapshot: bool
    symbol: str
    ids: tuple[int, int] | None
    time_ns: int
    checksum: int
    bids: Rows
    asks: Rows
    amounts: tuple[str, ...]


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _parsed(raw: bytes) -> Any:
    return json.loads(
        raw.decode(),
        parse_int=Bare,
        parse_float=Bare,
        parse_constant=_no_constant,
        object_pairs_hook=Members,
    )


def read(raw: bytes, form: MessageSchema) -> Reading:
    """The message; NoBookError where it is none of this form, ValueError where it is no JSON."""
    message = _parsed(raw)
    if not isinstance(message, Members):
        raise NoBookError("no object")
    found = _Fields(form)
    found.take(message, None)
    found.check()
    return found.reading()


class _Fields:
    """What the members of a message mean."""

    def __init__(self, form: MessageSchema) -> None:
        self._form = form
        self._seen: Counter[int] = Counter()
        self._values: dict[int, tuple[Key, Any]] = {}
        self._is_beside = False
        """Whether a part of the book stands outside the envelope."""
        self._amounts: list[str] = []

    def take(self, members: Members, place: int | None) -> None:
        """All members of an object; `place`: the field that it is, None for the message."""
        is_inside = place in (schema.FIELD_ENVELOPE, schema.FIELD_INNER)
        for name, value in members:
            for key in self._form.keys:
                if key.name == name and not (is_inside and key.is_outside):
                    self._take_one(key, value, place, is_inside)
                    break

    def _take_one(self, key: Key, value: Any, place: int | None, is_inside: bool) -> None:
        field = key.field
        if field == schema.FIELD_IGNORED:
            return
        if field in (schema.FIELD_ENVELOPE, schema.FIELD_HEADER) and place is not None:
            return
        self._seen[field] += 1
        if field == schema.FIELD_ENVELOPE and self._form.is_listed:
            if isinstance(value, list) and len(value) > 1 and isinstance(value[0], Members):
                raise NoBookError("more than one in the list")
            value = value[0] if isinstance(value, list) and value else None
        if field in (schema.FIELD_ENVELOPE, schema.FIELD_HEADER, schema.FIELD_INNER):
            is_here = field != schema.FIELD_INNER or place == schema.FIELD_ENVELOPE
            if is_here and isinstance(value, Members):
                self.take(value, field)
            return
        self._is_beside |= not is_inside and not key.is_outside
        self._values[field] = key, value

    def check(self) -> None:
        """Every field that is wanted, once and in its place."""
        optional = (schema.FIELD_IGNORED, schema.FIELD_WHOLE)
        for key in self._form.keys:
            is_wanted = not key.is_optional and key.field not in optional
            if is_wanted and self._seen[key.field] == 0:
                raise NoBookError(f"{key.name} is missing")
        if any(count > 1 for count in self._seen.values()):
            raise NoBookError("a field comes twice")
        if self._seen[schema.FIELD_ENVELOPE] and self._is_beside:
            raise NoBookError("a part of the book stands outside the envelope")

    def reading(self) -> Reading:
        """The message, all of its values well typed."""
        is_snapshot, symbol = self._is_snapshot(), self._symbol()
        checksum, ids = self._checksum(), self._ids()
        time_ns, (bids, asks) = self._time_ns(ids), self._sides()
        amounts = tuple(self._amounts)
        return Reading(is_snapshot, symbol, ids, time_ns, checksum, bids, asks, amounts)

    def _text(self, field: int) -> str:
        text = self._values[field][1]
        if not isinstance(text, str) or isinstance(text, Bare):
            raise NoBookError("no text")
        return text

    def _is_snapshot(self) -> bool:
        if not self._seen[schema.FIELD_EVENT]:
            return self._form.is_snapshot
        event = self._text(schema.FIELD_EVENT)
        if event and event in (self._form.diff, self._form.snapshot):
            return event == self._form.snapshot or self._seen[schema.FIELD_WHOLE] > 0
        raise NoBookError("another event")

    def _symbol(self) -> str:
        symbol = self._text(schema.FIELD_SYMBOL) if self._seen[schema.FIELD_SYMBOL] else ""
        if not self._seen[schema.FIELD_TOPIC]:
            return symbol
        topic, begin = self._text(schema.FIELD_TOPIC), self._form.topic
        if symbol or self._seen[schema.FIELD_SYMBOL]:
            is_ours = topic.startswith(begin) if self._form.is_topic_prefix else topic == begin
        else:
            is_ours, symbol = topic.startswith(begin) and topic != begin, topic[len(begin) :]
        if not is_ours:
            raise NoBookError("another topic")
        return symbol

    def _whole(self, field: int) -> int:
        """The number of a field, 0 where it is missing."""
        if field not in self._values:
            return 0
        key, text = self._values[field]
        if not isinstance(text, str) or isinstance(text, Bare) == key.is_quoted:
            raise NoBookError(f"{key.name} is no number, or has quotes where it should not")
        can_fall = field in (schema.FIELD_PREVIOUS_ID, schema.FIELD_CHECKSUM)
        if not _WHOLE.fullmatch(text) or (text.startswith("-") and not can_fall):
            raise NoBookError(f"{key.name} is no whole number")
        if len(text.removeprefix("-")) > WHOLE_DIGITS_MAX:
            raise NoBookError(f"{key.name} is too long")
        return int(text)

    def _checksum(self) -> int:
        """32 bits, as they would be without a sign."""
        checksum = self._whole(schema.FIELD_CHECKSUM)
        if not -(2**31) <= checksum < 2**32:
            raise NoBookError("no checksum of 32 bits")
        return checksum % 2**32 if self._seen[schema.FIELD_CHECKSUM] else -1

    def _ids(self) -> tuple[int, int] | None:
        form, last = self._form.ids, self._whole(schema.FIELD_LAST_ID)
        first = last
        if form == schema.IDS_LINK:
            has = {self._seen[field] for field in (schema.FIELD_LAST_ID, schema.FIELD_PREVIOUS_ID)}
            if len(has) > 1 or (has == {0} and self._checksum() <= 0):
                raise NoBookError("neither ids nor a checksum")
        if form == schema.IDS_RANGE:
            first = self._whole(schema.FIELD_FIRST_ID)
        elif form in (schema.IDS_PREVIOUS, schema.IDS_LINK):
            first = self._whole(schema.FIELD_PREVIOUS_ID) + 1
        if form != schema.IDS_LINK and first > last:
            raise NoBookError("the first id is above the last")
        return (first, last) if self._seen[schema.FIELD_LAST_ID] else None

    def _time_ns(self, ids: tuple[int, int] | None) -> int:
        unit = self._form.time_unit_ns
        if unit == schema.ISO_TEXT:
            return _iso_ns(self._text(schema.FIELD_TIME)) if self._seen[schema.FIELD_TIME] else 0
        time = ids[1] if self._form.is_time_the_id and ids else self._whole(schema.FIELD_TIME)
        if unit == schema.MS_OR_US:
            unit = schema.US if len(str(time)) >= MICROSECONDS_DIGITS else schema.MS
        if time * unit > NS_MAX:
            raise NoBookError("a time beyond all times")
        return time * unit

    # --- levels ----------------------------------------------------------------------------------

    def _sides(self) -> tuple[Rows, Rows]:
        sides: tuple[Rows, Rows] = ([], [])
        for field, side in (
            (schema.FIELD_BIDS, 0),
            (schema.FIELD_ASKS, 1),
            (schema.FIELD_LEVELS, -1),
        ):
            if field not in self._values:
                continue
            rows = self._values[field][1]
            if not isinstance(rows, list) or isinstance(rows, Members):
                raise NoBookError("levels are no list")
            for found, price, qty in self._levels(rows):
                sides[found if side < 0 else side].append((price, qty))
        return sides

    def _levels(self, rows: list[Any]) -> Iterator[tuple[int, Decimal, Decimal]]:
        form = self._form.levels
        for row in rows:
            side = 0
            if form.shape in (schema.LEVELS_OBJECTS, schema.LEVELS_SIDED):
                price, qty, name = _object_parts(row, form)
            else:
                price, qty, name = _array_parts(row, form)
            if form.shape in schema.ONE_LIST:
                if isinstance(name, Bare) or name not in (form.bid, form.ask):
                    raise NoBookError("a level of no side")
                side = int(name == form.ask)
            yield side, self._amount(price), self._amount(qty)

    def _amount(self, text: Any) -> Decimal:
        is_quoted = self._form.levels.is_quoted
        if not isinstance(text, str) or isinstance(text, Bare) == is_quoted:
            raise NoBookError("no number, or quotes where there should be none")
        if not _AMOUNT.fullmatch(text):
            raise NoBookError("no decimal number")
        self._amounts.append(text)
        if not _ABOVE_ZERO.match(text):
            return Decimal(0)  # of any exponent, of which Decimal takes some only
        try:
            return Decimal(text)
        except ArithmeticError:
            raise NoBookError("an exponent beyond all numbers") from None


def _object_parts(row: Any, form: LevelForm) -> tuple[Any, Any, Any]:
    """Price, quantity and side of a level that is an object."""
    wanted = [form.price_key, form.qty_key]
    if form.shape == schema.LEVELS_SIDED:
        wanted.append(form.side_key)
    if not isinstance(row, Members):
        raise NoBookError("a level is no object")
    found = [[value for name, value in row if name == key] for key in wanted]
    if any(len(values) != 1 for values in found):
        raise NoBookError("a level's member is missing, or comes twice")
    price, qty, *side = (values[0] for values in found)
    return price, qty, side[0] if side else None


def _array_parts(row: Any, form: LevelForm) -> tuple[Any, Any, Any]:
    """The same of one that is an array."""
    if not isinstance(row, list) or isinstance(row, Members):
        raise NoBookError("a level is no list")
    if form.shape == schema.LEVELS_SIDED_ARRAYS:
        if len(row) != 3:
            raise NoBookError("a level without its three members")
        return row[1], row[2], row[0]
    if len(row) < 2 or (len(row) > 2 and form.shape != schema.LEVELS_LONGER):
        raise NoBookError("a level of too few members, or too many")
    return row[0], row[1], None


def _iso_ns(text: str) -> int:
    """RFC 3339 text in UTC as nanoseconds; a leap second counts as the next one."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise NoBookError("no time")
    minute, second, fraction = found.groups(default="")
    try:
        moment = datetime.fromisoformat(f"{minute}00+00:00")
    except ValueError:
        raise NoBookError("no such day or minute") from None
    if moment.year not in YEARS or (second == "60" and (moment.hour, moment.minute) != (23, 59)):
        raise NoBookError("no such time")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since // timedelta(seconds=1) + int(second)
    return seconds * 10**9 + int(fraction.ljust(9, "0"))
