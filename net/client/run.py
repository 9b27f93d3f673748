"""`pollux watch`: picks the output, runs the subscription, ends cleanly whatever happens.

In a terminal: the live ladder; one thread reads the newest book, the calling thread draws ten times
a second. With --json, with --count, into a pipe or on a dumb terminal: one line per book, on
the calling thread. With --trades one line per trade, always.
Runs on: the main thread of a client process.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.live import Live

from net.client.book_lines import json_line, plain_line
from net.client.book_subscription import Feed, Subscription, TradeFeed, WatchError
from net.client.ladder import Ladder, LadderStatus
from net.client.maker_lines import plain_line as maker_line
from net.client.maker_subscription import JOIN_TIMEOUT_S, MakerFeed
from net.client.trade_lines import trade_json_line, trade_line
from net.process.terminal import can_draw, discard_output
from proto.pollux.v1 import market_data_pb2 as pb
from tuning.clock import wall_ns

GIVE_UP_AFTER_S = 10.0
"""A script must learn that nobody is there; a person in front of the ladder may wait."""

FRAMES_PER_S = 10
"""Faster than the eye follows a number, and slow enough for a terminal across a network."""

RATE_WINDOW_S = 2.0
"""The rate shown is that of the last two seconds."""
RATE_MARKS_MAX = 4096
"""Arrivals kept for the rate: beyond 2,000 a second the window gets shorter instead."""

MAKER_LINE_INTERVAL_MS = 1000
"""Between two lines of the market maker: its fair price moves with every book."""


@dataclass(frozen=True)
class WatchOptions:
    """What the command line of `pollux watch` says."""

    target: str = "127.0.0.1:5002"
    symbol: str = ""
    count: int | None = None
    json: bool = False
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    token_file: str = ""
    trades: bool = False
    give_up_after_s: float = GIVE_UP_AFTER_S

    def subscription(self, min_interval_ms: int = 0) -> Subscription:
        return Subscription(
            self.target, self.symbol, min_interval_ms, self.tls_ca, self.tls_cert, self.tls_key,
            self.token_file,
        )  # fmt: skip


def run_watch(options: WatchOptions, stdout: TextIO) -> int:
    """Watch until the count or Ctrl-C; the exit status: 0, 1 failed, 2 wrong request."""
    try:
        if options.trades:
            _print_trades(options, stdout)
        elif options.json or options.count is not None or not can_draw(stdout):
            _print_lines(options, stdout)
        else:
            _show_ladder(options, stdout)
    except WatchError as error:
        print(f"pollux watch: {error}", file=sys.stderr)
        return 2 if error.is_request else 1
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        discard_output(stdout)
    return 0


def _print_lines(options: WatchOptions, stdout: TextIO) -> None:
    if options.count is not None and options.count <= 0:
        return
    feed = Feed(options.subscription(), give_up_after_s=options.give_up_after_s)
    with contextlib.ExitStack() as until_the_end:
        until_the_end.callback(feed.close)
        makers: MakerFeed | None = None
        if not options.json:
            makers = MakerFeed(options.subscription(MAKER_LINE_INTERVAL_MS))
            until_the_end.callback(makers.close)
        said = None
        for number, book in enumerate(feed, start=1):
            stdout.write((json_line if options.json else plain_line)(book) + "\n")
            maker = makers.latest if makers is not None else None
            if maker is not None and maker is not said:
                said = maker
                stdout.write(f"  {maker_line(maker)}\n")
            stdout.flush()
            if number == options.count:
                return


def _print_trades(options: WatchOptions, stdout: TextIO) -> None:
    feed = TradeFeed(options.subscription(), give_up_after_s=options.give_up_after_s)
    with contextlib.closing(feed):
        for number, trade in enumerate(feed, start=1):
            stdout.write((trade_json_line if options.json else trade_line)(trade) + "\n")
            stdout.flush()
            if number == options.count:
                return


class _Latest:
    """What the reading thread has: the newest book, its lag, the rate, the trouble.

    Written by the reading thread; each field is replaced as a whole, so the drawing thread needs
    no lock.
    """

    def __init__(self) -> None:
        self.book: pb.Book | None = None
        self.lag_ns: int | None = None
        self.notice = "connecting"
        self.error: BaseException | None = None
        self._marks_s: deque[float] = deque(maxlen=RATE_MARKS_MAX)

    def put(self, book: pb.Book) -> None:
        self.lag_ns = wall_ns() - book.publish_time_ns
        self.book = book
        self.notice = ""
        self._marks_s.append(time.monotonic())

    def trouble(self, text: str) -> None:
        self.notice = f"connecting: {text}"

    def updates_per_s(self) -> float:
        since_s = time.monotonic() - RATE_WINDOW_S
        recent = [mark_s for mark_s in self._marks_s.copy() if mark_s > since_s]
        full = len(recent) == RATE_MARKS_MAX
        window_s = recent[-1] - recent[0] if full else RATE_WINDOW_S
        return len(recent) / max(window_s, 1e-9)

    def ladder(self, target: str, makers: MakerFeed) -> Ladder:
        status = LadderStatus(wall_ns(), self.updates_per_s(), self.lag_ns, self.notice)
        return Ladder(self.book, status, target, makers.latest)


def _read(feed: Feed, latest: _Latest, ended: threading.Event) -> None:
    try:
        for book in feed:
            latest.put(book)
    except BaseException as error:
        latest.error = error
    finally:
        ended.set()


def _show_ladder(options: WatchOptions, stdout: TextIO) -> None:
    latest, ended = _Latest(), threading.Event()
    feed = Feed(options.subscription(), give_up_after_s=None, on_trouble=latest.trouble)
    reader = threading.Thread(
        target=_read, args=(feed, latest, ended), name="watch-reader", daemon=True
    )
    console = Console(file=stdout)
    makers = MakerFeed(options.subscription())
    reader.start()
    try:
        with Live(
            latest.ladder(options.target, makers), console=console, screen=True, auto_refresh=False
        ) as live:
            while not ended.wait(1 / FRAMES_PER_S):
                live.update(latest.ladder(options.target, makers), refresh=True)
    finally:
        feed.close()
        makers.close()
        reader.join(JOIN_TIMEOUT_S)
    if latest.error is not None:
        raise latest.error
