"""A market maker with a model, on a moving book: it waits, then is as wide as the market moves."""

from __future__ import annotations

import math
import random

import pytest

from engine.maker import quote_layout as Q
from engine.maker.model import read_variance
from net.config.schema import ConfigError, parse_config
from net.maker.build import DigestJournal, build_maker, plain_market
from net.maker.maker import Maker
from tests.net.maker.test_pace import AT_ONCE, Paced
from tests.net.maker.test_units import CONFIG

pytestmark = pytest.mark.kernel

WIDENED = "widen = 2.0\nhorizon_s = 60\nvolatility_half_life_s = 20\n"
PAPER = """kind = "avellaneda_stoikov"
risk_aversion = 0.1
fill_decay = 5.0
volatility_half_life_s = 20
"""


class Modelled(Paced):
    """A desk whose market maker has a model."""

    def __init__(self, model: str) -> None:
        self._model = model
        super().__init__()

    def build(self, tick_size: str) -> Maker:
        text = CONFIG + AT_ONCE + f"[maker.model]\n{self._model}"
        config = parse_config(text, "test")
        markets = {"binance": plain_market("BTCUSDT", tick_size)}
        rng = random.Random(1)
        return build_maker(config, self.engine, markets, DigestJournal(), self, epoch=1, rng=rng)

    def swing(self, seconds: int, cents: int) -> None:
        """A frame a second; the book is now here, now `cents` higher."""
        for number in range(seconds):
            up = cents if number % 2 else 0
            self.frame_of(f"{(10_000 + up) / 100:.2f}", f"{(10_001 + up) / 100:.2f}")
            self.turn(1.0)
            self.turn(0.01)


@pytest.mark.parametrize("model", [WIDENED, PAPER])
def test_it_waits_for_the_volatility_and_says_so(model: str) -> None:
    desk = Modelled(model)
    desk.go_live("binance")
    desk.swing(5, 1)
    assert desk.orders() == [] and math.isnan(read_variance(desk.maker._step.model))
    waiting = ("info", "not quoting: the volatility is not known")
    known = ("info", "the volatility is known")
    assert desk.told.count(waiting) == 1 and known not in desk.told
    desk.swing(20, 1)
    assert len(desk.orders()) == 2
    assert (desk.told.count(waiting), desk.told.count(known)) == (1, 1)


def test_quotes_are_as_wide_as_the_market_moves() -> None:
    spreads = []
    for cents in (1, 4):
        desk = Modelled(WIDENED)
        desk.go_live("binance")
        desk.swing(40, cents)
        bid, ask = (ticks for _, ticks in desk.orders())
        spreads.append(ask - bid)
        relative = read_variance(desk.maker._step.model)
        assert math.sqrt(relative) == pytest.approx(cents / 10_000.5, rel=0.05)
        wider = int(desk.maker._step.quotes[Q.QUOTE_WIDER_PPM])
        assert wider == math.ceil(2 * math.sqrt(relative * 60) * Q.PPM)
    assert spreads[0] < spreads[1]


def test_without_a_model_nothing_waits() -> None:
    desk = Modelled("")
    desk.go_live("binance")
    desk.step()
    assert len(desk.orders()) == 2 and not any("volatility" in what for _, what in desk.told)


@pytest.mark.parametrize(
    ("model", "quotes", "line"),
    [
        ('kind = "avellaneda_stoikov"', "", "maker.model: kind = 'avellaneda_stoikov' needs"),
        (PAPER + "widen = 1.0", "", "maker.model: widen = 1 is of the linear model"),
        ("fill_decay = 1.0", "", "maker.model: fill_decay is of kind = 'avellaneda_stoikov'"),
        (
            "volatility_half_life_s = 5\nvolatility_sample_ms = 501",
            "",
            "maker.model: volatility_sample_ms = 501 is more than a tenth of volatility_half",
        ),
        (PAPER, "skew_bps = 1", "maker.quotes.skew_bps: 1 beside model.kind"),
        (PAPER, 'unit = "ticks"', "maker.quotes.unit: 'ticks' beside model.kind"),
        ("risk_aversion = 0.0", "", "maker.model.risk_aversion: 0.0"),
    ],
)
def test_what_does_not_go_together_is_one_line(model: str, quotes: str, line: str) -> None:
    text = CONFIG.replace("first = 5.0", f"first = 5.0\n{quotes}") + f"[maker.model]\n{model}\n"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.toml")
    assert str(caught.value).startswith(f"c.toml: {line}"), str(caught.value)
