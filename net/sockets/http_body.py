"""The body of an HTTP answer, bounded, and why a request failed.

Runs on: the thread of the loop.
"""

from __future__ import annotations

import aiohttp

BANNED = 418
"""What venues answer to an address that went on after 429; HTTP has no such name for it."""


class RestError(Exception):
    """A request that failed: one line, and how long the venue wants to be left alone."""

    def __init__(
        self, reason: str, retry_after_s: float = 0.0, status: int = 0, body: object = None
    ) -> None:
        """`body`: that of a refusal, decoded, where it is JSON."""
        super().__init__(reason)
        self.body = body
        self.retry_after_s = retry_after_s
        self.status = status


async def read_body(answer: aiohttp.ClientResponse, size_max: int) -> bytes:
    """The whole body; RestError where it is longer than `size_max` bytes."""
    if (answer.content_length or 0) > size_max:
        raise RestError(f"a body of {answer.content_length} bytes")
    chunks, size = [], 0
    async for chunk in answer.content.iter_chunked(1 << 18):
        size += len(chunk)
        if size > size_max:
            raise RestError(f"a body of more than {size_max} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
