"""How a venue's book is kept, as data: where snapshots come from, what continues the stream.

A venue declares one `BookRules`; the engine compiles it into words of its arena, and the kernels
branch on those integers alone.
Runs on: any thread (constants and facts; compiled once, at start).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.decoding.schema import (
    FIELD_CHECKSUM,
    IDS_LINK,
    IDS_NONE,
    IDS_PREVIOUS,
    IDS_RANGE,
    MessageSchema,
    SchemaError,
)
from engine.layout import layout as L

(
    CONTINUITY_RANGE,
    CONTINUITY_CHAIN,
    CONTINUITY_LINK,
    CONTINUITY_STEP,
    CONTINUITY_TIME,
    CONTINUITY_NONE,
) = range(6)
"""What follows id: first <= id + 1 <= last; previous = id, ids rise; previous = id, whatever the
new id is; last = id + 1; a later time, which shows no gap; anything, which shows nothing."""

(SNAPSHOT_REST, SNAPSHOT_STREAM, SNAPSHOT_EITHER, SNAPSHOT_EACH) = range(4)
"""Where a whole book comes from: a REST answer; a frame of the stream; both; every frame is one."""

(JOIN_NEXT, JOIN_WITHIN) = range(2)
"""A snapshot with this id is new enough for a stream that begins with `first`: first <= id + 1;
first <= id."""

(CHECKSUM_NONE, CHECKSUM_DIGITS, CHECKSUM_TEXT) = range(3)
"""CRC32 over a book's best levels: their digits alone, as printed, of ten asks and then ten bids;
their shortest decimals `price:quantity` joined by colons, 25 bids and asks in turn, where zero and
a missing one mean none (engine.book.checksum)."""


@dataclass(frozen=True)
class BookRules:
    """One venue's rules and the schemas of its messages. SchemaError where they contradict."""

    frame: MessageSchema
    continuity: int
    source: int
    snapshot: MessageSchema | None = None
    """The REST answer's schema."""
    join: int = JOIN_NEXT
    is_connection_wide: bool = False
    """Ids step from frame to frame of the connection, over all channels."""
    checksum: int = CHECKSUM_NONE
    bound: int = 0
    """Levels a side that are kept after each frame: the venue sends no deletes of what falls out;
    0: all."""
    has_zero_prices: bool = False
    """Levels of a diff whose price is zero only move the ids."""

    def __post_init__(self) -> None:
        if (self.snapshot is not None) != (self.source in (SNAPSHOT_REST, SNAPSHOT_EITHER)):
            raise SchemaError("a snapshot schema and a REST source go together")
        if self.is_streamed != self.frame.has_snapshots:
            raise SchemaError("a source in the stream needs frames that are snapshots")
        if (self.continuity == CONTINUITY_NONE) != (self.frame.ids == IDS_NONE):
            raise SchemaError("no ids and no continuity go together")
        if self.continuity == CONTINUITY_NONE and self.source not in (
            SNAPSHOT_STREAM, SNAPSHOT_EACH,
        ):  # fmt: skip
            raise SchemaError("without ids no REST snapshot can be joined")
        forms = {
            CONTINUITY_RANGE: IDS_RANGE,
            CONTINUITY_CHAIN: IDS_PREVIOUS,
            CONTINUITY_LINK: IDS_LINK,
        }
        if self.frame.ids != forms.get(self.continuity, self.frame.ids):
            raise SchemaError("the frame's ids are not what its continuity needs")
        if self.is_connection_wide and (
            self.continuity != CONTINUITY_STEP or self.source != SNAPSHOT_STREAM
        ):
            raise SchemaError("ids of a connection step, and its books come in the stream")
        is_summed = any(key.field == FIELD_CHECKSUM for key in self.frame.keys)
        if is_summed != (self.checksum != CHECKSUM_NONE):
            raise SchemaError("a CHECKSUM key and its rule go together")
        if not 0 <= self.bound <= L.DEPTH_MAX:
            raise SchemaError(f"a bound of {self.bound} levels; at most {L.DEPTH_MAX}")

    @property
    def is_streamed(self) -> bool:
        """Whether whole books come in the stream."""
        return self.source != SNAPSHOT_REST

    @property
    def has_gap_detection(self) -> bool:
        """Whether a lost frame shows in the next one."""
        return self.continuity not in (CONTINUITY_TIME, CONTINUITY_NONE)

    @property
    def is_self_checking(self) -> bool:
        """Whether a frame that is lost or wrong shows in the stream itself."""
        return self.has_gap_detection or self.checksum != CHECKSUM_NONE

    @property
    def can_overlap(self) -> bool:
        """Whether two connections may feed the book for a moment: ids show what came twice."""
        return self.has_gap_detection and not self.is_streamed

    def joins(self, snapshot_id: int, first_id: int) -> bool:
        """Whether a snapshot is new enough for a stream that begins with `first_id`."""
        if self.is_connection_wide:
            return True  # what was kept came after it, and no number was missing
        return first_id <= snapshot_id + (1 if self.join == JOIN_NEXT else 0)

    def words(self) -> list[int]:
        """The rules as RULES_WORDS words (engine.layout.layout)."""
        snapshot = [0] * L.SCHEMA_WORDS if self.snapshot is None else self.snapshot.words()
        header = [
            self.continuity,
            self.is_connection_wide,
            self.is_streamed,
            self.has_zero_prices,
            self.checksum,
            self.bound,
        ]
        assert len(header) == L.RULES_FRAME_AT
        words = [*map(int, header), *self.frame.words(), *snapshot]
        assert len(words) == L.RULES_WORDS
        return words
