"""Rows of Bitstamp's lists: times, and the transactions that are no trades.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from datetime import UTC, datetime

from net.simulator.clock import NS_PER_S
from net.simulator.orders.accounts import Transfer
from net.simulator.orders.amounts import lots_text


def datetime_text(time_ns: int) -> str:
    """2023-01-31 14:43:15.796000."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % NS_PER_S // 1_000:06d}"


def transfer_row(made: Transfer) -> dict[str, object]:
    """A deposit, of type 0, or a withdrawal, of type 1, whose amount is below zero."""
    is_in = made.lots >= 0
    return {
        "id": made.transfer_id,
        "datetime": datetime_text(made.time_ns),
        "type": "0" if is_in else "1",
        "fee": lots_text(made.fee_lots),
        made.asset.lower(): ("" if is_in else "-") + lots_text(abs(made.lots)),
    }
