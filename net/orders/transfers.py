"""Deposits and withdrawals, as the venues' histories have them.

Runs on: any thread (no state).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Transfer(NamedTuple):
    """Money that has come into an account or gone out of it, for good."""

    number: int
    """What it is known by: see `transfer_number`."""
    lots: int
    """By how much it has changed what the account holds of its asset, fees included."""
    time_ns: int
    """When the account was changed, by the venue's clock."""


def transfer_number(name: str) -> int:
    """A venue's name of a transfer as a number of 63 bits; no two names are likely to share one.

    Names of deposits and of withdrawals may be alike: `name` says which it is.
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1
