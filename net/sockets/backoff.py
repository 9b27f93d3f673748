"""How long to wait before trying again: exponential, with jitter, bounded.

"Full jitter" (M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015), with a
floor so that a venue is never asked twice at once.
Runs on: any thread, one instance each.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from engine.layout.units import NS_PER_MS


@dataclass
class Backoff:
    """Delays of `floor_ms` to `floor_ms + first_ms * 2**attempt`, at most `limit_ms`."""

    rng: random.Random
    floor_ms: int = 100
    first_ms: int = 400
    limit_ms: int = 30_000
    attempt: int = field(default=0, init=False)

    def next_ns(self) -> int:
        """The next delay; each call is one more failure in a row."""
        ceiling_ms = min(self.first_ms << min(self.attempt, 16), self.limit_ms - self.floor_ms)
        self.attempt += 1
        return (self.floor_ms + self.rng.randint(0, ceiling_ms)) * NS_PER_MS

    def reset(self) -> None:
        """It works again."""
        self.attempt = 0
