"""OKX's broadcasts of one market: diffs that name the one before them.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from net.simulator.clock import NS_PER_MS
from net.simulator.diffs import DiffPublisher, rows, sides_of
from net.simulator.market import BID, Trade
from net.simulator.plain_book import Levels
from net.simulator.publisher import Pending


class OkxPublisher(DiffPublisher):
    """`books`, and `trades`."""

    def diff(self, pending: Pending, time_ns: int) -> str:
        ids = (self.sent_version, pending.last_id)
        return self._message("update", *sides_of(pending), ids, time_ns)

    def whole(self) -> str:
        book = self.sent_book()
        sides, ids = (book.sorted_bids(), book.sorted_asks()), (-1, self.sent_version)
        return self._message("snapshot", *sides, ids, self.sent_ns)

    def trades(self, trades: Sequence[Trade]) -> str:
        told = ",".join(
            f'{{"instId":"{self._symbol}","tradeId":"{each.trade_id}",'
            f'"px":"{self._text.price(each.price_ticks)}","sz":"{self._text.qty(each.qty_lots)}",'
            f'"side":"{"sell" if each.maker_side == BID else "buy"}",'
            f'"ts":"{each.time_ns // NS_PER_MS}","count":"1"}}'
            for each in trades
        )
        head = f'{{"arg":{{"channel":"trades","instId":"{self._symbol}"}}'
        return f'{head},"data":[{told}]}}'

    def _message(
        self, action: str, bids: Levels, asks: Levels, ids: tuple[int, int], time_ns: int
    ) -> str:
        return (
            f'{{"arg":{{"channel":"books","instId":"{self._symbol}"}},"action":"{action}",'
            f'"data":[{{"asks":{rows(self._text, asks, "0", "1", strips=True)},'
            f'"bids":{rows(self._text, bids, "0", "1", strips=True)},'
            f'"ts":"{time_ns // NS_PER_MS}","checksum":0,'
            f'"prevSeqId":{ids[0]},"seqId":{ids[1]}}}]}}'
        )
