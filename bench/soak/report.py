"""What must hold after a soak, and its report: Markdown for people, JSON beside it for programs.

Runs on: the main thread of the command.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.rig import host
from bench.rig.venue_names import SYMBOLS
from bench.soak.counts import Look
from bench.soak.daemon import Subscriber
from bench.soak.findings import Findings
from bench.soak.schedule import UNSEEN
from bench.soak.truth import Watcher
from net.feed.rest_limit import OWN_SHARE
from net.venues.registry import VENUES

GROWTH_MAX = 0.02
"""Memory at the end equals memory after the first minutes within this share."""
CONNECTIONS_MAX = 300
"""The strictest limit that a venue publishes on attempts within five minutes from one address."""
DESCRIPTORS_SPARE = 2
"""A REST connection a venue, which is kept open for a while after an audit."""
LIES_SHOWN = 20
MARKS = 2


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    what: str
    measured: str
    must_be: str
    holds: bool

    @property
    def line(self) -> str:
        verdict = "PASS" if self.holds else "FAIL"
        return f"{verdict}  {self.what}: {self.measured}, must be {self.must_be}"


def _at_most(what: str, value: float, limit: float, unit: str = "") -> Check:
    return Check(what, f"{value:g}{unit}", f"at most {limit:g}{unit}", value <= limit)


def check(found: Findings, watcher: Watcher, subscriber: Subscriber) -> list[Check]:
    """Everything that must hold."""
    checks = [
        Check("the daemon", found.trouble or "ran to the end", "running", not found.trouble),
        Check("its end", f"status {found.exit_status}", "status 0", found.exit_status == 0),
        Check("books published and judged", str(watcher.books), "some", watcher.books > 0),
        _at_most("wrong books", len(watcher.lies), 0),
        _at_most("books the judge missed", watcher.missed, 0),
        _at_most("episodes not over within the bound", len(found.late), 0),
        Check("books streamed", str(subscriber.books), "some", subscriber.books > 0),
        _at_most("streams broken", subscriber.breaks, 0),
        _at_most("books streamed out of order", subscriber.backwards, 0),
    ]
    for venue in SYMBOLS:
        rates, limit = found.rates_max[venue], VENUES[venue].rest_limit
        is_weighed = bool(VENUES[venue].used_weight_header)
        asked = rates["weight" if is_weighed else "requests"]
        text = f"{'request weight' if is_weighed else 'requests'} in {limit.window_s} s"
        checks += [
            _at_most(f"{venue}: connections in 5 minutes", rates["connections"], CONNECTIONS_MAX),
            _at_most(f"{venue}: {text}", asked, limit.weight_max * OWN_SHARE),
        ]
    if len(found.marks) == MARKS:
        first, last = found.marks
        for name, (rss, fds) in first.sizes.items():
            growth = last.sizes[name][0] / rss - 1
            text = f"{growth:+.2%} of {rss / 2**20:.1f} MB"
            must = f"within {GROWTH_MAX:.0%}"
            checks.append(Check(f"{name}: memory", text, must, abs(growth) <= GROWTH_MAX))
            checks.append(
                _at_most(f"{name}: descriptors", last.sizes[name][1], fds + DESCRIPTORS_SPARE)
            )
    elif not found.is_interrupted:
        checks.append(Check("marks", str(len(found.marks)), str(MARKS), False))
    return checks


def write(path: Path, found: Findings, watcher: Watcher, checks: list[Check]) -> None:
    """The report, and beside it the same as JSON."""
    facts = host.describe()
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = _plain(facts, found, watcher, checks)
    path.write_text(_markdown(plain, found, checks), encoding="utf-8")
    data = orjson.dumps(plain, option=orjson.OPT_INDENT_2)
    path.with_suffix(".json").write_bytes(data + b"\n")


def _venues(seen: Look) -> dict[str, dict[str, Any]]:
    """What each venue saw of us, and the daemon of it."""
    names = ("frames", "levels", "resyncs", "gaps", "snapshots_asked", "snapshots_refused",
             "audits_failed", "connections", "binary_frames", "not_understood")  # fmt: skip
    return {
        venue: {
            **{name: seen.count(name, venue) for name in names},
            "requests": seen.requests(venue),
            "refused": seen.reasons("refused_frames", venue),
            "faults": seen.strikes(venue),
        }
        for venue in seen.stats
    }


def _plain(
    facts: dict[str, Any], found: Findings, watcher: Watcher, checks: list[Check]
) -> dict[str, Any]:
    assert found.last_look is not None, "the soak has not run"
    return {
        "host": facts,
        "seconds": round(found.seconds, 1),
        "seed": found.options.seed,
        "verdict": "PASS" if all(each.holds for each in checks) else "FAIL",
        "checks": [vars(each) for each in checks],
        "marks": [vars(mark) for mark in found.marks],
        "episodes": found.episodes,
        "recover_s": found.recover_s.as_json(),
        "publish_us": watcher.publish_us.as_json(),
        "seen_ms": watcher.seen_ms.as_json(),
        "venues": _venues(found.last_look),
        "rates_max": found.rates_max,
        "late": found.late,
        "idle_orders": found.idle_orders,
        "wrong": [lie.what for lie in watcher.lies[:LIES_SHOWN]],
    }


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def _markdown(plain: dict[str, Any], found: Findings, checks: list[Check]) -> str:
    facts = plain["host"]
    marks: list[tuple[object, ...]] = [
        (f"{mark.at_s:.0f} s", name, f"{rss / 2**20:.2f}", fds)
        for mark in found.marks
        for name, (rss, fds) in mark.sizes.items()
    ]
    spreads = (
        ("fault over to both venues right, s", "recover_s"),
        ("frame received to book published, us", "publish_us"),
        ("frame sent to its book seen by the judge, ms", "seen_ms"),
    )
    venues = plain["venues"]
    counts = [key for key in next(iter(venues.values())) if key not in ("refused", "faults")]
    lines = [
        f"# Soak: {plain['verdict']}",
        "",
        f"{facts['date']}, {facts['host']}: {facts['cpu']}, {facts['cores']} CPUs, "
        f"{facts['kernel']}, {facts['virtualisation']}, Python {facts['python']}, "
        f"load {facts['load']}.",
        "",
        f"{plain['seconds']:.0f} s with simulated venues, {plain['episodes']} episodes of faults; "
        f"again: `pollux soak --seconds {found.options.seconds:g} "
        f"--seed {plain['seed']}`.",
        "",
        "## What must hold",
        "",
        *_table(
            ("", "measured", "must be", "verdict"),
            [(c.what, c.measured, c.must_be, "PASS" if c.holds else "FAIL") for c in checks],
        ),
        "## Memory and descriptors, in calm",
        "",
        "Memory is what the process has of its own: anonymous, shared, swapped out; no files.",
        "",
        *_table(("at", "process", "own memory, MB", "descriptors"), marks),
        "## Times",
        "",
        *_table(
            ("", *plain["recover_s"]),
            [(text, *(f"{value:g}" for value in plain[key].values())) for text, key in spreads],
        ),
        "## Venues",
        "",
        *_table(("", *venues), [(key, *(v[key] for v in venues.values())) for key in counts]),
        *_by_name("frames refused", "refused", venues),
        *_by_name("faults inflicted", "faults", venues),
        "Left out, for here the book cannot be right or withdrawn at once: "
        + "; ".join(f"{name} at {venue} ({why})" for (name, venue), why in UNSEEN.items())
        + ".",
        "",
    ]
    for title, texts in (
        ("Wrong", plain["wrong"]),
        ("Not over within the bound", plain["late"]),
        ("Found no occasion to strike in time", plain["idle_orders"]),
    ):
        if texts:
            lines += [f"## {title}", "", *(f"- {text}" for text in texts), ""]
    return "\n".join(lines)


def _by_name(title: str, key: str, venues: dict[str, dict[str, Any]]) -> list[str]:
    """A table of counts by name, one column a venue."""
    names = sorted({name for seen in venues.values() for name in seen[key]})
    rows = [(name, *(seen[key].get(name, 0) for seen in venues.values())) for name in names]
    return _table((title, *venues), rows) if rows else []
