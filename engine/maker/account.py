"""The account's sums: position and cash as fills and fees change them, and values of lots.

Nothing wraps: a sum that would leave its bound stays at it and counts as an anomaly, which halts.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.compiling.jit import inner, kernel
from engine.maker import order_layout as O
from engine.maker.rates import RATE_MAX, RATE_MIN, rate_of, rated


@inner
def value_of(table: Words, price: int, lots: int, is_up: bool) -> int:
    """price x lots / value scale, rounded down or up; VALUE_MAX where it would be more.

    Needs 0 <= price <= PRICE_MAX and 0 <= lots <= 2 * POSITION_LOTS_MAX. No product overflows: the
    quotient's is checked by a division, the remainder's is below PRICE_MAX * VALUE_SCALE_MAX.
    """
    if price == 0 or lots == 0:
        return 0
    scale = table[O.ACCOUNT_VALUE_SCALE]
    whole = lots // scale
    if whole > O.VALUE_MAX // price:
        return O.VALUE_MAX
    rest = price * (lots - whole * scale) + (scale - 1 if is_up else 0)
    return min(price * whole + rest // scale, O.VALUE_MAX)


@inner
def bounded(table: Words, number: int, bound: int) -> int:
    """The number, held within plus and minus `bound`; what is beyond is an anomaly."""
    if number > bound or number < -bound:
        table[O.ACCOUNT_ANOMALIES] += 1
        return bound if number > 0 else -bound
    return number


@inner
def _add_lots(table: Words, venue: int, lots: int) -> None:
    """Change the position, the venue's and that of all."""
    ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
    position = table[O.ACCOUNT_POSITION_LOTS] + lots
    part = table[ring + O.VENUE_POSITION_LOTS] + lots
    table[O.ACCOUNT_POSITION_LOTS] = bounded(table, position, O.POSITION_LOTS_MAX)
    table[ring + O.VENUE_POSITION_LOTS] = bounded(table, part, O.POSITION_LOTS_MAX)


@inner
def _add_cash(table: Words, venue: int, value: int) -> None:
    """Change the cash, the venue's in its own currency and that of all."""
    ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
    part = table[ring + O.VENUE_CASH_VALUE] + value
    table[ring + O.VENUE_CASH_VALUE] = bounded(table, part, O.VALUE_MAX)
    _mark_cash(table, venue)


@inner
def _mark_cash(table: Words, venue: int) -> None:
    """Let the account's cash have what a venue's is worth at its rate."""
    ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
    cash = table[ring + O.VENUE_CASH_VALUE]
    worth = rated(abs(cash), table[ring + O.VENUE_RATE], cash < 0)
    worth = worth if cash >= 0 else -worth
    total = table[O.ACCOUNT_CASH_VALUE] + worth - table[ring + O.VENUE_RATED_CASH]
    table[O.ACCOUNT_CASH_VALUE] = bounded(table, total, O.VALUE_MAX)
    table[ring + O.VENUE_RATED_CASH] = worth


@inner
def put_rate(table: Words, venue: int, rate: int) -> None:
    """A venue's rate from now on (engine.maker.rates)."""
    assert RATE_MIN <= rate <= RATE_MAX, "a rate beyond its bounds"
    if rate != rate_of(table, venue):
        table[O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_RATE] = rate
        _mark_cash(table, venue)


@kernel("int64(int64[::1], int64, int64)")
def set_rate(table: Words, venue: int, rate: int) -> int:
    """`put_rate` for Python: from RATE_MIN to RATE_MAX."""
    put_rate(table, venue, rate)
    return rate


@inner
def count_fill(table: Words, venue: int, side: int, price: int, lots: int) -> None:
    """Position, cash and traded lots of one fill; cash is rounded against us, so a loss is never
    understated."""
    assert price > 0 and lots >= 0, "a fill at no price, or of less than nothing"
    value = value_of(table, price, lots, side == O.BUY)
    if value == O.VALUE_MAX:
        table[O.ACCOUNT_ANOMALIES] += 1
    sign = 1 if side == O.BUY else -1
    _add_lots(table, venue, sign * lots)
    if lots > 0:
        ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
        traded = table[ring + O.VENUE_TRADED_LOTS] + lots
        table[ring + O.VENUE_BUYS + side] += 1
        table[ring + O.VENUE_TRADED_LOTS] = traded & O.TRADED_LOTS_MASK
    _add_cash(table, venue, -sign * value)


@inner
def _owe(table: Words, venue: int, lots: int, value: int) -> None:
    """Change what is counted in advance, or no longer is where both are of the other sign."""
    ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
    owed_lots = table[ring + O.VENUE_OWED_LOTS] + lots
    owed_cash = table[ring + O.VENUE_OWED_CASH] + value
    table[ring + O.VENUE_OWED_LOTS] = bounded(table, owed_lots, O.POSITION_LOTS_MAX)
    table[ring + O.VENUE_OWED_CASH] = bounded(table, owed_cash, O.VALUE_MAX)


@inner
def count_ahead(table: Words, venue: int, side: int, price: int, lots: int) -> None:
    """`count_fill` of lots whose execution has not come: `price` is the order's."""
    count_fill(table, venue, side, price, lots)
    value, sign = value_of(table, price, lots, side == O.BUY), 1 if side == O.BUY else -1
    _owe(table, venue, sign * lots, -sign * value)


@inner
def settle_ahead(
    table: Words, venue: int, side: int, counted_at: int, price: int, lots: int
) -> None:
    """The execution of lots that were counted ahead at a price: it may have another one."""
    is_buy, sign = side == O.BUY, 1 if side == O.BUY else -1
    counted = value_of(table, counted_at, lots, is_buy)
    _owe(table, venue, -sign * lots, sign * counted)
    if price != counted_at:
        _add_cash(table, venue, sign * (counted - value_of(table, price, lots, is_buy)))


@inner
def count_fee(table: Words, venue: int, price: int, base_lots: int, value: int) -> None:
    """What an execution has cost: the position pays what is in base, the cash the rest.

    In the sum of all fees, what was paid in base is worth the execution's price, rounded up. Either
    is below zero for a rebate.
    """
    ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
    worth = value_of(table, price, abs(base_lots), base_lots > 0)
    fee = value + (worth if base_lots >= 0 else -worth)
    _add_lots(table, venue, -base_lots)
    _add_cash(table, venue, -value)
    paid = table[O.ACCOUNT_FEE_BASE_LOTS] + base_lots
    counted = rated(min(abs(fee), O.VALUE_MAX), rate_of(table, venue), fee > 0)
    total = table[O.ACCOUNT_FEE_VALUE] + (counted if fee >= 0 else -counted)
    part = table[ring + O.VENUE_FEE_VALUE] + fee
    table[O.ACCOUNT_FEE_BASE_LOTS] = bounded(table, paid, O.POSITION_LOTS_MAX)
    table[O.ACCOUNT_FEE_VALUE] = bounded(table, total, O.VALUE_MAX)
    table[ring + O.VENUE_FEE_VALUE] = bounded(table, part, O.VALUE_MAX)
