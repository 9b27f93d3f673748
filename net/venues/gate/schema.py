"""Gate spot: the form of its book messages and the rule that joins them.

Source: the exchange's page "Changed order book levels" (v4), and recordings of 2021. Quantities
have up to ten decimals.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_RANGE, SNAPSHOT_REST, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, MessageSchema

CHANNEL = "spot.order_book_update"

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("time", schema.FIELD_IGNORED, is_outside=True),
            Key("time_ms", schema.FIELD_IGNORED, is_outside=True),
            Key("result", schema.FIELD_ENVELOPE),
            Key("t", schema.FIELD_TIME),
            Key("e", schema.FIELD_EVENT),
            Key("E", schema.FIELD_IGNORED),
            Key("s", schema.FIELD_SYMBOL),
            Key("U", schema.FIELD_FIRST_ID),
            Key("u", schema.FIELD_LAST_ID),
            Key("b", schema.FIELD_BIDS),
            Key("a", schema.FIELD_ASKS),
        ),
        ids=schema.IDS_RANGE,
        time_unit_ns=schema.MS,
        diff="depthUpdate",
    ),
    continuity=CONTINUITY_RANGE,
    source=SNAPSHOT_REST,
    snapshot=MessageSchema(
        keys=(
            Key("id", schema.FIELD_LAST_ID),
            Key("update", schema.FIELD_TIME, is_optional=True),
            Key("asks", schema.FIELD_ASKS),
            Key("bids", schema.FIELD_BIDS),
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.MS,
        is_snapshot=True,
    ),
)
