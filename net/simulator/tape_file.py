"""Reads a tape (net.tape), one JSON object a line, into what the simulated venues can replay.

Invariants: texts are kept as recorded; each venue's due times never fall (recorded times may step
back a little). Anything wrong is a `SimulatorError` naming file and line. Other venues' lines, and
those that are neither frames nor answers, are ignored.
Runs on: the one that starts the simulator, before anything is served.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from net.log.one_line import one_line
from net.simulator.market import ASK, BID
from net.simulator.options import LOT_DECIMALS, SimulatorError, VenueInstrument
from net.simulator.registry import VENUES, simulated_venue
from net.simulator.venue import BookForm
from net.tape.tape import TapeError, read_texts

TEXT_BYTES_MAX = 1 << 30  # a tape is held in memory; a longer one should be cut
DECIMALS_MAX = 8
NUMBER = re.compile(r"\d{1,12}(?:\.(\d{1,8}))?")
STAMP_MAX = 2**63 - 1
QUOTES = (
    "USDT",
    "USDC",
    "FDUSD",
    "TUSD",
    "BUSD",
    "DAI",
    "PAX",
    "USD",
    "EUR",
    "GBP",
    "TRY",
    "BRL",
    "JPY",
    "BTC",
    "ETH",
    "BNB",
)
TextPairs = list[list[str]]


class Depth(NamedTuple):
    """A diff or a whole book: first and last update id, the same one where there are stamps."""

    first: int
    last: int
    bids: TextPairs
    asks: TextPairs


class TapeLine(NamedTuple):
    """One line worth replaying. `text` is what raw connections get, `wrapped` combined ones."""

    due_ns: int
    channel: str  # empty for a REST body
    symbol: str  # of a book diff or body, else empty
    text: str
    wrapped: str | None
    depth: Depth | None


@dataclass
class VenueTape:
    """One venue's part of a tape."""

    lines: list[TapeLine] = field(default_factory=list)
    instruments: dict[str, VenueInstrument] = field(default_factory=dict)


class _Decimals:
    """The most decimals seen: as printed, and without trailing zeros."""

    def __init__(self) -> None:
        self.text = [0, 0]
        self.needed = [0, 0]

    def note(self, pairs: TextPairs) -> None:
        for pair in pairs:
            for index in (0, 1):
                match = NUMBER.fullmatch(pair[index])
                if match is None:
                    raise ValueError(f"bad number {pair[index]!r}")
                part = match[1] or ""
                if len(part) > self.text[index]:
                    self.text[index] = len(part)
                if len(part) > self.needed[index]:
                    self.needed[index] = max(self.needed[index], len(part.rstrip("0")))


class _Reader:
    def __init__(self) -> None:
        self.venues = {name: VenueTape() for name in VENUES}
        self._decimals: dict[tuple[str, str], _Decimals] = {}
        self._due_ns = dict.fromkeys(VENUES, 0)

    def read_line(self, data: bytes) -> None:
        """One line of the file; ValueError, KeyError or TypeError when it is malformed."""
        line = orjson.loads(data)
        if not isinstance(line, dict):
            raise ValueError("not an object")
        kind = line["kind"]
        if kind not in ("ws", "rest"):
            return
        time_ns, venue, raw = line["t"], line["venue"], line["raw"]
        if not isinstance(time_ns, int) or isinstance(time_ns, bool) or time_ns < 0:
            raise ValueError(f"bad time {one_line(time_ns)}")
        if not isinstance(venue, str) or not isinstance(raw, str):
            raise ValueError(f"bad venue or raw in {data[:60]!r}")
        if venue not in VENUES:
            return
        due_ns = self._due_ns[venue] = max(self._due_ns[venue], time_ns)
        if kind == "rest":
            path = line["path"]
            if not isinstance(path, str):
                raise ValueError("path is not a string")
            found = _rest(simulated_venue(venue).form, path, raw, due_ns)
        else:
            read_frame = simulated_venue(venue).read_frame
            assert read_frame is not None, "the venues of VENUES have tapes"
            found = read_frame(raw, due_ns)
        if found is None:
            return
        if not isinstance(found.symbol, str):
            raise ValueError(f"bad symbol {one_line(found.symbol)}")
        if found.depth is not None:
            decimals = self._decimals.setdefault((venue, found.symbol), _Decimals())
            decimals.note(found.depth.bids)
            decimals.note(found.depth.asks)
        self.venues[venue].lines.append(found)

    def finish(self) -> dict[str, VenueTape]:
        """Instruments from the decimals seen."""
        for (venue, symbol), decimals in self._decimals.items():
            base, quote = split_symbol(symbol.upper())
            price_text, qty_text = decimals.text
            pads_zeros = simulated_venue(venue).form.pads_zeros
            price, qty = decimals.needed if pads_zeros else decimals.text
            common = f"{base}-{'USD' if quote == 'USDT' else quote}"
            self.venues[venue].instruments[symbol] = VenueInstrument(
                common, symbol, base, quote, price, qty, price_text, qty_text
            )
        return self.venues


