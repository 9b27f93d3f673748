"""The own orders: a fixed table, one state machine, a position that counts nothing but fills.

A row is one order at one venue. Messages about it may be lost, doubled, late or out of order, and
none of that may cost more than a question to the venue:
* What a venue's message means is in TRANSITIONS, for every event in every state. What cannot
  matter is ignored and counted.
* An order whose outcome is not known (a time-out, a lost connection, a refused cancel) is UNKNOWN:
  it counts as open, nothing is sent for its slot, and only the venue's answer to a question about
  it ends that. Ask after the request can no longer arrive (Binance: after recvWindow): "not found"
  is final.
* A fill counts whatever the state. An order's filled lots are the sum of its distinct executions
  or the largest cumulative quantity told, whichever is more; both only grow.
* A replace is the venue's atomic cancel and new: a new order with its own id, in a row of its own.
  Until it is answered both may fill, one after the other, and both count.

A slot has at most one order that may be open, but for the moments of a replace.
Runs on: the engine thread.
"""

from __future__ import annotations

import numpy as np

from engine.compiling.atomics import Words
from engine.compiling.jit import inner, kernel
from engine.layout.layout import VENUES_MAX
from engine.maker import order_layout as O
from engine.maker.account import (
    bounded,
    count_ahead,
    count_fee,
    count_fill,
    settle_ahead,
    value_of,
)

IGNORE = -1
"""The transition of an event that cannot matter: the state stays, and the event is counted."""

TRANSITION_TABLE = """
                FREE NEW  OPEN PART CNCL RPLC UNKN FILL CXL  REJ  EXP
SUBMIT          NEW  .    .    .    .    .    .    .    .    .    .
ACK             .    OPEN .    .    .    .    .    .    .    UNKN .
FILL            .    OPEN OPEN PART CNCL RPLC UNKN FILL CXL  UNKN EXP
CANCEL_REQUEST  .    CNCL CNCL CNCL .    CNCL UNKN .    .    .    .
CANCEL_ACK      .    CXL  CXL  CXL  CXL  CXL  .    .    .    .    .
CANCEL_REJECT   .    .    .    .    UNKN .    .    .    .    .    .
REPLACE_REQUEST .    .    RPLC RPLC .    .    .    .    .    .    .
REPLACE_ACK     .    .    CXL  CXL  CXL  CXL  .    .    .    .    .
REPLACE_REJECT  .    .    .    .    .    UNKN .    .    .    .    .
REJECT          .    REJ  .    .    REJ  .    .    .    .    .    .
EXPIRE          .    EXP  EXP  EXP  EXP  EXP  .    .    .    .    .
TIMEOUT         .    UNKN .    .    UNKN UNKN .    .    .    .    .
DISCONNECT      .    UNKN UNKN UNKN UNKN UNKN .    .    .    .    .
FOUND_OPEN      .    OPEN OPEN PART CNCL RPLC OPEN .    UNKN UNKN UNKN
FOUND_CLOSED    .    CXL  CXL  CXL  CXL  CXL  CXL  .    .    .    .
NOT_FOUND       .    .    UNKN UNKN UNKN UNKN REJ  .    .    .    .
"""
"""Columns: the states in order_layout's order. Two rules hold for every result: an OPEN order with
fills is PARTIALLY_FILLED, and any order but an UNKNOWN one with all its lots filled is FILLED.

* A refused cancel or replace says nothing certain of the order (filled, gone, or still there).
* A cancel may be sent for an order in any doubt: it harms nothing, and a kill needs it.
* Evidence that a closed order lives (an old answer, or a wrong one before) makes it UNKNOWN: one
  more question settles it.
* "Not found" cannot be about an order that was acknowledged: ask again. For a PENDING_NEW one the
  question was faster than the order.
"""
_CODES = ("FREE", "NEW", "OPEN", "PART", "CNCL", "RPLC", "UNKN", "FILL", "CXL", "REJ", "EXP")


def _read_transitions(text: str) -> Words:
    """The table as words: next state, or IGNORE, at event * STATES + state."""
    lines = text.split("\n")[1:-1]
    if tuple(lines[0].split()) != _CODES or len(lines) != O.EVENTS + 1:
        raise ValueError("the transition table does not list every state and event")
    rows = [line.split() for line in lines[1:]]
    if tuple(row[0] for row in rows) != O.EVENT_NAMES:
        raise ValueError("the transition table's events are not in order")
    cells = [[IGNORE if code == "." else _CODES.index(code) for code in row[1:]] for row in rows]
    return np.array(cells, np.int64).reshape(O.EVENTS * O.STATES)


