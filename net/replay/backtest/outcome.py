"""A backtest's figures, for the terminal, for `--json` and for the report.

Runs on: the main thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from net.replay.backtest.fills_csv import lots_text
from net.replay.backtest.results import HORIZONS_S, Day, Fill, Results

if TYPE_CHECKING:
    from net.replay.backtest.backtest import Backtest

EPOCH = date(1970, 1, 1)
CENT = Decimal("0.01")


@dataclass(frozen=True)
class After:
    """What the market did after fills, weighted by their amounts; None where it is not known."""

    seconds: int
    fills: int
    """Of which it is known."""
    markout_bps: float | None
    adverse_bps: float | None
    adverse_share: float | None
    """Of them, those after which the mid had moved against us."""


@dataclass(frozen=True)
class VenueFigures:
    """One quoted venue's orders and fills."""

    name: str
    placed: int
    placed_lots: int
    rejected: int
    cancelled: int
    orders_filled: int
    fills: int
    filled_lots: int
    fee_lots: int


DAY_COLUMNS = (
    "day (UTC)", "fills", "bought", "sold", "turnover", "result before fees", "fees",
    "result after fees", "position at its end", "largest position",
)  # fmt: skip
AFTER_COLUMNS = ("after", "fills", "markout bps", "adverse selection bps", "moved against us")
VENUE_COLUMNS = (
    "venue", "orders", "rejected", "cancelled", "orders filled", "fills", "amount placed",
    "amount filled", "fill ratio", "fees",
)  # fmt: skip


class Outcome:
    """The figures of a run that has finished."""

    def __init__(self, run: Backtest) -> None:
        assert run.maker is not None
        self.results: Results = run.results
        self.symbol = run.maker.symbol
        self.summary = run.summary
        self.ends = run.ends
        fills = self.results.fills
        self.venues = []
        for venue, paper in run.maker.papers.items():
            ours = [fill for fill in fills if fill.venue == venue]
            counts = paper.counts
            self.venues.append(
                VenueFigures(
                    run.maker.venue_names[venue],
                    counts.placed,
                    counts.placed_lots,
                    counts.rejected,
                    counts.cancelled,
                    len({fill.order_id for fill in ours}),
                    len(ours),
                    sum(fill.lots for fill in ours),
                    sum(fill.fee_lots for fill in ours),
                )
            )
        self.after = [after_of(fills, horizon) for horizon in range(len(HORIZONS_S))]
        self.was_live = any(sample.fair_units for sample in self.results.samples)

    @property
    def result(self) -> Decimal:
        """Before fees, in the quote currency."""
        return self.results.money(self.results.result_value)

    @property
    def fees(self) -> Decimal:
        return Decimal(lots_text(self.results.fee_lots))

    @property
    def fill_ratio(self) -> float | None:
        """Filled of what was placed, by amount."""
        placed = sum(venue.placed_lots for venue in self.venues)
        return sum(venue.filled_lots for venue in self.venues) / placed if placed else None

    def day_rows(self) -> list[tuple[str, ...]]:
        """By day, in the order of DAY_COLUMNS."""
        return [_day_row(self.results, day) for day in self.results.days]

    def after_rows(self) -> list[tuple[str, ...]]:
        """By horizon, in the order of AFTER_COLUMNS."""
        return [
            (
                f"{each.seconds} s",
                f"{each.fills:,}",
                _known(each.markout_bps, "{:+.3f}".format),
                _known(each.adverse_bps, "{:+.3f}".format),
                _known(each.adverse_share, "{:.1%}".format),
            )
            for each in self.after
        ]

    def venue_rows(self) -> list[tuple[str, ...]]:
        """By venue, in the order of VENUE_COLUMNS."""
        return [
            (
                each.name, f"{each.placed:,}", f"{each.rejected:,}", f"{each.cancelled:,}",
                f"{each.orders_filled:,}", f"{each.fills:,}", lots_text(each.placed_lots),
                lots_text(each.filled_lots),
                _known(each.filled_lots / each.placed_lots if each.placed_lots else None,
                       "{:.3%}".format),
                lots_text(each.fee_lots),
            )
            for each in self.venues
        ]  # fmt: skip

    def lines(self) -> list[str]:
        """For the terminal."""
        summary, results = self.summary, self.results
        placed = sum(venue.placed for venue in self.venues)
        filled = sum(venue.orders_filled for venue in self.venues)
        return [
            f"market      {summary.span_s:,.1f} s, {summary.frames:,} frames",
            f"orders      {placed:,} rested, {filled:,} of them filled",
            f"fills       {len(results.fills):,}, "
            f"{_known(self.fill_ratio, '{:.3%}'.format)} of the amount placed",
            f"position    {lots_text(results.position_lots)}",
            f"result      {money_text(self.result)} before fees, "
            f"{money_text(self.result - self.fees)} after {self.fees:,.2f} of fees",
            *(
                f"after {seconds:>4}  markout {markout} bps, adverse selection {adverse} bps "
                f"({fills} fills, {share} against us)"
                for seconds, fills, markout, adverse, share in self.after_rows()
            ),
            *(
                f"{day[0]}  {day[1]} fills, {day[7]} after fees, position {day[8]}"
                for day in self.day_rows()
            ),
            *(f"            {count} x {what}" for what, count in sorted(summary.notes.items())),
            f"digest      {summary.digest}",
            *(f"the tape ends early: {end}" for end in self.ends),
        ]

    def as_json(self) -> dict[str, object]:
        """The same for a program: amounts and money as texts, so that they stay exact."""
        return {
            "digest": self.summary.digest,
            "market_s": round(self.summary.span_s, 3),
            "frames": self.summary.frames,
            "fills": len(self.results.fills),
            "fill_ratio": self.fill_ratio,
            "position": lots_text(self.results.position_lots),
            "result_before_fees": f"{self.result:f}",
            "fees": f"{self.fees:f}",
            "result_after_fees": f"{self.result - self.fees:f}",
            "after": [vars(each) for each in self.after],
            "venues": [vars(each) for each in self.venues],
            "days": [_named(DAY_COLUMNS, row) for row in self.day_rows()],
            "ends": self.ends,
        }


