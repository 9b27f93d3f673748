"""The example configurations are ones that the daemon takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.engine import Engine
from net.config.schema import load_config
from net.feed.specs import instrument_specs
from tests.child import ROOT

EXAMPLES = sorted((ROOT / "net/config/examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_configuration_with_an_engine(path: Path) -> None:
    config = load_config(path)
    ticks = {(v.name, v.symbol): "0.01" for each in config.instrument for v in each.venue}
    engine = Engine(instrument_specs(config, ticks), window_slots=64, far_levels_max=8)
    assert len(engine.feeds) == sum(len(each.venue) for each in config.instrument)
    engine.close()


def test_there_are_examples() -> None:
    assert [path.stem for path in EXAMPLES] == ["eight-venues", "ten-instruments"]
