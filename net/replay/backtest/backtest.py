"""A market maker over tapes as fast as they go: a replay whose frames stay in compiled code.

It is net.replay.replay with the same books, the same market maker and the same order of things;
what the compiled loop (engine.maker.tape_run) does by itself is what happens at nearly every frame.
It stops for everything else: a line that is no plain frame, a frame for a book's sync, messages of
orders on paper, the timer, and the moments that the result is measured at.
Runs on: the main thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from engine.compiling.atomics import Words, address_of
from engine.layout import layout as L
from engine.layout import status as S
from engine.maker import tape_layout as T
from engine.maker.tape_run import learn_shape, run_tape
from net.config.schema import Config, ConfigError
from net.feed.venue_feeds import VenueFeeds
from net.maker.paper_orders import PaperFill
from net.replay.backtest.fills_csv import digest_of
from net.replay.backtest.results import Results
from net.replay.replay import TIMER_NS, Replay
from net.tape.blocks import TapeBlocks
from net.tape.tape import TapeError, TapeLine
from net.venues.interface import Control

if TYPE_CHECKING:
    from net.replay.replay import ReplaySummary

RAW_BYTES_MAX = 4 << 20
"""A longer frame is read without the loop."""

Progress = Callable[[float], None]
"""Told now and then how much of a tape is done, from 0 to 1."""


class Backtest(Replay):
    """One run over several tapes, in the order of their times. ConfigError without a maker."""

    def __init__(self, config: Config, ticks: dict[tuple[str, str], str]) -> None:
        if not config.maker:
            raise ConfigError("maker: is missing: nothing is quoted without a [maker] section")
        super().__init__(config, ticks)
        assert self.maker is not None
        self.results = Results(self.engine, self.maker)
        self.ends: list[str] = []
        """Where and why damaged tapes end before their end."""
        self._run: Words = np.zeros(T.RUN_WORDS, np.int64)
        self._address = int(self._run.ctypes.data)
        self._raw = np.zeros(RAW_BYTES_MAX, np.uint8)
        self._by_place = list(self.venues.values())
        if len(self._by_place) > T.TAPE_VENUES_MAX:
            raise ConfigError(f"instrument: more than {T.TAPE_VENUES_MAX} venues in a backtest")
        self._describe()
        for paper in self.maker.papers.values():
            paper.on_fill = self._on_fill

    def _describe(self) -> None:
        run = self._run
        assert self.maker is not None
        run[T.RUN_ARENA] = self.engine.arena.ctypes.data
        run[T.RUN_RAW], run[T.RUN_RAW_ROOM] = self._raw.ctypes.data, len(self._raw)
        run[T.RUN_VENUES] = len(self._by_place)
        for place, venue in enumerate(self._by_place):
            at = T.RUN_VENUES_AT + place * T.TAPE_VENUE_WORDS
            name = venue.name.encode()
            run[at + T.TAPE_VENUE_NAME_BYTES] = len(name)
            run[at + T.TAPE_VENUE_CONNECTION] = venue.connection
            padded = np.frombuffer(name.ljust(L.VENUE_NAME_BYTES_MAX, b"\0"), np.int64)
            run[at + T.TAPE_VENUE_NAME_AT :][: L.VENUE_NAME_WORDS] = padded
        run[T.RUN_PAPERS] = len(self.maker.papers)
        for place, paper in enumerate(self.maker.papers.values()):
            at = T.RUN_PAPERS_AT + place * T.PAPER_WORDS
            run[at + T.PAPER_FEED] = paper.feed
            run[at + T.PAPER_QUEUE] = paper.queue_address

    # --- tapes -----------------------------------------------------------------------------------

    def take_tape(self, path: Path, progress: Progress | None = None) -> None:
        """Run one more tape; TapeError where it cannot be read or begins before the last ended."""
        if self._now_ns:
            self._begin_anew()
        blocks, before_ns, is_begun = TapeBlocks(path), self._now_ns, False
        for block in blocks:
            if not is_begun:
                is_begun = self._begins(blocks, block, before_ns)
            try:
                self._take_block(blocks, block)
            except TapeError as error:
                if self._now_ns == 0:
                    raise
                self.ends.append(str(error))
                return
            if progress is not None:
                progress(blocks.share)
        if blocks.end:
            self.ends.append(blocks.end)
        if not is_begun:
            raise TapeError(f"{path}: there is no line in it")

    def _begin_anew(self) -> None:
        """Another tape was recorded over other connections: no book goes on from the last one."""
        for venue in self._by_place:
            if venue.name not in self._lost:
                self._on_lost(venue, "the tape ended")

    @staticmethod
    def _begins(blocks: TapeBlocks, block: bytes, before_ns: int) -> bool:
        """Whether there is a line in the block; TapeError where it is too old."""
        line = next(filter(None, (blocks.line(*each) for each in _lines(block))), None)
        if line is not None and line.t_ns < before_ns:
            raise TapeError(
                f"{blocks.path}: begins before the tape in front of it has ended: give the tapes "
                f"in the order of their times, each once"
            )
        return line is not None

    def step(self, line: TapeLine) -> None:
        if self._now_ns == 0:
            self.results.begin(line.t_ns)
        super().step(line)

    def _take_block(self, blocks: TapeBlocks, block: bytes) -> None:
        run = self._run
        run[T.RUN_TEXT], run[T.RUN_TEXT_BYTES] = address_of(block), len(block)
        run[T.RUN_AT] = run[T.RUN_LINES] = 0
        try:
            if self._now_ns == 0:
                self._take_first(blocks, block)
            self._take_lines(blocks, block)
        finally:
            self.summary.frames += int(run[T.RUN_FRAMES])
            run[T.RUN_FRAMES] = 0

    def _take_lines(self, blocks: TapeBlocks, block: bytes) -> None:
        run = self._run
        assert self.maker is not None
        self._prepare()
        while True:
            run[T.RUN_NOW_NS], run[T.RUN_STOP_NS] = self._now_ns, self._due_ns()
            stop = run_tape(self._address)
            self._now_ns = max(self._now_ns, int(run[T.RUN_NOW_NS]))
            if stop == T.STOP_AT_END:
                return
            if stop == T.STOP_IS_DUE:
                self._now_ns = max(self._now_ns, int(run[T.RUN_LINE_NS]))
                self._run_timers()
                run[T.RUN_STEP] = self.maker.step_address
            elif stop == T.STOP_AT_LINE:
                begin, end = int(run[T.RUN_LINE_AT]), int(run[T.RUN_LINE_END])
                line = blocks.line(block[begin:end], int(run[T.RUN_LINES]) - 1)
                if line is not None:
                    self.step(line)
                    self._prepare()
            else:
                self._after_frame(stop)

    def _take_first(self, blocks: TapeBlocks, block: bytes) -> None:
        """Up to the first line, which begins the run."""
        at = 0
        for text, number in _lines(block):
            at += len(text) + 1
            line = blocks.line(text, number)
            self._run[T.RUN_AT], self._run[T.RUN_LINES] = at, number + 1
            if line is not None:
                self.step(line)
                return

    def _due_ns(self) -> int:
        """When something else than a line is next."""
        return min(self._timer_ns + TIMER_NS, self._papers_due_ns(), self.results.next_due_ns)

    def _prepare(self) -> None:
        """Tell the loop what it may do by itself: only lines and turns of the timer change that."""
        run = self._run
        assert self.maker is not None
        run[T.RUN_STEP] = self.maker.step_address
        at = T.RUN_VENUES_AT + T.TAPE_VENUE_IS_OPEN
        for venue in self._by_place:
            is_open = venue.name in self._connected and venue.name not in self._lost
            run[at] = is_open
            at += T.TAPE_VENUE_WORDS

    def _after_frame(self, stop: int) -> None:
        """What a frame asks for beyond the loop: as `_on_frame`."""
        run, maker = self._run, self.maker
        assert maker is not None
        now_ns = self._moment_ns = self._now_ns
        if stop == T.STOP_AT_ACTIONS:
            maker.take_actions(int(run[T.RUN_ACTIONS]), now_ns)
            return
        if stop == T.STOP_AT_FILL:
            for paper in maker.papers.values():
                paper.take_fills(now_ns)
        else:
            self._on_status(self._by_place[int(run[T.RUN_VENUE])], int(run[T.RUN_STATUS]))
        maker.on_book(now_ns)

    def _on_status(self, venue: VenueFeeds, status: int) -> None:
        run = self._run
        raw = self._raw[: int(run[T.RUN_RAW_BYTES])].tobytes()
        venue.on_status(status, lambda: raw, int(run[T.RUN_LINE_NS]), 1)
        if status == S.OTHER and _means_nothing(venue, raw):
            learn_shape(self._address)

    # --- what a replay does otherwise ------------------------------------------------------------

    def _collect(self) -> None:
        """The books are not looked at one by one."""

    def _run_timers(self) -> None:
        """The same, and what the result is measured at meanwhile, each on the book of its time."""
        while self.results.next_due_ns <= self._now_ns:
            due_ns, now_ns = self.results.next_due_ns, self._now_ns
            self._now_ns = due_ns
            super()._run_timers()
            self._now_ns = now_ns
            self.results.measure(due_ns)
        super()._run_timers()

    def _on_fill(self, fill: PaperFill) -> None:
        self.results.take(fill)

    def finish(self) -> ReplaySummary:
        """The summary, once the tapes are through; the results are closed."""
        for place, venue in enumerate(self._by_place):
            at = T.RUN_VENUES_AT + place * T.TAPE_VENUE_WORDS
            venue.counters.other_symbols += int(self._run[at + T.TAPE_VENUE_OTHER_SYMBOLS])
        self.results.end(self._now_ns)
        summary = super().finish()
        summary.digest = digest_of(self.results, summary.quoting["digest"])
        return summary


def _lines(block: bytes) -> Iterator[tuple[bytes, int]]:
    """Lines one by one, with their numbers from 0 on."""
    at = number = 0
    while at < len(block):
        end = block.find(b"\n", at)
        end = len(block) if end < 0 else end
        yield block[at:end], number
        at, number = end + 1, number + 1


def _means_nothing(venue: VenueFeeds, raw: bytes) -> bool:
    """Whether a frame that is no book frame is none of anybody's business."""
    try:
        return venue.protocol.control(orjson.loads(raw))[0] is Control.IGNORED
    except orjson.JSONDecodeError:
        return False
