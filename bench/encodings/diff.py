"""A recorded diff in its forms: the consumer wants best bid, best ask and the sum of all lots.

    record   first id, last id, time, bids, asks | bid ticks | bid lots | ask ticks | ask lots

Protobuf has what is kindest to it: packed repeated integers, no message for each level.
Runs on: the harness's main thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from bench.encodings.encoding import (
    UNITS_PER_TICK,
    Answer,
    Form,
    RecordForm,
    TextForm,
    message_class,
    units,
)
from bench.load import frames as F
from bench.rig.compiled_loop import new_engine
from bench.rig.kernels import bench_kernel
from bench.rig.ring import ROW_WORDS, Rows
from engine.compiling.arena import view_stage
from engine.compiling.atomics import Words, address_of, view_bytes, view_words
from engine.decoding.decode import decode
from engine.decoding.frame_template import learn_template, read_by_template
from engine.decoding.staging import rows_at, scale_rows
from engine.layout import layout as L
from engine.layout import status as S

(RECORD_FIRST_ID, RECORD_LAST_ID, RECORD_TIME, RECORD_BIDS, RECORD_ASKS, RECORD_LEVELS_AT) = range(
    6
)
RECORD_LEVELS_MAX = 4093
RECORD_WORDS_MAX = RECORD_LEVELS_AT + 2 * RECORD_LEVELS_MAX
assert RECORD_WORDS_MAX <= ROW_WORDS


@bench_kernel("int64(int64[::1], int64, int64, int64)")
def read_diff(arena: Words, address: int, size: int, record_address: int) -> int:
    """A diff's text to its record, as the engine reads it: by the last one's form, else in general.

    The record's bytes, or a refusal of engine.layout.status.
    """
    stage = view_stage(arena)
    feed = arena[L.ENGINE_FEEDS_OFFSET]
    text = view_bytes(address, size)
    if not read_by_template(text, arena, feed, stage):
        status = decode(text, arena, arena[feed + L.FEED_RULES] + L.RULES_FRAME_AT, stage)
        if status == S.APPLIED:
            status = scale_rows(stage, arena, feed)
        if status != S.APPLIED:
            return status
        learn_template(text, arena, feed, stage)
    if stage[L.STAGE_BIDS] + stage[L.STAGE_ASKS] > RECORD_LEVELS_MAX:
        return S.TOO_MANY_LEVELS
    record = view_words(record_address, RECORD_WORDS_MAX)
    record[RECORD_FIRST_ID] = stage[L.STAGE_FIRST_ID]
    record[RECORD_LAST_ID] = stage[L.STAGE_LAST_ID]
    record[RECORD_TIME] = stage[L.STAGE_TIME]
    record[RECORD_BIDS] = stage[L.STAGE_BIDS]
    record[RECORD_ASKS] = stage[L.STAGE_ASKS]
    at = RECORD_LEVELS_AT
    for is_asks in range(2):
        count = record[RECORD_ASKS] if is_asks else record[RECORD_BIDS]
        row = rows_at(stage, is_asks)
        for index in range(count):
            record[at + index] = stage[row + index * L.ROW_WORDS + L.ROW_PRICE]
            record[at + count + index] = stage[row + index * L.ROW_WORDS + L.ROW_LOTS]
        at += 2 * count
    return 8 * at


@bench_kernel("UniTuple(int64, 3)(int64)")
def use_diff_record(record_address: int) -> Answer:
    """Best bid and best ask among the levels that are set, and the sum of all lots."""
    record = view_words(record_address, RECORD_WORDS_MAX)
    bids, asks = record[RECORD_BIDS], record[RECORD_ASKS]
    best_bid = best_ask = total = 0
    for index in range(RECORD_LEVELS_AT, RECORD_LEVELS_AT + bids):
        lots = record[index + bids]
        total += lots
        if lots != 0 and record[index] > best_bid:
            best_bid = record[index]
    first = RECORD_LEVELS_AT + 2 * bids
    for index in range(first, first + asks):
        lots = record[index + asks]
        total += lots
        if lots != 0 and (best_ask == 0 or record[index] < best_ask):
            best_ask = record[index]
    return best_bid, best_ask, total


def use_diff(sides: Sequence[Sequence[int]]) -> Answer:
    """The same in Python; (bid ticks, bid lots, ask ticks, ask lots)."""
    bid_ticks, bid_lots, ask_ticks, ask_lots = sides
    return (
        max([ticks for ticks, lots in zip(bid_ticks, bid_lots, strict=True) if lots], default=0),
        min([ticks for ticks, lots in zip(ask_ticks, ask_lots, strict=True) if lots], default=0),
        sum(bid_lots) + sum(ask_lots),
    )


Diff = message_class(
    "Diff",
    ("first_id", "last_id", "time_ns"),
    ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots"),
)


class DiffReader:
    """The engine's reader of diffs, into rows of its own."""

    def __init__(self) -> None:
        self._engine = new_engine(F.instrument())
        self.rows = Rows()

    def read(self, address: int, size: int) -> tuple[int, int]:
        """The record of a text: (row, bytes)."""
        row = self.rows.turn()
        found = read_diff(self._engine.arena, address, size, self.rows.addresses[row])
        assert found > 0, f"a diff was refused: {S.TEXTS[found]}"
        return row, found


