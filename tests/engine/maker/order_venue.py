"""A venue in plain Python that loses, doubles, delays and reorders everything about orders.

It knows nothing of the engine: requests go in, each takes its time or never arrives, and so does
each answer. Fills happen at the order's own price, as a post-only order's do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from engine.maker import order_layout as O

REQUEST_DELAY_MAX = 40
"""After so many steps a request that has not arrived never will."""
ANSWER_DELAY_MAX = 60


@dataclass
class Order:
    """An order as the venue sees it."""

    slot: int
    price: int
    lots: int
    filled_lots: int = 0
    is_open: bool = True

    @property
    def is_buy(self) -> bool:
        return self.slot // O.SLOT_LEVELS % 2 == O.BUY

    @property
    def left_lots(self) -> int:
        return self.lots - self.filled_lots if self.is_open else 0


@dataclass(frozen=True)
class Request:
    """What the maker sends; kind "new", "cancel", "replace" or "ask"."""

    kind: str
    order_id: int
    new_id: int = 0
    slot: int = 0
    price: int = 0
    lots: int = 0


@dataclass(frozen=True)
class Answer:
    """An event, or with an execution id a fill."""

    event: int
    order_id: int
    filled_lots: int = 0
    execution_id: int = 0
    side: int = 0
    price: int = 0
    lots: int = 0


@dataclass
class Venue:
    """One venue; `says_sums`: whether its fills come with a cumulative quantity."""

    random: Random
    says_sums: bool
    orders: dict[int, Order] = field(default_factory=dict)
    open: dict[int, Order] = field(default_factory=dict)
    """The open ones among all orders ever."""
    position_lots: int = 0
    cash: int = 0
    executions: int = 0
    now: int = 0
    fault_rate: float = 0.1
    requests: list[tuple[int, Request]] = field(default_factory=list)
    answers: list[tuple[int, Answer]] = field(default_factory=list)

    def send(self, request: Request) -> None:
        if request.kind == "ask" or self.random.random() >= self.fault_rate:
            self.requests.append((self._due(REQUEST_DELAY_MAX), request))

    def _due(self, delay_max: int) -> int:
        is_slow = self.random.random() < self.fault_rate
        return self.now + (self.random.randrange(1, delay_max) if is_slow else 1)

    def _answer(self, answer: Answer) -> None:
        if self.random.random() < self.fault_rate:
            return
        copies = 2 if self.random.random() < self.fault_rate else 1
        for _ in range(copies):
            self.answers.append((self._due(ANSWER_DELAY_MAX), answer))

    def step(self) -> list[Answer]:
        """Let one moment pass; the answers that arrive in it, in any order."""
        self.now += 1
        arrived = [request for due, request in self.requests if due <= self.now]
        self.requests = [each for each in self.requests if each[0] > self.now]
        for request in arrived:
            self._handle(request)
        ready = [answer for due, answer in self.answers if due <= self.now]
        self.answers = [each for each in self.answers if each[0] > self.now]
        if self.random.random() < self.fault_rate:
            self.random.shuffle(ready)
        return ready

    def _handle(self, request: Request) -> None:
        getattr(self, f"_handle_{request.kind}")(request)

    def _open(self, request: Request) -> None:
        assert request.new_id not in self.orders, "an order was sent twice"
        order = Order(request.slot, request.price, request.lots)
        self.orders[request.new_id] = self.open[request.new_id] = order

    def _close(self, order_id: int) -> int:
        """How much of the order has filled."""
        order = self.open.pop(order_id)
        order.is_open = False
        return order.filled_lots

    def _handle_new(self, request: Request) -> None:
        if self.random.random() < self.fault_rate:
            self._answer(Answer(O.REJECT, request.new_id))
            return
        self._open(request)
        self._answer(Answer(O.ACK, request.new_id))

    def _handle_cancel(self, request: Request) -> None:
        order = self.orders.get(request.order_id)
        if order is None or not order.is_open:
            filled_lots = 0 if order is None else order.filled_lots
            self._answer(Answer(O.CANCEL_REJECT, request.order_id, filled_lots))
            return
        self._answer(Answer(O.CANCEL_ACK, request.order_id, self._close(request.order_id)))

    def _handle_replace(self, request: Request) -> None:
        old = self.orders.get(request.order_id)
        if old is None or not old.is_open:
            filled_lots = 0 if old is None else old.filled_lots
            self._answer(Answer(O.REPLACE_REJECT, request.new_id, filled_lots))
            return
        self._close(request.order_id)
        if self.random.random() < self.fault_rate:
            self._answer(Answer(O.CANCEL_ACK, request.order_id, old.filled_lots))
            self._answer(Answer(O.REJECT, request.new_id))
            return
        self._open(request)
        if self.random.random() < 0.5:
            self._answer(Answer(O.REPLACE_ACK, request.new_id, old.filled_lots))
        else:
            self._answer(Answer(O.CANCEL_ACK, request.order_id, old.filled_lots))
            self._answer(Answer(O.ACK, request.new_id))

    def _handle_ask(self, request: Request) -> None:
        order = self.orders.get(request.order_id)
        if order is None:
            self._answer(Answer(O.NOT_FOUND, request.order_id))
            return
        event = O.FOUND_OPEN if order.is_open else O.FOUND_CLOSED
        self._answer(Answer(event, request.order_id, order.filled_lots))

    def trade(self) -> None:
        """Someone trades with one of the open orders, or with a part of it."""
        if not self.open:
            return
        order_id = self.random.choice(list(self.open))
        order = self.orders[order_id]
        lots = self.random.choice((order.left_lots, self.random.randint(1, order.left_lots)))
        order.filled_lots += lots
        sign = 1 if order.is_buy else -1
        self.position_lots += sign * lots
        self.cash -= sign * lots * order.price
        if order.filled_lots == order.lots:
            self._close(order_id)
        self.executions += 1
        total = order.filled_lots if self.says_sums else 0
        side = O.BUY if order.is_buy else O.SELL
        fill = Answer(O.FILL, order_id, total, self.executions, side, order.price, lots)
        self._answer(fill)

    def expire(self) -> None:
        """The venue closes an order on its own."""
        if self.open:
            order_id = self.random.choice(list(self.open))
            self._answer(Answer(O.EXPIRE, order_id, self._close(order_id)))

    def break_connection(self) -> None:
        """What was under way is lost, in both directions."""
        self.requests = [each for each in self.requests if self.random.random() < 0.5]
        self.answers = []
