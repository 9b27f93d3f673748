"""What does an instrument cost among many: tick to publish, resident memory, and the start?

Frames at one total rate, one instrument after the other: one of 512 instruments should be published
as fast as the only one there is. Memory and start are those of `pollux serve` against simulated
venues, two an instrument: the time from its start to the first book in a subscriber's hands, and
what all its processes hold once every instrument has both venues' books.
Runs on: the harness's main thread; the work is in bench.load.sender, bench.contenders.measured,
contenders/servers.py, load/two_venue_server.py and clients/crowd.py.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import psutil

from bench.contenders.servers import Layout, Server, ours
from bench.options import Options, Say
from bench.questions.tick import COLUMNS, per_run, rate_of, row
from bench.report.result import Bar, Plot, Rate, Result, Table
from bench.report.stats import ratios, spread
from bench.rig.host import placement
from bench.rig.rig import Load, Rig, Run, alternating, default_load
from bench.rig.workers import Worker, WorkerError
from engine.layout import layout as L
from engine.sharing.handoff import HandoffError, HandoffReader
from net.config.schema import Config
from tuning.clock import wall_ns

QUESTION = "tick to publish, memory and start with 1, 16, 64 and 512 instruments"
COUNTS = (1, 16, 64, 512)
TICK_RATIO_MAX = 1.15
MEMORY_MIB_MAX = 4.0
"""Of one instrument of two venues."""
MOST_MIB_MAX = 2560.0
"""Of 512 instruments in all."""
START_S_MAX = 1.5
WARM_UP_S = 2.0
"""Every instrument must have its snapshot, and a frame or two, before anything counts."""
LIVE_LIMIT_S = 150.0
"""Books of 512 instruments take two windows, of a minute, of Binance's request limit."""
SETTLE_S = 1.0
"""After the last book: what is loaded later than that is seen too."""


@dataclass(frozen=True)
class Held:
    """One start of `pollux serve`."""

    first_book_s: float
    """Until a subscriber had the first book."""
    all_books_s: float
    """Until every instrument had both venues' books in the handoff."""
    memory_mib: float
    """Of all its processes; what they share counts once."""


def _memory_mib(pid: int) -> float:
    daemon = psutil.Process(pid)
    every = (daemon, *daemon.children(recursive=True))
    return float(sum(each.memory_full_info().pss for each in every)) / (1 << 20)


def _wait_for_books(server: Server) -> None:
    """Until each instrument's book has a number of either venue's."""
    end_s = time.monotonic() + LIVE_LIMIT_S
    reader, ready = None, 0
    while time.monotonic() < end_s:
        if reader is None:
            with contextlib.suppress(HandoffError):
                reader = HandoffReader.attach(server.segment)
        elif ready == len(reader.instruments):
            return
        elif reader.read(ready) > 0 and _has_both(reader):
            ready += 1
            continue
        time.sleep(0.002)
    raise WorkerError(f"pollux serve has {ready} books after {LIVE_LIMIT_S:g} s")


def _has_both(reader: HandoffReader) -> bool:
    at = L.SLOT_VENUES_AT + L.VENUE_UPDATE_ID
    return all(int(reader.book[at + venue * L.VENUE_WORDS]) > 0 for venue in range(2))


def hold(feed: Worker, client: Worker, count: int) -> Held:
    """Start `pollux serve` with so many instruments, and look at it."""
    place = placement()
    port = feed.ask("listen", cpus=place.others, ports=[0])["ports"][-1]
    started_s, started_ns = time.monotonic(), wall_ns()
    with ours(port, Layout(place.engine, place.others[0]), count) as server:
        client.ask(
            "start", LIVE_LIMIT_S + 5, target=server.target, cpus=place.others, count=1,
            per_channel=1, wait_s=LIVE_LIMIT_S,
        )  # fmt: skip
        first_ns = client.ask("count")["first_ns"]
        client.ask("stop")
        _wait_for_books(server)
        all_s = time.monotonic() - started_s
        time.sleep(SETTLE_S)
        return Held((first_ns - started_ns) / 1e9, all_s, _memory_mib(server.daemon_pid))


