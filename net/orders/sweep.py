"""One venue's orders of ours on their way out, until the venue has shown twice that none is open.

    cancel by id -> every order's own answer says that it is gone -> the list of open orders is read
    -> what is ours in it is cancelled likewise -> read once more, some seconds later -> confirmed

Orders are ours by their names, up to a run of the market maker: those of others, and of a market
maker that was started since, are left alone. A reading counts only if it was asked for here, when
nothing was under way: after a break of the connection a venue's list may be older than our cancels.
No I/O and no clock.
Runs on: the main thread, the daemon's or the watchdog's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.maker.client_ids import format_client_id
from net.orders.interface import EntryState, Opening, VenueEntry
from net.orders.messages import OrderEvent, is_gone
from net.sockets.backoff import Backoff

CLEAN_READINGS = 2
READ_AGAIN_NS = 6_000_000_000
"""Between them: an order that was on its way when its sender stopped is refused or in the book by
then. A venue either refuses a request that is older than a window of 2 s, or its entry's `reread`
waits until the list cannot be older than the last request."""


class Sweep:
    """The orders of one venue. `now_ns` is steady time (tuning.clock)."""

    def __init__(self, entry: VenueEntry, last_epoch: int, backoff: Backoff) -> None:
        """`backoff`: between two attempts to cancel what is still open."""
        self.open: set[int] = set()
        """Orders of ours that may be open, by id."""
        self.found = 0
        """How many were to be cancelled so far."""
        self._entry = entry
        self._last_epoch = last_epoch
        self._backoff = backoff
        self._clean_readings = 0
        self._is_reading = self._was_pressed = False
        self._due_ns = self._wait_until_ns = 0

    def begin(self, order_ids: Iterable[int]) -> None:
        """Cancel these, and whatever else is found; from the beginning."""
        self.found = self._clean_readings = self._due_ns = 0
        self._is_reading = self._was_pressed = False
        self._backoff.reset()
        self._add(order_ids)

    @property
    def is_confirmed(self) -> bool:
        """Whether the venue has shown that nothing of ours is open."""
        return not self.open and self._clean_readings >= CLEAN_READINGS

    def names(self) -> list[str]:
        """What may be open, as the venue knows it."""
        return [format_client_id(order_id) for order_id in sorted(self.open)]

    def on_timer(self, now_ns: int) -> None:
        """The next step, where one is due and the venue can be asked."""
        if self._entry.state is not EntryState.READY:
            return
        if now_ns < max(self._due_ns, self._wait_until_ns):
            return
        if self.open:
            self._press(now_ns)
        elif not self._is_reading and not self.is_confirmed:
            self._is_reading = True
            self._entry.reread(now_ns)

    def wait(self, wait_ns: int, now_ns: int) -> None:
        """The venue wants to be left alone."""
        self._wait_until_ns = max(self._wait_until_ns, now_ns + wait_ns)

    def take_answer(self, order_id: int, events: Sequence[OrderEvent]) -> None:
        """The answer to a cancel or to a question."""
        if is_gone(events):
            self.open.discard(order_id)
        if not self.open:
            self._was_pressed, self._due_ns = False, 0
            self._backoff.reset()

    def take_reading(self, opening: Opening, now_ns: int) -> None:
        """What the venue lists; asked for here, or after a break."""
        is_ours, self._is_reading = self._is_reading, False
        listed = (event.order_id for event in opening.open_orders)
        self._add(
            order_id for order_id in listed if order_id is not None and self._is_ours(order_id)
        )
        if self.open:
            self._clean_readings = 0
        elif is_ours:
            self._clean_readings += 1
            self._due_ns = now_ns + READ_AGAIN_NS

    def lose(self) -> None:
        """The connection is gone: what was asked is not answered."""
        self._is_reading = False

    def _is_ours(self, order_id: int) -> bool:
        return order_id >> 32 <= self._last_epoch

    def _add(self, order_ids: Iterable[int]) -> None:
        new = set(order_ids) - self.open
        self.open |= new
        self.found += len(new)
        if new:
            self._due_ns = 0

    def _press(self, now_ns: int) -> None:
        """Cancel all that may be open; from the second time on, ask after it too."""
        self._due_ns = now_ns + self._backoff.next_ns()
        order_ids = sorted(self.open)
        self._entry.cancel_all(order_ids, now_ns)
        if self._was_pressed:
            for order_id in order_ids:
                self._entry.ask(order_id, now_ns)
        self._was_pressed = True
