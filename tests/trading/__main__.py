"""`python -m tests.trading`: one seed with its last steps, or many, as in 1000:5000.

Exit status: 0 every seed was right; 1 one was not: a line says how to replay it; 2 wrong usage.
Runs on: the main thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from tests.simulation.__main__ import FAILURES_MAX, seed_range
from tests.trading.life import Report, SeedFailedError
from tests.trading.several import TwoMakers
from tests.trading.world import World


def print_trace(world: World, lines: int) -> None:
    """The last steps, in words."""
    for at_ns, text, facts in list(world.trace)[len(world.trace) - min(lines, len(world.trace)) :]:
        at = datetime.fromtimestamp(at_ns / 1e9, UTC)
        print(f"{at:%M:%S.%f} {text.format(*facts)}")


def run_one(world: World, lines: int) -> int:
    outcome: Report | SeedFailedError
    try:
        outcome = world.run()
    except SeedFailedError as error:
        outcome = error
    print_trace(world, lines)
    print(outcome)
    return int(isinstance(outcome, SeedFailedError))


def run_many(seeds: range, new_world: Callable[[int], World] = World) -> int:
    """All of them; a line for each failure, and what was done to the rest."""
    started_s = time.monotonic()
    failures = steps = orders = fills = 0
    faults: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            report = new_world(seed).run()
        except SeedFailedError as error:
            print(error, flush=True)
            failures += 1
            if failures == FAILURES_MAX:
                break
            continue
        steps, orders, fills = steps + report.steps, orders + report.orders, fills + report.fills
        faults += report.faults
        seen += report.seen
    for what, count in (*faults.most_common(), *seen.most_common()):
        print(f"{what:<36}{count:>10,}")
    print(
        f"{len(seeds):,} seeds, {steps:,} steps, {orders:,} orders, {fills:,} fills in"
        f" {time.monotonic() - started_s:.1f} s; {failures} failed"
    )
    return int(failures > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.trading", description=__doc__)
    parser.add_argument("seeds", help="one, or FIRST:END")
    parser.add_argument("--lines", type=int, default=60, help="of one seed's trace")
    parser.add_argument("--makers", type=int, choices=(1, 2), default=1, help="market makers")
    options = parser.parse_args(arguments)
    new_world = World if options.makers == 1 else TwoMakers
    if ":" in options.seeds:
        return run_many(seed_range(options.seeds), new_world)
    return run_one(new_world(int(options.seeds)), options.lines)


if __name__ == "__main__":
    sys.exit(main())
