"""Recorded markets through `pollux replay`'s own path: sessions, engine, exact decimals, digest."""

from __future__ import annotations

import bisect
import functools
from decimal import Decimal
from typing import Any

import orjson
import pytest

from net.config.schema import ConfigError, parse_config
from net.replay.replay import Replay, replay, tick_sizes
from net.replay.report.timeline import Timeline
from net.tape.tape import TapeLine, read_tape
from tests import recorded

PAIRS = {
    "xlmeur": "0.00001", "paxusd": "0.00001", "xrpbtc": "0.00000001", "linketh": "0.00000001",
    "kncusd": "0.00001", "knceur": "0.00001", "xrppax": "0.00001", "btcusdc": "0.01",
    "bcheur": "0.01", "ethgbp": "0.01",
}  # fmt: skip


def instrument(symbol: str, *venues: tuple[str, str, str]) -> str:
    text = f'[[instrument]]\nsymbol = "{symbol}"\n'
    for name, venue_symbol, tick in venues:
        text += f'[[instrument.venue]]\nname = "{name}"\nsymbol = "{venue_symbol}"\n'
        text += f'tick_size = "{tick}"\n' if tick else ""
    return text


@functools.cache
def lines_of(name: str) -> tuple[TapeLine, ...]:
    return tuple(read_tape(recorded.tape_path(name)))


def run(toml: str, name: str) -> tuple[Any, list[dict[str, Any]]]:
    books: list[dict[str, Any]] = []
    lines = lines_of(name)
    config = parse_config(toml, "test")
    summary = replay(config, iter(lines), tick_sizes(config, lines), books.append)
    return summary, books


@pytest.mark.parametrize(
    ("name", "symbol", "comparisons"),
    [(recorded.BTCUSDT, "BTCUSDT", 3448), (recorded.ETHUSDT, "ETHUSDT", 3432)],
)
def test_the_best_prices_equal_the_venues_own_ticker(
    name: str, symbol: str, comparisons: int
) -> None:
    """After each depth frame: price and quantity of both sides, as `--json` prints them."""
    config = parse_config(instrument("X-USD", ("binance", symbol, "0.01")), "test")
    books: list[dict[str, Any]] = []
    steps = Replay(config, {("binance", symbol): "0.01"}, books.append)
    ticker_ids: list[int] = []
    tickers: list[tuple[Decimal, ...]] = []
    seen: list[tuple[int, tuple[Decimal, ...]]] = []
    for line in lines_of(name):
        steps.step(line)
        data = orjson.loads(line.raw).get("data", {})
        if "B" in data:
            ticker_ids.append(data["u"])
            tickers.append(tuple(Decimal(data[key]) for key in ("b", "B", "a", "A")))
        elif data.get("e") == "depthUpdate" and books and books[-1]["bids"]:
            bid, ask = books[-1]["bids"][0], books[-1]["asks"][0]
            top: tuple[Decimal, ...] = (
                Decimal(bid[1]),
                Decimal(bid[2]),
                Decimal(ask[1]),
                Decimal(ask[2]),
            )
            seen.append((data["u"], top))
    compared = 0
    for last_id, top in seen:
        at = bisect.bisect_right(ticker_ids, last_id) - 1
        if at >= 0:
            compared += 1
            assert top == tickers[at]
    assert compared == comparisons
    assert steps.finish().states == {"binance": {symbol: "LIVE"}}


def test_the_stale_first_bitstamp_snapshot_is_refused_and_fetched_again() -> None:
    summary, books = run(
        instrument("BTC-USD", ("bitstamp", "btcusd", "0.01")), recorded.THREE_VENUES
    )
    assert summary.notes["snapshot refused: older than the stream"] == 1
    assert summary.notes["live"] == 1
    assert summary.states == {"bitstamp": {"btcusd": "LIVE"}}
    first = next(book for book in books if book["bids"])
    assert first["venues"] == {"bitstamp": "LIVE"} and first["t"] >= 1786253083401229000


def test_all_ten_pairs_rebuild_uncrossed_without_unknown_deletes() -> None:
    toml = "".join(instrument(pair, ("bitstamp", pair, tick)) for pair, tick in PAIRS.items())
    config = parse_config(toml, "test")
    lines = lines_of(recorded.TEN_PAIRS)
    steps = Replay(config, tick_sizes(config, lines))
    for line in lines:
        steps.step(line)
    summary = steps.finish()
    assert summary.notes["live"] == 10 and summary.crossed == 0
    assert not [note for note in summary.notes if "broken" in note]
    for feed in range(10):
        assert steps.engine.counters(feed).unknown_deletes == 0


def test_the_same_tape_gives_the_same_digest_and_another_does_not() -> None:
    toml = instrument("BTC-USD", ("bitstamp", "btcusd", "0.01"))
    one, books = run(toml, recorded.THREE_VENUES)
    two, again = run(toml, recorded.THREE_VENUES)
    assert one == two and books == again and len(one.digest) == 64
    lines = list(lines_of(recorded.THREE_VENUES))
    position = max(i for i, line in enumerate(lines) if b"diff_order_book" in line.raw)
    changed = lines[position].raw.replace(b'"bids":[[', b'"bids":[["64736.00","0.00000001"],[')
    lines[position] = TapeLine(lines[position].t_ns, "bitstamp", "ws", changed)
    config = parse_config(toml, "test")
    assert replay(config, iter(lines), tick_sizes(config, lines)).digest != one.digest


