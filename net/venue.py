"""One venue: its connection's frames, and the sessions of all its instruments. No I/O, no clock.

The hot path does not come through here: `handle` is the kernel itself, and only a status other
than APPLIED asks for anything more.
Runs on: the engine thread. Called by: net.stream (live), net.replay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import orjson

from engine import layout as L
from engine import meter_layout as M
from engine import status as S
from engine.engine import Engine
from engine.meters import Count, Counted
from net.session import Session
from net.venues import Control, VenueProtocol


class VenueHost(Protocol):
    """What a venue needs done outside."""

    def acknowledged(self, venue: Venue) -> None:
        """The venue confirmed one subscription."""

    def reconnect(self, venue: Venue, reason: str) -> None:
        """Connect anew before the old connection goes."""

    def note_venue(self, venue: Venue, what: str, **facts: object) -> None:
        """Something an operator should see."""

    def withdrawn(self, venue: Venue, reason: str) -> None:
        """A session of this venue lost its book (for resync_scope = "all")."""


class VenueCounters(Counted):
    """A venue's connections, and what came over them that no feed has counted: its meters."""

    connections = Count(M.VENUE_CONNECTIONS)
    other_symbols = Count(M.VENUE_OTHER_SYMBOLS)
    binary_frames = Count(M.VENUE_BINARY_FRAMES)
    not_understood = Count(M.VENUE_NOT_UNDERSTOOD)


class Venue:
    """All feeds of one venue, which share one connection."""

    def __init__(
        self,
        engine: Engine,
        connection: int,
        protocol: VenueProtocol,
        sessions: tuple[Session, ...],
        host: VenueHost,
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self.sessions = sessions
        self.symbols = tuple(session.spec.symbol for session in sessions)
        self.handle = engine.frame_handler(connection, protocol.protocol)
        """f(frame, receive_ns, is_last) -> status: the compiled path."""
        meters = engine.meters
        self.counters = VenueCounters(meters.words, meters.venue_at[connection])
        self._engine = engine
        self._host = host
        self._by_feed = {session.feed: session for session in sessions}
        self._subscribed_ns = 0

    @property
    def name(self) -> str:
        return self.protocol.name

    def on_connecting(self, now_ns: int) -> None:
        for session in self.sessions:
            session.on_connecting(now_ns)

    def on_subscribed(self, now_ns: int) -> None:
        self._subscribed_ns = now_ns
        for session in self.sessions:
            session.on_subscribed(now_ns)

    def on_acknowledged(self, now_ns: int) -> None:
        """Every subscription is confirmed, or the address was one: the streams flow."""
        for session in self.sessions:
            session.on_acknowledged(now_ns)

    def on_moved(self, now_ns: int) -> None:
        """The streams come from another server, from when it acknowledges them."""
        for session in self.sessions:
            session.on_moving()
        self.restart_streams("moved to another server", now_ns)

    def on_lost(self, now_ns: int) -> None:
        for session in self.sessions:
            session.on_lost(now_ns)

    def on_timer(self, now_ns: int) -> None:
        for session in self.sessions:
            session.on_timer(now_ns)

    def is_silent(self, now_ns: int, limit_ns: int) -> bool:
        """Whether the connection is as good as dead: nothing is LIVE, and no data for so long.

        Not only where all are STALE: a feed that waits for its stream to reach a snapshot would
        wait for ever on a connection that brings no more.
        """
        heard_ns = self._subscribed_ns
        for session in self.sessions:
            if session.state in (L.DISCONNECTED, L.CONNECTING, L.LIVE):
                return False
            heard_ns = max(heard_ns, self._engine.receive_ns(session.feed))
        return now_ns - heard_ns > limit_ns

    def break_off(self, reason: str, now_ns: int) -> None:
        """Withdraw and resynchronise every feed of this venue."""
        for session in self.sessions:
            session.break_off(reason, now_ns)

    def restart_streams(self, reason: str, now_ns: int) -> None:
        """The same, where the next frame may come from another server."""
        for session in self.sessions:
            self._engine.restart_stream(session.feed)
        self.break_off(reason, now_ns)

    def publish_touched(self) -> None:
        """Publish what earlier frames of a buffer changed, where its last one was no text."""
        self._engine.publish_touched()

    def on_status(self, status: int, frame: Callable[[], bytes], now_ns: int, is_last: int) -> None:
        """Whatever `handle` answered other than APPLIED."""
        if status == S.OTHER:
            self._on_control(frame(), now_ns)
        elif status == S.UNKNOWN_SYMBOL:
            self.counters.other_symbols += 1
        else:
            self._on_feed(status, frame, now_ns)
        if is_last and status < 0:
            self._engine.publish_touched()

    def on_binary(self, now_ns: int) -> None:
        """A binary frame: neither venue sends any, so what it meant to say is not known."""
        self.counters.binary_frames += 1
        self._distrust("binary frame", now_ns)

    def _on_feed(self, status: int, frame: Callable[[], bytes], now_ns: int) -> None:
        session = self._by_feed.get(self._engine.last_feed)
        hit = self.sessions if session is None else (session,)
        for each in hit:
            each.on_status(status, frame, now_ns)
        if status < 0:
            self._host.withdrawn(self, S.TEXTS[status])

    def _on_control(self, frame: bytes, now_ns: int) -> None:
        try:
            kind, text = self.protocol.control(orjson.loads(frame))
        except orjson.JSONDecodeError:
            kind, text = Control.UNKNOWN, "not JSON"
        if kind is Control.SUBSCRIBED:
            self._host.acknowledged(self)
        elif kind is Control.RECONNECT:
            self._host.reconnect(self, text)
        elif kind is Control.ERROR:
            self._host.note_venue(self, "venue says error", text=text)
        elif kind is Control.UNKNOWN:
            self.counters.not_understood += 1
            self._host.note_venue(self, "frame not understood", text=text)
            self._distrust("frame not understood", now_ns)

    def _distrust(self, reason: str, now_ns: int) -> None:
        """It may have been a diff that lost its name: without sequence numbers nothing tells."""
        self.restart_streams(reason, now_ns)
        self._host.withdrawn(self, reason)
