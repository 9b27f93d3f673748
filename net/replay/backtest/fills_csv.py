"""The fills of a backtest as a CSV file: one row a fill, exact decimals, empty where not known.

Runs on: the main thread.
"""

from __future__ import annotations

import csv
import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from engine.layout.layout import LOT_DECIMALS
from engine.maker.client_ids import format_client_id
from engine.maker.queue_layout import CAUSE_NAMES
from net.replay.backtest.results import HORIZONS_S, Fill, Results
from net.replay.report.document import ReportError, check_place

HORIZON_COLUMNS = ("mid_after_{}s", "markout_bps_{}s", "adverse_bps_{}s")
COLUMNS = (
    "time", "time_ns", "venue", "order", "side", "price", "amount", "left", "filled_by", "fee",
    "position", "mid",
)  # fmt: skip
SUFFIX = ".csv"


def header() -> tuple[str, ...]:
    """The names of all columns. Amounts in the base currency, prices and the fee in the quote."""
    return COLUMNS + tuple(name.format(s) for s in HORIZONS_S for name in HORIZON_COLUMNS)


def row_of(results: Results, fill: Fill) -> tuple[str, ...]:
    """One fill's row."""
    moment = datetime.fromtimestamp(fill.time_ns // 10**9, UTC)
    cells = [
        f"{moment:%Y-%m-%dT%H:%M:%S}.{fill.time_ns % 10**9:09}Z",
        str(fill.time_ns),
        results.venue_names[fill.venue],
        format_client_id(fill.order_id),
        "buy" if fill.is_buy else "sell",
        f"{results.price(fill.venue, fill.price_ticks):f}",
        lots_text(fill.lots),
        lots_text(fill.left_lots),
        CAUSE_NAMES[fill.cause],
        lots_text(fill.fee_lots),
        lots_text(fill.position_lots),
        _mid_text(results, fill.venue, fill.mid_ticks),
    ]
    for horizon, after in enumerate(fill.mids_after):
        cells += [
            _mid_text(results, fill.venue, after),
            _bps_text(fill.markout_bps(horizon)),
            _bps_text(fill.adverse_bps(horizon)),
        ]
    return tuple(cells)


def lots_text(lots: int) -> str:
    """1e-8 as a decimal."""
    return f"{Decimal(lots).scaleb(-LOT_DECIMALS):f}"


def _mid_text(results: Results, venue: int, mid_ticks: int | None) -> str:
    return "" if mid_ticks is None else f"{results.price(venue, mid_ticks) / 2:f}"


def _bps_text(bps: float | None) -> str:
    return "" if bps is None else f"{bps:.3f}"


def digest_of(results: Results, decisions: str) -> str:
    """Of every fill and everything that the market maker has decided, as hex."""
    found = hashlib.sha256(decisions.encode())
    for fill in results.fills:
        found.update("\t".join(row_of(results, fill)).encode() + b"\n")
    return found.hexdigest()


def check_fills(path: Path) -> None:
    """ReportError where the file could not be written here, or would take another's place."""
    if path.suffix != SUFFIX:
        raise ReportError(f"{path}: the name must end with {SUFFIX}")
    check_place(path)


def write_fills(path: Path, results: Results) -> None:
    """Write the file; ReportError where the disk refuses."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header())
            writer.writerows(row_of(results, fill) for fill in results.fills)
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror}", 1) from None
