"""The engine's owner: allocates the arena once, and wraps every kernel for Python.

One engine holds all instruments of a process. Feeds are numbered in the order of the
specification. All methods but `stage` belong to the engine thread.
Runs on: the engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.book import frame as kernels
from engine.book import spare_book
from engine.book.frame_kernel import place_kernels
from engine.book.merge import NOT_TOUCHED
from engine.book.routes import list_words, place_lists
from engine.compiling.atomics import Words, address_of
from engine.compiling.jit import compile_kernels
from engine.decoding.scale import (
    PRICE_LIMIT,
    QUANTITY_LIMIT,
    ScaleError,
    decimal_unit,
    units_per,
)
from engine.frame_call import FrameHandler, frame_handler
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from engine.sharing.handoff import HandoffError, HandoffReader, HandoffWriter, InstrumentInfo
from engine.sharing.memory import SparseMemory
from engine.sharing.meter_layout import EngineMeters
from engine.specs import (
    FAR_LEVELS_MAX,
    FeedSpec,
    InstrumentSpec,
    check_specs,
    kept_window_slots,
    most_window_slots,
)
from engine.stage import Stage
from engine.units import (
    DIGITS_MAX,
    Units,
    common_units,
    lot_digits,
    multipliers,
    place_units,
)


@dataclass(frozen=True)
class FeedCounters:
    """What a feed has seen since the start."""

    frames: int
    bytes: int
    levels: int
    old: int
    unknown_deletes: int


class Engine:
    """Arena, stage, meters and handoff of one process, and the kernels over them.

    `start_ns`: steady time (tuning.clock). `window_slots`: 0 for what suits so many feeds.
    """

    def __init__(
        self,
        instruments: tuple[InstrumentSpec, ...],
        *,
        handoff_name: str = "",
        start_ns: int = 0,
        reads_clock: bool = False,
        window_slots: int = 0,
        far_levels_max: int = FAR_LEVELS_MAX,
    ) -> None:
        self.instruments = instruments
        self.feeds = tuple(feed for each in instruments for feed in each.feeds)
        window_slots = window_slots or most_window_slots(len(self.feeds))
        check_specs(instruments, window_slots, far_levels_max)
        # The caller has done this with visible progress; no kernel may ever compile mid-stream.
        compile_kernels()
        infos = tuple(
            InstrumentInfo(
                each.symbol, each.venues, each.depth, *each.unit, checked_by=each.checked_by
            )
            for each in instruments
        )
        self._units = [Units(decimal_unit(feed.tick_size)) for feed in self.feeds]
        # Before the handoff: whoever finds that finds these too.
        self.meters = EngineMeters(handoff_name, instruments, start_ns)
        try:
            self.handoff = HandoffWriter(handoff_name, infos, start_ns)
        except HandoffError:
            self.meters.close()
            raise
        self._stage = Stage(L.FRAME_LEVELS_MAX)
        self.arena = self._new_arena(window_slots, far_levels_max, reads_clock)
        self.address = int(self.arena.ctypes.data)  # for kernels, as long as the engine lives
        self._describe()
        for index in range(len(self.feeds)):
            spare_book.clear_books(self.address, index)

    def _new_arena(self, window_slots: int, far_levels_max: int, reads_clock: bool) -> Words:
        feed_words = L.feed_words(window_slots, far_levels_max)
        self._side_words = L.side_words(window_slots, far_levels_max)
        connections_offset = self.instrument_at(len(self.instruments))
        connections = 1 + max(feed.connection for feed in self.feeds)
        rules_offset = connections_offset + connections * L.CONNECTION_WORDS
        rules = tuple(dict.fromkeys(feed.rules for feed in self.feeds))
        feeds_offset = rules_offset + len(rules) * L.RULES_WORDS
        counts = len(self.instruments), len(self.feeds)
        lists_offset = feeds_offset + len(self.feeds) * feed_words
        self._memory = SparseMemory(lists_offset + list_words(*counts))
        arena = self._memory.words
        arena[L.ENGINE_INSTRUMENTS], arena[L.ENGINE_FEEDS] = counts
        place_lists(arena, lists_offset)
        place_kernels(arena)
        arena[L.ENGINE_WINDOW_SLOTS] = window_slots
        arena[L.ENGINE_FAR_MAX] = far_levels_max
        arena[L.ENGINE_FAR_AT] = L.far_at(window_slots)
        arena[L.ENGINE_INSTRUMENTS_OFFSET] = L.ENGINE_WORDS
        arena[L.ENGINE_CONNECTIONS_OFFSET] = connections_offset
        arena[L.ENGINE_FEEDS_OFFSET] = feeds_offset
        arena[L.ENGINE_LARGE_FRAME_BYTES] = L.LARGE_FRAME_BYTES
        arena[L.ENGINE_FEED_WORDS] = feed_words
        arena[L.ENGINE_SIDE_WORDS] = self._side_words
        arena[L.ENGINE_HANDOFF_ADDRESS] = self.handoff.words.ctypes.data
        arena[L.ENGINE_HANDOFF_WORDS] = len(self.handoff.words)
        arena[L.ENGINE_STAGE_ADDRESS] = self._stage.words.ctypes.data
        arena[L.ENGINE_STAGE_WORDS] = len(self._stage.words)
        arena[L.ENGINE_ARENA_WORDS] = len(arena)
        arena[L.ENGINE_LAST_FEED] = kernels.ANY_FEED
        arena[L.ENGINE_READS_CLOCK] = reads_clock
        arena[L.ENGINE_METERS_ADDRESS] = self.meters.words.ctypes.data
        arena[L.ENGINE_METERS_WORDS] = len(self.meters.words)
        self._rules_at = {}
        for index, each in enumerate(rules):
            at = rules_offset + index * L.RULES_WORDS
            self._rules_at[each] = at
            arena[at : at + L.RULES_WORDS] = each.words()
        for feed in self.feeds:
            connection = connections_offset + feed.connection * L.CONNECTION_WORDS
            arena[connection + L.CONNECTION_RULES] = self._rules_at[feed.rules]
            arena[connection + L.CONNECTION_LAST_ID] = L.NO_ID
        return arena

    def _describe(self) -> None:
        index = 0
        for number, instrument in enumerate(self.instruments):
            at = self.instrument_at(number)
            self.arena[at + L.INSTRUMENT_DEPTH] = instrument.depth
            self.arena[at + L.INSTRUMENT_VENUES] = len(instrument.feeds)
            self.arena[at + L.INSTRUMENT_TRIGGER] = NOT_TOUCHED
            self.arena[at + L.INSTRUMENT_RING] = self.handoff.ring_at(number)
            self.arena[at + L.INSTRUMENT_METERS] = self.meters.instrument_at[number]
            for venue, feed_spec in enumerate(instrument.feeds):
                feed = self._feed_at(index)
                self.arena[at + L.INSTRUMENT_FEEDS_AT + venue] = feed
                self._describe_feed(feed, feed_spec)
                self.arena[feed + L.FEED_INSTRUMENT] = at
                self.arena[feed + L.FEED_VENUE] = venue
                self._place_sides(feed, self.meters.feed_at[index])
                index += 1
            self._place_units(number)

    def _describe_feed(self, feed: int, spec: FeedSpec) -> None:
        arena = self.arena
        raw = spec.symbol.encode()
        assert 0 < len(raw) <= L.SYMBOL_BYTES_MAX
        arena[feed + L.FEED_RULES] = self._rules_at[spec.rules]
        arena[feed + L.FEED_CONNECTION] = spec.connection
        arena[feed + L.FEED_LAG_MIN_NS] = -L.ANY_LAG_NS
        arena[feed + L.FEED_LAG_MAX_NS] = L.ANY_LAG_NS
        arena[feed + L.FEED_SYMBOL_BYTES] = len(raw)
        symbol_at = feed + L.FEED_SYMBOL_AT
        padded = np.frombuffer(raw.ljust(L.SYMBOL_BYTES_MAX, b"\0"), np.int64)
        arena[symbol_at : symbol_at + L.SYMBOL_WORDS] = padded

    def _units_of(self, number: int) -> dict[int, Units]:
        """The units of an instrument's feeds, by feed."""
        first = sum(len(each.feeds) for each in self.instruments[:number])
        feeds = range(first, first + len(self.instruments[number].feeds))
        return {feed: self._units[feed] for feed in feeds}

    def _place_units(self, number: int) -> None:
        """Give an instrument's feeds their scales."""
        found, arena, at = self._units_of(number), self.arena, self.instrument_at(number)
        unit, lot_decimals = common_units(found.values())
        arena[at + L.INSTRUMENT_TICK_MANTISSA], arena[at + L.INSTRUMENT_TICK_DECIMALS] = unit
        arena[at + L.INSTRUMENT_LOT_DECIMALS] = lot_decimals
        declared = self.instruments[number].unit
        arena[at + L.INSTRUMENT_DECLARED_UNITS] = units_per(declared, unit)
        for index, units in found.items():
            feed = self._feed_at(index)
            tick = decimal_unit(self.feeds[index].tick_size)
            arena[feed + L.FEED_DECLARED_UNITS] = units_per(tick, units.price)
            contract = decimal_unit(self.feeds[index].contract_value)
            place_units(arena, feed, units, *multipliers(units, (unit, lot_decimals)), contract)

    def _place_sides(self, feed: int, counters: int) -> None:
        """Tell a feed and its sides where they count; both books have the same meters."""
        self.arena[feed + L.FEED_METERS] = counters
        for book in range(2):
            for is_asks, side in enumerate(self._sides(feed, book)):
                side_meters = counters + M.FEED_SIDES_AT + is_asks * M.SIDE_WORDS
                self.arena[side + L.SIDE_METERS] = side_meters
                self.arena[side + L.SIDE_WINDOW_SLOTS] = self.arena[L.ENGINE_WINDOW_SLOTS]

    def instrument_at(self, index: int) -> int:
        """Where an instrument begins in the arena."""
        return L.ENGINE_WORDS + index * L.INSTRUMENT_WORDS

    def _feed_at(self, index: int) -> int:
        assert 0 <= index < len(self.feeds), f"no feed {index}"
        return int(self.arena[L.ENGINE_FEEDS_OFFSET] + index * self.arena[L.ENGINE_FEED_WORDS])

    # --- frames ----------------------------------------------------------------------------------

    def frame_handler(self, connection: int) -> FrameHandler:
        """The hot path of one connection: f(frame, receive_ns, is_last) -> status."""
        return frame_handler(self.address, connection)

    @property
    def last_feed(self) -> int:
        """The feed the last frame belonged to, or -1 where the frame did not tell."""
        return int(self.arena[L.ENGINE_LAST_FEED])

    def publish_touched(self) -> None:
        """Publish what frames have touched, after a buffer whose last frame was no book frame."""
        kernels.publish_touched(self.address)

    # --- units -----------------------------------------------------------------------------------

    def units(self, feed: int) -> Units:
        return self._units[feed]

    def units_epoch(self, feed: int) -> int:
        """What was staged at another one is void."""
        return int(self.arena[self._feed_at(feed) + L.FEED_UNITS_EPOCH])

    def units_for(self, feed: int, stage: Stage) -> Units | None:
        """Other units, in which a staged message fits that does not; None: there are none.

        Where the present ones have become too fine, it is begun anew with the declared tick.
        """
        declared = Units(decimal_unit(self.feeds[feed].tick_size))
        contract = decimal_unit(self.feeds[feed].contract_value)
        for before in (self._units[feed], declared):
            units = before.for_message(stage.words, contract)
            (_, decimals), lot_decimals = common_units(self._with_units(feed, units).values())
            price_digits = int(stage.words[L.STAGE_PRICE_DIGITS]) + decimals
            digits = lot_digits(stage.words, contract) + lot_decimals
            is_possible = price_digits <= DIGITS_MAX and digits <= DIGITS_MAX + 1
            if is_possible and self.can_count_in(feed, units):
                return units
        return None

    def can_count_in(self, feed: int, units: Units) -> bool:
        """Whether these are other units, with room for the instrument's other books."""
        wanted = self._with_units(feed, units)
        try:
            common = common_units(wanted.values())
            return units != self._units[feed] and all(
                index == feed or self._rescale(index, each, common, is_change=False)
                for index, each in wanted.items()
            )
        except ScaleError:
            return False

    def set_units(self, feed: int, units: Units, now_ns: int) -> None:
        """Count the feed's prices and quantities in these units, which it can, and publish.

        It shows no book meanwhile, for what it holds is in the old ones. The instrument's other
        books go on, and are told in the new common unit.
        """
        assert self.state(feed) not in (L.LIVE, L.STALE), "its book is in other units"
        wanted = self._with_units(feed, units)
        for index, each in wanted.items():
            if index != feed and each != self._units[index]:
                self._rescale(index, each, common_units(wanted.values()), is_change=True)
            self._units[index] = each
        spare_book.clear_books(self.address, feed)
        self._place_units(self._number_of(feed))
        self.set_state(feed, self.state(feed), now_ns)

    def _number_of(self, feed: int) -> int:
        """Which instrument a feed belongs to."""
        at = int(self.arena[self._feed_at(feed) + L.FEED_INSTRUMENT])
        return (at - L.ENGINE_WORDS) // L.INSTRUMENT_WORDS

    def _with_units(self, feed: int, units: Units) -> dict[int, Units]:
        """The units of an instrument's feeds where one has these: a coarser lot is coarser for all,
        for the totals of one would not fit into the lots of another."""
        wanted = self._units_of(self._number_of(feed)) | {feed: units}
        if units.lot_decimals < self._units[feed].lot_decimals:
            for index, each in wanted.items():
                lot_decimals = min(each.lot_decimals, units.lot_decimals)
                wanted[index] = each._replace(lot_decimals=lot_decimals)
        return wanted

    def _rescale(
        self, feed: int, units: Units, common: tuple[tuple[int, int], int], *, is_change: bool
    ) -> bool:
        """Whether a feed's book, where it has one, can be counted in these units."""
        price_multiplier, lot_multiplier = multipliers(units, common)
        if self.state(feed) not in (L.LIVE, L.STALE):
            return True
        divisor = 10 ** (self._units[feed].lot_decimals - units.lot_decimals)
        found = spare_book.rescale_book(
            self.address,
            feed,
            PRICE_LIMIT // price_multiplier,
            QUANTITY_LIMIT // lot_multiplier,
            divisor,
            int(is_change),
        )
        return bool(found)

    # --- a feed's life ---------------------------------------------------------------------------

    def state(self, feed: int) -> int:
        return int(self.arena[self._feed_at(feed) + L.FEED_STATE])

    def set_state(self, feed: int, state: int, now_ns: int) -> None:
        """Change a feed's state and publish its instrument at once."""
        kernels.set_state(self.address, feed, state, now_ns)

    def restart_stream(self, feed: int) -> None:
        """Let the next frame start the feed's stream anew, whatever its id."""
        kernels.restart_stream(self.address, feed)

    def restart_connection(self, connection: int, number: int = L.NO_ID) -> None:
        """The next frame is the first of another connection, or the one after this number."""
        kernels.restart_connection(self.address, connection, number)

    def set_lag_bounds(self, feed: int, least_ns: int, most_ns: int) -> None:
        """Have frames whose age on arrival is outside come back with OUT_OF_TIME, untouched."""
        assert least_ns <= most_ns
        at = self._feed_at(feed)
        self.arena[at + L.FEED_LAG_MIN_NS] = max(least_ns, -L.ANY_LAG_NS)
        self.arena[at + L.FEED_LAG_MAX_NS] = min(most_ns, L.ANY_LAG_NS)

    def set_buffered(self, feed: int, is_buffered: bool) -> None:
        """Make a live feed's frames come back with APPLIED_AND_BUFFER, or stop that."""
        kernels.set_buffered(self.address, feed, int(is_buffered))

    def stage(self, feed: int, body: bytes, stage: Stage, *, is_frame: bool = False) -> int:
        """Decode a REST body or a frame into `stage`: APPLIED or a refusal. Any thread; no GIL."""
        assert is_frame or self.feeds[feed].rules.snapshot is not None, "no REST snapshots here"
        words = stage.words
        stage.body, stage.is_frame, stage.epoch = body, is_frame, self.units_epoch(feed)
        stage.status = spare_book.stage_message(
            self.address,
            feed,
            address_of(body),
            len(body),
            words.ctypes.data,
            len(words),
            int(is_frame),
        )
        return stage.status

    def stage_large(self, connection: int, frame: bytes, stage: Stage) -> int:
        """Find a large frame's feed and decode it into `stage`; -1: it has none. Any thread."""
        where, words = address_of(frame), stage.words
        size, at = len(frame), words.ctypes.data
        feed = spare_book.stage_large(self.address, connection, where, size, at, len(words))
        if feed >= 0:
            self.stage(feed, frame, stage, is_frame=True)
        return feed

    def last_number(self, connection: int) -> int:
        """The number of a connection's last frame, where its venue counts all; -1 before one."""
        at = int(self.arena[L.ENGINE_CONNECTIONS_OFFSET]) + connection * L.CONNECTION_WORDS
        return int(self.arena[at + L.CONNECTION_LAST_ID])

    def stage_again(self, feed: int, stage: Stage) -> int:
        """Stage the same text in the units of now."""
        return self.stage(feed, stage.body, stage, is_frame=stage.is_frame)

    def load(self, feed: int, stage: Stage, levels_limit: int) -> int:
        """Load a staged snapshot into the feed's spare book: APPLIED or BAD_CHECKSUM."""
        words, address = stage.words, stage.words.ctypes.data
        return spare_book.load_snapshot(self.address, feed, address, len(words), levels_limit)

    def load_staged(self, feed: int) -> tuple[int, tuple[int, int]]:
        """Load the whole book that the frame handled last has brought into the feed's spare book:
        the status as of `load`, and how many bids and asks it has."""
        assert self.last_feed == feed, "the stage holds another feed's frame"
        return self.load(feed, self._stage, 0), self._stage.levels

    def replay(self, feed: int, frame: bytes) -> int:
        """Run a buffered frame through the spare book: APPLIED, OLD, GAP or a refusal."""
        return spare_book.replay_frame(self.address, feed, address_of(frame), len(frame))

    def differing_levels(self, feed: int) -> int:
        """How many of the best levels differ between the active and the spare book."""
        return spare_book.differing_levels(self.address, feed)

    def is_spare_crossed(self, feed: int) -> bool:
        """Whether the book that is being joined has its best bid at or above its best ask."""
        return bool(spare_book.is_spare_crossed(self.address, feed))

    def activate(self, feed: int, now_ns: int, state: int = L.LIVE) -> None:
        """Swap the spare book in, LIVE or STALE, and publish; a large one shown is forgotten."""
        spare_book.activate(self.address, feed, state, now_ns)
        at = self._feed_at(feed)
        sides = self._sides(at, 1 - int(self.arena[at + L.FEED_ACTIVE_BOOK]))
        slots = max(self.arena[side + L.SIDE_WINDOW_SLOTS] for side in sides)
        if slots > kept_window_slots(len(self.feeds)):
            spare_book.clear_spare(self.address, feed)
            for side in sides:
                self._memory.give_back(side + L.SIDE_SUMMARY_AT, side + self._side_words)

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
    def staged_venue_ns(self) -> int:
        """The venue's time of the frame that was handled last; 0 where it has none."""
        return int(self._stage.words[L.STAGE_TIME])

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

    def has_sides(self, feed: int) -> tuple[bool, bool]:
        """Whether the feed's active book has a bid, and whether an ask."""
        sides = self._active_sides(feed)
        bids, asks = (int(self.arena[side + L.SIDE_BEST]) != L.NO_KEY for side in sides)
        return bids, asks

    def _active_sides(self, feed: int) -> tuple[int, int]:
        """Where the sides of the feed's active book begin."""
        at = self._feed_at(feed)
        return self._sides(at, int(self.arena[at + L.FEED_ACTIVE_BOOK]))

    def _sides(self, feed: int, book: int) -> tuple[int, int]:
        """Where the sides of a book begin; `feed`: where the feed does."""
        bids = feed + L.FEED_BOOKS_AT + 2 * book * self._side_words
        return bids, bids + self._side_words

    def best_ticks(self, feed: int) -> tuple[int, int]:
        """The feed's best bid and ask in the ticks that its venue declares, as last published: a
        price between two of them is the worse one. 0 for an empty side, and for both while it is
        not LIVE."""
        arena, best = self.arena, [0, 0]
        if self.state(feed) == L.LIVE:
            units = int(arena[self._feed_at(feed) + L.FEED_DECLARED_UNITS])
            for is_asks, side in enumerate(self._active_sides(feed)):
                if arena[side + L.SIDE_TOP_LEVELS]:
                    best[is_asks] = abs(int(arena[side + L.SIDE_TOP_KEYS_AT]) // units)
        return best[0], best[1]

    def is_incomplete(self, feed: int) -> bool:
        """Whether the published depth reaches where the feed's book is known only in part."""
        return bool(self.arena[self._feed_at(feed) + L.FEED_IS_INCOMPLETE])

    def counters(self, feed: int) -> FeedCounters:
        block = self.meters.words[self.meters.feed_at[feed] :]
        places = (M.FEED_FRAMES, M.FEED_BYTES, M.FEED_LEVELS, M.FEED_OLD, M.FEED_UNKNOWN_DELETES)
        return FeedCounters(*(int(block[place]) for place in places))

    def reader(self) -> HandoffReader:
        """A reader of this engine's own handoff, in this process."""
        return HandoffReader(self.handoff.words)

    def close(self) -> None:
        """Mark the handoff stopped and remove its name, and that of the meters."""
        self.handoff.close()
        self.meters.close()


__all__ = ["Engine", "FeedCounters", "Stage"]
