"""What lies between the venues and the book syncs: connections and REST, with what befalls them.

`Link` keeps a venue connected by the rules of net.feed.connection, its back-off and time limits,
and `Rest` answers by those of net.feed.rest; both on the scheduler's time instead of sockets.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from net.feed import connection as stream
from net.feed.book_sync import BookSync
from net.feed.snapshot_request import SnapshotRequest
from net.feed.venue_feeds import VenueFeeds
from net.sockets import websocket
from net.sockets.backoff import Backoff
from net.venues.binance.market_data import BINANCE
from tests.simulation.faults import (
    ON_CONNECT,
    ON_FRAME,
    ON_REST,
    ON_SUBSCRIBE,
    Schedule,
    damaged,
    flipped_body,
    halves,
    of_the_future,
)
from tests.simulation.market import Frame, Market
from tests.simulation.path import Path

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
IDLE_PING_S = 5
"""As the daemon sets it: a half-open connection is noticed after two of these."""
OVERLAP_NS = NS_PER_S
RETRY_AFTER_S = (1, 20)
FUTURE_S = 3600
STAGE_LEVELS = 128
_TOLD_NO_TIME = (S.GAP, S.BACKWARDS, S.OLD, S.OTHER, S.UNKNOWN_SYMBOL)
"""Of the frames that were read, those whose time is nobody's: it is in the book already, or its
stream is broken, or a flipped bit makes it another feed's. A frame that leaves the book crossed has
told its time."""


class Clock(Protocol):
    """The scheduler."""

    now_ns: int

    def wall_ns(self) -> int:
        """The host's wall clock, which is set now and then."""

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something later."""

    def say(self, text: str, *facts: object) -> None:
        """One line for the trace."""


class Window:
    """Events of the last so many seconds, weighed: what venues limit."""

    def __init__(self, seconds: int, weight_max: int) -> None:
        self.total = self.most = self.weight = 0
        self._seconds, self._weight_max = seconds, weight_max
        self._events: deque[tuple[int, int]] = deque()

    def add(self, now_ns: int, weight: int) -> None:
        self.total += 1
        self.weight += weight
        self._events.append((now_ns, weight))
        while self._events[0][0] < now_ns - self._seconds * NS_PER_S:
            self.weight -= self._events.popleft()[1]
        self.most = max(self.most, self.weight)
        assert self.weight <= self._weight_max, f"{self.weight} in {self._seconds} s"


class Link:
    """Keeps one venue connected, as net.feed.connection does."""

    def __init__(
        self, clock: Clock, schedule: Schedule, venue: VenueFeeds, rng: random.Random
    ) -> None:
        self.venue = venue
        self.attempts = Window(300, 300)
        self.disturbed_ns = 0
        """When anything but the loss of a diff was last done to this venue."""
        self.paths: list[Path] = []
        self.lost: Callable[[VenueFeeds, str], None] = lambda venue, reason: None
        self._clock, self._schedule, self._rng = clock, schedule, rng
        self._backoff = Backoff(random.Random(rng.random()))
        self._open_answers = self._refusals = 0
        self._are_answers_due = False
        self._lag_ns = rng.randrange(3, 15) * NS_PER_S
        self._started_ns = self._opened_ns = 0
        self._is_renewing = False

    # --- connecting ------------------------------------------------------------------------------

    def connect(self) -> None:
        now_ns = self._clock.now_ns
        self.venue.on_connecting(now_ns)
        self._started_ns = now_ns
        self._open(self._opened, self._failed)

    def _open(self, opened: Callable[[Path], None], failed: Callable[[], None]) -> None:
        self.attempts.add(self._clock.now_ns, 1)
        delay_ns = self._rng.randrange(20, 300) * NS_PER_MS
        fault = self._strike(ON_CONNECT)
        if fault == "refuse":
            self._clock.after(delay_ns, failed)
        elif fault == "slow-connect":
            self._clock.after(int(websocket.CONNECT_LIMIT_S * NS_PER_S), failed)
        else:
            self._clock.after(delay_ns, lambda: opened(Path()))

    def _failed(self) -> None:
        self._end("the connection was refused")

    def _opened(self, path: Path) -> None:
        self.paths, self._opened_ns = [path], self._clock.now_ns
        self.venue.on_subscribed(self._clock.now_ns)
        self._subscribe(path)

    def _subscribe(self, path: Path) -> None:
        """Ask for the channels; the stream begins with the venue's answer."""
        protocol = self.venue.protocol
        if not protocol.subscriptions(self.venue.symbols, protocol.own_settings()):
            path.symbols = set(self.venue.symbols)
            self.venue.on_acknowledged(self._clock.now_ns)
            return
        self.venue.on_subscribing()
        self._open_answers, self._refusals = len(self.venue.symbols), 0
        self._are_answers_due = True
        self._ask(path, self.venue.symbols)
        limit_ns = int(stream.SUBSCRIBE_LIMIT_S * NS_PER_S)
        self._clock.after(limit_ns, lambda: self._look_at_answers(path))

    def _ask(self, path: Path, symbols: Sequence[str]) -> None:
        """The venue answers, and may refuse one member."""
        fault = self._strike(ON_SUBSCRIBE)
        is_slow = fault == "slow-subscribe"
        delay_ms = self._rng.randrange(1000, 12_000) if is_slow else self._rng.randrange(20, 200)
        refused = self._rng.choice(symbols) if fault == "refuse-member" else None
        self._clock.after(delay_ms * NS_PER_MS, lambda: self._begin(path, symbols, refused))

    def _begin(self, path: Path, symbols: Sequence[str], refused: str | None) -> None:
        for symbol in symbols:
            channel = f"diff_order_book_{symbol}"
            text = f'{{"event":"bts:subscription_succeeded","channel":"{channel}","data":{{}}}}'
            if symbol == refused:
                text = '{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad."}}'
            elif path.is_open:
                path.symbols.add(symbol)
            self._arrive(path, [Frame(text.encode())])
        self._look_at_refusals(path)

    def on_acknowledged(self) -> None:
        self._open_answers -= 1
        if self._open_answers == 0:
            self.venue.on_acknowledged(self._clock.now_ns)

    def on_refused(self, reason: str) -> None:
        self._refusals += 1

    def _look_at_refusals(self, path: Path) -> None:
        if 0 < self._open_answers <= self._refusals:
            self._look_at_answers(path)

    def _look_at_answers(self, path: Path) -> None:
        """All have come, or will not: who is missing is refused, and asked for again later."""
        if not path.is_open or path is not self.paths[0] or not self._are_answers_due:
            return
        missing = self.venue.unacknowledged()
        if self._open_answers > 0 and len(missing) == len(self.venue.symbols):
            self._end("the subscriptions were not acknowledged")
            return
        self._are_answers_due = False
        for symbol in missing:
            self.venue.on_refused(symbol, "refused", self._clock.now_ns)
        self._ask_again(path, int(stream.REFUSED_AGAIN_S[0]))

    def _ask_again(self, path: Path, wait_s: int) -> None:
        def ask() -> None:
            if path.is_open and path is self.paths[0] and (missing := self.venue.unacknowledged()):
                self._ask(path, missing)
                self._ask_again(path, 2 * wait_s)

        if self.venue.unacknowledged():
            self._clock.after(wait_s * NS_PER_S, ask)

    def _end(self, reason: str) -> None:
        """The connection is gone; the next one follows."""
        now_ns = self._clock.now_ns
        self._clock.say("{} disconnected: {}", self.venue.name, reason)
        for path in self.paths:
            path.close()
        self.paths = []
        self.venue.on_lost("cut", now_ns)
        self.lost(self.venue, reason)
        if now_ns - self._started_ns > websocket.STEADY_S * NS_PER_S:
            self._backoff.reset()
        self._clock.after(self._backoff.next_ns(), self.connect)

    def drop(self, reason: str) -> None:
        """The book syncs' side closes it."""
        if self.paths:
            self._end(reason)

    # --- renewal ---------------------------------------------------------------------------------

    def renew(self) -> None:
        """Connect anew before the old connection goes."""
        if self._is_renewing or not self.paths:
            return
        self._is_renewing = True
        old, delay_ns = self.paths[0], 0
        if self._clock.now_ns - self._opened_ns > websocket.STEADY_S * NS_PER_S:
            self._backoff.reset()
        else:
            delay_ns = self._backoff.next_ns()
        self._clock.after(delay_ns, lambda: self._open_successor(old))

    def _open_successor(self, old: Path) -> None:
        if old.is_open:
            self._open(lambda fresh: self._replace(old, fresh), self._renewal_failed)
        else:
            self._is_renewing = False

    def _renewal_failed(self) -> None:
        self._is_renewing = False

    def _replace(self, old: Path, fresh: Path) -> None:
        self._is_renewing = False
        if not old.is_open:
            return
        self._clock.say("{} moves to another connection", self.venue.name)
        self.paths, self._opened_ns = [fresh, old], self._clock.now_ns
        self._subscribe(fresh)
        if self.venue.protocol.rules.has_gap_detection:
            self._clock.after(OVERLAP_NS, lambda: self._let_go(old))
        else:
            self._let_go(old)
            self.venue.on_moved(self._clock.now_ns)

    def _let_go(self, old: Path) -> None:
        old.close()
        if old in self.paths:
            self.paths.remove(old)

    # --- frames ----------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """The venue says something on every connection that has subscribed."""
        assert frame.market is not None
        symbol = frame.market.spec.symbol
        listening = [path for path in self.paths if symbol in path.symbols and not path.is_silent]
        for path in listening:
            path.newest[frame.market.feed] = frame
            self._send(path, frame)
        if not listening:
            frame.market.gone_id = max(frame.market.gone_id, frame.last_id)

    def _send(self, path: Path, frame: Frame) -> None:
        rng, clock = self._rng, self._clock
        fault = self._strike(ON_FRAME)
        if fault:
            clock.say("{}: {} strikes {}", self.venue.name, fault, frame.last_id)
        if fault in ("drop", "cut", "half-open", "stall"):
            assert frame.market is not None
            if fault == "drop":
                frame.market.went(frame, clock.now_ns, is_whole=False)
            self._break(path, fault)
            return
        sent = [frame]
        if fault in ("truncate", "garbage", "flip", "reword", "nonsense"):
            sent = [damaged(frame, fault, rng)]
        elif fault == "binary":
            sent = [Frame(b"\0", frame.market, frame.last_id, True, is_binary=True)]
        elif fault == "duplicate":
            sent = [frame, frame]
        elif fault == "same-time":
            sent = halves(frame)
        elif fault == "future" and abs(clock.wall_ns() - clock.now_ns) < NS_PER_S:
            sent = [of_the_future(frame, FUTURE_S)]
        elif fault in ("stranger", "notice"):
            sent = [self._other_text(fault), frame]
        delay_ns = rng.randrange(5, 60) * NS_PER_MS
        if fault == "reorder" and not path.held:  # what is held goes out first
            late = [*sent]
            # Until it arrives, and shows that it was missing, nobody can know.
            assert frame.market is not None
            frame.market.went(frame, clock.now_ns, is_whole=False)
            # Behind whatever is still under way: it is overtaken, and overtakes nothing.
            wait_ns = max(path.arrival_ns - clock.now_ns, 0) + rng.randrange(300, 2000) * NS_PER_MS
            clock.after(wait_ns, lambda: self._arrive(path, late))
            return
        if fault == "hold":
            path.held += sent
            return
        if fault == "lag":
            delay_ns += self._lag_ns
        if fault == "delay":
            delay_ns += rng.randrange(100, 7000) * NS_PER_MS
        batch, path.held = path.held + sent, []
        path.arrival_ns = max(path.arrival_ns, clock.now_ns + delay_ns)
        wait_ns = path.arrival_ns - clock.now_ns
        # A half shows what it changes before the other half has come.
        reads = [batch[:-1], batch[-1:]] if len(sent) == 2 and sent[0].is_part else [batch]
        for read in reads:
            clock.after(wait_ns, partial(self._arrive, path, read))
        if fault == "echo":
            wait_ns += rng.randrange(300, 5000) * NS_PER_MS
            clock.after(wait_ns, lambda: self._arrive(path, [frame]))

    def _break(self, path: Path, fault: str) -> None:
        if fault == "cut" and path is self.paths[0]:
            self._clock.after(0, lambda: self._cut(path))
        elif fault in ("half-open", "stall"):
            path.is_silent = True
            if fault == "half-open":
                self._clock.after(2 * IDLE_PING_S * NS_PER_S, lambda: self._cut(path))

    def _cut(self, path: Path) -> None:
        if path.is_open and path in self.paths[:1]:
            self._end("cut")

    def _other_text(self, fault: str) -> Frame:
        """A frame of a symbol nobody asked for, or the announcement of a shutdown."""
        is_binance = self.venue.protocol.rules == BINANCE.rules
        if fault == "notice":
            if is_binance:
                return Frame(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
            return Frame(b'{"event":"bts:request_reconnect","channel":"","data":""}')
        if is_binance:
            return Frame(
                b'{"stream":"nosuch@depth@100ms","data":{"e":"depthUpdate","E":1700000000000,'
                b'"s":"NOSUCH","U":1,"u":2,"b":[["1.00","1.0"]],"a":[]}}'
            )
        return Frame(
            b'{"data":{"timestamp":"1","microtimestamp":"1700000000000000","bids":[],"asks":[]},'
            b'"channel":"diff_order_book_nosuch","event":"data"}'
        )

    def _arrive(self, path: Path, batch: list[Frame]) -> None:
        """What one read of the socket brings; only the last frame of it publishes."""
        now_ns = self._clock.now_ns
        if not path.is_open:
            return
        for frame in batch:
            self._hand_over(frame, now_ns, int(frame is batch[-1]))

    def _hand_over(self, frame: Frame, now_ns: int, is_last: int) -> None:
        venue, market, status = self.venue, frame.market, S.OTHER
        if frame.is_binary:
            venue.on_binary(now_ns)
            if is_last:
                venue.publish_touched()
        else:
            status = venue.handle(frame.raw, self._clock.wall_ns(), is_last)
            if status != S.APPLIED:
                venue.on_status(status, lambda: frame.raw, now_ns, is_last)
            if market is not None:
                text = "{} {} takes {}: {}"
                self._clock.say(text, venue.name, market.spec.symbol, frame.last_id, status)
        if market is None:
            return
        sync = next(each for each in venue.syncs if each.feed == market.feed)
        is_taken = status in S.UNFIT and sync._engine.last_frame_id(sync.feed) == frame.last_id
        if is_taken or (status >= S.CROSSED_TOO_LONG and status not in _TOLD_NO_TIME):
            market.came(frame, now_ns)
        if frame.is_part:
            market.lost[frame.last_id] = now_ns  # until the rest has come, right behind it
            return
        if status <= S.BAD_JSON and not frame.must_be_refused and not is_taken:
            # Of the same meaning, yet refused: it says so, and the stream begins anew.
            market.gone_id = max(market.gone_id, frame.last_id)
        elif frame.must_be_refused:
            market.gone_id = max(market.gone_id, frame.last_id)
            assert sync.state != L.LIVE, f"{venue.name} lives on after {frame.raw!r}"
        else:
            market.went(frame, now_ns, is_whole=not frame.is_nameless)

    def _strike(self, occasions: tuple[str, ...]) -> str:
        fault = self._schedule.strike(occasions, self.venue.name, self._clock.now_ns)
        if fault and fault != "drop":
            self.disturbed_ns = self._clock.now_ns
        return fault


class Rest:
    """Answers a venue's snapshot requests, as net.feed.rest does."""

    def __init__(
        self,
        clock: Clock,
        schedule: Schedule,
        engine: Engine,
        link: Link,
        markets: dict[int, Market],
        rng: random.Random,
    ) -> None:
        limit = link.venue.protocol.rest_limit
        self.requests = Window(limit.window_s, limit.weight_max)
        self._clock, self._schedule, self._engine = clock, schedule, engine
        self._link, self._markets, self._rng = link, markets, rng
        self._not_before_ns = 0

    def fetch(self, sync: BookSync, request: SnapshotRequest) -> None:
        """Ask; the answer comes later, or never."""
        clock, rng, protocol = self._clock, self._rng, sync.protocol
        wait_ns = self._not_before_ns - clock.now_ns
        if wait_ns > 0:
            clock.after(NS_PER_MS, lambda: self._fail(sync, request, "left alone", wait_ns))
            return
        # The simulated books are small; a snapshot weighs what the default depth does.
        self.requests.add(
            clock.now_ns,
            protocol.snapshot_weight(protocol.snapshot_depths(protocol.own_settings())[-1]),
        )
        fault = self._schedule.strike(ON_REST, protocol.name, clock.now_ns)
        sync.on_snapshot_sent(request.number, clock.now_ns)
        clock.say("{} {} asks: {}", protocol.name, sync.spec.symbol, fault or "well")
        if fault:
            self._link.disturbed_ns = clock.now_ns
        if fault == "lost":
            return
        delay_ns = rng.randrange(10, 300) * NS_PER_MS
        clock.after(delay_ns, lambda: self._answer(sync, request, fault))

    def _answer(self, sync: BookSync, request: SnapshotRequest, fault: str) -> None:
        """The venue writes its answer; it is read a little later, or much."""
        clock, rng = self._clock, self._rng
        late_ns = rng.randrange(3_000, 45_000) if fault == "late" else rng.randrange(10, 200)
        late_ns *= NS_PER_MS
        if fault in ("error", "limited"):
            retry_ns = rng.randrange(*RETRY_AFTER_S) * NS_PER_S if fault == "limited" else 0
            self._not_before_ns = max(self._not_before_ns, clock.now_ns + retry_ns)
            clock.after(late_ns, lambda: self._fail(sync, request, f"HTTP: {fault}", retry_ns))
            return
        body = self._body(sync, fault)
        clock.after(late_ns, lambda: self._arrive(sync, request, body))

    def _body(self, sync: BookSync, fault: str) -> bytes:
        rng, market = self._rng, self._markets[sync.feed]
        limit = sync.snapshot_depth or None
        if fault == "page":
            return b"<!DOCTYPE html>\n<html><body>Please complete the security check</body></html>"
        if fault == "empty":
            return market.snapshot(0)
        if fault == "old":
            ids = list(market.books)[-40:]
            return market.snapshot(limit, rng.choice(ids)) if ids else market.snapshot(limit)
        if fault == "ahead":
            ahead = rng.randrange(10**6, 10**9)
            market.forged[market.book_id + ahead] = self._clock.now_ns
            return market.snapshot(limit, ahead=ahead)
        if fault == "foreign":
            others = [each.feed for each in self._link.venue.syncs if each is not sync]
            other = self._markets[rng.choice(others)]
            body = other.snapshot(limit)
            market.forged[other.book_id] = self._clock.now_ns
            return body
        body = market.snapshot(limit, fault=fault)
        if fault == "body-cut":
            return body[: rng.randrange(len(body))]
        return flipped_body(body, market, rng) if fault == "body-flip" else body

    def _arrive(self, sync: BookSync, request: SnapshotRequest, body: bytes) -> None:
        now_ns, stage = self._clock.now_ns, Stage(STAGE_LEVELS)
        self._engine.stage(sync.feed, body, stage)
        self._clock.say("{} {} gets {}", sync.spec.venue, sync.spec.symbol, stage.last_id)
        is_awaited = sync.is_asking and sync.request.number == request.number
        if is_awaited and stage.last_id and not sync._buffer:
            self._markets[sync.feed].hide(stage.last_id, now_ns)
        sync.on_snapshot(request.number, stage, sync.snapshot_depth, now_ns)

    def _fail(
        self, sync: BookSync, request: SnapshotRequest, reason: str, retry_after_ns: int
    ) -> None:
        sync.on_snapshot_failed(request.number, reason, self._clock.now_ns, retry_after_ns)
