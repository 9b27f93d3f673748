"""One feed's book: how it becomes live, and stops being it. No I/O, no clock.

The states and their transitions are in net.feed.sync_rules; here facts are measured, steps taken.
Always in this order: connect and subscribe, buffer frames, ask for a snapshot, join by ids, live.
The snapshot must be new enough for the buffer, and the stream must have reached it: one of
something else would freeze the book. Where possible the stream must also have changed a bid and an
ask since: a snapshot of another market then leaves the book crossed, and is refused.

While LIVE a book sync audits itself: it buffers what it applies, asks for a fresh snapshot, runs
both into the spare book and compares. Equal: the fresh book takes over. Different: it is rebuilt.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.layout.units import NS_PER_MS, NS_PER_S
from net.feed.events import FeedEvent
from net.feed.frame_buffer import FrameBuffer
from net.feed.frame_timing import FrameTiming
from net.feed.sides_seen import SidesSeen
from net.feed.snapshot_request import OpenRequest, SnapshotRequest
from net.feed.sync_counters import SyncCounters
from net.feed.sync_host import SyncHost
from net.feed.sync_limits import (
    AUDIT_FRAMES_MAX,
    BUFFER_FRAMES_MAX,
    INCOMPLETE_AUDIT_NS,
    QUIET_ASK_NS,
    REACH_LIMIT_NS,
    STEADY_NS,
    STREAM_SNAPSHOT_LIMIT_NS,
    WITNESS_LIMIT_NS,
)
from net.feed.sync_rules import (
    TRANSITIONS,
    WITHOUT_STREAM,
    LiveFacts,
    SnapshotFacts,
    Step,
    live_step,
    snapshot_step,
    stream_snapshot_fault,
)
from net.feed.timeliness import LEAD_MAX_NS, Timeliness, Timing
from net.feed.unit_learning import UnitLearning
from net.sockets.backoff import Backoff
from net.venues.interface import VenueProtocol

NEVER_REACHED = "the stream never reached it"


class BookSync:
    """One feed (venue and instrument).

    `now_ns`, passed into everything, is steady time (tuning.clock); the engine's stamps are
    wall time, and only compared for being equal.
    """

    def __init__(
        self,
        engine: Engine,
        feed: int,
        protocol: VenueProtocol,
        host: SyncHost,
        *,
        snapshot_depth: int,
        stale_after_ms: int,
        late_after_ms: int,
        backoff: Backoff,
    ) -> None:
        self.feed = feed
        self.spec = engine.feeds[feed]
        self.protocol = protocol
        self.snapshot_depth = snapshot_depth
        """Levels a side that are wanted of a snapshot; 0 where the whole book is sent."""
        self.peers: tuple[BookSync, ...] = ()
        """All feeds of the venue, set by it: no audit is begun while a request of theirs waits."""
        self.counters = SyncCounters(engine.meters.words, engine.meters.feed_at[feed])
        self._engine = engine
        self._host = host
        self._stale_after_ns = stale_after_ms * NS_PER_MS
        self._backoff = backoff
        self.timeliness = Timeliness(late_after_ms)
        self.timing = FrameTiming(engine, self, host)
        self._buffer = FrameBuffer()
        self._sides = SidesSeen(engine, feed)
        self.units = UnitLearning(engine, self, host)
        self._held: Stage | None = None
        self._held_depth = 0
        self._is_shallow = False
        """Whether the book that is shown came from a snapshot less deep than is wanted."""
        self._is_audit_begun = self._is_large_awaited = False
        self.heard_ns = 0
        """When the timer last saw that a frame had come; 0 before the first."""
        self._heard_stamp_ns = self._since_ns = self._acknowledged_ns = self._ask_at_ns = 0
        self._request = OpenRequest()
        self._held_at_ns = self._audited_at_ns = self._joined_at_ns = 0

    @property
    def state(self) -> int:
        return self._engine.state(self.feed)

    @property
    def is_asking(self) -> bool:
        """Whether a snapshot has been asked for and not yet answered."""
        return self._request.is_open

    @property
    def request(self) -> SnapshotRequest:
        """The latest snapshot request."""
        return SnapshotRequest(self.feed, self._request.number, self.state == L.LIVE)

    @property
    def is_waiting(self) -> bool:
        """Whether its request waits for its turn at the venue's limit."""
        return self._request.is_waiting

    # --- the connection --------------------------------------------------------------------------

    def on_connecting(self, now_ns: int) -> None:
        self._forget(now_ns)
        self._go(FeedEvent.CONNECT, now_ns)

    def on_subscribed(self, now_ns: int) -> None:
        self._go(FeedEvent.SUBSCRIBED, now_ns)
        self._sides.begin(now_ns)
        self.await_stream(now_ns)

    def await_stream(self, now_ns: int) -> None:
        """A subscription has left: where it brings the whole book, none is asked for as yet."""
        if self.protocol.rules.snapshot is None:
            self._ask_at_ns = now_ns + STREAM_SNAPSHOT_LIMIT_NS

    def on_acknowledged(self, now_ns: int) -> None:
        """The venue sends this feed's stream from now on; only now can its silence mean quiet."""
        self._acknowledged_ns = now_ns

    @property
    def is_acknowledged(self) -> bool:
        """Whether the venue sends this feed's stream, as far as it says."""
        return self._acknowledged_ns > 0

    def on_subscribing(self) -> None:
        """The venue has not confirmed yet that it sends this feed's stream."""
        self._acknowledged_ns = 0

    def on_lost(self, reason: str, now_ns: int) -> None:
        self._acknowledged_ns = 0
        self._forget(now_ns)
        self._go(FeedEvent.LOST, now_ns, reason=reason)

    # --- frames ----------------------------------------------------------------------------------

    def on_status(self, status: int, frame: Callable[[], bytes], now_ns: int) -> None:
        """Everything but APPLIED: what the kernel said about one frame of this feed."""
        if status == S.BUFFER or status == S.APPLIED_AND_BUFFER:
            self._keep(frame(), now_ns)
        elif status == S.SNAPSHOT:
            self._on_stream_snapshot(now_ns)
        elif status == S.RESUMED:
            self._on_resumed(now_ns)
        elif status == S.SAME_TIME:
            # Two changes of one moment: nothing tells in which order they belong.
            if not self._is_audit_begun:
                self._start_audit(now_ns)
        elif status == S.GAP:
            self.counters.gaps += 1
            self.break_off(S.TEXTS[status], now_ns)
            self._keep(frame(), now_ns)
        elif status < 0:
            self.counters.count_fault(status)
            lead_ns = self._engine.venue_ns(self.feed) - self._engine.staged_venue_ns
            self.break_off(S.TEXTS[status], now_ns)
            if status <= S.BAD_JSON or lead_ns > LEAD_MAX_NS:
                self._engine.restart_stream(self.feed)

    def go_late(self, now_ns: int) -> None:
        """Its frames come too late to be shown as live."""
        self._end_audit(now_ns)
        late_ms = self.timeliness.excess_ns // NS_PER_MS
        reason = f"its frames are {late_ms / 1000:.1f} s later than the best"
        self._go(FeedEvent.LATE, now_ns, reason=reason, late_ms=late_ms)

    def _on_resumed(self, now_ns: int) -> None:
        """A frame was applied to a stale book: it is live again, if the frame's time is good."""
        engine, feed = self._engine, self.feed
        timing = self.timeliness.take(engine.venue_ns(feed), engine.receive_ns(feed), now_ns)
        if self.timing.breaks_off_early(timing, now_ns) or timing is not Timing.GOOD:
            return
        self._go(FeedEvent.RESUMED, now_ns)
        self.timing.bound(now_ns)
        if not self.protocol.rules.has_gap_detection:
            self._start_audit(now_ns)
            if self._is_audit_begun and now_ns >= self._ask_at_ns:
                # The next frame may come only after the next silence, and no audit ever end.
                self._ask(now_ns)

    def break_off(self, reason: str, now_ns: int) -> None:
        """The book cannot be trusted: withdraw it and build it anew."""
        if self.state in WITHOUT_STREAM:
            return
        self.counters.resyncs += 1
        self._forget(now_ns)
        if self.state in (L.LIVE, L.STALE) and now_ns - self._joined_at_ns > STEADY_NS:
            self._backoff.reset()
            self._ask_at_ns = now_ns
        elif self.state != L.BUFFERING:  # a wait that has begun stands
            self._ask_at_ns = now_ns + self._backoff.next_ns()
        self._go(FeedEvent.BROKEN, now_ns, reason=reason)

    def _keep(self, frame: bytes, now_ns: int) -> None:
        """Buffer a frame; try the snapshot that waits for the stream; ask for one if due."""
        if self.protocol.rules.snapshot is None and not self._is_large_awaited:
            return  # dropped: the next whole book in the stream includes it
        engine = self._engine
        last_id, sides = engine.last_frame_id(self.feed), engine.staged_sets
        self._sides.take(sides, now_ns)
        self._buffer.add(frame, engine.staged_first_id, last_id, sides)
        is_live = self.state == L.LIVE
        if self._buffer.is_full(AUDIT_FRAMES_MAX if is_live else BUFFER_FRAMES_MAX):
            if is_live:
                self._end_audit(now_ns)
            else:
                self.break_off("no snapshot while the buffer filled", now_ns)
        elif self._held is not None:
            self._try_join(now_ns)
        elif not self._request.is_open and now_ns >= self._ask_at_ns:
            self._ask(now_ns)

    # --- snapshots -------------------------------------------------------------------------------

    def on_snapshot_sent(self, number: int, now_ns: int) -> None:
        """The request has left: from now on its answer may be missed."""
        self._request.sent(number, now_ns)

    def on_snapshot(self, number: int, stage: Stage, depth: int, now_ns: int) -> None:
        """The answer to a request; `depth` levels a side were asked for, 0: all."""
        was_live = self.state == L.LIVE
        if not self._request.close(number):
            return
        status = self.units.fitted(stage, now_ns)
        if was_live and self.state != L.LIVE:
            return  # to be built anew in other units
        if status != S.APPLIED:
            return self._refuse_snapshot(S.TEXTS[status], now_ns)
        # With nothing buffered it must still hold whatever the stream has brought before.
        seen_id = max(self._engine.last_frame_id(self.feed), self._sides.newest_id(now_ns))
        first_id = self._buffer.first_id if self._buffer else seen_id
        if not self.protocol.rules.joins(stage.last_id, first_id):
            self._refuse_snapshot("older than the stream", now_ns)
        elif sum(stage.levels) == 0:
            self._refuse_snapshot("empty", now_ns)
        else:
            self._held, self._held_depth, self._held_at_ns = stage, depth, now_ns
            self._try_join(now_ns)

    def on_large(self, now_ns: int) -> None:
        """A frame that may be this feed's whole book is being decoded by another thread."""
        # What has been kept since an earlier one stays: that may be this feed's own.
        if self.state in (L.BUFFERING, L.SYNCING) and not self._is_large_awaited:
            self._forget(now_ns)
            self._is_large_awaited = True
            self._engine.restart_stream(self.feed)
            self._request.begin(now_ns)
            self._request.sent(self._request.number, now_ns)
            if self.state == L.BUFFERING:
                self._go(FeedEvent.ASKED, now_ns)

    def _on_stream_snapshot(self, now_ns: int) -> None:
        """The stream brought a whole book: it is shown at once, whatever was shown before."""
        if self.state in WITHOUT_STREAM:
            return
        if self.state == L.BUFFERING:
            self._go(FeedEvent.ASKED, now_ns)  # by subscribing
        status, (bids, asks) = self._engine.load_staged(self.feed)
        self.counters.count_fault(status)
        is_crossed = self._engine.is_spare_crossed(self.feed)
        reason = stream_snapshot_fault(status, bids + asks, is_crossed)
        if not reason:
            self._judge_time(now_ns)
            return self._show(self._engine.last_frame_id(self.feed), bids, asks, now_ns)
        if self.state in (L.LIVE, L.STALE):
            # What is shown is no longer what the venue has.
            self.break_off(f"the stream's snapshot is {reason}", now_ns)
        self._request.is_open = False
        self._refuse_snapshot(reason, now_ns)

    def on_snapshot_failed(
        self, number: int, reason: str, now_ns: int, retry_after_ns: int = 0
    ) -> None:
        """The request failed; it is repeated later, never earlier than the venue asked for."""
        if self._request.close(number):
            if self.protocol.rules.snapshot is None and self.state in (L.LIVE, L.STALE):
                self.break_off(f"no whole book: {reason}", now_ns)  # nor, perhaps, a subscription
            self._refuse_snapshot(reason, now_ns, retry_after_ns)

    def _refuse_snapshot(self, reason: str, now_ns: int, retry_after_ns: int = 0) -> None:
        self.counters.snapshots_refused += 1
        delay_ns = max(self._backoff.next_ns(), retry_after_ns)
        self._ask_at_ns = now_ns + delay_ns
        facts = {"attempt": self._backoff.attempt, "again_in_ms": delay_ns // NS_PER_MS}
        self._host.note(self, FeedEvent.SNAPSHOT_REFUSED, reason=reason, **facts)
        if self.state == L.LIVE and retry_after_ns > 0:
            self._end_audit(now_ns)

    def _ask(self, now_ns: int) -> None:
        self.counters.snapshots_asked += 1
        self._request.begin(now_ns)
        if self.state == L.BUFFERING:
            self._go(FeedEvent.ASKED, now_ns)
        self._host.fetch_snapshot(self, self.request)

    def _try_join(self, now_ns: int) -> None:
        """Join once the stream has reached the held snapshot, and gone on on both sides."""
        assert self._held is not None
        if self.timeliness.is_late:
            return
        if not self._is_confirmed(self._held.last_id, now_ns) and not self._is_quiet(now_ns):
            return
        stage, self._held = self._held, None
        if self._sides.contradict(stage.levels, now_ns):
            return self._refuse_snapshot("a side is empty that the stream shows", now_ns)
        if self.units.refreshed(stage) != S.APPLIED:
            return self._refuse_snapshot(S.TEXTS[stage.status], now_ns)
        self._engine.load(self.feed, stage, self._held_depth)
        for frame in self._buffer:
            status = self._engine.replay(self.feed, frame)
            if status < 0:
                self.break_off(f"joining: {S.TEXTS[status]}", now_ns)
                return
        if self._engine.is_spare_crossed(self.feed):
            # The stream's levels on another market's snapshot: without sequence numbers only this
            # tells.
            self._refuse_snapshot("crossed by the frames that follow it", now_ns)
            return
        if self.state == L.LIVE:
            differing = self._engine.differing_levels(self.feed)
            if differing:
                self.counters.audits_failed += 1
                self.break_off(f"audit failed: {differing} levels differ", now_ns)
                return
            self.counters.audits_passed += 1
        bids, asks = stage.levels
        self._is_shallow = 0 < self._held_depth < self.snapshot_depth
        self._sides.show(stage.levels)
        self._show(stage.last_id, bids, asks, now_ns)

    def _show(self, book_id: int, bids: int, asks: int, now_ns: int) -> None:
        """The spare book, which has been loaded, becomes the published one; STALE if the stream
        brought it too late, until a frame is in time."""
        self._audited_at_ns = now_ns
        before = self.state
        event = FeedEvent.LATE if self.timeliness.is_late else FeedEvent.JOINED
        after = TRANSITIONS[before, event]
        self._forget(now_ns)
        self._engine.activate(self.feed, self._host.wall_ns(), after)
        if before != L.LIVE or after != L.LIVE:
            self._since_ns = self._joined_at_ns = now_ns
            states = {"before": L.STATE_NAMES[before], "after": L.STATE_NAMES[after]}
            self._host.note(self, event, **states, book_id=book_id, bids=bids, asks=asks)

    def _is_confirmed(self, snapshot_id: int, now_ns: int) -> bool:
        """Whether the stream stands at the snapshot or behind it, and has spoken of both sides."""
        if self._buffer.sets_both_sides_since(snapshot_id):
            return True
        is_reached = self._engine.last_frame_id(self.feed) >= snapshot_id
        return is_reached and now_ns - self._held_at_ns >= WITNESS_LIMIT_NS

    # --- time ------------------------------------------------------------------------------------

    def on_timer(self, now_ns: int) -> None:
        """Called several times a second: silence, quiet pairs, late answers, audits."""
        stamp_ns = self._engine.receive_ns(self.feed)
        if stamp_ns != self._heard_stamp_ns:
            self._heard_stamp_ns, self.heard_ns = stamp_ns, now_ns
            self._judge_time(now_ns)
        self.timing.bound(now_ns)
        if self.state in WITHOUT_STREAM:
            return
        if self._request.is_overdue(now_ns):
            self._host.cancel_snapshot(self)
            self.on_snapshot_failed(self._request.number, "no answer", now_ns)
        elif self._request.has_waited(now_ns) and self.state != L.LIVE:
            self._host.note(self, FeedEvent.SNAPSHOT_WAITS, reason="the venue's request limit")
        self._take(snapshot_step(self.state, self._snapshot_facts(now_ns)), now_ns)
        if self.state == L.LIVE:
            self._take(live_step(self.state, self._live_facts(now_ns)), now_ns)

    def _judge_time(self, now_ns: int) -> None:
        """Judge the last frame's time, if it was not when it came."""
        venue_ns = self._engine.venue_ns(self.feed)
        if venue_ns != self.timeliness.venue_ns:
            self.timeliness.take(venue_ns, self._engine.receive_ns(self.feed), now_ns)

    def go_stale(self, reason: str, now_ns: int) -> None:
        """A LIVE book may be old: it is withdrawn until a frame says otherwise."""
        self._end_audit(now_ns)
        silent_ms = self._silent_ns(now_ns) // NS_PER_MS
        self._go(FeedEvent.SILENT, now_ns, reason=reason, silent_ms=silent_ms)

    def _take(self, step: Step, now_ns: int) -> None:
        if step is Step.TRY_TO_JOIN:
            self._try_join(now_ns)
        elif step is Step.DROP_HELD_SNAPSHOT:
            self._held = None
            self._refuse_snapshot(NEVER_REACHED, now_ns)
        elif step is Step.ASK_FOR_SNAPSHOT:
            self._ask(now_ns)
        elif step is Step.GO_STALE:
            self.go_stale("no data", now_ns)
        elif step is Step.GO_LATE:
            self.go_late(now_ns)
        elif step is Step.BREAK_OFF:
            self.break_off(NEVER_REACHED, now_ns)
        elif step is Step.START_AUDIT:
            self._start_audit(now_ns)

    def _snapshot_facts(self, now_ns: int) -> SnapshotFacts:
        is_streamed = self.protocol.rules.snapshot is None
        return SnapshotFacts(
            is_held=self._held is not None,
            is_held_too_long=now_ns - self._held_at_ns > REACH_LIMIT_NS,
            is_asked=self._request.is_open,
            is_ask_due=now_ns >= self._ask_at_ns,
            can_ask=bool(self._buffer) or is_streamed or self._is_quiet(now_ns),
        )

    def _live_facts(self, now_ns: int) -> LiveFacts:
        last_id = self._engine.last_frame_id(self.feed)
        # A quiet pair may be shown before its stream says anything; every diff since was "old".
        is_behind = 0 < last_id < self._engine.book_id(self.feed)
        since_audit_ns = now_ns - self._audited_at_ns
        is_incomplete = self._engine.is_incomplete(self.feed)
        is_limit_short = any(each.is_waiting for each in self.peers if each is not self)
        is_due = (
            self._is_shallow
            or self._sides.is_audit_due
            or since_audit_ns > self.protocol.audit_interval_s * NS_PER_S
            or (is_incomplete and since_audit_ns > INCOMPLETE_AUDIT_NS)
        )
        return LiveFacts(
            is_silent=self._silent_ns(now_ns) > self._stale_after_ns,
            is_late=self.timeliness.is_late,
            is_never_reached=is_behind and now_ns - self._joined_at_ns > REACH_LIMIT_NS,
            is_audit_due=is_due and not self._is_audit_begun and not is_limit_short,
        )

    def _silent_ns(self, now_ns: int) -> int:
        return now_ns - max(self.heard_ns, self._since_ns)

    def _is_quiet(self, now_ns: int) -> bool:
        """Whether the venue sends the stream, and it has brought nothing for a while."""
        if self._buffer or self._acknowledged_ns == 0:
            return False
        return now_ns - max(self._since_ns, self._acknowledged_ns) >= QUIET_ASK_NS

    def _start_audit(self, now_ns: int) -> None:
        """From now on frames are buffered too; the first of them asks for the snapshot. Where books
        come in the stream, one is asked for if nothing else shows that a frame was lost."""
        if self.protocol.rules.snapshot is None:
            self._audited_at_ns = now_ns
            if not self.protocol.rules.is_self_checking and not self._request.is_open:
                self._ask(now_ns)
            return
        self._forget(now_ns)
        self._audited_at_ns = now_ns
        self._is_audit_begun = True
        self._engine.set_buffered(self.feed, True)

    def _end_audit(self, now_ns: int) -> None:
        self._forget(now_ns)
        self._audited_at_ns = now_ns
        self._engine.set_buffered(self.feed, False)

    def _forget(self, now_ns: int) -> None:
        """Drop buffer, held snapshot and the outstanding request (its answer will be ignored)."""
        self._sides.leave(self._engine.last_frame_id(self.feed), now_ns)
        self._buffer.clear()
        self._held = None
        self._is_audit_begun = self._is_large_awaited = False
        if self._request.is_open:
            self._request.is_open = False
            self._host.cancel_snapshot(self)

    def _go(self, event: FeedEvent, now_ns: int, **facts: object) -> None:
        before = self.state
        after = TRANSITIONS[before, event]
        if event is not FeedEvent.ASKED:
            self._since_ns = now_ns
        if before in (L.LIVE, L.STALE) and after not in (L.LIVE, L.STALE):
            self._sides.take(self._engine.has_sides(self.feed), now_ns)
        self._engine.set_state(self.feed, after, self._host.wall_ns())
        if before != after or event is FeedEvent.BROKEN:
            states = {"before": L.STATE_NAMES[before], "after": L.STATE_NAMES[after]}
            self._host.note(self, event, **states, **facts)
