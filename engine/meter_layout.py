"""What the engine counts: the descriptor of its meters, block by block.

    engine | LOOP | VENUE 0..V-1 | INSTRUMENT 0..I-1 | FEED 0..F-1 |

A venue's block is that of its connection. Kernels write what belongs to frames and books, through
`view_meters` and the places below; sessions, venues and streams write the rest, which is rare. All
of it is written by the engine thread, where it is counted and nowhere else. What is in the handoff
already (states, times of the last frame, the heartbeat) is no meter.
Runs on: the engine thread (writing). Called by: engine.engine, the kernels, net.session, net.venue,
net.spin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import layout as L
from engine import status as S
from engine.atomics import Words, view_words
from engine.jit import inlined
from engine.meters import Block, Kind, Meter, MeterWriter, meters_kind, places

if TYPE_CHECKING:
    from engine.engine import FeedSpec, InstrumentSpec

ENGINE = "engine"
ENGINE_METERS = meters_kind(ENGINE)
"""The segment's kind, beside the handoff."""

_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

# --- the loop ------------------------------------------------------------------------------------

LOOP_METERS = (
    Meter("loop_turn", _HISTOGRAM, "from the end of a wait to the next one's beginning", "ns"),
    Meter("loop_idle", _COUNTER, "time that the engine thread waited for something to do", "ns"),
)
LOOP_TURN, LOOP_IDLE, LOOP_WORDS = places(LOOP_METERS)

# --- a venue's connection ------------------------------------------------------------------------

VENUE_METERS = (
    Meter("connections", _COUNTER, "connections made, the first included"),
    Meter("other_symbols", _COUNTER, "book frames of symbols that were not asked for"),
    Meter("binary_frames", _COUNTER, "binary frames, which no venue should send"),
    Meter("not_understood", _COUNTER, "text frames of a form nobody knows"),
)
VENUE_CONNECTIONS, VENUE_OTHER_SYMBOLS, VENUE_BINARY_FRAMES, VENUE_NOT_UNDERSTOOD, _ = places(
    VENUE_METERS
)

# --- an instrument -------------------------------------------------------------------------------

INSTRUMENT_METERS = (
    Meter("books_published", _COUNTER, "books published"),
    Meter("books_crossed", _COUNTER, "books published with the bid at or above the ask"),
    Meter("books_unchanged", _COUNTER, "merges that left the book as it was, and were not told"),
    Meter(
        "publish_latency", _HISTOGRAM, "from a frame's arrival to the book that it changed", "ns"
    ),
)
(
    INSTRUMENT_PUBLISHED,
    INSTRUMENT_CROSSED,
    INSTRUMENT_UNCHANGED,
    INSTRUMENT_PUBLISH_LATENCY,
    _,
) = places(INSTRUMENT_METERS)

# --- a feed --------------------------------------------------------------------------------------

# What every frame writes comes first: with the histogram's sum and maximum it fills a cache line.
_FRAME_METERS = (
    Meter("frames", _COUNTER, "book frames taken"),
    Meter("frame", _COUNTER, "bytes of book frames", "bytes"),
    Meter("levels", _COUNTER, "levels in book frames"),
    Meter("unknown_deletes", _COUNTER, "deletes of levels that the book did not have"),
    Meter("old_frames", _COUNTER, "book frames that the stream had brought before"),
    Meter("receive_lag", _HISTOGRAM, "from the venue's time of a frame to its arrival", "ns"),
    Meter("snapshot_timestamp", _GAUGE, "when the book's last snapshot was taken over", "ns"),
)
(
    FEED_FRAMES,
    FEED_BYTES,
    FEED_LEVELS,
    FEED_UNKNOWN_DELETES,
    FEED_OLD,
    FEED_RECEIVE_LAG,
    FEED_SNAPSHOT_NS,
    FEED_SIDES_AT,
) = places(_FRAME_METERS)


def _side_meters(side: str) -> tuple[Meter, ...]:
    labels = (("side", side),)
    return (
        Meter("far_levels", _GAUGE, "levels of the book outside the window", labels=labels),
        Meter("far_levels_dropped", _COUNTER, "levels there was no room for", labels=labels),
        Meter("window_slides", _COUNTER, "moves of the window after the price", labels=labels),
    )


SIDE_FAR_LEVELS, SIDE_FAR_DROPPED, SIDE_SLIDES, SIDE_WORDS = places(_side_meters(""))

_SESSION_METERS = (
    Meter("resyncs", _COUNTER, "books thrown away and built anew"),
    Meter("gaps", _COUNTER, "sequence gaps seen"),
    Meter("snapshots_asked", _COUNTER, "snapshots asked for"),
    Meter("snapshots_refused", _COUNTER, "snapshots refused or failed"),
    Meter("audits_passed", _COUNTER, "audits that found no difference"),
    Meter("audits_failed", _COUNTER, "audits that found a difference"),
)
(
    FEED_RESYNCS,
    FEED_GAPS,
    FEED_SNAPSHOTS_ASKED,
    FEED_SNAPSHOTS_REFUSED,
    FEED_AUDITS_PASSED,
    FEED_AUDITS_FAILED,
    FEED_REFUSED_AT,
) = (FEED_SIDES_AT + 2 * SIDE_WORDS + place for place in places(_SESSION_METERS))
"""REFUSED_AT: one counter for each of status.REFUSALS, in their order."""

_REFUSED_METERS = tuple(
    Meter(
        "refused_frames",
        _COUNTER,
        "frames refused as malformed, by what was wrong",
        labels=(("reason", S.TEXTS[status]),),
    )
    for status in S.REFUSALS
)
FEED_METERS = (
    *_FRAME_METERS,
    *_side_meters("bid"),
    *_side_meters("ask"),
    *_SESSION_METERS,
    *_REFUSED_METERS,
)

assert places(FEED_METERS)[-1] == FEED_REFUSED_AT + len(S.REFUSALS), "the places are those of all"


@inlined
def view_meters(arena: Words) -> Words:
    """The words of the engine's meters."""
    return view_words(arena[L.ENGINE_METERS_ADDRESS], arena[L.ENGINE_METERS_WORDS])


def _feed_labels(instrument: InstrumentSpec, feed: FeedSpec) -> tuple[tuple[str, str], ...]:
    return (("venue", feed.venue), ("symbol", feed.symbol), ("instrument", instrument.symbol))


class EngineMeters(MeterWriter):
    """The meters of one engine, and where each block begins in `words`.

    `name=""` keeps them private (replay, tests). HandoffError: see MeterWriter.
    """

    def __init__(self, name: str, instruments: tuple[InstrumentSpec, ...], start_ns: int) -> None:
        feeds = [(each, feed) for each in instruments for feed in each.feeds]
        venues = {feed.connection: feed.venue for _, feed in feeds}
        blocks = [
            Block(LOOP_METERS),
            *(Block(VENUE_METERS, (("venue", venue),)) for venue in venues.values()),
            *(Block(INSTRUMENT_METERS, (("instrument", each.symbol),)) for each in instruments),
            *(Block(FEED_METERS, _feed_labels(each, feed)) for each, feed in feeds),
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
