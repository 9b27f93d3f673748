"""An event loop whose clock jumps to the next timer instead of waiting for it.

Minutes pass in a moment. `JumpingTime` stands in for the `time` module in the code under test.
Runs on: the tests' thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: the clock is put forward by as long as it was told to wait."""

    now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now_s += max(timeout or 0.0, 0.0)
        return super().select(0)


class JumpingTime:
    """Both clocks are the loop's, which begins at 1,000 s. A context manager: it ends the loop."""

    def __init__(self) -> None:
        self._selector = _Jump()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._loop.time = self.monotonic  # type: ignore[method-assign]

    def monotonic(self) -> float:
        return self._selector.now_s

    def time(self) -> float:
        return self._selector.now_s

    def monotonic_ns(self) -> int:
        return int(self._selector.now_s * 1e9)

    def time_ns(self) -> int:
        return int(self._selector.now_s * 1e9)

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        return self._loop.run_until_complete(main)

    def __enter__(self) -> JumpingTime:
        return self

    def __exit__(self, *_: object) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.close()
