"""How a venue's book is known to be right, in words: for subscribers, the page and the README.

Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_TIME, SNAPSHOT_EACH
from engine.decoding.schema import FIELD_CHECKSUM
from net.venues.interface import VenueProtocol


def checked_by(venue: VenueProtocol) -> str:
    """Every check there is, made of the facts by which the feeds keep the book; never empty.

    A book whose stream shows no lost frame says so first.
    """
    rules = venue.rules
    found = []
    if rules.has_gap_detection:
        scope = "the connection" if rules.is_connection_wide else "each frame"
        found.append(f"sequence of {scope}")
    elif rules.continuity == CONTINUITY_TIME:
        found.append("times only")
    elif not rules.is_self_checking:
        found.append("no gap detection")
    sums = [key for key in rules.frame.keys if key.field == FIELD_CHECKSUM]
    if sums:
        found.append("CRC32 where sent" if sums[0].is_optional else "CRC32 of each frame")
    if rules.source == SNAPSHOT_EACH:
        found.append("whole book in each frame")
    # What net.feed.book_sync does while a book is LIVE.
    if rules.snapshot is not None:
        found.append(f"audit every {venue.audit_interval_s} s")
    elif not rules.is_self_checking:
        found.append(f"whole book anew every {venue.audit_interval_s} s")
    return ", ".join(found)
