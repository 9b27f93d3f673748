"""Frames of one feed that are kept until a snapshot can be joined with them.

Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BYTES_MAX = 64 << 20
"""Bytes kept, for pairs whose frames are large."""


class FrameBuffer:
    """The frames since it was cleared, and what is known of them without decoding them again."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Keep nothing."""
        self.first_id = 0
        """The id from which the first frame goes on; 0 where it is empty."""
        self._frames: list[bytes] = []
        self._bytes = 0
        self._set_ids = [0, 0]

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._frames)

    def add(self, frame: bytes, first_id: int, last_id: int, sets: Sequence[bool]) -> None:
        """One more frame: its ids, and whether it sets bids and asks."""
        assert len(sets) == 2
        if not self._frames:
            self.first_id = first_id
        for is_asks, is_set in enumerate(sets):
            if is_set:
                self._set_ids[is_asks] = last_id
        self._frames.append(frame)
        self._bytes += len(frame)

    def is_full(self, frames_max: int) -> bool:
        """Whether it holds more than so many frames, or than BYTES_MAX."""
        return len(self._frames) > frames_max or self._bytes > BYTES_MAX

    def sets_both_sides_since(self, book_id: int) -> bool:
        """Whether frames at or behind this id have set a bid and an ask."""
        return min(self._set_ids) >= book_id
