"""What lies between the venues and the sessions: connections and REST, with what befalls them.

`Link` keeps a venue connected by the rules of net.stream, its back-off and time limits, and `Rest`
answers by those of net.rest; both on the scheduler's time instead of sockets.
Runs on: the tests' thread. Called by: world.py.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from engine import layout as L
from engine import status as S
from engine.engine import Engine, Stage
from net import stream, websocket
from net.backoff import Backoff
from net.session import Session
from net.venue import Venue
from tests.simulation.faults import ON_CONNECT, ON_FRAME, ON_REST, Schedule, damaged, flipped_body
from tests.simulation.market import Frame, Market

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
IDLE_PING_S = 5
"""As the daemon sets it: a half-open connection is noticed after two of these."""
OVERLAP_NS = NS_PER_S
SNAPSHOT_DEPTH_WEIGHED = 1000
"""The simulated books are small; their snapshots are weighed as the daemon's default depth."""
RETRY_AFTER_S = (1, 20)
STAGE_LEVELS = 128


class Clock(Protocol):
    """The scheduler."""

    now_ns: int

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


@dataclass
class Path:
    """One connection. What it carries arrives in order, unless a fault says otherwise."""

    is_open: bool = True
    is_subscribed: bool = False
    is_silent: bool = False
    arrival_ns: int = 0
    held: list[Frame] = field(default_factory=list)


class Link:
    """Keeps one venue connected, as net.stream does."""

    def __init__(self, clock: Clock, schedule: Schedule, venue: Venue, rng: random.Random) -> None:
        self.venue = venue
        self.attempts = Window(300, 300)
        self.disturbed_ns = 0
        """When anything but the loss of a diff was last done to this venue."""
        self.paths: list[Path] = []
        self.lost: Callable[[Venue, str], None] = lambda venue, reason: None
        self._clock, self._schedule, self._rng = clock, schedule, rng
        self._backoff = Backoff(random.Random(rng.random()))
        self._acknowledged = 0
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
        fault = self._strike(ON_CONNECT[:2])
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
        limit_ns = int(stream.SUBSCRIBE_LIMIT_S * NS_PER_S)
        if self._subscribe(path):
            self._clock.after(limit_ns, lambda: self._check_acknowledged(path))

    def _subscribe(self, path: Path) -> int:
        """Ask for the channels; the stream begins with the venue's answer. How many were asked."""
        asked = self.venue.protocol.subscriptions(self.venue.symbols)
        self._acknowledged = 0
        if not asked:
            path.is_subscribed = True
            self.venue.on_acknowledged(self._clock.now_ns)
            return 0
        is_slow = self._strike(ON_CONNECT[2:]) != ""
        delay_ns = self._rng.randrange(1000, 12_000) if is_slow else self._rng.randrange(20, 200)
        self._clock.after(delay_ns * NS_PER_MS, lambda: self._begin(path))
        return len(asked)

    def _begin(self, path: Path) -> None:
        if not path.is_open:
            return
        path.is_subscribed = True
        for symbol in self.venue.symbols:
            channel = f"diff_order_book_{symbol}"
            text = f'{{"event":"bts:subscription_succeeded","channel":"{channel}","data":{{}}}}'
            self._arrive(path, [Frame(text.encode())])

    def on_acknowledged(self) -> None:
        self._acknowledged += 1
        if self._acknowledged == len(self.venue.symbols):
            self.venue.on_acknowledged(self._clock.now_ns)

    def _check_acknowledged(self, path: Path) -> None:
        if path.is_open and self._acknowledged < len(self.venue.symbols):
            self._end("the subscriptions were not acknowledged")

    def _end(self, reason: str) -> None:
        """The connection is gone; the next one follows."""
        now_ns = self._clock.now_ns
        self._clock.say("{} disconnected: {}", self.venue.name, reason)
        for path in self.paths:
            path.is_open = False
        self.paths = []
        self.venue.on_lost("cut", now_ns)
        self.lost(self.venue, reason)
        if now_ns - self._started_ns > websocket.STEADY_S * NS_PER_S:
            self._backoff.reset()
        self._clock.after(self._backoff.next_ns(), self.connect)

    def drop(self, reason: str) -> None:
        """The sessions' side closes it."""
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
        if self.venue.protocol.has_gap_detection:
            self._clock.after(OVERLAP_NS, lambda: self._let_go(old))
        else:
            self._let_go(old)
            self.venue.on_moved(self._clock.now_ns)

    def _let_go(self, old: Path) -> None:
        old.is_open = False
        if old in self.paths:
            self.paths.remove(old)

    # --- frames ----------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """The venue says something on every connection that has subscribed."""
        listening = [path for path in self.paths if path.is_subscribed and not path.is_silent]
        for path in listening:
            self._send(path, frame)
        if not listening:
            assert frame.market is not None
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
        elif fault in ("stranger", "notice"):
            sent = [self._other_text(fault), frame]
        delay_ns = rng.randrange(5, 60) * NS_PER_MS
        if fault == "reorder":
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
        if fault == "delay":
            delay_ns += rng.randrange(100, 7000) * NS_PER_MS
        batch, path.held = path.held + sent, []
        path.arrival_ns = max(path.arrival_ns, clock.now_ns + delay_ns)
        wait_ns = path.arrival_ns - clock.now_ns
        clock.after(wait_ns, lambda: self._arrive(path, batch))
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
        is_binance = self.venue.protocol.protocol == L.PROTOCOL_BINANCE
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
            for frame in batch:
                if frame.market is not None:
                    frame.market.gone_id = max(frame.market.gone_id, frame.last_id)
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
            status = venue.handle(frame.raw, now_ns, is_last)
            if status != S.APPLIED:
                venue.on_status(status, lambda: frame.raw, now_ns, is_last)
            if market is not None:
                text = "{} {} takes {}: {}"
                self._clock.say(text, venue.name, market.spec.symbol, frame.last_id, status)
        if market is None:
            return
        if status <= S.BAD_JSON and not frame.must_be_refused:
            # Of the same meaning, yet refused: it says so, and the stream begins anew.
            market.gone_id = max(market.gone_id, frame.last_id)
        elif frame.must_be_refused:
            market.gone_id = max(market.gone_id, frame.last_id)
            states = {each.feed: each.state for each in venue.sessions}
            assert states[market.feed] != L.LIVE, f"{venue.name} lives on after {frame.raw!r}"
        else:
            market.went(frame, now_ns, is_whole=not frame.is_nameless)

    def _strike(self, occasions: tuple[str, ...]) -> str:
        fault = self._schedule.strike(occasions, self.venue.name, self._clock.now_ns)
        if fault and fault != "drop":
            self.disturbed_ns = self._clock.now_ns
        return fault


