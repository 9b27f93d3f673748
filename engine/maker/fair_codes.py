"""Whether there is a fair price, and why not: the statuses and one text for each.

Runs on: any thread (constants only).
"""

from __future__ import annotations

NOT_COMPUTED = 0
"""Words that nobody has written yet say this, never that there is a price."""
AVAILABLE = 1
NO_VENUE_LIVE = 2
TOO_OLD = 3
EMPTY = 4
ONE_SIDED = 5
CROSSED = 6
NOT_FINITE = 7
BASIS = 8
NO_RATE = 9

TEXTS = {
    NOT_COMPUTED: "not computed yet",
    AVAILABLE: "available",
    NO_VENUE_LIVE: "no venue that counts is live",
    TOO_OLD: "the book is older than allowed, or from the future",
    EMPTY: "the book is empty",
    ONE_SIDED: "the book has one side only",
    CROSSED: "the book is crossed by more than allowed",
    BASIS: "venues that quote in different currencies are crossed by more than allowed",
    NO_RATE: "the market that a venue's rate is taken from gives none",
    NOT_FINITE: "the price is no finite number above zero",
}
"""One text for every status: for logs, counters' labels and errors."""
