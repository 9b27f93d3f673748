"""Which of our orders Bitstamp means by a number of its own, and fills that wait to be named.

Bitstamp's trades name an order by the venue's number alone, and whether a trade or the word that
its order was created comes first is not documented. A fill whose order has no name yet waits until
the name is known, so that it is never taken for the fill of somebody else's order.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from net.orders.messages import NOT_SAID, Kind, OrderEvent
from net.orders.order_names import OrderNames

WAITING_MAX = 256
"""Fills that wait for a name: of orders placed in the last moments."""
WAIT_NS = 20_000_000_000
"""Longer than an answer is waited for and its order is asked after; then a fill goes nameless."""


class Names(OrderNames):
    """The names of one venue's orders by number. An order placed without a name has None."""

    def __init__(self) -> None:
        super().__init__()
        self.last_execution_id = 0
        """The highest trade that has been named or handed back."""
        self._waiting: list[tuple[int, OrderEvent]] = []

    def pushed(self, events: Iterable[OrderEvent], now_ns: int) -> tuple[OrderEvent, ...]:
        """`named`, but a fill of an order that is not known stays here for `released`."""
        told = []
        for each in events:
            if each.kind is Kind.FILL and not self.knows(each):
                self._waiting.append((now_ns + WAIT_NS, each))
            else:
                told.append(self._named(each))
        return tuple(told)

    def released(self, now_ns: int) -> tuple[OrderEvent, ...]:
        """The fills that need not wait any longer, in their order."""
        if not self._waiting:
            return ()
        excess = len(self._waiting) - WAITING_MAX
        free, waiting = [], []
        for index, (until_ns, event) in enumerate(self._waiting):
            if index < excess or until_ns <= now_ns or self.knows(event):
                free.append(event)
            else:
                waiting.append((until_ns, event))
        self._waiting = waiting
        return self.named(free)

    def knows(self, event: OrderEvent) -> bool:
        """Whether the event's order has its name, or is known to have none."""
        return event.client_order_id is not None or event.venue_order_id in self._names

    def _named(self, event: OrderEvent) -> OrderEvent:
        self.last_execution_id = max(self.last_execution_id, event.execution_id)
        number = event.venue_order_id
        if number != NOT_SAID and event.kind is not Kind.FILL and not self.knows(event):
            # An order's own event leaves the name out only where none was given.
            self._keep(number, None)
        return super()._named(event)
