"""The engine's owner: allocates the arena once, and wraps every kernel for Python.

One engine holds all instruments of a process. Feeds are numbered in the order of the
specification. All methods but `stage` belong to the engine thread.
Runs on: the engine thread. Called by: net (live and replay), bench, tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine import feed as kernels
from engine import layout as L
from engine import meter_layout as M
from engine import status as S
from engine.atomics import Words, address_of
from engine.fastcall import FrameHandler, frame_handler
from engine.handoff import BoardInfo, HandoffError, HandoffReader, HandoffWriter
from engine.jit import compile_kernels
from engine.memory import resident_words
from engine.merge import NOT_TOUCHED
from engine.meter_layout import EngineMeters
from engine.scale import (
    PRICE_LIMIT,
    QUANTITY_LIMIT,
    common_unit,
    decimal_unit,
    scale_table,
    units_per,
)
from engine.simd import IS_WORTH_PLANNING, LANE_BYTES

WINDOW_SLOTS = 1 << 18
"""Ticks in a ladder's window: 2,620 USD of BTC at a tick of 0.01, two megabytes a side. Half of it
costs 70 ns a frame more on the recorded BTCUSDT, a quarter 150: a level outside is searched for."""

FAR_LEVELS_MAX = 1 << 14
"""Levels a side outside the window; real whole books have some 6,500 in all."""

_LOT_UNIT = (1, L.LOT_DECIMALS)


@dataclass(frozen=True)
class FeedSpec:
    """One venue's book of one instrument: who speaks what under which symbol, and its tick."""

    venue: str
    protocol: int
    connection: int
    symbol: str
    tick_size: str


@dataclass(frozen=True)
class InstrumentSpec:
    """A merged book: its symbol, depth and feeds in the configuration's order."""

    symbol: str
    feeds: tuple[FeedSpec, ...]
    depth: int = 10

    @property
    def unit(self) -> tuple[int, int]:
        """The common price unit: the greatest common divisor of the venues' ticks."""
        return common_unit([decimal_unit(feed.tick_size) for feed in self.feeds])


@dataclass(frozen=True)
class FeedCounters:
    """What a feed has seen since the start."""

    frames: int
    bytes: int
    levels: int
    old: int
    unknown_deletes: int


@dataclass
class Stage:
    """Room for one decoded snapshot, owned by the thread that decodes it."""

    levels_max: int = L.SNAPSHOT_LEVELS_MAX
    words: Words = field(init=False)

    def __post_init__(self) -> None:
        self.words = np.zeros(L.stage_words(self.levels_max), np.int64)
        self.words[L.STAGE_LEVELS_MAX] = self.levels_max

    @property
    def last_id(self) -> int:
        """The staged update id (Binance) or microtimestamp (Bitstamp)."""
        return int(self.words[L.STAGE_LAST_ID])

    @property
    def levels(self) -> tuple[int, int]:
        """How many bids and asks are staged."""
        return int(self.words[L.STAGE_BIDS]), int(self.words[L.STAGE_ASKS])

    @property
    def sets(self) -> tuple[bool, bool]:
        """Whether a bid and whether an ask is staged that sets its level and does not delete it."""
        return self._sets_any(L.STAGE_ROWS_AT, self.levels[0]), self._sets_any(
            L.STAGE_ROWS_AT + self.levels_max * L.ROW_WORDS, self.levels[1]
        )

    def _sets_any(self, rows_at: int, count: int) -> bool:
        lots = self.words[rows_at + L.ROW_LOTS : rows_at + count * L.ROW_WORDS : L.ROW_WORDS]
        return bool(lots.any())


def _check(instruments: tuple[InstrumentSpec, ...], window_slots: int, far_levels_max: int) -> None:
    assert instruments, "an engine needs an instrument"
    assert window_slots & (window_slots - 1) == 0, "the window is a power of two"
    assert L.WINDOW_SLOTS_MIN <= window_slots <= L.WINDOW_SLOTS_MAX
    assert 4 <= far_levels_max <= L.FAR_MAX
    for instrument in instruments:
        assert 1 <= instrument.depth <= L.DEPTH_MAX
        assert 1 <= len(instrument.feeds) <= L.VENUES_MAX


