"""The options `--config` and `--name`: the configuration, and which daemon is meant.

Runs on: the main thread of a command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from net.process.command import CommandError

if TYPE_CHECKING:
    from net.config.schema import Config


def read_config(path: Path) -> Config:
    """The configuration, or exit status 2 with one line."""
    from net.config.schema import ConfigError, load_config

    try:
        return load_config(path)
    except ConfigError as error:
        raise CommandError(str(error), 2) from None


def with_one_maker(config: Config, path: Path, symbol: str | None) -> Config:
    """For what runs one market maker at a time, or exit status 2 with one line."""
    from net.config.schema import ConfigError

    try:
        return config.with_maker(symbol)
    except ConfigError as error:
        raise CommandError(f"{path}: {error}", 2) from None


def daemon_name(name: str | None, config_file: Path | None) -> str:
    """Which daemon is meant; its kernels for reading are compiled then."""
    import engine.maker.state_board
    import engine.sharing.handoff
    import engine.sharing.meters
    from engine.compiling import jit

    if name and config_file:
        raise CommandError("--name and --config: give one", 2)
    if config_file:
        name = read_config(config_file).engine.name
    elif name and not engine.sharing.handoff.NAME_PATTERN.fullmatch(name):
        raise CommandError(f"--name {name!r}: letters, digits, dot, dash, underscore only", 2)
    jit.compile_kernels()
    return name or "pollux"