def split_symbol(symbol: str) -> tuple[str, str]:
    """BTCUSDT to (BTC, USDT), by the longest known quote asset; ValueError if there is none."""
    for quote in sorted(QUOTES, key=len, reverse=True):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    raise ValueError(f"symbol {symbol!r} ends in no known quote asset")


def read_tape(path: Path) -> dict[str, VenueTape]:
    """Read and validate a whole tape."""
    reader = _Reader()
    bytes_count = 0
    try:
        for where, data in read_texts(path):
            bytes_count += len(data)
            if bytes_count > TEXT_BYTES_MAX:
                raise SimulatorError(f"{path}: more than {TEXT_BYTES_MAX} bytes of text")
            try:
                reader.read_line(data)
            except KeyError as error:
                raise SimulatorError(f"{where}: no field {error}") from None
            except (ValueError, TypeError, AttributeError) as error:
                raise SimulatorError(f"{where}: {_one_line(error)}") from None
    except TapeError as error:
        raise SimulatorError(str(error)) from None
    try:
        venues = reader.finish()
    except ValueError as error:
        raise SimulatorError(f"{path}: {error}") from None
    if not any(tape.instruments for tape in venues.values()):
        raise SimulatorError(f"{path}: no order book of {' or '.join(VENUES)}")
    return venues


def levels(side: int, pairs: TextPairs, price_decimals: int) -> list[tuple[int, int, int]]:
    """[["1.50","2"]] as [(side, price_ticks, qty_lots)]."""
    assert side in (BID, ASK)
    return [
        (side, scaled(price, price_decimals), scaled(qty, LOT_DECIMALS)) for price, qty in pairs
    ]


def scaled(text: str, decimals: int) -> int:
    """`1.50` with 2 decimals is 150; further decimals were seen to be zeros as the tape was read.

    >>> scaled("61837.63000000", 2)
    6183763
    """
    whole, _, part = text.partition(".")
    return int(whole + part[:decimals].ljust(decimals, "0"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def read_depth(first: object, last: object, bids: object, asks: object) -> Depth:
    """A diff or a whole book from what its keys hold; ValueError where that is none."""
    first_id, last_id = _stamp(first), _stamp(last)
    for pairs in (bids, asks):
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list)
            and len(pair) >= 2
            and isinstance(pair[0], str)
            and isinstance(pair[1], str)
            for pair in pairs
        ):
            raise ValueError("levels are not pairs of strings")
    assert isinstance(bids, list) and isinstance(asks, list)
    return Depth(first_id, last_id, [pair[:2] for pair in bids], [pair[:2] for pair in asks])


def _stamp(value: object) -> int:
    """An update id or a microtimestamp."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= STAMP_MAX:
        raise ValueError(f"bad update id or microtimestamp {value!r}")
    return value


def _rest(form: BookForm, path: str, raw: str, due_ns: int) -> TapeLine | None:
    match = form.snapshot_path.fullmatch(path)
    if match is None:
        return None
    body = orjson.loads(raw)
    stamp = body[form.snapshot_id]
    depth = read_depth(stamp, stamp, body["bids"], body["asks"])
    return TapeLine(due_ns, "", match[1], raw, None, depth)


def read_object(raw: str) -> dict[str, Any]:
    """A frame's JSON object; ValueError where it is none."""
    frame = orjson.loads(raw)
    if not isinstance(frame, dict):
        raise ValueError("the frame is not an object")
    return frame
