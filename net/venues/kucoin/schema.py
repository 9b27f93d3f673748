"""KuCoin spot, classic level2: the form of its book messages and the rule that joins them.

A change whose price is zero only moves the sequence. The levels stand in an object within the data,
each with its own sequence behind it. Source: the exchange's page "Level2 market data", and
recordings of 2021.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from engine.book.rules import CONTINUITY_RANGE, SNAPSHOT_REST, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema

TOPIC = "/market/level2:"

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("topic", schema.FIELD_TOPIC, is_outside=True),
            Key("data", schema.FIELD_ENVELOPE),
            Key("changes", schema.FIELD_INNER),
            Key("asks", schema.FIELD_ASKS),
            Key("bids", schema.FIELD_BIDS),
            Key("sequenceStart", schema.FIELD_FIRST_ID),
            Key("sequenceEnd", schema.FIELD_LAST_ID),
            Key("time", schema.FIELD_TIME, is_optional=True),
        ),
        ids=schema.IDS_RANGE,
        time_unit_ns=schema.MS,
        levels=LevelForm(schema.LEVELS_LONGER),
        topic=TOPIC,
    ),
    continuity=CONTINUITY_RANGE,
    source=SNAPSHOT_REST,
    snapshot=MessageSchema(
        keys=(
            Key("data", schema.FIELD_ENVELOPE),
            Key("sequence", schema.FIELD_LAST_ID, is_quoted=True),
            Key("time", schema.FIELD_TIME, is_optional=True),
            Key("bids", schema.FIELD_BIDS),
            Key("asks", schema.FIELD_ASKS),
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.MS,
        is_snapshot=True,
    ),
    has_zero_prices=True,
)
