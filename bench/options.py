"""What a bench is asked to do: its size, its repetitions, the rate, another server to measure.

Runs on: the harness's main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

Value = TypeVar("Value")

Scale = Literal["tiny", "short", "full"]
"""tiny: the test suite; short: the default, minutes for all; full: figures to publish."""

Say = Callable[[str], None]
"""Tells the user which step runs."""

REPEAT_MIN = 5
"""Ratios are medians of at least so many alternating repetitions (tiny runs make one)."""


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    scale: Scale = "short"
    repeat: int | None = None
    rate_hz: float | None = None
    seconds: float | None = None
    external: str = ""
    feed_port: int = 0

    def pick(self, tiny: Value, short: Value, full: Value) -> Value:
        """One of three values, by scale."""
        return {"tiny": tiny, "short": short, "full": full}[self.scale]

    @property
    def repetitions(self) -> int:
        """How often each variant is measured."""
        return self.repeat or self.pick(1, REPEAT_MIN, 2 * REPEAT_MIN + 1)

    def rate(self, default_hz: float) -> float:
        return self.rate_hz or default_hz

    def duration_s(self, tiny: float, short: float, full: float) -> float:
        """How long one repetition of one variant lasts."""
        return self.seconds or self.pick(tiny, short, full)

    def command(self, name: str) -> str:
        """The command line that does the same again."""
        words = ["pollux bench", name]
        if self.scale == "full":
            words.append("--full")
        for flag, value in (
            ("--repeat", self.repeat),
            ("--rate", self.rate_hz),
            ("--seconds", self.seconds),
            ("--external", self.external),
            ("--feed-port", self.feed_port),
        ):
            if value:
                words.append(f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}")
        return " ".join(words)
