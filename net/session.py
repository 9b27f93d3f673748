"""One feed's session: how a venue's book becomes live, and stops being it. No I/O, no clock.

    DISCONNECTED -> CONNECTING -> BUFFERING -> SYNCING -> LIVE <-> STALE
                                     ^ `------ broken ----'--------'

Always in this order: connect and subscribe, buffer frames, ask for a snapshot, join by ids, live.
The snapshot must be new enough for the buffer, and the stream must have reached the snapshot,
before the book is shown: a snapshot of something else would otherwise freeze it. Where it can be
had, the stream's own word is awaited too, a bid and an ask set since: on the prices of another
market one of them crosses the book. A venue that is not LIVE contributes nothing, from the
moment its state changes.

While LIVE a session audits itself: it buffers the frames it applies, asks for a fresh snapshot,
runs both into the feed's spare book and compares. Equal: the fresh book takes over (it knows more
depth). Different: the venue is withdrawn and resynchronised.
Runs on: the engine thread. Called by: net.venue.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from engine import layout as L
from engine import meter_layout as M
from engine import status as S
from engine.engine import Engine, Stage
from engine.meters import Count, Counted
from net.backoff import Backoff
from net.venues import VenueProtocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

BUFFER_FRAMES_MAX = 16_384
"""Frames kept while a snapshot is awaited: 27 minutes of a pair at ten frames a second."""
AUDIT_FRAMES_MAX = 1024
"""Frames kept for an audit; one that gets no usable snapshot in that time is given up until later.
"""
BUFFER_BYTES_MAX = 64 << 20
"""Bytes kept, for pairs whose frames are large."""
QUIET_ASK_NS = 2 * NS_PER_S
"""A pair that sends nothing for so long is asked for its snapshot with an empty buffer."""
REACH_LIMIT_NS = 15 * NS_PER_S
"""How long the stream may take to reach a snapshot; then the snapshot was not of this book."""
WITNESS_LIMIT_NS = 2 * NS_PER_S
"""How long a snapshot that the stream has reached waits for a bid and an ask set since."""
ANSWER_LIMIT_NS = 30 * NS_PER_S
"""How long a snapshot may be outstanding; the fetcher's own time limits are shorter."""
STEADY_NS = 30 * NS_PER_S
"""A book that was live for so long asks for its next snapshot at once; a flapping one waits."""
INCOMPLETE_AUDIT_NS = 30 * NS_PER_S
"""The least time between two snapshots asked for only because the price left the known depth."""


class Event(Enum):
    """What can happen to a session."""

    CONNECT = "connect"
    SUBSCRIBED = "subscribed"
    ASKED = "asked"
    JOINED = "joined"
    BROKEN = "broken"
    SILENT = "silent"
    RESUMED = "resumed"
    LOST = "lost"


TRANSITIONS: dict[tuple[int, Event], int] = {
    (L.DISCONNECTED, Event.CONNECT): L.CONNECTING,
    (L.DISCONNECTED, Event.LOST): L.DISCONNECTED,
    (L.CONNECTING, Event.SUBSCRIBED): L.BUFFERING,
    (L.CONNECTING, Event.LOST): L.DISCONNECTED,
    (L.BUFFERING, Event.ASKED): L.SYNCING,
    (L.BUFFERING, Event.BROKEN): L.BUFFERING,
    (L.BUFFERING, Event.LOST): L.DISCONNECTED,
    (L.SYNCING, Event.JOINED): L.LIVE,
    (L.SYNCING, Event.BROKEN): L.BUFFERING,
    (L.SYNCING, Event.LOST): L.DISCONNECTED,
    (L.LIVE, Event.JOINED): L.LIVE,
    (L.LIVE, Event.BROKEN): L.BUFFERING,
    (L.LIVE, Event.SILENT): L.STALE,
    (L.LIVE, Event.LOST): L.DISCONNECTED,
    (L.STALE, Event.JOINED): L.LIVE,
    (L.STALE, Event.RESUMED): L.LIVE,
    (L.STALE, Event.BROKEN): L.BUFFERING,
    (L.STALE, Event.LOST): L.DISCONNECTED,
}
"""Every transition there is; an event that is not listed for a state cannot happen in it."""