TRANSITIONS = _read_transitions(TRANSITION_TABLE)

NO_ROW = -1
BAD_EVENT = -2
"""What the event kernels answer beside a state: no such order; numbers that cannot be."""


def new_table(
    venues: int, epoch: int, value_scale: int = 1, position_lots: int = 0, maker: int = 0
) -> Words:
    """An empty table. `epoch`: larger than that of every earlier run, e.g. the start in s.

    `value_scale`: the lots that a value counts as one; 1 is exact. `position_lots`: what is brought
    along; it enters the day's result at the first fair price. `maker`: its number among those of
    the run. ValueError for what cannot be.
    """
    if not 1 <= venues <= VENUES_MAX:
        raise ValueError(f"{venues} venues: 1 to {VENUES_MAX} are possible")
    if not 1 <= epoch <= O.EPOCH_MAX:
        raise ValueError(f"epoch {epoch}: 1 to {O.EPOCH_MAX} are possible")
    if not 1 <= value_scale <= O.VALUE_SCALE_MAX:
        raise ValueError(f"value scale {value_scale}: 1 to {O.VALUE_SCALE_MAX} are possible")
    if not 0 <= maker < O.MAKERS_MAX:
        raise ValueError(f"market maker {maker}: 0 to {O.MAKERS_MAX - 1} are possible")
    if abs(position_lots) > O.LOTS_MAX:
        raise ValueError(f"a position of {position_lots} lots is beyond {O.LOTS_MAX}")
    table = np.zeros(O.table_words(venues), np.int64)
    table[O.ACCOUNT_VENUES] = venues
    table[O.ACCOUNT_EPOCH] = epoch
    table[O.ACCOUNT_SEQUENCE] = maker * (O.ORDERS_MAX + 1)
    table[O.ACCOUNT_VALUE_SCALE] = value_scale
    table[O.ACCOUNT_POSITION_LOTS] = position_lots
    for venue in range(venues):
        table[O.venue_word(venue, O.VENUE_RATE)] = O.RATE_ONE
    return table


# --- rows ----------------------------------------------------------------------------------------


@inner
def is_live(state: int) -> bool:
    """Whether an order in this state may be open at the venue."""
    return O.PENDING_NEW <= state <= O.UNKNOWN


@inner
def rows_at(table: Words, slot: int) -> int:
    """The first row of a slot."""
    venue = slot // O.VENUE_SLOTS
    within = slot - venue * O.VENUE_SLOTS
    return O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_ROWS_AT + within * O.SLOT_WORDS


@inner
def side_of(slot: int) -> int:
    """BUY or SELL."""
    return slot // O.SLOT_LEVELS & 1


@inner
def find_row(table: Words, venue: int, order_id: int) -> int:
    """The row of a venue's order, or NO_ROW."""
    row = rows_at(table, venue * O.VENUE_SLOTS)
    for _ in range(O.VENUE_SLOTS * O.SLOT_ROWS):
        if table[row + O.ORDER_ID] == order_id:
            return row
        row += O.ORDER_WORDS
    return NO_ROW


@inner
def left_lots(table: Words, row: int) -> int:
    """What may still fill of an order."""
    if not is_live(table[row + O.ORDER_STATE]):
        return 0
    return max(table[row + O.ORDER_LOTS] - table[row + O.ORDER_FILLED_LOTS], 0)


@inner
def _set_row(table: Words, row: int, state: int, filled_lots: int) -> None:
    """The one place where a row's state or filled lots change; keeps the account's sums."""
    side = side_of(table[row + O.ORDER_SLOT])
    open_lots = table[O.ACCOUNT_OPEN_BUY_LOTS + side] - left_lots(table, row)
    live_orders = table[O.ACCOUNT_LIVE_ORDERS] - int(is_live(table[row + O.ORDER_STATE]))
    table[row + O.ORDER_STATE] = state
    table[row + O.ORDER_FILLED_LOTS] = filled_lots
    table[O.ACCOUNT_OPEN_BUY_LOTS + side] = open_lots + left_lots(table, row)
    table[O.ACCOUNT_LIVE_ORDERS] = live_orders + int(is_live(state))
    assert table[O.ACCOUNT_OPEN_BUY_LOTS + side] >= 0 <= live_orders, "less open than nothing"


