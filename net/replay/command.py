"""`pollux replay`. What it runs is imported when it runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from net.config.command_line import read_config, with_one_maker
from net.process.command import FILE, CommandError, print_json
from net.process.progress import compile_with_progress, progress_of_file

if TYPE_CHECKING:
    from net.config.schema import Config


@click.command()
@click.argument("tape", type=FILE)
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
@click.option("--symbol", help="The instrument that is quoted, of several market makers.")
@click.option("--json", "as_json", is_flag=True, help="Print every published book, one a line.")
@click.option("--report", type=FILE, help="Write an HTML report with plots here.")
def replay(
    tape: Path, config_file: Path, symbol: str | None, as_json: bool, report: Path | None
) -> int:
    """Run a recorded tape through the engine as fast as it goes, and print the digest."""
    from net.replay.report.document import ReportError, check_report

    config = with_one_maker(read_config(config_file), config_file, symbol)
    try:
        if report is not None:
            check_report(report)
        return _run_tape(tape, config_file, config, as_json, report)
    except ReportError as error:
        raise CommandError(f"--report: {error}", error.status) from None


def _run_tape(
    tape: Path, config_file: Path, config: Config, as_json: bool, report: Path | None
) -> int:
    import net.replay.replay  # declares kernels

    if config.maker:
        import net.maker.build  # noqa: F401
    compile_with_progress()
    from engine.decoding.scale import ScaleError
    from engine.sharing.handoff import HandoffError
    from net.config.schema import ConfigError
    from net.maker.market_fit import RulesError
    from net.replay.replay import Replay, tick_sizes
    from net.replay.report.replay import ReplayReport
    from net.tape.tape import TapeError, TapeReader

    try:
        with progress_of_file(tape) as lines_of:
            reader = TapeReader(tape)
            ticks = tick_sizes(config, reader)
            run = Replay(config, ticks, print_json if as_json else None)
            watch = ReplayReport(run, report, tape, config_file) if report is not None else None
            for line in lines_of(iter(reader)):
                run.step(line)
    except TapeError as error:
        raise CommandError(str(error), 2) from None
    except (ConfigError, RulesError, HandoffError, ScaleError) as error:
        raise CommandError(f"{config_file}: {error}", 2) from None
    summary = run.finish()
    summary.end = reader.end
    if as_json:
        print_json(summary.as_json())
    else:
        click.echo("\n".join(summary.lines()))
    if watch is not None:
        click.echo(f"written: {watch.write()}", err=True)
    return 0
