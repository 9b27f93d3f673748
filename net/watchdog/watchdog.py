"""When the watchdog acts, and when it is done.

    WATCHING -> no heartbeat, the process gone, or the end left orders open        -> CLEARING
    CLEARING -> no order of ours is open at any venue                              -> CLEAR
    CLEARING, CLEAR -> the engine, which had only hung, has taken the kill         -> WATCHING

An engine that ends in order, with nothing open, ends the watch too. The kill is asked for when an
engine falls silent, so that it is the first thing that it finds when it goes on.
No I/O but the board, and no clock.
Runs on: the main thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum

from engine.layout.units import NS_PER_MS, NS_PER_S
from engine.maker.state_board import StateBoardError, StateBoardReader
from net.log.log_function import LogFunction
from net.log.note import Note
from net.orders.errors import Refusal
from net.orders.interface import Opening, VenueEntry
from net.orders.messages import OrderEvent, OrderRequest
from net.orders.sweep import Sweep
from net.sockets.backoff import Backoff
from net.watchdog.heartbeat import LOOK_COUNTS_NS_MAX, HeartbeatMonitor

PRESS_FLOOR_MS, PRESS_FIRST_MS, PRESS_LIMIT_MS = 1_000, 500, 15_000
"""Between two attempts to cancel the same orders."""
TROUBLE_WAIT_NS = 10 * NS_PER_S
"""Where a venue refuses us and names no time: the length of a usual window of orders."""
GIVE_UP_NS = 3600 * NS_PER_S
"""A watchdog whose daemon has ended tries for so long, not counting what the host slept. By then
somebody has read the log."""
TERMINATED = 143
"""The exit status after SIGTERM, as a shell says it: the engine hangs, and nothing is open."""


class Phase(Enum):
    """Where the watch stands."""

    WATCHING = "watching"
    CLEARING = "clearing"
    CLEAR = "clear"


class Cause(Enum):
    """Why there is something to do; the last two are for ever."""

    SILENT = "the engine's heart has stopped"
    LEFT = "the engine has ended and left orders open"
    GONE = "the daemon's process is gone"


class Watchdog:
    """The watch over one market maker: a net.orders.interface.EntryHost. `is_gone`: whether the
    daemon's process has ended; `now_ns`: steady time (tuning.clock), `wall_ns`: what time it is."""

    def __init__(
        self,
        board: StateBoardReader,
        last_epoch: int,
        silent_ns_max: int,
        is_gone: Callable[[], bool],
        log: LogFunction,
        now_ns: int,
        wall_ns: Callable[[], int],
    ) -> None:
        self.phase = Phase.WATCHING
        self._board = board
        self._last_epoch = last_epoch
        self._silent_ns_max = silent_ns_max
        self._is_gone = is_gone
        self._log = log
        self._now_ns = now_ns
        self._pulse = HeartbeatMonitor(board.heartbeat_ns, now_ns)
        self.wall_ns = wall_ns
        self._cause: Cause | None = None
        self._begun_ns = self._tried_ns = 0
        self._kill_asked: int | None = None
        self._entries: dict[int, VenueEntry] = {}
        self._sweeps: dict[int, Sweep] = {}
        self._unready: set[int] = set()

    def attach(self, venue: int, entry: VenueEntry) -> None:
        """Give a quoted venue its order entry."""
        self._entries[venue] = entry
        backoff = Backoff(random.Random(), PRESS_FLOOR_MS, PRESS_FIRST_MS, PRESS_LIMIT_MS)
        self._sweeps[venue] = Sweep(entry, self._last_epoch, backoff)
        self._unready.add(venue)

    @property
    def has_been_ready(self) -> bool:
        """Whether every venue has accepted our keys and shown the account."""
        return not self._unready

    # --- time ------------------------------------------------------------------------------------

    def on_timer(self, now_ns: int, *, is_terminated: bool = False) -> int | None:
        """Look, and do what is due; the exit status when the watch is over."""
        self._tried_ns += min(now_ns - self._now_ns, LOOK_COUNTS_NS_MAX)
        self._now_ns = now_ns
        # In this order: who is gone closes nothing any more.
        is_gone = self._is_gone()
        is_closed = self._board.is_closed
        silent_ns = self._pulse.look(self._board.heartbeat_ns, now_ns)
        for entry in self._entries.values():
            entry.on_timer(now_ns)
        if is_closed and self._cause in (None, Cause.SILENT):
            if not self._orders_on_board():
                return 0
            self._begin(Cause.LEFT)
        elif is_gone and self._cause in (None, Cause.SILENT):
            self._begin(Cause.GONE)
        elif self._cause is None and silent_ns > self._silent_ns_max:
            self._begin(Cause.SILENT)
        elif self._cause is Cause.SILENT and silent_ns == 0 and self._has_taken_kill():
            self._hand_back()
        if self._cause is None:
            return None
        return self._clear(is_terminated)

    def _clear(self, is_terminated: bool) -> int | None:
        """One turn of clearing; the exit status when there is nothing more to be done."""
        for sweep in self._sweeps.values():
            sweep.on_timer(self._now_ns)
        if self.phase is Phase.CLEARING and all(s.is_confirmed for s in self._sweeps.values()):
            self.phase = Phase.CLEAR
            found = {self._name(venue): sweep.found for venue, sweep in self._sweeps.items()}
            took_ms = (self._now_ns - self._begun_ns) // NS_PER_MS
            self._log("warning", "no order of ours is open", cancelled=found, took_ms=took_ms)
        if self._cause is Cause.SILENT:
            return TERMINATED if is_terminated and self.phase is Phase.CLEAR else None
        if self.phase is Phase.CLEAR:
            return 0
        if self._tried_ns > GIVE_UP_NS:
            self._log("error", "given up: orders may be open", orders=self.unconfirmed())
            return 1
        return None

    def unconfirmed(self) -> list[str]:
        """The venues that have not shown that nothing of ours is open, and what may be."""
        return [
            f"{self._name(venue)}: {', '.join(sweep.names()) or 'not confirmed'}"
            for venue, sweep in self._sweeps.items()
            if not sweep.is_confirmed
        ]

    # --- beginning and end -----------------------------------------------------------------------

    def _begin(self, cause: Cause) -> None:
        self._cause, self.phase = cause, Phase.CLEARING
        self._begun_ns, self._tried_ns = self._now_ns, 0
        orders = self._orders_on_board()
        counts = {}
        for venue, sweep in self._sweeps.items():
            sweep.begin(order_id for place, order_id in orders if place == venue)
            counts[self._name(venue)] = len(sweep.open)
        self._log("error", "cancelling all orders", reason=cause.value, known=counts)
        if cause is Cause.SILENT:
            self._ask_for_kill()

    def _orders_on_board(self) -> list[tuple[int, int]]:
        """The market maker's last word of what is open: venue and id."""
        try:
            orders = self._board.read().orders
        except StateBoardError as error:
            self._log("warning", "the market maker's board tells nothing", reason=str(error))
            return []
        return [(order.venue, order.id) for order in orders]

    def _ask_for_kill(self) -> None:
        try:
            self._kill_asked = self._board.request_kill()
        except StateBoardError as error:
            self._kill_asked = None
            self._log("error", "a halt of quoting cannot be asked for", reason=str(error))

    def _has_taken_kill(self) -> bool:
        return self._kill_asked is None or self._board.kills_done >= self._kill_asked

    def _hand_back(self) -> None:
        """The engine goes on, halted, and cancels for itself."""
        self._cause, self.phase = None, Phase.WATCHING
        self._log("error", "the engine is back: quoting is halted until it is released")

    def _name(self, venue: int) -> str:
        return self._board.info.venues[venue]

    # --- what the venues tell --------------------------------------------------------------------

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        self._sweeps[venue].take_answer(asked.order_id, events)

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        """The order stays among the open ones, and is pressed again."""

    def on_push(self, venue: int, events: object, balances: object, now_ns: int) -> None:
        """What the venue says of the market maker's orders: the board knows it."""

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        if venue in self._unready:
            self._unready.remove(venue)
            self._log("info", "watchdog ready", venue=self._name(venue))
        if self._cause is not None:
            self._sweeps[venue].take_reading(opening, self._now_ns)

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        """Never asked for: it reads the account again until nothing is open."""

    def on_transfers(self, venue: int, transfers: object, now_ns: int) -> None:
        """Never asked for."""

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self._sweeps[venue].lose()
        self._log("warning", "watchdog lost its connection", venue=self._name(venue), reason=reason)

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        wait_ns = refusal.wait_ns if refusal.wait_ns > 0 else TROUBLE_WAIT_NS
        self._sweeps[venue].wait(wait_ns, self._now_ns)
        self._log(
            "error",
            "watchdog in trouble at a venue",
            venue=self._name(venue),
            meaning=refusal.error.value,
            reason=refusal.text,
        )

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        self._log(note.level, note.text, venue=self._name(venue), **facts)
