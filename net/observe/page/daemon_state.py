"""The daemon's state as the page shows it, from its first second to its last.

The main thread shows one generation after the other; each is taken by its readers as a whole.
Books come from the handoff and counters from the arena's words: the engine thread is never asked.
Runs on: the main thread (`show`, `hide`), the engine thread (`hear`), the page's
threads (all else).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Protocol

from net.config.schema import Config
from net.feed.engine_thread import EngineThread
from net.feed.events import FeedEvent
from net.log.one_line import one_line


class Serves(Protocol):
    """The part of the gateway that the page uses: net.daemon.gateway_supervisor has it."""

    is_serving: bool


class CountsLog(Protocol):
    """The part of the log that the page uses: net.log.log has it."""

    @property
    def dropped(self) -> int: ...
    @property
    def swallowed(self) -> int: ...


class DaemonState:
    """A daemon of this configuration; `live` is None while it has no engine."""

    def __init__(self, config: Config, log: CountsLog) -> None:
        self.config = config
        self.log = log
        self.live: EngineThread | None = None
        self.gateway: Serves | None = None
        self._troubles: dict[tuple[str, str], tuple[int, str]] = {}
        self._heard = itertools.count()

    def show(self, live: EngineThread, gateway: Serves | None) -> None:
        """A generation begins."""
        self.gateway, self.live = gateway, live

    def hide(self) -> None:
        """It ends."""
        self.live = self.gateway = None

    def hear(self, event: FeedEvent, facts: Mapping[str, object]) -> None:
        """An event of a venue: what keeps a book away is kept until that book is live."""
        venue, symbol = str(facts["venue"]), str(facts.get("symbol", ""))
        if event is FeedEvent.JOINED:
            self._troubles.pop((venue, symbol), None)
            self._troubles.pop((venue, ""), None)
        reason = facts.get("reason") or facts.get("text")
        if event.keeps_book_away and reason:
            text = f"{event.text}: {one_line(reason)}"
            self._troubles[venue, symbol] = next(self._heard), text

    def trouble(self, venue: str, symbol: str) -> str | None:
        """The last one told of a venue's symbol and the last one of the venue, the older first;
        None without any.

        Both: a venue that does not know the symbol is left for its silence, again and again.
        """
        keys = ((venue, symbol), (venue, ""))
        found = [self._troubles[key] for key in keys if key in self._troubles]
        return "; ".join(text for _, text in sorted(found)) or None
