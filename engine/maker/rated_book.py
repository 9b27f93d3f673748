"""The venues' best levels in the order of price times rate, which a rated fair price is made of.

The published book cannot serve: it is ordered by prices as they are, and where one currency is
dearer by more than its best levels lie apart, none of another's is in it. Here each level keeps the
price that its venue says, in the published book's units; only the order is by what it is worth.

    rated book | a slot as engine.sharing.handoff has it: states, lots, levels | a cursor by venue |

Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.side import side_at
from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.layout import layout as L
from engine.maker.fair import factor_at

CURSORS_AT = L.SLOT_WORDS
RATED_WORDS = CURSORS_AT + L.VENUES_MAX


@inner
def _best_venue(arena: Words, instrument: int, is_asks: int, fair: Words, rated: Words) -> int:
    """Whose next level has the best rated price, or the larger amount of two alike; -1: none."""
    best_venue = -1
    best_key = 0.0
    best_lots = 0
    for venue in range(arena[instrument + L.INSTRUMENT_VENUES]):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        level = rated[CURSORS_AT + venue]
        if arena[feed + L.FEED_STATE] != L.LIVE or level >= arena[side + L.SIDE_TOP_LEVELS]:
            continue
        ticks = arena[side + L.SIDE_TOP_KEYS_AT + level] * arena[feed + L.FEED_TICK_MULTIPLIER]
        key = float(ticks) * factor_at(fair, 0, venue)
        lots = arena[side + L.SIDE_TOP_LOTS_AT + level] * arena[feed + L.FEED_LOT_MULTIPLIER]
        if best_venue < 0 or key > best_key or (key == best_key and lots > best_lots):
            best_venue = venue
            best_key = key
            best_lots = lots
    return best_venue


@inner
def _merge_side(arena: Words, instrument: int, is_asks: int, fair: Words, rated: Words) -> None:
    venues = arena[instrument + L.INSTRUMENT_VENUES]
    for venue in range(venues):
        rated[CURSORS_AT + venue] = 0
    level = L.SLOT_ASKS_AT if is_asks else L.SLOT_BIDS_AT
    count = 0
    while count < arena[instrument + L.INSTRUMENT_DEPTH]:
        venue = _best_venue(arena, instrument, is_asks, fair, rated)
        if venue < 0:
            break
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        at = rated[CURSORS_AT + venue]
        key = arena[side + L.SIDE_TOP_KEYS_AT + at] * arena[feed + L.FEED_TICK_MULTIPLIER]
        lots = arena[side + L.SIDE_TOP_LOTS_AT + at] * arena[feed + L.FEED_LOT_MULTIPLIER]
        rated[level + L.LEVEL_PRICE] = -key if is_asks else key
        rated[level + L.LEVEL_LOTS] = lots
        rated[level + L.LEVEL_VENUE] = venue
        rated[CURSORS_AT + venue] = at + 1
        level += L.LEVEL_WORDS
        count += 1
    rated[L.SLOT_ASKS if is_asks else L.SLOT_BIDS] = count


@inner
def merge_rated(arena: Words, instrument: int, fair: Words, rated: Words) -> None:
    """Write the rated book of an instrument: RATED_WORDS. `fair`: with the venues' factors."""
    for venue in range(arena[instrument + L.INSTRUMENT_VENUES]):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        state = L.SLOT_VENUES_AT + venue * L.VENUE_WORDS + L.VENUE_STATE
        rated[state] = arena[feed + L.FEED_STATE]
    rated[L.SLOT_LOT_DECIMALS] = arena[instrument + L.INSTRUMENT_LOT_DECIMALS]
    for is_asks in range(2):
        _merge_side(arena, instrument, is_asks, fair, rated)
