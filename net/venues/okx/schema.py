"""OKX v5: the form of its book messages and the rules by which a book is kept.

A message names the one before it, and that alone is tested: after maintenance ids begin anew, and a
message that says that nothing has changed has the id of the one before. The whole book comes in the
stream, or by REST where the stream brings none. The checksum is that of 2021 to 2026; since June
2026 it is zero, which means none. Before 2023 there were no ids, but each message had a checksum.
Source: the exchange's v5 pages "Order book channel" and "Get order book", and its change log.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CHECKSUM_TEXT, CONTINUITY_LINK, SNAPSHOT_EITHER, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema

CHANNEL = "books"
DEPTH = 400
"""Levels a side that the venue keeps: it deletes what leaves them."""

_LEVELS = LevelForm(schema.LEVELS_LONGER)

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("arg", schema.FIELD_HEADER),
            Key("channel", schema.FIELD_TOPIC, is_outside=True),
            Key("instId", schema.FIELD_SYMBOL, is_outside=True),
            Key("action", schema.FIELD_EVENT, is_outside=True),
            Key("data", schema.FIELD_ENVELOPE),
            Key("asks", schema.FIELD_ASKS),
            Key("bids", schema.FIELD_BIDS),
            Key("ts", schema.FIELD_TIME, is_quoted=True),
            Key("checksum", schema.FIELD_CHECKSUM, is_optional=True),
            Key("prevSeqId", schema.FIELD_PREVIOUS_ID, is_optional=True),
            Key("seqId", schema.FIELD_LAST_ID, is_optional=True),
        ),
        ids=schema.IDS_LINK,
        time_unit_ns=schema.MS,
        levels=_LEVELS,
        diff="update",
        snapshot="snapshot",
        topic=CHANNEL,
        is_topic_prefix=True,  # of books-l2-tbt too; books5 has no action
        is_listed=True,
    ),
    continuity=CONTINUITY_LINK,
    source=SNAPSHOT_EITHER,
    snapshot=MessageSchema(
        keys=(
            Key("data", schema.FIELD_ENVELOPE),
            Key("asks", schema.FIELD_ASKS),
            Key("bids", schema.FIELD_BIDS),
            Key("ts", schema.FIELD_TIME, is_quoted=True),
            Key("seqId", schema.FIELD_LAST_ID),
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.MS,
        levels=_LEVELS,
        is_snapshot=True,
        is_listed=True,
    ),
    checksum=CHECKSUM_TEXT,
)
