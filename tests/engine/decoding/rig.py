"""The decoder under test: one frame in, what the kernel made of it out, orjson's word beside it.

Both feeds stand in BUFFERING, so a frame that is read, routed and scaled answers BUFFER and
leaves its levels in the stage, and no book grows.
Runs on: the tests' thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import orjson

from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import InstrumentSpec
from tests import oracle
from tests.engine.rig import LOT, Rig, binance_spec, bitstamp_spec

BINANCE, BITSTAMP = 0, 1
"""The feeds' numbers."""

READ = {BINANCE: oracle.read_binance_diff, BITSTAMP: oracle.read_bitstamp_diff}
TICK = Decimal("0.01")
SYMBOL = {BINANCE: "BTCUSDT", BITSTAMP: "btcusd"}

STRANGE = {
    BINANCE: b'{"q":0,"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}',
    BITSTAMP: b'{"q":0,"data":{"microtimestamp":"1","bids":[],"asks":[]},'
    b'"channel":"diff_order_book_btcusd","event":"data"}',
}
"""Frames of a form that nothing else has."""

NOT_JSON = (S.BAD_JSON, S.BAD_UTF8)
LIMITS = (S.TOO_DEEP, S.TOO_MANY_LEVELS)


@dataclass(frozen=True)
class Decoded:
    """What the stage holds after an accepted frame."""

    first_id: int
    last_id: int
    time_ns: int
    bids: oracle.Levels
    asks: oracle.Levels


class Decoder:
    """A Binance and a Bitstamp feed with a tick of 0.01, that only decode."""

    def __init__(self) -> None:
        specs = (binance_spec(), bitstamp_spec())
        self.rig = Rig(InstrumentSpec("BTC-USD", specs), window_slots=64, far_levels_max=64)
        for feed in (BINANCE, BITSTAMP):
            self.rig.set_state(L.BUFFERING, feed)

    def status(self, raw: bytes, feed: int = BINANCE, after: bytes = b"") -> int:
        """What becomes of a frame, at the stream's start; `after`: a frame to see just before.

        The engine learns the form of the frame before; `STRANGE` ones make it forget.
        """
        if after:
            self.rig.engine.restart_stream(feed)
            self.rig.feed(after, feed)
        self.rig.engine.restart_stream(feed)
        return self.rig.feed(raw, feed)

    def decoded(self) -> Decoded:
        words = self.rig.engine._stage.words
        sides = [[(ticks * TICK, lots * LOT) for ticks, lots in rows] for rows in self.rig.staged()]
        return Decoded(
            first_id=int(words[L.STAGE_FIRST_ID]),
            last_id=int(words[L.STAGE_LAST_ID]),
            time_ns=int(words[L.STAGE_TIME]),
            bids=sides[0],
            asks=sides[1],
        )

    def judge(self, raw: bytes, feed: int = BINANCE, after: bytes = b"") -> int:
        """Decode, and hold the answer against orjson's; the status."""
        status = self.status(raw, feed, after)
        check_answer(raw, feed, status, self.decoded)
        return status


def check_answer(raw: bytes, feed: int, status: int, decoded: Callable[[], Decoded]) -> None:
    """Hold what a decoder made of a frame against orjson and Decimal.

    Accepted: orjson reads the same ids and levels. Called no JSON: orjson refuses it too, and the
    reverse. Called no book frame: the oracle finds none in it either.
    """
    assert status in S.TEXTS, f"an unheard-of status {status}"
    try:
        orjson.loads(raw)
        is_json = True
    except orjson.JSONDecodeError:
        is_json = False
    if status in LIMITS:
        return
    assert is_json == (status not in NOT_JSON), f"{S.TEXTS[status]}: orjson says {is_json}"
    if status == S.BUFFER:
        diff = READ[feed](raw)
        assert diff is not None
        assert diff.symbol == SYMBOL[feed]
        made = decoded()
        assert (diff.first_id, diff.last_id) == (made.first_id, made.last_id)
        assert (diff.bids, diff.asks) == (made.bids, made.asks)
        assert diff.time_ns == made.time_ns
    elif status == S.UNKNOWN_SYMBOL:
        diff = READ[feed](raw)
        assert diff is not None and diff.symbol != SYMBOL[feed]
    elif status == S.OTHER:
        assert READ[feed](raw) is None, "a book frame that was taken for something else"


_BEYOND_A_DOUBLE = re.compile(rb"[0-9][eE][+]?[0-9]{3}|[0-9]{300}")


def is_beyond_orjson(raw: bytes) -> bool:
    """orjson refuses numbers beyond a double's range; JSON itself has no such limit."""
    return _BEYOND_A_DOUBLE.search(raw) is not None
