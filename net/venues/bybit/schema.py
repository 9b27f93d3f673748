"""Bybit v5: the form of its book messages and the rules by which a book is kept.

Ids step by one in each topic; that is measured and not promised, so a gap costs a subscription.
The category (spot, linear) is in the address alone: both write the same topics. Keys come in
different orders. Source: the exchange's v5 page "Orderbook", and recordings of 2024 to 2026.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_STEP, SNAPSHOT_STREAM, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, MessageSchema

TOPIC = "orderbook."

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("topic", schema.FIELD_TOPIC, is_outside=True),
            Key("type", schema.FIELD_EVENT, is_outside=True),
            Key("ts", schema.FIELD_TIME, is_outside=True),
            Key("data", schema.FIELD_ENVELOPE),
            Key("s", schema.FIELD_SYMBOL),
            Key("b", schema.FIELD_BIDS),
            Key("a", schema.FIELD_ASKS),
            Key("u", schema.FIELD_LAST_ID),
            Key("seq", schema.FIELD_IGNORED),
            Key("cts", schema.FIELD_IGNORED, is_outside=True),
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.MS,
        diff="delta",
        snapshot="snapshot",
        topic=TOPIC,
        is_topic_prefix=True,  # the depth and the symbol follow
    ),
    continuity=CONTINUITY_STEP,
    source=SNAPSHOT_STREAM,
)
