"""Orders that take, on paper and as configured: a position is hedged, or ended after a kill."""

from __future__ import annotations

import random

import pytest

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from net.config.schema import ConfigError, parse_config
from net.maker.build import DigestJournal, build_maker, plain_market
from net.maker.maker import Maker
from net.maker.market_fit import RulesError
from net.maker.own_orders import side_of
from tests.net.maker.test_pace import Paced
from tests.net.maker.test_units import CONFIG

pytestmark = pytest.mark.kernel

HEDGE = '[maker.taking]\nhedge_venue = "binance"\nhedge_above = "0.01"\n'
FLATTEN = "[maker.taking]\nflatten_on_kill = true\n"
WITHIN = 1_000_000
"""Lots of one quote."""


def desk_with(taking: str, quotes: str = "") -> Paced:
    desk = Paced(taking, quotes)
    desk.go_live("binance")
    desk.step()
    return desk


def fill_the_bid(desk: Paced) -> None:
    """The book falls through our best bid, in one frame."""
    bid = max(desk.our_bids())
    desk.frame_of(f"{(bid - 4) / 100:.2f}", f"{(bid - 1) / 100:.2f}")
    desk.turn(0.01)
    desk.turn(0.01)


def told(desk: Paced) -> list[str]:
    return [what for _, what in desk.told if "ing: " in what or "ended" in what]


def settle(desk: Paced, bid: str, ask: str) -> None:
    """Time passes on a book that is confirmed once more, and is there again."""
    for _ in range(3):
        desk.frame_of(bid, ask)
        desk.turn(0.6)
        desk.turn(0.01)


def test_a_fill_beyond_the_threshold_is_hedged_with_the_takers_fee() -> None:
    desk = desk_with(HEDGE)
    fill_the_bid(desk)
    desk.turn(0.01)
    assert desk.maker.orders.position_lots == 0 and desk.fills == 2
    desk.turn(0.01)
    assert told(desk)[-2:] == ["hedging: orders that take at binance", "the position is ended"]
    # Nothing for the fill that rested; 10 bps of 0.01 at some 100 for the one that took.
    fee = int(desk.maker.table[O.ACCOUNT_FEE_VALUE]) * desk.maker.rules.value_size
    assert float(fee) == pytest.approx(0.001, rel=0.01)


def test_what_rests_in_its_way_is_cancelled_and_quoted_again() -> None:
    desk = desk_with(HEDGE + "slippage_bps = 100\n", "levels = 2\nstep = 20.0")
    assert len(desk.our_bids()) == 2
    seen: list[bool] = []
    send = desk.maker.sender.send

    def look(count: int, now_ns: int) -> object:
        seen.extend(
            any(
                side_of(each.slot) == O.BUY and each.price >= action.price_units
                for each in desk.maker.orders.sent.values()
            )
            for action in desk.maker._step.decided(count)
            if action.kind == O.ACTION_TAKE
        )
        return send(count, now_ns)

    vars(desk.maker.sender)["send"] = look
    fill_the_bid(desk)
    settle(desk, "99.90", "99.93")
    assert seen == [False], "one order that takes, and no bid that it could meet"
    assert desk.fills == 2
    settle(desk, "99.90", "99.93")
    assert desk.our_bids(), "the position is ended, and bids are there again"


@pytest.mark.parametrize(("more", "left"), [("", WITHIN), (FLATTEN, 0)])
def test_a_kill_ends_the_position_only_where_that_is_wanted(more: str, left: int) -> None:
    desk = desk_with(more)
    fill_the_bid(desk)
    desk.maker.halts.kill(J.REASON_OPERATOR, desk.wall_ns())
    settle(desk, "99.90", "99.93")
    assert desk.maker.orders.position_lots == left and desk.maker.halts.is_halted
    assert desk.orders() == []


def test_a_price_beyond_the_slippage_is_waited_for_and_told() -> None:
    desk = desk_with(FLATTEN + "slippage_bps = 3\n")
    fill_the_bid(desk)
    desk.maker.halts.kill(J.REASON_OPERATOR, desk.wall_ns())
    settle(desk, "99.00", "99.93")
    assert desk.maker.orders.position_lots == WITHIN
    assert told(desk)[-1] == "flattening: the best price of binance is beyond slippage_bps"
    settle(desk, "99.92", "99.93")
    assert desk.maker.orders.position_lots == 0


def test_an_end_of_the_daemon_ends_no_position() -> None:
    desk = desk_with(FLATTEN)
    fill_the_bid(desk)
    desk.maker.halts.kill(J.REASON_OPERATOR, desk.wall_ns())
    desk.maker.stop(desk.wall_ns())
    settle(desk, "99.90", "99.93")
    assert desk.maker.orders.position_lots == WITHIN


@pytest.mark.parametrize(
    ("taking", "quotes", "line"),
    [
        ('hedge_venue = "binance"', "", "taking.hedge_above: is missing"),
        ('hedge_above = "1"', "", "taking.hedge_venue: is missing"),
        ('hedge_venue = "binance"\nhedge_above = "4"', "", "taking.hedge_above: 4 is above"),
        ("flatten_on_halt = true\nslippage_bps = 201", "", "taking.slippage_bps: 201 is above"),
        ("flatten_on_halt = true", "levels = 10", "quotes.levels: 10 beside [maker.taking]"),
        (HEDGE.partition("\n")[2], 'target = "0.01"', "quotes.target: 0.01 is hedged from"),
    ],
)
def test_what_does_not_go_together_is_one_line(taking: str, quotes: str, line: str) -> None:
    text = CONFIG.replace("first = 5.0", f"first = 5.0\n{quotes}") + f"[maker.taking]\n{taking}\n"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.toml")
    assert str(caught.value).startswith(f"c.toml: maker.{line}"), str(caught.value)


def test_a_hedge_is_at_a_venue_that_is_quoted() -> None:
    def build(desk: Paced, venue: str) -> Maker:
        config = parse_config(CONFIG + HEDGE.replace("binance", venue), "c.toml")
        markets, rng = {"binance": plain_market("BTCUSDT", "0.01")}, random.Random(1)
        return build_maker(config, desk.engine, markets, DigestJournal(), desk, epoch=1, rng=rng)

    with pytest.raises(RulesError, match="hedge_venue: 'bitstamp' is no venue that is quoted"):
        build(desk_with(""), "bitstamp")