def diff_numbers(words: Words) -> tuple[list[int], list[list[int]]]:
    """A diff's record as Python's numbers: ids and time, and the four lists of `use_diff`."""
    bids, asks = int(words[RECORD_BIDS]), int(words[RECORD_ASKS])
    lists, at = [], RECORD_LEVELS_AT
    for count in (bids, bids, asks, asks):
        lists.append(words[at : at + count].tolist())
        at += count
    return words[:RECORD_BIDS].tolist(), lists


class DiffTextPython(TextForm):
    name = "JSON, orjson in Python"

    def decode(self, taken: memoryview) -> list[list[int]]:
        data = orjson.loads(taken)["data"]
        sides = []
        for rows in (data["b"], data["a"]):
            sides.append([units(price) // UNITS_PER_TICK for price, _ in rows])
            sides.append([units(quantity) for _, quantity in rows])
        return sides

    def use(self, decoded: list[list[int]]) -> Answer:
        return use_diff(decoded)


class DiffTextCompiled(TextForm):
    name = "JSON, our reader compiled"

    def __init__(self) -> None:
        super().__init__()
        self._reader = DiffReader()

    def pass_on(self, payload: bytes) -> tuple[int, int]:
        row, size = self.ring.pass_on(address_of(payload), len(payload))
        self.count(size)
        return self.ring.taken.addresses[row], size

    def decode(self, taken: tuple[int, int]) -> int:
        row, _ = self._reader.read(*taken)
        return self._reader.rows.addresses[row]

    def use(self, decoded: int) -> Answer:
        return use_diff_record(decoded)


class DiffProtobuf(Form):
    name = "protobuf in Python"

    def __init__(self) -> None:
        super().__init__()
        self._reader = DiffReader()

    def encode(self, raw: bytes) -> bytes:
        row, _ = self._reader.read(address_of(raw), len(raw))
        (first_id, last_id, time_ns), sides = diff_numbers(self._reader.rows.words[row])
        message = Diff(
            first_id=first_id, last_id=last_id, time_ns=time_ns,
            bid_ticks=sides[0], bid_lots=sides[1], ask_ticks=sides[2], ask_lots=sides[3],
        )  # fmt: skip
        encoded: bytes = message.SerializeToString()
        return encoded

    def decode(self, taken: memoryview) -> Any:
        return Diff.FromString(taken)

    def use(self, decoded: Any) -> Answer:
        return use_diff((decoded.bid_ticks, decoded.bid_lots, decoded.ask_ticks, decoded.ask_lots))


class DiffRecordPython(RecordForm):
    name = "int64 records in Python"

    def __init__(self) -> None:
        super().__init__()
        self._reader = DiffReader()

    def encode(self, raw: bytes) -> tuple[int, int]:
        row, size = self._reader.read(address_of(raw), len(raw))
        return self._reader.rows.addresses[row], size

    def decode(self, taken: int) -> Any:
        return diff_numbers(self.ring.taken.words[taken])[1]

    def use(self, decoded: Any) -> Answer:
        return use_diff(decoded)


class DiffRecordCompiled(DiffRecordPython):
    name = "int64 records compiled"

    def decode(self, taken: int) -> int:
        return self.ring.taken.addresses[taken]

    def use(self, decoded: int) -> Answer:
        return use_diff_record(decoded)


FORMS: tuple[type[Form], ...] = (
    DiffTextPython, DiffTextCompiled, DiffProtobuf, DiffRecordPython, DiffRecordCompiled,
)  # fmt: skip
