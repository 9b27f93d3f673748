"""A third venue that only tests have, and the front door with it in the registry: a program.

    python -m tests.net.venues.toy replay TAPE --config FILE

Its messages are of another form than those of the venues in the tree: bare JSON numbers, levels as
objects, times as text, whole books in the stream, ids that step by one, no REST snapshot.
Runs on: the tests' thread; as a program, as pollux does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from engine.book.rules import CONTINUITY_STEP, SNAPSHOT_STREAM, BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema
from net.venues.interface import Control, Listing, MetadataError, OwnSettings, RestLimit
from net.venues.registry import VENUES

RULES = BookRules(
    frame=MessageSchema(
        keys=(
            Key("channel", schema.FIELD_TOPIC),
            Key("type", schema.FIELD_EVENT),
            Key("symbol", schema.FIELD_SYMBOL),
            Key("seq", schema.FIELD_LAST_ID),
            Key("time", schema.FIELD_TIME),
            Key("bids", schema.FIELD_BIDS),
            Key("asks", schema.FIELD_ASKS),
        ),
        ids=schema.IDS_ONE,
        time_unit_ns=schema.ISO_TEXT,
        levels=LevelForm(schema.LEVELS_OBJECTS, is_quoted=False, price_key="price", qty_key="qty"),
        diff="update",
        snapshot="snapshot",
        topic="book",
    ),
    continuity=CONTINUITY_STEP,
    source=SNAPSHOT_STREAM,
)


def subscription(symbol: str, method: str = "subscribe") -> bytes:
    """What a client asks for: a whole book, then what changes."""
    return orjson.dumps({"method": method, "channel": "book", "symbol": symbol})


class Toy:
    """Market data only."""

    name = "toy"
    rules = RULES
    ws_url = "wss://toy.invalid"
    rest_url = "https://toy.invalid"
    trade_url = ""
    rest_limit = RestLimit(weight_max=100, window_s=1)
    own_settings = OwnSettings
    used_weight_header = ""
    has_acknowledgements = True
    has_contracts = False
    metadata_weight = 1
    audit_interval_s = 1
    connection_age_max_s = 3600
    maker_fee_ppm = 0
    orders = None

    def stream_url(self, ws_url: str, symbols: Sequence[str], own: OwnSettings) -> str:
        return ws_url

    @property
    def token_path(self) -> str:
        return ""

    def token_address(self, url: str, answer: Any) -> str:
        raise ValueError

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        return [subscription(symbol) for symbol in symbols]

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return [subscription(symbol, "again")]

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return []

    def trades(self, message: Any) -> None:
        return None

    def heartbeat(self) -> bytes | None:
        return None

    @property
    def heartbeat_answer(self) -> bytes:
        return b""

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        return (0,)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        raise AssertionError("whole books come in the stream")

    def snapshot_weight(self, depth: int) -> int:
        raise AssertionError("whole books come in the stream")

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        return None

    def ban_end_ms(self, body: Any) -> int | None:
        return None

    def metadata_path(self, symbol: str) -> str:
        return "/markets"

    def has_no_symbol(self, body: Any) -> bool:
        return False

    def is_metadata(self, path: str) -> bool:
        return path == "/markets"

    def tick_size(self, body: Any, symbol: str) -> str:
        raise MetadataError("toy: ticks are configured")

    def listing(self, body: Any, symbol: str) -> Listing:
        return Listing(self.tick_size(body, symbol))

    def control(self, message: Any) -> tuple[Control, str]:
        if isinstance(message, dict) and message.get("type") == "subscribed":
            return Control.SUBSCRIBED, ""
        return Control.UNKNOWN, "a message of unknown form"


TOY = Toy()

if __name__ == "__main__":
    VENUES[TOY.name] = TOY

    from pollux import main

    main()
