"""`pollux journal`. What it runs is imported when it runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from net.process.command import CommandError


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--follow", is_flag=True, help="Go on as records come, until the journal is closed.")
def journal(folder: Path, as_json: bool, follow: bool) -> int:
    """Print a journal, one line a record, and on stderr how each run ends.

    Columns: run, sequence, time, kind, book sequence, instrument, venue, slot, order, side, price
    in ticks, lots, filled lots, states before>after, reason. A fill's and an account's reason
    is the execution's number. An account, a transfer and a result say live or paper in the states'
    place. A fee says fee= in lots of its asset and value= in the result's unit. Exit status 1 if
    the journal is damaged: what stands before the damage is printed.
    """
    import engine.maker.journal_records  # noqa: F401 (declares its kernels; no others are needed)
    from engine.compiling import jit
    from net.journal.files import JournalError
    from net.journal.lines import print_journal
    from net.process.signals import closing, status_of_end
    from net.process.terminal import discard_output

    jit.compile_kernels()
    try:
        with closing():
            end = print_journal(folder, sys.stdout.buffer, as_json=as_json, is_following=follow)
    except JournalError as error:
        raise CommandError(str(error), 2) from None
    except KeyboardInterrupt:
        return status_of_end()
    except BrokenPipeError:
        discard_output(sys.stdout)
        return 0
    if end.is_damage:
        raise CommandError(str(end), 1)
    click.echo(end, err=True)
    return 0
