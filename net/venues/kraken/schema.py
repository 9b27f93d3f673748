"""Kraken spot, WebSocket v2: the form of its book messages and the rules by which a book is kept.

There are no ids. Each message has a checksum of the book's best ten levels; a message sets all its
levels in order, and then each side is cut to the subscribed depth, for no delete is sent of what
falls out of it. Source: the exchange's WebSocket v2 pages "book" and "book checksum".
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CHECKSUM_DIGITS, CONTINUITY_NONE, SNAPSHOT_STREAM, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema

CHANNEL = "book"
DEPTH = 10
"""Levels a side that are subscribed: all of them are in the checksum, so all that is shown is
verified."""

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("channel", schema.FIELD_TOPIC, is_outside=True),
            Key("type", schema.FIELD_EVENT, is_outside=True),
            Key("data", schema.FIELD_ENVELOPE),
            Key("symbol", schema.FIELD_SYMBOL),
            Key("bids", schema.FIELD_BIDS),
            Key("asks", schema.FIELD_ASKS),
            Key("checksum", schema.FIELD_CHECKSUM),
            Key("timestamp", schema.FIELD_TIME),
        ),
        ids=schema.IDS_NONE,
        time_unit_ns=schema.ISO_TEXT,
        levels=LevelForm(schema.LEVELS_OBJECTS, is_quoted=False, price_key="price", qty_key="qty"),
        diff="update",
        snapshot="snapshot",
        topic=CHANNEL,
        is_listed=True,
    ),
    continuity=CONTINUITY_NONE,
    source=SNAPSHOT_STREAM,
    checksum=CHECKSUM_DIGITS,
    bound=DEPTH,
)
