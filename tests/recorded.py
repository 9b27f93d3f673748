"""The recorded tapes: where they are and how they are read.

They live beside the checkout, not in it (`../shared/data` from the repository's root). A test that
needs one skips, and says so, where the folder is absent.
Runs on: the tests' thread.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

BTCUSDT = "binance-btcusdt-20240808"
ETHUSDT = "binance-ethusdt-20240808"
THREE_VENUES = "three-venues-btcusd-20260809"
TEN_PAIRS = "bitstamp-ten-pairs-20210405"


@dataclass(frozen=True)
class Record:
    """One line of a tape: when, from whom, how it came, what was asked, the exact text."""

    t: int
    venue: str
    kind: str
    path: str
    raw: bytes


def tape_path(name: str) -> Path:
    """The tape's file; skips the calling test where the recordings are not present."""
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no recorded data: {path} is absent")
    return path


@functools.cache
def _read(path: Path) -> tuple[Record, ...]:
    records = []
    with gzip.open(path, "rb") as file:
        for line in file:
            entry = orjson.loads(line)
            raw = entry["raw"].encode()
            records.append(
                Record(entry["t"], entry["venue"], entry["kind"], entry.get("path") or "", raw)
            )
    return tuple(records)


def read_tape(name: str) -> tuple[Record, ...]:
    """Every line of a tape, in its order."""
    return _read(tape_path(name))


def infer_tick(prices: Iterable[Decimal]) -> str:
    """The power of ten all prices are multiples of: the most decimals that mean something."""
    decimals = 0
    for price in prices:
        exponent = price.normalize().as_tuple().exponent
        assert isinstance(exponent, int)
        decimals = max(decimals, -exponent)
    return format(Decimal(1).scaleb(-decimals), "f")
