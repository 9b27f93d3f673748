"""Bybit's broadcasts of one market: deltas whose ids step by one, within 50 levels a side.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from net.simulator.clock import NS_PER_MS
from net.simulator.diffs import DiffPublisher, rows
from net.simulator.market import BID, Trade
from net.simulator.plain_book import Levels, PlainBook
from net.simulator.publisher import Pending

DEPTH = 50


class BybitPublisher(DiffPublisher):
    """`orderbook.50`: a level that leaves the best fifty is deleted."""

    _update_id = 1_000
    _view: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def diff(self, pending: Pending, time_ns: int) -> str:
        before, after = self._view, self._top_of(self.book)
        self._view = after
        changes: list[Levels] = []
        for old, new in zip(before, after, strict=True):
            gone = [(price, 0) for price in old if price not in new]
            changes.append([*gone, *((p, q) for p, q in new.items() if old.get(p) != q)])
        if not any(changes):
            return ""
        self._update_id += 1
        return self._message("delta", changes, time_ns)

    def whole(self) -> str:
        if not any(self._view):
            self._view = self._top_of(self.sent_book())
        levels = [list(side.items()) for side in self._view]
        return self._message("snapshot", levels, self.sent_ns)

    def trades(self, trades: Sequence[Trade]) -> str:
        told = ",".join(
            f'{{"T":{each.time_ns // NS_PER_MS},"s":"{self._symbol}",'
            f'"S":"{"Sell" if each.maker_side == BID else "Buy"}",'
            f'"v":"{self._text.qty(each.qty_lots)}","p":"{self._text.price(each.price_ticks)}",'
            f'"L":"ZeroTick","i":"{each.trade_id}","BT":false}}'
            for each in trades
        )
        time_ms = trades[-1].time_ns // NS_PER_MS
        topic = f"publicTrade.{self._symbol}"
        return f'{{"topic":"{topic}","type":"snapshot","ts":{time_ms},"data":[{told}]}}'

    def _top_of(self, book: PlainBook) -> tuple[dict[int, int], dict[int, int]]:
        return dict(book.sorted_bids(DEPTH)), dict(book.sorted_asks(DEPTH))

    def _message(self, kind: str, levels: list[Levels], time_ns: int) -> str:
        bids, asks = (rows(self._text, side, strips=True) for side in levels)
        time_ms = time_ns // NS_PER_MS
        return (
            f'{{"topic":"orderbook.{DEPTH}.{self._symbol}","ts":{time_ms},"type":"{kind}",'
            f'"data":{{"s":"{self._symbol}","b":{bids},"a":{asks},"u":{self._update_id},'
            f'"seq":{7 * self._update_id}}},"cts":{time_ms}}}'
        )
