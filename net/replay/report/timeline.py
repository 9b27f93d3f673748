"""What a replay came through, over the time of its tape: an observer that keeps bins, no books.

It reads what the engine has published and counted, so a run with it and one without have the same
digest. Its memory is bounded whatever the tape's length. Measured on the recorded BTCUSDT: 2 us a
line, where a line takes 5 without it, and 5 more than 13 where something is quoted.
Runs on: the main thread, within the replay's steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.compiling.atomics import Words
from engine.layout import layout as L
from engine.sharing.handoff import InstrumentInfo
from net.feed.book_sync import BookSync
from net.feed.events import FeedEvent
from net.replay.replay import Replay
from net.replay.report.bins import NONE, Bins

if TYPE_CHECKING:
    from net.replay.report.maker_track import MakerTrack

EVENTS_MAX = 200
"""Kept in full, the first ones; the others are counted."""
BADNESS = (L.LIVE, L.SYNCING, L.BUFFERING, L.CONNECTING, L.STALE, L.DISCONNECTED)
"""States by how much they say: a bin shows the worst it has seen."""
BADNESS_OF = tuple(BADNESS.index(state) for state in range(len(L.STATE_NAMES)))


@dataclass(frozen=True)
class Happening:
    """Something a book sync said, `after_ns` the tape's begin."""

    after_ns: int
    venue: str
    symbol: str
    what: str
    detail: str


class BookTrack:
    """One instrument's merged book. Prices are floats, for eyes only."""

    def __init__(self, bins: Bins, info: InstrumentInfo) -> None:
        self.symbol = info.symbol
        self.venues = info.venues
        self.bid, self.ask = bins.last(), bins.last()
        self.spread_low_bps, self.spread_high_bps = bins.lowest(), bins.highest()
        self.spread_bps, self.crossed = bins.last(), bins.highest()
        """Infinite where a side is empty; whether any of a bin's books was crossed, 0 or 1."""
        self.badness_last = [bins.last() for _ in info.venues]
        self.badness_worst = [bins.highest() for _ in info.venues]
        self.resyncs = [bins.total() for _ in info.venues]
        self.books = 0
        self.two_sided_ns = self.crossed_ns = 0
        """How long it had both sides, and how long of that the bid was at or above the ask."""
        self._info = info
        self._bins = bins
        self._since_ns = 0
        self._is_two_sided = self._is_crossed = False

    def take(self, bin_: int, book: Words, now_ns: int) -> None:
        """One more book."""
        self.books += 1
        self.close(now_ns)
        info = self._info.counted_as(book)
        unit, bid, ask = info.tick_mantissa * 10.0**-info.tick_decimals, 0, 0
        if book[L.SLOT_BIDS]:
            bid = int(book[L.SLOT_BIDS_AT + L.LEVEL_PRICE])
        if book[L.SLOT_ASKS]:
            ask = int(book[L.SLOT_ASKS_AT + L.LEVEL_PRICE])
        self._is_two_sided = bool(bid and ask)
        self._is_crossed = bool(book[L.SLOT_FLAGS] & L.FLAG_CROSSED)
        self.bid.values[bin_] = bid * unit if bid else NONE
        self.ask.values[bin_] = ask * unit if ask else NONE
        self.crossed.add(bin_, self._is_crossed)
        self.spread_bps.values[bin_] = math.inf
        if self._is_two_sided:
            spread_bps = 2e4 * (ask - bid) / (ask + bid)
            self.spread_low_bps.add(bin_, spread_bps)
            self.spread_high_bps.add(bin_, spread_bps)
            self.spread_bps.values[bin_] = spread_bps
        for venue in range(len(self.venues)):
            at = L.SLOT_VENUES_AT + venue * L.VENUE_WORDS + L.VENUE_STATE
            badness = BADNESS_OF[int(book[at])]
            self.badness_last[venue].values[bin_] = badness
            # At a tape's first moment its venues are only being connected: no news.
            if now_ns > self._bins.start_ns:
                self.badness_worst[venue].add(bin_, badness)

    def close(self, now_ns: int) -> None:
        """Count the time since the last book, which stood until now."""
        if self._is_two_sided:
            self.two_sided_ns += now_ns - self._since_ns
            self.crossed_ns += self._is_crossed * (now_ns - self._since_ns)
        self._since_ns = now_ns


class VenueTrack:
    """One venue's stream: all of its feeds together."""

    def __init__(self, bins: Bins) -> None:
        self.frames = bins.total()
        self.lags_ns = bins.lags()


class Timeline:
    """Watches a run from its begin; `end` once it is through."""

    def __init__(self, run: Replay) -> None:
        self.bins = Bins()
        self.books = [BookTrack(self.bins, info) for info in run.reader.instruments]
        self.venues = {name: VenueTrack(self.bins) for name in run.venues}
        self.maker = self._watch_maker(run)
        self.happenings: list[Happening] = []
        self.happenings_left_out = 0
        self._run = run
        self._streams = [self.venues[feed.venue] for feed in run.engine.feeds]
        self._resyncs = [series for track in self.books for series in track.resyncs]
        run.observer = self

    def _watch_maker(self, run: Replay) -> MakerTrack | None:
        if run.maker is None:
            return None
        from net.replay.report.maker_track import MakerTrack

        track = MakerTrack(self.bins, run.maker)
        run.decisions.watch = track.take
        return track

    def end(self) -> None:
        """The tape is over: what stood last stood until its last line."""
        if self._run.summary.last_ns:
            self.bins.at(self._run.summary.last_ns)
        for track in self.books:
            track.close(self._run.summary.last_ns)

    def on_frame(self, now_ns: int, receive_ns: int) -> None:
        bin_ = self.bins.at(now_ns)
        engine = self._run.engine
        feed = engine.last_feed
        if feed < 0:
            return
        track = self._streams[feed]
        track.frames.values[bin_] += 1
        venue_ns = engine.venue_ns(feed)
        # A frame that was refused has left the times of the one before.
        if venue_ns and engine.receive_ns(feed) == receive_ns:
            track.lags_ns[bin_].add(receive_ns - venue_ns)

    def on_book(self, index: int, now_ns: int) -> None:
        self.books[index].take(self.bins.at(now_ns), self._run.reader.book, now_ns)

    def on_note(
        self, sync: BookSync, event: FeedEvent, facts: Mapping[str, object], now_ns: int
    ) -> None:
        bin_ = self.bins.at(now_ns)
        if event is FeedEvent.BROKEN:
            self._resyncs[sync.feed].values[bin_] += 1
        if len(self.happenings) == EVENTS_MAX:
            self.happenings_left_out += 1
            return
        changed = [f"{facts['before']} to {facts['after']}"] if "before" in facts else []
        others = [f"{k} {v}" for k, v in facts.items() if k not in ("before", "after")]
        detail = ", ".join((*changed, *others))
        after_ns, spec = now_ns - self.bins.start_ns, sync.spec
        self.happenings.append(Happening(after_ns, spec.venue, spec.symbol, event.text, detail))

    def on_timer(self, now_ns: int) -> None:
        bin_ = self.bins.at(now_ns)
        if self.maker is not None:
            self.maker.look(bin_)
