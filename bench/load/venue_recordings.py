"""Recorded frames of one market of each venue, and how an engine is brought to where they begin.

Only frames that are applied are kept. Where a venue counts every frame of a connection, those that
are left are numbered anew; where it has begun to send ids since it was recorded, they get some.
Runs on: the harness's main thread.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from bench.load.frames import DATA
from bench.rig.compiled_loop import new_engine
from bench.rig.venue_names import RECORDED, Recorded
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.venues.registry import VENUES

NUMBER = re.compile(rb'("sequence_num":)[0-9]+')


@dataclass
class VenueRecording:
    """One market: its whole book, by REST or in the stream, and what follows."""

    name: str
    spec: FeedSpec
    whole: bytes = b""
    is_rest: bool = False
    buffered: list[bytes] = field(default_factory=list)
    """Frames that came before a REST book and lead over it."""
    frames: list[bytes] = field(default_factory=list)

    @property
    def instrument(self) -> InstrumentSpec:
        return InstrumentSpec(self.name, (self.spec,), 10)

    def begin(self, engine: Engine) -> None:
        """Show the whole book, as before the first frame."""
        engine.set_state(0, L.BUFFERING, 1)
        engine.restart_stream(0)
        engine.restart_connection(0)
        stage, status = Stage(), S.LARGE
        if not self.is_rest:
            status = engine.frame_handler(0)(self.whole, 1, 0)
        if status == S.SNAPSHOT:
            assert engine.load_staged(0)[0] == S.APPLIED
        else:
            assert status == S.LARGE
            _stage(engine, self.whole, stage, is_frame=not self.is_rest)
            assert engine.load(0, stage, 0) == S.APPLIED
            for raw in self.buffered:
                assert engine.replay(0, raw) in (S.APPLIED, S.OLD)
        engine.activate(0, 1)


def _stage(engine: Engine, whole: bytes, stage: Stage, *, is_frame: bool) -> None:
    """Decode a whole book, in other units where it needs them."""
    if engine.stage(0, whole, stage, is_frame=is_frame) in S.UNFIT:
        units = engine.units_for(0, stage)
        assert units is not None
        engine.set_units(0, units, 1)
        engine.stage_again(0, stage)
    assert stage.status == S.APPLIED, S.TEXTS[stage.status]


def _lines(each: Recorded) -> Iterator[tuple[str, str, bytes]]:
    """Kind, path and text of the market's lines."""
    mark = each.symbol.encode()
    with gzip.open(DATA / each.tape, "rb") as file:
        for line in file:
            entry = orjson.loads(line)
            raw, path = entry["raw"].encode(), entry.get("path") or ""
            if entry["venue"] == each.tape_venue and (mark in raw or each.symbol in path):
                yield entry["kind"], path, raw


def _with_ids(raw: bytes, number: int) -> bytes:
    """A message of 2022 as it is since 2026: linked by ids, its checksum zero."""
    message = orjson.loads(raw)
    if "action" in message:
        (data,) = message["data"]
        data["checksum"], data["prevSeqId"], data["seqId"] = 0, number - 1, number
    return orjson.dumps(message)


def recording(name: str, frames_max: int | None) -> VenueRecording | None:
    """One venue's; None where its tape is absent."""
    each = RECORDED[name]
    if not (DATA / each.tape).exists():
        return None
    rules = VENUES[name].rules
    found = VenueRecording(name, FeedSpec(name, rules, 0, each.symbol, each.tick_size))
    engine = new_engine(found.instrument)
    handle, number = engine.frame_handler(0), 0
    for kind, path, raw in _lines(each):
        if frames_max is not None and len(found.frames) >= frames_max:
            break
        if kind == "rest":
            if not found.whole and VENUES[name].snapshot_of(path) is not None:
                found.whole, found.is_rest = raw, True
                found.begin(engine)
            continue
        if kind != "ws":
            continue
        changed = _with_ids(raw, number + 1) if each.lacks_ids else raw
        changed = NUMBER.sub(rb"\g<1>%d" % (number + 1), changed)
        status = handle(changed, 1, 1)
        if status in (S.SNAPSHOT, S.LARGE) and not found.whole:
            found.whole = changed
            found.begin(engine)
        elif status == S.APPLIED:
            found.frames.append(changed)
        elif status == S.BUFFER and not found.whole:
            found.buffered.append(changed)
        elif status != S.OLD:
            engine.restart_connection(0)
            continue
        number += 1
    return found
