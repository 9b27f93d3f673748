"""Binance USD-M's broadcasts of one market: ids of a whole matching engine, so that they jump.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from net.simulator.clock import NS_PER_MS
from net.simulator.diffs import DiffPublisher, sides_of
from net.simulator.publisher import Pending

JUMP = 37
"""Ids that other markets take between two changes of this one."""


class UsdmPublisher(DiffPublisher):
    """@depth@100ms. A change's id is JUMP times its version."""

    def diff(self, pending: Pending, time_ns: int) -> str:
        bids, asks = sides_of(pending)
        first, last, previous = pending.first_id, pending.last_id, self.sent_version
        time_ms = time_ns // NS_PER_MS
        return (
            f'{{"stream":"{self._symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate",'
            f'"E":{time_ms},"T":{time_ms - 1},"s":"{self._symbol}","U":{first * JUMP},'
            f'"u":{last * JUMP},"pu":{previous * JUMP},'
            f'"b":{self._text.levels(bids)},"a":{self._text.levels(asks)}}}}}'
        )
