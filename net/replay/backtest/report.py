"""The report of `pollux backtest`: one HTML file that loads nothing.

Runs on: the main thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from net.config.maker import MakerSettings
from net.replay.backtest import plots
from net.replay.backtest.fills_csv import header, lots_text, row_of
from net.replay.backtest.outcome import (
    AFTER_COLUMNS,
    DAY_COLUMNS,
    VENUE_COLUMNS,
    Outcome,
    money_text,
)
from net.replay.report.document import (
    BAD,
    GOOD,
    WARN,
    Html,
    bullets,
    command_line,
    document,
    facts,
    plot,
    section,
    table,
    tag,
    verdict,
    versions,
    write_report,
)
from net.replay.report.drawing import drawing
from net.replay.report.replay import PACKAGES

FILLS_SHOWN_MAX = 500
"""Rows of the table of fills; the CSV has all."""
TEXT_COLUMNS = 5

METHOD = (
    "An order on paper joins the end of its level once its latency is over. What others cancel is "
    "ahead of it in proportion to what is ahead (queue = \"proportional\") or always behind it "
    "(\"behind\"). It is filled whole when the other side's price reaches it, and in part when its "
    "level empties: by what had stood behind it.",
    "The venues' trades are not read: a trade that leaves part of a level standing fills nothing. "
    "Our orders take nothing from the book and move nobody.",
    "Markout: from the fill's price to the mid so much later, in our favour. Adverse selection: "
    "how far the mid has moved against us since the fill. Both are weighted by amount.",
)  # fmt: skip


def write_outcome(
    path: Path, outcome: Outcome, settings: MakerSettings, origin: Mapping[str, str]
) -> None:
    """Draw and write; ReportError where the disk refuses. `origin`: tapes and configuration."""
    made = {"command": command_line(), "versions": versions(PACKAGES)}
    totals = facts(_facts(outcome, settings) | dict(origin) | made)
    days = table("by day; money in the quote currency", DAY_COLUMNS, outcome.day_rows())
    parts = [
        section("In short", bullets(_verdicts(outcome))),
        section("Result", totals, days),
        *_drawn(outcome),
        section(
            "Orders and fills",
            table("by venue", VENUE_COLUMNS, outcome.venue_rows()),
            table("the market after a fill", AFTER_COLUMNS, outcome.after_rows()),
            *_fills(outcome),
        ),
        section("How it is counted", *(tag("p", text) for text in METHOD)),
        section("What happened", _happenings(outcome)),
    ]
    write_report(path, document(f"Backtest of {outcome.symbol}", *parts))


def _line(text: str, word: str, kind: str) -> Html:
    return Html(verdict(word, kind) + tag("span", f" {text}"))


def _verdicts(outcome: Outcome) -> list[str]:
    after = outcome.result - outcome.fees
    fills = len(outcome.results.fills)
    found: list[str] = []
    if not outcome.was_live:
        found.append(_line("No book was ever live: nothing could be quoted.", "NOT LIVE", BAD))
    elif not fills:
        found.append(_line("No order was filled.", "NO FILLS", WARN))
    else:
        text = f"{money_text(after)} after fees of {outcome.fees:,.2f}."
        found.append(_line(text, *(("EARNED", GOOD) if after > 0 else ("LOST", BAD))))
    last = next((each for each in reversed(outcome.after) if each.markout_bps is not None), None)
    if last is not None and last.markout_bps is not None and last.adverse_share is not None:
        text = (
            f"{last.seconds} s after a fill it was worth {last.markout_bps:+.2f} bps; the market "
            f"had moved against {last.adverse_share:.0%} of them."
        )
        is_good = last.markout_bps > 0
        found.append(_line(text, *(("KEPT", GOOD) if is_good else ("ADVERSE", WARN))))
    found += [_line(f"{end}.", "ENDS EARLY", WARN) for end in outcome.ends]
    return found


def _facts(outcome: Outcome, settings: MakerSettings) -> dict[str, str]:
    summary, results, paper = outcome.summary, outcome.results, settings.paper
    begin, end = (
        datetime.fromtimestamp(ns // 10**9, UTC) for ns in (summary.first_ns, summary.last_ns)
    )
    ratio = outcome.fill_ratio
    latency = f"{paper.latency_ms:g} ms and {paper.latency_tail_ms:g} ms drawn on top, each way"
    return {
        "market": f"{summary.span_s:,.1f} s, {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S}"
        " UTC",
        "frames": f"{summary.frames:,}",
        "result after fees": money_text(outcome.result - outcome.fees),
        "result before fees": money_text(outcome.result),
        "fees": f"{outcome.fees:,.2f}",
        "position at the end": lots_text(results.position_lots),
        "fills": f"{len(results.fills):,}",
        "fill ratio": "-" if ratio is None else f"{ratio:.3%} of the amount placed",
        "paper": f"queue {paper.queue}, latency {latency}, seed {paper.seed}",
        "digest": summary.digest,
    }


def _drawn(outcome: Outcome) -> list[Html]:
    if not outcome.results.samples:
        return []
    with drawing(outcome.summary.digest):
        parts = [plot("price, fills, position and result", plots.draw_run(outcome))]
        if any(each.markout_bps is not None for each in outcome.after):
            parts.append(plot("markout and adverse selection", plots.draw_after(outcome)))
    return [section("Over time", *parts)]


def _fills(outcome: Outcome) -> list[Html]:
    fills = outcome.results.fills
    rows = [row_of(outcome.results, fill) for fill in fills[:FILLS_SHOWN_MAX]]
    found = [table("fills", header(), rows, TEXT_COLUMNS)]
    if len(fills) > FILLS_SHOWN_MAX:
        left_out = len(fills) - FILLS_SHOWN_MAX
        found.append(tag("p", f"and {left_out:,} more, in the CSV file (--fills)"))
    return found


def _happenings(outcome: Outcome) -> Html:
    counts = [(what, f"{count:,}") for what, count in sorted(outcome.summary.notes.items())]
    return table("how often", ("what", "times"), counts)
