"""`pollux estimate`. What it runs is imported when it runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

from pathlib import Path

import click

from net.config.command_line import read_config
from net.process.command import FILE, CommandError, print_json
from net.process.progress import compile_with_progress, progress_of_file


@click.command()
@click.argument("tape", type=FILE)
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def estimate(tape: Path, config_file: Path, as_json: bool) -> int:
    """Estimate what a model needs from a tape: volatility, and how fills become rare."""
    from engine.decoding.scale import ScaleError
    from net.config.schema import ConfigError
    from net.replay.estimate.run import Estimation, lines
    from net.replay.replay import tick_sizes
    from net.tape.tape import TapeError, TapeReader

    config = read_config(config_file)
    compile_with_progress()
    try:
        with progress_of_file(tape) as lines_of:
            reader = TapeReader(tape)
            run = Estimation(config, tick_sizes(config, reader))
            for line in lines_of(iter(reader)):
                run.step(line)
    except TapeError as error:
        raise CommandError(str(error), 2) from None
    except (ConfigError, ScaleError) as error:
        raise CommandError(f"{config_file}: {error}", 2) from None
    figures = run.figures()
    if as_json:
        print_json({"markets": figures})
    else:
        click.echo("\n".join(lines(figures)))
    return 0
