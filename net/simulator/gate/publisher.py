"""Gate's broadcasts of one market: ranges of ids that follow one another.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from net.simulator.clock import NS_PER_MS
from net.simulator.diffs import DiffPublisher, rows, sides_of
from net.simulator.publisher import Pending


class GatePublisher(DiffPublisher):
    """`spot.order_book_update` at 100 ms."""

    def diff(self, pending: Pending, time_ns: int) -> str:
        bids, asks = (rows(self._text, side, strips=True) for side in sides_of(pending))
        time_ms = time_ns // NS_PER_MS
        return (
            f'{{"time":{time_ms // 1000},"time_ms":{time_ms},'
            f'"channel":"spot.order_book_update","event":"update","result":{{"t":{time_ms},'
            f'"e":"depthUpdate","E":{time_ms // 1000},"s":"{self._symbol}",'
            f'"U":{pending.first_id},"u":{pending.last_id},"b":{bids},"a":{asks}}}}}'
        )
