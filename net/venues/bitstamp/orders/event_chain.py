"""Which events of our orders are missing: the chain of my_orders, and the history beside it.

Each event names the one before it. Whether that is the one before in its market or in the whole
account is not documented, while the channel and the history (account_order_data) have one market.
So an event that names one that we have not heard is a break, and the history says what it means:
* It has the event that is named: that one was missing, and now it is known.
* It has not, but it has the event that names it: it reaches so far, so whatever was missing in our
  market is in it, and what is named is another market's. The chain is shared from now on: breaks
  are the rule, and the history is read every `SHARED_PACE_NS` while there are some.
* It has neither: it may be behind, and is read again. After `TRIES` it is a loss.
What a history leaves out though it goes further, and what is missing behind the newest event, is
left to the audits.
No I/O and no clock.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from itertools import takewhile
from typing import NamedTuple

from engine.layout.units import NS_PER_S
from net.orders.messages import EntryError, Push

SHARED_PACE_NS = 2 * NS_PER_S
"""Between two readings where breaks are the rule. A market maker and its watchdog make one request
a second of the 13 that the venue takes for long."""
RETRY_NS = NS_PER_S
"""Until a history is read again that is behind, or that was not given."""
TRIES = 3


class _Break(NamedTuple):
    last_id: str
    """The newest event that was heard before."""
    named_id: str
    event_id: str


class EventChain:
    """The events of one market on one connection."""

    def __init__(self) -> None:
        self.is_shared = False
        """Whether events name those of other markets: a history has shown it."""
        self._last_id: str | None = None
        self._breaks: list[_Break] = []
        """Those that no history has explained, the oldest first."""
        self._heard: dict[str, None] = {}
        """Since before the oldest of them, in their order."""
        self._asked = 0
        """How many of them the history that is under way was asked for."""
        self._not_before_ns = 0
        self._failures = 0
        self._is_behind = False

    def hear(self, push: Push) -> None:
        """An event of the channel. A doubled one breaks nothing."""
        last_id, named_id, event_id = self._last_id, push.previous_event_id, push.event_id
        if event_id is None or event_id == last_id:
            return
        self._last_id = event_id
        if last_id is not None and named_id not in (None, last_id):
            assert named_id is not None
            self._breaks.append(_Break(last_id, named_id, event_id))
            self._heard.setdefault(last_id)
        if self._breaks:
            self._heard[event_id] = None

    def is_due(self, now_ns: int) -> bool:
        """Whether to read the history now: one at a time."""
        return bool(self._breaks) and not self._asked and self._not_before_ns <= now_ns

    def ask(self) -> str:
        """The history is read, for every break so far; since which event."""
        self._asked = len(self._breaks)
        self._is_behind = False
        return self._breaks[0].last_id

    def explain(self, told: tuple[Push, ...], now_ns: int) -> bool:
        """Whether the history has events that were not heard; EntryError where it is behind.

        Breaks that it does not reach yet are left to the next one.
        """
        ids = {each.event_id for each in told}
        asked = self._breaks[: self._asked]
        explained = list(takewhile(lambda each: not ids.isdisjoint(each[1:]), asked))
        if not explained:
            self._is_behind = True
            since_id, *lacks = asked[0]
            raise EntryError(f"bitstamp: the history since {since_id} lacks {' and '.join(lacks)}")
        named_ids = {each.named_id for each in explained}
        is_news = self._is_news([each.event_id for each in told], named_ids)
        self.is_shared |= not named_ids <= ids
        del self._breaks[: len(explained)]
        self._asked = self._failures = 0
        self._not_before_ns = now_ns + (SHARED_PACE_NS if self.is_shared else 0)
        self._forget_heard()
        return is_news

    def _is_news(self, ids: list[str | None], named: set[str]) -> bool:
        """Whether any was not heard, but for the newest, which the channel may be about to tell."""
        ends = [at for at, each in enumerate(ids) if each in self._heard or each in named]
        return any(each not in self._heard for each in ids[: ends[-1] + 1])

    def _forget_heard(self) -> None:
        first_id = self._breaks[0].last_id if self._breaks else None
        while self._heard and (oldest := next(iter(self._heard))) != first_id:
            del self._heard[oldest]

    def fail(self, now_ns: int) -> bool:
        """No history, or one that is behind; whether it is worth another try.

        Where breaks are not the rule, this one is probably a loss: only a history that is behind is
        waited for.
        """
        self._asked = 0
        self._failures += 1
        self._not_before_ns = now_ns + RETRY_NS
        return self._failures < TRIES and (self.is_shared or self._is_behind)
