"""What a soak was asked for and what it found.

Runs on: the main thread of the command.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.soak.counts import Look
from bench.soak.spread import Spread

CONNECTIONS_WINDOW_S = 300.0
"""What connections are counted in; requests in the window of the venue's own limit."""


@dataclass(frozen=True)
class SoakOptions:
    """What the command line asked for."""

    seconds: float = 3600.0
    seed: int = 1


@dataclass(frozen=True)
class Mark:
    """What the processes held at one moment of calm: resident bytes and descriptors."""

    at_s: float
    sizes: dict[str, tuple[int, int]]


@dataclass
class Findings:
    """All that a soak has to report."""

    options: SoakOptions
    seconds: float = 0.0
    marks: list[Mark] = field(default_factory=list)
    episodes: int = 0
    passes: int = 0
    recover_s: Spread = field(default_factory=Spread)
    late: list[str] = field(default_factory=list)
    """Episodes after which a venue was not LIVE and up to date within the bound."""
    idle_orders: list[str] = field(default_factory=list)
    """Orders that found no occasion in time."""
    rates_max: dict[str, dict[str, int]] = field(default_factory=dict)
    """Most requests, weight and connections of each venue within its window."""
    last_look: Look | None = None
    """What was counted at the end."""
    exit_status: int | None = None
    is_interrupted: bool = False
    """Whether it was ended before its time: memory cannot be compared, and that is no fault."""
    trouble: str = ""
