"""Records that repeat: the first few of a kind are written, the others counted and told once.

A kind is a level, an event, where it came from and why; numbers within the why do not count, so
that a duration or a port makes no new kind. Only warnings and errors are limited. Kinds live for
one window, and one source may have so many at once, so this is bounded by the events there are.
No I/O, no clock.
Runs on: the log's writer thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

WINDOW_S = 10.0
"""From the first of a kind to the line that says how many more there were."""
REPEATS_MAX = 5
"""Lines of one kind in a window: enough to see a rhythm."""
REASONS_MAX = 8
"""Reasons of one source in a window. Strangers can make up new ones; those beyond share a kind."""

LIMITED = frozenset({"warning", "error"})
SOURCE = ("part", "venue", "symbol", "library")
REASON = ("reason", "text", "error", "meaning")
OTHER_REASONS = "\n"
"""In place of a reason: the texts of records are single lines."""
_NUMBER = re.compile(r"[0-9]+")

Kind = tuple[tuple[str, ...], str]
Facts = dict[str, object]


@dataclass
class _Window:
    """What came of one kind since `start_s`."""

    start_s: float
    seen: int = 0
    last: Facts = field(default_factory=dict)


class RateLimit:
    """Which records are written. `now_s`, by a steady clock, is passed into everything."""

    def __init__(self) -> None:
        self.swallowed = 0
        """Records that were counted instead of written, since the start."""
        self._windows: dict[Kind, _Window] = {}
        """All last equally long, so the first to end stands first."""

    def admits(self, level: str, event: str, facts: Facts, now_s: float) -> bool:
        """Whether a record is written; counted where not."""
        if level not in LIMITED:
            return True
        window = self._windows.setdefault(self._kind(level, event, facts), _Window(now_s))
        window.seen += 1
        if window.seen <= REPEATS_MAX:
            return True
        window.last = facts
        self.swallowed += 1
        return False

    def wait_s(self, now_s: float) -> float | None:
        """Until the next window ends; None without one."""
        first = next(iter(self._windows.values()), None)
        return None if first is None else max(first.start_s + WINDOW_S - now_s, 0.0)

    def ended(self, now_s: float, *, is_last: bool = False) -> Iterator[tuple[str, str, Facts]]:
        """Level, event and facts for each kind whose window has ended with records swallowed.

        The facts are those of the latest, with `swallowed`: how many, in `in_s` seconds.
        `is_last`: every window ends now.
        """
        for kind, window in list(self._windows.items()):
            age_s = now_s - window.start_s
            if age_s < WINDOW_S and not is_last:
                return
            del self._windows[kind]
            if window.seen > REPEATS_MAX:
                (level, event, *_), _ = kind
                more = {"swallowed": window.seen - REPEATS_MAX, "in_s": round(age_s, 1)}
                yield level, event, {**window.last, **more}

    def _kind(self, level: str, event: str, facts: Facts) -> Kind:
        source = (level, event, *(str(facts.get(name, "")) for name in SOURCE))
        why = " ".join(str(facts[name]) for name in REASON if name in facts)
        kind = source, _NUMBER.sub("#", why)
        if kind not in self._windows:
            known = sum(1 for each, _ in self._windows if each == source)
            if known >= REASONS_MAX:
                return source, OTHER_REASONS
        return kind
