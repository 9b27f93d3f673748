"""An engine under test: frames in as bytes, published books and raw sides out as Decimals.

`Rig` drives only the public Engine API. `read_side` and `check_side` look into the arena by the
layout file: every structural invariant of a ladder is asserted there.
Runs on: the tests' thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import orjson

from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.sharing.meters import Series
from engine.specs import FeedSpec, InstrumentSpec
from net.venues.binance.market_data import BINANCE
from net.venues.bitstamp.market_data import BITSTAMP
from tests import oracle

Pair = tuple[str, str]

LOT = Decimal(1).scaleb(-L.LOT_DECIMALS)


@dataclass(frozen=True)
class Published:
    """One merged book as a reader sees it."""

    sequence: int
    bids: oracle.Merged
    asks: oracle.Merged
    is_crossed: bool
    trigger_venue: int
    receive_ns: int
    venue_ns: int
    publish_ns: int
    states: tuple[int, ...]
    update_ids: tuple[int, ...]
    incomplete: tuple[bool, ...]


def binance_frame(
    first_id: int,
    last_id: int,
    bids: Iterable[Pair] = (),
    asks: Iterable[Pair] = (),
    *,
    symbol: str = "BTCUSDT",
    time_ms: int = 1_723_161_255_208,
) -> bytes:
    """A depthUpdate in a combined stream's envelope, as Binance writes it."""
    data = {"e": "depthUpdate", "E": time_ms, "s": symbol, "U": first_id, "u": last_id}
    levels = {"b": list(bids), "a": list(asks)}
    stream = f"{symbol.lower()}@depth@100ms"
    return orjson.dumps({"stream": stream, "data": data | levels})


