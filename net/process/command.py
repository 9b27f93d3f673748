"""What every command of `pollux` does alike: one line for an error, JSON on stdout.

Nothing heavy is imported: `pollux --help` answers at once.
Runs on: the main thread of a command.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

FILE = click.Path(dir_okay=False, path_type=Path)


class CommandError(click.ClickException):
    """One line for the user, and the exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]


def print_json(entry: dict[str, object]) -> None:
    """One JSON object, one line."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(entry) + b"\n")
