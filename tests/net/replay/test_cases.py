"""Small tapes that failed once, through `pollux replay`'s own path (issue 13, points 3 and 6).

They live beside the checkout (`../shared/cases`), where there are any; `RIGHT` is from a plain
dictionary of exact decimals.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from net.config.schema import parse_config
from net.replay.replay import replay, tick_sizes
from net.tape.tape import read_tape
from tests import recorded

CASES = recorded.DATA.parent / "cases"

Side = list[tuple[str, str]]
RIGHT: dict[str, tuple[Side, Side]] = {
    "tick-finer": (
        [("100.005", "3"), ("100.00", "1.5"), ("99.99", "6")],
        [("100.01", "2"), ("100.02", "2")],
    ),
    "bitstamp-zero-price": ([("60000", "2"), ("59999", "2")], [("60001", "2")]),
    "quantity-above-cap": (
        [("0.00000061", "2"), ("0.00000060", "184467440737")],
        [("0.00000062", "2")],
    ),
}


def _case(name: str) -> tuple[Path, Path]:
    tape, toml = CASES / f"{name}.jsonl.gz", CASES / f"{name}.toml"
    if not tape.exists():
        pytest.skip(f"{tape} is not there")
    return tape, toml


@pytest.mark.parametrize("name", RIGHT)
def test_a_tape_that_failed_once_ends_live_and_exact(name: str) -> None:
    tape, toml = _case(name)
    config, books = parse_config(toml.read_text(), str(toml)), list[dict[str, Any]]()
    replay(config, read_tape(tape), tick_sizes(config, ()), books.append)
    last = books[-1]
    assert set(last["venues"].values()) == {"LIVE"}
    for side, wanted in zip(("bids", "asks"), RIGHT[name], strict=True):
        shown = [(Decimal(price), Decimal(amount)) for _, price, amount in last[side]]
        assert shown == [(Decimal(price), Decimal(amount)) for price, amount in wanted]
