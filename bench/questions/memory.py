"""Does the engine's memory stay flat at 2,000 frames a second, and do kernels allocate nothing?

The resident size of the engine's process is read from outside while the rig sends; after the first
third (buffers reach their size) it must not grow. Every kernel's machine code is searched for
numba's allocator, which compiled code names in its symbol table.
Runs on: the harness's main thread; the engine is in bench.contenders.measured.
"""

from __future__ import annotations

import time
from pathlib import Path

import numba
import numpy as np
import psutil

from bench.options import Options, Say
from bench.report.result import Bar, Plot, Rate, Result, Table
from bench.rig.rig import RUN_LIMIT_S, Rig, default_load, evaluate
from engine.compiling import jit

QUESTION = "engine's resident memory at a steady rate, and allocations in kernels"
ALLOCATIONS = (b"NRT_MemInfo_alloc", b"NRT_Allocate", b"NRT_MemInfo_new", b"NRT_Reallocate")
"""Every way into numba's allocator."""
GROWTH_KIB_MAX = 256.0
"""Sixty-four pages: the C allocator's own tides. One object a frame would be 60 MiB in ten minutes.
"""
FLOORS = ("engine.", "net.")
SAMPLES = 200


def growth_kib(times_s: list[float], rss_bytes: list[int]) -> float:
    """How much a straight line through the last two thirds rises over them."""
    start = len(times_s) // 3
    xs, ys = np.asarray(times_s[start:]), np.asarray(rss_bytes[start:], np.float64)
    if len(xs) < 2 or xs[-1] == xs[0]:
        return 0.0
    slope = float(np.polyfit(xs - xs[0], ys, 1)[0])
    return slope * float(xs[-1] - xs[0]) / 1024


def allocating_kernels() -> tuple[list[str], int]:
    """The kernels of the engine and of net whose code calls the allocator; how many were read."""
    found, read = [], 0
    folder = Path(numba.config.CACHE_DIR)
    for each in jit.kernels():
        if not each.name.startswith(FLOORS):
            continue
        module, function = each.name.rsplit(".", 1)
        files = list(folder.rglob(f"{module.rpartition('.')[2]}.{function}-*.nbc"))
        assert files, f"{each.name} is not in the cache"
        read += 1
        code = b"".join(file.read_bytes() for file in files)
        if any(symbol in code for symbol in ALLOCATIONS):
            found.append(each.name)
    return found, read


def run(options: Options, say: Say) -> Result:
    """One long run."""
    load = default_load(options, 1.0, 8.0, 600.0)
    times_s: list[float] = []
    rss_bytes: list[int] = []
    with Rig(("ours",), options) as rig, rig.running("ours", load.count) as running:
        process = psutil.Process(rig.targets["ours"].pid)
        seconds = load.count / load.rate_hz
        rig.sender.tell(
            "run", rate_hz=load.rate_hz, count=load.count, levels=load.levels, yields=False,
            **running.shared,
        )  # fmt: skip
        started_s = time.monotonic()
        while time.monotonic() - started_s < seconds:
            times_s.append(time.monotonic() - started_s)
            rss_bytes.append(process.memory_info().rss)
            say(f"{times_s[-1]:.0f} of {seconds:.0f} s, {rss_bytes[-1] >> 10} KiB")
            time.sleep(seconds / SAMPLES)
        rig.sender.answer(RUN_LIMIT_S)
        stamps = running.stamps
        one = evaluate(stamps.intended, stamps.actual, stamps.published, load.warm_up, load.count)
    found, read = ([], 0) if jit.JIT_OFF else allocating_kernels()
    kib = [size / 1024 for size in rss_bytes]
    slope = growth_kib(times_s, rss_bytes)
    table = Table(
        f"resident size over {seconds:.0f} s at {load.rate_hz:g} frames a second",
        ("start KiB", "end KiB", "most KiB", "growth after the first third KiB", "frames"),
        ((kib[0], kib[-1], max(kib), slope, one.sent),),
    )
    bars = (
        Bar("growth of the resident size after the first third", (slope,), GROWTH_KIB_MAX, False,
            "KiB"),
        Bar("kernels that allocate", (float(len(found)),), 0.0, False, "kernels"),
        Bar("frames that never became visible", (float(one.missing),), 0.0, False, "frames"),
    )  # fmt: skip
    return Result(
        "memory", QUESTION, options.command("memory"), (table,), bars,
        (Rate("frames", load.rate_hz, one.achieved_hz),),
        (Plot("resident memory", "seconds", "KiB", lines={"engine's process": (times_s, kib)}),),
        (f"{read} kernels of engine/ and net/ read{': ' + ', '.join(found) if found else ''}",),
    )  # fmt: skip
