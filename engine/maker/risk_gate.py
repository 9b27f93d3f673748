"""The pre-trade risk gate: the only way an order comes into being.

`decide` plans what brings the slots to what is wanted; `submit`, its second half, passes or refuses
each action. What they return has changed the order table already and is to be sent as it stands.
Every limit counts the worst case: all live orders of a side fill, UNKNOWN ones too, and of a
replace both orders, because venues cancel what is left of the old one and place the whole new one.

    NORMAL    both sides may quote
    REDUCING  only orders that bring the position towards zero, never through it. Entered at
              `reduce_lots` of position, left below half of it
    HALTED    nothing but cancels, of everything that is open, until `release`; and orders that
              take, where somebody wants the position reduced

An order that takes only reduces: with all others of its side that take, and unless NORMAL with all
that is open, it never brings the position through zero.

Without a fair price nothing may stay open either, whatever the state, nor where the fills of late
are at their limit (engine.maker.rate_windows).

A refusal is counted by its code. A refused replace becomes a cancel: the old quote was no longer
wanted. Cancels are never refused. These halt: the daily loss, also of all market makers together
(engine.maker.shared_limits), an anomaly of the account (an order filled beyond its quantity, a
number beyond its bound), `kill`.

Bounds: prices to 2^40 units, quantities to 2^60 lots, positions to 2^61, values to 2^60. A value
is price x lots / value scale, in the venue's quote currency; limits are in the account's, by the
venue's rate (engine.maker.rates). With a scale of 1 a position may be worth 1.15e18 (1,150 BTC at
100,000 dollars, in cents), with the largest a million times as much. Nothing wraps: what would be
larger counts as the bound, which no limit reaches; for a fill or the position it also halts.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.compiling.jit import inner, kernel
from engine.layout.units import DAY_NS
from engine.maker import order_layout as O
from engine.maker.account import value_of
from engine.maker.orders import (
    NO_ROW,
    apply_event,
    find_row,
    is_live,
    left_lots,
    place,
    rows_at,
    side_of,
)
from engine.maker.plan import add_action, plan
from engine.maker.rate_windows import (
    check_pace,
    check_rates,
    count_order,
    is_fill_rate_kept,
    take_fills,
)
from engine.maker.rates import rate_of, rated
from engine.maker.risk_codes import (
    ANOMALY,
    BAD_ORDER,
    COLLAR,
    DAILY_LOSS,
    EXPOSURE,
    FILL_RATE,
    IDS_SPENT,
    IS_HALTED,
    KILLED,
    NO_DAY,
    NO_FAIR_PRICE,
    NO_SUCH_ORDER,
    NOT_REDUCING,
    NOTIONAL,
    OPEN_ORDERS,
    ORDER_SIZE,
    OWN_CROSS,
    PASSED,
    POSITION,
    RATE_DAY,
    RATE_OWN,
    RATE_VENUE,
    SHARED_LOSS,
    SLOT_BUSY,
    TEXTS,
    VOLUME_RATE,
)
from engine.maker.risk_limits import BPS, RiskLimits, new_risk
from engine.maker.shared_limits import (
    begin_days_anew,
    check_shared,
    count_shared_order,
    is_shared_loss_reached,
)

# --- the account's state -------------------------------------------------------------------------


@inner
def _halt(risk: Words, reason: int) -> None:
    """Stop quoting; the first reason stays until the release."""
    assert PASSED < reason < O.REFUSALS_MAX, "a halt without a reason"
    if risk[O.RISK_STATE] != O.HALTED:
        risk[O.RISK_STATE] = O.HALTED
        risk[O.RISK_HALT_REASON] = reason
        risk[O.RISK_HALTS] += 1


@inner
def _result_value(table: Words, fair_price: int) -> int:
    """Cash and the position at the fair price, rounded down: realised and unrealised result."""
    position = table[O.ACCOUNT_POSITION_LOTS]
    value = value_of(table, fair_price, abs(position), position < 0)
    if value == O.VALUE_MAX:
        table[O.ACCOUNT_ANOMALIES] += 1
    return table[O.ACCOUNT_CASH_VALUE] + (value if position >= 0 else -value)


@inner
def _assess(table: Words, risk: Words, fair_price: int, now_ns: int) -> None:
    """Take in the fair price (0: there is none) and the time; move between the states."""
    now_ns = max(now_ns, risk[O.RISK_NOW_NS])
    risk[O.RISK_NOW_NS] = now_ns
    take_fills(table, risk)
    has_fair = 0 < fair_price <= O.PRICE_MAX
    risk[O.RISK_FAIR_PRICE] = fair_price if has_fair else 0
    if has_fair:
        risk[O.RISK_LAST_FAIR_PRICE] = fair_price
        result = _result_value(table, fair_price)
        risk[O.RISK_RESULT_VALUE] = result
        if risk[O.RISK_DAY] != risk[O.RISK_TODAY]:
            risk[O.RISK_DAY] = risk[O.RISK_TODAY]
            risk[O.RISK_DAY_START_VALUE] = result
        if risk[O.RISK_DAY_START_VALUE] - result >= risk[O.RISK_DAILY_LOSS_MAX]:
            _halt(risk, DAILY_LOSS)
    if is_shared_loss_reached(risk):
        _halt(risk, SHARED_LOSS)
    if table[O.ACCOUNT_ANOMALIES] != risk[O.RISK_ANOMALIES_SEEN]:
        risk[O.RISK_ANOMALIES_SEEN] = table[O.ACCOUNT_ANOMALIES]
        _halt(risk, ANOMALY)
    distance = abs(table[O.ACCOUNT_POSITION_LOTS])
    if risk[O.RISK_STATE] == O.NORMAL and distance >= risk[O.RISK_REDUCE_LOTS]:
        risk[O.RISK_STATE] = O.REDUCING
    elif risk[O.RISK_STATE] == O.REDUCING and 2 * distance < risk[O.RISK_REDUCE_LOTS]:
        risk[O.RISK_STATE] = O.NORMAL


@inner
def _open_sides(table: Words, risk: Words) -> int:
    """The sides that may quote: 1 bids, 2 asks, 3 both."""
    if risk[O.RISK_STATE] == O.HALTED or risk[O.RISK_FAIR_PRICE] == 0:
        return 0
    if not is_fill_rate_kept(risk):
        return 0
    if risk[O.RISK_STATE] == O.NORMAL:
        return 3
    return 2 if table[O.ACCOUNT_POSITION_LOTS] > 0 else 1


# --- limits --------------------------------------------------------------------------------------


@inner
def _crosses_own(table: Words, side: int, price: int, own_rate: int, begin: int, end: int) -> bool:
    """Whether a live order of the other side, at a venue from `begin` to before `end`, is at this
    price or through it; `own_rate`: of the venue that the price is for."""
    sign = 1 if side == O.BUY else -1
    for venue in range(begin, end):
        rate = rate_of(table, venue)
        slot = venue * O.VENUE_SLOTS + (1 - side) * O.SLOT_LEVELS
        row = rows_at(table, slot)
        for _ in range(O.SLOT_LEVELS * O.SLOT_ROWS):
            if is_live(table[row + O.ORDER_STATE]):
                ours, other = price, table[row + O.ORDER_PRICE]
                if rate != own_rate:
                    ours = rated(ours, own_rate, side == O.BUY)
                    other = rated(other, rate, side == O.SELL)
                if sign * ours >= sign * other:
                    return True
            row += O.ORDER_WORDS
    return False


@inner
def _check_order(table: Words, risk: Words, rate: int, price: int, lots: int) -> int:
    """PASSED, or what is wrong with an order by itself, at a venue of this rate."""
    fair = risk[O.RISK_FAIR_PRICE]
    if not (0 < price <= O.PRICE_MAX and 0 < lots <= O.LOTS_MAX):
        return BAD_ORDER
    if fair == 0:
        return NO_FAIR_PRICE
    if lots > risk[O.RISK_ORDER_LOTS_MAX]:
        return ORDER_SIZE
    if rated(value_of(table, price, lots, True), rate, True) > risk[O.RISK_NOTIONAL_MAX]:
        return NOTIONAL
    far = max(rated(price, rate, True) - fair, fair - rated(price, rate, False))
    if far > O.PRICE_MAX or far * BPS > fair * risk[O.RISK_COLLAR_BPS]:
        return COLLAR
    return PASSED


@inner
def _taking_lots(table: Words, side: int) -> int:
    """What may still fill of all orders of a side that take."""
    lots = 0
    for venue in range(table[O.ACCOUNT_VENUES]):
        slot = venue * O.VENUE_SLOTS + side * O.SLOT_LEVELS + O.TAKE_LEVEL
        row = rows_at(table, slot)
        for _ in range(O.SLOT_ROWS):
            lots += left_lots(table, row)
            row += O.ORDER_WORDS
    return lots


@inner
def _reduces(table: Words, risk: Words, side: int, lots: int) -> bool:
    """Whether an order that takes leaves the position on its side of zero."""
    position = table[O.ACCOUNT_POSITION_LOTS] if side == O.BUY else -table[O.ACCOUNT_POSITION_LOTS]
    others = table[O.ACCOUNT_OPEN_BUY_LOTS + side]
    if risk[O.RISK_STATE] == O.NORMAL:
        others = _taking_lots(table, side)
    return position + others + lots <= 0


@inner
def _check_account(table: Words, risk: Words, slot: int, price: int, lots: int, takes: bool) -> int:
    """PASSED, or which limit of the account an order could break if all live ones fill."""
    side = side_of(slot)
    sign = 1 if side == O.BUY else -1
    position = sign * table[O.ACCOUNT_POSITION_LOTS]
    worst = position + table[O.ACCOUNT_OPEN_BUY_LOTS + side] + lots
    if risk[O.RISK_STATE] == O.REDUCING and worst > 0:
        return NOT_REDUCING
    if worst > risk[O.RISK_POSITION_LOTS_MAX]:
        return POSITION
    if worst > 0:
        value = value_of(table, risk[O.RISK_FAIR_PRICE], worst, True)
        if value > risk[O.RISK_EXPOSURE_MAX]:
            return EXPOSURE
    begin, end = 0, table[O.ACCOUNT_VENUES]
    if takes:
        # It meets what rests at its own venue alone.
        begin = slot // O.VENUE_SLOTS
        end = begin + 1
    own_rate = rate_of(table, slot // O.VENUE_SLOTS)
    if _crosses_own(table, side, price, own_rate, begin, end):
        return OWN_CROSS
    return check_pace(table, risk, lots)


@inner
def _is_slot_settled(table: Words, slot: int, old_row: int) -> bool:
    """Whether a slot has no live order but the one to be replaced, and that one is open."""
    row = rows_at(table, slot)
    for _ in range(O.SLOT_ROWS):
        state = table[row + O.ORDER_STATE]
        if row == old_row:
            if state != O.OPEN and state != O.PARTIALLY_FILLED:
                return False
        elif is_live(state):
            return False
        row += O.ORDER_WORDS
    return True


@inner
def _check(
    table: Words, risk: Words, slot: int, old_row: int, price: int, lots: int, takes: bool
) -> int:
    """PASSED, or the first refusal; `old_row`: the order that is replaced, or NO_ROW."""
    if risk[O.RISK_STATE] == O.HALTED and not takes:
        return IS_HALTED
    refusal = _check_order(table, risk, rate_of(table, slot // O.VENUE_SLOTS), price, lots)
    if refusal != PASSED:
        return refusal
    if takes and not _reduces(table, risk, side_of(slot), lots):
        return NOT_REDUCING
    if not _is_slot_settled(table, slot, old_row):
        return SLOT_BUSY
    if old_row == NO_ROW and table[O.ACCOUNT_LIVE_ORDERS] >= risk[O.RISK_OPEN_ORDERS_MAX]:
        return OPEN_ORDERS
    refusal = _check_account(table, risk, slot, price, lots, takes)
    if refusal != PASSED:
        return refusal
    if table[O.ACCOUNT_SEQUENCE] & O.ORDERS_MAX == O.ORDERS_MAX:
        return IDS_SPENT
    refusal = check_rates(risk, slot // O.VENUE_SLOTS)
    if refusal != PASSED:
        return refusal
    return check_shared(table, risk, side_of(slot), lots, slot // O.VENUE_SLOTS)


# --- actions -------------------------------------------------------------------------------------


@inner
def _refuse(risk: Words, refusal: int) -> int:
    assert PASSED < refusal < O.REFUSALS_MAX, "no such refusal"
    risk[O.RISK_REFUSALS_AT + refusal] += 1
    return refusal


@inner
def _place(table: Words, risk: Words, actions: Words, action: int, old_row: int) -> int:
    """Let a SUBMIT, TAKE or REPLACE happen if every limit allows it; PASSED or the refusal."""
    slot = actions[action + O.ACTION_SLOT]
    price = actions[action + O.ACTION_PRICE]
    lots = actions[action + O.ACTION_LOTS]
    takes = actions[action + O.ACTION_KIND] == O.ACTION_TAKE
    if takes and slot % O.SLOT_LEVELS != O.TAKE_LEVEL:
        return _refuse(risk, BAD_ORDER)
    refusal = _check(table, risk, slot, old_row, price, lots, takes)
    if refusal != PASSED:
        return _refuse(risk, refusal)
    row = place(table, slot, price, lots, actions[action + O.ACTION_ID])
    assert row != NO_ROW, "a settled slot has a row for one more order"
    if old_row != NO_ROW:
        apply_event(table, old_row, O.REPLACE_REQUEST)
    actions[action + O.ACTION_NEW_ID] = table[row + O.ORDER_ID]
    count_order(risk, slot // O.VENUE_SLOTS)
    count_shared_order(risk, slot // O.VENUE_SLOTS)
    return PASSED


@inner
def _perform(table: Words, risk: Words, actions: Words, action: int) -> int:
    """Let one action happen: PASSED, perhaps as a cancel instead of a replace, or the refusal."""
    kind = actions[action + O.ACTION_KIND]
    slot = actions[action + O.ACTION_SLOT]
    if not 0 <= slot < table[O.ACCOUNT_VENUES] * O.VENUE_SLOTS:
        return _refuse(risk, BAD_ORDER)
    if kind == O.ACTION_SUBMIT or kind == O.ACTION_TAKE:
        actions[action + O.ACTION_ID] = 0
        return _place(table, risk, actions, action, NO_ROW)
    order_id = actions[action + O.ACTION_ID]
    row = find_row(table, slot // O.VENUE_SLOTS, order_id) if order_id > 0 else NO_ROW
    is_known = row != NO_ROW and table[row + O.ORDER_SLOT] == slot
    if not is_known or not is_live(table[row + O.ORDER_STATE]):
        return _refuse(risk, NO_SUCH_ORDER)
    if kind == O.ACTION_REPLACE and _place(table, risk, actions, action, row) == PASSED:
        return PASSED
    add_action(actions, action // O.ACTION_WORDS, O.ACTION_CANCEL, slot, order_id, 0, 0)
    apply_event(table, row, O.CANCEL_REQUEST)
    return PASSED


@inner
def _perform_all(table: Words, risk: Words, actions: Words, count: int) -> int:
    """Perform actions in their order, and close the gaps of refused ones; how many are left."""
    kept = 0
    for index in range(count):
        action = index * O.ACTION_WORDS
        if _perform(table, risk, actions, action) == PASSED:
            for word in range(O.ACTION_WORDS):
                actions[kept * O.ACTION_WORDS + word] = actions[action + word]
            kept += 1
    return kept


@kernel("int64(int64[::1], int64[::1], int64[::1], int64, int64, int64)")
def submit(
    table: Words, risk: Words, actions: Words, count: int, fair_price: int, now_ns: int
) -> int:
    """Pass the first `count` actions through the gate; how many of them are left to be sent.

    Needs 0 <= count <= the actions that `actions` has room for. The other arguments as in `decide`.
    """
    assert 0 <= count * O.ACTION_WORDS <= len(actions), "more actions than there are"
    _assess(table, risk, fair_price, now_ns)
    return _perform_all(table, risk, actions, count)


@inner
def decide_all(
    table: Words, risk: Words, wanted: Words, actions: Words, fair_price: int, now_ns: int
) -> int:
    """`decide`, for a kernel."""
    _assess(table, risk, fair_price, now_ns)
    count = plan(table, wanted, _open_sides(table, risk), actions)
    return _perform_all(table, risk, actions, count)


@kernel("int64(int64[::1], int64[::1], int64[::1], int64[::1], int64, int64)")
def decide(
    table: Words, risk: Words, wanted: Words, actions: Words, fair_price: int, now_ns: int
) -> int:
    """From wanted quotes to the messages that are to be sent, in `actions`; how many.

    `wanted`: `wanted_words`, price and lots by slot, lots 0 for none, or LEFT_ALONE; `actions`:
    `actions_words`. `fair_price`: in units, 0 for none, without which nothing new is placed.
    `now_ns`: steady time (tuning.clock), for rates; days are as RISK_TODAY says.
    """
    return decide_all(table, risk, wanted, actions, fair_price, now_ns)


@kernel("int64(int64[::1], int64[::1], int64[::1], int64)")
def kill(table: Words, risk: Words, actions: Words, reason: int) -> int:
    """Halt, and cancel every live order now, whatever it waits for; how many cancels.

    `reason`: of engine.maker.risk_codes; where it is halted already, the first one stays.
    What cannot be cancelled at once (its cancel is refused, or its outcome unknown) is cancelled
    by `decide` as soon as it is known to be open: call it, and answer its questions, until no
    order is live.
    """
    _halt(risk, reason)
    count = 0
    for slot in range(table[O.ACCOUNT_VENUES] * O.VENUE_SLOTS):
        row = rows_at(table, slot)
        for _ in range(O.SLOT_ROWS):
            state = table[row + O.ORDER_STATE]
            if is_live(state) and state != O.PENDING_CANCEL:
                order_id = table[row + O.ORDER_ID]
                count = add_action(actions, count, O.ACTION_CANCEL, slot, order_id, 0, 0)
                apply_event(table, row, O.CANCEL_REQUEST)
            row += O.ORDER_WORDS
    return count


@kernel("int64(int64[::1], int64[::1])")
def release(table: Words, risk: Words) -> int:
    """An operator's word that quoting may go on; the state after it.

    The day's loss is counted anew from the next fair price on, after the common loss that of all
    market makers; anomalies so far are forgiven.
    """
    if risk[O.RISK_STATE] == O.HALTED:
        begin_days_anew(risk)
        risk[O.RISK_STATE] = O.NORMAL
        risk[O.RISK_HALT_REASON] = 0
        risk[O.RISK_DAY] = NO_DAY
        risk[O.RISK_ANOMALIES_SEEN] = table[O.ACCOUNT_ANOMALIES]
    return risk[O.RISK_STATE]


__all__ = [
    "ANOMALY",
    "BAD_ORDER",
    "BPS",
    "COLLAR",
    "DAILY_LOSS",
    "DAY_NS",
    "EXPOSURE",
    "FILL_RATE",
    "IDS_SPENT",
    "IS_HALTED",
    "KILLED",
    "NOTIONAL",
    "NOT_REDUCING",
    "NO_DAY",
    "NO_FAIR_PRICE",
    "NO_SUCH_ORDER",
    "OPEN_ORDERS",
    "ORDER_SIZE",
    "OWN_CROSS",
    "PASSED",
    "POSITION",
    "RATE_DAY",
    "RATE_OWN",
    "RATE_VENUE",
    "SLOT_BUSY",
    "TEXTS",
    "VOLUME_RATE",
    "RiskLimits",
    "decide",
    "kill",
    "new_risk",
    "release",
    "submit",
]
