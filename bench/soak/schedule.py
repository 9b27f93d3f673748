"""Which faults a soak inflicts, in which order: a deck of all there are, shuffled by the seed.

Runs on: the main thread.
"""

from __future__ import annotations

import random

from net.simulator.connection import SUBSCRIBE
from net.simulator.faults import ANSWER, FAULTS, ORDER_ENTRY, SNAPSHOT
from net.simulator.registry import VENUES, simulated_venue

UNNUMBERED = [name for name in VENUES if not simulated_venue(name).form.first_id]

UNSEEN = {
    **{("drop", name): "its stream has no sequence: an audit finds it, minutes later"
       for name in UNNUMBERED},
    **{("reorder", name): "the frame that overtakes is shown until the late one gives it away"
       for name in UNNUMBERED},
    **{("same-time", name): "the first of the two is shown until the other has come"
       for name in UNNUMBERED},
    **{("crossed", name): "what a venue says is shown, for three frames" for name in VENUES},
    **{("tls", name): "the venues here serve no TLS" for name in VENUES},
}  # fmt: skip
"""Left out: here the right answer is not "right or withdrawn"; tests/faults has them."""
LARGEST = ("huge", "many-levels")
"""These are dealt first, so that memory knows its largest frames when it is first looked at."""
TIMES_MAX = 3
PAUSE_S = 5.0


class Schedule:
    """Episodes of one or two faults; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._deck: list[str] = []
        self.passes = -1
        """How often the whole deck has been dealt."""

    def _deal(self, venue: str) -> str | None:
        """The next fault that this venue can suffer, or nothing this time."""
        if not self._deck:
            self.passes += 1
            self._deck = sorted(
                name for name, fault in FAULTS.items() if fault.occasion not in ORDER_ENTRY
            )
            self._rng.shuffle(self._deck)
            if self.passes == 0:
                self._deck.sort(key=lambda name: name in LARGEST)
        name = self._deck.pop()
        is_possible = venue in FAULTS[name].venues and (name, venue) not in UNSEEN
        return name if is_possible else None

    def episode(self, venues: tuple[str, ...]) -> list[str]:
        """The orders of the next one: a fault for one venue, or one for each at the same time."""
        hit = venues if self._rng.random() < 0.5 else (self._rng.choice(venues),)
        orders = []
        for venue in hit:
            name = self._deal(venue)
            if name is None:
                continue
            orders.append(f"{name}:{venue}x{self._rng.randint(1, TIMES_MAX)}")
            if FAULTS[name].occasion in (ANSWER, SNAPSHOT, SUBSCRIBE):
                # Otherwise nothing may be asked for minutes.
                orders.append(f"reset:{venue}")
        return orders

    def pause_s(self) -> float:
        """How long the venues behave after an episode."""
        return self._rng.random() * PAUSE_S
