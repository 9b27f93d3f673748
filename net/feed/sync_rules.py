"""When a feed changes its state, and what it does next: tables and pure functions.

    DISCONNECTED -> CONNECTING -> BUFFERING -> SYNCING -> LIVE <-> STALE
                                     ^ `------ broken ----'--------'

No I/O, no clock, no memory: net.feed.book_sync measures the facts and takes the steps.
Runs on: the engine thread.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from engine.layout import layout as L
from engine.layout import status as S
from net.feed.events import FeedEvent

TRANSITIONS: dict[tuple[int, FeedEvent], int] = {
    (L.DISCONNECTED, FeedEvent.CONNECT): L.CONNECTING,
    (L.DISCONNECTED, FeedEvent.LOST): L.DISCONNECTED,
    (L.CONNECTING, FeedEvent.SUBSCRIBED): L.BUFFERING,
    (L.CONNECTING, FeedEvent.LOST): L.DISCONNECTED,
    (L.BUFFERING, FeedEvent.ASKED): L.SYNCING,
    (L.BUFFERING, FeedEvent.BROKEN): L.BUFFERING,
    (L.BUFFERING, FeedEvent.LOST): L.DISCONNECTED,
    (L.SYNCING, FeedEvent.JOINED): L.LIVE,
    (L.SYNCING, FeedEvent.LATE): L.STALE,
    (L.SYNCING, FeedEvent.BROKEN): L.BUFFERING,
    (L.SYNCING, FeedEvent.LOST): L.DISCONNECTED,
    (L.LIVE, FeedEvent.JOINED): L.LIVE,
    (L.LIVE, FeedEvent.BROKEN): L.BUFFERING,
    (L.LIVE, FeedEvent.SILENT): L.STALE,
    (L.LIVE, FeedEvent.LATE): L.STALE,
    (L.LIVE, FeedEvent.LOST): L.DISCONNECTED,
    (L.STALE, FeedEvent.JOINED): L.LIVE,
    (L.STALE, FeedEvent.LATE): L.STALE,
    (L.STALE, FeedEvent.RESUMED): L.LIVE,
    (L.STALE, FeedEvent.BROKEN): L.BUFFERING,
    (L.STALE, FeedEvent.LOST): L.DISCONNECTED,
}
"""Every transition there is; an event that is not listed for a state cannot happen in it."""

WITHOUT_STREAM = (L.DISCONNECTED, L.CONNECTING)
BUILDING = (L.BUFFERING, L.SYNCING)


class Step(Enum):
    """What the timer has a feed do."""

    NOTHING = auto()
    DROP_HELD_SNAPSHOT = auto()
    """The stream has not reached it: it was not of this book."""
    TRY_TO_JOIN = auto()
    ASK_FOR_SNAPSHOT = auto()
    GO_STALE = auto()
    GO_LATE = auto()
    BREAK_OFF = auto()
    START_AUDIT = auto()


class SnapshotFacts(NamedTuple):
    """Where a feed stands with its snapshot."""

    is_held: bool
    """One has come and waits for the stream."""
    is_held_too_long: bool
    is_asked: bool
    """One is outstanding."""
    is_ask_due: bool
    """No back-off forbids another request."""
    can_ask: bool
    """Frames are buffered, or the stream is known to flow and says nothing."""


class LiveFacts(NamedTuple):
    """What is wrong with a book that is shown."""

    is_silent: bool
    is_late: bool
    is_never_reached: bool
    """The stream still stands before the snapshot that is shown, and had time enough."""
    is_audit_due: bool


def stream_snapshot_fault(status: int, levels: int, is_crossed: bool) -> str:
    """Why a whole book of the stream cannot be shown; empty where it can."""
    if status != S.APPLIED:
        return S.TEXTS[status]
    if is_crossed:
        return "crossed in itself"
    return "" if levels else "empty"


def snapshot_step(state: int, facts: SnapshotFacts) -> Step:
    """What a feed in this state does for its snapshot: towards a first join, or an audit."""
    if state in WITHOUT_STREAM:
        return Step.NOTHING
    if facts.is_held:
        return Step.DROP_HELD_SNAPSHOT if facts.is_held_too_long else Step.TRY_TO_JOIN
    if state in BUILDING and facts.can_ask and facts.is_ask_due and not facts.is_asked:
        return Step.ASK_FOR_SNAPSHOT
    return Step.NOTHING


def live_step(state: int, facts: LiveFacts) -> Step:
    """What becomes of a book that is shown; silence says more than all else."""
    if state != L.LIVE:
        return Step.NOTHING
    if facts.is_silent:
        return Step.GO_STALE
    if facts.is_late:
        return Step.GO_LATE
    if facts.is_never_reached:
        return Step.BREAK_OFF
    return Step.START_AUDIT if facts.is_audit_due else Step.NOTHING
