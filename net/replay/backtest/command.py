"""`pollux backtest`. What it runs is imported when it runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from net.config.command_line import read_config, with_one_maker
from net.process.command import FILE, CommandError, print_json
from net.process.progress import compile_with_progress, progress_of_share
from net.process.signals import FORCED, closing

if TYPE_CHECKING:
    from net.config.schema import Config
    from net.replay.backtest.backtest import Backtest


@click.command()
@click.argument("tapes", type=FILE, nargs=-1, required=True, metavar="TAPE...")
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
@click.option("--symbol", help="The instrument that is quoted, of several market makers.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option("--report", type=FILE, help="Write an HTML report with plots here.")
@click.option("--fills", type=FILE, help="Write every fill to this CSV file.")
def backtest(
    tapes: tuple[Path, ...],
    config_file: Path,
    symbol: str | None,
    as_json: bool,
    report: Path | None,
    fills: Path | None,
) -> int:
    """Run the market maker on paper over recorded tapes, in the order of their times."""
    from net.replay.report.document import ReportError

    config = with_one_maker(read_config(config_file), config_file, symbol)
    if not config.maker:
        raise CommandError(
            f"{config_file}: maker: is missing: nothing is quoted without a [maker] section", 2
        )
    try:
        with closing():
            return _run(tapes, config_file, config, as_json, report, fills)
    except ReportError as error:
        raise CommandError(str(error), error.status) from None
    except KeyboardInterrupt:
        raise CommandError("backtest: interrupted: no result, nothing is written", FORCED) from None


def _run(
    tapes: tuple[Path, ...],
    config_file: Path,
    config: Config,
    as_json: bool,
    report: Path | None,
    fills: Path | None,
) -> int:
    from net.replay.backtest.fills_csv import check_fills, write_fills
    from net.replay.backtest.outcome import Outcome
    from net.replay.report.document import check_report

    if report is not None:
        check_report(report)
    if fills is not None:
        check_fills(fills)
    compile_with_progress()
    run, seconds = _run_tapes(tapes, config_file, config)
    outcome = Outcome(run)
    if as_json:
        print_json(outcome.as_json())
    else:
        click.echo("\n".join(outcome.lines()))
    speed = run.summary.span_s / seconds
    click.echo(f"speed       {speed:,.0f} times real time, {seconds:.2f} s", err=True)
    if fills is not None:
        write_fills(fills, run.results)
        click.echo(f"written: {fills}", err=True)
    if report is not None:
        from net.replay.backtest.report import write_outcome

        origin = {"tapes": ", ".join(map(str, tapes)), "configuration": str(config_file)}
        write_outcome(report, outcome, config.maker[0], origin)
        click.echo(f"written: {report}", err=True)
    return 0


def _run_tapes(
    tapes: tuple[Path, ...], config_file: Path, config: Config
) -> tuple[Backtest, float]:
    """A run that has finished, and the seconds that the tapes took."""
    from engine.decoding.scale import ScaleError
    from engine.sharing.handoff import HandoffError
    from net.config.schema import ConfigError
    from net.maker.market_fit import RulesError
    from net.replay.backtest.backtest import Backtest
    from net.replay.replay import tick_sizes
    from net.tape.tape import TapeError, TapeReader

    try:
        ticks = tick_sizes(config, (line for tape in tapes for line in TapeReader(tape)))
        run = Backtest(config, ticks)
        started_s = time.perf_counter()
        with progress_of_share() as show:
            for number, tape in enumerate(tapes):
                run.take_tape(
                    tape,
                    lambda share, number=number, tape=tape: show(  # type: ignore[misc]
                        (number + share) / len(tapes), tape.name
                    ),
                )
        run.finish()
        seconds = time.perf_counter() - started_s
    except TapeError as error:
        raise CommandError(str(error), 2) from None
    except (ConfigError, RulesError, HandoffError, ScaleError) as error:
        raise CommandError(f"{config_file}: {error}", 2) from None
    if run.summary.frames == 0:
        venues = ", ".join(run.venues)
        raise CommandError(
            f"{tapes[0]}: no frame of {venues}: nothing of the configured venues is on the tape", 2
        )
    return run, seconds
