"""KuCoin's broadcasts of one market: changes with their sequences; some only move the sequence.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from net.simulator.clock import NS_PER_MS
from net.simulator.diffs import DiffPublisher, sides_of
from net.simulator.plain_book import Levels
from net.simulator.publisher import Pending


class KucoinPublisher(DiffPublisher):
    """`/market/level2`."""

    def diff(self, pending: Pending, time_ns: int) -> str:
        bids, asks = sides_of(pending)
        nothing = [f'["0","0","{pending.first_id}"]']
        return (
            f'{{"type":"message","topic":"/market/level2:{self._symbol}",'
            f'"subject":"trade.l2update","data":{{"changes":{{'
            f'"asks":[{",".join(nothing + self._rows(asks, pending))}],'
            f'"bids":[{",".join(self._rows(bids, pending))}]}},'
            f'"sequenceEnd":{pending.last_id},"sequenceStart":{pending.first_id},'
            f'"symbol":"{self._symbol}","time":{time_ns // NS_PER_MS}}}}}'
        )

    def _rows(self, levels: Levels, pending: Pending) -> list[str]:
        price, qty = self._text.price, self._text.qty
        return [f'["{price(p)}","{qty(q)}","{pending.last_id}"]' for p, q in levels]
