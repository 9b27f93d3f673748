"""What `serve` and `check` refuse before anything starts: files that the configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from net.config.schema import parse_config
from net.daemon.command import _check_files
from net.process.command import CommandError

BOOK = '[[instrument]]\nsymbol = "A-B"\n[[instrument.venue]]\nname = "binance"\nsymbol = "AB"\n'


@pytest.mark.parametrize("section", ["gateway", "metrics", "maker"])
def test_an_unusable_token_is_a_wrong_configuration(section: str, tmp_path: Path) -> None:
    """With status 1 the service's unit would start it again for ever."""
    quotes = (
        '[maker.quotes]\nsize = "1"\n[maker.risk]\norder_size_max = "2"\n'
        'order_value_max = "9"\nposition_max = "10"\nexposure_max = "9"\ndaily_loss_max = "5"\n'
    )
    text = f'{BOOK}[{section}]\ntoken_file = "{tmp_path / "absent"}"\n'
    config = parse_config(text + quotes if section == "maker" else text, "test")
    with pytest.raises(CommandError, match=f"{section} token_file .*absent: No such") as caught:
        _check_files(config)
    assert caught.value.exit_code == 2
