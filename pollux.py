"""The front door: the group of commands and `main`. Each command stands beside what it runs.

Exit status: 0 done; 1 failed while running; 2 the command line or the configuration is wrong.
A command that is told to end by a signal has done so; only where the status is the answer to a
question (`check`, `doctor`, ...) it is 130. Nothing heavy is imported before signals are heard, and
a command imports what it runs when it runs, so that `pollux --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from net.process.signals import FORCED, hear_signals, is_ending, status_of_end

if TYPE_CHECKING:
    import click

VERSION = "0.1.0"
RUNNING = frozenset(
    (
        "demo", "serve", "record", "watch", "stat", "replay", "journal", "simulate", "bench",
        "soak", "jitter",
    )
)  # fmt: skip
"""Commands that run until they are told to end, or may be told to end early."""


def command_group() -> click.Group:
    """`pollux` with all its commands."""
    import click

    from bench.command import bench, soak
    from net.client.command import accept, kill, release, watch
    from net.daemon.command import check, demo, record, serve
    from net.journal.command import journal
    from net.observe.stat.command import stat
    from net.replay.backtest.command import backtest
    from net.replay.command import replay
    from net.replay.estimate.command import estimate
    from net.simulator.command import simulate
    from tuning.command import doctor, jitter, tune

    @click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
    @click.version_option(VERSION, prog_name="pollux")
    def cli() -> None:
        """Merge exchanges' order books in microseconds and stream the top of it over gRPC."""

    for command in (
        demo, serve, check, record, watch, kill, release, accept, stat, replay, backtest, estimate,
        journal, simulate, bench, soak, doctor, jitter, tune,
    ):  # fmt: skip
        cli.add_command(command)
    return cli


def _status_of_end(arguments: Sequence[str]) -> int:
    """The exit status of a command that a signal ends: 0 unless it stands for an answer."""
    is_running = not RUNNING.isdisjoint(arguments[:1]) and "--check" not in arguments
    return 0 if is_running else FORCED


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors are one line on stderr, never a traceback."""
    if arguments is None:  # else the process, and its signals, are another program's
        hear_signals(_status_of_end(sys.argv[1:]))
    import click

    from net.process.terminal import discard_output

    try:
        status = command_group().main(args=arguments, prog_name="pollux", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        status = status_of_end()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        text = " ".join(error.format_message().split())
        click.echo(f"pollux: {text}", err=True)
        status = error.exit_code
    except BrokenPipeError:
        status = 0
    except OSError:
        if not is_ending():  # a terminal that is gone takes no last word
            raise
        status = status_of_end()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            discard_output(stream)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
