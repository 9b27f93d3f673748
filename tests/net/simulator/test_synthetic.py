"""The synthetic market: determinism, ids, stamps, cost."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest

from net.simulator.flow import CommonPrice
from net.simulator.options import SimulatorError, SimulatorOptions
from net.simulator.plain_book import PlainBook
from net.simulator.registry import VENUES, simulated_venue
from net.simulator.source import Message
from net.simulator.synthetic import SyntheticFeed

START_NS = 1_700_000_000_123_456_789
MS = 1_000_000
CHANNELS = {
    "binance": (
        "btcusdt@depth@100ms",
        "btcusdt@depth",
        "btcusdt@bookTicker",
        "btcusdt@trade",
        "btcusdt@depth5@100ms",
        "btcusdt@depth20",
    ),
    "bitstamp": ("diff_order_book_btcusd", "order_book_btcusd", "live_trades_btcusd"),
}


def feed(
    venue: str,
    seed: int = 1,
    symbols: tuple[str, ...] = ("BTC-USD",),
    far_levels_share: float = 0.0,
) -> SyntheticFeed:
    prices = {symbol: CommonPrice(seed, symbol) for symbol in symbols}
    made = SyntheticFeed(
        simulated_venue(venue),
        symbols,
        prices,
        seed=seed,
        start_ns=START_NS,
        far_levels_share=far_levels_share,
    )
    for channel in CHANNELS[venue]:
        made.subscribed(channel)
    return made


def run(source: SyntheticFeed, seconds: int, step_ms: int) -> list[Message]:
    out: list[Message] = []
    for now_ms in range(0, seconds * 1000 + 1, step_ms):
        out += source.advance(START_NS + now_ms * MS)
    return out


@pytest.mark.parametrize("venue", ["binance", "bitstamp"])
def test_a_seed_decides_everything_and_the_rhythm_of_polling_nothing(venue: str) -> None:
    fine = run(feed(venue), 12, 5)
    assert len(fine) > 30
    assert fine == run(feed(venue), 12, 5)
    assert fine == run(feed(venue), 12, 1500)
    assert fine != run(feed(venue, seed=2), 12, 5)


def test_each_binance_stream_continues_its_ids() -> None:
    messages = run(feed("binance"), 20, 50)
    for channel in ("btcusdt@depth@100ms", "btcusdt@depth"):
        frames = [json.loads(m.text) for m in messages if m.channel == channel]
        assert len(frames) > 15
        assert all(b["U"] == a["u"] + 1 for a, b in pairwise(frames))
        assert all(a["E"] < b["E"] and b["u"] >= b["U"] for a, b in pairwise(frames))
        assert all(frame["b"] or frame["a"] for frame in frames)
    trades = [json.loads(m.text) for m in messages if m.channel == "btcusdt@trade"]
    assert all(b["t"] == a["t"] + 1 for a, b in pairwise(trades))


def test_the_ticker_is_the_best_of_the_book_after_every_depth_frame() -> None:
    source = feed("binance")
    book = {"b": dict(source.book("BTCUSDT").bids), "a": dict(source.book("BTCUSDT").asks)}
    ticker = None
    compared = 0
    for message in run(source, 20, 50):
        frame = json.loads(message.text)
        if message.channel.endswith("bookTicker"):
            ticker = frame
        elif message.channel.endswith("depth@100ms"):
            for name, levels in book.items():
                for price, qty in frame[name]:
                    ticks, lots = round(float(price) * 100), round(float(qty) * 1e8)
                    levels[ticks] = lots
                    if not lots:
                        del levels[ticks]
            if ticker is None:
                continue
            assert ticker["u"] <= frame["u"]
            bid, ask = max(book["b"]), min(book["a"])
            assert (round(float(ticker["b"]) * 100), round(float(ticker["a"]) * 100)) == (bid, ask)
            assert round(float(ticker["B"]) * 1e8) == book["b"][bid]
            assert round(float(ticker["A"]) * 1e8) == book["a"][ask]
            compared += 1
    assert compared > 100


def test_bitstamp_stamps_strictly_rise_and_trades_follow_the_taker() -> None:
    messages = run(feed("bitstamp"), 40, 50)
    for channel in ("diff_order_book_btcusd", "order_book_btcusd"):
        stamps = [
            int(json.loads(m.text)["data"]["microtimestamp"])
            for m in messages
            if m.channel == channel
        ]
        assert len(stamps) > 20 and all(a < b for a, b in pairwise(stamps))
    trades = [json.loads(m.text)["data"] for m in messages if m.channel == "live_trades_btcusd"]
    assert trades
    for trade in trades:
        newer = max(trade["buy_order_id"], trade["sell_order_id"])  # the taker came last
        assert newer == trade["sell_order_id" if trade["type"] else "buy_order_id"]


@pytest.mark.parametrize("venue", ["binance", "bitstamp"])
def test_the_engine_stays_sound_and_the_published_book_is_the_engine(venue: str) -> None:
    source = feed(venue)
    symbol = next(iter(source.instruments))
    for second in range(1, 13):
        source.advance(START_NS + second * 1000 * MS)
        source.market(symbol).engine.check()
    engine, book = source.market(symbol).engine, source.book(symbol)
    assert book.sorted_bids() == engine.bids.top(10**6)
    assert book.sorted_asks() == engine.asks.top(10**6)


def test_changes_of_one_instant_get_stamps_of_their_own() -> None:
    """A sweep changes several levels in the same microsecond."""
    source = feed("bitstamp")
    engine, book = source.market("btcusd").engine, source.book("btcusd")
    reached = 0
    for now_ms in range(0, 12_000, 20):
        before = book.version
        source.advance(START_NS + now_ms * MS)
        stamps = [entry[0] for entry in book.undo_entries() if entry[0] > before]
        assert all(a < b for a, b in pairwise(stamps))
        reached += len(stamps)
    assert reached > 100 and engine.orders


def test_pause_flushes_and_skips_the_pause() -> None:
    source = feed("binance")
    before = run(source, 3, 50)
    flushed = source.pause(START_NS + 3_050 * MS)
    ids = {
        m.channel: json.loads(m.text)["u"]
        for m in before + flushed
        if "depth" in m.channel and "depthUpdate" in m.text
    }
    assert set(ids.values()) == {source.book("BTCUSDT").version}
    assert source.poll(START_NS + 9_000 * MS) == []
    source.resume(START_NS + 9_000 * MS)
    after = [
        json.loads(m.text)
        for m in source.poll(START_NS + 10_000 * MS)
        if m.channel == "btcusdt@depth@100ms"
    ]
    assert after[0]["U"] == ids["btcusdt@depth@100ms"] + 1
    assert after[0]["E"] > (START_NS + 9_000 * MS) // MS


def test_two_venues_follow_one_price() -> None:
    prices = {"BTC-USD": CommonPrice(5, "BTC-USD")}
    made = [
        SyntheticFeed(
            simulated_venue(name),
            ("BTC-USD",),
            prices,
            seed=5,
            start_ns=START_NS,
            far_levels_share=0.0,
        )
        for name in VENUES
    ]
    gaps_bps = []
    for second in range(1, 31):
        mids = []
        for source in made:
            source.advance(START_NS + second * 1000 * MS)
            engine = source.market(next(iter(source.instruments))).engine
            mids.append((engine.bids.best_level()[0] + engine.asks.best_level()[0]) / 2)
        gaps_bps.append(abs(mids[0] / mids[1] - 1) * 1e4)
    assert max(gaps_bps) < 15 and sum(gaps_bps) / len(gaps_bps) < 5
    assert max(gaps_bps) > 0.1


def test_one_symbol_on_two_venues_costs_little() -> None:
    made = [feed("binance"), feed("bitstamp")]
    start_s = time.process_time()
    for source in made:
        run(source, 10, 5)
    assert time.process_time() - start_s < 0.25 * 10 / 4  # a quarter of a core, four times over


def test_undo_gives_the_past_exactly() -> None:
    book = PlainBook()
    book.load(10, [(100, 5), (99, 1)], [(101, 7)])
    states = {10: (dict(book.bids), dict(book.asks))}
    for version, side, price, qty in (
        (11, 1, 100, 0),
        (12, -1, 102, 3),
        (12, -1, 101, 0),
        (15, 1, 100, 9),
        (16, 1, 98, 0),
    ):
        book.set_level(version, side, price, qty)
        states[version] = (dict(book.bids), dict(book.asks))
    for asked, found in ((10, 10), (11, 11), (12, 12), (13, 12), (15, 15), (99, 16), (1, 10)):
        past = book.as_of(asked)
        assert past.version == found
        assert (past.bids, past.asks) == states[found]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (SimulatorOptions(symbols=("btc/usd",)), "btc/usd"),
        (SimulatorOptions(symbols=("BTC-USD", "BTC-USD")), "twice"),
        (SimulatorOptions(symbols=()), "0 symbols"),
        (SimulatorOptions(speed=0.0), "tape"),
        (SimulatorOptions(speed=float("nan")), "speed"),
        (SimulatorOptions(port_base=70_000), "70000"),
        (SimulatorOptions(rest_lag_max_s=60), "lag"),
        (SimulatorOptions(far_levels_share=2), "share"),
    ],
)
def test_bad_options_are_named(options: SimulatorOptions, word: str) -> None:
    with pytest.raises(SimulatorError, match=word):
        options.check()