class Rest:
    """Answers a venue's snapshot requests, as net.rest does."""

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

    def fetch(self, session: Session) -> None:
        """Ask; the answer comes later, or never."""
        clock, rng, protocol = self._clock, self._rng, session.protocol
        wait_ns = self._not_before_ns - clock.now_ns
        if wait_ns > 0:
            clock.after(NS_PER_MS, lambda: self._fail(session, "left alone", wait_ns))
            return
        self.requests.add(clock.now_ns, protocol.snapshot_weight(SNAPSHOT_DEPTH_WEIGHED))
        fault = self._schedule.strike(ON_REST, protocol.name, clock.now_ns)
        clock.say("{} {} asks: {}", protocol.name, session.spec.symbol, fault or "well")
        if fault:
            self._link.disturbed_ns = clock.now_ns
        if fault == "lost":
            return
        delay_ns = rng.randrange(10, 300) * NS_PER_MS
        clock.after(delay_ns, lambda: self._answer(session, fault))

    def _answer(self, session: Session, fault: str) -> None:
        """The venue writes its answer; it is read a little later, or much."""
        clock, rng = self._clock, self._rng
        late_ns = rng.randrange(3_000, 45_000) if fault == "late" else rng.randrange(10, 200)
        late_ns *= NS_PER_MS
        if fault in ("error", "limited"):
            retry_ns = rng.randrange(*RETRY_AFTER_S) * NS_PER_S if fault == "limited" else 0
            self._not_before_ns = max(self._not_before_ns, clock.now_ns + retry_ns)
            clock.after(late_ns, lambda: self._fail(session, f"HTTP: {fault}", retry_ns))
            return
        body = self._body(session, fault)
        clock.after(late_ns, lambda: self._arrive(session, body))

    def _body(self, session: Session, fault: str) -> bytes:
        rng, market = self._rng, self._markets[session.feed]
        limit = session.protocol.levels_limit(session.snapshot_depth) or None
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
            others = [each.feed for each in self._link.venue.sessions if each is not session]
            other = self._markets[rng.choice(others)]
            body = other.snapshot(limit)
            market.forged[other.book_id] = self._clock.now_ns
            return body
        body = market.snapshot(limit)
        if fault == "body-cut":
            return body[: rng.randrange(len(body))]
        return flipped_body(body, market, rng) if fault == "body-flip" else body

    def _arrive(self, session: Session, body: bytes) -> None:
        now_ns, stage = self._clock.now_ns, Stage(STAGE_LEVELS)
        status = self._engine.stage(session.feed, body, stage)
        if status != S.APPLIED:
            session.on_snapshot_failed(S.TEXTS[status], now_ns)
            return
        self._clock.say("{} {} gets {}", session.spec.venue, session.spec.symbol, stage.last_id)
        if session.is_asking and not session._buffer:
            self._markets[session.feed].hide(stage.last_id, now_ns)
        session.on_snapshot(stage, now_ns)

    def _fail(self, session: Session, reason: str, retry_after_ns: int) -> None:
        session.on_snapshot_failed(reason, self._clock.now_ns, retry_after_ns)