def after_of(fills: Sequence[Fill], horizon: int) -> After:
    """What the market did after these fills, for the horizon of this place."""
    known = [
        (fill.lots, markout, adverse)
        for fill in fills
        if (markout := fill.markout_bps(horizon)) is not None
        and (adverse := fill.adverse_bps(horizon)) is not None
    ]
    lots = sum(each[0] for each in known)
    if not lots:
        return After(HORIZONS_S[horizon], 0, None, None, None)
    return After(
        HORIZONS_S[horizon],
        len(known),
        sum(weight * markout for weight, markout, _ in known) / lots,
        sum(weight * adverse for weight, _, adverse in known) / lots,
        sum(adverse > 0 for _, _, adverse in known) / len(known),
    )


def money_text(value: Decimal) -> str:
    """To the hundredth."""
    return f"{value.quantize(CENT):+,f}" if value else "0.00"


def _day_row(results: Results, day: Day) -> tuple[str, ...]:
    result, fees = results.money(day.result_value), Decimal(lots_text(day.fee_lots))
    return (
        f"{EPOCH + timedelta(days=day.number)}",
        f"{day.fills:,}",
        lots_text(day.bought_lots),
        lots_text(day.sold_lots),
        f"{results.money(day.turnover_value):,.2f}",
        money_text(result),
        f"{fees:,.2f}",
        money_text(result - fees),
        lots_text(day.position_lots),
        lots_text(day.position_lots_max),
    )


def _known(value: float | None, write: Callable[[float], str]) -> str:
    return "-" if value is None else write(value)


def _named(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    names = (name.removesuffix(" (UTC)").replace(" ", "_") for name in columns)
    return dict(zip(names, cells, strict=True))
