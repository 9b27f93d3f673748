"""Recorded trades through `pollux replay`'s own path, beside plain code of the test's own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import islice

import orjson

from engine.sharing import trades_layout as TL
from engine.sharing.trades_ring import TradesCursor, TradesReader
from net.config.schema import parse_config
from net.replay.replay import Replay
from net.tape.tape import read_tape
from tests import recorded
from tests.net.replay.test_replay import instrument

LINES = 5000
TOML = instrument("BTC-USDT", ("binance", "BTCUSDT", "0.01"))
TICKS = {("binance", "BTCUSDT"): "0.01"}


def test_a_tapes_trades_are_taken_beside_its_books_which_stay_the_same() -> None:
    lines = list(islice(read_tape(recorded.tape_path(recorded.BTCUSDT)), LINES))
    plain = Replay(parse_config(TOML, "test"), TICKS)
    taking = Replay(parse_config(f"{TOML}\n[engine]\ntrades = true\n", "test"), TICKS)
    assert taking.trades is not None and plain.trades is None
    cursor, wanted, found = TradesCursor(TradesReader(taking.trades.words), 0), [], []
    for line in lines:
        plain.step(line)
        taking.step(line)
        message = orjson.loads(line.raw) if line.kind == "ws" else {}
        data = message.get("data", {})
        if data.get("e") == "trade":
            price, amount = Decimal(data["p"]), Decimal(data["q"])
            side, venue_ns = TL.SELL if data["m"] else TL.BUY, data["T"] * 1_000_000
            wanted.append((str(data["t"]), price, amount, side, venue_ns, line.t_ns))
        for trade in iter(cursor.read, None):
            price, amount = (Decimal(u).scaleb(-d) for u, d in (trade.price, trade.amount))
            what = (price, amount, trade.side, trade.venue_ns, trade.receive_ns)
            found.append((trade.venue_id, *what))
            assert trade.book_sequence == taking.reader.sequence(0)
    assert len(wanted) > 500 and found == wanted and cursor.lost == 0
    with_trades, without = taking.finish(), plain.finish()
    assert with_trades.digest == without.digest and with_trades.books == without.books > 100
    assert with_trades.trades == with_trades.as_json()["trades"] == {"binance": len(wanted)}
    assert f"trades    {len(wanted)} of binance" in with_trades.lines()
    assert "trades" not in without.as_json()


def test_a_malformed_trade_is_counted_and_touches_no_book() -> None:
    lines = list(islice(read_tape(recorded.tape_path(recorded.BTCUSDT)), LINES))
    taking = Replay(parse_config(f"{TOML}\n[engine]\ntrades = true\n", "test"), TICKS)
    spoiled = 0
    for line in lines:
        raw = line.raw
        if b'"e":"trade"' in raw and spoiled < 3:
            raw = raw.replace(b'"q":"', b'"q":"-')
            spoiled += 1
        taking.step(replace(line, raw=raw))
    counters, summary = taking.venues["binance"].counters, taking.finish()
    assert counters.trades_malformed == spoiled == 3 and counters.trades > 500
    assert not [note for note in summary.notes if "broken" in note]
    assert summary.states == {"binance": {"BTCUSDT": "LIVE"}}