def counts_of(options: Options) -> tuple[int, ...]:
    """How many instruments: as far as a configuration may have them."""
    bounds = Config.model_fields["instrument"].metadata
    most = max(getattr(bound, "max_length", 0) for bound in bounds)
    return tuple(n for n in options.pick(COUNTS[:2], COUNTS, COUNTS) if n <= most)


def load_with(options: Options, instruments: int) -> Load:
    """One total rate, whatever the number of instruments."""
    load = default_load(options, 0.25, 1.0, 10.0)
    warm_up_s = load.warm_up_s if options.scale == "tiny" else max(load.warm_up_s, WARM_UP_S)
    return replace(load, instruments=instruments, warm_up_s=warm_up_s)


def run(options: Options, say: Say) -> Result:
    """Tick to publish, alternating; then the starts, once a repetition."""
    counts = counts_of(options)
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    held: dict[int, list[Held]] = {count: [] for count in counts}
    with Rig(("ours",), options) as rig:
        for repetition in range(options.repetitions):
            for count in alternating(counts, repetition):
                say(f"{repetition + 1}/{options.repetitions} {count} instruments")
                load = load_with(options, count)
                # Frames of different instruments do not show each other's.
                runs[count].append(rig.measure("ours", load, counts_all=count == 1))
        notes = tuple(rig.troubles)
    if options.scale != "tiny" and counts != COUNTS:
        notes += (f"{counts[-1]} are as many as a configuration may have, of {COUNTS}",)
    for repetition in range(options.repetitions):
        for count in alternating(counts, repetition):
            say(f"{repetition + 1}/{options.repetitions} start with {count} instruments")
            with Worker("feed") as feed, Worker("subscribers") as client:
                held[count].append(hold(feed, client, count))
    return result(options, runs, held, notes)


def an_instrument_mib(held: dict[int, list[Held]]) -> tuple[float, ...]:
    """What each further instrument adds, one value a repetition."""
    least, most = min(held), max(held)
    pairs = zip(held[least], held[most], strict=True)
    return tuple((many.memory_mib - few.memory_mib) / (most - least) for few, many in pairs)


def _bars(runs: dict[int, list[Run]], held: dict[int, list[Held]]) -> Iterator[Bar]:
    least, most = min(runs), max(runs)
    values = ratios(per_run(runs[most], 50), per_run(runs[least], 50))
    yield Bar(f"median, one of {most} / of {least}", values, TICK_RATIO_MAX, False)
    yield Bar("memory of an instrument", an_instrument_mib(held), MEMORY_MIB_MAX, False, "MiB")
    in_all = tuple(each.memory_mib for each in held[most])
    yield Bar(f"memory of {most} instruments", in_all, MOST_MIB_MAX, False, "MiB")
    starts = tuple(each.first_book_s for each in held[least])
    yield Bar("warm start to a subscriber's first book", starts, START_S_MAX, False, "s")


def result(
    options: Options, runs: dict[int, list[Run]], held: dict[int, list[Held]],
    notes: tuple[str, ...],
) -> Result:  # fmt: skip
    """A table of tick to publish, and one of starts."""
    ticks = tuple(row(f"one of {count}", each) for count, each in runs.items())
    starts = tuple(
        (count, spread([h.memory_mib for h in each], 0),
         spread([h.first_book_s for h in each]), spread([h.all_books_s for h in each]))
        for count, each in held.items()
    )  # fmt: skip
    load = load_with(options, 1)
    rates: tuple[Rate, ...] = tuple(
        rate_of(f"{count} instruments", load, each) for count, each in runs.items()
    )
    samples = {f"one of {n}": np.concatenate([r.intended_ns for r in e]) for n, e in runs.items()}
    return Result(
        "instruments", QUESTION, options.command("instruments"),
        (Table(f"tick to publish at {load.rate_hz:g} frames a second in all", COLUMNS, ticks),
         Table("pollux serve with two venues an instrument",
               ("instruments", "memory MiB", "first book s", "all books s"), starts)),
        tuple(_bars(runs, held)), rates,
        (Plot("tick to publish by instruments", "latency from the intended send, us",
              samples_ns=samples),),
        notes,
    )  # fmt: skip
