"""Which of our names belongs to which of the venue's order numbers.

A trade in a list names its order by the venue's number only. Bounded: the order that was not spoken
of for longest is forgotten.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from net.orders.messages import OrderEvent

NAMES_MAX = 4096
"""A page of trades is 1000, and no market maker has so many open orders."""


class OrderNames:
    """Learns from every event that has both, and names those that have the number only."""

    def __init__(self) -> None:
        self._names: dict[int, str | None] = {}

    def named(self, events: Iterable[OrderEvent]) -> tuple[OrderEvent, ...]:
        """The events, with our names as far as they are known."""
        return tuple(map(self._named, events))

    def pushed(self, events: Iterable[OrderEvent], now_ns: int) -> tuple[OrderEvent, ...]:
        """`named`, of events that an answer may overtake: those that can be told at once."""
        return self.named(events)

    def released(self, now_ns: int) -> tuple[OrderEvent, ...]:
        """Of the others, those that need not wait any longer; here none ever waits."""
        return ()

    def _named(self, event: OrderEvent) -> OrderEvent:
        number = event.venue_order_id
        if number < 0:
            return event
        if event.client_order_id is None:
            return event._replace(client_order_id=self._names.get(number))
        self._keep(number, event.client_order_id)
        return event

    def _keep(self, number: int, name: str | None) -> None:
        names = self._names
        names.pop(number, None)  # so that the youngest stand last
        names[number] = name
        if len(names) > NAMES_MAX:
            del names[next(iter(names))]
