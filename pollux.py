"""The front door: the command line and its wiring, nothing else.

Exit status: 0 done; 1 failed while running; 2 the command line or the configuration is wrong.
Imports are made inside the commands, so that `pollux --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from net.host_commands import HOST_COMMANDS
from net.progress import compile_with_progress, progress_of_file

if TYPE_CHECKING:
    from net.config import Config

VERSION = "0.1.0"

FILE = click.Path(dir_okay=False, path_type=Path)


class CommandError(click.ClickException):
    """One line for the user, and the exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="pollux")
def cli() -> None:
    """Merge exchanges' order books in microseconds and stream the top of it over gRPC."""


cli.commands.update(HOST_COMMANDS)

# --- running -------------------------------------------------------------------------------------


@cli.command()
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--symbol", default="BTC-USD", show_default=True, help="The simulated instrument.")
@click.option("--seed", default=1, show_default=True, help="Of the synthetic market.")
@click.option("--quote", is_flag=True, help="Make a market there, too.")
def demo(seconds: float | None, symbol: str, seed: int, quote: bool) -> int:
    """Simulated venues, the daemon and a live ladder, until Ctrl-C (30 s when piped)."""
    compile_with_progress(is_quoting=quote)
    from net.demo import DemoError, run_demo

    try:
        return run_demo(symbol, seed, seconds, sys.stdout, is_quoting=quote)
    except DemoError as error:
        raise CommandError(str(error), 1) from None


@cli.command()
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
def serve(config_file: Path) -> int:
    """Run the daemon until SIGTERM or Ctrl-C."""
    end_on_signals()
    config = read_config(config_file)
    compile_with_progress(is_quoting=config.maker is not None)
    return _run_daemon(config)


@cli.command()
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
@click.option("--out", type=FILE, required=True, help="The tape to write (.jsonl.gz).")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
def record(config_file: Path, out: Path, seconds: float | None) -> int:
    """Record every raw frame and REST body of the configured venues until Ctrl-C."""
    end_on_signals()
    config = read_config(config_file)
    compile_with_progress()
    from net.tape import TapeError, TapeWriter

    try:
        tape = TapeWriter(out)
    except TapeError as error:
        raise CommandError(str(error), 2) from None
    if seconds is not None:
        _interrupt_after(seconds)
    metrics = config.metrics.model_copy(update={"listen": ""})
    engine = config.engine.model_copy(update={"name": f"{config.engine.name}-record"})
    status = _run_daemon(config.model_copy(update={"metrics": metrics, "engine": engine}), tape)
    if tape.error:
        raise CommandError(f"{out}: {tape.error}; the tape ends early", 1)
    click.echo(f"{tape.lines} lines in {out}, {tape.dropped} dropped", err=True)
    return status


def end_on_signals() -> None:
    """Until the daemon takes them over, SIGTERM and SIGINT end the start, which is no failure."""
    import signal
    from types import FrameType

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second one forces
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def _interrupt_after(seconds: float) -> None:
    import signal
    import threading

    timer = threading.Timer(seconds, signal.raise_signal, (signal.SIGTERM,))
    timer.daemon = True
    timer.start()


def _run_daemon(config: Config, tape: Any = None) -> int:
    from net.daemon import Daemon, DaemonError
    from net.live import check_ca_files

    try:
        check_ca_files(config)
    except FileNotFoundError as error:
        raise CommandError(str(error), 2) from None
    try:
        return Daemon(config, tape=tape, has_gateway=tape is None).run()
    except DaemonError as error:
        raise CommandError(str(error), error.status) from None


