"""What a fault makes of one book frame's text: pure functions, the same on all venues.

Each takes the frame, the fault's value and a seeded generator, and returns what to send
instead: a str goes as a text frame, `Raw` as the bytes on the wire that it is. Some results mean
the same as the frame did (white space, other order of keys); most must be refused.
Called through the table in faults.py.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from net.simulator.connection import Outgoing, Raw
from net.simulator.venue import BookForm

OPCODE_CONTINUATION, OPCODE_TEXT, OPCODE_BINARY = 0, 1, 2
FINAL = 0x80
COMPRESSED = 0x40
"""The first reserved bit: an extension that nobody agreed on."""
FILLER_LEVEL_PRICE = 100_000_000  # in cents, upwards: beyond any simulated book


def wire(payload: bytes, opcode: int, *, final: bool = True, reserved: int = 0) -> Raw:
    """An unmasked websocket frame (RFC 6455, section 5.2)."""
    head, size = opcode | reserved | (FINAL if final else 0), len(payload)
    if size < 126:
        return Raw(struct.pack("!BB", head, size) + payload)
    if size < 1 << 16:
        return Raw(struct.pack("!BBH", head, 126, size) + payload)
    return Raw(struct.pack("!BBQ", head, 127, size) + payload)


def is_book_frame(form: BookForm, text: str) -> bool:
    """Whether a text is a diff of a book."""
    return all(mark in text for mark in form.diff_marks)


class BookFrame:
    """A diff, taken apart when that is asked for; only what is taken apart is changed.

    `body` holds ids and sides; `bids` and `asks` are its own lists.
    """

    def __init__(self, form: BookForm, text: str) -> None:
        self.form = form
        self.text = text

    @cached_property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.form.levels.quoted(self.text))
        return found

    @cached_property
    def body(self) -> dict[str, Any]:
        found: Any = self.message.get(self.form.body, self.message)
        return dict_of(found[0] if isinstance(found, list) else found)

    @property
    def _holder(self) -> dict[str, Any]:
        """What has the keys of the sides."""
        return dict_of(self.body[self.form.inner]) if self.form.inner else self.body

    @cached_property
    def _rows(self) -> tuple[list[list[Any]], list[list[Any]]]:
        return self.form.levels.split(self._holder, self.form.sides)

    @property
    def bids(self) -> list[list[Any]]:
        if self.form.levels.is_plain:
            return self.form.levels.split(self._holder, self.form.sides)[0]
        return self._rows[0]

    @property
    def asks(self) -> list[list[Any]]:
        if self.form.levels.is_plain:
            return self.form.levels.split(self._holder, self.form.sides)[1]
        return self._rows[1]

    def a_level(self) -> list[Any]:
        """The first level there is; one is made where there is none."""
        if not self.bids and not self.asks:
            self.bids.append(["1.00", "1.00000000"])
        return (self.bids or self.asks)[0]

    def changed(self) -> str:
        """The text of the message as it is now."""
        levels = self.form.levels
        if not levels.is_plain and "_rows" in self.__dict__:
            levels.join(self._holder, self.form.sides, *self._rows)
        return levels.bare(orjson.dumps(self.message).decode())


def dict_of(value: Any) -> dict[str, Any]:
    """An object of a message."""
    assert isinstance(value, dict)
    return value


# --- frames in number and order ------------------------------------------------------------------


def drop(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return ()


def duplicate(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return (frame.text, frame.text)


def gap(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """One update is missing before this frame: its first id is one more than it should be."""
    first, last = frame.form.first_id or frame.form.previous_id, frame.form.last_id
    if frame.body[first] == frame.body[last]:
        frame.body[last] += 1
    frame.body[first] += 1
    return (frame.changed(),)


def wrong_checksum(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    frame.body[frame.form.checksum] = (frame.body[frame.form.checksum] + 1) % 2**31
    return (frame.changed(),)


def age(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """The venue's time of the frame is `value` ms earlier; its ids stay as they are."""
    frame.body[frame.form.time_ms] -= int(value)
    return (frame.changed(),)


