"""What the engine counts: the descriptor of its meters, block by block.

    engine | LOOP | VENUE 0..V-1 | INSTRUMENT 0..I-1 | FEED 0..F-1 |

A venue's block is that of its connection. Kernels write what belongs to frames and books, through
`view_meters` and the places below; sessions, venues and streams write the rest, which is rare. All
of it is written by the engine thread, where it is counted and nowhere else. What is in the handoff
already (states, times of the last frame, the heartbeat) is no meter.
Runs on: the engine thread (writing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.compiling.atomics import Words, view_words
from engine.compiling.jit import inlined
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing.meters import Block, MeterTable, MeterWriter, meters_kind

ENGINE = "engine"
ENGINE_METERS = meters_kind(ENGINE)
"""The segment's kind, beside the handoff."""

# --- the loop ------------------------------------------------------------------------------------

LOOP = MeterTable()
LOOP_TURN = LOOP.histogram("loop_turn", "from the end of a wait to the next one's beginning", "ns")
LOOP_IDLE = LOOP.counter(
    "loop_idle", "time that the engine thread waited for something to do", "ns"
)
LOOP_WORDS = LOOP.words

# --- a venue's connection ------------------------------------------------------------------------

VENUE = MeterTable()
VENUE_CONNECTIONS = VENUE.counter("connections", "connections made, the first included")
VENUE_CONNECT_FAILURES = VENUE.counter("connect_failures", "connections that could not be made")
VENUE_OTHER_SYMBOLS = VENUE.counter(
    "other_symbols", "book frames of symbols that were not asked for"
)
VENUE_BINARY_FRAMES = VENUE.counter("binary_frames", "binary frames, which no venue should send")
VENUE_NOT_UNDERSTOOD = VENUE.counter("not_understood", "text frames of a form nobody knows")
VENUE_TRADES = VENUE.counter("trades", "trades taken")
VENUE_TRADES_MALFORMED = VENUE.counter(
    "trades_malformed", "messages of trades of which a part could not be read"
)

# --- an instrument -------------------------------------------------------------------------------

INSTRUMENT = MeterTable()
INSTRUMENT_PUBLISHED = INSTRUMENT.counter("books_published", "books published")
INSTRUMENT_CROSSED = INSTRUMENT.counter(
    "books_crossed", "books published with the bid at or above the ask"
)
INSTRUMENT_UNCHANGED = INSTRUMENT.counter(
    "books_unchanged", "merges that left the book as it was, and were not told"
)
INSTRUMENT_PUBLISH_LATENCY = INSTRUMENT.histogram(
    "publish_latency", "from a frame's arrival to the book that it changed", "ns"
)

# --- a feed --------------------------------------------------------------------------------------

SIDE = MeterTable()
"""Of one side of a feed's book; it stands in FEED twice, bids first."""
SIDE_FAR_LEVELS = SIDE.gauge("far_levels", "levels of the book outside the window")
SIDE_FAR_DROPPED = SIDE.counter("far_levels_dropped", "levels there was no room for")
SIDE_SLIDES = SIDE.counter("window_slides", "moves of the window after the price")
SIDE_WORDS = SIDE.words

# What every frame writes comes first: with the histogram's sum and maximum it fills a cache line.
FEED = MeterTable()
FEED_FRAMES = FEED.counter("frames", "book frames taken")
FEED_BYTES = FEED.counter("frame", "bytes of book frames", "bytes")
FEED_LEVELS = FEED.counter("levels", "levels in book frames")
FEED_UNKNOWN_DELETES = FEED.counter(
    "unknown_deletes", "deletes of levels that the book did not have"
)
FEED_OLD = FEED.counter("old_frames", "book frames that the stream had brought before")
FEED_RECEIVE_LAG = FEED.histogram(
    "receive_lag", "from the venue's time of a frame to its arrival", "ns"
)
FEED_SNAPSHOT_NS = FEED.gauge(
    "snapshot_timestamp", "when the book's last snapshot was taken over", "ns"
)
FEED_SIDES_AT = FEED.words
for _side in ("bid", "ask"):
    FEED.include(SIDE, ("side", _side))
FEED_RESYNCS = FEED.counter("resyncs", "books thrown away and built anew")
FEED_GAPS = FEED.counter("gaps", "sequence gaps seen")
FEED_SNAPSHOTS_ASKED = FEED.counter("snapshots_asked", "snapshots asked for")
FEED_SNAPSHOTS_REFUSED = FEED.counter("snapshots_refused", "snapshots refused or failed")
FEED_AUDITS_PASSED = FEED.counter("audits_passed", "audits that found no difference")
FEED_AUDITS_FAILED = FEED.counter("audits_failed", "audits that found a difference")
FEED_CHECKSUMS = FEED.counter("checksums", "books whose checksum was compared, each right or not")
FEED_CHECKSUMS_FAILED = FEED.counter("checksums_failed", "books that had another checksum")
FEED_UNITS_LEARNED = FEED.counter(
    "units_learned", "changes of the unit in which prices or quantities are counted"
)
FEED_DROPPED_LEVELS = FEED.counter(
    "dropped_levels", "levels of snapshots without a price above zero"
)
FEED_REFUSED_AT = FEED.words
"""One counter for each of status.REFUSALS, in their order."""
for _status in S.REFUSALS:
    FEED.counter(
        "refused_frames",
        "frames refused as malformed, by what was wrong",
        labels=(("reason", S.TEXTS[_status]),),
    )


@inlined
def view_meters(arena: Words) -> Words:
    """The words of the engine's meters."""
    return view_words(arena[L.ENGINE_METERS_ADDRESS], arena[L.ENGINE_METERS_WORDS])


class FeedLabels(Protocol):
    """What of an engine.specs.FeedSpec names its meters."""

    @property
    def venue(self) -> str: ...

    @property
    def symbol(self) -> str: ...

    @property
    def connection(self) -> int: ...


class InstrumentLabels(Protocol):
    """What of an engine.specs.InstrumentSpec names its meters."""

    @property
    def symbol(self) -> str: ...

    @property
    def feeds(self) -> Sequence[FeedLabels]: ...


def _feed_labels(instrument: InstrumentLabels, feed: FeedLabels) -> tuple[tuple[str, str], ...]:
    return (("venue", feed.venue), ("symbol", feed.symbol), ("instrument", instrument.symbol))


class EngineMeters(MeterWriter):
    """The meters of one engine, and where each block begins in `words`.

    `name=""` keeps them private (replay, tests). HandoffError: see MeterWriter.
    """

    def __init__(self, name: str, instruments: Sequence[InstrumentLabels], start_ns: int) -> None:
        feeds = [(each, feed) for each in instruments for feed in each.feeds]
        venues = {feed.connection: feed.venue for _, feed in feeds}
        blocks = [
            Block(LOOP),
            *(Block(VENUE, (("venue", venue),)) for venue in venues.values()),
            *(Block(INSTRUMENT, (("instrument", each.symbol),)) for each in instruments),
            *(Block(FEED, _feed_labels(each, feed)) for each, feed in feeds),
        ]
        super().__init__(name, ENGINE, blocks, start_ns)
        begins = iter(self.block_at)
        self.loop_at = next(begins)
        self.venue_at = {connection: next(begins) for connection in venues}
        """By the connection's number."""
        self.instrument_at = [next(begins) for _ in instruments]
        self.feed_at = [next(begins) for _ in feeds]

    @property
    def loop(self) -> Words:
        """The loop's block."""
        return self.words[self.loop_at : self.loop_at + LOOP_WORDS]
