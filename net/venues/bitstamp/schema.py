"""Bitstamp: the form of its book messages and the rule that joins them.

The microtimestamp is the only id there is: it rises, and a lost message cannot be seen.
Source: the exchange's WebSocket v2 page.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_TIME, JOIN_WITHIN, SNAPSHOT_REST, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, MessageSchema

CHANNEL = "diff_order_book_"
"""Before the pair, in a channel's name."""

_BOOK = (
    Key("microtimestamp", schema.FIELD_LAST_ID, is_quoted=True),
    Key("timestamp", schema.FIELD_IGNORED),
    Key("bids", schema.FIELD_BIDS),
    Key("asks", schema.FIELD_ASKS),
)

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("data", schema.FIELD_ENVELOPE),
            Key("event", schema.FIELD_EVENT, is_outside=True),
            Key("channel", schema.FIELD_TOPIC, is_outside=True),
            *_BOOK,
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.US,
        is_time_the_id=True,
        diff="data",
        topic=CHANNEL,
    ),
    continuity=CONTINUITY_TIME,
    source=SNAPSHOT_REST,
    snapshot=MessageSchema(
        keys=_BOOK,
        ids=schema.IDS_ONE,
        time_unit_ns=schema.US,
        is_time_the_id=True,
        is_snapshot=True,
    ),
    join=JOIN_WITHIN,
)
