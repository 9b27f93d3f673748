"""A tape's text in compressed frames: each can be read without the others.

zstd is written, with a checksum in each frame: what is damaged is never taken for right. gzip,
which is written where a file is named `.gz`, is believed as it comes: old tapes are one frame, with
the checksum behind all of it.
Runs on: any thread.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, NamedTuple

import zstandard

READ_BYTES = 4096
"""Read at once: what a hostile file makes of it stays below 200 MB."""
HELD_BYTES_MAX = 32 << 20
"""Text of a frame that is held until its checksum has come; a longer frame is none of ours."""
GZIP_LEVEL, ZSTD_LEVEL = 5, 3


class FrameError(Exception):
    """The text ends here: why."""


class _Form(NamedTuple):
    magic: bytes
    new_decoder: Callable[[], Any]
    error: type[Exception]
    is_checked: bool
    """Whether a frame is held back until it has shown to be right."""


_FORMS = (
    _Form(b"\x28\xb5\x2f\xfd", zstandard.ZstdDecompressor().decompressobj,
          zstandard.ZstdError, True),
    _Form(b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31), zlib.error, False),
)  # fmt: skip


def packer(name: str) -> Callable[[bytes], bytes]:
    """What makes a whole frame of a text, for a file of this name."""
    if name.endswith(".gz"):
        return lambda text: gzip.compress(text, GZIP_LEVEL)
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress


def unpack(file: BinaryIO) -> Iterator[bytes]:
    """The text of a file in pieces; FrameError where it does not go on as it should."""
    data = file.read(READ_BYTES)
    if not data:
        raise FrameError("the file is empty")
    form = next((each for each in _FORMS if data.startswith(each.magic)), None)
    if form is None:
        raise FrameError("it is neither zstd nor gzip")
    while data:
        data = yield from _unpack_frame(file, data, form)


def _unpack_frame(file: BinaryIO, data: bytes, form: _Form) -> Generator[bytes, None, bytes]:
    """One frame that begins with `data`; returns what was read beyond it."""
    decoder, held = form.new_decoder(), bytearray()
    is_held = form.is_checked
    while True:
        try:
            held += decoder.decompress(data)
        except form.error as error:
            raise FrameError(f"damaged: {error}") from None
        is_held = is_held and len(held) <= HELD_BYTES_MAX
        if decoder.eof or not is_held:
            yield bytes(held)
            held.clear()
        if decoder.eof:
            return decoder.unused_data or file.read(READ_BYTES)
        data = file.read(READ_BYTES)
        if not data:
            # What came of the last frame is whole as far as it goes.
            yield bytes(held)
            raise FrameError("cut short")


def split_lines(pieces: Iterator[bytes], line_bytes_max: int) -> Iterator[bytes]:
    """The lines of a text that comes in pieces; of one that is cut short, the whole ones."""
    parts: list[bytes] = []
    for piece in pieces:
        begin = 0
        while (end := piece.find(b"\n", begin)) >= 0:  # one by one: a piece may be all empty lines
            yield b"".join((*parts, piece[begin:end]))
            parts.clear()
            begin = end + 1
        parts.append(piece[begin:])
        if sum(map(len, parts)) > line_bytes_max:
            raise FrameError(f"longer than {line_bytes_max} bytes")
    if any(parts):
        yield b"".join(parts)
