"""`pollux stat`. What it runs is imported when it runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from net.config.command_line import daemon_name
from net.process.command import FILE, CommandError


@click.command()
@click.option("--name", help="The daemon, as [engine] name says [pollux].")
@click.option("--config", "config_file", type=FILE, help="Or the configuration that says it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (a line, with --watch).")
@click.option("--watch", "is_watching", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True)
def stat(
    name: str | None, config_file: Path | None, as_json: bool, is_watching: bool, interval: float
) -> int:
    """Show the running daemon's state; exit status 1 if it hangs, has died or is not there."""
    name = daemon_name(name, config_file)
    from net.observe.stat.read import StatError
    from net.observe.stat.run import StatOptions, run_stat
    from net.process.signals import closing

    try:
        with closing():
            return run_stat(
                StatOptions(name, as_json, interval if is_watching else 0.0), sys.stdout
            )
    except StatError as error:
        raise CommandError(str(error), 1) from None
