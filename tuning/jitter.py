"""How often, and for how long, the host takes a CPU away from a thread that only spins.

A compiled loop reads the clock; whenever two readings are more than a microsecond apart, somebody
else had the CPU: an interrupt, another thread, the hypervisor, the firmware. Each such interruption
is counted in a histogram of 32 steps an octave, so a percentile is at most 3 % too high.
(The method is rigtorp's `hiccups`; the buckets are HdrHistogram's.)
Runs on: a thread of its own on each CPU in turn; so no CPU's figure contains what measuring the
others does.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import psutil
from numba import config as numba_config
from numpy.typing import NDArray

from tuning.host import CPU, Host, UnknownError

Words = NDArray[np.int64]

GAP_NS_MIN = 1_000
"""A shorter gap is the loop itself: reading the clock takes some 25 ns, on slow ones 300 ns."""
STEPS_BITS = 5
"""32 steps an octave."""
BUCKETS = 1024
"""Up to 2 ** 35 ns, half a minute; what is longer is counted in the last one."""
LONGEST, LOST, STEPS, SPAN = range(4)
"""Words of `totals`: longest gap, sum of the gaps, steps of the loop, all in ns but the steps."""
CLOCK_MONOTONIC = 1
NS_PER_SECOND = 1_000_000_000
SIGNATURE = "void(int64, int64, int64[::1], int64[::1], int64[::1])"

if numba_config.DISABLE_JIT:
    import ctypes
    import time

    def _clock_gettime(clock: int, address: int) -> int:
        timespec = (ctypes.c_int64 * 2).from_address(int(address))
        timespec[0], timespec[1] = divmod(time.clock_gettime_ns(clock), NS_PER_SECOND)
        return 0

else:
    import numba.types as nbtypes

    _clock_gettime = nbtypes.ExternalFunction(
        "clock_gettime", nbtypes.int32(nbtypes.int32, nbtypes.intp)
    )


@numba.njit  # type: ignore[untyped-decorator]
def bucket_of(gap_ns: int) -> int:
    """The bucket of a gap of 0 or more ns."""
    shift = 0
    while gap_ns >> shift >= 2 << STEPS_BITS:
        shift += 1
    return min((shift << STEPS_BITS) + (gap_ns >> shift), BUCKETS - 1)


def bucket_start_ns(bucket: int) -> int:
    """The shortest gap of a bucket."""
    shift = max((bucket >> STEPS_BITS) - 1, 0)
    return (bucket - (shift << STEPS_BITS)) << shift


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def spin(duration_ns: int, address: int, timespec: Words, counts: Words, totals: Words) -> None:
    """Read the clock until the time is over.

    `timespec` has two words, at `address`; `counts` BUCKETS, `totals` four words, all zero.
    """
    _clock_gettime(CLOCK_MONOTONIC, address)
    start = timespec[0] * NS_PER_SECOND + timespec[1]
    last = start
    longest, lost, steps = 0, 0, 0
    while last - start < duration_ns:
        _clock_gettime(CLOCK_MONOTONIC, address)
        now = timespec[0] * NS_PER_SECOND + timespec[1]
        gap = now - last
        if gap >= GAP_NS_MIN:
            counts[bucket_of(gap)] += 1
            lost += gap
            longest = max(longest, gap)
        last = now
        steps += 1
    totals[LONGEST], totals[LOST], totals[STEPS], totals[SPAN] = longest, lost, steps, last - start


def compile_spin() -> None:
    """Compile the loop before it measures: half a second, too little to keep on disk."""
    spinner: Any = spin
    if not numba_config.DISABLE_JIT and not spinner.signatures:
        spinner.compile(SIGNATURE)


@dataclass(frozen=True)
class Jitter:
    """What one CPU did: every interruption of 1 us or more, in buckets."""

    cpu: int
    counts: Words
    longest_ns: int
    lost_ns: int
    steps: int
    span_ns: int
    switches: int
    """Involuntary context switches: how often the scheduler preferred another thread."""
    steal_s: float | None
    """What the hypervisor admits, in steps of 10 ms; None: not told."""

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def seconds(self) -> float:
        return self.span_ns / NS_PER_SECOND

    def longer_than(self, limit_ns: int) -> int:
        """How many interruptions began in a bucket at or above that of `limit_ns`."""
        return int(self.counts[int(bucket_of(limit_ns)) :].sum())

    def percentile_ns(self, percentile: float) -> int:
        """So much % of the interruptions were not longer; at most 3 % too high. 0 without any."""
        if self.count == 0:
            return 0
        rank = max(int(np.ceil(self.count * percentile / 100)), 1)
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        if bucket == BUCKETS - 1:
            return self.longest_ns
        return min(bucket_start_ns(bucket + 1) - 1, self.longest_ns)

    def histogram(self) -> list[tuple[int, int]]:
        """(shortest gap in ns, count) of each bucket that has any."""
        return [(bucket_start_ns(int(b)), int(self.counts[b])) for b in np.flatnonzero(self.counts)]


def default_cpus(host: Host) -> tuple[int, ...]:
    """The isolated CPUs, or where there are none those this process may use."""
    try:
        isolated = host.cpus(f"{CPU}/isolated")
    except UnknownError:
        isolated = ()
    if isolated or not hasattr(os, "sched_getaffinity"):
        return isolated or tuple(range(os.cpu_count() or 1))
    return tuple(sorted(os.sched_getaffinity(0)))


def _steal_s(cpu: int, online: tuple[int, ...]) -> float | None:
    """The seconds that the hypervisor has taken from a CPU so far."""
    rows = psutil.cpu_times(percpu=True)
    if cpu not in online or online.index(cpu) >= len(rows):
        return None
    value = getattr(rows[online.index(cpu)], "steal", None)
    return None if value is None else float(value)


def _switches() -> int:
    """Involuntary context switches of the calling thread so far (getrusage(2))."""
    import resource

    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    return resource.getrusage(who).ru_nivcsw


def check_cpus(cpus: tuple[int, ...]) -> None:
    """ValueError: a CPU that this process may not use, by its number."""
    if not hasattr(os, "sched_setaffinity"):
        return
    before = os.sched_getaffinity(0)
    try:
        for cpu in cpus:
            try:
                os.sched_setaffinity(0, {cpu})
            except OSError as error:
                raise ValueError(f"CPU {cpu} cannot be used: {error.strerror}") from None
    finally:
        os.sched_setaffinity(0, before)


def measure(cpu: int, seconds: float) -> Jitter:
    """Spin on one CPU for so long. OSError: this process may not use it any more."""
    compile_spin()
    try:
        online = Host().cpus(f"{CPU}/online")
    except UnknownError:
        online = tuple(range(psutil.cpu_count() or 1))
    timespec, counts, totals = (np.zeros(size, np.int64) for size in (2, BUCKETS, 4))
    told: list[int] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, {cpu})  # 0 is the calling thread alone
        except OSError as error:
            errors.append(error)
            return
        before = _switches()
        spin(int(seconds * NS_PER_SECOND), int(timespec.ctypes.data), timespec, counts, totals)
        told.append(_switches() - before)

    steal_before = _steal_s(cpu, online)
    # A daemon thread: Ctrl-C does not wait for it.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    steal_after = _steal_s(cpu, online)
    steal_s = None
    if steal_before is not None and steal_after is not None:
        steal_s = max(steal_after - steal_before, 0.0)
    longest, lost, steps, span = (int(value) for value in totals)
    return Jitter(cpu, counts, longest, lost, steps, span, told[0], steal_s)


# --- showing -------------------------------------------------------------------------------------

HEAD = "  cpu     count  a second  lost %   p99 us  p99.9 us     max us switched   steal"
DECADES_NS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
DECADE_HEAD = "  cpu     1-10 us   10-100 us    0.1-1 ms     1-10 ms     > 10 ms"


def jitter_line(found: Jitter) -> str:
    """One CPU as a line under HEAD."""
    p99, p999 = (found.percentile_ns(each) / 1000 for each in (99.0, 99.9))
    steal = "-" if found.steal_s is None else f"{100 * found.steal_s / found.seconds:.1f} %"
    return (
        f"{found.cpu:>5}{found.count:>10,}{found.count / found.seconds:>10,.1f}"
        f"{100 * found.lost_ns / found.span_ns:>8.3f}{p99:>9,.1f}{p999:>10,.1f}"
        f"{found.longest_ns / 1000:>11,.1f}{found.switches:>9,}{steal:>8}"
    )


def decade_line(found: Jitter) -> str:
    """One CPU's interruptions by length as a line under DECADE_HEAD."""
    longer = [*(found.longer_than(limit) for limit in DECADES_NS), 0]
    counts = [more - less for more, less in pairwise(longer)]
    return f"{found.cpu:>5}" + "".join(f"{count:>12,}" for count in counts)


def jitter_json(found: Jitter) -> dict[str, Any]:
    """One CPU as plain data."""
    return {
        "cpu": found.cpu,
        "seconds": found.seconds,
        "count": found.count,
        "lost_ns": found.lost_ns,
        "p50_ns": found.percentile_ns(50),
        "p99_ns": found.percentile_ns(99),
        "p99.9_ns": found.percentile_ns(99.9),
        "max_ns": found.longest_ns,
        "switches": found.switches,
        "steal_s": found.steal_s,
        "histogram": found.histogram(),
    }
