"""Which of our orders a venue means by a number of its own.

Bitstamp's trades name an order by the venue's number alone, and whether a trade or the word that
its order was created comes first is not documented. A fill whose order has no name yet waits until
the name is known, so that it is never taken for the fill of somebody else's order.
Runs on: the engine thread. Called by: net.entry.bitstamp_session.
"""

from __future__ import annotations

from collections.abc import Iterable

from net.entry.order import NOT_SAID, Kind, OrderEvent

NAMES_MAX = 4_096
"""Orders remembered, the latest: at ten a second those of some seven minutes."""
WAITING_MAX = 256
"""Fills that wait for a name: of orders placed in the last moments."""
WAIT_NS = 20_000_000_000
"""Longer than an answer is waited for and its order is asked after; then a fill goes nameless."""


class Names:
    """The names of one venue's orders by number. An order placed without a name has ""."""

    def __init__(self) -> None:
        self.last_execution_id = 0
        """The highest trade that has been named or handed back."""
        self._names: dict[int, str] = {}
        self._waiting: list[tuple[int, OrderEvent]] = []

    def named(self, events: Iterable[OrderEvent]) -> tuple[OrderEvent, ...]:
        """The events, with names where they are known; what they tell of names is learnt."""
        return tuple(self._named(each) for each in events)

    def keep_nameless(self, events: Iterable[OrderEvent], now_ns: int) -> tuple[OrderEvent, ...]:
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
        is_free = [
            index < excess or until_ns <= now_ns or self.knows(event)
            for index, (until_ns, event) in enumerate(self._waiting)
        ]
        waiting = self._waiting
        self._waiting = [each for each, free in zip(waiting, is_free, strict=True) if not free]
        return self.named(each for (_, each), free in zip(waiting, is_free, strict=True) if free)

    def knows(self, event: OrderEvent) -> bool:
        """Whether the event's order has its name, or is known to have none."""
        return event.client_order_id != "" or event.venue_order_id in self._names

    def _named(self, event: OrderEvent) -> OrderEvent:
        self.last_execution_id = max(self.last_execution_id, event.execution_id)
        number = event.venue_order_id
        if number == NOT_SAID:
            return event
        if not event.client_order_id and number in self._names:
            return event._replace(client_order_id=self._names[number])
        if event.client_order_id or event.kind is not Kind.FILL:
            # An order's own event leaves the name out only where none was given.
            self._names.pop(number, None)  # so that the youngest stand last
            self._names[number] = event.client_order_id
            if len(self._names) > NAMES_MAX:
                del self._names[next(iter(self._names))]
        return event
