"""Every fill of a backtest against a plain simulator that shares nothing with it."""

from __future__ import annotations

import random
from collections import deque
from decimal import Decimal
from pathlib import Path

import pytest

from engine.maker import order_layout as O
from engine.maker.queue_layout import CAUSE_NAMES
from net.config.schema import Config, parse_config
from net.maker.paper_orders import PaperEntry
from net.replay.backtest.backtest import Backtest
from net.replay.backtest.results import Results
from tests import recorded
from tests.naive_queue import LOT
from tests.net.replay.backtest.naive import Ask, NaiveBook, NaiveVenue, Seen, read_lines
from tests.net.replay.backtest.tapes import market_tape

CONFIG = """
[[instrument]]
symbol = "BTC-USD"
[[instrument.venue]]
name = "{venue}"
symbol = "{symbol}"
tick_size = "{tick}"
[maker]
[maker.paper]
latency_ms = {latency}
latency_tail_ms = {tail}
queue = "{queue}"
seed = 11
fee_bps = {fee}
[maker.quotes]
size = "{size}"
levels = 3
unit = "ticks"
first = 1
step = {step}
hold = 0
edge_bps_min = {edge}
pause_ms = 0
[maker.risk]
order_size_max = "1000"
order_value_max = "10000000"
position_max = "1000"
exposure_max = "100000000"
daily_loss_max = "10000000"
orders_per_10_s = 10000
venue_orders_per_10_s = 10000
venue_orders_per_day = 10000000
fills_per_min = 100000
"""
Way = tuple[float, float, str, float]
"""Latency and its tail in ms, the queue's model, the fee in bps: the quotes are as far out."""
WAYS: list[Way] = [
    (0.0, 0.0, "proportional", 0.0),
    (20.0, 10.0, "proportional", 0.02),
    (7.0, 40.0, "behind", -0.01),
]


def config_of(way: Way, **values: object) -> Config:
    latency, tail, queue, fee = way
    given = {
        "venue": "binance", "symbol": "BTCUSDT", "tick": "0.01", "size": "0.5", "step": 1,
        "edge": 0.01,
    } | values  # fmt: skip
    return parse_config(
        CONFIG.format(latency=latency, tail=tail, queue=queue, fee=fee, **given), "test"
    )


def overheard(entry: PaperEntry, tick: Decimal) -> deque[Ask]:
    """Everything that the market maker asks for from now on, as it leaves."""
    asked: deque[Ask] = deque()
    place, cancel, replace, ask = entry.place, entry.cancel, entry.replace, entry.ask

    def on_place(name: int, side: int, ticks: int, lots: int, now_ns: int) -> None:
        asked.append(Ask(now_ns, "place", name, 0, side == 0, ticks * tick, lots * LOT))
        place(name, side, ticks, lots, now_ns)

    def on_cancel(name: int, now_ns: int) -> None:
        asked.append(Ask(now_ns, "cancel", name))
        cancel(name, now_ns)

    def on_replace(old: int, name: int, side: int, ticks: int, lots: int, now_ns: int) -> None:
        asked.append(Ask(now_ns, "replace", name, old, side == 0, ticks * tick, lots * LOT))
        replace(old, name, side, ticks, lots, now_ns)

    def on_ask(name: int, now_ns: int) -> None:
        asked.append(Ask(now_ns, "ask", name))
        ask(name, now_ns)

    entry.place = on_place  # type: ignore[method-assign,assignment]
    entry.cancel = on_cancel  # type: ignore[method-assign,assignment]
    entry.replace = on_replace  # type: ignore[method-assign,assignment]
    entry.ask = on_ask  # type: ignore[method-assign,assignment]
    return asked


def seen_by(results: Results) -> list[Seen]:
    """The run's fills in the plain simulator's words."""

    def mid(venue: int, ticks: int | None) -> Decimal | None:
        return None if ticks is None else results.price(venue, ticks) / 2

    return [
        Seen(
            fill.time_ns, fill.order_id, fill.is_buy, results.price(fill.venue, fill.price_ticks),
            fill.lots * LOT, fill.left_lots * LOT, CAUSE_NAMES[fill.cause], fill.fee_lots * LOT,
            fill.position_lots * LOT,
            tuple(mid(fill.venue, each) for each in (fill.mid_ticks, *fill.mids_after)),
        )
        for fill in results.fills
    ]  # fmt: skip


def both(config: Config, tape: Path) -> tuple[Backtest, NaiveVenue]:
    """One tape through the program, then through the plain simulator."""
    (venue,) = config.instrument[0].venue
    tick = Decimal(str(venue.tick_size))
    run = Backtest(config, {(venue.name, venue.symbol): str(venue.tick_size)})
    assert run.maker is not None
    asked = overheard(run.maker.papers[0], tick)
    run.take_tape(tape)
    run.finish()
    paper = config.maker[0].paper
    plain = NaiveVenue(
        NaiveBook(venue.name, venue.symbol), asked, paper.latency_ms, paper.latency_tail_ms,
        random.Random(paper.seed * O.VENUE_SLOTS), Decimal(str(paper.fee_bps)),
        paper.queue == "proportional",
    )  # fmt: skip
    plain.run(read_lines(tape))
    return run, plain


def check(run: Backtest, plain: NaiveVenue) -> None:
    """They agree fill by fill, and in what it all came to."""
    ours, theirs = seen_by(run.results), plain.seen()
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        assert one == other, f"fill {number}"
    assert len(ours) == len(theirs)
    results = run.results
    assert results.position_lots * LOT == plain.position
    assert run.maker is not None
    if run.maker.table[O.ACCOUNT_FILLS] == len(ours):  # else news of the last were on their way
        assert run.maker.orders.position_lots == results.position_lots
    assert results.fee_lots * LOT == sum((each.fee for each in theirs), Decimal(0))
    last = results.samples[-1]
    held = results.money(last.position_lots * last.fair_units)
    assert results.money(last.result_value) - held == plain.cash


@pytest.mark.kernel
@pytest.mark.parametrize("way", WAYS, ids=["at once", "drawn", "behind"])
def test_a_small_market_is_filled_alike(way: Way, tmp_path: Path, compiled_kernels: None) -> None:
    run, plain = both(config_of(way, size="2.5"), market_tape(tmp_path / "t.jsonl.gz"))
    check(run, plain)
    causes = [fill.cause for fill in run.results.fills]
    assert len(causes) > 20 and len(set(causes)) == 2, "by price and by depletion"
    assert any(fill.left_lots for fill in run.results.fills), "some in part"
    assert run.summary.notes["live"] == 3, "after the start, the loss and the gap"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS, ids=["at once", "drawn", "behind"])
@pytest.mark.parametrize(
    ("name", "venue", "symbol", "size", "tick"),
    [
        (recorded.BTCUSDT, "binance", "BTCUSDT", "0.05", "0.01"),
        (recorded.ETHUSDT, "binance", "ETHUSDT", "0.7", "0.01"),
        (recorded.TEN_PAIRS, "bitstamp", "xlmeur", "50", "0.00001"),
    ],
)
def test_a_recorded_market_is_filled_alike(
    name: str, venue: str, symbol: str, size: str, tick: str, way: Way,
    compiled_kernels: None,
) -> None:  # fmt: skip
    config = config_of(way, venue=venue, symbol=symbol, size=size, step=20, tick=tick)
    run, plain = both(config, recorded.tape_path(name))
    check(run, plain)
    assert len(run.results.fills) > 5
