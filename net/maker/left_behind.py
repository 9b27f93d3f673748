"""Orders of earlier runs where nothing is quoted now: cancelled until their venues show none.

An account that the journal names, and that this run does not quote (a venue that was switched off,
another symbol), is read over a connection of its own and swept as the watchdog does
(net.orders.sweep). Nothing is quoted meanwhile. No I/O and no clock.
Runs on: the main thread's loop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from net.journal.ledger import Account
from net.log.note import Note
from net.maker.risk_report import MakerHost
from net.orders.errors import Refusal
from net.orders.interface import Opening, VenueEntry
from net.orders.messages import OrderEvent, OrderRequest
from net.orders.sweep import Sweep
from net.sockets.backoff import Backoff

PRESS_MS = (1_000, 500, 15_000)
"""Between two attempts to cancel the same orders: the least, what is added at first, the most."""
TROUBLE_WAIT_NS = 10_000_000_000
"""Where a venue refuses us and names no time."""


class LeftBehind:
    """A net.orders.interface.EntryHost whose `venue` is an account's place in `accounts`."""

    def __init__(
        self,
        accounts: Sequence[Account],
        epoch: int,
        host: MakerHost,
        on_clean: Callable[[Account], None],
    ) -> None:
        """`epoch`: this run's; orders of later ones are another market maker's. `on_clean` is
        called once for each account, when nothing of ours is open there."""
        self._accounts = accounts
        self._epoch = epoch
        self._host = host
        self._on_clean = on_clean
        self._entries: dict[int, VenueEntry] = {}
        self._sweeps: dict[int, Sweep] = {}
        """Of those that are not clean yet."""

    @property
    def is_done(self) -> bool:
        """Whether every account that was attached is clean."""
        return not self._sweeps

    def attach(self, venue: int, entry: VenueEntry) -> None:
        """Give an account its order entry."""
        backoff = Backoff(random.Random(), *PRESS_MS)
        sweep = self._sweeps[venue] = Sweep(entry, self._epoch, backoff)
        self._entries[venue] = entry
        sweep.begin(())

    def on_timer(self, now_ns: int) -> None:
        """Called several times a second: the next steps, and who is clean."""
        for entry in self._entries.values():
            entry.on_timer(now_ns)
        for venue, sweep in list(self._sweeps.items()):
            sweep.on_timer(now_ns)
            if sweep.is_confirmed:
                del self._sweeps[venue]
                text = "no order of an earlier run is open where nothing is quoted now"
                self._note(venue, "info", text, cancelled=sweep.found)
                self._on_clean(self._accounts[venue])

    def _note(self, venue: int, level: str, what: str, **facts: object) -> None:
        account = self._accounts[venue]
        self._host.note_maker(level, what, venue=account.venue, market=account.market, **facts)

    # --- what the venues tell --------------------------------------------------------------------

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        if venue in self._sweeps:
            self._sweeps[venue].take_answer(asked.order_id, events)

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        """The order stays among the open ones, and is pressed again."""

    def on_push(self, venue: int, events: object, balances: object, now_ns: int) -> None:
        """What was filled is found in the trades, once the account is quoted again."""

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        if venue in self._sweeps:
            self._sweeps[venue].take_reading(opening, now_ns)

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        """Never asked for."""

    def on_transfers(self, venue: int, transfers: object, now_ns: int) -> None:
        """Never asked for."""

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        if venue in self._sweeps:
            self._sweeps[venue].lose()
            self._note(venue, "warning", "order entry lost", reason=reason)

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        if venue in self._sweeps:
            wait_ns = refusal.wait_ns if refusal.wait_ns > 0 else TROUBLE_WAIT_NS
            self._sweeps[venue].wait(wait_ns, now_ns)
        facts = {"meaning": refusal.error.value, "reason": refusal.text}
        self._note(venue, "error", "trouble at a venue", **facts)

    def wall_ns(self) -> int:
        return self._host.wall_ns()

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        self._note(venue, note.level, note.text, **facts)