def test_two_venues_of_different_times_and_ticks_merge_on_one_clock() -> None:
    """Binance's tape moved to Bitstamp's time: one instrument, both venues live, crossed as is."""
    ours = lines_of(recorded.THREE_VENUES)
    shift_ns = ours[0].t_ns - lines_of(recorded.BTCUSDT)[0].t_ns
    moved = [
        TapeLine(line.t_ns + shift_ns, line.venue, line.kind, line.raw, line.path)
        for line in lines_of(recorded.BTCUSDT)
        if line.t_ns + shift_ns <= ours[-1].t_ns
    ]
    lines = sorted([*ours, *moved], key=lambda line: line.t_ns)
    venues = (("binance", "BTCUSDT", "0.01"), ("bitstamp", "btcusd", "0.01"))
    config = parse_config(instrument("BTC-USD", *venues), "test")
    books: list[dict[str, Any]] = []
    summary = replay(config, iter(lines), tick_sizes(config, lines), books.append)
    assert summary.states == {"binance": {"BTCUSDT": "LIVE"}, "bitstamp": {"btcusd": "LIVE"}}
    both = [book for book in books if set(book["venues"].values()) == {"LIVE"}]
    assert len(both) > 900 and summary.crossed == len(both), "recorded 2,900 dollars apart"
    assert all(Decimal(b["bids"][0][1]) > Decimal(b["asks"][0][1]) for b in both)
    assert {row[0] for row in books[-1]["bids"]} == {"bitstamp"}
    assert {row[0] for row in books[-1]["asks"]} == {"binance"}
    assert [book["seq"] for book in books] == list(range(1, len(books) + 1))


def test_books_are_printed_with_exact_decimals() -> None:
    _, books = run(instrument("BTC-USD", ("binance", "BTCUSDT", "0.01")), recorded.BTCUSDT)
    first = next(book for book in books if book["bids"])
    assert list(first) == ["seq", "t", "symbol", "bids", "asks", "venues"]
    assert first["bids"][0] == ["binance", "61837.63", "3.78826000"]


def test_a_tick_that_nothing_names_is_an_error() -> None:
    with pytest.raises(ConfigError, match="binance BTCUSDT: tick_size must be configured"):
        run(instrument("BTC-USD", ("binance", "BTCUSDT", "")), recorded.BTCUSDT)


# --- quoting -------------------------------------------------------------------------------------

QUOTING = """
[maker]
[maker.quotes]
size = "{size}"
levels = 3
first = 2
step = 2
hold = 0.5
skew_bps = 5
[maker.paper]
latency_ms = 0
latency_tail_ms = 0
fee_bps = 0
[maker.risk]
order_size_max = "0.05"
order_value_max = "5000"
position_max = "0.1"
exposure_max = "10000"
daily_loss_max = "500"
"""
"""Without latency: a quote on its way is overtaken where the price jumps."""


def watched(toml: str, lines: tuple[TapeLine, ...]) -> tuple[Any, Timeline]:
    """The summary of a run with an observer, and what that has seen."""
    config = parse_config(toml, "test")
    steps = Replay(config, tick_sizes(config, lines))
    timeline = Timeline(steps)
    for line in lines:
        steps.step(line)
    summary = steps.finish()
    timeline.end()
    return summary, timeline


def test_quoting_on_a_tape_is_deterministic_and_leaves_the_books_as_they_are() -> None:
    lines = lines_of(recorded.BTCUSDT)
    plain = instrument("X-USD", ("binance", "BTCUSDT", "0.01"))

    def summary(maker: str) -> Any:
        config = parse_config(plain + maker, "test")
        return replay(config, iter(lines), tick_sizes(config, lines))

    without, first, other = (
        summary(maker) for maker in ("", *(QUOTING.format(size=size) for size in ("0.01", "0.02")))
    )
    again, timeline = watched(plain + QUOTING.format(size="0.01"), lines)
    assert without.digest == first.digest and without.quoting == {}
    assert first.quoting == again.quoting
    assert int(first.quoting["records"]) > 1000 and int(first.quoting["fills"]) > 10
    assert first.quoting["digest"] != other.quoting["digest"]
    assert abs(Decimal(first.quoting["position"])) <= Decimal("0.1")
    assert again == first, "looking on changes nothing"
    maker, bins = timeline.maker, timeline.bins
    assert maker is not None
    bought, sold = (float(each.values.sum()) / 1e8 for each in maker.fill_lots)
    assert bought > 0 and sold > 0
    assert bought - sold == pytest.approx(float(first.quoting["position"]))
    assert bins.held(maker.position)[-1] == pytest.approx(float(first.quoting["position"]))
    assert bins.held(maker.result)[-1] == pytest.approx(float(first.quoting["result"]), abs=0.2)
    fair, buy, sell = (bins.held(each) for each in (maker.fair, maker.buy, maker.sell))
    quoted = (buy > 0) & (sell > 0)
    assert quoted.sum() > 300
    assert (buy[quoted] < fair[quoted]).all() and (fair[quoted] < sell[quoted]).all()