@inner
def apply_event(table: Words, row: int, event: int) -> int:
    """Take the one transition an event has in a row's state; the state after it."""
    state = table[row + O.ORDER_STATE]
    assert 0 <= event < O.EVENTS and 0 <= state < O.STATES, "outside the transition table"
    after = TRANSITIONS[event * O.STATES + state]
    if after == IGNORE:
        table[O.ACCOUNT_IGNORED_EVENTS] += 1
        after = state
    filled_lots = table[row + O.ORDER_FILLED_LOTS]
    if after != O.UNKNOWN and after != O.FREE and filled_lots >= table[row + O.ORDER_LOTS]:
        after = O.FILLED
    elif after == O.OPEN and filled_lots > 0:
        after = O.PARTIALLY_FILLED
    _set_row(table, row, after, filled_lots)
    return after


@inner
def _forget(table: Words, row: int) -> None:
    """Make a closed row free, remembering what a cumulative quantity has counted in advance.

    The executions it stands for may still arrive, and must not count again.
    """
    assert not is_live(table[row + O.ORDER_STATE]), "an order that may be open is forgotten"
    owed_lots = table[row + O.ORDER_FILLED_LOTS] - table[row + O.ORDER_EXECUTED_LOTS]
    if owed_lots > 0:
        venue = table[row + O.ORDER_SLOT] // O.VENUE_SLOTS
        ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
        turn = table[ring + O.VENUE_FORGOTTEN_TURN]
        at = ring + O.VENUE_FORGOTTEN_AT + turn * O.FORGOTTEN_WORDS
        table[at + O.FORGOTTEN_ID] = table[row + O.ORDER_ID]
        table[at + O.FORGOTTEN_OWED_LOTS] = owed_lots
        table[at + O.FORGOTTEN_PRICE] = table[row + O.ORDER_PRICE]
        table[ring + O.VENUE_FORGOTTEN_TURN] = (turn + 1) % O.FORGOTTEN
    table[row + O.ORDER_STATE] = O.FREE


@inner
def _unowed_lots(table: Words, venue: int, order_id: int, side: int, price: int, lots: int) -> int:
    """The lots of a forgotten order's execution that have not been counted in advance; the others
    have their price now."""
    at = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_FORGOTTEN_AT
    for _ in range(O.FORGOTTEN):
        if table[at + O.FORGOTTEN_ID] == order_id:
            counted = min(table[at + O.FORGOTTEN_OWED_LOTS], lots)
            table[at + O.FORGOTTEN_OWED_LOTS] -= counted
            settle_ahead(table, venue, side, table[at + O.FORGOTTEN_PRICE], price, counted)
            return lots - counted
        at += O.FORGOTTEN_WORDS
    return lots


@inner
def place(table: Words, slot: int, price: int, lots: int, replaces_id: int) -> int:
    """Write a new order into a slot's oldest closed row, PENDING_NEW; its row, or NO_ROW.

    Only the risk gate may call this: it is how an order comes into being.
    """
    assert 0 < price <= O.PRICE_MAX and 0 < lots <= O.LOTS_MAX, "the gate has let it through"
    row = NO_ROW
    at = rows_at(table, slot)
    for _ in range(O.SLOT_ROWS):
        if not is_live(table[at + O.ORDER_STATE]):
            if row == NO_ROW or table[at + O.ORDER_ID] < table[row + O.ORDER_ID]:
                row = at
        at += O.ORDER_WORDS
    if row == NO_ROW:
        return NO_ROW
    _forget(table, row)
    table[O.ACCOUNT_SEQUENCE] += 1
    table[row + O.ORDER_ID] = table[O.ACCOUNT_EPOCH] << 32 | table[O.ACCOUNT_SEQUENCE]
    table[row + O.ORDER_SLOT] = slot
    table[row + O.ORDER_PRICE] = price
    table[row + O.ORDER_LOTS] = lots
    table[row + O.ORDER_FILLED_LOTS] = 0
    table[row + O.ORDER_EXECUTED_LOTS] = 0
    table[row + O.ORDER_REPLACES_ID] = replaces_id
    apply_event(table, row, O.SUBMIT)
    return row


