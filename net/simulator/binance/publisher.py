"""Binance's broadcasts of one market.

Invariants: every change has its own update id, and each diff stream's U is its previous u + 1.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from net.simulator.clock import NS_PER_MS, NS_PER_US
from net.simulator.flow import Step
from net.simulator.market import BID, Trade
from net.simulator.publisher import Pending, Publisher
from net.simulator.source import Message

FAST_NS = 100 * NS_PER_MS
SLOW_NS = 1_000 * NS_PER_MS
FIRST_UPDATE_ID = 50_093_239_189  # the first one of the recorded tape
PARTIAL_DEPTHS = (5, 10, 20)


class BinancePublisher(Publisher):
    """@depth, @depth@100ms, @depth5/10/20[@100ms], @bookTicker, @trade."""

    intervals_ns = (FAST_NS, SLOW_NS)

    def _first_version(self, start_ns: int) -> int:
        return FIRST_UPDATE_ID - 1

    @property
    def _stream(self) -> str:
        return self._symbol.lower()

    def _step(self, step: Step, out: list[Message]) -> None:
        update_id = self.book.version
        fast, slow = self._pending
        for side, price_ticks, qty_lots in step.changes:
            update_id += 1
            self.book.set_level(update_id, side, price_ticks, qty_lots)
            fast.note(update_id, side, price_ticks, qty_lots)
            slow.note(update_id, side, price_ticks, qty_lots)
        if step.trades and f"{self._stream}@trade" in self._active:
            out.extend(self._trade(trade) for trade in step.trades)
        best = self._engine.bids.best_level(), self._engine.asks.best_level()
        if best != self._best:
            self._best = best
            self._ticker(update_id, out)

    def _ticker(self, update_id: int, out: list[Message]) -> None:
        channel = f"{self._stream}@bookTicker"
        if channel not in self._active:
            return
        price, qty = self._text.price, self._text.qty
        (bid, bid_qty), (ask, ask_qty) = self._best
        out.append(
            Message(
                channel,
                (
                    f'{{"u":{update_id},"s":"{self._symbol}",'
                    f'"b":"{price(bid)}","B":"{qty(bid_qty)}",'
                    f'"a":"{price(ask)}","A":"{qty(ask_qty)}"}}'
                ),
            )
        )

    def _trade(self, trade: Trade) -> Message:
        maker_is_buyer = "true" if trade.maker_side == BID else "false"

        def text(unit_ns: int) -> str:
            time = trade.time_ns // unit_ns
            return (
                f'{{"e":"trade","E":{time},"s":"{self._symbol}","t":{trade.trade_id},'
                f'"p":"{self._text.price(trade.price_ticks)}",'
                f'"q":"{self._text.qty(trade.qty_lots)}","T":{time},'
                f'"m":{maker_is_buyer},"M":true}}'
            )

        return Message(f"{self._stream}@trade", text(NS_PER_MS), text(NS_PER_US))

    def _broadcast(self, index: int, time_ns: int, out: list[Message]) -> None:
        suffix = "@100ms" if index == 0 else ""
        pending = self._pending[index]
        if pending:
            channel = f"{self._stream}@depth{suffix}"
            if channel in self._active:
                out.append(self._depth_update(channel, pending, time_ns))
            self._pending[index] = Pending()
        for depth in PARTIAL_DEPTHS:
            channel = f"{self._stream}@depth{depth}{suffix}"
            if channel not in self._active:
                continue
            bids = self._text.levels(self._engine.bids.top(depth))
            levels = f'"bids":{bids},"asks":{self._text.levels(self._engine.asks.top(depth))}'
            if self._sent.get(channel) != levels:
                self._sent[channel] = levels
                out.append(Message(channel, f'{{"lastUpdateId":{self.book.version},{levels}}}'))

    def _depth_update(self, channel: str, pending: Pending, time_ns: int) -> Message:
        bids, asks = pending.sides(self._text)
        tail = (
            f',"s":"{self._symbol}","U":{pending.first_id},"u":{pending.last_id},'
            f'"b":{bids},"a":{asks}}}'
        )
        head = '{"e":"depthUpdate","E":'
        return Message(
            channel, f"{head}{time_ns // NS_PER_MS}{tail}", f"{head}{time_ns // NS_PER_US}{tail}"
        )
