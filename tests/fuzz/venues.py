"""Mutants of each venue's messages against its schemas, between inaccessible pages.

    python -m tests.fuzz.venues --inputs 1000000 [--venue NAME] [--seed S]

Whatever is taken for a book must be one to another reader (tests.fuzz.schema_reader), with the same
kind, symbol, ids, time, checksum and levels; whatever is refused must have a reason that it sees
too; whatever is said to be no JSON must be none to orjson. A frame is judged alike after a frame of
its form, which the engine has learned, and after none.
Runs on: the main thread of the program, or the tests'.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import sys
import time
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

import orjson

from engine.book.frame import on_frame
from engine.book.spare_book import stage_message
from engine.compiling.atomics import Words, address_of
from engine.compiling.jit import compile_kernels
from engine.decoding.scale import PRICE_LIMIT, QUANTITY_LIMIT
from engine.decoding.schema import MessageSchema
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec
from net.venues.registry import VENUES
from tests.engine.decoding.guard_pages import PAGE, Fence
from tests.engine.decoding.rig import NOT_JSON, is_beyond_orjson
from tests.engine.rig import LOT, Rig
from tests.fuzz.mutate import ROOM, Mutants
from tests.fuzz.schema_reader import NoBookError, Reading, Rows, read
from tests.fuzz.target import LEVELS_MAX, FuzzError, fenced_words
from tests.fuzz.venue_frames import SAMPLES

BATCH = 512
TICK = Decimal("1e-8")
JUDGED_SHARE = 5
"""Of refused inputs every so many are judged too."""
TAKEN = (S.BUFFER, S.SNAPSHOT)
STREAM, REST = "stream", "rest"
_PLAIN_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
PLAIN_BYTES_MAX = 18
"""An amount of so many characters, a dot among them or not, is exact in every reader."""


@dataclass(frozen=True)
class Staged:
    """What a reader has left in its stage."""

    ids: tuple[int, int]
    time_ns: int
    checksum: int
    bids: Rows
    asks: Rows


class SchemaTarget:
    """One of a venue's schemas: a feed that waits for its book."""

    def __init__(self, name: str, form: MessageSchema, messages: tuple[bytes, ...]) -> None:
        self.messages = messages
        self.answers: Counter[int] = Counter()
        self.judged = 0
        self._form, self._symbol = form, SAMPLES[name].symbol
        self._rules = VENUES[name].rules
        self._rig = Rig.single(FeedSpec(name, self._rules, 0, self._symbol, str(TICK)))
        self._rig.set_state(L.BUFFERING)
        self._address = int(self._rig.engine.arena.ctypes.data)
        self._fence = Fence(ROOM // PAGE)
        self.stage: Words = self._rig.engine._stage.words

    def place(self, raw: bytes, number: int) -> int:
        """A copy against the fence: at its end, every fourth time at its start."""
        return self._fence.at_start(raw) if number & 3 == 0 else self._fence.at_end(raw)

    def judge(self, raw: bytes, before: bytes, number: int) -> int:
        """The status; FuzzError if anything is wrong with the answer."""
        status, staged = self.answer(raw, before, number)
        if status not in S.TEXTS:
            raise FuzzError(f"an unheard-of status {status}")
        self.answers[status] += 1
        is_beyond = is_beyond_orjson(raw)
        if staged is not None or (number % JUDGED_SHARE == 0 and not is_beyond):
            self.judged += 1
            is_json = _is_json(raw) or is_beyond
            if status != S.TOO_DEEP and is_json != (status not in NOT_JSON):
                raise FuzzError(f"{_text(status)}: orjson says {is_json}")
            if is_json:
                self._compare(raw, status, staged)
        return status

    @abstractmethod
    def answer(self, raw: bytes, before: bytes, number: int) -> tuple[int, Staged | None]:
        """What the reader says to a message, and what it has staged if that is a book."""

    def staged(self) -> Staged:
        """What is in the stage."""
        words, sides = self.stage, []
        levels_max = int(words[L.STAGE_LEVELS_MAX])
        for is_asks, count_at in enumerate((L.STAGE_BIDS, L.STAGE_ASKS)):
            start = L.STAGE_ROWS_AT + is_asks * levels_max * L.ROW_WORDS
            flat = words[start : start + int(words[count_at]) * L.ROW_WORDS].tolist()
            rows = zip(
                flat[L.ROW_PRICE :: L.ROW_WORDS], flat[L.ROW_LOTS :: L.ROW_WORDS], strict=True
            )
            sides.append([(ticks * TICK, lots * LOT) for ticks, lots in rows])
        ids = int(words[L.STAGE_FIRST_ID]), int(words[L.STAGE_LAST_ID])
        return Staged(ids, int(words[L.STAGE_TIME]), int(words[L.STAGE_CHECKSUM]), *sides)

    def _compare(self, raw: bytes, status: int, staged: Staged | None) -> None:
        try:
            reading = self._priced(read(raw, self._form))
        except ValueError as error:
            if staged is not None or not isinstance(error, NoBookError):
                raise FuzzError(f"no book to the other reader: {error}") from None
            return
        if staged is None:
            self._check_reason(raw, status, reading)
        else:
            self._check_equal(status, staged, reading)

    def _priced(self, reading: Reading) -> Reading:
        """Without the levels at zero, where those mean nothing, and of a whole book those below."""
        if not reading.is_snapshot and not self._rules.has_zero_prices:
            return reading
        bids, asks = (
            [row for row in side if row[0] > 0 or (row[0] < 0 and not reading.is_snapshot)]
            for side in (reading.bids, reading.asks)
        )
        return replace(reading, bids=bids, asks=asks)

    def _check_equal(self, status: int, staged: Staged, reading: Reading) -> None:
        if (status == S.BUFFER) == reading.is_snapshot:
            raise FuzzError("a diff for a whole book, or the reverse")
        if reading.symbol not in ("", self._symbol):
            raise FuzzError(f"a book of {reading.symbol!r}")
        ids = staged.ids if reading.ids is None else reading.ids
        meant = Staged(ids, reading.time_ns, reading.checksum, reading.bids, reading.asks)
        if staged != meant:
            raise FuzzError(f"read as {staged}, which is {meant}")

    def _check_reason(self, raw: bytes, status: int, reading: Reading) -> None:
        """FuzzError where nothing speaks against a book that was refused."""
        rows = [*reading.bids, *reading.asks]
        reasons = {
            # A key, or a text that tells what a message is, may be spelled with escapes.
            S.BAD_SCHEMA: b"\\" in raw,
            S.TOO_DEEP: raw.count(b"[") + raw.count(b"{") > 32,
            S.BAD_DECIMAL: not all(map(_is_plain, reading.amounts)),
            S.BAD_PRICE: not all(_fits(price, TICK, 1, PRICE_LIMIT) for price, _ in rows),
            S.BAD_QUANTITY: not all(_fits(qty, LOT, 0, QUANTITY_LIMIT) for _, qty in rows),
            S.TOO_MANY_LEVELS: len(reading.amounts) > 2 * int(self.stage[L.STAGE_LEVELS_MAX]),
            S.UNKNOWN_SYMBOL: reading.symbol != self._symbol,
        }
        if not reasons.get(status, False):
            raise FuzzError(f"{_text(status)}, but the other reader sees a book: {reading}")


class StreamTarget(SchemaTarget):
    """Frames of the stream."""

    def __init__(self, name: str) -> None:
        super().__init__(name, VENUES[name].rules.frame, SAMPLES[name].frames)
        self._feed = self._rig.feed_at(0)

    def _send(self, address: int, length: int) -> int:
        """A frame at the start of the stream and of the connection."""
        engine = self._rig.engine
        engine.arena[self._feed + L.FEED_LAST_FRAME_ID] = 0
        engine.restart_connection(0)
        return on_frame(self._address, 0, address, length, 1, 1)

    def answer(self, raw: bytes, before: bytes, number: int) -> tuple[int, Staged | None]:
        where, size = self.place(raw, number), len(raw)
        self._send(address_of(before), len(before))
        fast = self._send(where, size)
        staged = self.staged() if fast in TAKEN else None
        self._rig.engine.arena[self._feed + L.FEED_TEMPLATE_PARTS] = 0
        slow = self._send(where, size)
        if fast != slow:
            raise FuzzError(f"{_text(slow)}, but after the one before it {_text(fast)}")
        if staged is not None and staged != self.staged():
            raise FuzzError("two readers, two books")
        return slow, staged


class RestTarget(SchemaTarget):
    """REST answers, read into a stage that has an inaccessible page behind it."""

    def __init__(self, name: str) -> None:
        form = VENUES[name].rules.snapshot
        assert form is not None, name
        super().__init__(name, form, SAMPLES[name].answers)
        self._stage_fence, self.stage = fenced_words(L.stage_words(LEVELS_MAX), at_end=True)
        self.stage[L.STAGE_LEVELS_MAX] = LEVELS_MAX

    def answer(self, raw: bytes, before: bytes, number: int) -> tuple[int, Staged | None]:
        where, stage = self.place(raw, number), self.stage
        words = int(stage.ctypes.data)
        status = stage_message(self._address, 0, where, len(raw), words, len(stage), 0)
        if status != S.APPLIED:
            return status, None
        return S.SNAPSHOT, self.staged()


SCHEMAS = [
    *((name, STREAM) for name in SAMPLES),
    *((name, REST) for name in SAMPLES if VENUES[name].rules.snapshot is not None),
]


def target_of(name: str, kind: str) -> SchemaTarget:
    """A fresh target of one of `SCHEMAS`."""
    return StreamTarget(name) if kind == STREAM else RestTarget(name)


def _is_plain(text: str) -> bool:
    return len(text) <= PLAIN_BYTES_MAX and _PLAIN_AMOUNT.fullmatch(text) is not None


def _fits(value: Decimal, unit: Decimal, least: int, limit: int) -> bool:
    """Whether a number is from `least` to `limit` whole units."""
    if value.adjusted() < unit.adjusted():
        return value == 0 and least <= 0
    (number, of), (one, parts) = value.as_integer_ratio(), unit.as_integer_ratio()
    count, rest = divmod(number * parts, of * one)
    return rest == 0 and least <= count <= limit


def _is_json(raw: bytes) -> bool:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _text(status: int) -> str:
    return S.TEXTS.get(status, f"status {status}")


def fuzz(name: str, kind: str, seed: int, inputs: int) -> SchemaTarget:
    """So many mutants; FuzzError names the one that was judged wrong."""
    target, done, number = target_of(name, kind), 0, 0
    mutants = Mutants(target.messages, min(BATCH, inputs))
    while done < inputs:
        made = mutants.make(seed, number)
        entries, base = mutants.pile.entries, int(mutants.out.ctypes.data)
        for index, (origin, length) in enumerate(made):
            raw = ctypes.string_at(base + index * mutants.room, length)
            try:
                target.judge(raw, entries[origin], done)
            except FuzzError as error:
                where = f"{name} {kind}, seed {seed}, input {done}"
                raise FuzzError(f"{where}: {error}: {raw!r}") from None
            done += 1
        number += 1
    return target


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.venues", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--venue", choices=sorted(SAMPLES))
    given = parser.parse_args()
    compile_kernels()
    is_failed = False
    for name, kind in SCHEMAS:
        if given.venue not in (None, name):
            continue
        started_s = time.monotonic()
        try:
            target = fuzz(name, kind, given.seed, given.inputs)
        except FuzzError as error:
            print(f"FAILED {error}", flush=True)
            is_failed = True
            continue
        took_s = time.monotonic() - started_s
        taken = sum(target.answers[status] for status in TAKEN)
        refused = target.answers.total() - taken
        figures = f"{target.answers.total()} inputs, {taken} taken for books, {refused} refused"
        print(f"{name} {kind}: {figures}, {target.judged} judged, {took_s:.0f} s", flush=True)
    return int(is_failed)


if __name__ == "__main__":
    sys.exit(main())
