"""Binance USD-M futures: the form of their depth messages and the rule that joins them.

Ids are shared by the whole matching engine, so they jump; each message names the last id of the one
before it. Sources: the exchange's pages "Diff. Book Depth Streams" and "How to manage a local order
book correctly", and recordings of 2021 and 2024.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_CHAIN, SNAPSHOT_REST, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, MessageSchema

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("data", schema.FIELD_ENVELOPE, is_optional=True),
            Key("b", schema.FIELD_BIDS),
            Key("a", schema.FIELD_ASKS),
            Key("u", schema.FIELD_LAST_ID),
            Key("pu", schema.FIELD_PREVIOUS_ID),
            Key("e", schema.FIELD_EVENT),
            Key("E", schema.FIELD_TIME),
            Key("s", schema.FIELD_SYMBOL),
            Key("U", schema.FIELD_IGNORED),
            Key("T", schema.FIELD_IGNORED),
        ),
        ids=schema.IDS_PREVIOUS,
        time_unit_ns=schema.MS,
        diff="depthUpdate",
    ),
    continuity=CONTINUITY_CHAIN,
    source=SNAPSHOT_REST,
    # A snapshot joins where the stream's first frame goes on from no later an id: between that
    # and the snapshot's this market has not changed, whatever U says.
    snapshot=MessageSchema(
        keys=(
            Key("lastUpdateId", schema.FIELD_LAST_ID),
            Key("E", schema.FIELD_TIME, is_optional=True),
            Key("bids", schema.FIELD_BIDS),
            Key("asks", schema.FIELD_ASKS),
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.MS,
        is_snapshot=True,
    ),
)
