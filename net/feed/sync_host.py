"""What a book sync needs done outside: by the engine thread, by a replay, by a test.

Runs on: the engine thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest

if TYPE_CHECKING:
    from net.feed.book_sync import BookSync


class SyncHost(Protocol):
    """Nothing here may block."""

    def fetch_snapshot(self, sync: BookSync, request: SnapshotRequest) -> None:
        """Fetch, decode, and answer with `on_snapshot_sent`, then `on_snapshot` or
        `on_snapshot_failed`; where whole books come in the stream alone, have the venue send one
        again."""

    def cancel_snapshot(self, sync: BookSync) -> None:
        """Nobody waits for the answer any more."""

    def ask_tick_size(self, sync: BookSync) -> None:
        """Ask which tick the venue declares now, and answer with `on_tick_size`."""

    def wall_ns(self) -> int:
        """What time it is: a stamp for what is published."""

    def note(self, sync: BookSync, event: FeedEvent, /, **facts: object) -> None:
        """Something an operator should see."""
