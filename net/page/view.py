"""What the page's threads see of the daemon, from its first second to its last.

The main thread shows one generation after the other; each is taken by its readers as a whole.
Books come from the handoff and counters from the arena's words: the engine thread is never asked.
Runs on: the main thread (`show`, `hide`), the engine thread (`hear`), the page's threads (all
else). Called by: net.daemon, net.metrics, net.page.
"""

from __future__ import annotations

import itertools
from typing import Protocol

from net.config import Config
from net.live import WARNINGS, Live
from net.said import said

TROUBLES = (WARNINGS | {"market not learned yet"}) - {"lost"}
"""What keeps a venue's book from being live; the market maker's troubles are on its board. That a
feed was lost with its connection says nothing more than that this was disconnected."""


class Serves(Protocol):
    """The gateway, as far as this goes: net.supervisor has it."""

    is_serving: bool


class CountsLog(Protocol):
    """The log, as far as this goes: net.log has it."""

    @property
    def dropped(self) -> int: ...
    @property
    def swallowed(self) -> int: ...


class DaemonView:
    """A daemon of this configuration; `live` is None while it has no engine."""

    def __init__(self, config: Config, log: CountsLog) -> None:
        self.config = config
        self.log = log
        self.live: Live | None = None
        self.gateway: Serves | None = None
        self._troubles: dict[tuple[str, str], tuple[int, str]] = {}
        self._heard = itertools.count()

    def show(self, live: Live, gateway: Serves | None) -> None:
        """A generation begins."""
        self.gateway, self.live = gateway, live

    def hide(self) -> None:
        """It ends."""
        self.live = self.gateway = None

    def hear(self, event: str, facts: dict[str, object]) -> None:
        """What is logged: a venue's last trouble is kept until its book is live."""
        venue, symbol = facts.get("venue"), facts.get("symbol", "")
        if not isinstance(venue, str) or not isinstance(symbol, str):
            return
        if event == "live":
            self._troubles.pop((venue, symbol), None)
            self._troubles.pop((venue, ""), None)
        reason = facts.get("reason") or facts.get("text")
        if event in TROUBLES and reason:
            self._troubles[venue, symbol] = next(self._heard), f"{event}: {said(reason)}"

    def trouble(self, venue: str, symbol: str) -> str:
        """The last one told of a venue's symbol and the last one of the venue, the older first.

        Both: a venue that does not know the symbol is left for its silence, again and again.
        """
        found = (self._troubles.get((venue, each)) for each in (symbol, ""))
        return "; ".join(text for _, text in sorted(each for each in found if each is not None))
