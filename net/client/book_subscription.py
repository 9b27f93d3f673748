"""The connection of a watcher: subscribes, reconnects with backoff, says why it cannot.

Runs on: the thread that iterates it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import grpc

from net.gateway.authorization import SCHEME, read_token
from net.gateway.options import GatewayError, is_loopback
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub

FIRST_ANSWER_TIMEOUT_S = 3.0
"""A gateway answers ListInstruments in milliseconds; a host that drops packets never does."""

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.25, 2.0
"""A daemon restarts in seconds: a person who watches should not wait longer than it does."""

LASTING_CODES = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
)
"""Answers that trying again does not change."""

CHANNEL_OPTIONS = [
    # 64 KiB of old books in front of the newest one at most: by default the window grows to MBs.
    ("grpc.http2.bdp_probe", 0),
    # Every attempt starts anew, without the backoff that gRPC keeps for the address.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]

Metadata = tuple[tuple[str, str], ...]


class WatchError(Exception):
    """It cannot be watched; one line says why. `is_request` when asking again is no use."""

    def __init__(self, text: str, is_request: bool = False) -> None:
        super().__init__(text)
        self.is_request = is_request


@dataclass(frozen=True)
class Subscription:
    """What is watched, and where; no symbol is the default instrument, `tls_ca` means TLS."""

    target: str
    symbol: str = ""
    min_interval_ms: int = 0
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    token_file: str = ""

    def metadata(self) -> Metadata:
        """What shows the token; WatchError where it cannot be read."""
        if not self.token_file:
            return ()
        try:
            return (("authorization", f"{SCHEME}{read_token(self.token_file, '')}"),)
        except GatewayError as error:
            raise WatchError(str(error), True) from None


def open_channel(subscription: Subscription) -> grpc.Channel:
    """A channel to the target; WatchError where a certificate cannot be read."""
    target, files = subscription.target, (subscription.tls_key, subscription.tls_cert)
    # gRPC would ask the environment's proxy for what is on this host, too.
    is_near = is_loopback(target.rpartition(":")[0].strip("[]"))
    options = [*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", int(not is_near))]
    if not subscription.tls_ca:
        return grpc.insecure_channel(target, options=options)
    try:
        ca = Path(subscription.tls_ca).read_bytes()
        key, cert = (Path(path).read_bytes() if path else None for path in files)
    except OSError as error:
        raise WatchError(f"cannot read {error.filename}: {error.strerror}", True) from None
    credentials = grpc.ssl_channel_credentials(ca, key, cert)
    return grpc.secure_channel(target, credentials, options=options)


_Message = TypeVar("_Message", pb.Book, pb.Trade)


class _MessageFeed(Generic[_Message]):
    """Iterates over the messages of a subscription across connections, for ever or until it gives
    up.

    `on_trouble(text)` is called before each new attempt. After `give_up_after_s` without a message,
    counted from the first failure in a row, it raises WatchError; None never gives up.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        give_up_after_s: float | None,
        on_trouble: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._subscription = subscription
        self._give_up_after_s = give_up_after_s
        self._on_trouble = on_trouble
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed.set()
        if self._channel is not None:
            self._channel.close()

    def _messages(
        self, stub: MarketDataServiceStub, symbols: list[str], metadata: Metadata
    ) -> Iterable[_Message]:
        """The stream that is followed."""
        raise NotImplementedError

    def _of_one_connection(self) -> Iterator[_Message]:
        subscription = self._subscription
        with open_channel(subscription) as channel:
            self._channel = channel
            stub = MarketDataServiceStub(channel)
            symbol = subscription.symbol
            metadata = subscription.metadata()
            known = stub.ListInstruments(
                pb.ListInstrumentsRequest(), timeout=FIRST_ANSWER_TIMEOUT_S, metadata=metadata
            )
            symbols = [symbol] if symbol else [each.symbol for each in known.instruments[:1]]
            yield from self._messages(stub, symbols, metadata)

    def __iter__(self) -> Iterator[_Message]:
        failing_since_s: float | None = None
        backoff_s = BACKOFF_S_MIN
        while not self._closed.is_set():
            try:
                for message in self._of_one_connection():
                    failing_since_s, backoff_s = None, BACKOFF_S_MIN
                    yield message
                reason = "the stream ended"
            except grpc.RpcError as error:
                reason = self._reason(error)
            except ValueError:
                # A channel that was closed by `close` during the call.
                if self._closed.is_set():
                    return
                raise
            now_s = time.monotonic()
            failing_since_s = failing_since_s or now_s
            give_up_after_s = self._give_up_after_s
            if give_up_after_s is not None and now_s - failing_since_s >= give_up_after_s:
                raise WatchError(f"{reason} (tried for {give_up_after_s:g} s)")
            self._on_trouble(reason)
            self._closed.wait(backoff_s * random.uniform(0.8, 1.2))
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    def _reason(self, error: grpc.RpcError) -> str:
        """One line for a person; WatchError when there is no sense in another attempt."""
        code, details = error.code(), error.details() or ""
        if code in LASTING_CODES:
            raise WatchError(f"{self._subscription.target}: {details}", True) from None
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            details = "no answer"
        if "failed to connect" in details.lower() or "handshake" in details.lower():
            last = details.rpartition(": ")[2]
            details = f"cannot connect: {last[:1].lower()}{last[1:]}"
        return f"{self._subscription.target}: {' '.join(details.split()) or code.name}"


class Feed(_MessageFeed[pb.Book]):
    """The books of a subscription."""

    def _messages(
        self, stub: MarketDataServiceStub, symbols: list[str], metadata: Metadata
    ) -> Iterable[pb.Book]:
        interval_ms = self._subscription.min_interval_ms
        request = pb.StreamBookRequest(symbols=symbols, min_interval_ms=interval_ms)
        return stub.StreamBook(request, metadata=metadata)


class TradeFeed(_MessageFeed[pb.Trade]):
    """The trades of a subscription, from each connection on."""

    def _messages(
        self, stub: MarketDataServiceStub, symbols: list[str], metadata: Metadata
    ) -> Iterable[pb.Trade]:
        return stub.StreamTrades(pb.StreamTradesRequest(symbols=symbols), metadata=metadata)
