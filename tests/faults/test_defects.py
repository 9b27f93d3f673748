"""The nine defects found in published aggregators, each a test with its number.

Where a venue or a subscriber is part of it the test runs against a daemon and simulated venues;
where only order and arithmetic are, against engine and book syncs driven by hand.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from bench.rig.venue_names import SYMBOLS
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.feed.book_sync import BookSync
from net.feed.venue_feeds import VenueFeeds
from net.gateway.book_messages import read_snapshot
from net.sockets.backoff import Backoff
from net.venues.binance.market_data import BINANCE
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1 import market_data_pb2_grpc as rpc
from tests.faults import patience
from tests.faults.rig import FRAME_S, FROZEN_S, MARGIN_S, RECOVER_S, SPEED, Lab, laboratory
from tests.net.rig import ASKS, BIDS, Desk, binance_diff, bitstamp_diff, snapshot

pytestmark = pytest.mark.timeout(60)

FRAMES_HZ = SPEED / 0.1 + 1 / FRAME_S
"""What both simulated venues send in a second, at the rig's speed."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("defects")) as running:
        running.until_live(20)
        yield running


def levels(book: pb.Book) -> tuple[object, ...]:
    return (
        tuple((level.venue, level.price_ticks, level.amount_lots) for level in book.bids),
        tuple((level.venue, level.price_ticks, level.amount_lots) for level in book.asks),
        tuple((venue.venue, venue.state, venue.incomplete) for venue in book.venues),
    )


def test_defect_1_the_first_event_may_straddle_the_snapshot(lab: Lab) -> None:
    """They demand U == lastUpdateId + 1, and freeze. The join point may lie inside an event."""
    lab.until_calm()
    before = lab.look()
    lab.inflict("snapshot-straddled", "gap")
    lab.until(
        lambda: lab.look().strikes("binance").get("snapshot-straddled", 0) > 0, 10, "the snapshot"
    )
    lab.until_live()
    asked = lab.look().count("snapshots_asked", "binance")
    assert asked - before.count("snapshots_asked", "binance") == 1, "joined at the first attempt"
    stood_at = lab.watcher.ids["binance"]
    lab.until(lambda: lab.watcher.ids["binance"] > stood_at, 2.0, "the id moves on")
    lab.assert_right()


def test_defect_2_gaps_are_seen_and_a_reconnect_leaves_no_ghost_levels(lab: Lab) -> None:
    """They accept any later u, and merge the new snapshot into the old book."""
    lab.until_calm()
    gaps = lab.look().count("gaps", "binance")
    lab.inflict("drop:binance")
    lab.until(lambda: lab.look().count("gaps", "binance") > gaps, 5, "the gap")
    lab.until_live()
    # The market moves on while nobody listens; every level of the old book must be gone then.
    for venue in SYMBOLS:
        lab.post("refuse?seconds=1", venue)
        lab.post("drop", venue)
    lab.until(lambda: "LIVE" not in lab.states.values(), 3, "both withdrawn")
    lab.until_live(1.0 + RECOVER_S)
    time.sleep(4 * FRAME_S)
    lab.assert_right()


def test_defect_3_a_subscriber_gets_each_book_once(lab: Lab) -> None:
    """They send the same book in a loop, tens of thousands of times a second."""
    lab.until_calm()
    started_s = time.monotonic()
    books = []
    with grpc.insecure_channel(lab.gateway) as channel:
        stub = rpc.MarketDataServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            for book in stub.StreamBook(pb.StreamBookRequest(), timeout=3):
                books.append(book)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    seconds = time.monotonic() - started_s
    assert 10 < len(books) <= 1.5 * FRAMES_HZ * seconds + 10
    for book, after in itertools.pairwise(books):
        assert after.sequence > book.sequence
        assert after.sequence > book.sequence + 1 or levels(after) != levels(book)


