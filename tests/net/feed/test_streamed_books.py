"""Venues whose whole books come in the stream: what the simulation's seeds have found, by hand."""

from __future__ import annotations

import random

import pytest

from engine.engine import Engine
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.config.schema import parse_config
from net.feed.book_sync import BookSync
from net.feed.engine_thread import EngineThread
from net.feed.events import FeedEvent
from net.feed.sync_limits import STEADY_NS, STREAM_SNAPSHOT_LIMIT_NS
from net.feed.venue_feeds import ONLY_ANEW, VenueFeeds
from net.sockets.backoff import Backoff
from net.venues.registry import VENUES
from tests.net.feed.test_subscriptions import Host
from tests.net.rig import SECOND, Desk
from tests.simulation.dialect import NUMBER, Dialect, Rows, Telling
from tests.simulation.stream_dialects import Bybit, Coinbase, Kraken

pytestmark = pytest.mark.kernel

BIDS: Rows = [("100", "1")]
ASKS: Rows = [("101", "1")]
LATE_AFTER_MS = 2000


class Stream(Desk):
    """Two markets of one venue, BTC-USD and ETH-USD, on one connection."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(names=("binance",))  # whose parts are replaced by these
        self.dialect = dialect
        self.protocol = VENUES[dialect.kind.name]
        self.number = 0
        names = ("BTC-USD", "ETH-USD")
        self.symbols = [dialect.symbol(name) for name in names]
        specs = [FeedSpec("v", self.protocol.rules, 0, each, "0.1") for each in self.symbols]
        self.engine = Engine(
            tuple(InstrumentSpec(n, (spec,)) for n, spec in zip(names, specs, strict=True)),
            window_slots=1 << 10,
            far_levels_max=64,
        )
        self.reader = self.engine.reader()
        both = tuple(
            BookSync(
                self.engine, feed, self.protocol, self, snapshot_depth=0, stale_after_ms=60_000,
                late_after_ms=LATE_AFTER_MS, backoff=Backoff(random.Random(feed)),
            )
            for feed in range(2)
        )  # fmt: skip
        self.syncs = dict(zip(names, both, strict=True))
        self.venue = VenueFeeds(self.engine, 0, self.protocol, both, self)
        self.venues = {"v": self.venue}

    def tell(
        self, market: int, last_id: int, *, is_whole: bool = False, late_s: float = 0.0,
        bids: Rows = BIDS, asks: Rows = ASKS,
    ) -> int:  # fmt: skip
        """A message of a market; the kernel's status."""
        now_ns = self.now_ns - int(late_s * SECOND)
        checksum = self.dialect.checksum(bids, asks)
        symbol = self.symbols[market]
        ids = (last_id, last_id, last_id - 1)
        told = Telling(symbol, bids, asks, *ids, now_ns, checksum, is_whole)
        text = self.dialect.text(told)
        self.number += NUMBER in text
        return self.frame("v", text.replace(NUMBER, str(self.number - 1)).encode())

    def begin(self) -> None:
        """Both markets are LIVE at 10."""
        self.connect("v")
        for market in range(2):
            self.tell(market, 10, is_whole=True)
        self.wait(0.1)  # the timer sets what frames may be late by
        assert self.states == ["LIVE", "LIVE"]

    @property
    def states(self) -> list[str]:
        return [L.STATE_NAMES[sync.state] for sync in self.syncs.values()]

    def was_live_since(self, sequence: int) -> bool:
        """Whether a book of the first market was published LIVE after this one."""
        newest = self.reader.sequence(0)
        at = L.SLOT_VENUES_AT + L.VENUE_STATE
        for each in range(sequence + 1, newest + 1):
            assert self.reader.read_exact(0, each) > 0
            if int(self.reader.book[at]) == L.LIVE:
                return True
        return False


@pytest.mark.parametrize("is_anew", [False, True])
def test_a_whole_book_that_comes_too_late_is_never_shown_as_live(is_anew: bool) -> None:
    """Seeds with Kraken: a whole book that was seconds late was LIVE until the timer looked."""
    stream = Stream(Bybit())
    stream.begin()
    if is_anew:
        stream.venue.break_off("a whim", stream.now_ns)
    before = stream.reader.sequence(0)
    stream.now_ns += SECOND
    assert stream.tell(0, 11, is_whole=True, late_s=5) in (S.SNAPSHOT, S.OUT_OF_TIME)
    assert stream.states[0] == "STALE" and not stream.was_live_since(before)
    assert stream.notes[-1][1] is FeedEvent.LATE
    stream.tell(0, 12, late_s=4)
    assert stream.states[0] == "STALE" and not stream.was_live_since(before)
    stream.tell(0, 13)
    assert stream.states[0] == "LIVE"


