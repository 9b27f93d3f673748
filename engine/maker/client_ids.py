"""The ids of own orders: one number inside, a short text at the venue.

epoch << 32 | sequence: the epoch is given at start and larger than that of every earlier run, the
sequence counts the run's orders, so an id is unique across restarts. By the prefix an order that
is found at a venue is known to be ours.
Runs on: the engine thread.
"""

from __future__ import annotations

import re

from engine.maker import order_layout as O

CLIENT_ID_PREFIX = "pollux"
_CLIENT_ID = re.compile(CLIENT_ID_PREFIX + r"-([0-9a-f]{8})-([0-9a-f]{8})", re.ASCII)


def format_client_id(order_id: int) -> str:
    """An order's id as venues take it: 24 characters of [a-z0-9-]."""
    epoch, sequence = order_id >> 32, order_id & O.SEQUENCE_MAX
    if not (1 <= epoch <= O.EPOCH_MAX and sequence >= 1):
        raise ValueError(f"{order_id} is no order id of this program")
    return f"{CLIENT_ID_PREFIX}-{epoch:08x}-{sequence:08x}"


def parse_client_id(text: str) -> int | None:
    """The order's id, or None for an order that is not this program's."""
    found = _CLIENT_ID.fullmatch(text)
    if found is None:
        return None
    epoch, sequence = int(found[1], 16), int(found[2], 16)
    if not (1 <= epoch <= O.EPOCH_MAX and sequence >= 1):
        return None
    return epoch << 32 | sequence
