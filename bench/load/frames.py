"""What is sent: synthetic frames of one size whose ids are patched in place, and recorded ones.

A `FrameSet` is a matrix of bytes, one websocket frame a row, all of one length, so that a row can
be sent again under the next update id by overwriting ten digits. Each row gives the best bid
another quantity than the row before it (and than the last row, before the first), so every frame
changes the published book; the price never moves and the book is never crossed.
Runs on: sender and harness processes.
"""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.rig.venue_names import MEASURED, SYMBOLS, TAPE_NAME
from engine.specs import FeedSpec, InstrumentSpec

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
BTCUSDT_TAPE = DATA / TAPE_NAME
RECORDED_LEVELS_LIMIT = 1000
"""Of the recorded snapshot: the venue cut each side after so many levels."""
NO_TAPE = f"no recorded data: {BTCUSDT_TAPE} is absent (README, tests that need recordings)"

SYMBOL = SYMBOLS[MEASURED.name]
FIRST_ID = 1_000_000_000
"""The snapshot's id; ten digits, and so has every id that is sent after it."""
ID_DIGITS = 10
MID_CENTS = 6_000_000
"""The best bid is 60000.00, the best ask 60000.01."""
LEVELS = 36
"""A frame's levels: the mean of the recorded BTCUSDT frames."""
ROWS = 1024
"""Frames that differ; a run longer than this sends them again under new ids."""
NEAR_CENTS = 20_000
"""How far from the touch a frame's levels lie: 200 USD, inside the ladder's window."""
TOP_CENTS = 15
"""Three of ten levels of a frame fall so close to the touch."""
CLEAR_CENTS = 40
"""Where frames move the best bid, their other bids leave the snapshot's alone so far down: the next
one is three cents below."""
RESTING_LEVELS = 1000
"""Levels a side of the snapshot, as the venue's default answer has them."""
_POWERS = 10 ** np.arange(ID_DIGITS - 1, -1, -1, dtype=np.int64)


def symbol_of(number: int) -> str:
    """The venue's symbol of an instrument; all are equally long, and so are their frames."""
    return SYMBOL if number == 0 else f"S{number:0{len(SYMBOL) - 1}}"


def instrument(feeds: int = 1, depth: int = 10, symbol: str = "BTC-USD") -> InstrumentSpec:
    """An instrument on so many feeds of one venue, one connection each."""
    specs = (FeedSpec(f"venue{n}", MEASURED.rules, n, SYMBOL, "0.01") for n in range(feeds))
    return InstrumentSpec(symbol, tuple(specs), depth)


def price(cents: int) -> str:
    """The venue writes eight decimals."""
    return f"{cents // 100}.{cents % 100:02}000000"


def quantity(lots: int) -> str:
    return f"{lots // 10**8}.{lots % 10**8:08}"


def snapshot(resting: int = RESTING_LEVELS, step_cents: int = 3, last_id: int = FIRST_ID) -> bytes:
    """A REST book with so many levels a side, `step_cents` apart."""
    rows = [
        [[price(best + sign * step_cents * n), quantity(10**8 + n)] for n in range(resting)]
        for best, sign in ((MID_CENTS, -1), (MID_CENTS + 1, 1))
    ]
    return orjson.dumps({"lastUpdateId": last_id, "bids": rows[0], "asks": rows[1]})


def diff(
    first: int, last: int, bids: list[list[str]], asks: list[list[str]], symbol: str = SYMBOL
) -> bytes:
    """A frame of the venue's combined stream."""
    data = {
        "e": "depthUpdate", "E": 1_700_000_000_000, "s": symbol,
        "U": first, "u": last, "b": bids, "a": asks,
    }  # fmt: skip
    return orjson.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


def side_levels(rng: random.Random, count: int, best: int, sign: int) -> list[list[str]]:
    """Levels of one side, none at the touch: a seventh deleted, two with a longer quantity."""
    rows = []
    for index in range(count):
        reach = TOP_CENTS if rng.random() < 0.3 else NEAR_CENTS
        lots = 0 if index % 7 == 6 else rng.randrange(1, 10**9)
        lots += 10**9 if index < 2 else 0
        rows.append([price(best + sign * rng.randrange(1, reach)), quantity(lots)])
    rng.shuffle(rows)
    return rows


