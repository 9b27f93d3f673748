"""The commands of the host: `pollux doctor`, `tune plan|apply|restore` and `jitter`.

The work is done in tuning/, which is imported when a command runs.
Runs on: the command's main thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
ROOT = click.option("--root", type=click.Path(path_type=Path), default=Path("/"), hidden=True)
COUNT = click.IntRange(1, 64)


def _run(command: str, root: Path, *arguments: Any) -> int:
    """One of the commands of tuning/, on the host whose files are below `root`."""
    from tuning import command_output
    from tuning.host import Host

    try:
        status: int = getattr(command_output, command)(Host(root), *arguments, click.echo)
    except command_output.HostError as error:
        failure = click.ClickException(str(error))
        failure.exit_code = error.status  # type: ignore[misc]
        raise failure from None
    return status


@click.command()
@click.option("--cpu", default="", metavar="CPUS", help="The engines' CPUs, as 2 or 8-11.")
@JSON
@ROOT
def doctor(cpu: str, as_json: bool, root: Path) -> int:
    """Examine this host, and say what to change; exit status 1 if there is a problem."""
    return _run("doctor", root, cpu, as_json)


@click.command()
@click.option("--cpus", default="", help="Which, as 1 or 2,8-11 [the isolated ones, or all].")
@click.option("--seconds", type=click.FloatRange(0.01, 86400), default=5.0, show_default=True)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it: a PNG or SVG file."
)
@JSON
def jitter(cpus: str, seconds: float, plot: Path | None, as_json: bool) -> int:
    """How often and how long the host takes a CPU away from a thread that spins."""
    return _run("jitter", Path("/"), cpus, seconds, plot, as_json)


@click.group()
def tune() -> None:
    """Give this host's CPUs to engines, interrupts and everything else."""


@tune.command()
@click.option("--engines", type=COUNT, default=1, show_default=True)
@JSON
@ROOT
def plan(engines: int, as_json: bool, root: Path) -> int:
    """Print the layout, and what to install for it: kernel, systemd, configuration."""
    return _run("plan", root, engines, as_json)


@tune.command()
@click.option("--engines", type=COUNT, help="As planned [for the isolated CPUs, or for one].")
@click.option("--dry-run", is_flag=True, help="Show the changes and make none.")
@JSON
@ROOT
def apply(engines: int | None, dry_run: bool, as_json: bool, root: Path) -> int:
    """Change what can be changed at run time (root)."""
    return _run("tune", root, engines, dry_run, as_json)


@tune.command()
@JSON
@ROOT
def restore(as_json: bool, root: Path) -> int:
    """Take back what apply changed (root)."""
    return _run("restore", root, as_json)
