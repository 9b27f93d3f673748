"""One venue's audits: an entry that is asked, an account that a test makes up, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from engine.maker import order_layout as O
from engine.maker.client_ids import format_client_id
from engine.maker.funds import new_funds
from net.journal.files import Record
from net.maker.audit import Audit
from net.maker.balances import Balances
from net.maker.event_journal import EventJournal
from net.maker.fees import FeeCounter
from net.maker.own_orders import OwnOrders, Sent
from net.maker.recovery import Memory, Recovery
from net.orders.interface import EntryState, Opening
from net.orders.messages import Balance, Kind, OrderEvent, State
from tests.engine.maker.rig import EPOCH, NOW_NS
from tests.engine.maker.rig import Maker as Gate
from tests.net.maker.rig import fee_rules

EVERY_NS = 5 * 10**9
VALUE_SIZE = Decimal("0.0000000001")


class Entry:
    """An order entry that may be audited."""

    def __init__(self) -> None:
        self.state = EntryState.READY
        self.audit_every_ns = EVERY_NS
        self.audits_ns: list[int] = []

    def audit(self, now_ns: int) -> None:
        self.audits_ns.append(now_ns)


class Bench:
    """A market maker's audits at its one venue."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.entry: Any = Entry()
        self.notes: list[tuple[str, str, dict[str, object]]] = []
        fees = FeeCounter(fee_rules(), VALUE_SIZE)
        journal = EventJournal(self, lambda: NOW_NS)
        self.orders = OwnOrders(self.gate.table, (1,), journal, fees)
        self.orders.counts[0] = True
        self.recovery = Recovery([Memory("BTC")])
        funds = new_funds(1)
        self.balances = Balances(self.gate.table, funds, fees)
        self.audit = Audit(
            self.orders, self.recovery, self.balances, ("binance",), EPOCH, self._tell
        )
        self.now_ns = 0

    def append(self, record: Record) -> int:
        return 1

    def _tell(self, level: str, what: str, **facts: object) -> None:
        self.notes.append((level, what, facts))

    def told(self, what: str) -> int:
        """How often an operator was told this."""
        return sum(each[1] == what for each in self.notes)

    def facts(self, what: str) -> list[object]:
        """The amounts or numbers that it was told with."""
        found = [facts for _, each, facts in self.notes if each == what]
        return [each.get("amount", each.get("orders")) for each in found]

    def open(self, side: int) -> int:
        order = self.gate.open(side, self.gate.fair, 20)
        slot = side * O.SLOT_LEVELS
        self.orders.sent[order] = Sent(0, slot, self.gate.fair, 20, self.now_ns, O.OPEN)
        return order

    def listed(self, order_id: int) -> OrderEvent:
        return OrderEvent(Kind.STATE, State.OPEN, "BTCUSDT", format_client_id(order_id))

    def fill(self, order_id: int | None, number: int, lots: int) -> OrderEvent:
        """A buy that has cost one lot of base."""
        return OrderEvent(
            Kind.FILL,
            State.UNKNOWN,
            "BTCUSDT",
            None if order_id is None else format_client_id(order_id),
            side=O.BUY,
            last_lots=lots,
            last_price_ticks=self.gate.fair,
            execution_id=number,
            fee_lots=1,
            fee_asset="BTC",
        )

    def run(
        self,
        orders: Sequence[OrderEvent] = (),
        trades: Iterable[OrderEvent] = (),
        balances: tuple[Balance, ...] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """One audit, asked for and answered; whether it shows a newer run."""
        self.now_ns += EVERY_NS
        self.audit.on_timer(0, self.entry, self.now_ns)
        meanwhile()
        reading = Opening(tuple(orders), tuple(trades), balances)
        return self.audit.take(0, self.entry, reading, self.now_ns)
