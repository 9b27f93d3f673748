"""Gemini, marketdata v2: the form of its level messages and the rules by which a book is kept.

There are no ids and no times: the first message after a subscription is the whole book, and alone
has the last trades in it. Nothing shows a lost message but a crossed book, so the book is asked for
anew every few minutes. Source: the exchange's page "Market data v2", and recordings of 2021.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_NONE, SNAPSHOT_STREAM, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema

UPDATES = "l2_updates"

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("type", schema.FIELD_EVENT),
            Key("symbol", schema.FIELD_SYMBOL),
            Key("changes", schema.FIELD_LEVELS),
            Key("trades", schema.FIELD_WHOLE),
        ),
        ids=schema.IDS_NONE,
        levels=LevelForm(schema.LEVELS_SIDED_ARRAYS, bid="buy", ask="sell"),
        diff=UPDATES,
    ),
    continuity=CONTINUITY_NONE,
    source=SNAPSHOT_STREAM,
)
