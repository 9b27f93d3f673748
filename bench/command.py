"""`pollux bench` and `soak`. What they run is imported when one of them runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from net.process.command import FILE, CommandError
from net.process.progress import compile_with_progress


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--list", "is_list", is_flag=True, help="Name the benches, and do nothing else.")
@click.option("--bars", "has_bars", is_flag=True, help="All that must hold, ten minutes.")
@click.option("--short", "scale", flag_value="short", default="short", help="Minutes [default].")
@click.option("--full", "scale", flag_value="full", help="Long runs, for figures to publish.")
@click.option("--tiny", "scale", flag_value="tiny", hidden=True)
@click.option("--repeat", type=click.IntRange(min=1), help="Alternating repetitions.")
@click.option("--rate", type=click.FloatRange(min=1), help="Frames a second, instead of its own.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Of each run of each contender.")
@click.option("--external", metavar="HOST:PORT", default="", help="Measure this server (wire).")
@click.option("--feed-port", type=click.IntRange(0, 65535), default=0, help="Its feed is here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Report goes here.")
@click.option("--check", is_flag=True, help="Exit status 1 if a bar is not reached.")
def bench(
    names: tuple[str, ...],
    is_list: bool,
    has_bars: bool,
    as_json: bool,
    out: Path | None,
    check: bool,
    **given: Any,
) -> int:
    """Measure; a short set without NAME."""
    import engine.engine  # noqa: F401 (declares kernels)
    from bench.run import BenchError, Options, Request, list_benches, run_benches

    if is_list:
        click.echo(list_benches())
        return 0
    options = Options(
        scale=given["scale"],
        repeat=given["repeat"],
        rate_hz=given["rate"],
        seconds=given["seconds"],
        external=given["external"],
        feed_port=given["feed_port"],
    )
    try:
        request = Request(names, options, as_json, out, check, has_bars)
        compile_with_progress()
        return run_benches(request)
    except BenchError as error:
        raise CommandError(str(error), error.status) from None


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=3600.0, show_default=True)
@click.option("--seed", default=1, show_default=True, help="Of the market and of the faults.")
@click.option("--report", type=FILE, help="Write Markdown here, and JSON beside it.")
def soak(seconds: float, seed: int, report: Path | None) -> int:
    """A daemon among failing venues for long: is it right, does it grow, does it recover?"""
    import engine.engine  # noqa: F401 (declares kernels)
    from bench.soak.findings import SoakOptions
    from bench.soak.run import SoakError, run_soak

    compile_with_progress()

    def say(text: str) -> None:
        click.echo(text)
        sys.stdout.flush()

    try:
        return run_soak(SoakOptions(seconds, seed), report, say)
    except SoakError as error:
        raise CommandError(str(error), 1) from None
