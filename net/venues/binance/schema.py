"""Binance spot: the form of its depth messages and the rule that joins them.

Sources: the exchange's web-socket-streams.md ("How to manage a local order book correctly") and
rest-api.md. Event times are milliseconds, or microseconds where a connection asks for them.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_RANGE, SNAPSHOT_REST, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, MessageSchema

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("data", schema.FIELD_ENVELOPE, is_optional=True),
            Key("b", schema.FIELD_BIDS),
            Key("a", schema.FIELD_ASKS),
            Key("u", schema.FIELD_LAST_ID),
            Key("U", schema.FIELD_FIRST_ID),
            Key("e", schema.FIELD_EVENT),
            Key("E", schema.FIELD_TIME),
            Key("s", schema.FIELD_SYMBOL),
        ),
        ids=schema.IDS_RANGE,
        time_unit_ns=schema.MS_OR_US,
        diff="depthUpdate",
    ),
    continuity=CONTINUITY_RANGE,
    source=SNAPSHOT_REST,
    snapshot=MessageSchema(
        keys=(
            Key("lastUpdateId", schema.FIELD_LAST_ID),
            Key("bids", schema.FIELD_BIDS),
            Key("asks", schema.FIELD_ASKS),
        ),
        ids=schema.IDS_ONE,
        is_snapshot=True,
    ),
)
