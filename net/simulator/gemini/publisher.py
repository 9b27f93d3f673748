"""Gemini's broadcasts of one market: levels with their side in front, no ids and no times.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from net.simulator.diffs import DiffPublisher, sides_of
from net.simulator.plain_book import Levels
from net.simulator.publisher import Pending


class GeminiPublisher(DiffPublisher):
    """`l2`."""

    def diff(self, pending: Pending, time_ns: int) -> str:
        return self._message(*sides_of(pending), "")

    def whole(self) -> str:
        book = self.sent_book()
        return self._message(
            book.sorted_bids(), book.sorted_asks(), ',"trades":[],"auction_events":[]'
        )

    def _message(self, bids: Levels, asks: Levels, more: str) -> str:
        price, qty = self._text.price, self._text.qty
        changes = ",".join(
            f'["{side}","{price(p)}","{qty(q)}"]'
            for side, levels in (("buy", bids), ("sell", asks))
            for p, q in levels
        )
        return f'{{"type":"l2_updates","symbol":"{self._symbol}","changes":[{changes}]{more}}}'
