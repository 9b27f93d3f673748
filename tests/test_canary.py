"""The canary: decoders and books that are broken on purpose, which the suites must catch.

If one of these is not noticed, the other tests' silence means nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.layout import layout as L
from engine.layout import status as S
from tests import oracle
from tests.child import ROOT, run_module
from tests.engine.rig import Rig, binance_frame, binance_snapshot, binance_spec

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]

Damage = Callable[[bytes, int], bytes]
"""What becomes of a frame before the engine sees it: (frame, its number)."""


def market(seed: int, frames_count: int) -> Iterator[bytes]:
    """A random walk of Binance frames that starts after the snapshot's id, 100."""
    rng = random.Random(seed)
    middle, last = 10_000, 100
    for _ in range(frames_count):
        middle += rng.choice([-3, -1, 0, 1, 3])
        first, last = last + 1, last + rng.randrange(1, 5)
        sides = [
            [(f"{(middle + sign * rng.randrange(1, 30)) / 100:.2f}", f"{rng.randrange(4)}")]
            for sign in (-1, 1)
        ]
        yield binance_frame(first, last, *sides)


def compare(damage: Damage, *, seed: int = 5, frames_count: int = 120) -> None:
    """The whole comparison in small: engine against oracle at every frame."""
    rig = Rig.single(binance_spec(), depth=10, window_slots=64)
    book = oracle.BinanceBook()
    snapshot = binance_snapshot(100, [("99.99", "5")], [("100.01", "5")])
    rig.start(snapshot)
    assert book.on_snapshot(oracle.read_binance_snapshot(snapshot))
    for number, raw in enumerate(market(seed, frames_count)):
        diff = oracle.read_binance_diff(raw)
        assert diff is not None
        status = rig.feed(damage(raw, number))
        assert book.on_diff(diff) == "applied"
        assert status in (S.APPLIED, S.CROSSED_TOO_LONG), S.TEXTS[status]
        rig.engine.publish_touched()
        published = rig.published()
        assert (published.bids, published.asks) == oracle.merge([book], 10)
        rig.check()


def healthy(raw: bytes, number: int) -> bytes:
    return raw


def loses_deletes(raw: bytes, number: int) -> bytes:
    return raw.replace(b',"0"]', b',"1"]')


def swaps_sides(raw: bytes, number: int) -> bytes:
    return raw.replace(b'"b":', b'"?":').replace(b'"a":', b'"b":').replace(b'"?":', b'"a":')


def is_off_by_ticks_once(raw: bytes, number: int) -> bytes:
    return re.sub(rb'"([0-9]+[.])[0-9]{2}",', rb'"\g<1>77",', raw) if number == 60 else raw


def is_off_by_one_lot(raw: bytes, number: int) -> bytes:
    return raw.replace(b'"2"]', b'"2.00000001"]').replace(b'"3"]', b'"3.00000001"]')


def skips_a_frame(raw: bytes, number: int) -> bytes:
    return b"{}" if number == 60 else raw


BROKEN: list[Damage] = [
    loses_deletes, swaps_sides, is_off_by_ticks_once, is_off_by_one_lot, skips_a_frame
]  # fmt: skip


def test_a_healthy_decoder_passes() -> None:
    compare(healthy)


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_decoder_is_caught(damage: Damage) -> None:
    with pytest.raises(AssertionError):
        compare(damage)


@pytest.mark.parametrize(
    ("word", "value"), [(L.SIDE_BEST, 1), (L.SIDE_WINDOW_LEVELS, 77), (L.SIDE_SUMMARY_AT, 0)]
)
def test_a_broken_ladder_is_caught(word: int, value: int) -> None:
    """One wrong word in a side: the structural check must say so."""
    rig = Rig.single(binance_spec(), window_slots=64)
    rig.start(binance_snapshot(100, [("99.99", "5")], [("100.01", "5")]))
    rig.check()
    side = rig.feed_at(0) + L.FEED_BOOKS_AT
    side += 2 * rig.active_book() * int(rig.engine.arena[L.ENGINE_SIDE_WORDS])
    rig.engine.arena[side + word] = value
    with pytest.raises(AssertionError):
        rig.check()


CANARY = '''
"""Fails on purpose."""
import pytest
from tests.test_canary import compare, loses_deletes

@pytest.mark.kernel
def test_dead_bird(compiled_kernels):
    compare(loses_deletes)
'''


@pytest.mark.once
def test_a_failing_suite_fails_the_run(tmp_path: Path) -> None:
    """The same damage in a run of its own: pytest must end with 1, as CI will see it."""
    (tmp_path / "test_dead_bird.py").write_text(CANARY)
    done = run_module(
        "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest",
        "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert "1 failed" in done.stdout
