"""What lies between the venues and the book syncs: connections, with what befalls them.

`Link` keeps a venue connected by the rules of net.feed.connection, its back-off and time limits, on
the scheduler's time instead of sockets.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from engine.layout import layout as L
from engine.layout import status as S
from net.feed import connection as stream
from net.feed.sync_limits import STREAM_SNAPSHOT_LIMIT_NS
from net.feed.venue_feeds import ONLY_ANEW, VenueFeeds
from net.sockets import websocket
from net.sockets.backoff import Backoff
from tests.simulation.dialect import Dialect
from tests.simulation.faults import (
    NEVER_OVERTAKEN,
    ON_CONNECT,
    ON_FRAME,
    ON_SUBSCRIBE,
    Schedule,
    damaged,
    halves,
    misread,
    of_the_future,
    together,
    with_wrong_checksum,
)
from tests.simulation.market import Frame, Market
from tests.simulation.path import Path
from tests.simulation.rest import Clock, Window

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
IDLE_PING_S = 5
"""As the daemon sets it: a half-open connection is noticed after two of these."""
OVERLAP_NS = NS_PER_S
FUTURE_S = 3600
MOVED = "moved to another server"
_TOLD_NO_TIME = (S.GAP, S.BACKWARDS, S.OLD, S.OTHER, S.UNKNOWN_SYMBOL)
"""Of the frames that were read, those whose time is nobody's: it is in the book already, or its
stream is broken, or a flipped bit makes it another feed's. A frame that leaves the book crossed has
told its time."""


class Link:
    """Keeps one venue connected, as net.feed.connection does."""

    def __init__(
        self,
        clock: Clock,
        schedule: Schedule,
        venue: VenueFeeds,
        dialect: Dialect,
        markets: dict[int, Market],
        rng: random.Random,
    ) -> None:
        self.venue = venue
        self._dialect = dialect
        self._markets = {market.spec.symbol: market for market in markets.values()}
        self.attempts = Window(300, 300)
        self.disturbed_ns = 0
        """When anything but the loss of a diff was last done to this venue."""
        self.broken: dict[str, str] = {}
        """Why each market's book was last withdrawn, or its whole book refused."""
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
        requests = len(protocol.subscriptions(self.venue.symbols, protocol.own_settings()))
        if not requests:
            path.symbols = set(self.venue.symbols)
            self.venue.on_acknowledged(self._clock.now_ns)
            return
        self.venue.on_subscribing()
        self._open_answers, self._refusals = requests, 0
        self._are_answers_due = True
        self._ask(path, self.venue.symbols)
        limit_ns = int(stream.SUBSCRIBE_LIMIT_S * NS_PER_S)
        self._clock.after(limit_ns, lambda: self._look_at_answers(path))

    def resubscribe(self, symbol: str) -> None:
        """Have the venue send a symbol's whole book in the stream again."""
        if self.venue.protocol.resubscriptions(symbol) and self.paths:
            self._ask(self.paths[0], (symbol,))
        elif self.paths:
            path, age_ns = self.paths[0], self._clock.now_ns - self._opened_ns
            is_early = age_ns < STREAM_SNAPSHOT_LIMIT_NS and self.broken.get(symbol) == MOVED
            assert not is_early, "the fresh connection had no time to bring a whole book"
            self._clock.say("{} has to connect anew for {}", self.venue.name, symbol)
            self._clock.after(0, lambda: self._drop(path, ONLY_ANEW))

    def _drop(self, path: Path, reason: str) -> None:
        if path.is_open:
            self._end(reason)

    def _ask(self, path: Path, symbols: Sequence[str]) -> None:
        """The venue answers, and may refuse one member."""
        fault = self._strike(ON_SUBSCRIBE)
        if fault == "unanswered":
            return
        is_slow = fault == "slow-subscribe"
        delay_ms = self._rng.randrange(1000, 12_000) if is_slow else self._rng.randrange(20, 200)
        refused = self._rng.choice(symbols) if fault == "refuse-member" else None
        self._clock.after(delay_ms * NS_PER_MS, lambda: self._begin(path, symbols, refused))

    def _begin(self, path: Path, symbols: Sequence[str], refused: str | None) -> None:
        """Who was subscribed before is subscribed anew."""
        if not path.is_open:
            return
        path.symbols -= set(symbols)
        if self._dialect.is_connection_wide:
            self._begin_together(path, tuple(symbols), refused)
            self._look_at_refusals(path)
            return
        for symbol in symbols:
            if symbol == refused:
                self._carry(path, self._dialect.refusal(symbol))
                continue
            path.symbols.add(symbol)
            self._carry(path, self._dialect.acknowledgement(symbol))
            self._send_whole(path, symbol)
        self._look_at_refusals(path)

    def _begin_together(self, path: Path, symbols: tuple[str, ...], refused: str | None) -> None:
        """One request for all: it is refused whole; the books come before its answer."""
        if refused is not None:
            self._carry(path, self._dialect.refusal(refused))
            return
        path.symbols |= set(symbols)
        for symbol in symbols:
            self._send_whole(path, symbol)
        for text in self._dialect.answers(symbols):
            self._carry(path, text)

    def _send_whole(self, path: Path, symbol: str) -> None:
        market = self._markets[symbol]
        if market.sends_wholes:
            market.tick(self._clock.now_ns)
            self._send(path, market.whole())

    def _carry(self, path: Path, text: str) -> None:
        """A text that no fault befalls, behind what is under way."""
        frame = Frame(path.numbered(text.encode()))
        path.arrival_ns = max(path.arrival_ns, self._clock.now_ns)
        wait_ns = path.arrival_ns - self._clock.now_ns
        self._clock.after(wait_ns, lambda: self._arrive(path, [frame]))

    def on_acknowledged(self) -> None:
        self._open_answers -= 1
        if self._open_answers == 0:
            self.venue.on_acknowledged(self._clock.now_ns)

    def on_refused(self, reason: str) -> None:
        self._refusals += 1
        if self.paths:
            self._look_at_refusals(self.paths[0])

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
        if self.venue.protocol.rules.can_overlap:
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
            self._send(path, frame)
        if not listening:
            frame.market.gone_id = max(frame.market.gone_id, frame.last_id)

    def _send(self, path: Path, frame: Frame) -> None:
        rng, clock, market = self._rng, self._clock, frame.market
        assert market is not None
        frame = self._numbered(path, frame)
        path.newest[market.feed] = frame
        fault = self._strike(ON_FRAME)
        if frame.told is not None and frame.told.is_whole and fault in NEVER_OVERTAKEN:
            fault = ""
        if fault:
            clock.say("{}: {} strikes {}", self.venue.name, fault, frame.last_id)
        if fault in ("drop", "cut", "half-open", "stall"):
            if fault == "drop":
                market.went(frame, clock.now_ns, is_whole=False)
            self._break(path, fault)
            return
        sent = self._spoiled(path, frame, fault)
        delay_ns = rng.randrange(5, 60) * NS_PER_MS
        if fault == "reorder" and not path.held:  # what is held goes out first
            late = [*sent]
            # Until it arrives, and shows that it was missing, nobody can know.
            market.went(frame, clock.now_ns, is_whole=False)
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

    def _numbered(self, path: Path, frame: Frame) -> Frame:
        """The frame with its number on the connection, by which a book will name it."""
        raw = path.numbered(frame.raw)
        if raw is not frame.raw:
            assert frame.market is not None
            frame.market.own_ids[path.number - 1] = frame.last_id
        return replace(frame, raw=raw)

    def _spoiled(self, path: Path, frame: Frame, fault: str) -> list[Frame]:
        """What sets out in a frame's place."""
        market, wall_ns = frame.market, self._clock.wall_ns()
        assert market is not None
        if fault in ("truncate", "garbage", "flip", "reword", "nonsense"):
            return [damaged(frame, fault, self._rng)]
        if fault == "binary":
            return [Frame(b"\0", market, frame.last_id, must_be_refused=True, is_binary=True)]
        if fault == "duplicate":
            return [frame, frame]
        if fault == "same-time":
            return halves(frame)
        if fault == "future" and abs(wall_ns - self._clock.now_ns) < NS_PER_S:
            return [of_the_future(frame, FUTURE_S)]
        if fault in ("stranger", "notice"):
            return [*self._other_texts(path, fault), frame]
        if fault == "wrong-checksum":
            return [with_wrong_checksum(frame)]
        if fault == "misread":
            return [misread(frame)]
        if fault == "together":
            return [together(frame)]
        if fault in ("unasked", "unchanged"):
            more = market.whole() if fault == "unasked" else market.unchanged()
            return [frame, self._numbered(path, more)]
        if fault == "number-lost":
            path.number += 1
        return [frame]

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

    def _other_texts(self, path: Path, fault: str) -> list[Frame]:
        """A frame of a symbol nobody asked for, or the announcement of a shutdown; where none
        comes, the connection is near the venue's age limit."""
        text = self._dialect.notice if fault == "notice" else self._dialect.stranger()
        if not text:
            self.renew()
            return []
        return [Frame(path.numbered(text.encode()))]

    def _arrive(self, path: Path, batch: list[Frame]) -> None:
        """What one read of the socket brings; only the last frame of it publishes."""
        now_ns = self._clock.now_ns
        if not path.is_open:
            return
        for frame in batch:
            self._hand_over(frame, now_ns, int(frame is batch[-1]))

    def _hand_over(self, frame: Frame, now_ns: int, is_last: int) -> None:
        venue, market, status = self.venue, frame.market, S.OTHER
        feed = -1 if market is None else market.feed
        stood_at = 0 if market is None else venue.syncs[0]._engine.last_frame_id(feed)
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
        stands_at = sync._engine.last_frame_id(sync.feed)
        if stands_at not in (0, stood_at) and self._dialect.is_renumbered:
            self._note_id(market, stood_at, stands_at, frame.last_id)
        is_taken = status in S.UNFIT and market.own_id(stands_at) == frame.last_id
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

    def _note_id(self, market: Market, before: int, shown_id: int, own_id: int) -> None:
        """The engine has given a frame its number: a book that names it is the one it leads to.

        One that came late and changed nothing, as its checksum shows, leads to no other.
        """
        if self._dialect.is_connection_wide:
            return  # noted when it set out
        last = market.own_ids.get(before, 0)
        if last > own_id and market.books[last] == market.books[own_id]:
            own_id = last
        market.own_ids[shown_id] = own_id

    def _strike(self, occasions: tuple[str, ...]) -> str:
        fault = self._schedule.strike(occasions, self.venue.name, self._clock.now_ns)
        if fault and fault != "drop":
            self.disturbed_ns = self._clock.now_ns
        return fault
