"""From wanted quotes to actions: what brings every slot of the order table to what is wanted of it.

Nothing is changed here: the risk gate passes or refuses what is planned.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.maker import order_layout as O
from engine.maker.orders import NO_ROW, is_live, left_lots, rows_at, side_of


@inner
def add_action(
    actions: Words, count: int, kind: int, slot: int, order_id: int, price: int, lots: int
) -> int:
    """Append an action; the count after it."""
    action = count * O.ACTION_WORDS
    assert 0 <= action <= len(actions) - O.ACTION_WORDS, "no room for the action"
    actions[action + O.ACTION_KIND] = kind
    actions[action + O.ACTION_SLOT] = slot
    actions[action + O.ACTION_ID] = order_id
    actions[action + O.ACTION_NEW_ID] = 0
    actions[action + O.ACTION_PRICE] = price
    actions[action + O.ACTION_LOTS] = lots
    return count + 1


@inner
def _plan_slot(table: Words, actions: Words, count: int, slot: int, price: int, lots: int) -> int:
    """The action, if any, that brings one slot to what is wanted; the count after it."""
    settled, settled_count = NO_ROW, 0
    row = rows_at(table, slot)
    for _ in range(O.SLOT_ROWS):
        state = table[row + O.ORDER_STATE]
        if state == O.OPEN or state == O.PARTIALLY_FILLED:
            settled_count += 1
            if settled == NO_ROW or table[row + O.ORDER_ID] < table[settled + O.ORDER_ID]:
                settled = row
        elif is_live(state):
            return count
        row += O.ORDER_WORDS
    if settled == NO_ROW:
        if lots <= 0:
            return count
        return add_action(actions, count, O.ACTION_SUBMIT, slot, 0, price, lots)
    order_id = table[settled + O.ORDER_ID]
    if lots <= 0 or settled_count > 1:
        return add_action(actions, count, O.ACTION_CANCEL, slot, order_id, 0, 0)
    is_enough = left_lots(table, settled) <= lots <= table[settled + O.ORDER_LOTS]
    if price == table[settled + O.ORDER_PRICE] and is_enough:
        return count
    venue = slot // O.VENUE_SLOTS
    if table[O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_CANNOT_REPLACE] != 0:
        return add_action(actions, count, O.ACTION_CANCEL, slot, order_id, 0, 0)
    return add_action(actions, count, O.ACTION_REPLACE, slot, order_id, price, lots)


@inner
def plan(table: Words, wanted: Words, sides: int, actions: Words) -> int:
    """The actions that bring every slot to what is wanted of it; how many.

    `sides`: 1 for bids, 2 for asks, 3 for both; on another side nothing is wanted. A slot whose
    order is pending or UNKNOWN waits. An order of the wanted price keeps its place in the queue
    when partly filled: it is replaced only if more is left of it than wanted, or more is wanted
    than it ever was. Of two open orders in a slot, which only a wrong answer can cause, the older
    is cancelled. A slot that is LEFT_ALONE stays as it is. `actions` needs `actions_words` words.
    """
    count = 0
    for slot in range(table[O.ACCOUNT_VENUES] * O.VENUE_SLOTS):
        at = slot * O.WANTED_WORDS
        lots = wanted[at + O.WANTED_LOTS]
        if lots == O.LEFT_ALONE:
            continue
        if sides >> side_of(slot) & 1 == 0:
            lots = 0
        count = _plan_slot(table, actions, count, slot, wanted[at + O.WANTED_PRICE], lots)
    return count
