"""`pollux simulate`: the simulated venues as a program.

Nothing heavy is imported: `pollux --help` answers at once.
Runs on: the main thread of the command.
"""

from __future__ import annotations

from pathlib import Path

import click

from net.process.command import FILE, CommandError
from net.simulator.registry import NAMES, VENUES

FIRST, *OTHERS = VENUES.values()


@click.command(
    help=f"Simulated {' and '.join(VENUES.values())}, until Ctrl-C. Prints a configuration that "
    "points here."
)
@click.option("--tape", type=FILE, help="Play this recording instead of a synthetic market.")
@click.option("--symbol", "symbols", multiple=True, help="Instrument, repeatable [BTC-USD].")
@click.option(
    "--venue", "venues", multiple=True, type=click.Choice(NAMES), help="Repeatable [those above]."
)
@click.option("--seed", default=1, show_default=True, help="Of the synthetic market.")
@click.option("--speed", default=1.0, show_default=True, help="Times real time; 0: at once (tape).")
@click.option(
    "--port-base",
    default=9440,
    show_default=True,
    help=f"{FIRST} here, {', '.join(OTHERS)} next.",
)
@click.option(
    "--maker-fee-bps",
    type=click.FloatRange(0, 1_000),
    default=10.0,
    show_default=True,
    help="What the venues take of a resting order's fill.",
)
@click.option("--tls-cert", type=FILE, help="PEM certificate: serve wss and https.")
@click.option("--tls-key", type=FILE, help="Its PEM key.")
@click.option("--fault", "faults", multiple=True, metavar="ORDER", help="Inflict it, repeatable.")
@click.option("--list-faults", is_flag=True, help="Print the faults and how to order them.")
@click.option("--write-config", type=FILE, help="Write the configuration that points here.")
def simulate(
    tape: Path | None,
    symbols: tuple[str, ...],
    venues: tuple[str, ...],
    seed: int,
    speed: float,
    port_base: int,
    maker_fee_bps: float,
    tls_cert: Path | None,
    tls_key: Path | None,
    faults: tuple[str, ...],
    list_faults: bool,
    write_config: Path | None,
) -> int:
    from net.simulator.faults import describe_faults
    from net.simulator.options import SimulatorError, SimulatorOptions, TradingOptions
    from net.simulator.venues import announcer, run_simulator

    if list_faults:
        click.echo(describe_faults())
        return 0
    # Demo and tests take free ports by writing the configuration to a file.
    chosen = click.get_current_context().get_parameter_source("port_base")
    is_default = chosen is click.core.ParameterSource.DEFAULT
    options = SimulatorOptions(
        symbols=symbols or ("BTC-USD",),
        venues=venues,
        seed=seed,
        speed=speed,
        port_base=0 if write_config and is_default else port_base,
        tape=tape,
        trading=TradingOptions(maker_fee=round(maker_fee_bps * 100)),
        tls_cert=tls_cert,
        tls_key=tls_key,
        faults=faults,
    )
    try:
        return run_simulator(options, announcer(write_config))
    except SimulatorError as error:
        raise CommandError(str(error), error.status) from None
