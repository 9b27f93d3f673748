"""A market maker's side of the board: the real table and gate, and a thread that takes requests."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from engine.maker import fair_codes, risk_gate
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker import risk_codes as R
from engine.maker import state_board_layout as B
from engine.maker.fair import FairSpec
from engine.maker.state_board import Requests, StateBoardInfo
from engine.maker.state_board_writer import StateBoardWriter
from tests.engine.maker.rig import Maker
from tuning.clock import steady_ns, wall_ns

INFO = StateBoardInfo("BTC-USD", ("binance", "bitstamp"), False, 1, 2, value_scale=1)
FAIR = 10_000
LOOK_S = 0.002


class MakerEngine:
    """Quotes 3 ticks around 100.00 on both venues, and has bought 15 lots, for a fee of 6 units."""

    def __init__(self, name: str, symbol: str = INFO.symbol, number: int = 0) -> None:
        self.maker = Maker(venues=2)
        self.writer = StateBoardWriter(name, replace(INFO, symbol=symbol), steady_ns(), number)
        self.fair = FairSpec((1000, 1000)).words()
        self._done = Requests(0, 0, 0)
        bid = self.maker.open(O.BUY, FAIR - 3, 40)
        self.maker.open(O.SELL, FAIR + 3, 30, venue=1)
        self.maker.fill(bid, 1, O.BUY, FAIR - 3, 15, fee_value=6)
        self.maker.submit(O.ACTION_CANCEL, 0, 0, 0)  # refused: it values what was bought
        self.maker.risk[O.RISK_REFUSALS_AT :][: O.REFUSALS_MAX] = 0
        self.writer.set_venue(0, B.VENUE_FEE_PPM, 750)
        self.writer.set_venue(0, B.VENUE_FEE_VALUE, 6)
        self.writer.set_venue(0, B.VENUE_RATE, 99_870_000)
        self.writer.set_venue(1, B.VENUE_RATE, O.RATE_ONE)
        self.writer.set_venue(0, B.VENUE_ENTRY_STATE, 3)
        self.writer.set_venue(1, B.VENUE_TROUBLE, 3)
        self.writer.count_venue(0, B.VENUE_ORDERS)
        self.publish()

    def close_orders(self) -> None:
        """The venues say that nothing is open any more."""
        for row in self.maker.rows():
            if row.is_live:
                self.maker.event(O.FOUND_CLOSED, row.id, venue=row.slot // O.VENUE_SLOTS)
        self.publish()

    def publish(self, fair: float = FAIR + 0.5) -> None:
        has_fair = not math.isnan(fair)
        self.fair[Q.FAIR_STATUS] = fair_codes.AVAILABLE if has_fair else fair_codes.NO_VENUE_LIVE
        self.fair[Q.FAIR_PRICE : Q.FAIR_PRICE + 1].view(np.float64)[0] = fair
        both = wall_ns(), steady_ns()
        self.writer.publish(self.maker.table, self.maker.risk, self.fair, *both)

    def take_requests(self) -> None:
        asked = self.writer.requests()
        if asked == self._done:
            return
        is_clear = self.maker.table[O.ACCOUNT_OBSTACLE] == R.UNOBSTRUCTED
        if asked.releases > self._done.releases and is_clear:
            risk_gate.release(self.maker.table, self.maker.risk)
        if asked.kills > self._done.kills:
            self.maker.kill()
        self._done = asked
        self.publish()
        self.writer.answer(asked)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """As the engine thread does: requests are looked for all the time."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(LOOK_S):
                self.take_requests()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def close(self) -> None:
        self.writer.close()