@cli.command()
@click.option("--tape", type=FILE, help="Play this recording instead of a synthetic market.")
@click.option("--symbol", "symbols", multiple=True, help="Instrument, repeatable [BTC-USD].")
@click.option("--seed", default=1, show_default=True, help="Of the synthetic market.")
@click.option("--speed", default=1.0, show_default=True, help="Times real time; 0: at once (tape).")
@click.option("--port-base", default=9440, show_default=True, help="Binance here, Bitstamp next.")
@click.option("--tls-cert", type=FILE, help="PEM certificate: serve wss and https.")
@click.option("--tls-key", type=FILE, help="Its PEM key.")
@click.option("--fault", "faults", multiple=True, metavar="ORDER", help="Inflict it, repeatable.")
@click.option("--list-faults", is_flag=True, help="Print the faults and how to order them.")
@click.option("--write-config", type=FILE, help="Write the configuration that points here.")
def simulate(
    tape: Path | None,
    symbols: tuple[str, ...],
    seed: int,
    speed: float,
    port_base: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    faults: tuple[str, ...],
    list_faults: bool,
    write_config: Path | None,
) -> int:
    """Simulated Binance and Bitstamp, until Ctrl-C. Prints a configuration that points here."""
    from net.simulator import (
        SimulatorError,
        SimulatorOptions,
        announcer,
        describe_faults,
        run_simulator,
    )

    if list_faults:
        click.echo(describe_faults())
        return 0
    # Demo and tests take free ports by writing the configuration to a file.
    chosen = click.get_current_context().get_parameter_source("port_base")
    is_default = chosen is click.core.ParameterSource.DEFAULT
    options = SimulatorOptions(
        symbols=symbols or ("BTC-USD",),
        seed=seed,
        speed=speed,
        port_base=0 if write_config and is_default else port_base,
        tape=tape,
        tls_cert=tls_cert,
        tls_key=tls_key,
        faults=faults,
    )
    try:
        return run_simulator(options, announcer(write_config))
    except SimulatorError as error:
        raise CommandError(str(error), 2 if "port" not in str(error) else 1) from None


# --- looking -------------------------------------------------------------------------------------


@cli.command()
@click.option("--target", default="127.0.0.1:5002", show_default=True, help="The gateway.")
@click.option("--symbol", default="", help="The instrument; the default one if left out.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many books.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--tls-ca", type=FILE, help="PEM authority of a gateway that serves TLS.")
def watch(target: str, symbol: str, count: int | None, as_json: bool, tls_ca: Path | None) -> int:
    """Subscribe and show the merged book."""
    from net.watch.run import WatchOptions, run_watch

    options = WatchOptions(
        target=target, symbol=symbol, count=count, json=as_json, tls_ca=str(tls_ca or "")
    )
    return run_watch(options, sys.stdout)


@cli.command()
@click.argument("tape", type=FILE)
@click.option("--config", "config_file", type=FILE, required=True, help="The TOML configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print every published book, one a line.")
@click.option("--report", type=FILE, help="Write an HTML report with plots here.")
def replay(tape: Path, config_file: Path, as_json: bool, report: Path | None) -> int:
    """Run a recorded tape through the engine as fast as it goes, and print the digest."""
    from net.report.document import ReportError, check_report

    config = read_config(config_file)
    try:
        if report is not None:
            check_report(report)
        return _run_tape(tape, config_file, config, as_json, report)
    except ReportError as error:
        raise CommandError(f"--report: {error}", error.status) from None


def _run_tape(
    tape: Path, config_file: Path, config: Config, as_json: bool, report: Path | None
) -> int:
    compile_with_progress(is_quoting=config.maker is not None)
    from engine.handoff import HandoffError
    from engine.scale import ScaleError
    from net.config import ConfigError
    from net.replay import Replay, tick_sizes
    from net.report.replay import ReplayReport
    from net.tape import TapeError, read_tape

    try:
        with progress_of_file(tape) as lines_of:
            ticks = tick_sizes(config, read_tape(tape))
            run = Replay(config, ticks, _print_json if as_json else None)
            watch = ReplayReport(run, report, tape, config_file) if report is not None else None
            for line in lines_of(read_tape(tape)):
                run.step(line)
    except TapeError as error:
        raise CommandError(str(error), 2) from None
    except (ConfigError, HandoffError, ScaleError) as error:
        raise CommandError(f"{config_file}: {error}", 2) from None
    summary = run.finish()
    if as_json:
        _print_json(summary.as_json())
    else:
        click.echo("\n".join(summary.lines()))
    if watch is not None:
        click.echo(f"written: {watch.write()}", err=True)
    return 0