# --- fills ---------------------------------------------------------------------------------------


@inner
def _is_new_execution(table: Words, venue: int, execution_id: int) -> bool:
    """Whether the venue's last EXECUTIONS ids have not got this one; it is remembered."""
    ring = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
    for at in range(O.EXECUTIONS):
        if table[ring + O.VENUE_EXECUTIONS_AT + at] == execution_id:
            return False
    turn = table[ring + O.VENUE_EXECUTION_TURN]
    table[ring + O.VENUE_EXECUTIONS_AT + turn] = execution_id
    table[ring + O.VENUE_EXECUTION_TURN] = (turn + 1) % O.EXECUTIONS
    return True


@inner
def _absorb(table: Words, row: int, price: int, lots: int, cumulative_lots: int) -> None:
    """Count what an order has filled beyond what is known: one execution, or none and a sum.

    Lots that only the sum knows of are valued at the order's own price, the worst they can be had
    at, until their execution comes; for a post-only order it is their price.
    """
    executed = bounded(table, table[row + O.ORDER_EXECUTED_LOTS] + lots, O.POSITION_LOTS_MAX)
    table[row + O.ORDER_EXECUTED_LOTS] = executed
    before = table[row + O.ORDER_FILLED_LOTS]
    filled = max(before, executed, cumulative_lots)
    slot = table[row + O.ORDER_SLOT]
    venue, side = slot // O.VENUE_SLOTS, side_of(slot)
    known = min(filled - before, lots)
    if known > 0:
        count_fill(table, venue, side, price, known)
    if lots > known:
        settle_ahead(table, venue, side, table[row + O.ORDER_PRICE], price, lots - known)
    if filled - before > known:
        count_ahead(table, venue, side, table[row + O.ORDER_PRICE], filled - before - known)
        table[O.ACCOUNT_INFERRED_FILLS] += 1
    if filled > table[row + O.ORDER_LOTS]:
        table[O.ACCOUNT_ANOMALIES] += 1
    _set_row(table, row, table[row + O.ORDER_STATE], filled)


# --- events --------------------------------------------------------------------------------------


@kernel("int64(int64[::1], int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def on_fill(
    table: Words,
    venue: int,
    order_id: int,
    execution_id: int,
    side: int,
    price: int,
    lots: int,
    cumulative_lots: int,
    fee_base_lots: int,
    fee_value: int,
) -> int:
    """One execution of one of our orders; the order's state, NO_ROW or BAD_EVENT.

    `execution_id` is above 0 and unique at its venue; `price` in units; `cumulative_lots`: what the
    venue says has filled of the order so far, 0 where it does not say. The fill of an order that is
    no longer, or not yet, in the table counts all the same, on the `side` it names.

    `fee_base_lots`: what of its fee was paid in the base currency; `fee_value`: what the rest of it
    is worth, rounded up; both below zero for a rebate. Lots that were counted before their
    execution came pay with it. A fee above what was traded is an anomaly.
    """
    if (
        not 0 <= venue < table[O.ACCOUNT_VENUES]
        or execution_id < 1
        or not O.BUY <= side <= O.SELL
        or not 0 < price <= O.PRICE_MAX
        or not 0 < lots <= O.LOTS_MAX
        or not 0 <= cumulative_lots <= O.LOTS_MAX
        or not -O.LOTS_MAX <= fee_base_lots <= O.LOTS_MAX
        or not -O.VALUE_MAX <= fee_value <= O.VALUE_MAX
    ):
        table[O.ACCOUNT_BAD_EVENTS] += 1
        return BAD_EVENT
    row = find_row(table, venue, order_id) if order_id > 0 else NO_ROW
    if row != NO_ROW and side != side_of(table[row + O.ORDER_SLOT]):
        table[O.ACCOUNT_BAD_EVENTS] += 1
        return BAD_EVENT
    if not _is_new_execution(table, venue, execution_id):
        table[O.ACCOUNT_DUPLICATE_FILLS] += 1
        return NO_ROW if row == NO_ROW else table[row + O.ORDER_STATE]
    table[O.ACCOUNT_FILLS] += 1
    if fee_base_lots > lots or fee_value > value_of(table, price, lots, True):
        table[O.ACCOUNT_ANOMALIES] += 1
    count_fee(table, venue, price, fee_base_lots, fee_value)
    if row == NO_ROW:
        table[O.ACCOUNT_ORPHAN_FILLS] += 1
        new_lots = _unowed_lots(table, venue, order_id, side, price, lots)
        count_fill(table, venue, side, price, new_lots)
        return NO_ROW
    _absorb(table, row, price, lots, cumulative_lots)
    return apply_event(table, row, O.FILL)


