"""What a feed's prices and quantities are counted in, and how its words say so.

Venues print prices off the tick that they declare (orders of an older grid rest), and quantities
that no lot of 1e-8 holds. The unit of a price is the finest of both; a lot is 1e-8 unless the
market needs another. Both are learned from messages that do not fit, and may change at run time.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.compiling.atomics import Words
from engine.decoding.scale import (
    PRICE_LIMIT,
    QUANTITY_LIMIT,
    common_unit,
    exact_text,
    scale_table,
    units_per,
)
from engine.decoding.simd import IS_WORTH_PLANNING, LANE_BYTES
from engine.layout import layout as L

DIGITS_MAX = len(str(QUANTITY_LIMIT)) - 1
"""Digits that every price in its unit, and every quantity in lots, may have."""
assert len(str(PRICE_LIMIT)) > DIGITS_MAX


class Units(NamedTuple):
    """A price unit as (mantissa, decimals), and the decimals of a lot."""

    price: tuple[int, int]
    lot_decimals: int = L.LOT_DECIMALS

    @property
    def texts(self) -> dict[str, str]:
        """For people."""
        return {
            "price_unit": exact_text(1, *self.price),
            "lot": exact_text(1, 1, self.lot_decimals),
        }

    def with_price(self, unit: tuple[int, int]) -> Units:
        """In which prices that are multiples of this one are whole too."""
        return self._replace(price=common_unit([self.price, unit]))

    def for_message(self, stage: Words, contract: tuple[int, int] = (1, 0)) -> Units:
        """In which the prices and quantities of a message that did not fit are whole.

        A lot becomes finer where a quantity needs it, and coarser, leaving room for totals to grow,
        where the largest one would not fit.
        """
        room = DIGITS_MAX - lot_digits(stage, contract)
        needed = int(stage[L.STAGE_LOT_DECIMALS]) + contract[1]
        lot_decimals = max(needed, min(self.lot_decimals, room))
        return self.with_price((1, int(stage[L.STAGE_PRICE_DECIMALS])))._replace(
            lot_decimals=min(lot_decimals, L.DECIMALS_MAX)
        )


def lot_digits(stage: Words, contract: tuple[int, int]) -> int:
    """Digits before the dot that the largest quantity of a message may have in the base asset."""
    mantissa, _ = contract
    return int(stage[L.STAGE_LOT_DIGITS]) + (len(str(mantissa)) if mantissa > 1 else 0)


def common_units(every: Iterable[Units]) -> tuple[tuple[int, int], int]:
    """The price unit and the decimals of a lot in which all of these are whole."""
    found = list(every)
    return common_unit([each.price for each in found]), max(each.lot_decimals for each in found)


def multipliers(units: Units, common: tuple[tuple[int, int], int]) -> tuple[int, int]:
    """How many common price units and lots one of these is; ScaleError where they are too far
    apart."""
    unit, lot_decimals = common
    return units_per(units.price, unit), units_per((1, units.lot_decimals), (1, lot_decimals))


def place_units(
    arena: Words,
    feed: int,
    units: Units,
    price_multiplier: int,
    lot_multiplier: int,
    contract: tuple[int, int],
) -> None:
    """Write a feed's scales, within which no price and no quantity in common units overflows.

    Last of all the epoch: who has read it before knows that what was read since may be a mixture.
    """
    arena[feed + L.FEED_TICK_MULTIPLIER] = price_multiplier
    arena[feed + L.FEED_LOT_MULTIPLIER] = lot_multiplier
    arena[feed + L.FEED_LOT_DECIMALS] = units.lot_decimals
    mantissa, decimals = units.price
    is_planned = mantissa == 1 and contract == (1, 0) and IS_WORTH_PLANNING
    arena[feed + L.FEED_CONTRACT_MANTISSA], arena[feed + L.FEED_CONTRACT_DECIMALS] = contract
    price_digits = len(str(PRICE_LIMIT // price_multiplier)) - 1
    planned_lot_digits = len(str(QUANTITY_LIMIT // lot_multiplier)) - 1
    arena[feed + L.FEED_TICK_DECIMALS] = decimals
    arena[feed + L.FEED_PRICE_MANTISSA] = mantissa
    arena[feed + L.FEED_PRICE_DECIMALS] = decimals
    arena[feed + L.FEED_PLANNED_DIGITS_MAX] = min(price_digits, LANE_BYTES) if is_planned else 0
    arena[feed + L.FEED_PLANNED_LOT_DIGITS_MAX] = min(planned_lot_digits, LANE_BYTES)
    arena[feed + L.FEED_PLAN] = 0
    arena[feed + L.FEED_PLANS_AT : feed + L.FEED_PLANS_AT + L.PLANS * L.PLAN_WORDS] = 0
    prices = scale_table(units.price, PRICE_LIMIT // price_multiplier)
    lots = scale_table((1, units.lot_decimals), QUANTITY_LIMIT // lot_multiplier, contract)
    arena[feed + L.FEED_PRICE_SCALE_AT : feed + L.FEED_PRICE_SCALE_AT + len(prices)] = prices
    arena[feed + L.FEED_LOT_SCALE_AT : feed + L.FEED_LOT_SCALE_AT + len(lots)] = lots
    arena[feed + L.FEED_UNITS_EPOCH] += 1
