"""What a fault makes of one book frame's text: pure functions, the same on both venues.

Each takes the frame's text, the fault's value and a seeded generator, and returns what to send
instead: a str goes as a text frame, `Raw` as the bytes on the wire that it is. Some results mean
the same as the frame did (white space, other order of keys); most must be refused.
Thread: the simulator's event loop. Called through the table in faults.py.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from net.simulator.connection import Outgoing, Raw

OPCODE_CONTINUATION, OPCODE_TEXT, OPCODE_BINARY = 0, 1, 2
FINAL = 0x80
FILLER_LEVEL_PRICE = 100_000_000  # in cents, upwards: beyond any simulated book


def wire(payload: bytes, opcode: int, *, final: bool = True) -> Raw:
    """An unmasked websocket frame (RFC 6455, section 5.2)."""
    head, size = opcode | (FINAL if final else 0), len(payload)
    if size < 126:
        return Raw(struct.pack("!BB", head, size) + payload)
    if size < 1 << 16:
        return Raw(struct.pack("!BBH", head, 126, size) + payload)
    return Raw(struct.pack("!BBQ", head, 127, size) + payload)


def is_book_frame(text: str) -> bool:
    """Whether a text is a diff of a book, of either venue."""
    return '"depthUpdate"' in text or ('"diff_order_book_' in text and '"event":"data"' in text)


class _Frame:
    """A frame taken apart. `body` holds ids and sides; `bids` and `asks` are its own lists."""

    def __init__(self, text: str) -> None:
        self.message: dict[str, Any] = orjson.loads(text)
        self.body: dict[str, Any] = self.message.get("data", self.message)
        self.is_binance = "e" in self.body
        self.side_names = ("b", "a") if self.is_binance else ("bids", "asks")
        self.bids: list[list[Any]] = self.body[self.side_names[0]]
        self.asks: list[list[Any]] = self.body[self.side_names[1]]

    def a_level(self) -> list[Any]:
        """The first level there is; one is made where there is none."""
        if not self.bids and not self.asks:
            self.bids.append(["1.00", "1.00000000"])
        return (self.bids or self.asks)[0]

    def text(self) -> str:
        return orjson.dumps(self.message).decode()


# --- frames in number and order ------------------------------------------------------------------


def drop(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return ()


def duplicate(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return (text, text)


def gap(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """One update is missing before this frame: U is one more than it should be."""
    frame = _Frame(text)
    if frame.body["U"] == frame.body["u"]:
        frame.body["u"] += 1
    frame.body["U"] += 1
    return (frame.text(),)


def age(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """The venue's time of the frame is `value` ms earlier; its ids stay as they are."""
    frame = _Frame(text)
    frame.body["E"] -= int(value)
    return (frame.text(),)


# --- the same meaning in other words -------------------------------------------------------------


def fragment(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """`value` fragments, cut anywhere."""
    raw, count = text.encode(), max(2, int(value))
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


def reorder_keys(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    message = orjson.loads(text)
    return (orjson.dumps(_shuffled(message, rng)).decode(),)


def _shuffled(value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    return {keys[at]: _shuffled(value[keys[at]], rng) for at in rng.permutation(len(keys))}


def extra_keys(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """Keys that nobody knows, with every kind of value, before and behind the known ones."""
    frame = _Frame(text)
    more = {"n": None, "list": [1, [2.5e3, {"k": True}]], "object": {"deep": {"er": "x"}}}
    before = {"checksum": int(rng.integers(0, 1 << 31)), "note": "new in this version"}
    fields = {**before, **frame.body, **more}
    if "data" in frame.message:
        frame.message = {"version": 2, **frame.message, "data": fields, "region": ""}
    else:
        frame.message = fields
    return (frame.text(),)


def whitespace(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    spaced = json.dumps(orjson.loads(text), indent="\t ", separators=(" ,\r\n", " : "))
    return (f" \n{spaced}\r\n ",)


def escape_strings(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """A text beside the data that uses every escape there is."""
    frame = _Frame(text)
    note = r'"note":"a\"b\\c\/d\b\f\n\r\t\u00e9\u20ac\ud83d\ude00 {}[],:"'
    whole = frame.text()
    return (f"{whole[:-1]},{note}}}",)


def pad(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """`value` bytes more, in a key that nobody knows."""
    return (f'{text[:-1]},"padding":"{"x" * int(value)}"}}',)


# --- nonsense ------------------------------------------------------------------------------------


def binary(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return (wire(rng.bytes(len(text)), OPCODE_BINARY),)


def garbage(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """Random bytes that call themselves text."""
    return (wire(rng.bytes(len(text)), OPCODE_TEXT),)


def truncate(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return (text[: int(rng.integers(1, len(text)))],)


def escape_keys(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """Plain letters of the keys that matter spelled as escapes."""
    for key in ("b", "a", "bids", "asks"):
        spelled = "".join(f"\\u{ord(letter):04x}" for letter in key)
        text = text.replace(f'"{key}":', f'"{spelled}":')
    return (text,)


def wrong_types(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """One field of another type; which, and what it becomes, is drawn."""
    frame = _Frame(text)
    last_id = "u" if frame.is_binance else "microtimestamp"
    kind = int(rng.integers(0, 8))
    if kind == 0:
        frame.a_level()[0] = 61837.63
    elif kind == 1:
        frame.a_level()[1] = 1
    elif kind == 2:
        frame.a_level().append("0")
    elif kind == 3:
        frame.body[frame.side_names[0]] = {}
    elif kind == 4:
        frame.body[frame.side_names[1]] = None
    elif kind == 5:
        frame.body[last_id] = [frame.body[last_id]]
    elif kind == 6:
        frame.body[last_id] = 1.5
    else:
        del frame.body[last_id]
    return (frame.text(),)


def _with_price(text: str, price: str) -> Sequence[Outgoing]:
    frame = _Frame(text)
    frame.a_level()[0] = price
    return (frame.text(),)


def exponent(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return _with_price(text, "6.183763e4")


def negative_price(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return _with_price(text, "-61837.63")


def zero_price(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    return _with_price(text, "0.00000000")


def long_digits(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """A quantity of more digits than a 64-bit number has."""
    frame = _Frame(text)
    frame.a_level()[1] = "9" * 25 + ".00000001"
    return (frame.text(),)


def many_levels(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    frame = _Frame(text)
    for cents in range(FILLER_LEVEL_PRICE, FILLER_LEVEL_PRICE + int(value)):
        frame.asks.append([f"{cents // 100}.{cents % 100:02d}", "1.00000000"])
    return (frame.text(),)


def unknown_symbol(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """A frame of a symbol nobody asked for, then the frame itself."""
    frame = _Frame(text)
    if frame.is_binance:
        frame.body["s"] = "NOSUCH"
        if "stream" in frame.message:
            frame.message["stream"] = "nosuch@depth@100ms"
    else:
        frame.message["channel"] = "diff_order_book_nosuch"
    return (frame.text(), text)


def cross(text: str, value: float, rng: np.random.Generator) -> Sequence[Outgoing]:
    """An ask far below every bid that the venue never takes back."""
    frame = _Frame(text)
    frame.asks.insert(0, ["1.00", "1.00000000"])
    return (frame.text(),)
