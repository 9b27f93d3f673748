"""What happens to a venue's feeds: one code an event, with its text and what hangs on it.

The log shows the text at the event's level, and the page keeps the last event that
`keeps_book_away` of each feed until its book is live. Nothing reads the text.
Runs on: any thread.
"""

from __future__ import annotations

from typing import Protocol

from net.log.note import Note

INFO, WARNING = "info", "warning"


class FeedEvent(Note):
    """Its text and level in the log, and whether it explains why a book is not live."""

    # What the transitions of net.feed.sync_rules are made of.
    CONNECT = "connect", INFO, False
    SUBSCRIBED = "subscribed", INFO, False
    ASKED = "asked", INFO, False
    JOINED = "live", INFO, False
    BROKEN = "broken", WARNING, True
    SILENT = "silent", WARNING, True
    LATE = "late", WARNING, True
    RESUMED = "resumed", INFO, False
    LOST = "lost", WARNING, False
    """Its connection is gone: DISCONNECTED says why."""

    # What changes no state by itself.
    SNAPSHOT_REFUSED = "snapshot refused", WARNING, True
    SNAPSHOT_WAITS = "snapshot waits", WARNING, True
    CONNECTED = "connected", INFO, False
    DISCONNECTED = "disconnected", WARNING, True
    RENEWING = "renewing the connection", INFO, False
    RENEWAL_FAILED = "renewal failed", WARNING, True
    DROPPING = "dropping the connection", INFO, False
    CLOSED = "closed", INFO, False
    VENUE_ERROR = "venue says error", WARNING, True
    SUBSCRIPTION_REFUSED = "subscription refused", WARNING, True
    UNITS_LEARNED = "prices or quantities counted in another unit", WARNING, False
    TICK_DECLARED = "tick size", INFO, False
    NOT_UNDERSTOOD = "frame not understood", WARNING, True
    MARKET_REFUSED = "market refused", WARNING, True
    MARKET_UNKNOWN = "market not learned yet", WARNING, True

    def __init__(self, text: str, level: str, keeps_book_away: bool) -> None:
        super().__init__(text, level)
        self.keeps_book_away = keeps_book_away


class NoteFunction(Protocol):
    """Where the events of a feed, or of a venue's connection, go with their facts."""

    def __call__(self, event: FeedEvent, level: str, /, **facts: object) -> None: ...
