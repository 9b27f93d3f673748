"""Coinbase Advanced Trade: the form of its level2 messages and the rules by which a book is kept.

One number counts every frame of a connection, over all channels, products and acknowledgements: a
gap leaves no book of the connection certain. A frame may hold several events, of one product or of
more; each of the recorded ones holds one. Deletes of levels that are not there are usual.
Source: the exchange's Advanced Trade WebSocket pages, and recordings of 2026-08-09.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_STEP, SNAPSHOT_STREAM, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema

CHANNEL = "level2"
DATA_CHANNEL = "l2_data"

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("channel", schema.FIELD_TOPIC, is_outside=True),
            Key("timestamp", schema.FIELD_TIME, is_outside=True),
            Key("sequence_num", schema.FIELD_LAST_ID, is_outside=True),
            Key("events", schema.FIELD_ENVELOPE),
            Key("type", schema.FIELD_EVENT),
            Key("product_id", schema.FIELD_SYMBOL),
            Key("updates", schema.FIELD_LEVELS),
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.ISO_TEXT,
        levels=LevelForm(
            schema.LEVELS_SIDED,
            price_key="price_level",
            qty_key="new_quantity",
            side_key="side",
            bid="bid",
            ask="offer",
        ),
        diff="update",
        snapshot="snapshot",
        topic=DATA_CHANNEL,
        is_listed=True,
    ),
    continuity=CONTINUITY_STEP,
    source=SNAPSHOT_STREAM,
    is_connection_wide=True,
)
