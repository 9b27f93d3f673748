"""`pollux serve`, `record` and `demo`. What they run is imported when one of them runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from net.config.command_line import read_config
from net.process.command import FILE, CommandError
from net.process.progress import compile_with_progress, tell_cache_refusals
from net.process.signals import closing

if TYPE_CHECKING:
    from net.config.schema import Config


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--symbol", default="BTC-USD", show_default=True, help="The simulated instrument.")
@click.option("--seed", default=1, show_default=True, help="Of the synthetic market.")
@click.option("--quote", is_flag=True, help="Make a market there, too.")
def demo(seconds: float | None, symbol: str, seed: int, quote: bool) -> int:
    """Simulated venues, the daemon and a live ladder, until Ctrl-C (30 s when piped)."""
    from net.daemon.demo import DemoError, run_demo

    def compile_missing() -> None:
        _compile(is_quoting=quote, is_loading=False)

    try:
        return run_demo(symbol, seed, seconds, sys.stdout, compile_missing, is_quoting=quote)
    except DemoError as error:
        raise CommandError(str(error), 1) from None


@click.command()
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
def serve(config_file: Path) -> int:
    """Run the daemon until SIGTERM or Ctrl-C."""
    config = read_config(config_file)
    _check_files(config)
    _check_places(config)
    # A market maker's part calls kernels before there is an engine, which loads all that is left.
    _compile(is_quoting=bool(config.maker), is_loading=bool(config.maker))
    return _run_daemon(config, config_file)


@click.command()
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
def check(config_file: Path) -> int:
    """Ask the venues whether they have what a configuration names.

    Status 0: they do; 1: one gave no answer; 2: a symbol or a tick size is wrong.
    """
    config = read_config(config_file)
    import asyncio

    from net.daemon.check import Member, check_members

    _check_files(config)

    def show(member: Member) -> None:
        mark = "ok   " if member.status == 0 else "wrong" if member.status == 2 else "?    "
        click.echo(f"{mark} {member.venue} {member.symbol}: {member.text}")

    return asyncio.run(check_members(config, show))


@click.command()
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
@click.option("--out", type=FILE, required=True, help="The tape to write (.zst, or .gz).")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
def record(config_file: Path, out: Path, seconds: float | None) -> int:
    """Record every raw frame and REST body of the configured venues until Ctrl-C."""
    config = read_config(config_file)
    _check_files(config)
    _compile(is_quoting=False)
    import net.daemon.daemon  # noqa: F401 (a second, with nothing to close yet)
    from net.tape.tape import TapeError, TapeWriter

    metrics = config.metrics.model_copy(update={"listen": ""})
    engine = config.engine.model_copy(update={"name": f"{config.engine.name}-record"})
    config = config.model_copy(update={"metrics": metrics, "engine": engine})
    with closing():
        try:
            tape = TapeWriter(out, _interrupt)
        except TapeError as error:
            raise CommandError(str(error), 2) from None
        if seconds is not None:
            _interrupt_after(seconds)
        status = _run_daemon(config, config_file, tape)
    if tape.error:
        raise CommandError(f"{out}: {tape.error}; the tape ends early", 1)
    click.echo(f"{tape.lines} lines in {out}, {tape.dropped} dropped", err=True)
    return status


def _compile(*, is_quoting: bool, is_loading: bool = True) -> None:
    """The kernels of the daemon, compiled or loaded; or only compiled, to be loaded later or by
    another process."""
    import engine.engine  # noqa: F401 (declares kernels)
    import net.sockets.event_loop

    if is_quoting:
        import net.daemon.maker_supervisor  # noqa: F401
    from engine.compiling.jit import are_kernels_cached

    tell_cache_refusals()
    if is_loading or not are_kernels_cached():
        compile_with_progress()


def _interrupt() -> None:
    signal.raise_signal(signal.SIGTERM)


def _interrupt_after(seconds: float) -> None:
    timer = threading.Timer(seconds, _interrupt)
    timer.daemon = True
    timer.start()


def _run_daemon(config: Config, config_file: Path, tape: Any = None) -> int:
    from net.daemon.daemon import Daemon, DaemonError

    try:
        return Daemon(config, tape=tape, has_gateway=tape is None).run()
    except DaemonError as error:
        # Status 2 is about what the configuration says, whenever that was found out.
        where = f"{config_file}: " if error.status == 2 else ""
        raise CommandError(f"{where}{error}", error.status) from None


def _check_places(config: Config) -> None:
    """CommandError where another daemon has the name, or another process a port: they are taken
    later, but that is told before anything takes long."""
    from engine.sharing.directory import HandoffError, prepare_directory
    from net.gateway.listening import ask_for
    from net.gateway.options import GatewayError
    from net.process.name_lock import NameTakenError, lock_name

    try:
        prepare_directory(config.engine.shared_group)
        lock_name(config.engine.name).close()
    except (HandoffError, NameTakenError) as error:
        raise CommandError(str(error), 1) from None
    places = {"metrics.listen": config.metrics.listen, "gateway.listen": config.gateway.listen}
    for key, listen in places.items():
        try:
            if listen:
                ask_for(listen, key)
        except GatewayError as error:
            raise CommandError(str(error), 1) from None


def _check_files(config: Config) -> None:
    """CommandError where a proxy, a certificate or a token that the configuration names is not
    usable."""
    from net.config.schema import ConfigError
    from net.feed.engine_thread import check_ways
    from net.gateway.authorization import read_token
    from net.gateway.options import GatewayError

    files = {
        "gateway": config.gateway.token_file,
        "metrics": config.metrics.token_file,
        "maker": config.makers.token_file,
    }
    try:
        check_ways(config)
        for name, token_file in files.items():
            if token_file:
                read_token(token_file, name)
    except (ConfigError, GatewayError) as error:
        raise CommandError(str(error), 2) from None
