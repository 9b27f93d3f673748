"""The report of `pollux replay`: what is on a tape, and what the engine made of it.

Runs on: the main thread.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from engine.layout import layout as L
from engine.layout import status as S
from net.feed.book_sync import BookSync
from net.replay.replay import Replay, ReplaySummary
from net.replay.report import plots
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
from net.replay.report.timeline import Timeline

PACKAGES = ("pollux", "numba", "numpy", "orjson", "matplotlib")
RESULTS = ("fills", "position", "fees", "result")
COUNTS = (
    "frames", "bytes", "levels", "frames older than the book", "deletes of unknown levels", "gaps",
    "resyncs", "frames refused", "snapshots asked for", "snapshots refused", "audits passed",
    "audits failed",
)  # fmt: skip


class ReplayReport:
    """Watches a run from its begin, and writes the file when the run has finished."""

    def __init__(self, run: Replay, path: Path, tape: Path, config: Path) -> None:
        self.timeline = Timeline(run)
        self._run = run
        self._path = path
        self._tape = tape
        self._config = config
        self._started_s = time.perf_counter()

    def write(self) -> Path:
        """Draw and write; where to. ReportError where the disk refuses."""
        seconds = time.perf_counter() - self._started_s
        run, timeline = self._run, self.timeline
        summary = run.summary
        timeline.end()
        origin = {
            "tape": str(self._tape),
            "configuration": str(self._config),
            "command": command_line(),
            "versions": versions(PACKAGES),
        }
        totals = facts(_facts(summary, timeline, seconds) | origin)
        parts = [
            section("In short", bullets(_verdicts(summary, run, timeline))),
            section("Totals", totals, *_feeds(run)),
            *_drawn(summary, timeline),
            section("What happened", *_happenings(summary, timeline)),
        ]
        write_report(self._path, document(f"Replay of {self._tape.name}", *parts))
        return self._path


def _syncs(run: Replay) -> list[BookSync]:
    return [sync for venue in run.venues.values() for sync in venue.syncs]


def _line(text: str, word: str, kind: str) -> Html:
    return Html(f"{verdict(word, kind)} {tag('span', text)}")


def _verdicts(summary: ReplaySummary, run: Replay, timeline: Timeline) -> list[str]:
    """What a person asks first."""
    syncs = _syncs(run)
    away = [s for s in syncs if s.state != L.LIVE]
    counts = [s.counters for s in syncs]
    gaps, resyncs = sum(c.gaps for c in counts), sum(c.resyncs for c in counts)
    refused = sum(c.refused_frames for c in counts)
    names = ", ".join(f"{s.spec.venue} {s.spec.symbol} is {L.STATE_NAMES[s.state]}" for s in away)
    broken = f"Sequence gaps: {gaps:,}, resyncs: {resyncs:,}, frames refused: {refused:,}"
    lines: list[str] = [
        _line(f"At the end {names}.", "NOT LIVE", BAD)
        if away
        else _line("At the end every venue is live.", "LIVE", GOOD),
        _line(f"{broken}.", *(("BROKEN OFF", WARN) if resyncs or refused else ("WHOLE", GOOD))),
    ]
    for track in timeline.books:
        share = track.crossed_ns / track.two_sided_ns if track.two_sided_ns else 0.0
        if not track.two_sided_ns:
            lines.append(_line(f"{track.symbol} never had both sides.", "EMPTY", BAD))
        elif track.crossed_ns:
            text = f"{track.symbol} was crossed for {share:.1%} of the time it had both sides."
            lines.append(_line(text, "CROSSED", WARN))
    if summary.quoting:
        results = ", ".join(f"{k} {v}" for k, v in summary.quoting.items() if k in RESULTS)
        lines.append(f"Quoting on paper: {results}.")
    return lines


def _facts(summary: ReplaySummary, timeline: Timeline, seconds: float) -> dict[str, str]:
    span_s = summary.span_s
    begin, end = (
        datetime.fromtimestamp(ns // 10**9, UTC) for ns in (summary.first_ns, summary.last_ns)
    )
    speed = (
        f"{summary.frames / seconds:,.0f} frames a second, {span_s / seconds:,.0f} times as fast"
    )
    return {
        "market": f"{span_s:,.1f} s, {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC",
        "frames": f"{summary.frames:,}",
        "books": f"{summary.books:,} published, {summary.crossed:,} crossed",
        "digest": summary.digest,
        **{f"quoting: {what}": text for what, text in summary.quoting.items()},
        "throughput": f"{speed} as recorded; {seconds:.2f} s, with what this report asks for",
        "plots": f"one point for {timeline.bins.width_s:g} s",
    }


def _feeds(run: Replay) -> list[Html]:
    """Counts by feed, refusals by reason, and what no feed has counted."""
    syncs, columns, refused = _syncs(run), [], []
    for sync in syncs:
        spec, seen, own = sync.spec, run.engine.counters(sync.feed), sync.counters
        counts = (
            seen.frames, seen.bytes, seen.levels, seen.old, seen.unknown_deletes, own.gaps,
            own.resyncs, own.refused_frames, own.snapshots_asked, own.snapshots_refused,
            own.audits_passed, own.audits_failed,
        )  # fmt: skip
        columns.append((L.STATE_NAMES[sync.state], *(f"{count:,}" for count in counts)))
        refused += [
            (spec.venue, spec.symbol, S.TEXTS[status], f"{own.refused[status]:,}")
            for status in sorted(S.REFUSALS, key=own.refused.__getitem__, reverse=True)
            if own.refused[status]
        ]
    heads = ("", *(f"{sync.spec.venue} {sync.spec.symbol}" for sync in syncs))
    rows = zip(("at the end", *COUNTS), *columns, strict=True)
    found = [table("by feed", heads, list(rows))]
    if refused:
        found.append(table("frames refused", ("venue", "symbol", "reason", "frames"), refused, 3))
    counters = [(venue.name, venue.counters) for venue in run.venues.values()]
    others = [
        (name, f"{c.other_symbols:,}", f"{c.binary_frames:,}", f"{c.not_understood:,}")
        for name, c in counters
    ]
    kinds = ("venue", "of symbols not asked for", "binary", "not understood")
    return [*found, table("other frames", kinds, others)]


def _drawn(summary: ReplaySummary, timeline: Timeline) -> list[Html]:
    if timeline.bins.count == 0:
        return []
    drawn = []
    with drawing(summary.digest):
        for track in timeline.books:
            title = f"{track.symbol}: prices, spread and states"
            drawn.append(section(track.symbol, plot(title, plots.draw_book(timeline, track))))
        streams = plot("book updates by venue", plots.draw_streams(timeline))
        lags = plot("lag by venue", plots.draw_lags(timeline))
        drawn.append(section("The venues' streams", streams, lags))
        if timeline.maker is not None:
            svg = plots.draw_maker(timeline, timeline.maker)
            drawn.append(section("Quoting on paper", plot("quotes, position and result", svg)))
    return drawn


def _happenings(summary: ReplaySummary, timeline: Timeline) -> list[Html]:
    counts = [(what, f"{count:,}") for what, count in sorted(summary.notes.items())]
    rows = [
        (f"{each.after_ns / 1e9:.3f}", each.venue, each.symbol, each.what, each.detail)
        for each in timeline.happenings
    ]
    found = [
        table("how often", ("what", "times"), counts),
        table("one by one", ("s", "venue", "symbol", "what", "detail"), rows, 5),
    ]
    if timeline.happenings_left_out:
        found.append(tag("p", f"and {timeline.happenings_left_out:,} more, later"))
    return found