@cli.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--follow", is_flag=True, help="Go on as records come, until the journal is closed.")
def journal(folder: Path, as_json: bool, follow: bool) -> int:
    """Print a journal, one line a record, and on stderr how each run ends.

    Columns: run, sequence, time, kind, book sequence, instrument, venue, slot, order, side, price
    in ticks, lots, filled lots, states before>after, reason. Exit status 1 if the journal is
    damaged: what stands before the damage is printed.
    """
    import engine.maker.journal  # noqa: F401 (declares its kernels; no others are needed)
    from engine.jit import compile_kernels
    from net.journal import JournalError
    from net.journal.lines import print_journal
    from net.pipe import lead_nowhere

    if follow:
        end_on_signals()
    compile_kernels()
    try:
        end = print_journal(folder, sys.stdout.buffer, as_json=as_json, is_following=follow)
    except JournalError as error:
        raise CommandError(str(error), 2) from None
    except BrokenPipeError:
        lead_nowhere(sys.stdout)
        return 0
    if end.is_damage:
        raise CommandError(str(end), 1)
    click.echo(end, err=True)
    return 0


@cli.command()
@click.option("--name", help="The daemon, as [engine] name says [pollux].")
@click.option("--config", "config_file", type=FILE, help="Or the configuration that says it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (a line, with --watch).")
@click.option("--watch", "is_watching", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True)
def stat(
    name: str | None, config_file: Path | None, as_json: bool, is_watching: bool, interval: float
) -> int:
    """Show the running daemon's state; exit status 1 if it hangs, has died or is not there."""
    if is_watching:
        end_on_signals()
    name = _daemon_name(name, config_file)
    from net.stat.read import StatError
    from net.stat.run import StatOptions, run_stat

    try:
        return run_stat(StatOptions(name, as_json, interval if is_watching else 0.0), sys.stdout)
    except StatError as error:
        raise CommandError(str(error), 1) from None


# --- steering ------------------------------------------------------------------------------------


def _asking(command: Callable[..., int]) -> Callable[..., int]:
    """The options of what is asked of a market maker."""
    for option in (
        click.option("--tls-key", type=FILE, help="The client certificate's PEM key."),
        click.option("--tls-cert", type=FILE, help="PEM certificate of this client."),
        click.option("--tls-ca", type=FILE, help="PEM authority of a gateway that serves TLS."),
        click.option("--token-file", type=FILE, help="Holds the token, for --target."),
        click.option("--target", metavar="HOST:PORT", help="A gateway, instead of this host."),
        click.option("--config", "config_file", type=FILE, help="Or the file that says the name."),
        click.option("--name", help="The daemon, as [engine] name says [pollux]."),
    ):
        command = option(command)
    return command


@cli.command()
@_asking
def kill(**given: Any) -> int:
    """Halt the market maker and cancel its orders; back when the engine has taken it."""
    return _ask("kill", **given)


@cli.command()
@_asking
def release(**given: Any) -> int:
    """Let a halted market maker quote again; back when the engine has taken it."""
    return _ask("release", **given)


def _ask(
    what: str, name: str | None, config_file: Path | None, target: str | None, **files: Path | None
) -> int:
    from net.ask import AskError, Remote, ask_here, ask_there
    from net.watch.maker_lines import plain_line

    if target is None and any(files.values()):
        raise CommandError("--token-file and --tls-* are for --target", 2)
    if target is not None and (name or config_file):
        raise CommandError("--target names the daemon: leave --name and --config out", 2)
    try:
        if target is None:
            maker = ask_here(_daemon_name(name, config_file), what)
        else:
            maker = ask_there(Remote(target, **{k: str(v or "") for k, v in files.items()}), what)
    except AskError as error:
        raise CommandError(str(error), error.status) from None
    click.echo(plain_line(maker))
    return 0


