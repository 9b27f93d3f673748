"""What the buffer knows of the frames that it keeps."""

from __future__ import annotations

import pytest

from net.feed import frame_buffer
from net.feed.frame_buffer import FrameBuffer


def test_it_keeps_frames_in_order_and_the_id_where_they_begin() -> None:
    buffer = FrameBuffer()
    assert not buffer and buffer.first_id == 0
    buffer.add(b"one", 5, 7, (True, False))
    buffer.add(b"two", 8, 9, (False, False))
    assert list(buffer) == [b"one", b"two"] and len(buffer) == 2 and buffer.first_id == 5
    buffer.clear()
    assert not buffer and buffer.first_id == 0


def test_both_sides_count_only_where_the_stream_has_set_both_since() -> None:
    buffer = FrameBuffer()
    buffer.add(b"", 1, 10, (True, False))
    assert not buffer.sets_both_sides_since(1)
    buffer.add(b"", 11, 12, (False, True))
    assert buffer.sets_both_sides_since(10) and not buffer.sets_both_sides_since(11)
    buffer.add(b"", 13, 13, (True, False))
    assert buffer.sets_both_sides_since(12) and not buffer.sets_both_sides_since(13)


def test_it_is_full_by_frames_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_buffer, "BYTES_MAX", 10)
    buffer = FrameBuffer()
    buffer.add(b"12345", 1, 1, (True, True))
    buffer.add(b"12345", 2, 2, (True, True))
    assert buffer.is_full(1) and not buffer.is_full(2)
    buffer.add(b"1", 3, 3, (True, True))
    assert buffer.is_full(1000)
