"""A backtest is a replay that is faster: the same decisions, fills and states, the same twice."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from net.config.schema import ConfigError, parse_config
from net.journal.files import Record
from net.maker.paper_orders import PaperFill
from net.replay.backtest.backtest import Backtest
from net.replay.backtest.outcome import Outcome
from net.replay.replay import Replay
from net.tape.tape import TapeError, TapeReader
from tests import recorded
from tests.net.replay.backtest.tapes import market_rows, market_tape
from tests.net.replay.backtest.test_naive import WAYS, Way, config_of
from tests.net.rig import SECOND, START_NS
from tests.net.simulator.tapes import write_tape

TICKS = {("binance", "BTCUSDT"): "0.01"}
DAY_NS = 86_400 * SECOND


class Kept:
    """What a run has decided and who was filled."""

    def __init__(self, run: Replay) -> None:
        assert run.maker is not None
        self.records: list[Record] = []
        self.fills: list[PaperFill] = []
        run.decisions.watch = self.records.append
        (paper,) = run.maker.papers.values()
        told = paper.on_fill

        def hear(fill: PaperFill) -> None:
            self.fills.append(fill)
            if told is not None:
                told(fill)

        paper.on_fill = hear


def replayed(config: Any, *tapes: Path) -> tuple[Replay, Kept]:
    """As `pollux replay`, line by line."""
    run = Replay(config, TICKS)
    kept = Kept(run)
    for tape in tapes:
        for line in TapeReader(tape):
            run.step(line)
    run.finish()
    return run, kept


def backtested(config: Any, *tapes: Path) -> tuple[Backtest, Kept]:
    run = Backtest(config, TICKS)
    kept = Kept(run)
    for tape in tapes:
        run.take_tape(tape)
    run.finish()
    return run, kept


def assert_equal(slow: tuple[Replay, Kept], fast: tuple[Backtest, Kept]) -> None:
    assert fast[1].records == slow[1].records
    assert fast[1].fills == slow[1].fills
    one, other = slow[0].summary, fast[0].summary
    assert (one.frames, one.notes, one.states, one.quoting) == (
        other.frames, other.notes, other.states, other.quoting,
    )  # fmt: skip
    assert (one.first_ns, one.last_ns) == (other.first_ns, other.last_ns)
    counters = [
        (run.engine.counters(0), run.venues["binance"].counters.other_symbols)
        for run in (slow[0], fast[0])
    ]
    assert counters[0] == counters[1]


def odd_rows() -> list[dict[str, Any] | str]:
    """A market, and between its lines whatever a tape may have."""
    rows: list[dict[str, Any] | str] = []
    for number, row in enumerate(market_rows(seed=3, frames=240)):
        rows.append(row)
        t_ns = int(row["t"])
        other = {"t": t_ns, "venue": "bitstamp", "kind": "ws", "raw": '{"event":"x"}'}
        if number == 20:
            rows += ["", other, other | {"venue": "nowhere", "raw": "\u00e9\n"}]
        if number == 30:
            rows += [{"t": t_ns - SECOND, "kind": "ws", "venue": "binance", "raw": "[1]"}]
            rows += [{"t": t_ns, "venue": "binance", "kind": "unknown"}]
        if number == 40:
            raw = str(row["raw"]).replace("BTCUSDT", "ETHUSDT").replace("btcusdt", "ethusdt")
            rows += [row | {"raw": raw}, {"kind": "sent", "raw": "x", "t": t_ns, "venue": "b"}]
        if number == 120:  # the next frame is of another connection that nobody told of
            rows += [{"t": t_ns, "venue": "binance", "kind": "lost", "raw": "gone"}]
        if number == 60:
            rows += [row | {"raw": '{"result":null,"id":1}'}, row | {"raw": "\u00ff{"}]
        if number in (80, 81, 200):  # of one shape, and each of them is somebody's business
            rows += [row | {"raw": f'{{"x":{number}}}'}]
        if number == 200:
            rows += [row | {"raw": '{"error":{"code":2,"msg":"no \\"such\\" stream"}}'}]
    return rows


@pytest.mark.kernel
@pytest.mark.parametrize("way", WAYS[1:], ids=["drawn", "behind"])
def test_every_decision_and_fill_is_the_replays(way: Way, tmp_path: Path) -> None:
    tape = write_tape(tmp_path / "odd.jsonl.gz", odd_rows())
    config = config_of(way, size="2.5")
    slow, fast = replayed(config, tape), backtested(config, tape)
    assert_equal(slow, fast)
    assert len(fast[1].records) > 100 and len(fast[1].fills) > 3
    assert slow[0].summary.notes["broken: frame not understood"] >= 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [recorded.BTCUSDT])
def test_a_recorded_tape_is_the_replays_too(name: str) -> None:
    tape, config = recorded.tape_path(name), config_of(WAYS[1], size="0.05", step=20)
    assert_equal(replayed(config, tape), backtested(config, tape))


@pytest.mark.kernel
def test_the_same_twice_has_the_same_digest_and_another_seed_has_not(tmp_path: Path) -> None:
    tape = market_tape(tmp_path / "t.jsonl.gz", frames=120)
    config = config_of(WAYS[1])
    (maker,) = config.maker
    paper = maker.paper.model_copy(update={"seed": 12})
    other = config.model_copy(update={"maker": (maker.model_copy(update={"paper": paper}),)})
    one, two, three = (backtested(each, tape)[0].summary for each in (config, config, other))
    assert one.digest == two.digest != three.digest and len(one.digest) == 64


@pytest.mark.kernel
def test_two_tapes_are_two_recordings_with_all_that_is_between_them(tmp_path: Path) -> None:
    """Over midnight: no book goes on, what rested is cancelled, and each day has its result."""
    start_ns = (START_NS // DAY_NS + 1) * DAY_NS - 20 * SECOND
    first = market_tape(tmp_path / "a.jsonl.gz", frames=100, start_ns=start_ns)
    second = market_tape(tmp_path / "b.jsonl.gz", 8, 100, start_ns + 30 * SECOND)
    run, kept = backtested(config_of(WAYS[1], size="0.7"), first, second)
    assert run.summary.states == {"binance": {"BTCUSDT": "LIVE"}}
    assert run.summary.notes["lost: the tape ended"] == 1
    assert [day.number for day in run.results.days] == [start_ns // DAY_NS, start_ns // DAY_NS + 1]
    days, results = run.results.days, run.results
    assert sum(day.fills for day in days) == len(kept.fills) == len(results.fills) > 5
    assert days[0].fills > 0 and days[1].fills > 0
    assert sum(day.fee_lots for day in days) == results.fee_lots
    assert sum(day.result_value for day in days) == results.result_value
    assert days[0].position_lots == results.fills[days[0].fills - 1].position_lots
    for day, fills in zip(
        days, (results.fills[: days[0].fills], results.fills[days[0].fills :]), strict=True
    ):
        assert {fill.time_ns // DAY_NS for fill in fills} == {day.number}
        bought = sum(fill.lots for fill in fills if fill.is_buy)
        assert (day.bought_lots, day.sold_lots) == (bought, sum(f.lots for f in fills) - bought)


def test_tapes_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    run = Backtest(config_of(WAYS[0]), TICKS)
    tape = market_tape(tmp_path / "a.jsonl.gz", frames=12)
    run.take_tape(tape)
    with pytest.raises(TapeError, match=r"a\.jsonl\.gz: begins before the tape in front of it"):
        run.take_tape(tape)


def test_a_configuration_without_a_market_maker_is_refused() -> None:
    text = '[[instrument]]\nsymbol = "X"\n[[instrument.venue]]\nname = "binance"\nsymbol = "B"'
    with pytest.raises(ConfigError, match="maker: is missing"):
        Backtest(parse_config(text, "test"), {("binance", "B"): "0.01"})


@pytest.mark.kernel
def test_a_damaged_tape_is_run_to_where_it_ends(tmp_path: Path) -> None:
    whole = market_tape(tmp_path / "whole.jsonl.gz", frames=60)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole.read_bytes()[:-200])
    config = config_of(WAYS[1])
    slow, fast = replayed(config, cut), backtested(config, cut)
    assert_equal(slow, fast)
    assert fast[0].ends == [f"{cut}:{fast[0].ends[0].split(':')[1]}: cut short"]
    assert 0 < fast[0].summary.frames < 120


@pytest.mark.kernel
def test_a_line_that_is_none_ends_the_tape_as_it_ends_a_replay(tmp_path: Path) -> None:
    rows: list[dict[str, Any] | str] = [*market_rows(frames=30), "{no line", *market_rows()]
    tape, config = write_tape(tmp_path / "t.jsonl.gz", rows), config_of(WAYS[1])
    fast = backtested(config, tape)
    assert_equal(replayed(config, tape), fast)
    place = f"{tape}:{rows.index('{no line') + 1}"
    assert len(fast[0].ends) == 1 and fast[0].ends[0].startswith(f"{place}: not JSON")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "the file is empty"), (b"\n\n", "there is no line in it"), (b"{}\n", "kind must be")],
)
def test_a_tape_without_a_line_is_an_error_that_names_it(
    content: bytes, words: str, tmp_path: Path
) -> None:
    tape = tmp_path / "t.jsonl.gz"
    tape.write_bytes(gzip.compress(content) if content else b"")
    with pytest.raises(TapeError, match=words):
        Backtest(config_of(WAYS[0]), TICKS).take_tape(tape)


@pytest.mark.kernel
def test_the_figures_are_those_of_the_fills(tmp_path: Path) -> None:
    tape = market_tape(tmp_path / "t.jsonl.gz", frames=150)
    run, kept = backtested(config_of(WAYS[1], size="0.7"), tape)
    outcome = Outcome(run)
    (venue,) = outcome.venues
    placed = [record for record in kept.records if record.kind in (4, 9)]
    assert venue.placed + venue.rejected <= len(placed)
    assert venue.filled_lots == sum(fill.lots for fill in kept.fills)
    assert outcome.fill_ratio == venue.filled_lots / venue.placed_lots < 1
    assert venue.orders_filled == len({fill.order_id for fill in kept.fills})
    for horizon, each in enumerate(outcome.after):
        known = [f for f in run.results.fills if f.mids_after[horizon] is not None]
        assert each.fills == len(known)
        lots = sum(fill.lots for fill in known)
        markout = 0.0
        for fill in known:
            price, after = 2 * fill.price_ticks, fill.mids_after[horizon]
            assert after is not None
            markout += fill.lots * (1 if fill.is_buy else -1) * (after - price) / price
        assert each.markout_bps is None or each.markout_bps == pytest.approx(1e4 * markout / lots)
    assert outcome.after[0].fills > 0 and outcome.after[2].fills == 0, "the tape has 15 s"
    lines = "\n".join(outcome.lines())
    assert run.summary.digest in lines and f"fills       {len(kept.fills)}" in lines