def _daemon_name(name: str | None, config_file: Path | None) -> str:
    """Which daemon is meant; its kernels for reading are compiled then."""
    import engine.handoff
    import engine.maker.board
    import engine.meters
    from engine.jit import compile_kernels

    if name and config_file:
        raise CommandError("--name and --config: give one", 2)
    if config_file:
        name = read_config(config_file).engine.name
    elif name and not engine.handoff.NAME_PATTERN.fullmatch(name):
        raise CommandError(f"--name {name!r}: letters, digits, dot, dash, underscore only", 2)
    compile_kernels()
    return name or "pollux"


def _print_json(entry: dict[str, object]) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(entry) + b"\n")


# --- measuring -----------------------------------------------------------------------------------


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--list", "is_list", is_flag=True, help="Name the benches, and do nothing else.")
@click.option("--bars", "has_bars", is_flag=True, help="All that must hold, ten minutes.")
@click.option("--short", "scale", flag_value="short", default="short", help="Minutes [default].")
@click.option("--full", "scale", flag_value="full", help="Long runs, for figures to publish.")
@click.option("--tiny", "scale", flag_value="tiny", hidden=True)
@click.option("--repeat", type=click.IntRange(min=1), help="Alternating repetitions.")
@click.option("--rate", type=click.FloatRange(min=1), help="Frames a second, instead of its own.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Of each run of each contender.")
@click.option("--external", metavar="HOST:PORT", default="", help="Measure this server (wire).")
@click.option("--feed-port", type=click.IntRange(0, 65535), default=0, help="Its feed is here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Report goes here.")
@click.option("--check", is_flag=True, help="Exit status 1 if a bar is not reached.")
def bench(
    names: tuple[str, ...],
    is_list: bool,
    has_bars: bool,
    as_json: bool,
    out: Path | None,
    check: bool,
    **given: Any,
) -> int:
    """Measure; a short set without NAME."""
    from bench.run import BenchError, Options, Request, list_benches, run_benches

    if is_list:
        click.echo(list_benches())
        return 0
    options = Options(
        scale=given["scale"],
        repeat=given["repeat"],
        rate_hz=given["rate"],
        seconds=given["seconds"],
        external=given["external"],
        feed_port=given["feed_port"],
    )
    try:
        request = Request(names, options, as_json, out, check, has_bars)
        compile_with_progress()
        return run_benches(request)
    except BenchError as error:
        raise CommandError(str(error), error.status) from None


@cli.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=3600.0, show_default=True)
@click.option("--seed", default=1, show_default=True, help="Of the market and of the faults.")
@click.option("--report", type=FILE, help="Write Markdown here, and JSON beside it.")
def soak(seconds: float, seed: int, report: Path | None) -> int:
    """A daemon among failing venues for long: is it right, does it grow, does it recover?"""
    import signal

    from bench.soak import SoakError, SoakOptions, run_soak

    compile_with_progress()
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: stopped.append(number))

    def say(text: str) -> None:
        click.echo(text)
        sys.stdout.flush()

    try:
        return run_soak(SoakOptions(seconds, seed), report, say, lambda: bool(stopped))
    except SoakError as error:
        raise CommandError(str(error), 1) from None


# --- shared --------------------------------------------------------------------------------------


def read_config(path: Path) -> Config:
    """The configuration, or exit status 2 with one line."""
    from net.config import ConfigError, load_config

    try:
        return load_config(path)
    except ConfigError as error:
        raise CommandError(str(error), 2) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors are one line on stderr, never a traceback."""
    try:
        status = cli.main(args=arguments, prog_name="pollux", standalone_mode=False)
    except click.exceptions.Abort:
        status = 130
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        text = " ".join(error.format_message().split())
        click.echo(f"pollux: {text}", err=True)
        status = error.exit_code
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        sys.stderr.close()
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
