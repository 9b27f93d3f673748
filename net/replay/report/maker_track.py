"""The market maker over the time of a tape: its quotes, fills, position and result.

Imported only where something is quoted: it brings the market maker's kernels.
Runs on: the main thread, within the replay's steps.
"""

from __future__ import annotations

import math

from engine.layout import layout as L
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker.fair import read_price
from net.journal.files import Record
from net.maker.maker import Maker
from net.maker.own_orders import side_of
from net.replay.report.bins import NONE, Bins


class MakerTrack:
    """The market maker: its prices are floats in the quote currency."""

    def __init__(self, bins: Bins, maker: Maker) -> None:
        self.symbol = maker.symbol
        self.fair, self.buy, self.sell = bins.last(), bins.last(), bins.last()
        self.position, self.result = bins.last(), bins.last()
        self.fill_lots = (bins.total(), bins.total())
        self.fill_values = (bins.total(), bins.total())
        """By side; lots times price."""
        mantissa, decimals = maker.rules.unit
        self._unit = mantissa * 10.0**-decimals
        self._value_size = float(maker.rules.value_size)
        self._maker = maker
        self._bins = bins
        self._venues = len(maker.venue_names)

    def look(self, bin_: int) -> None:
        """How it stands now."""
        table, fair = self._maker.table, read_price(self._maker.fair)
        position = int(table[O.ACCOUNT_POSITION_LOTS]) * 10.0**-L.LOT_DECIMALS
        cash = int(table[O.ACCOUNT_CASH_VALUE]) * self._value_size
        self.position.values[bin_] = position
        if not math.isnan(fair):
            self.fair.values[bin_] = fair * self._unit
            self.result.values[bin_] = cash + position * fair * self._unit
        else:
            self.fair.values[bin_] = NONE
        prices: tuple[list[int], list[int]] = ([], [])
        for venue in range(self._venues):
            at = O.venue_word(venue, O.VENUE_ROWS_AT)
            rows = table[at : at + O.VENUE_SLOTS * O.SLOT_WORDS].reshape(-1, O.ORDER_WORDS)
            states = rows[:, O.ORDER_STATE]
            for row in rows[(states >= O.PENDING_NEW) & (states <= O.UNKNOWN)].tolist():
                prices[side_of(row[O.ORDER_SLOT])].append(row[O.ORDER_PRICE])
        self.buy.values[bin_] = max(prices[O.BUY], default=NONE) * self._unit
        self.sell.values[bin_] = min(prices[O.SELL], default=NONE) * self._unit

    def take(self, record: Record) -> None:
        """Of all that goes into the journal, the fills."""
        if record.kind == J.EVENT_FILL and record.side in (O.BUY, O.SELL):
            bin_ = self._bins.at(record.time_ns)
            self.fill_lots[record.side].values[bin_] += record.lots
            value = record.lots * record.price_ticks * self._unit
            self.fill_values[record.side].values[bin_] += value