def text_frame(
    rng: random.Random, row: int, levels: int, moves: bool = False, symbol: str = SYMBOL
) -> bytes:
    """The JSON of one row of a frame set; with `moves` every other row deletes the best bid."""
    # From 1 to 2 coins, in steps no two rows share.
    is_deleted = moves and row % 2 == 1
    touch = [price(MID_CENTS), quantity(0 if is_deleted else 10**8 + 1 + row * 1009)]
    below = MID_CENTS - (CLEAR_CENTS if moves else 0)
    bids = [touch, *side_levels(rng, (levels + 1) // 2 - 1, below, -1)]
    asks = side_levels(rng, levels // 2, MID_CENTS + 1, 1)
    return diff(FIRST_ID, FIRST_ID, bids, asks, symbol)


def websocket_frame(payload: bytes) -> bytes:
    """A server's text frame (RFC 6455, section 5.2): not masked."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


@dataclass(frozen=True)
class FrameSet:
    """Equally long websocket frames, one a row."""

    matrix: NDArray[np.uint8]
    first_id_at: int
    last_id_at: int
    header_bytes: int

    @property
    def frame_bytes(self) -> int:
        """Payload bytes of one frame."""
        return int(self.matrix.shape[1]) - self.header_bytes

    @property
    def rows(self) -> int:
        return int(self.matrix.shape[0])

    def renumber(self, row: int, count: int, update_id: int) -> None:
        """Give `count` rows from `row` the ids from `update_id` on."""
        ids = np.arange(update_id, update_id + count, dtype=np.int64)
        digits = (ids[:, None] // _POWERS % 10 + ord("0")).astype(np.uint8)
        for at in (self.first_id_at, self.last_id_at):
            self.matrix[row : row + count, at : at + ID_DIGITS] = digits


def frame_set(
    levels: int = LEVELS, rows: int = ROWS, seed: int = 1, moves: bool = False,
    instruments: int = 1,
) -> FrameSet:  # fmt: skip
    """Rows of frames with so many levels each; with `moves` each changes the best bid's price.

    The instruments take turns, row by row.
    """
    assert instruments == 1 or rows % instruments == 0
    rng = random.Random(seed)
    symbols = [symbol_of(number) for number in range(instruments)]
    texts = [text_frame(rng, row, levels, moves, symbols[row % instruments]) for row in range(rows)]
    frames = [websocket_frame(text) for text in texts]
    sizes = {len(frame) for frame in frames}
    assert len(sizes) == 1, f"frames of several sizes: {sizes}"
    matrix = np.frombuffer(b"".join(frames), np.uint8).reshape(rows, -1).copy()
    first, header = frames[0], len(frames[0]) - len(texts[0])
    return FrameSet(matrix, first.index(b'"U":') + 4, first.index(b'"u":') + 4, header)


@dataclass(frozen=True)
class Recording:
    """The recorded BTCUSDT market: its snapshot and the frames that come after it."""

    snapshot: bytes
    frames: tuple[bytes, ...]
    levels_mean: float


def recording(frames_max: int | None = None) -> Recording | None:
    """The tape's snapshot and the diffs that continue it, in order; None where it is absent."""
    if not BTCUSDT_TAPE.exists():
        return None
    body = b""
    frames: list[bytes] = []
    levels = 0
    with gzip.open(BTCUSDT_TAPE, "rb") as file:
        for line in file:
            entry = orjson.loads(line)
            if entry["kind"] == "rest" and "depth" in (entry.get("path") or ""):
                body = body or entry["raw"].encode()
            elif entry["kind"] == "ws" and "@depth" in entry["raw"][:60]:
                frames.append(entry["raw"].encode())
    last_id = orjson.loads(body)["lastUpdateId"]
    kept = []
    for frame in frames:
        data = orjson.loads(frame)["data"]
        if data["u"] > last_id:
            kept.append(frame)
            levels += len(data["b"]) + len(data["a"])
            if len(kept) == frames_max:
                break
    return Recording(body, tuple(kept), levels / len(kept))
