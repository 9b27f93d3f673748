"""Levels read by a plan are read as the general reader reads them, or not at all.

The subjects are engine.decoding.level_plan and engine.decoding.simd.
Venues write the same widths again and again; here streams change theirs at random, and bytes are
broken one by one, each time right after frames that the engine has made its plans by.
"""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from engine.compiling.jit import JIT_OFF
from engine.decoding.simd import IS_WORTH_PLANNING
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import InstrumentSpec
from tests.engine.decoding.rig import BINANCE, STRANGE, Decoder
from tests.engine.rig import LOT, Rig, binance_frame, binance_spec, bitstamp_frame, bitstamp_spec

FRAMES = 30 if JIT_OFF else 600
Level = tuple[str, str]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


def level(
    random_: random.Random, price_form: tuple[int, int, int], lot_form: tuple[int, int]
) -> Level:
    """A level: digits of the price before the dot, in the tick, written; the amount's two."""
    whole, in_tick, written = price_form
    ticks = random_.randint(1, 10 ** (whole + in_tick) - 1)
    digits = str(ticks).rjust(whole + in_tick, "0")
    fraction = digits[whole:].ljust(written, "0")
    lot_whole, lot_fraction = lot_form
    amount = "".join(random_.choices("0123456789", k=lot_whole + lot_fraction))
    return (
        digits[:whole] + ("." + fraction if fraction else ""),
        amount[:lot_whole] + ("." + amount[lot_whole:] if lot_fraction else ""),
    )


@pytest.mark.kernel
@pytest.mark.parametrize("decimals", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("feed", [0, 1])
def test_any_mixture_of_widths(decimals: int, feed: int) -> None:
    """More widths than there are plans, and widths no plan can have: every number is exact."""
    random_ = random.Random(100 * decimals + feed)
    tick = f"1E-{decimals}"
    specs = (binance_spec(tick=tick), bitstamp_spec(tick=tick))
    rig = Rig(InstrumentSpec("BTC-USD", specs), window_slots=64, far_levels_max=64)
    for each in (0, 1):
        rig.set_state(L.BUFFERING, each)
    written = [decimals, max(decimals, 8)]
    price_forms = [(whole, decimals, w) for whole in (1, 3, 5, 6) for w in written]
    lot_forms = [(whole, f) for whole in (1, 2, 3, 5, 6, 7) for f in (0, 2, 8)]
    planned = 0
    for number in range(1, FRAMES):
        # A few forms a frame: long runs of one, and changes in the middle.
        prices = random_.sample(price_forms, random_.choice([1, 1, 2]))
        lots = random_.sample(lot_forms, random_.choice([1, 2, 6]))
        sides = [
            [
                level(random_, random_.choice(prices), random_.choice(lots))
                for _ in range(random_.randint(0, 9))
            ]
            for _ in range(2)
        ]
        if feed == 0:
            raw = binance_frame(number, number, *sides)
        else:
            raw = bitstamp_frame(10**15 + number, *sides)
        assert rig.feed(raw, feed) == S.BUFFER, raw
        for read, meant in zip(rig.staged(), sides, strict=True):
            exact = [(Decimal(t) * Decimal(tick), lots * LOT) for t, lots in read]
            assert exact == [(Decimal(p), Decimal(q)) for p, q in meant], raw
        planned += int(rig.engine.arena[rig.feed_at(feed) + L.FEED_PLAN]) > 0
    assert planned > FRAMES // 2 or not IS_WORTH_PLANNING


@pytest.mark.kernel
@pytest.mark.parametrize("before_dot", ["0", "61837", "161837"])
@pytest.mark.parametrize("amount", ["0.00123000", "12.50000000", "123.45678901", "1234.00000000"])
def test_one_wrong_byte_in_a_planned_level(decoder: Decoder, before_dot: str, amount: str) -> None:
    """Each byte of a level exchanged for others: judged as without a plan, by orjson too."""
    row = (f"{before_dot}.63000000", amount)
    rows = [("61836.11000000", "2.00000000"), row, row]
    good = binance_frame(1, 2, rows, [row])
    start = good.index(row[0].encode()) - 2
    end = start + len(row[0]) + len(row[1]) + 8
    assert good[start:end].startswith(b'["') and good[start:end].endswith(b'"],')
    others = b'0159./:-+ ",[]ex\x00\xb0\xff'
    for place in range(start, end):
        for other in others if not JIT_OFF else others[::5]:
            raw = good[:place] + bytes([other]) + good[place + 1 :]
            planned = decoder.judge(raw, BINANCE, after=good)
            assert planned == decoder.judge(raw, BINANCE, after=STRANGE[BINANCE]), raw
