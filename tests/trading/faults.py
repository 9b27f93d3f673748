"""What goes wrong with orders, and when: bouts drawn from the seed.

Only what the transports and the venues can do: within one WebSocket nothing is lost, doubled or
overtaken but with the connection, or because the venue has not sent it; over HTTP every request is
on its own.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from net.simulator.connection import CANCEL, FILL, PLACE, SIGNED
from net.simulator.orders.accounts import COMPLETE, FAILED, PENDING
from tests.simulation.faults import Bout

ON_MESSAGE = ("stall", "cut", "half-open", "garbage")
"""Where a message sets out on a connection, either way; garbage only towards us."""
ON_EVENT = ("event-lost",)
"""An event of the account that the venue never tells, on a connection that goes on."""
ON_CONNECT = ("refuse",)
ON_POST = ("post-slow", "post-stuck", "post-unsent", "post-lost")
"""To an HTTP request: late, very late, never sent, or on its way when the connection broke."""
ON_POST_ANSWER = ("answer-slow", "answer-lost", "answer-spoilt")
ON_ORDER = ("limited", "suspended", "failed", "undone", "poor")
"""To a request that changes orders: not accepted; done, or not, and answered with an error."""
ON_SPOILT = {
    SIGNED: ("clock-skew",),
    PLACE: ("order-limit",),
    CANCEL: ("cancel-rejected", "late-fill"),
    FILL: ("duplicate-fill",),
}
"""What the simulator does by itself."""
ON_ANSWER = ("answer-first",)
"""The answer overtakes the events of its own request: the venue promises no order of them."""
MOMENTS = (
    "kill", "crash", "no-book", "reconnect-notice", "clock-step", "deposit", "transfer",
    "switch-off", "reconfigure",
)  # fmt: skip
"""What happens once, at a moment."""
CLOCK_STEPS_S = (-86_400, -3_600, -30, 30, 3_600, 86_400)
"""By how much the host's wall clock is set."""
TRANSFER_STATES = (COMPLETE, COMPLETE, PENDING, FAILED)
"""What becomes of a deposit or a withdrawal."""
FAULTS = (
    *ON_MESSAGE, *ON_EVENT, *ON_CONNECT, *ON_POST, *ON_POST_ANSWER, *ON_ORDER, *ON_ANSWER, *MOMENTS,
    *(name for names in ON_SPOILT.values() for name in names),
)  # fmt: skip

VALUES = {"clock-skew": 200_000.0, "late-fill": 400.0}
RARE = ("cut", "half-open", "garbage", "clock-skew")
"""They end a connection, and what is refused for the clock is not asked again for a minute."""
SHARES = (0.05, 0.2, 0.6)


class Schedule:
    """All bouts and moments of a run. `kinds`: of faults, else drawn."""

    def __init__(
        self,
        rng: random.Random,
        venues: Sequence[str],
        start_ns: int,
        end_ns: int,
        kinds: Sequence[str] = (),
    ) -> None:
        self.struck: Counter[str] = Counter()
        self.bouts: list[Bout] = []
        self.moments: list[Bout] = []
        self._rng = rng
        kinds = kinds or rng.sample(FAULTS, rng.randrange(1, 9))
        for _ in range(rng.randrange(2, 10)):
            kind = rng.choice(kinds)
            first, second = sorted(rng.randrange(start_ns, end_ns) for _ in range(2))
            share = 0.03 if kind in RARE else rng.choice(SHARES)
            if kind in ON_CONNECT:
                share = 0.8
            bout = Bout(kind, rng.choice(venues), first, second, share)
            (self.moments if kind in MOMENTS else self.bouts).append(bout)

    def strike(self, occasions: Sequence[str], venue: str, now_ns: int) -> str:
        """What happens on this occasion: a fault's name, or nothing."""
        for bout in self.bouts:
            is_on = bout.start_ns <= now_ns < bout.end_ns and bout.venue == venue
            if is_on and bout.kind in occasions and self._rng.random() < bout.share:
                self.struck[bout.kind] += 1
                return bout.kind
        return ""