@inner
def _tell(table: Words, row: int, event: int, filled_lots: int) -> int:
    """Apply an event that came with a cumulative quantity (0: none) to a row; its state."""
    if filled_lots > table[row + O.ORDER_FILLED_LOTS]:
        _absorb(table, row, 0, 0, filled_lots)
    return apply_event(table, row, event)


@inner
def _tell_replaced(table: Words, venue: int, row: int, event: int, filled_lots: int) -> None:
    """Tell the order that this one replaces, if it does."""
    replaces_id = table[row + O.ORDER_REPLACES_ID]
    if replaces_id != 0:
        old = find_row(table, venue, replaces_id)
        if old != NO_ROW:
            _tell(table, old, event, filled_lots)


@kernel("int64(int64[::1], int64, int64, int64, int64)")
def on_event(table: Words, event: int, venue: int, order_id: int, filled_lots: int) -> int:
    """What a venue, or a time limit, says of an order; its state, NO_ROW or BAD_EVENT.

    REPLACE_ACK, REPLACE_REJECT and the TIMEOUT of a replace name the *new* order, so that a doubled
    answer cannot be taken for that of the next replace. A venue that cancelled the old order
    without placing the new one says CANCEL_ACK of the old and REJECT of the new.

    `filled_lots`: the order's cumulative quantity (of the two answers to a replace: the old one's),
    0 where none came. It must come with whatever closes an order, or the order be asked for: lots
    whose execution is late are else missing from the position while they no longer count as open.
    Requests are made through risk, and fills, which have more to say, through `on_fill`.
    """
    is_request = event == O.SUBMIT or event == O.CANCEL_REQUEST or event == O.REPLACE_REQUEST
    if (
        not 0 <= event < O.EVENTS
        or is_request
        or event == O.FILL
        or not 0 <= venue < table[O.ACCOUNT_VENUES]
        or not 0 <= filled_lots <= O.LOTS_MAX
    ):
        table[O.ACCOUNT_BAD_EVENTS] += 1
        return BAD_EVENT
    row = find_row(table, venue, order_id) if order_id > 0 else NO_ROW
    if row == NO_ROW:
        table[O.ACCOUNT_ORPHAN_EVENTS] += 1
        return NO_ROW
    if event == O.REPLACE_ACK or event == O.REPLACE_REJECT:
        _tell_replaced(table, venue, row, event, filled_lots)
        return _tell(table, row, O.ACK if event == O.REPLACE_ACK else O.REJECT, 0)
    if event == O.TIMEOUT:
        _tell_replaced(table, venue, row, event, 0)
    return _tell(table, row, event, filled_lots)


@kernel("int64(int64[::1], int64)")
def unknown_orders(table: Words, venue: int) -> int:
    """How many orders of a venue are UNKNOWN. Needs 0 <= venue < ACCOUNT_VENUES."""
    count, row = 0, rows_at(table, venue * O.VENUE_SLOTS)
    for _ in range(O.VENUE_SLOTS * O.SLOT_ROWS):
        count += 1 if table[row + O.ORDER_STATE] == O.UNKNOWN else 0
        row += O.ORDER_WORDS
    return count


@kernel("int64(int64[::1], int64)")
def on_disconnect(table: Words, venue: int) -> int:
    """The order connection of a venue is lost: all its live orders are UNKNOWN; how many."""
    if not 0 <= venue < table[O.ACCOUNT_VENUES]:
        table[O.ACCOUNT_BAD_EVENTS] += 1
        return BAD_EVENT
    count, row = 0, rows_at(table, venue * O.VENUE_SLOTS)
    for _ in range(O.VENUE_SLOTS * O.SLOT_ROWS):
        if is_live(table[row + O.ORDER_STATE]):
            apply_event(table, row, O.DISCONNECT)
            count += 1
        row += O.ORDER_WORDS
    return count