class Engine:
    """Arena, stage, meters and handoff of one process, and the kernels over them."""

    def __init__(
        self,
        instruments: tuple[InstrumentSpec, ...],
        *,
        handoff_name: str = "",
        start_ns: int = 0,
        reads_clock: bool = False,
        window_slots: int = WINDOW_SLOTS,
        far_levels_max: int = FAR_LEVELS_MAX,
    ) -> None:
        _check(instruments, window_slots, far_levels_max)
        # The caller has done this with visible progress; no kernel may ever compile mid-stream.
        compile_kernels()
        self.instruments = instruments
        self.feeds = tuple(feed for each in instruments for feed in each.feeds)
        units = [each.unit for each in instruments]
        boards = tuple(
            BoardInfo(each.symbol, tuple(f.venue for f in each.feeds), each.depth, *unit)
            for each, unit in zip(instruments, units, strict=True)
        )
        # Before the handoff: whoever finds that finds these too.
        self.meters = EngineMeters(handoff_name, instruments, start_ns)
        try:
            self.handoff = HandoffWriter(handoff_name, boards, start_ns)
        except (HandoffError, OSError):
            self.meters.close()
            raise
        self._stage = Stage(L.FRAME_LEVELS_MAX)
        self.arena = self._new_arena(window_slots, far_levels_max, reads_clock)
        self._address = int(self.arena.ctypes.data)
        self._describe(units)
        for index in range(len(self.feeds)):
            kernels.clear_books(self._address, index)

    def _new_arena(self, window_slots: int, far_levels_max: int, reads_clock: bool) -> Words:
        feed_words = L.feed_words(window_slots, far_levels_max)
        feeds_offset = L.ENGINE_WORDS + len(self.instruments) * L.INSTRUMENT_WORDS
        arena = resident_words(feeds_offset + len(self.feeds) * feed_words)
        arena[L.ENGINE_INSTRUMENTS] = len(self.instruments)
        arena[L.ENGINE_FEEDS] = len(self.feeds)
        arena[L.ENGINE_WINDOW_SLOTS] = window_slots
        arena[L.ENGINE_FAR_MAX] = far_levels_max
        arena[L.ENGINE_INSTRUMENTS_OFFSET] = L.ENGINE_WORDS
        arena[L.ENGINE_FEEDS_OFFSET] = feeds_offset
        arena[L.ENGINE_FEED_WORDS] = feed_words
        arena[L.ENGINE_SIDE_WORDS] = L.side_words(window_slots, far_levels_max)
        arena[L.ENGINE_HANDOFF_ADDRESS] = self.handoff.words.ctypes.data
        arena[L.ENGINE_HANDOFF_WORDS] = len(self.handoff.words)
        arena[L.ENGINE_STAGE_ADDRESS] = self._stage.words.ctypes.data
        arena[L.ENGINE_STAGE_WORDS] = len(self._stage.words)
        arena[L.ENGINE_ARENA_WORDS] = len(arena)
        arena[L.ENGINE_LAST_FEED] = kernels.ANY_FEED
        arena[L.ENGINE_READS_CLOCK] = reads_clock
        arena[L.ENGINE_METERS_ADDRESS] = self.meters.words.ctypes.data
        arena[L.ENGINE_METERS_WORDS] = len(self.meters.words)
        return arena

    def _describe(self, units: list[tuple[int, int]]) -> None:
        index = 0
        for number, (instrument, unit) in enumerate(zip(self.instruments, units, strict=True)):
            at = self.instrument_at(number)
            self.arena[at + L.INSTRUMENT_DEPTH] = instrument.depth
            self.arena[at + L.INSTRUMENT_VENUES] = len(instrument.feeds)
            self.arena[at + L.INSTRUMENT_TRIGGER] = NOT_TOUCHED
            self.arena[at + L.INSTRUMENT_BOARD] = self.handoff.board_at(number)
            self.arena[at + L.INSTRUMENT_METERS] = self.meters.instrument_at[number]
            for venue, feed_spec in enumerate(instrument.feeds):
                feed = self._feed_at(index)
                self.arena[at + L.INSTRUMENT_FEEDS_AT + venue] = feed
                self._describe_feed(feed, feed_spec, unit)
                self.arena[feed + L.FEED_INSTRUMENT] = at
                self.arena[feed + L.FEED_VENUE] = venue
                self._place_meters(feed, self.meters.feed_at[index])
                index += 1

    def _describe_feed(self, feed: int, spec: FeedSpec, unit: tuple[int, int]) -> None:
        arena = self.arena
        raw = spec.symbol.encode()
        assert len(raw) <= L.SYMBOL_BYTES_MAX
        multiplier = units_per(decimal_unit(spec.tick_size), unit)
        arena[feed + L.FEED_PROTOCOL] = spec.protocol
        arena[feed + L.FEED_CONNECTION] = spec.connection
        arena[feed + L.FEED_TICK_MULTIPLIER] = multiplier
        arena[feed + L.FEED_SYMBOL_BYTES] = len(raw)
        symbol_at = feed + L.FEED_SYMBOL_AT
        padded = np.frombuffer(raw.ljust(L.SYMBOL_BYTES_MAX, b"\0"), np.int64)
        arena[symbol_at : symbol_at + L.SYMBOL_WORDS] = padded
        mantissa, decimals = decimal_unit(spec.tick_size)
        if mantissa == 1 and IS_WORTH_PLANNING:
            digits_max = len(str(PRICE_LIMIT // multiplier)) - 1
            arena[feed + L.FEED_TICK_DECIMALS] = decimals
            arena[feed + L.FEED_PLANNED_DIGITS_MAX] = min(digits_max, LANE_BYTES)
        prices = scale_table((mantissa, decimals), PRICE_LIMIT // multiplier)
        lots = scale_table(_LOT_UNIT, QUANTITY_LIMIT)
        arena[feed + L.FEED_PRICE_SCALE_AT : feed + L.FEED_PRICE_SCALE_AT + len(prices)] = prices
        arena[feed + L.FEED_LOT_SCALE_AT : feed + L.FEED_LOT_SCALE_AT + len(lots)] = lots

    def _place_meters(self, feed: int, counters: int) -> None:
        """Tell a feed and its sides where they count; both books have the same meters."""
        self.arena[feed + L.FEED_METERS] = counters
        for number in range(4):
            side = feed + L.FEED_BOOKS_AT + number * int(self.arena[L.ENGINE_SIDE_WORDS])
            is_asks = number % 2
            side_meters = counters + M.FEED_SIDES_AT + is_asks * M.SIDE_WORDS
            self.arena[side + L.SIDE_METERS] = side_meters

    def instrument_at(self, index: int) -> int:
        """Where an instrument begins in the arena."""
        return L.ENGINE_WORDS + index * L.INSTRUMENT_WORDS

    def _feed_at(self, index: int) -> int:
        return int(self.arena[L.ENGINE_FEEDS_OFFSET] + index * self.arena[L.ENGINE_FEED_WORDS])

    # --- frames ----------------------------------------------------------------------------------

    def frame_handler(self, connection: int, protocol: int) -> FrameHandler:
        """The hot path of one connection: f(frame, receive_ns, is_last) -> status."""
        return frame_handler(self._address, connection, protocol)

    @property
    def last_feed(self) -> int:
        """The feed the last frame belonged to, or -1 where the frame did not tell."""
        return int(self.arena[L.ENGINE_LAST_FEED])

    def publish_touched(self) -> None:
        """Publish what frames have touched, after a buffer whose last frame was no book frame."""
        kernels.publish_touched(self._address)

    # --- a feed's life ---------------------------------------------------------------------------

    def state(self, feed: int) -> int:
        return int(self.arena[self._feed_at(feed) + L.FEED_STATE])

    def set_state(self, feed: int, state: int, now_ns: int) -> None:
        """Change a feed's state and publish its instrument at once."""
        kernels.set_state(self._address, feed, state, now_ns)

    def restart_stream(self, feed: int) -> None:
        """Let the next frame start the feed's stream anew, whatever its id."""
        kernels.restart_stream(self._address, feed)

    def set_buffered(self, feed: int, is_buffered: bool) -> None:
        """Make a live feed's frames come back with APPLIED_AND_BUFFER, or stop that."""
        kernels.set_buffered(self._address, feed, int(is_buffered))

    def stage(self, feed: int, body: bytes, stage: Stage) -> int:
        """Decode a REST body into `stage`; APPLIED or a refusal. Safe on any thread, no GIL."""
        words = stage.words
        address = address_of(body)
        return kernels.stage_snapshot(
            self._address, feed, address, len(body), words.ctypes.data, len(words)
        )

    def load(self, feed: int, stage: Stage, levels_limit: int) -> None:
        """Load a staged snapshot into the feed's spare book."""
        words = stage.words
        kernels.load_snapshot(self._address, feed, words.ctypes.data, len(words), levels_limit)

    def replay(self, feed: int, frame: bytes) -> int:
        """Run a buffered frame through the spare book: APPLIED, OLD, GAP or a refusal."""
        return kernels.replay_frame(self._address, feed, address_of(frame), len(frame))

    def differing_levels(self, feed: int) -> int:
        """How many of the best levels differ between the active and the spare book."""
        return kernels.differing_levels(self._address, feed)

    def is_spare_crossed(self, feed: int) -> bool:
        """Whether the book that is being joined has its best bid at or above its best ask."""
        return bool(kernels.is_spare_crossed(self._address, feed))

    def activate(self, feed: int, now_ns: int) -> None:
        """Swap the spare book in, LIVE, and publish."""
        kernels.activate(self._address, feed, now_ns)

    # --- looking ---------------------------------------------------------------------------------

    def book_id(self, feed: int) -> int:
        """The update id the active book stands at."""
        at = self._feed_at(feed)
        return int(self.arena[at + L.FEED_BOOK_ID_0 + int(self.arena[at + L.FEED_ACTIVE_BOOK])])

    def last_frame_id(self, feed: int) -> int:
        """The last id of the feed's stream, 0 before its first frame."""
        return int(self.arena[self._feed_at(feed) + L.FEED_LAST_FRAME_ID])

    @property
    def staged_first_id(self) -> int:
        """The first id of the frame that was handled last."""
        return int(self._stage.words[L.STAGE_FIRST_ID])

    @property
    def staged_sets(self) -> tuple[bool, bool]:
        """Whether the frame that was handled last set a bid's level, and whether an ask's."""
        return self._stage.sets

    def venue_ns(self, feed: int) -> int:
        """The venue's own time of the feed's last frame; 0 before the first that has one."""
        return int(self.arena[self._feed_at(feed) + L.FEED_VENUE_NS])

    def receive_ns(self, feed: int) -> int:
        """When the feed's last frame was received, 0 before the first."""
        return int(self.arena[self._feed_at(feed) + L.FEED_RECEIVE_NS])

    def best_ticks(self, feed: int) -> tuple[int, int]:
        """The feed's best bid and ask in its own ticks as last published; 0 for an empty side, and
        for both while it is not LIVE."""
        at, arena = self._feed_at(feed), self.arena
        best = [0, 0]
        if arena[at + L.FEED_STATE] == L.LIVE:
            for is_asks in range(2):
                book = 2 * int(arena[at + L.FEED_ACTIVE_BOOK]) + is_asks
                side = at + L.FEED_BOOKS_AT + book * int(arena[L.ENGINE_SIDE_WORDS])
                if arena[side + L.SIDE_TOP_LEVELS]:
                    best[is_asks] = abs(int(arena[side + L.SIDE_TOP_KEYS_AT]))
        return best[0], best[1]

    def is_incomplete(self, feed: int) -> bool:
        """Whether the published depth reaches where the feed's book is known only in part."""
        return bool(self.arena[self._feed_at(feed) + L.FEED_IS_INCOMPLETE])

    def counters(self, feed: int) -> FeedCounters:
        at = self.meters.feed_at[feed]
        places = (M.FEED_FRAMES, M.FEED_BYTES, M.FEED_LEVELS, M.FEED_OLD, M.FEED_UNKNOWN_DELETES)
        return FeedCounters(*(int(self.meters.words[at + place]) for place in places))

    def reader(self) -> HandoffReader:
        """A reader of this engine's own handoff, in this process."""
        return HandoffReader(self.handoff.words)

    def close(self) -> None:
        """Mark the handoff stopped and remove its name, and that of the meters."""
        self.handoff.close()
        self.meters.close()


def describe_refusal(status: int) -> str:
    """A status in words."""
    return S.TEXTS.get(status, f"status {status}")