def test_a_whole_book_is_judged_by_its_time_where_the_one_before_was_late() -> None:
    """While a feed is late any frame's time passes: the whole book's own must count."""
    stream = Stream(Kraken())
    stream.begin()
    stream.tell(0, 0, late_s=5)
    assert stream.states[0] == "STALE"
    stream.now_ns += SECOND
    stream.tell(0, 0, is_whole=True)
    assert stream.states[0] == "LIVE"


@pytest.mark.parametrize("dialect", [Coinbase(), Bybit()], ids=["coinbase", "bybit"])
def test_another_server_has_time_to_bring_the_whole_book(dialect: Dialect) -> None:
    """Seeds with Coinbase at the venue's age limit: the fresh connection was dropped at once."""
    stream = Stream(dialect)
    stream.begin()
    stream.now_ns += STEADY_NS + SECOND
    for market in range(2):
        stream.tell(market, 11)
    stream.asked.clear()
    stream.venue.on_moved(stream.now_ns)
    stream.wait(STREAM_SNAPSHOT_LIMIT_NS / SECOND - 0.2)
    assert stream.asked == []
    stream.wait(0.5)
    assert stream.asked == ["v", "v"], "and no longer"


def test_a_frame_that_is_handed_over_twice_keeps_its_number_on_the_connection() -> None:
    """Seeds with Coinbase: one price of a finer grid withdrew every book of the connection."""
    stream = Stream(Coinbase())
    stream.begin()
    assert stream.tell(0, 11, bids=[("99.995", "1")]) == S.BAD_PRICE
    assert stream.states == ["BUFFERING", "LIVE"]
    assert stream.tell(1, 11) == S.APPLIED
    assert [sync.counters.gaps for sync in stream.syncs.values()] == [0, 0]


def test_a_late_frame_keeps_its_number_on_the_connection() -> None:
    stream = Stream(Coinbase())
    stream.begin()
    assert stream.tell(0, 11, late_s=5) == S.OUT_OF_TIME
    assert stream.states == ["STALE", "LIVE"]
    stream.number += 1
    assert stream.tell(1, 11) == S.GAP
    assert stream.states == ["BUFFERING", "BUFFERING"]


def test_who_was_refused_is_confirmed_by_an_answer_of_its_own_alone() -> None:
    """Seeds with Bybit: the answer to another market's resubscription was counted as the one that
    was missing, and the refused market was never asked for again."""
    stream = Stream(Bybit())
    stream.venue.on_connecting(stream.now_ns)
    stream.venue.on_subscribed(stream.now_ns)
    stream.venue.on_subscribing()
    stream.frame("v", stream.dialect.acknowledgement(stream.symbols[0]).encode())
    stream.venue.on_refused(stream.symbols[1], "refused", stream.now_ns)
    stream.frame("v", stream.dialect.acknowledgement(stream.symbols[0]).encode())
    stream.venue.on_acknowledged(stream.now_ns)  # as many answers have come as were open
    assert stream.venue.unacknowledged() == (stream.symbols[1],)
    stream.frame("v", stream.dialect.acknowledgement(stream.symbols[1]).encode())
    assert stream.venue.unacknowledged() == () and stream.states[1] == "BUFFERING"


@pytest.mark.parametrize(("reason", "after"), [(ONLY_ANEW, "LIVE"), ("cut", "BUFFERING")])
def test_a_connection_that_we_drop_for_its_whole_book_is_no_break_for_other_venues(
    reason: str, after: str
) -> None:
    """Seeds with two venues of Coinbase's kind and `resync_scope = "all"`: each one's new
    connection withdrew the other's book, which needed a new connection, for ever."""
    toml = '[engine]\nresync_scope = "all"\nidle = "backoff"\n[[instrument]]\nsymbol = "BTC-USD"\n'
    for name, symbol in (("coinbase", "BTC-USD"), ("bybit", "BTCUSDT")):
        toml += f'[[instrument.venue]]\nname = "{name}"\nsymbol = "{symbol}"\ntick_size = "0.1"\n'
    config = parse_config(toml, "test")
    specs = [
        FeedSpec(name, VENUES[name].rules, number, symbol, "0.1")
        for number, (name, symbol) in enumerate((("coinbase", "BTC-USD"), ("bybit", "BTCUSDT")))
    ]
    engine = Engine((InstrumentSpec("BTC-USD", tuple(specs)),), window_slots=1 << 10)
    thread = EngineThread(config, engine, Host(engine), seed=1)
    coinbase, bybit = thread.venues
    now_ns = thread.wall_ns()
    bybit.on_connecting(now_ns)
    bybit.on_subscribed(now_ns)
    told = Telling("BTCUSDT", BIDS, ASKS, 1, 1, 0, now_ns, is_whole=True)
    raw = Bybit().text(told).encode()
    status = bybit.handle(raw, now_ns, 1)
    bybit.on_status(status, lambda: raw, now_ns, 1)
    assert L.STATE_NAMES[bybit.syncs[0].state] == "LIVE"
    thread.lost(coinbase, reason)
    assert L.STATE_NAMES[bybit.syncs[0].state] == after
