"""`pollux watch --trades` against a real gateway: plain lines, JSON, no trades."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from engine.sharing import trades_layout as TL
from engine.sharing.trades_ring import Trade, TradesWriter
from net.client.run import WatchOptions, run_watch
from tests.net.gateway.rig import Beating, gateway_thread

TRADE = Trade(
    venue=1, side=TL.BUY, price=(6_400_010, 2), amount=(1200, 8),
    venue_ns=1_790_000_000_000_000_000, receive_ns=1_790_000_000_123_000_000, book_sequence=7,
    venue_id="t1",
)  # fmt: skip


@pytest.fixture
def engine() -> Iterator[Beating]:
    beating = Beating()
    yield beating
    beating.close()


@contextmanager
def trading(engine: Beating) -> Iterator[None]:
    """A trade every 5 ms, of the default instrument and of the other one."""
    writer, stop = TradesWriter(engine.name, len(engine.instruments)), threading.Event()

    def trade() -> None:
        while not stop.wait(0.005):
            writer.put(0, TRADE)
            writer.put(1, replace(TRADE, venue=0, side=TL.SELL, amount=(5, 0)))

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        writer.close()


def test_a_line_a_trade_of_the_default_instrument(engine: Beating) -> None:
    out = io.StringIO()
    with trading(engine), gateway_thread(engine) as gateway:
        assert run_watch(WatchOptions(gateway.target, trades=True, count=3), out) == 0
    lines = out.getvalue().splitlines()
    numbers = [int(line.split("#")[1].split()[0]) for line in lines]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    wanted = f"14:13:20.123Z BTC-USD #{numbers[0]}  buy  64000.10 x 0.00001200 bitstamp"
    assert lines[0] == wanted


def test_an_object_a_trade_of_another_instrument(engine: Beating) -> None:
    out = io.StringIO()
    options = {"trades": True, "json": True, "count": 1, "symbol": "ETH-USD"}
    with trading(engine), gateway_thread(engine) as gateway:
        assert run_watch(WatchOptions(gateway.target, **options), out) == 0  # type: ignore[arg-type]
    facts = json.loads(out.getvalue())
    assert facts.pop("seq") > 0
    assert facts == {
        "t": 1_790_000_000_123_000_000, "venue_t": 1_790_000_000_000_000_000,
        "symbol": "ETH-USD", "venue": "bitstamp", "id": "t1", "side": "sell",
        "price": "64000.10", "amount": "5", "book_seq": 7, "lost": 0,
    }  # fmt: skip


def test_a_daemon_without_trades_is_a_wrong_request(
    engine: Beating, capsys: pytest.CaptureFixture[str]
) -> None:
    with gateway_thread(engine) as gateway:
        assert run_watch(WatchOptions(gateway.target, trades=True), io.StringIO()) == 2
    assert "takes no trades ([engine] trades = true makes it)" in capsys.readouterr().err
