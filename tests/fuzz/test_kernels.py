"""A million mutants, and the corpus that fuzzing has kept, against the kernels: see target.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.compiling.atomics import address_of
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.layout import status as S
from tests.child import ROOT, run_module
from tests.engine.decoding.rig import BINANCE, BITSTAMP
from tests.engine.rig import binance_frame
from tests.fuzz import corpus
from tests.fuzz.blind import BATCH, KINDS, LARGE_BATCH, Blind, Place
from tests.fuzz.target import DIFFS, FuzzError, Target

INPUTS = 3 * BATCH if JIT_OFF or BOUNDS_CHECKED else 1_000_000
LARGE_INPUTS = 8 * LARGE_BATCH if BOUNDS_CHECKED else 6_000
SECONDS = 100
ANSWERS_MIN = 12
"""Different answers that a million diffs are given, of the feeds' statuses."""

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]


def answers_to(tmp_path: Path, inputs: int, *more: str) -> set[str]:
    """What so many mutants were answered; AssertionError names the one that was judged wrong."""
    note = tmp_path / "note"
    limits = ("--inputs", str(inputs), "--seconds", str(SECONDS), "--note", str(note))
    try:
        # In a process of its own: an overrun ends it.
        done = run_module("tests.fuzz", *limits, *more)
        ending = f"{done.stdout}{done.stderr}status {done.returncode}"
    except subprocess.TimeoutExpired:
        ending = "no end"
    if not ending.endswith("status 0"):
        place = Place(*np.fromfile(note, np.int64).tolist())
        raise AssertionError(f"{ending} at {place}")
    found = re.search(r"^([0-9]+) inputs in", done.stdout, re.MULTILINE)
    assert found is not None and int(found[1]) >= inputs, done.stdout
    answers = {line.split(maxsplit=4)[4] for line in done.stdout.splitlines()[:-1]}
    assert answers <= set(S.TEXTS.values())
    return answers


@pytest.mark.skipif(JIT_OFF, reason="with the JIT off the same command is guided by coverage")
def test_a_million_mutants(tmp_path: Path) -> None:
    assert len(answers_to(tmp_path, INPUTS)) >= ANSWERS_MIN


@pytest.mark.skipif(JIT_OFF, reason="with the JIT off the same command is guided by coverage")
def test_mutants_of_frames_with_hundreds_of_levels(tmp_path: Path) -> None:
    answers = answers_to(tmp_path, LARGE_INPUTS, "--large")
    assert {S.TEXTS[S.APPLIED], S.TEXTS[S.BUFFER], S.TEXTS[S.TOO_MANY_LEVELS]} <= answers


@pytest.mark.parametrize(("kind", "feed"), KINDS)
def test_the_kept_corpus(kind: str, feed: int) -> None:
    """Each input after each of a few frames that the engine knows then."""
    entries = corpus.corpus(kind, feed)
    assert len(corpus.kept(kind, feed)) >= 10, "the kept corpus is gone"
    for at_end in (True, False):
        target = Target(at_end=at_end)
        befores = entries[:2] if JIT_OFF else entries[:8]
        for number, raw in enumerate(entries):
            where = target.place(address_of(raw), len(raw), number)
            if kind == DIFFS:
                for before in (raw, *befores):
                    # Number 0: judged by orjson whatever the answer is.
                    target.diff(feed, before, where, len(raw), 0)
            else:
                target.snapshot(feed, where, len(raw), 0)
        target.check_books()


def test_the_corpus_is_small() -> None:
    files = list(corpus.HERE.iterdir())
    assert sorted(path.name for path in files) == sorted(corpus.NAMES.values())
    assert sum(path.stat().st_size for path in files) < 500_000
    assert all(len(corpus.kept(*kind)) <= corpus.ENTRIES_MAX for kind in KINDS)


def test_an_input_is_found_again() -> None:
    run = Blind(3)
    kind, feed, raw = run.input(Place(3, 1, 7))
    assert (kind, feed) == (DIFFS, BITSTAMP) and raw
    assert Blind(3).input(Place(3, 1, 7))[2] == raw != run.input(Place(4, 1, 7))[2]


# --- each of these must be caught, or the silence above means nothing ----------------------------


class _Lying(Target):
    """Takes every frame for one of the same levels, the last amount a lot too large."""

    def _staged(self) -> tuple[object, ...]:
        first, last, time_ns, bids, asks = super()._staged()
        if bids:
            bids[-1] = (bids[-1][0], bids[-1][1] + 1)
        return first, last, time_ns, bids, asks


def test_a_level_that_was_not_in_the_frame_is_caught() -> None:
    raw = binance_frame(1, 2, [("1.5", "2")])
    for kind in (Target, _Lying):
        target = kind()
        where = target.place(address_of(raw), len(raw), 1)
        if kind is Target:
            assert target.diff(BINANCE, raw, where, len(raw), 1) == S.BUFFER
        else:
            with pytest.raises(FuzzError):
                target.diff(BINANCE, raw, where, len(raw), 1)


@pytest.mark.skipif(JIT_OFF or BOUNDS_CHECKED, reason="indices are checked: no process ends")
@pytest.mark.parametrize("at_end", [True, False])
def test_a_write_beside_the_stage_ends_the_process(at_end: bool) -> None:
    place = "len(words)" if at_end else "-1"
    program = (
        "import ctypes\n"
        "from tests.fuzz.target import fenced_words\n"
        f"fence, words = fenced_words(100, at_end={at_end})\n"
        f"ctypes.memset(words.ctypes.data + 8 * ({place}), 1, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert done.returncode == -11
