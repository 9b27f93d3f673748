"""A name or a port that is taken is told before anything takes long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from engine.sharing.directory import prepare_directory
from net.config.schema import Config, parse_config
from net.daemon.command import _check_places
from net.process.command import CommandError
from net.process.name_lock import lock_name

pytestmark = pytest.mark.once

NAME = "taken-places"


@pytest.fixture
def taken() -> Iterator[str]:
    """An address where somebody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


def config_of(gateway: str = "127.0.0.1:0", metrics: str = "127.0.0.1:0") -> Config:
    text = (
        '[[instrument]]\nsymbol = "BTC-USD"\n'
        '[[instrument.venue]]\nname = "binance"\nsymbol = "BTCUSDT"\n'
        f'[engine]\nname = "{NAME}"\n'
        f'[gateway]\nlisten = "{gateway}"\n[metrics]\nlisten = "{metrics}"\n'
    )
    return parse_config(text, "c.toml")


def refusal(config: Config) -> CommandError:
    with pytest.raises(CommandError) as raised:
        _check_places(config)
    return raised.value


def test_a_port_that_is_taken(taken: str) -> None:
    error = refusal(config_of(gateway=taken))
    text = f"cannot listen on {taken}: address already in use"
    assert (str(error), error.exit_code) == (f"gateway.listen: {text}", 1)
    assert str(refusal(config_of(metrics=taken))) == f"metrics.listen: {text}"


def test_a_name_that_is_taken_comes_first(taken: str) -> None:
    prepare_directory("")
    held = lock_name(NAME)
    try:
        error = refusal(config_of(gateway=taken))
    finally:
        held.close()
    assert f"a daemon named '{NAME}' is running already" in str(error) and error.exit_code == 1


def test_what_is_free_stays_free() -> None:
    config = config_of(metrics="")
    _check_places(config)
    _check_places(config)
