"""`pollux watch`, `kill`, `release` and `accept`. What they run is imported when one of them runs.

Runs on: the command's main thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from net.config.command_line import daemon_name
from net.process.command import FILE, CommandError


@click.command()
@click.option("--target", default="127.0.0.1:5002", show_default=True, help="The gateway.")
@click.option("--symbol", default="", help="The instrument; the default one if left out.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many lines.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--trades", is_flag=True, help="Its trades, a line each, instead of the book.")
@click.option("--tls-ca", type=FILE, help="PEM authority of a gateway that serves TLS.")
@click.option("--token-file", type=FILE, help="Holds the token, where the gateway asks for one.")
def watch(
    target: str,
    symbol: str,
    count: int | None,
    as_json: bool,
    trades: bool,
    tls_ca: Path | None,
    token_file: Path | None,
) -> int:
    """Subscribe and show the merged book, or the venues' trades."""
    from net.client.run import WatchOptions, run_watch
    from net.process.signals import closing

    options = WatchOptions(
        target=target, symbol=symbol, count=count, json=as_json, tls_ca=str(tls_ca or ""),
        token_file=str(token_file or ""), trades=trades,
    )  # fmt: skip
    with closing():
        return run_watch(options, sys.stdout)


def _asking(command: Callable[..., int]) -> Callable[..., int]:
    """The options of what is asked of a market maker."""
    for option in (
        click.option("--tls-key", type=FILE, help="The client certificate's PEM key."),
        click.option("--tls-cert", type=FILE, help="PEM certificate of this client."),
        click.option("--tls-ca", type=FILE, help="PEM authority of a gateway that serves TLS."),
        click.option("--token-file", type=FILE, help="Holds the token, for --target."),
        click.option("--target", metavar="HOST:PORT", help="A gateway, instead of this host."),
        click.option("--config", "config_file", type=FILE, help="Or the file that says the name."),
        click.option("--symbol", default="", help="Of this instrument alone; all if left out."),
        click.option("--name", help="The daemon, as [engine] name says [pollux]."),
    ):
        command = option(command)
    return command


@click.command()
@_asking
def kill(**given: Any) -> int:
    """Halt the market makers and cancel their orders; back when none is open.

    Exit status 1 if an order may still be open after 15 s: it is named.
    """
    return _ask("kill", **given)


@click.command()
@_asking
def release(**given: Any) -> int:
    """Let halted market makers quote again; back when the engine has taken it.

    The day's result counts from zero again, and with it what is left to the daily loss limit.
    Exit status 1, with the reason, if one stays halted: the kill file is there, an account is
    disputed, or orders of an earlier run may be open.
    """
    return _ask("release", **given)


@click.command()
@_asking
def accept(**given: Any) -> int:
    """Take what the accounts hold as it is: a difference is a deposit or a withdrawal of others.

    `pollux stat` shows the difference. The neutral holding changes by it, the position and the
    day's result do not, and a halt that was for it ends. Exit status 1, with the reason, if quoting
    stays halted for something else.
    """
    return _ask("accept", **given)


def _ask(
    what: str,
    name: str | None,
    config_file: Path | None,
    target: str | None,
    symbol: str,
    **files: Path | None,
) -> int:
    from net.client.kill_switch import AskError, Remote, ask_here, ask_there
    from net.client.maker_lines import (
        NOTHING_DUE,
        is_due,
        order_name,
        plain_line,
        refusal_text,
    )

    if target is None and any(files.values()):
        raise CommandError("--token-file and --tls-* are for --target", 2)
    if target is not None and (name or config_file):
        raise CommandError("--target names the daemon: leave --name and --config out", 2)
    try:
        if target is None:
            asked = ask_here(daemon_name(name, config_file), what, symbol)
        else:
            remote = Remote(target, **{k: str(v or "") for k, v in files.items()})
            asked = ask_there(remote, what, symbol)
    except AskError as error:
        raise CommandError(str(error), error.status) from None
    makers = asked.after
    for maker in makers:
        click.echo(plain_line(maker))
    orders = [order for maker in makers for order in maker.orders]
    if what == "kill" and orders:
        names = ", ".join(map(order_name, orders))
        raise CommandError(f"{len(orders)} orders may still be open: {names}", 1)
    if what == "kill" and any(maker.unconfirmed for maker in makers):
        raise CommandError("orders of an earlier run may still be open: the log names them", 1)
    if refusals := [text for maker in makers if (text := refusal_text(what, maker))]:
        raise CommandError("; ".join(refusals), 1)
    if asked.before and not any(is_due(what, maker) for maker in asked.before):
        click.echo(f"nothing to {what}: {NOTHING_DUE[what]}")
    return 0
