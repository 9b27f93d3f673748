"""Deposits and withdrawals that explain what an account holds beyond what was counted.

A difference at the start halts quoting. The venue's own history is then read: where completed
transfers since the account and the ledger last agreed come to it exactly, the neutral holding moves
with them and the position stays, as `pollux accept` would have it. All else waits for an operator.
The history is read again now and then, since a withdrawal is booked before it is complete.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from engine.layout.units import NS_PER_S
from net.maker.accounts import Accounts
from net.maker.recovery import Recovery
from net.orders.interface import VenueEntry
from net.orders.transfers import Transfer

READ_EVERY_NS = 60 * NS_PER_S
"""The dearest history costs a tenth of what its venue lets an account ask in a minute."""
SLACK_NS = 60 * NS_PER_S
"""A balance and a transfer that were booked so close together may have met or not: the venue's
clock is not ours, and some histories count in seconds."""


def explain(
    difference_lots: int,
    transfers: Iterable[Transfer],
    counted: Container[int],
    settled_ns: int,
    read_ns: int,
) -> tuple[Transfer, ...]:
    """The transfers that come to a difference exactly; () where none do.

    `settled_ns`: when the account last held what was known, `read_ns`: when it was seen to hold
    something else. What was booked between the two is in the difference; what was booked close to
    either may be; what is `counted` is not. Of several explanations the one with the most counts.
    """
    first_ns, last_ns = settled_ns - SLACK_NS, read_ns + SLACK_NS
    known = (each for each in transfers if first_ns <= each.time_ns <= last_ns)
    by_number = {each.number: each for each in known if each.number not in counted}
    found = sorted(by_number.values(), key=lambda each: each.time_ns)
    surely = [
        at
        for at, each in enumerate(found)
        if settled_ns + SLACK_NS < each.time_ns < read_ns - SLACK_NS
    ]
    begin_max, end_min = (surely[0], surely[-1] + 1) if surely else (len(found), 0)
    parts = [
        found[begin:end]
        for begin in range(begin_max + 1)
        for end in range(max(end_min, begin + 1), len(found) + 1)
    ]
    fits = [part for part in parts if sum(each.lots for each in part) == difference_lots]
    return max(map(tuple, fits), key=len, default=())


class TransferReader:
    """Of one market maker's disputed accounts."""

    def __init__(self, accounts: Accounts, recovery: Recovery) -> None:
        self._accounts = accounts
        self._recovery = recovery
        self._due_ns: dict[int, int] = {}

    def on_timer(self, venue: int, entry: VenueEntry, now_ns: int) -> None:
        """Have the history read where the account is disputed; the entry is READY."""
        start, since_ns = self._recovery.starts[venue], self._accounts.settled_ns(venue)
        if start is None or not start.difference_lots or since_ns is None:
            return
        if now_ns >= self._due_ns.get(venue, now_ns):
            self._due_ns[venue] = now_ns + READ_EVERY_NS
            entry.read_transfers(self._accounts.base_of(venue), since_ns - SLACK_NS, now_ns)

    def take(self, venue: int, transfers: Iterable[Transfer]) -> tuple[Transfer, ...]:
        """A history; what explains the difference is counted, and is for `accept`."""
        start, settled_ns = self._recovery.starts[venue], self._accounts.settled_ns(venue)
        if start is None or not start.difference_lots or settled_ns is None:
            return ()
        counted, read_ns = self._accounts.counted_transfers(venue), self._accounts.read_ns[venue]
        found = explain(start.difference_lots, transfers, counted, settled_ns, read_ns)
        for each in found:
            self._accounts.count_transfer(venue, each)
        return found
