"""A stage for Python: one decoded message, until a book takes it over.

The layout is engine.layout.layout's; kernels fill it (engine.decoding).
Runs on: the thread that made it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.compiling.atomics import Words
from engine.decoding.decode import KIND_SNAPSHOT
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing.memory import sparse_words


@dataclass
class Stage:
    """Room for one decoded snapshot, owned by the thread that decodes it."""

    levels_max: int = L.SNAPSHOT_LEVELS_MAX
    words: Words = field(init=False)
    body: bytes = field(init=False, default=b"")
    """The text that is staged, so that it can be staged again in other units."""
    status: int = field(init=False, default=S.BAD_SCHEMA)
    epoch: int = field(init=False, default=0)
    """The feed's UNITS_EPOCH before it was staged."""
    is_frame: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.words = sparse_words(L.stage_words(self.levels_max))
        self.words[L.STAGE_LEVELS_MAX] = self.levels_max

    @property
    def last_id(self) -> int:
        """The staged update id, or the time where a venue sends no other id."""
        return int(self.words[L.STAGE_LAST_ID])

    @property
    def is_snapshot(self) -> bool:
        """Whether a whole book is staged."""
        return int(self.words[L.STAGE_KIND]) == KIND_SNAPSHOT

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
