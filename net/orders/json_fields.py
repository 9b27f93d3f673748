"""Reading a venue's JSON with nothing taken on trust.

Every function raises EntryError, with a little of what was there, where a value is not what it
should be. Numbers are read from text, exactly; a number that came through floating point is none.
Runs on: the engine thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from engine.decoding.scale import INT64_MAX, QUANTITY_LIMIT, ScaleError, exact_count
from engine.maker.quote_layout import PPM
from net.orders.messages import NOT_SAID, EntryError, Market, quoted

Record = dict[str, Any]

MESSAGE_BYTES_MAX = 4 << 20
"""A thousand open orders are some 600 kB."""
TEXT_CHARACTERS_MAX = 180
"""Above any venue's limit for a client order id; names of assets and states are far shorter."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")


def read_strict(raw: bytes) -> Any:
    """JSON whose numbers with a fraction are not used: the fast reader."""
    _limit(raw)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise EntryError(f"not JSON: {_start(raw)!r}") from None


def read_exact(raw: bytes) -> Any:
    """JSON whose numbers with a fraction are kept as their text, so that no digit changes."""
    _limit(raw)
    try:
        return json.loads(raw.decode(), parse_float=str, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise EntryError(f"not JSON: {_start(raw)!r}") from None


def _limit(raw: bytes) -> None:
    if len(raw) > MESSAGE_BYTES_MAX:
        raise EntryError(f"a message of {len(raw)} bytes, above {MESSAGE_BYTES_MAX}")


def _start(raw: bytes) -> str:
    return quoted(raw[:200].decode("utf-8", "replace"))


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def record(value: Any, what: str) -> Record:
    """A JSON object."""
    if not isinstance(value, dict):
        raise EntryError(f"{what} is no object: {quoted(value)!r}")
    return value


def records(value: Any, what: str) -> list[Record]:
    """A JSON array of objects."""
    if not isinstance(value, list):
        raise EntryError(f"{what} is no list: {quoted(value)!r}")
    return [record(each, what) for each in value]


def text(fields: Record, key: str, default: str | None = None) -> str:
    """A short printable text; `default`, where there is one, for a missing one or null."""
    value = fields.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS_MAX or not value.isprintable():
        raise _bad(fields, key, "a short text")
    return value


def optional_text(fields: Record, *keys: str) -> str | None:
    """The first of these texts that is there and not empty, None where none is."""
    for key in keys:
        found = text(fields, key, "")
        if found:
            return found
    return None


def row_with(rows: list[Record], key: str, value: str) -> Record | None:
    """The first row whose field is this."""
    return next((each for each in rows if each.get(key) == value), None)


def optional(read: Callable[..., int], fields: Record, key: str, *more: Any) -> int:
    """What `read` makes of a number; NOT_SAID where it is missing."""
    return read(fields, key, *more) if key in fields else NOT_SAID


def whole(fields: Record, key: str) -> int:
    """An integer from 0 to 2^63-1, as a number or as digits."""
    value = fields.get(key)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= INT64_MAX:
        raise _bad(fields, key, "an integer from 0 to 2^63-1")
    return value


def flag(fields: Record, key: str) -> bool:
    """true or false."""
    value = fields.get(key)
    if not isinstance(value, bool):
        raise _bad(fields, key, "true or false")
    return value


def one_of(fields: Record, key: str, table: dict[Any, Any]) -> Any:
    """What the table has for a text or an integer."""
    value = fields.get(key)
    if not isinstance(value, str | int) or isinstance(value, bool) or value not in table:
        raise _bad(fields, key, f"one of {', '.join(map(str, table))}")
    return table[value]


def lots(fields: Record, key: str) -> int:
    """A quantity of 0 or more in lots of 1e-8."""
    return _counted(fields, key, lambda number: exact_count(number, 1, 8, QUANTITY_LIMIT))


def ticks(fields: Record, key: str, market: Market) -> int:
    """A price of 0 or more in the market's ticks."""
    return _counted(fields, key, market.price_ticks)


def signed_lots(fields: Record, key: str) -> int:
    """A change of a balance in lots, of either sign."""
    return _counted(fields, key, _signed_lots)


def fee_lots(fields: Record, key: str) -> int:
    """A fee in lots. One finer than a lot is rounded up: a fill counts whatever its fee."""
    return _counted(fields, key, _fee_lots)


def rate_ppm(fields: Record, key: str, parts: int = 1) -> int:
    """A fee's rate in millionths, of one or of so many `parts` of it (100: per cent); below zero
    for a rebate. One that is finer is rounded up: a fee is never understated."""
    return _counted(fields, key, lambda number: _rate_ppm(number, parts))


def time_ns(fields: Record, key: str, unit_ns: int) -> int:
    """A time since the epoch, in units of `unit_ns`, in ns."""
    value = whole(fields, key) * unit_ns
    if value > INT64_MAX:
        raise _bad(fields, key, "a time")
    return value


def datetime_ns(fields: Record, key: str) -> int:
    """A time such as "2026-02-05 14:43:15.796000", which is UTC, in ns."""
    value = fields.get(key)
    try:
        if isinstance(value, str) and _DATETIME.fullmatch(value):
            moment = datetime.fromisoformat(value).replace(tzinfo=UTC) - _EPOCH
            nanoseconds = moment // timedelta(microseconds=1) * 1000
            if 0 <= nanoseconds <= INT64_MAX:
                return nanoseconds
    except ValueError:
        pass
    raise _bad(fields, key, "a date and time")


def _counted(fields: Record, key: str, count: Callable[[str], int]) -> int:
    value = fields.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT64_MAX:
        value = str(value)
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS_MAX:
        raise _bad(fields, key, "a decimal number")
    try:
        return count(value)
    except ScaleError as error:
        raise EntryError(f"{key}: {quoted(value)!r} {error}") from None


def _signed_lots(number: str) -> int:
    sign = -1 if number.startswith("-") else 1
    return sign * exact_count(number.removeprefix("-"), 1, 8, QUANTITY_LIMIT)


def _fee_lots(number: str) -> int:
    if number.startswith("-"):
        finer = -exact_count(number[1:], 1, 28, INT64_MAX * 10**20)
    else:
        finer = exact_count(number, 1, 28, INT64_MAX * 10**20)
    return -(-finer // 10**20)


def _rate_ppm(number: str, parts: int) -> int:
    ppm = _fee_lots(number) * PPM
    return -(-ppm // (parts * 10**8))


def _bad(fields: Record, key: str, wanted: str) -> EntryError:
    if key not in fields:
        return EntryError(f"{key} is missing in {quoted(fields)!r}")
    return EntryError(f"{key}: {quoted(fields[key])!r} is not {wanted}")