def test_defect_4_if_everything_stops_the_last_book_goes_too(lab: Lab) -> None:
    """Their eviction runs only when some book arrives."""
    lab.until_calm()
    lab.inflict("silence")
    limit_s = FROZEN_S + MARGIN_S
    lab.until(lambda: set(lab.states.values()) == {"STALE"}, limit_s, "both stale")
    with grpc.insecure_channel(lab.gateway) as channel:
        book = rpc.MarketDataServiceStub(channel).GetBook(pb.GetBookRequest(), timeout=5)
    assert not book.bids and not book.asks and not book.HasField("spread")
    lab.until_live(RECOVER_S + 2 * patience.STALE_AFTER_MS / 1000)
    lab.assert_right()


def test_defect_5_equal_prices_have_one_order() -> None:
    """Theirs is a hash map's. Ours: the larger amount, then the configuration's order."""
    desk = Desk()
    for name in ("bitstamp", "binance"):
        desk.go_live(name)
    assert desk.bids()[:2] == [("binance", 10000, 10**8), ("bitstamp", 10000, 10**8)]
    desk.frame("bitstamp", bitstamp_diff(101, [("100.00", "1.00000001")]))
    assert desk.bids()[:2] == [("bitstamp", 10000, 10**8 + 1), ("binance", 10000, 10**8)]
    desk.frame("binance", binance_diff(101, 101, [("100.00", "1.00000001")]))
    assert [row[0] for row in desk.bids()[:2]] == ["binance", "bitstamp"]


def test_defect_6_prices_far_away_are_kept() -> None:
    """Theirs is an array of five per cent around the first price; the rest is ignored."""
    desk = Desk(names=("binance",))
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100, BIDS, ASKS))
    far = [("0.01", "7"), ("50.00", "3")]
    desk.answer("binance", 100, [*BIDS, *reversed(far)], [*ASKS, ("900000.00", "5")])
    desk.frame("binance", binance_diff(101, 101, [("150.00", "2")], [("100.01", "0")]))
    desk.frame("binance", binance_diff(102, 102, [("100.00", "0"), ("99.99", "0")], []))
    desk.frame("binance", binance_diff(103, 103, [("150.00", "0")], [("100.02", "0")]))
    assert desk.bids() == [("binance", 5000, 3 * 10**8), ("binance", 1, 7 * 10**8)]
    assert desk.asks() == [("binance", 90_000_000, 5 * 10**8)]


def test_defect_7_subscribers_cost_the_venues_nothing_and_each_other_nothing(lab: Lab) -> None:
    """They connect to the exchange for each subscriber, and one slow reader stalls all."""
    lab.until_calm()
    before = lab.look()
    received = [0] * 8
    channels = [grpc.insecure_channel(lab.gateway) for _ in range(len(received) + 1)]
    # Reads nothing: the stream is open and its messages pile up wherever they can.
    lazy = rpc.MarketDataServiceStub(channels[-1]).StreamBook(pb.StreamBookRequest(), timeout=30)

    def read(index: int) -> None:
        stub = rpc.MarketDataServiceStub(channels[index])
        try:
            for _ in stub.StreamBook(pb.StreamBookRequest(), timeout=2.5):
                received[index] += 1
        except grpc.RpcError:
            pass

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(received))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lazy.cancel()  # type: ignore[no-untyped-call]
    for channel in channels:
        channel.close()
    after = lab.look()
    for venue in SYMBOLS:
        assert after.connections(venue) == before.connections(venue)
    assert after.requests("binance") == before.requests("binance")
    assert min(received) > 10 and min(received) > max(received) / 2, received
    lab.assert_right()


