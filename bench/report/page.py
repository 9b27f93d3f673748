"""The report of `pollux bench`: all that the terminal shows, and the plots, as one HTML file.

Runs on: the harness's main thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.report.plots import Drawn
from bench.report.result import Bar, Cell, Rate, Result, Table
from bench.report.stats import spread
from bench.report.tables import BAR_COLUMNS, text_of
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
)

KINDS = {"PASS": GOOD, "OK": GOOD, "FAIL": BAD, "SKIPPED": WARN}
BAR_TITLE = "bars: median (min-max) of the repetitions"
RATE_COLUMNS = ("offered load", "intended a second", "achieved a second", "verdict")


def bench_document(
    host: dict[str, Any], jitter: Table, results: Sequence[Result], drawn: Sequence[Drawn]
) -> str:
    """The whole report of a run. `host`: of bench.rig.host.describe."""
    return document(
        f"Pollux bench: {', '.join(result.name for result in results)}",
        section("In short", *_headline(results)),
        section("The host", *_host(host, jitter)),
        *(_bench(result, [each for each in drawn if each.bench == result.name])
          for result in results),
    )  # fmt: skip


def _headline(results: Sequence[Result]) -> list[Html]:
    """Verdicts with their figures, and what spoils them."""
    lines = [
        Html(f"{_chip(result.verdict)} {tag('span', f'{result.name}: {result.question}')}")
        for result in results
    ]
    parts = [bullets(lines)]
    late = [
        f"{result.name}: the rate {rate.what} was not achieved, {text_of(rate.achieved_hz)} of "
        f"{text_of(rate.intended_hz)} a second: that load was not measured."
        for result in results
        for rate in result.rates
        if not rate.is_reached
    ]
    if late:
        parts.append(bullets(tag("span", text, class_=BAD) for text in late))
    bars = [(f"{result.name}: {bar.what}", bar) for result in results for bar in result.bars]
    if bars:
        reached = sum(bar.passes for _, bar in bars)
        parts.append(tag("p", f"{reached} of {len(bars)} bars are reached."))
        parts.append(_bars(bars))
    return parts


def _chip(word: str) -> Html:
    return verdict(word, KINDS[word])


def _bars(bars: Sequence[tuple[str, Bar]]) -> Html:
    rows = [
        (what, f"{spread(bar.values)} {bar.unit}",
         f"at {'least' if bar.is_at_least else 'most'} {bar.limit:g}", _chip(bar.verdict))
        for what, bar in bars
    ]  # fmt: skip
    return table(BAR_TITLE, BAR_COLUMNS, rows)


def _rates(rates: Sequence[Rate]) -> Html:
    rows = [
        (rate.what, f"{rate.intended_hz:,.1f}", f"{rate.achieved_hz:,.1f}", _chip(rate.verdict))
        for rate in rates
    ]
    return table("rates", RATE_COLUMNS, rows)


def _table(shown: Table) -> Html:
    def cell(value: Cell) -> str:
        text = text_of(value)
        return _chip(text) if text in KINDS else text

    return table(shown.title, shown.columns, [[cell(each) for each in row] for row in shown.rows])


def _host(host: dict[str, Any], jitter: Table) -> list[Html]:
    known = {key: str(value) for key, value in host.items() if key != "python"}
    known |= {
        "load": ", ".join(f"{value:g}" for value in host["load"]),
        "versions": versions(("pollux", *host["versions"], "matplotlib")),
        "command": command_line(),
    }
    return [facts(known), _table(jitter)]


def _bench(result: Result, drawn: Sequence[Drawn]) -> Html:
    parts = [tag("p", _chip(result.verdict), " ", result.question)]
    parts += [_table(each) for each in result.tables]
    if result.rates:
        parts.append(_rates(result.rates))
    if result.bars:
        parts.append(_bars([(bar.what, bar) for bar in result.bars]))
    if result.notes:
        parts.append(bullets(result.notes))
    parts += [plot(each.title, each.svg) for each in drawn]
    parts.append(tag("p", "again: ", tag("code", result.command)))
    return section(result.name, *parts)
