"""Bitstamp's broadcasts of one market.

Invariant: microtimestamps strictly rise.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from net.simulator.clock import NS_PER_MS, NS_PER_US
from net.simulator.flow import Step
from net.simulator.market import BID, Trade
from net.simulator.publisher import Pending, Publisher
from net.simulator.source import Message

DIFF_NS = 325 * NS_PER_MS  # recorded: median 325.2 ms between btcusd diffs
TOP_NS = 120 * NS_PER_MS  # observed: mostly below 150 ms, at least 79 ms
TOP_LEVELS = 100


class BitstampPublisher(Publisher):
    """diff_order_book, order_book (top 100), live_trades."""

    intervals_ns = (DIFF_NS, TOP_NS)

    def _first_version(self, start_ns: int) -> int:
        return start_ns // NS_PER_US

    def _step(self, step: Step, out: list[Message]) -> None:
        for side, price_ticks, qty_lots in step.changes:
            stamp_us = max(self.book.version + 1, step.time_ns // NS_PER_US)
            self.book.set_level(stamp_us, side, price_ticks, qty_lots)
            self._pending[0].note(stamp_us, side, price_ticks, qty_lots)
        channel = f"live_trades_{self._symbol}"
        if step.trades and channel in self._active:
            out.extend(self._trade(channel, trade) for trade in step.trades)

    def _broadcast(self, index: int, time_ns: int, out: list[Message]) -> None:
        if index == 0:
            pending = self._pending[0]
            if not pending:
                return
            channel = f"diff_order_book_{self._symbol}"
            if channel in self._active:
                bids, asks = pending.sides(self._text)
                out.append(_book(channel, pending.last_id, bids, asks))
            self._pending[0] = Pending()
            return
        channel = f"order_book_{self._symbol}"
        if channel not in self._active:
            return
        bids = self._text.levels(self._engine.bids.top(TOP_LEVELS))
        asks = self._text.levels(self._engine.asks.top(TOP_LEVELS))
        if self._sent.get(channel) != bids + asks:
            self._sent[channel] = bids + asks
            out.append(_book(channel, self.book.version, bids, asks))

    def _trade(self, channel: str, trade: Trade) -> Message:
        stamp_us = trade.time_ns // NS_PER_MS * 1000  # recorded trades are stamped in whole ms
        taker_sells = trade.maker_side == BID
        buy, sell = trade.taker_order_id, trade.maker_order_id
        if taker_sells:
            buy, sell = sell, buy
        price, qty = self._text.price(trade.price_ticks), self._text.qty(trade.qty_lots)
        return Message(
            channel,
            (
                f'{{"data":{{"id":{trade.trade_id},"timestamp":"{stamp_us // 1_000_000}",'
                f'"amount":{_number(qty)},"amount_str":"{qty}","price":{_number(price)},'
                f'"price_str":"{price}","type":{int(taker_sells)},"microtimestamp":"{stamp_us}",'
                f'"buy_order_id":{buy},"sell_order_id":{sell}}},'
                f'"channel":"{channel}","event":"trade"}}'
            ),
        )


def _book(channel: str, stamp_us: int, bids: str, asks: str) -> Message:
    return Message(
        channel,
        (
            f'{{"data":{{"timestamp":"{stamp_us // 1_000_000}","microtimestamp":"{stamp_us}",'
            f'"bids":{bids},"asks":{asks}}},"channel":"{channel}","event":"data"}}'
        ),
    )


def _number(text: str) -> str:
    """A JSON number of the same value, without trailing zeros: "0.07920000" is 0.0792."""
    return text.rstrip("0").rstrip(".") if "." in text else text