class _TwoPairs:
    """Two instruments on one Binance connection."""

    def __init__(self) -> None:
        symbols = ("BTCUSDT", "ETHUSDT")
        self.engine = Engine(
            tuple(
                InstrumentSpec(symbol, (FeedSpec("binance", BINANCE.rules, 0, symbol, "0.01"),))
                for symbol in symbols
            ),
            window_slots=1 << 12,
            far_levels_max=64,
        )
        self.syncs = tuple(
            BookSync(
                self.engine,
                feed,
                BINANCE,
                self,
                snapshot_depth=5,
                stale_after_ms=5000,
                late_after_ms=0,
                backoff=Backoff(random.Random(feed)),
            )
            for feed in range(2)
        )
        self.venue = VenueFeeds(self.engine, 0, BINANCE, self.syncs, self)
        self.venue.on_connecting(1)
        self.venue.on_subscribed(1)
        for feed, sync in enumerate(self.syncs):
            self.frame(feed, 95, 100)
            stage = Stage(4096)
            self.engine.stage(feed, snapshot("binance", 100, BIDS, ASKS), stage)
            sync.on_snapshot(sync.request.number, stage, 5, 1)

    def frame(self, feed: int, first: int, last: int) -> None:
        raw = binance_diff(first, last)
        if feed == 1:
            raw = raw.replace(b"BTCUSDT", b"ETHUSDT").replace(b"btcusdt", b"ethusdt")
        status = self.venue.handle(raw, 1, 1)
        if status != S.APPLIED:
            self.venue.on_status(status, lambda: raw, 1, 1)

    def states(self) -> list[str]:
        return [L.STATE_NAMES[sync.state] for sync in self.syncs]

    def _ignore(self, *_: object, **__: object) -> None:
        """Whatever book syncs and venues tell."""

    def wall_ns(self) -> int:
        return 1

    refused = fetch_snapshot = cancel_snapshot = note = note_venue = acknowledged = reconnect = (
        withdrawn
    ) = ask_tick_size = decode_large = _ignore


def test_defect_8_times_are_compared_to_the_microsecond() -> None:
    """They compare whole seconds, and take the snapshot after a fixed sleep."""
    desk = Desk(names=("bitstamp",))
    desk.connect("bitstamp")
    second = 1_700_000_000_000_000
    desk.frame("bitstamp", bitstamp_diff(second + 5, [("99.00", "1")]))
    assert desk.asked == ["bitstamp"], "asked for at once, behind the first buffered diff"
    desk.answer("bitstamp", second + 4)
    assert desk.state("bitstamp") != "LIVE", "older than the buffer, by a microsecond"
    desk.wait(1.0)
    desk.frame("bitstamp", bitstamp_diff(second + 6, [("98.00", "1")]))
    desk.answer("bitstamp", second + 6, [*BIDS, ("98.00", "1")])
    assert desk.state("bitstamp") == "LIVE"
    assert 9900 not in [row[1] for row in desk.bids()], "not applied again: gone by then"
    desk.frame("bitstamp", bitstamp_diff(second + 7, [("98.00", "8")]))
    assert ("bitstamp", 9800, 8 * 10**8) in desk.bids(), "same second, one microsecond later"


def test_defect_8_a_gap_on_one_pair_leaves_the_others_alone() -> None:
    """They reset all pairs."""
    desk = _TwoPairs()
    assert desk.states() == ["LIVE", "LIVE"]
    desk.frame(0, 150, 151)
    assert desk.states()[0] != "LIVE" and desk.states()[1] == "LIVE"


def test_defect_9_a_malformed_message_ends_nothing(lab: Lab) -> None:
    """Theirs ends the process."""
    lab.until_calm()
    before = lab.look()
    lab.inflict("garbagex2", "truncated-jsonx2", "wrong-typesx2")
    for venue in SYMBOLS:
        refused = before.count("refused_frames", venue) + 6
        lab.until(
            lambda venue=venue, refused=refused: (  # type: ignore[misc]
                lab.look().count("refused_frames", venue) >= refused
            ),
            10,
            "all refused",
        )
    lab.until_live()
    lab.assert_right()


def test_defect_9_a_short_or_empty_side_is_a_book_too() -> None:
    """They call fewer than ten levels an error, and an empty side a spread of 1.8e308."""
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100, [("99.00", "1")], []))
    desk.answer("binance", 100, [("99.00", "1")], [])
    for _ in range(90):  # at first the answer is doubted, which may lack a side by mistake
        desk.wait(1.0)
        if desk.syncs["binance"].is_asking:
            desk.answer("binance", 100, [("99.00", "1")], [])
        if desk.state("binance") == "LIVE":
            break
    assert desk.state("binance") == "LIVE"
    assert desk.bids() == [("binance", 9900, 10**8)] and desk.asks() == []
    assert read_snapshot(desk.reader.book, desk.reader.instruments[0]).spread_ticks is None
    desk.frame("binance", binance_diff(101, 101, [("99.00", "0")], []))
    assert desk.state("binance") == "LIVE" and desk.bids() == []
