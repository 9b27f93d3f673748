"""Follows the market maker of a gateway beside the books: its latest state, while it has one.

Runs on: a thread of its own.
"""

from __future__ import annotations

import threading

import grpc

from net.client.book_subscription import Subscription, WatchError, open_channel
from proto.pollux.v1 import maker_pb2
from proto.pollux.v1.maker_pb2_grpc import MakerServiceStub

AGAIN_S = 3.0
"""Most gateways have no market maker, and a person who watches waits so long for one that comes."""
JOIN_TIMEOUT_S = 1.0


class MakerFeed:
    """`latest` is the newest state, None where there is none or it cannot be had.

    It is replaced as a whole by the feed's thread, so its readers need no lock. Why there is none
    is not told: what is wrong with the gateway is told by the books' own feed.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.latest: maker_pb2.Maker | None = None
        self._subscription = subscription
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None
        self._thread = threading.Thread(target=self._run, name="watch-maker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._channel is not None:
            self._channel.close()
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except (grpc.RpcError, WatchError):
                pass
            except ValueError:
                # A channel that was closed by `close` during the call.
                if not self._closed.is_set():
                    raise
            self.latest = None
            self._closed.wait(AGAIN_S)

    def _follow(self) -> None:
        with open_channel(self._subscription) as channel:
            self._channel = channel
            request = maker_pb2.StreamMakerRequest(
                min_interval_ms=self._subscription.min_interval_ms,
                symbol=self._subscription.symbol,
            )
            metadata = self._subscription.metadata()
            for maker in MakerServiceStub(channel).StreamMaker(request, metadata=metadata):
                self.latest = maker
