"""How fast quotes come back after a fill: not from the book that filled them, and after a pause.

    pause      for `pause_ns` after a fill nothing new is placed on its side, at no venue
    same book  nor on that side of the venue that filled, until a frame of its has come since

What rests on the side stays where it is, and is cancelled where it would have to move or shrink:
whoever trades with us has seen something that our book may not show yet. A frame that was under
way when we were filled does not know of it either: the pause should be longer than the interval of
the venue's frames.

    pace   | pause, until when: bids, asks | VENUE 0..7: fills seen, frame at the last, by side |

Runs on: the engine thread.
"""

from __future__ import annotations

import numpy as np

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.layout import layout as L
from engine.maker import order_layout as O

(PACE_PAUSE_NS, PACE_UNTIL_NS, PACE_VENUES_AT) = (0, 1, 1 + O.SIDES)
(PACE_SEEN, PACE_STAMP_NS, PACE_VENUE_WORDS) = (0, O.SIDES, 2 * O.SIDES)
PACE_WORDS = PACE_VENUES_AT + L.VENUES_MAX * PACE_VENUE_WORDS
NO_STAMP = -1
"""Where no fill waits for a frame."""


def new_pace(pause_ns: int) -> Words:
    """The words of a market maker that has not been filled yet; `pause_ns`: from 0 on."""
    assert pause_ns >= 0
    pace = np.zeros(PACE_WORDS, np.int64)
    pace[PACE_PAUSE_NS] = pause_ns
    pace[PACE_VENUES_AT:].reshape(-1, PACE_VENUE_WORDS)[:, PACE_STAMP_NS:] = NO_STAMP
    return pace


@inner
def take_side_fills(pace: Words, table: Words, venue: int, stamp_ns: int, now_ns: int) -> None:
    """See which sides of a venue were filled since the last step.

    `stamp_ns`: of the venue's last frame, compared for being another and for nothing else.
    """
    at = PACE_VENUES_AT + venue * PACE_VENUE_WORDS
    counts = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_BUYS
    for side in range(O.SIDES):
        if table[counts + side] != pace[at + PACE_SEEN + side]:
            pace[at + PACE_SEEN + side] = table[counts + side]
            pace[at + PACE_STAMP_NS + side] = stamp_ns
            pace[PACE_UNTIL_NS + side] = now_ns + pace[PACE_PAUSE_NS]


@inner
def held_sides(pace: Words, venue: int, stamp_ns: int, now_ns: int) -> int:
    """The sides of a venue on which nothing new may be placed: 1 bids, 2 asks, 3 both."""
    at = PACE_VENUES_AT + venue * PACE_VENUE_WORDS
    held = 0
    for side in range(O.SIDES):
        if now_ns < pace[PACE_UNTIL_NS + side] or pace[at + PACE_STAMP_NS + side] == stamp_ns:
            held |= 1 << side
        else:
            pace[at + PACE_STAMP_NS + side] = NO_STAMP
    return held