def future(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """The venue's time of the frame, which is its id too, is `value` s later."""
    key = frame.form.last_id
    frame.body[key] = str(int(frame.body[key]) + int(value) * 1_000_000)
    return (frame.changed(),)


def halve(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """The frame's bids, then its asks, under one id, in one write."""
    parts = []
    for emptied in reversed(frame.form.sides):
        part = BookFrame(frame.form, frame.text)
        part.body[emptied] = []
        parts.append(wire(part.changed().encode(), OPCODE_TEXT).data)
    return (Raw(b"".join(parts)),)


# --- the same meaning in other words -------------------------------------------------------------


def fragment(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """`value` fragments, cut anywhere."""
    raw, count = frame.text.encode(), max(2, int(value))
    cuts = sorted(int(cut) for cut in rng.integers(0, len(raw) + 1, count - 1))
    edges = [0, *cuts, len(raw)]
    return [
        wire(
            raw[edges[index] : edges[index + 1]],
            OPCODE_TEXT if index == 0 else OPCODE_CONTINUATION,
            final=index == count - 1,
        )
        for index in range(count)
    ]


def reorder_keys(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    shuffled = orjson.dumps(_shuffled(frame.message, rng)).decode()
    return (frame.form.levels.bare(shuffled),)


def _shuffled(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, list) and len(value) == 1:
        return [_shuffled(value[0], rng)]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    return {keys[at]: _shuffled(value[keys[at]], rng) for at in rng.permutation(len(keys))}


def extra_keys(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """Keys that nobody knows, with every kind of value, before and behind the known ones."""
    more = {"n": None, "list": [1, [2.5e3, {"k": True}]], "object": {"deep": {"er": "x"}}}
    before = {"crc": int(rng.integers(0, 1 << 31)), "note": "new in this version"}
    fields, key = {**before, **frame.body, **more}, frame.form.body
    if key in frame.message:
        is_listed = isinstance(frame.message[key], list)
        body = [fields] if is_listed else fields
        frame.message = {"version": 2, **frame.message, key: body, "region": ""}
    else:
        frame.message = fields
    return (frame.changed(),)


def whitespace(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    spaced = json.dumps(frame.message, indent="\t ", separators=(" ,\r\n", " : "))
    return (f" \n{frame.form.levels.bare(spaced)}\r\n ",)


def escape_strings(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """A text beside the data that uses every escape there is."""
    note = r'"note":"a\"b\\c\/d\b\f\n\r\t\u00e9\u20ac\ud83d\ude00 {}[],:"'
    whole = frame.changed()
    return (f"{whole[:-1]},{note}}}",)


def pad(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """`value` bytes more, in a key that nobody knows."""
    return (f'{frame.text[:-1]},"padding":"{"x" * int(value)}"}}',)


# --- nonsense ------------------------------------------------------------------------------------


def binary(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return (wire(rng.bytes(len(frame.text)), OPCODE_BINARY),)


def reserved_bit(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return (wire(frame.text.encode(), OPCODE_TEXT, reserved=COMPRESSED),)


def garbage(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """Random bytes that call themselves text."""
    return (wire(rng.bytes(len(frame.text)), OPCODE_TEXT),)


def truncate(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return (frame.text[: int(rng.integers(1, len(frame.text)))],)


def escape_keys(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """Plain letters of the keys that matter spelled as escapes."""
    text = frame.text
    for key in ("b", "a", "bids", "asks"):
        spelled = "".join(f"\\u{ord(letter):04x}" for letter in key)
        text = text.replace(f'"{key}":', f'"{spelled}":')
    return (text,)


def wrong_types(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """One field of another type; which, and what it becomes, is drawn."""
    last_id, sides = frame.form.last_id, frame.form.sides
    if not frame.form.levels.is_plain or not last_id:
        frame.message[next(iter(frame.message))] = None
        return (frame.form.levels.bare(orjson.dumps(frame.message).decode()),)
    kind = int(rng.integers(0, 8))
    if kind == 0:
        frame.a_level()[0] = 61837.63
    elif kind == 1:
        frame.a_level()[1] = 1
    elif kind == 2:
        frame.a_level().append("0")
    elif kind == 3:
        frame.body[sides[0]] = {}
    elif kind == 4:
        frame.body[sides[1]] = None
    elif kind == 5:
        frame.body[last_id] = [frame.body[last_id]]
    elif kind == 6:
        frame.body[last_id] = 1.5
    else:
        del frame.body[last_id]
    return (frame.changed(),)


def _with_price(frame: BookFrame, price: str) -> Sequence[Outgoing]:
    frame.a_level()[0] = price
    return (frame.changed(),)


def exponent(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """The first price as a number with an exponent: it says the same."""
    return _with_price(frame, f"{Decimal(frame.a_level()[0]):e}")


def off_tick(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """A bid below all others, at a price of so many decimals."""
    frame.bids.append([low_price(int(value)), "1.00000000"])
    return (frame.changed(),)


def low_price(decimals: int) -> str:
    """A price of exactly so many decimals, below any simulated book."""
    return f"1.{5:0{decimals}d}"


def negative_price(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return _with_price(frame, "-61837.63")


def zero_price(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return _with_price(frame, "0.00000000")


def long_digits(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """A quantity of more digits than a 64-bit number has."""
    frame.a_level()[1] = "9" * 25 + ".00000001"
    return (frame.changed(),)


def many_levels(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    for cents in range(FILLER_LEVEL_PRICE, FILLER_LEVEL_PRICE + int(value)):
        frame.asks.append([f"{cents // 100}.{cents % 100:02d}", "1.00000000"])
    return (frame.changed(),)


def unknown_symbol(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """A frame of a symbol nobody asked for, then the frame itself."""
    for key, other in frame.form.foreign.items():
        for part in (frame.message, frame.body):
            if key in part:
                part[key] = other
    return (frame.changed(), frame.text)


def cross(frame: BookFrame, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """An ask far below every bid that the venue never takes back."""
    frame.asks.insert(0, ["1.00", "1.00000000"])
    return (frame.changed(),)
