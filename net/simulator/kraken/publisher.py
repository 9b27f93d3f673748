"""Kraken's broadcasts of one market: what changes among its best levels, and their checksum.

Those are the ten best of a side. No delete is sent of a level that others have pushed out: the
client cuts its book.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

from net.simulator.clock import NS_PER_US
from net.simulator.diffs import DiffPublisher
from net.simulator.market import BID, Trade
from net.simulator.plain_book import Levels, PlainBook
from net.simulator.publisher import Pending

DEPTH = 10


def stamp(time_ns: int) -> str:
    """A time as the exchange writes it."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_US / 1e6, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class KrakenPublisher(DiffPublisher):
    """`book` at depth 10, and `trade`."""

    _view: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def diff(self, pending: Pending, time_ns: int) -> str:
        before, after = self._view, self._top_of(self.book)
        changes: list[Levels] = []
        for is_asks in range(2):
            old, new = before[is_asks], after[is_asks]
            book = self.book.asks if is_asks else self.book.bids
            gone = [(price, 0) for price in old if price not in book]
            fresh = [(price, qty) for price, qty in new.items() if old.get(price) != qty]
            changes.append([*gone, *fresh])
        self._view = after
        return self._message("update", changes, time_ns) if any(changes) else ""

    def whole(self) -> str:
        if not self._view[0] and not self._view[1]:
            self._view = self._top_of(self.sent_book())
        levels = [list(side.items()) for side in self._view]
        return self._message("snapshot", levels, self.sent_ns)

    def trades(self, trades: Sequence[Trade]) -> str:
        told = ",".join(
            f'{{"symbol":"{self._symbol}","side":"{"sell" if each.maker_side == BID else "buy"}",'
            f'"price":{self._text.price(each.price_ticks)},'
            f'"qty":{self._text.qty(each.qty_lots)},"ord_type":"limit",'
            f'"trade_id":{each.trade_id},"timestamp":"{stamp(each.time_ns)}"}}'
            for each in trades
        )
        return f'{{"channel":"trade","type":"update","data":[{told}]}}'

    def _top_of(self, book: PlainBook) -> tuple[dict[int, int], dict[int, int]]:
        return dict(book.sorted_bids(DEPTH)), dict(book.sorted_asks(DEPTH))

    def _message(self, kind: str, levels: list[Levels], time_ns: int) -> str:
        bids, asks = (self._rows(side) for side in levels)
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self._symbol}",'
            f'"bids":{bids},"asks":{asks},"checksum":{self._checksum()},'
            f'"timestamp":"{stamp(time_ns)}"}}]}}'
        )

    def _rows(self, levels: Levels) -> str:
        price, qty = self._text.price, self._text.qty
        return "[" + ",".join(f'{{"price":{price(p)},"qty":{qty(q)}}}' for p, q in levels) + "]"

    def _checksum(self) -> int:
        """Of the view: asks, then bids, digits without dots and leading zeros."""
        bids, asks = self._view
        ordered = [*sorted(asks.items()), *sorted(bids.items(), reverse=True)]
        texts = [text for p, q in ordered for text in (self._text.price(p), self._text.qty(q))]
        return zlib.crc32("".join(each.replace(".", "").lstrip("0") for each in texts).encode())
