"""`python -m tests.simulation`: many seeds, or one with its last steps.

Exit status: 0 every seed was right; 1 one was not: a line says how to replay it; 2 wrong usage.
Runs on: the main thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.progress import track

from tests.simulation.world import Report, SeedFailedError, World

FAILURES_MAX = 10
"""After so many the rest would tell nothing new."""


def seed_range(text: str) -> range:
    """`FIRST:END`, without END; or one number, from 0."""
    first, _, end = text.rpartition(":")
    seeds = range(int(first or 0), int(end))
    if not seeds:
        raise ValueError(text)
    return seeds


def print_trace(world: World) -> None:
    """The last steps, in words."""
    for at_ns, text, facts in world.trace:
        at = datetime.fromtimestamp(at_ns / 1e9, UTC)
        print(f"{at:%M:%S.%f} {text.format(*facts)}")


def run_one(seed: int, is_traced: bool) -> int:
    world = World(seed)
    outcome: Report | SeedFailedError
    try:
        outcome = world.run()
    except SeedFailedError as error:
        outcome = error
    if is_traced:
        for bout in world.schedule.bouts:
            print(bout)
        print_trace(world)
    print(outcome)
    return int(isinstance(outcome, SeedFailedError))


def run_many(seeds: range) -> int:
    """All of them; a line for each failure, and what was done to the rest."""
    started_s = time.monotonic()
    steps = books = failures = 0
    faults: Counter[str] = Counter()
    slowest_ns = 0
    for seed in track(seeds, description="seeds", disable=not sys.stderr.isatty()):
        try:
            report = World(seed).run()
        except SeedFailedError as error:
            print(error, flush=True)
            failures += 1
            if failures == FAILURES_MAX:
                break
            continue
        steps, books = steps + report.steps, books + report.books
        faults += report.faults
        slowest_ns = max(slowest_ns, report.recovery_ns)
    for fault, count in faults.most_common():
        print(f"{fault:<16}{count:>10,}")
    print(
        f"{len(seeds):,} seeds, {steps:,} steps, {books:,} books, {faults.total():,} faults in"
        f" {time.monotonic() - started_s:.1f} s; slowest recovery {slowest_ns / 1e9:.1f} s;"
        f" {failures} failed"
    )
    return int(failures > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=seed_range, help="FIRST:END, as in 1000:5000")
    which.add_argument("--seed", type=int, help="one")
    parser.add_argument("--trace", action="store_true", help="with --seed: print the last steps")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return run_one(options.seed, options.trace)
    return run_many(options.seeds)


if __name__ == "__main__":
    sys.exit(main())
