"""A trade as one line of text: for people (plain) or for programs (JSON), with exact decimals.

Runs on: any thread, pure.
"""

from __future__ import annotations

import json

from net.client.book_lines import time_text
from net.client.decimals import decimal_text
from proto.pollux.v1 import market_data_pb2 as pb

SIDES = {pb.AGGRESSOR_SIDE_BUY: "buy", pb.AGGRESSOR_SIDE_SELL: "sell"}
"""A side as people call it."""


def _numbers(trade: pb.Trade) -> tuple[str, str]:
    price = decimal_text(trade.price_units, trade.price_decimals)
    return price, decimal_text(trade.amount_units, trade.amount_decimals)


def trade_line(trade: pb.Trade) -> str:
    """One trade for a person's eye: time, number, side, price, amount, venue, what was lost."""
    price, amount = _numbers(trade)
    side = SIDES.get(trade.aggressor_side, "?")
    return "  ".join(
        [
            f"{time_text(trade.receive_time_ns)} {trade.symbol} #{trade.sequence}",
            f"{side:<4} {price} x {amount} {trade.venue}",
            *([f"{trade.lost} LOST before it"] if trade.lost else []),
        ]
    )


def trade_json_line(trade: pb.Trade) -> str:
    """The line that `pollux watch --trades --json` prints."""
    price, amount = _numbers(trade)
    facts = {
        "seq": trade.sequence,
        "t": trade.receive_time_ns,
        "venue_t": trade.venue_time_ns,
        "symbol": trade.symbol,
        "venue": trade.venue,
        "id": trade.venue_trade_id,
        "side": SIDES.get(trade.aggressor_side),
        "price": price,
        "amount": amount,
        "book_seq": trade.book_sequence,
        "lost": trade.lost,
    }
    return json.dumps(facts, separators=(",", ":"))
