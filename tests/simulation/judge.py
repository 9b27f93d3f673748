"""Every book that was published, against the oracle's merge of the venues' true books.

A published book names, for each venue, its state and the id its levels stand at: so the truth at
that id is known, and what is not LIVE contributes nothing. Two things are allowed, both bounded: a
book made of an unnoticeable loss is wrong until the next audit, and a cut snapshot leaves levels
unknown below its horizon.
Runs on: the tests' thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import zip_longest

from engine.engine import Engine, Stage
from engine.layout import layout as L
from net.feed.snapshot_request import ANSWER_LIMIT_NS
from net.feed.sync_limits import REACH_LIMIT_NS
from tests import oracle
from tests.simulation.market import AMOUNT_DECIMALS, Market, Side

NS_PER_S = 1_000_000_000
BACKOFF_LIMIT_NS = 30 * NS_PER_S
SLACK_NS = 10 * NS_PER_S
"""Frames, timers and answers take their time: a few seconds, all together."""

DRIFT_NS = NS_PER_S // 10
"""The best lag that a feed has shown is forgotten slowly, and venues tell milliseconds."""

Shown = list[tuple[int, int, int]]
OFF_GRID = -1
"""A price that no market has."""


class WrongBookError(AssertionError):
    """What was published is not what is true."""


class WatchedEngine(Engine):
    """The engine; it only remembers what its books were made of."""

    markets: Sequence[Market] = ()
    bases: dict[int, tuple[int, int]]
    """The snapshots that the last two books of a feed began with."""

    def load(self, feed: int, stage: Stage, levels_limit: int) -> int:
        self._loaded_id = stage.last_id
        return super().load(feed, stage, levels_limit)

    def activate(self, feed: int, now_ns: int, state: int = L.LIVE) -> None:
        self.bases[feed] = (self.bases.get(feed, (0, 0))[1], self._loaded_id)
        super().activate(feed, now_ns, state)

    def restart_stream(self, feed: int) -> None:
        self.markets[feed].heard_id = 0
        super().restart_stream(feed)

    def set_state(self, feed: int, state: int, now_ns: int) -> None:
        if state in (L.DISCONNECTED, L.CONNECTING):
            self.markets[feed].heard_id = 0
        super().set_state(feed, state, now_ns)

    def horizon(self, feed: int, is_asks: int) -> int:
        """The better horizon of both books, as a key: below it a book may know only a part."""
        side_words = int(self.arena[L.ENGINE_SIDE_WORDS])
        sides = self._feed_at(feed) + L.FEED_BOOKS_AT + is_asks * side_words
        return max(
            int(self.arena[sides + 2 * book * side_words + L.SIDE_HORIZON]) for book in (0, 1)
        )


class Judge:
    """Looks after every step; raises WrongBookError."""

    def __init__(
        self, engine: WatchedEngine, stale_after_ns: int, late_after_ns: int, timer_ns: int
    ) -> None:
        self.books = 0
        self.wrong: dict[int, int] = {}
        """Feeds whose book is wrong with an excuse, and since when that may be."""
        self._engine = engine
        self._reader = engine.reader()
        self._stale_ns = stale_after_ns + 2 * timer_ns
        self._late_ns = late_after_ns + DRIFT_NS
        self._heard_elsewhere_ns: dict[int, int] = {}
        self._found = "an id where the venue never was"
        self._seen = [0] * len(engine.instruments)
        self._feeds: list[list[int]] = []
        self._ids: list[list[int]] = []
        self._live_since_ns = [0] * len(engine.feeds)
        first = 0
        for each in engine.instruments:
            self._feeds.append(list(range(first, first + len(each.feeds))))
            self._ids.append([])
            first += len(each.feeds)

    def look(self, now_ns: int) -> None:
        """Everything published since the last look, and what stands there now."""
        for index, feeds in enumerate(self._feeds):
            newest = self._reader.sequence(index)
            ids = [self._engine.book_id(feed) for feed in feeds]
            if newest != self._seen[index] or ids != self._ids[index]:
                while self._seen[index] < newest:
                    self._seen[index] += 1
                    assert self._reader.read_exact(index, self._seen[index]) > 0
                    self.books += 1
                    self._judge(index, [])
                # A frame that changed nothing in sight is not published, but moved the book on.
                assert self._reader.read(index) == newest
                self._judge(index, ids, now_ns)
                self._ids[index] = ids
        for market in self._engine.markets:
            self._check_life(market, now_ns)

    # --- one book --------------------------------------------------------------------------------

    def _judge(self, index: int, ids: list[int], now_ns: int = 0) -> None:
        """The book in the reader's buffer, as one that stands at these ids (or those it names)."""
        words: list[int] = self._reader.book[: L.SLOT_BIDS_AT].tolist()
        feeds = self._feeds[index]
        venues = [L.SLOT_VENUES_AT + place * L.VENUE_WORDS for place in range(len(feeds))]
        self._states = [words[at + L.VENUE_STATE] for at in venues]
        self._flags = [words[at + L.VENUE_FLAGS] for at in venues]
        shown = ids or [words[at + L.VENUE_UPDATE_ID] for at in venues]
        markets = self._engine.markets
        ids = [markets[feed].own_id(each) for feed, each in zip(feeds, shown, strict=True)]
        guilty: set[int] = set()
        for place, feed in enumerate(feeds):
            if now_ns:
                self.wrong.pop(feed, None)
            is_live = self._states[place] == L.LIVE
            if is_live and ids[place] not in self._engine.markets[feed].books:
                guilty.add(feed)
        for is_asks in (0, 1):
            levels = self._shown(is_asks, self._engine.markets[feeds[0]].unit)
            sides = [
                self._side(feeds[place], place, ids[place], is_asks, levels)
                for place in range(len(feeds))
            ]
            depth = self._engine.instruments[index].depth
            wanted = oracle.merge_side(sides, depth, is_asks)
            if levels != wanted:
                guilty |= self._guilty(feeds, sides, levels, is_asks, depth) or set(feeds)
                self._found = _first_difference(levels, wanted)
        for feed in guilty:
            self._excuse(feed, ids[feeds.index(feed)], self._states[feeds.index(feed)])

    def _shown(self, is_asks: int, unit: Decimal) -> Shown:
        """A side of the book in the reader's buffer, in the units of its markets."""
        book = self._reader.book
        count = int(book[L.SLOT_ASKS if is_asks else L.SLOT_BIDS])
        at = L.SLOT_ASKS_AT if is_asks else L.SLOT_BIDS_AT
        words = book[at : at + count * L.LEVEL_WORDS].tolist()
        mantissa, decimals, lot_decimals = (
            int(word) for word in book[L.SLOT_TICK_MANTISSA : L.SLOT_LOT_DECIMALS + 1]
        )
        tick = Fraction(mantissa, 10**decimals) / Fraction(unit)
        lots = 10 ** (AMOUNT_DECIMALS - lot_decimals)
        levels = zip(words[0::3], words[1::3], words[2::3], strict=True)
        return [(in_units(price * tick), amount * lots, venue) for price, amount, venue in levels]

    def _side(self, feed: int, place: int, book_id: int, is_asks: int, shown: Shown) -> Side | None:
        """What a venue should contribute; None if nothing, as it is not LIVE."""
        if self._states[place] != L.LIVE:
            return None
        market = self._engine.markets[feed]
        true = market.books.get(book_id, ({}, {}))[is_asks]
        if not self._flags[place]:
            return true
        horizon, sign = self._engine.horizon(feed, is_asks), -1 if is_asks else 1
        if horizon == L.NO_KEY:  # of a book that was withdrawn since, in the same moment
            return {price: lots for price, lots, venue in shown if venue == place}
        mantissa, decimals = self._engine.units(feed).price
        horizon_units = horizon * Fraction(mantissa, 10**decimals) / Fraction(market.unit)
        known = {p: q for p, q in true.items() if sign * p > horizon_units}
        part = {price: lots for price, lots, venue in shown if venue == place}
        return known | {p: q for p, q in part.items() if true.get(p) == q}

    def _guilty(
        self, feeds: list[int], sides: Sequence[Side | None], shown: Shown, is_asks: int, depth: int
    ) -> set[int]:
        """Who shows a level that its true book does not have, or lacks one in the midst."""
        sign = -1 if is_asks else 1
        worst = (L.NO_KEY, 0, 0)
        if len(shown) == depth:
            price, amount, venue = shown[-1]
            worst = (sign * price, amount, -venue)
        guilty = set()
        for place, (feed, side) in enumerate(zip(feeds, sides, strict=True)):
            part = {(price, lots) for price, lots, venue in shown if venue == place}
            true = set((side or {}).items())
            due = {row for row in true if (sign * row[0], row[1], -place) > worst}
            if not part <= true or not due <= part:
                guilty.add(feed)
        return guilty

    def _excuse(self, feed: int, book_id: int, state: int) -> None:
        market = self._engine.markets[feed]
        since_ns = 0
        for base in reversed(self._engine.bases.get(feed, ())):
            since_ns = since_ns or market.excuse_ns(base, book_id)
        if not since_ns or state != L.LIVE:
            name = f"{market.spec.venue} {market.spec.symbol}"
            raise WrongBookError(f"{name}, {L.STATE_NAMES[state]} at {book_id}: {self._found}")
        self.wrong.setdefault(feed, since_ns)

    # --- in time ---------------------------------------------------------------------------------

    def _check_life(self, market: Market, now_ns: int) -> None:
        """A LIVE book stands at the newest diff, and was not silent for too long."""
        feed, name = market.feed, f"{market.spec.venue} {market.spec.symbol}"
        if self._engine.state(feed) != L.LIVE:
            self._live_since_ns[feed] = 0
            self.wrong.pop(feed, None)
            return
        self._live_since_ns[feed] = self._live_since_ns[feed] or now_ns
        book_id = market.own_id(self._engine.book_id(feed))
        if book_id < market.heard_id:
            raise WrongBookError(f"{name} is LIVE at {book_id}, and heard {market.heard_id}")
        if now_ns - max(market.heard_ns, self._live_since_ns[feed]) > self._stale_ns:
            raise WrongBookError(f"{name} is LIVE after {self._stale_ns} ns without data")
        late_ns = market.lag_ns - market.best_lag_ns
        if late_ns > self._late_ns:
            raise WrongBookError(f"{name} is LIVE with a frame that is {late_ns} ns late")

    def check_excuses(self, market: Market, disturbed_ns: int, now_ns: int, audit_s: int) -> None:
        """A wrong book is found by the next audit, if nothing disturbs that."""
        since_ns = self.wrong.get(market.feed, 0)
        limit_ns = audit_s * NS_PER_S + SLACK_NS
        if disturbed_ns:
            limit_ns += ANSWER_LIMIT_NS + BACKOFF_LIMIT_NS
        base = self._engine.bases.get(market.feed, (0, 0))[1]
        if base in market.forged and 0 < market.heard_id < base:
            # The stream is far from there, and tells so as soon as it says anything.
            since_ns = max(since_ns, self._heard_elsewhere_ns.setdefault(market.feed, now_ns))
            limit_ns = REACH_LIMIT_NS + SLACK_NS
        else:
            self._heard_elsewhere_ns.pop(market.feed, None)
        # While it was not shown nobody had to ask; once it is again, somebody must.
        since_ns = max(since_ns, self._live_since_ns[market.feed]) if since_ns else 0
        if since_ns and now_ns - max(since_ns, disturbed_ns) > limit_ns:
            raise WrongBookError(
                f"{market.spec.venue} {market.spec.symbol} has been wrong since {since_ns}"
            )


def in_units(price: Fraction) -> int:
    """A price in the markets' units; OFF_GRID for one that is between two of them.

    Only another market's book has such prices, taken for this one's: it is wrong whatever it says.
    """
    return price.numerator if price.denominator == 1 else OFF_GRID


def _first_difference(shown: Shown, wanted: Shown) -> str:
    """Where two merged sides part, for people."""
    for at, (one, other) in enumerate(zip_longest(shown, wanted)):
        if one != other:
            return f"level {at} is {one}, in truth {other}, of {len(wanted)}"
    return "equal"
