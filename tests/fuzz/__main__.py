"""Fuzzing for as long as wanted: `python -m tests.fuzz --seconds N`.

Compiled, it makes mutants by the million; with NUMBA_DISABLE_JIT=1 it is guided by the lines that
inputs reach, and keeps those that reach new ones in tests/fuzz/corpus.

    python -m tests.fuzz --seed S --batch B --index I     shows one input, and sends it again
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine.compiling.jit import JIT_OFF, compile_kernels
from engine.layout import status as S
from tests.fuzz.blind import Blind, Place
from tests.fuzz.target import FuzzError


def blind(seed: int, inputs: int, seconds: float, note: Path | None, is_large: bool) -> int:
    compile_kernels()
    run = Blind(seed, note, is_large=is_large)
    started_s = time.monotonic()
    try:
        run.run(inputs, seconds)
    except FuzzError as error:
        print(f"FAILED {error}")
        return 1
    took_s = time.monotonic() - started_s
    judged = sum(target.judged for target in run.targets)
    answers = run.targets[0].answers + run.targets[1].answers
    for (kind, feed, status), count in sorted(answers.items()):
        print(f"{kind:<10} feed {feed}  {count:>9}  {S.TEXTS[status]}")
    print(f"{run.inputs} inputs in {took_s:.1f} s, {judged} judged by orjson, seed {seed}")
    return 0


def show(place: Place, is_large: bool) -> int:
    """Print an input, then send its batch again up to it."""
    compile_kernels()
    run = Blind(place.seed, is_large=is_large)
    print(*run.input(place))
    sys.stdout.flush()
    run.batch(place.batch, place.index)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--inputs", type=int, default=10**12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--large", action="store_true", help="frames with hundreds of levels")
    parser.add_argument("--note", type=Path, help="where the input in work is kept")
    given = parser.parse_args()
    if given.batch is not None:
        return show(Place(given.seed, given.batch, given.index), given.large)
    if JIT_OFF:
        from tests.fuzz.guided import guided

        return guided(given.seed, given.seconds)
    return blind(given.seed, given.inputs, given.seconds, given.note, given.large)


if __name__ == "__main__":
    sys.exit(main())
