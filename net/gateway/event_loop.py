"""The gateway's event loop: asyncio's, whose waiting is a turn of the data path.

    asyncio turn -> select() -> turn: books to subscribers, no GIL -> notices, sockets -> asyncio

Runs on: the gateway's thread.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from net.gateway.data_path.data_path import DataPath

LONGEST_S = 3600.0
"""A wait without a timer ends after an hour, finds nothing, and is begun again."""
Notices = list[tuple[int, int]]


class TurnSelector(selectors.EpollSelector):
    """An epoll selector that serves the data path's books while it waits."""

    def __init__(self, path: DataPath) -> None:
        super().__init__()
        self._path = path
        self._by_descriptor: dict[int, selectors.SelectorKey] = {}
        self.on_turn: Callable[[Notices], None] = lambda notices: None
        """Is told of each turn's end, with its notices, before `select` returns."""
        path.poll_by(self.fileno())

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self._by_descriptor[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._by_descriptor.pop(key.fd, None)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().modify(fileobj, events, data)
        self._by_descriptor[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve books until a descriptor is ready, there is a notice, or the time is over."""
        wait_s = LONGEST_S if timeout is None else min(max(timeout, 0.0), LONGEST_S)
        found = self._path.turn(int(wait_s * 1e9))
        self.on_turn(self._path.take_notices())
        ready = []
        for descriptor, mask in found:
            key = self._by_descriptor.get(descriptor)
            if key is not None:
                events = EVENT_READ * bool(mask & ~EPOLLOUT) | EVENT_WRITE * bool(mask & ~EPOLLIN)
                events &= key.events
                if events:
                    ready.append((key, events))
        return ready
