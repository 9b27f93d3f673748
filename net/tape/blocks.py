"""A tape's text in large blocks of whole lines, for a reader that needs no line by itself.

Runs on: the main thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from engine.sharing.directory import HandoffError, open_regular
from net.tape.frames import FrameError, unpack
from net.tape.tape import LINE_BYTES_MAX, TapeError, TapeLine, parse_line

BLOCK_BYTES = 1 << 20
"""Text that is read at once, about: large beside a line, small beside a cache."""


class TapeBlocks:
    """The blocks of one tape, to where it ends; TapeError where there is not even one line."""

    def __init__(self, path: Path) -> None:
        self.end = ""
        """Where and why it ends, where that is not its whole end."""
        self.path = path
        self.lines = 0
        """Lines in the blocks before the one that was handed out last."""
        self.share = 0.0
        """How much of the file has been read, from 0 to 1."""
        self._rest = b""

    def __iter__(self) -> Iterator[bytes]:
        pieces, size, is_begun = [self._rest], 0, False
        try:
            with open(open_regular(self.path, follows_links=True), "rb") as file:
                file_bytes = max(os.fstat(file.fileno()).st_size, 1)
                for piece in unpack(file):
                    pieces.append(piece)
                    size += len(piece)
                    if size < BLOCK_BYTES:
                        continue
                    block = self._whole_lines(pieces)
                    pieces, size = [self._rest], len(self._rest)
                    if len(self._rest) > LINE_BYTES_MAX:
                        raise FrameError(f"longer than {LINE_BYTES_MAX} bytes")
                    self.share = file.tell() / file_bytes
                    if block:
                        is_begun = True
                        yield block
                        self.lines += block.count(b"\n")
        except HandoffError as error:  # a pipe can be read only once
            raise TapeError(f"{error}: a tape must be one") from None
        except (OSError, FrameError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            block = self._whole_lines(pieces)
            if not is_begun and not block:
                raise TapeError(f"{self.path}: {reason}") from None
            yield from self._last(block)
            self.end = f"{self.path}:{self.lines + 1}: {reason}"
            return
        yield from self._last(b"".join(pieces))

    def line(self, text: bytes, number: int) -> TapeLine | None:
        """One line of the present block, its `number` from 0 on; TapeError where it is none."""
        return parse_line(text, f"{self.path}:{self.lines + number + 1}") if text.strip() else None

    def _whole_lines(self, pieces: list[bytes]) -> bytes:
        """The pieces as far as their last newline; the rest is kept."""
        text = b"".join(pieces)
        cut = text.rfind(b"\n") + 1
        self._rest = text[cut:]
        return text[:cut]

    def _last(self, block: bytes) -> Iterator[bytes]:
        if block:
            yield block
            self.lines += block.count(b"\n") + (not block.endswith(b"\n"))