class SessionHost(Protocol):
    """What a session needs done outside."""

    def fetch_snapshot(self, session: Session) -> None:
        """Fetch, decode, and answer with `on_snapshot` or `on_snapshot_failed`."""

    def note(self, session: Session, what: str, **facts: object) -> None:
        """Something an operator should see."""


class RefusedFrames(Counted):
    """Refused frames by the kernel's status, which says why."""

    def __getitem__(self, status: int) -> int:
        return int(self.words[self.at + S.REFUSALS.index(status)])

    def __setitem__(self, status: int, count: int) -> None:
        self.words[self.at + S.REFUSALS.index(status)] = count

    def total(self) -> int:
        return sum(self[status] for status in S.REFUSALS)


class SessionCounters(Counted):
    """What a session has been through since the start: its part of the feed's meters."""

    resyncs = Count(M.FEED_RESYNCS)
    gaps = Count(M.FEED_GAPS)
    snapshots_asked = Count(M.FEED_SNAPSHOTS_ASKED)
    snapshots_refused = Count(M.FEED_SNAPSHOTS_REFUSED)
    audits_passed = Count(M.FEED_AUDITS_PASSED)
    audits_failed = Count(M.FEED_AUDITS_FAILED)

    @property
    def refused(self) -> RefusedFrames:
        return RefusedFrames(self.words, self.at + M.FEED_REFUSED_AT)

    @property
    def refused_frames(self) -> int:
        return self.refused.total()


