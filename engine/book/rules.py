"""How a venue's book is kept, as data: where snapshots come from, what continues the stream.

A venue declares one `BookRules`; the engine compiles it into words of its arena, and the kernels
branch on those integers alone.
Runs on: any thread (constants and facts; compiled once, at start).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.decoding.schema import (
    IDS_NONE,
    IDS_PREVIOUS,
    IDS_RANGE,
    MessageSchema,
    SchemaError,
)
from engine.layout import layout as L

(CONTINUITY_RANGE, CONTINUITY_CHAIN, CONTINUITY_STEP, CONTINUITY_TIME, CONTINUITY_NONE) = range(5)
"""What follows id: first <= id + 1 <= last; previous = id; last = id + 1; a later time, which shows
no gap; anything, which shows nothing."""

(SNAPSHOT_REST, SNAPSHOT_STREAM, SNAPSHOT_EITHER, SNAPSHOT_EACH) = range(4)
"""Where a whole book comes from: a REST answer; a frame of the stream; both; every frame is one."""

(JOIN_NEXT, JOIN_WITHIN) = range(2)
"""A snapshot with this id is new enough for a stream that begins with `first`: first <= id + 1;
first <= id."""


@dataclass(frozen=True)
class BookRules:
    """One venue's rules and the schemas of its messages. SchemaError where they contradict."""

    frame: MessageSchema
    continuity: int
    source: int
    snapshot: MessageSchema | None = None
    """The REST answer's schema."""
    join: int = JOIN_NEXT

    def __post_init__(self) -> None:
        if (self.snapshot is not None) != (self.source in (SNAPSHOT_REST, SNAPSHOT_EITHER)):
            raise SchemaError("a snapshot schema and a REST source go together")
        if self.is_streamed != (bool(self.frame.snapshot) or self.frame.is_snapshot):
            raise SchemaError("a source in the stream needs frames that are snapshots")
        if (self.continuity == CONTINUITY_NONE) != (self.frame.ids == IDS_NONE):
            raise SchemaError("no ids and no continuity go together")
        if self.continuity == CONTINUITY_NONE and self.source not in (
            SNAPSHOT_STREAM, SNAPSHOT_EACH,
        ):  # fmt: skip
            raise SchemaError("without ids no REST snapshot can be joined")
        forms = {CONTINUITY_RANGE: IDS_RANGE, CONTINUITY_CHAIN: IDS_PREVIOUS}
        if self.frame.ids != forms.get(self.continuity, self.frame.ids):
            raise SchemaError("the frame's ids are not what its continuity needs")

    @property
    def is_streamed(self) -> bool:
        """Whether whole books come in the stream."""
        return self.source != SNAPSHOT_REST

    @property
    def has_gap_detection(self) -> bool:
        """Whether a lost frame shows in the next one."""
        return self.continuity in (CONTINUITY_RANGE, CONTINUITY_CHAIN, CONTINUITY_STEP)

    def joins(self, snapshot_id: int, first_id: int) -> bool:
        """Whether a snapshot is new enough for a stream that begins with `first_id`."""
        return first_id <= snapshot_id + (1 if self.join == JOIN_NEXT else 0)

    def words(self) -> list[int]:
        """The rules as RULES_WORDS words (engine.layout.layout)."""
        snapshot = [0] * L.SCHEMA_WORDS if self.snapshot is None else self.snapshot.words()
        words = [self.continuity, *self.frame.words(), *snapshot]
        assert len(words) == L.RULES_WORDS
        return words
