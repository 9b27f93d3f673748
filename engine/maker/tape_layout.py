"""Where every word of a run over a tape's text lives, and why the run stops.

    run | RUN header | VENUE 0..V-1: of the tape | PAPER 0..P-1: where orders rest | shapes |

Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.layout import layout as L

(
    RUN_TEXT,
    RUN_TEXT_BYTES,
    RUN_AT,
    RUN_LINE_AT,
    RUN_LINE_END,
    RUN_LINE_NS,
    RUN_NOW_NS,
    RUN_STOP_NS,
    RUN_RAW,
    RUN_RAW_ROOM,
    RUN_RAW_BYTES,
    RUN_VENUE,
    RUN_LINES,
    RUN_FRAMES,
    RUN_STATUS,
    RUN_ACTIONS,
    RUN_ARENA,
    RUN_STEP,
    RUN_VENUES,
    RUN_PAPERS,
    RUN_SHAPES,
) = range(21)
"""TEXT: the address of whole lines; AT: the next one; LINE: the one that the run stopped at, or
behind. NOW: the latest time of a line; STOP: when something else is due. RAW: the address of room
for one frame's bytes, and how many there are now. STATUS, ACTIONS: what the frame and the step
answered. STEP: of the market maker's words, 0 while nothing may be decided."""
RUN_VENUES_AT = RUN_SHAPES + 1

(
    TAPE_VENUE_NAME_BYTES,
    TAPE_VENUE_CONNECTION,
    TAPE_VENUE_IS_OPEN,
    TAPE_VENUE_OTHER_SYMBOLS,
    TAPE_VENUE_NAME_AT,
) = range(5)
"""IS_OPEN: its connection is known to be there; OTHER_SYMBOLS: frames of symbols that were not
asked for, so far."""
TAPE_VENUE_WORDS = TAPE_VENUE_NAME_AT + L.VENUE_NAME_WORDS
TAPE_VENUES_MAX = 16
"""Venues of one configuration; more are read without a kernel."""

(PAPER_FEED, PAPER_QUEUE, PAPER_WORDS) = range(3)
"""The feed's index in the engine; the address of its QUEUE words."""
RUN_PAPERS_AT = RUN_VENUES_AT + TAPE_VENUES_MAX * TAPE_VENUE_WORDS
RUN_SHAPES_AT = RUN_PAPERS_AT + L.VENUES_MAX * PAPER_WORDS
SHAPES_MAX = 64
"""Kinds of frames that mean nothing to a book, known by their shape: a venue's streams have a few
each. When there are more, the rest is looked at one by one."""
SHAPE_BYTES_MAX = 512
"""Longer frames are not looked up: they are books."""
RUN_WORDS = RUN_SHAPES_AT + SHAPES_MAX

(STOP_AT_END, STOP_IS_DUE, STOP_AT_LINE, STOP_AT_STATUS, STOP_AT_FILL, STOP_AT_ACTIONS) = range(6)
"""The text is used up; the next line is not before STOP; a line that is no plain frame of an open
connection; a frame with another status than APPLIED; one that filled an order; one after which the
step wants messages sent. The line is behind AT, but for the first two."""
