"""Coinbase's broadcasts of one market; the number of each frame is the connection's.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from net.simulator.clock import NS_PER_MS, NS_PER_US
from net.simulator.diffs import DiffPublisher, sides_of
from net.simulator.market import BID, Trade
from net.simulator.plain_book import Levels
from net.simulator.publisher import Pending

NUMBER = "@NUMBER@"
"""Where the connection's own number goes."""


def stamp(time_ns: int) -> str:
    """A time as the exchange writes it: zeros at the end are dropped."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_US / 1e6, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"


class CoinbasePublisher(DiffPublisher):
    """`level2`, and `market_trades`."""

    intervals_ns = (50 * NS_PER_MS,)

    def diff(self, pending: Pending, time_ns: int) -> str:
        return self._message("update", *sides_of(pending), time_ns)

    def whole(self) -> str:
        book = self.sent_book()
        return self._message("snapshot", book.sorted_bids(), book.sorted_asks(), self.sent_ns)

    def trades(self, trades: Sequence[Trade]) -> str:
        # The side is the maker's, and the newest comes first.
        told = ",".join(
            f'{{"trade_id":"{each.trade_id}","product_id":"{self._symbol}",'
            f'"price":"{_short(self._text.price(each.price_ticks))}",'
            f'"size":"{_short(self._text.qty(each.qty_lots))}",'
            f'"side":"{"BUY" if each.maker_side == BID else "SELL"}",'
            f'"time":"{stamp(each.time_ns)}"}}'
            for each in reversed(trades)
        )
        return (
            f'{{"channel":"market_trades","timestamp":"{stamp(trades[-1].time_ns)}",'
            f'"sequence_num":{NUMBER},"events":[{{"type":"update","trades":[{told}]}}]}}'
        )

    def _message(self, kind: str, bids: Levels, asks: Levels, time_ns: int) -> str:
        time = stamp(time_ns)
        price, qty = self._text.price, self._text.qty
        updates = ",".join(
            f'{{"side":"{side}","event_time":"{time}","price_level":"{_short(price(p))}",'
            f'"new_quantity":"{_short(qty(q))}"}}'
            for side, levels in (("bid", bids), ("offer", asks))
            for p, q in levels
        )
        return (
            f'{{"channel":"l2_data","timestamp":"{time}","sequence_num":{NUMBER},"events":'
            f'[{{"type":"{kind}","product_id":"{self._symbol}","updates":[{updates}]}}]}}'
        )


def _short(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