def bitstamp_frame(
    microtimestamp: int,
    bids: Iterable[Pair] = (),
    asks: Iterable[Pair] = (),
    *,
    pair: str = "btcusd",
) -> bytes:
    """A diff_order_book frame, as Bitstamp writes it."""
    stamps = {
        "timestamp": str(microtimestamp // 10**6),
        "microtimestamp": str(microtimestamp),
    }
    data = stamps | {"bids": list(bids), "asks": list(asks)}
    channel = f"diff_order_book_{pair}"
    return orjson.dumps({"data": data, "channel": channel, "event": "data"})


def binance_snapshot(last_id: int, bids: Iterable[Pair] = (), asks: Iterable[Pair] = ()) -> bytes:
    """The answer to /api/v3/depth."""
    return orjson.dumps({"lastUpdateId": last_id, "bids": list(bids), "asks": list(asks)})


def bitstamp_snapshot(
    microtimestamp: int, bids: Iterable[Pair] = (), asks: Iterable[Pair] = ()
) -> bytes:
    """The answer to /api/v2/order_book/."""
    body = {"microtimestamp": str(microtimestamp), "bids": list(bids), "asks": list(asks)}
    return orjson.dumps({"timestamp": str(microtimestamp // 10**6)} | body)


def binance_spec(
    symbol: str = "BTCUSDT", tick: str = "0.01", *, connection: int = 0, venue: str = "binance"
) -> FeedSpec:
    return FeedSpec(venue, BINANCE.rules, connection, symbol, tick)


def bitstamp_spec(
    symbol: str = "btcusd", tick: str = "0.01", *, connection: int = 1, venue: str = "bitstamp"
) -> FeedSpec:
    return FeedSpec(venue, BITSTAMP.rules, connection, symbol, tick)


class Rig:
    """One engine; every feed is driven by its number."""

    def __init__(
        self,
        *instruments: InstrumentSpec,
        window_slots: int = 1 << 12,
        far_levels_max: int = 1 << 13,
        handoff_name: str = "",
        reads_clock: bool = False,
    ) -> None:
        self.engine = Engine(
            instruments,
            handoff_name=handoff_name,
            reads_clock=reads_clock,
            window_slots=window_slots,
            far_levels_max=far_levels_max,
        )
        self.instruments = instruments
        self.reader = self.engine.reader()
        self.meters = self.engine.meters.reader()
        self.stage = Stage()
        self._clock_ns = itertools.count(1_000, 1_000)
        connections = {spec.connection for spec in self.engine.feeds}
        self._handlers = {each: self.engine.frame_handler(each) for each in connections}

    @classmethod
    def single(
        cls, spec: FeedSpec, *, depth: int = 10, window_slots: int = 64, far_levels_max: int = 1024
    ) -> Rig:
        """One instrument of one venue, with small books."""
        return cls(
            InstrumentSpec("BTC-USD", (spec,), depth),
            window_slots=window_slots,
            far_levels_max=far_levels_max,
        )

    # --- driving ---------------------------------------------------------------------------------

    def feed(
        self, raw: bytes, feed: int = 0, *, is_last: bool = True, receive_ns: int | None = None
    ) -> int:
        """One frame on the connection of a feed; the status."""
        spec = self.engine.feeds[feed]
        now = next(self._clock_ns) if receive_ns is None else receive_ns
        handle = self._handlers[spec.connection]
        return handle(raw, now, int(is_last))

    def load(self, body: bytes, feed: int = 0, *, levels_limit: int = 0) -> None:
        """A snapshot into the feed's spare book."""
        status = self.engine.stage(feed, body, self.stage)
        assert status == S.APPLIED, S.TEXTS[status]
        self.engine.load(feed, self.stage, levels_limit)

    def start(
        self,
        body: bytes,
        frames: Iterable[bytes] = (),
        feed: int = 0,
        *,
        levels_limit: int = 0,
    ) -> list[int]:
        """Snapshot, buffered frames, live: the statuses of the buffered frames."""
        self.load(body, feed, levels_limit=levels_limit)
        statuses = [self.engine.replay(feed, frame) for frame in frames]
        self.engine.activate(feed, next(self._clock_ns))
        return statuses

    def set_state(self, state: int, feed: int = 0) -> None:
        self.engine.set_state(feed, state, next(self._clock_ns))

    # --- looking ---------------------------------------------------------------------------------

    def sequence(self, instrument: int = 0) -> int:
        return self.reader.sequence(instrument)

    def published(self, instrument: int = 0) -> Published:
        """The latest merged book, its integers made Decimals again."""
        sequence = self.reader.read(instrument)
        assert sequence > 0, f"nothing to read: {sequence}"
        spec = self.instruments[instrument]
        words: list[int] = self.reader.book.tolist()
        tick = self.reader.instruments[instrument].tick_size
        assert words[L.SLOT_VERSION] == 2 * sequence
        assert words[L.SLOT_SEQUENCE] == sequence
        venues = [L.SLOT_VENUES_AT + v * L.VENUE_WORDS for v in range(len(spec.feeds))]
        return Published(
            sequence=sequence,
            bids=_levels(words, L.SLOT_BIDS_AT, words[L.SLOT_BIDS], tick),
            asks=_levels(words, L.SLOT_ASKS_AT, words[L.SLOT_ASKS], tick),
            is_crossed=bool(words[L.SLOT_FLAGS] & L.FLAG_CROSSED),
            trigger_venue=words[L.SLOT_TRIGGER_VENUE],
            receive_ns=words[L.SLOT_RECEIVE_NS],
            venue_ns=words[L.SLOT_VENUE_NS],
            publish_ns=words[L.SLOT_PUBLISH_NS],
            states=tuple(words[at + L.VENUE_STATE] for at in venues),
            update_ids=tuple(words[at + L.VENUE_UPDATE_ID] for at in venues),
            incomplete=tuple(bool(words[at + L.VENUE_FLAGS]) for at in venues),
        )

    def staged(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The rows the last frame left in the engine's stage, as (ticks, lots)."""
        words = self.engine._stage.words
        sides = []
        for is_asks, count_at in enumerate((L.STAGE_BIDS, L.STAGE_ASKS)):
            start = L.STAGE_ROWS_AT + is_asks * L.FRAME_LEVELS_MAX * L.ROW_WORDS
            count = int(words[count_at])
            rows = words[start : start + count * L.ROW_WORDS].reshape(count, L.ROW_WORDS)
            sides.append([(int(row[L.ROW_PRICE]), int(row[L.ROW_LOTS])) for row in rows])
        return sides[0], sides[1]

    def active_book(self, feed: int = 0) -> int:
        return int(self.engine.arena[self.feed_at(feed) + L.FEED_ACTIVE_BOOK])

    def feed_at(self, feed: int) -> int:
        arena = self.engine.arena
        return int(arena[L.ENGINE_FEEDS_OFFSET] + feed * arena[L.ENGINE_FEED_WORDS])

    def series(self, name: str, **labels: str) -> Series:
        """The one series of this name that has these labels."""
        (found,) = [
            each
            for each in self.meters.series
            if each.name == name and each.labels.items() >= labels.items()
        ]
        return found

    def meter(self, name: str, **labels: str) -> int:
        """A counter or gauge of the engine's, as any reader finds it."""
        return self.meters.value(self.series(name, **labels))

    def side_meter(self, feed: int, is_asks: int, place: int) -> int:
        """What a feed has counted on one side, in both of its books."""
        at = self.engine.meters.feed_at[feed] + M.FEED_SIDES_AT + is_asks * M.SIDE_WORDS
        return int(self.engine.meters.words[at + place])

    def levels(self, is_asks: int, feed: int = 0, book: int | None = None) -> dict[int, int]:
        """Every level of one side, {price in the venue's ticks: lots}, wherever it is kept."""
        side = read_side(self, feed, self.active_book(feed) if book is None else book, is_asks)
        sign = -1 if is_asks else 1
        return {sign * key: lots for key, lots in side.levels.items()}

    def book(self, feed: int = 0) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
        """The whole active book, in the oracle's form."""
        tick = Decimal(self.engine.feeds[feed].tick_size)
        sides = [
            {price * tick: lots * LOT for price, lots in self.levels(is_asks, feed).items()}
            for is_asks in range(2)
        ]
        return sides[0], sides[1]

    def check(self, feed: int = 0) -> None:
        """Every invariant of both sides of both books of a feed."""
        for book, is_asks in itertools.product(range(2), range(2)):
            check_side(self, feed, book, is_asks)


def _levels(words: list[int], start: int, count: int, tick: Decimal) -> oracle.Merged:
    return [
        (words[at] * tick, words[at + L.LEVEL_LOTS] * LOT, words[at + L.LEVEL_VENUE])
        for at in range(start, start + count * L.LEVEL_WORDS, L.LEVEL_WORDS)
    ]


# --- inside a side -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One side of one book, read by the layout: keys are prices times the side's sign.

    `far_entries` holds deleted levels too, with zero lots; `far` only those that exist.
    """

    window_low: int
    best: int
    window: dict[int, int]
    far: list[tuple[int, int]]
    far_entries: list[tuple[int, int]]
    far_deleted: int
    horizon: int
    far_dropped: int
    top: list[tuple[int, int]]
    is_top_stale: bool
    window_levels: int
    bitmap: list[int]
    summary: list[int]
    slots: int

    @property
    def levels(self) -> dict[int, int]:
        return self.window | dict(self.far)


def read_side(rig: Rig, feed: int, book: int, is_asks: int) -> Side:
    """Read one side out of the arena."""
    arena = rig.engine.arena
    far_max = int(arena[L.ENGINE_FAR_MAX])
    size = int(arena[L.ENGINE_SIDE_WORDS])
    start = rig.feed_at(feed) + L.FEED_BOOKS_AT + (2 * book + is_asks) * size
    words = arena[start : start + size]
    slots = int(words[L.SIDE_WINDOW_SLOTS])
    bitmap_at = L.SIDE_SUMMARY_AT + -(-slots // 512)
    lots_at = bitmap_at + slots // 64
    lots = words[lots_at : lots_at + slots]
    low = int(words[L.SIDE_WINDOW_LOW])
    occupied = np.flatnonzero(lots).tolist()
    far_at = int(arena[L.ENGINE_FAR_AT])
    far_count = int(words[L.SIDE_FAR_LEVELS])
    far_keys = words[far_at : far_at + far_count].tolist()
    far_lots = words[far_at + far_max : far_at + far_max + far_count].tolist()
    top_count = int(words[L.SIDE_TOP_LEVELS])
    top_keys = words[L.SIDE_TOP_KEYS_AT : L.SIDE_TOP_KEYS_AT + top_count].tolist()
    top_lots = words[L.SIDE_TOP_LOTS_AT : L.SIDE_TOP_LOTS_AT + top_count].tolist()
    return Side(
        window_low=low,
        best=int(words[L.SIDE_BEST]),
        window={low + ((slot - low) & (slots - 1)): int(lots[slot]) for slot in occupied},
        far=[(key, lots) for key, lots in zip(far_keys, far_lots, strict=True) if lots],
        far_entries=list(zip(far_keys, far_lots, strict=True)),
        far_deleted=int(words[L.SIDE_FAR_DELETED]),
        horizon=int(words[L.SIDE_HORIZON]),
        far_dropped=rig.side_meter(feed, is_asks, M.SIDE_FAR_DROPPED),
        top=list(zip(top_keys, top_lots, strict=True)),
        is_top_stale=bool(words[L.SIDE_TOP_IS_STALE]),
        window_levels=int(words[L.SIDE_WINDOW_LEVELS]),
        bitmap=words[bitmap_at:lots_at].tolist(),
        summary=words[L.SIDE_SUMMARY_AT : bitmap_at].view(np.uint8).tolist(),
        slots=slots,
    )


def _bits(word: int) -> set[int]:
    bits = bin(word & (2**64 - 1))[:1:-1]
    return {place for place, bit in enumerate(bits) if bit == "1"}


def check_side(rig: Rig, feed: int, book: int, is_asks: int) -> None:
    """Assert every structural invariant of one side."""
    side = read_side(rig, feed, book, is_asks)
    where = f"feed {feed} book {book} {'asks' if is_asks else 'bids'}"
    slots_used = {key & (side.slots - 1) for key in side.window}
    assert slots_used == {
        word * 64 + bit for word, bits in enumerate(side.bitmap) for bit in _bits(bits)
    }, f"{where}: the bitmap and the slots disagree"
    used = [1 if bits else 0 for bits in side.bitmap]
    padding = [0] * (len(side.summary) - len(used))
    assert side.summary == used + padding, f"{where}: the summary and the bitmap disagree"
    assert side.window_levels == len(side.window), f"{where}: the count is wrong"
    assert all(lots > 0 for lots in side.window.values()), f"{where}: lots below zero"
    if side.window:
        assert side.best == max(side.window), f"{where}: the best is wrong"
    else:
        assert not side.far, f"{where}: levels in the far store and none in the window"
        assert side.best == L.NO_KEY, f"{where}: a best level in an empty book"
    far_keys = [key for key, _ in side.far_entries]
    far_lots = [lots for _, lots in side.far_entries]
    assert far_keys == sorted(set(far_keys)), f"{where}: the far store is out of order"
    assert all(key < side.window_low for key in far_keys), f"{where}: far inside the window"
    assert all(lots >= 0 for lots in far_lots), f"{where}: far lots below zero"
    assert side.far_deleted == far_lots.count(0), f"{where}: the deleted are miscounted"
    assert far_lots[-1:] != [0], f"{where}: the best far entry is a deleted one"
    assert len(far_keys) <= int(rig.engine.arena[L.ENGINE_FAR_MAX]), f"{where}: far overrun"
    if not side.is_top_stale:
        ordered = sorted(side.levels.items(), reverse=True)
        assert side.top == ordered[: len(side.top)], f"{where}: the top arrays are wrong"
        instrument = int(rig.engine.arena[rig.feed_at(feed) + L.FEED_INSTRUMENT])
        depth = int(rig.engine.arena[instrument + L.INSTRUMENT_DEPTH])
        assert len(side.top) >= min(depth, len(ordered)), f"{where}: the top is too short"
