"""What a kernel answers: small integers inside, texts and exceptions only at the edge.

Zero and above: the frame was understood. -1 to -9: the stream is broken, the venue must
resynchronise. -10 and below: the frame itself is refused, and the venue resynchronises too.
Runs on: any thread (constants only).
"""

from __future__ import annotations

APPLIED = 0
OLD = 1
OTHER = 2
UNKNOWN_SYMBOL = 3
BUFFER = 4
APPLIED_AND_BUFFER = 5
RESUMED = 6
SNAPSHOT = 7
OUT_OF_TIME = 8
"""Not taken yet: its time is later or earlier than the feed's bounds allow."""
SAME_TIME = 9
LARGE = 10
"""Not read: too large for the engine thread."""
SEVERAL = 11
"""Not taken: its list holds several messages, to be handed over one by one."""

GAP = -1
BACKWARDS = -2
CROSSED_TOO_LONG = -3
BAD_CHECKSUM = -4

BAD_JSON = -10
BAD_UTF8 = -11
TOO_DEEP = -12
BAD_SCHEMA = -13
BAD_DECIMAL = -14
BAD_PRICE = -15
BAD_QUANTITY = -16
TOO_MANY_LEVELS = -17
BAD_IDS = -18

TEXTS = {
    APPLIED: "applied",
    OLD: "older than the book",
    OTHER: "not a book frame",
    UNKNOWN_SYMBOL: "a symbol that was not asked for",
    BUFFER: "to be buffered",
    APPLIED_AND_BUFFER: "applied, and to be buffered",
    RESUMED: "applied after a silence",
    SNAPSHOT: "a whole book in the stream",
    OUT_OF_TIME: "later or earlier than it may be",
    SAME_TIME: "another change of the same time",
    LARGE: "a large frame, to be read by another thread",
    SEVERAL: "several books' messages in one frame",
    GAP: "sequence gap",
    BACKWARDS: "time ran backwards",
    CROSSED_TOO_LONG: "book crossed for too long",
    BAD_CHECKSUM: "the book's checksum differs",
    BAD_JSON: "not JSON",
    BAD_UTF8: "not UTF-8",
    TOO_DEEP: "nested too deep",
    BAD_SCHEMA: "a field is missing, doubled or of another type",
    BAD_DECIMAL: "not a plain decimal number",
    BAD_PRICE: "a price that is zero or no multiple of the tick",
    BAD_QUANTITY: "a quantity that does not fit",
    TOO_MANY_LEVELS: "more levels than a frame may have",
    BAD_IDS: "update ids that contradict each other",
}
"""One text for every status: for logs, counters' labels and errors."""

UNFIT = (BAD_PRICE, BAD_QUANTITY)
"""Perhaps only for the units that the feed counts in: others may hold them."""

REFUSALS = tuple(sorted((code for code in TEXTS if code <= BAD_JSON), reverse=True))