class Session:
    """One feed (venue and instrument). `now_ns` is passed into everything."""

    def __init__(
        self,
        engine: Engine,
        feed: int,
        protocol: VenueProtocol,
        host: SessionHost,
        *,
        snapshot_depth: int,
        stale_after_ms: int,
        backoff: Backoff,
    ) -> None:
        self.feed = feed
        self.spec = engine.feeds[feed]
        self.protocol = protocol
        self.snapshot_depth = snapshot_depth
        self.counters = SessionCounters(engine.meters.words, engine.meters.feed_at[feed])
        self._engine = engine
        self._host = host
        self._stale_after_ns = stale_after_ms * NS_PER_MS
        self._backoff = backoff
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0
        self._buffer_first_id = 0
        self._set_ids = [0, 0]
        """Ids of the last frames that set a bid and an ask."""
        self._held: Stage | None = None
        self._since_ns = 0
        self._acknowledged_ns = 0
        self._ask_at_ns = 0
        self._asked_at_ns = 0
        self._held_at_ns = 0
        self._audited_at_ns = 0
        self._joined_at_ns = 0

    @property
    def state(self) -> int:
        return self._engine.state(self.feed)

    @property
    def is_asking(self) -> bool:
        """Whether a snapshot has been asked for and not yet answered."""
        return self._asked_at_ns > 0

    # --- the connection --------------------------------------------------------------------------

    def on_connecting(self, now_ns: int) -> None:
        self._forget()
        self._go(Event.CONNECT, now_ns)

    def on_subscribed(self, now_ns: int) -> None:
        self._go(Event.SUBSCRIBED, now_ns)

    def on_acknowledged(self, now_ns: int) -> None:
        """The venue sends this feed's stream from now on; only now can its silence mean quiet."""
        self._acknowledged_ns = now_ns

    def on_moving(self) -> None:
        """Another server serves the stream, and has not acknowledged it yet."""
        self._acknowledged_ns = 0

    def on_lost(self, now_ns: int) -> None:
        self._acknowledged_ns = 0
        self._forget()
        self._go(Event.LOST, now_ns)

    # --- frames ----------------------------------------------------------------------------------

    def on_status(self, status: int, frame: Callable[[], bytes], now_ns: int) -> None:
        """Everything but APPLIED: what the kernel said about one frame of this feed."""
        if status == S.BUFFER or status == S.APPLIED_AND_BUFFER:
            self._keep(frame(), now_ns)
        elif status == S.RESUMED:
            self._go(Event.RESUMED, now_ns)
            if not self.protocol.has_gap_detection:
                self._start_audit(now_ns)
        elif status == S.GAP:
            self.counters.gaps += 1
            self.break_off(S.TEXTS[status], now_ns)
            self._keep(frame(), now_ns)
        elif status < 0:
            if status <= S.BAD_JSON:
                self.counters.refused[status] += 1
                self._engine.restart_stream(self.feed)
            self.break_off(S.TEXTS[status], now_ns)

    def break_off(self, reason: str, now_ns: int) -> None:
        """The book cannot be trusted: withdraw it and build it anew."""
        if self.state in (L.DISCONNECTED, L.CONNECTING):
            return
        self.counters.resyncs += 1
        self._forget()
        if now_ns - self._joined_at_ns > STEADY_NS:
            self._backoff.reset()
            self._ask_at_ns = now_ns
        else:
            self._ask_at_ns = now_ns + self._backoff.next_ns()
        self._go(Event.BROKEN, now_ns, reason=reason)

    def _keep(self, frame: bytes, now_ns: int) -> None:
        """Buffer a frame; try the snapshot that waits for the stream; ask for one if due."""
        if not self._buffer:
            self._buffer_first_id = self._engine.staged_first_id
        for is_asks, is_set in enumerate(self._engine.staged_sets):
            if is_set:
                self._set_ids[is_asks] = self._engine.last_frame_id(self.feed)
        self._buffer.append(frame)
        self._buffer_bytes += len(frame)
        is_live = self.state == L.LIVE
        frames_max = AUDIT_FRAMES_MAX if is_live else BUFFER_FRAMES_MAX
        if len(self._buffer) > frames_max or self._buffer_bytes > BUFFER_BYTES_MAX:
            if is_live:
                self._end_audit(now_ns)
            else:
                self.break_off("no snapshot while the buffer filled", now_ns)
        elif self._held is not None:
            self._try_join(now_ns)
        elif not self.is_asking and now_ns >= self._ask_at_ns:
            self._ask(now_ns)

    # --- snapshots -------------------------------------------------------------------------------

    def on_snapshot(self, stage: Stage, now_ns: int) -> None:
        """The answer to a request: decoded, on time or late."""
        if not self.is_asking:
            return
        self._asked_at_ns = 0
        # With nothing buffered it must still hold whatever the stream has brought before.
        seen_id = self._engine.last_frame_id(self.feed)
        first_id = self._buffer_first_id if self._buffer else seen_id
        if not self.protocol.joins(stage.last_id, first_id):
            self._refuse_snapshot("older than the stream", now_ns)
        elif sum(stage.levels) == 0:
            self._refuse_snapshot("empty", now_ns)
        else:
            self._held, self._held_at_ns = stage, now_ns
            self._try_join(now_ns)

    def on_snapshot_failed(self, reason: str, now_ns: int, retry_after_ns: int = 0) -> None:
        """The request failed; it is repeated later, never earlier than the venue asked for."""
        if self.is_asking:
            self._asked_at_ns = 0
            self._refuse_snapshot(reason, now_ns, retry_after_ns)

    def _refuse_snapshot(self, reason: str, now_ns: int, retry_after_ns: int = 0) -> None:
        self.counters.snapshots_refused += 1
        delay_ns = max(self._backoff.next_ns(), retry_after_ns)
        self._ask_at_ns = now_ns + delay_ns
        self._host.note(self, "snapshot refused", reason=reason, again_in_ms=delay_ns // NS_PER_MS)
        if self.state == L.LIVE and retry_after_ns > 0:
            self._end_audit(now_ns)

    def _ask(self, now_ns: int) -> None:
        self.counters.snapshots_asked += 1
        self._asked_at_ns = now_ns
        if self.state == L.BUFFERING:
            self._go(Event.ASKED, now_ns)
        self._host.fetch_snapshot(self)

    def _try_join(self, now_ns: int) -> None:
        """Join once the stream has reached the held snapshot, and gone on on both sides."""
        assert self._held is not None
        if not self._is_confirmed(self._held.last_id, now_ns) and not self._is_quiet(now_ns):
            return
        stage, self._held = self._held, None
        limit = self.protocol.levels_limit(self.snapshot_depth)
        self._engine.load(self.feed, stage, limit)
        for frame in self._buffer:
            status = self._engine.replay(self.feed, frame)
            if status < 0:
                self.break_off(f"joining: {S.TEXTS[status]}", now_ns)
                return
        if self._engine.is_spare_crossed(self.feed):
            # The stream's levels on another market's snapshot: on Bitstamp only this tells.
            self._refuse_snapshot("crossed by the frames that follow it", now_ns)
            return
        if self.state == L.LIVE:
            differing = self._engine.differing_levels(self.feed)
            if differing:
                self.counters.audits_failed += 1
                self.break_off(f"audit failed: {differing} levels differ", now_ns)
                return
            self.counters.audits_passed += 1
        self._audited_at_ns = now_ns
        was_live = self.state == L.LIVE
        self._forget()
        self._engine.activate(self.feed, now_ns)
        if not was_live:
            bids, asks = stage.levels
            self._since_ns = self._joined_at_ns = now_ns
            self._host.note(self, "live", book_id=stage.last_id, bids=bids, asks=asks)

    def _is_confirmed(self, snapshot_id: int, now_ns: int) -> bool:
        """Whether the stream stands at the snapshot or behind it, and has spoken of both sides."""
        if min(self._set_ids) >= snapshot_id:
            return True
        is_reached = self._engine.last_frame_id(self.feed) >= snapshot_id
        return is_reached and now_ns - self._held_at_ns >= WITNESS_LIMIT_NS

    # --- time ------------------------------------------------------------------------------------

    def on_timer(self, now_ns: int) -> None:
        """Called several times a second: silence, quiet pairs, late answers, audits."""
        state = self.state
        if state in (L.DISCONNECTED, L.CONNECTING):
            return
        if self.is_asking and now_ns - self._asked_at_ns > ANSWER_LIMIT_NS:
            self.on_snapshot_failed("no answer", now_ns)
        if self._held is not None:
            self._check_reach(now_ns)
        elif state in (L.BUFFERING, L.SYNCING):
            is_due = not self.is_asking and now_ns >= self._ask_at_ns
            if is_due and (self._buffer or self._is_quiet(now_ns)):
                self._ask(now_ns)
        if self.state == L.LIVE:
            self._check_live(now_ns)

    def _is_quiet(self, now_ns: int) -> bool:
        """Whether the venue sends the stream, and it has brought nothing for a while."""
        if self._buffer or self._acknowledged_ns == 0:
            return False
        return now_ns - max(self._since_ns, self._acknowledged_ns) >= QUIET_ASK_NS

    def _check_reach(self, now_ns: int) -> None:
        if now_ns - self._held_at_ns > REACH_LIMIT_NS:
            self._held = None
            self._refuse_snapshot("the stream never reached it", now_ns)
        else:
            self._try_join(now_ns)

    def _check_live(self, now_ns: int) -> None:
        silent_ns = now_ns - max(self._engine.receive_ns(self.feed), self._since_ns)
        if silent_ns > self._stale_after_ns:
            self._end_audit(now_ns)
            self._go(Event.SILENT, now_ns, silent_ms=silent_ns // NS_PER_MS)
            return
        last_id = self._engine.last_frame_id(self.feed)
        is_behind = 0 < last_id < self._engine.book_id(self.feed)
        if is_behind and now_ns - self._joined_at_ns > REACH_LIMIT_NS:
            # A quiet pair was shown before its stream said anything; every diff since was "old".
            self.break_off("the stream never reached it", now_ns)
            return
        since_audit_ns = now_ns - self._audited_at_ns
        is_due = since_audit_ns > self.protocol.audit_interval_s * NS_PER_S
        if self._engine.is_incomplete(self.feed) and since_audit_ns > INCOMPLETE_AUDIT_NS:
            is_due = True
        if is_due:
            self._start_audit(now_ns)

    def _start_audit(self, now_ns: int) -> None:
        """From now on frames are buffered too; the first of them asks for the snapshot."""
        self._forget()
        self._audited_at_ns = now_ns
        self._engine.set_buffered(self.feed, True)

    def _end_audit(self, now_ns: int) -> None:
        self._forget()
        self._audited_at_ns = now_ns
        self._engine.set_buffered(self.feed, False)

    def _forget(self) -> None:
        """Drop buffer, held snapshot and the outstanding request (its answer will be ignored)."""
        self._buffer = []
        self._buffer_bytes = 0
        self._set_ids = [0, 0]
        self._held = None
        self._asked_at_ns = 0

    def _go(self, event: Event, now_ns: int, **facts: object) -> None:
        before = self.state
        after = TRANSITIONS[before, event]
        if event is not Event.ASKED:
            self._since_ns = now_ns
        self._engine.set_state(self.feed, after, now_ns)
        if before != after or event is Event.BROKEN:
            self._host.note(
                self,
                event.value,
                before=L.STATE_NAMES[before],
                after=L.STATE_NAMES[after],
                **facts,
            )
