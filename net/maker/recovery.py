"""Recovery: what must be known of the accounts before the first quote, and after every break.

* Orders of an earlier run of this program (known by their names) are cancelled; then the account is
  read again, so that what it holds is no longer changing. So is one that only now reaches the
  venue.
* Orders of others are left alone and counted.
* The position at the start is the ledger's, with the trades of ours that it has missed. What the
  account holds of the base currency must be the *neutral* holding and that position; where it is
  not, something happened that nobody has counted, and only an operator can say what.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass

from engine.maker import order_layout as O
from engine.maker.client_ids import format_client_id
from net.orders.interface import Opening, VenueEntry
from net.orders.messages import OrderEvent, is_gone

CANCEL_AGAIN_NS = 1_000_000_000


@dataclass(frozen=True)
class Memory:
    """What is known of an account before its venue has told anything."""

    base: str
    """Its base currency, of which neutral holding and position are."""
    neutral_lots: int | None = None
    """None: no run before this one has known it."""
    position_lots: int = 0
    is_paper: bool = False
    """Whether nobody holds anything but what is remembered."""
    is_given: bool = False
    """Whether the configuration gives the neutral holding: then the position follows from it."""
    has_counted: Callable[[int], bool] = lambda execution_id: False
    """Whether an execution is in the position."""


@dataclass(frozen=True)
class Start:
    """An account as its venue has told it, at the start. Lots of the base currency."""

    neutral_lots: int
    position_lots: int
    """Without the missed trades."""
    missed: tuple[OrderEvent, ...] = ()
    """Trades of ours that nobody has counted, oldest first."""
    difference_lots: int = 0
    """What the account holds beyond neutral holding, position and missed trades."""
    is_new: bool = False
    """The neutral holding is what the account holds now."""
    has_history: bool = False
    """The account has trades that may be ours, and the journal knows nothing of it."""

    @property
    def is_disputed(self) -> bool:
        """Whether an operator must say what is so."""
        return self.difference_lots != 0 or self.has_history

    def all_lots(self, base: str) -> int:
        """The position with the missed trades."""
        return self.position_lots + _held_lots(self.missed, base)

    def accepted(self) -> Start:
        """The difference is no position of ours: the neutral holding has changed."""
        return Start(self.neutral_lots + self.difference_lots, self.position_lots, self.missed)


def settle(memory: Memory, opening: Opening) -> Start:
    """What an account's position is, from what is remembered and what its venue says."""
    held_lots = sum(b.free_lots + b.locked_lots for b in opening.balances if b.asset == memory.base)
    if memory.is_paper:
        return Start(0, memory.position_lots)
    ours = [trade for trade in opening.trades if _may_be_ours(trade)]
    if memory.neutral_lots is None:
        return Start(held_lots, 0, is_new=True, has_history=bool(ours))
    if memory.is_given:
        return Start(memory.neutral_lots, held_lots - memory.neutral_lots)
    neutral_lots, position_lots = memory.neutral_lots, memory.position_lots
    difference_lots = held_lots - neutral_lots - position_lots
    missed = [trade for trade in ours if not memory.has_counted(trade.execution_id)]
    for first in range(len(missed) + 1):
        # Those that came last may be missing: earlier ones may be of before the first run.
        if _held_lots(missed[first:], memory.base) == difference_lots:
            return Start(neutral_lots, position_lots, tuple(missed[first:]))
    rest_lots = difference_lots - _held_lots(missed, memory.base)
    return Start(neutral_lots, position_lots, tuple(missed), rest_lots)


def _may_be_ours(trade: OrderEvent) -> bool:
    """Whether a trade is of an order of ours, or the venue does not say of whose."""
    return trade.order_id is not None or not trade.client_order_id


def _held_lots(trades: Iterable[OrderEvent], base: str) -> int:
    """What trades change of the account's holding."""
    lots = 0
    for trade in trades:
        lots += trade.last_lots if trade.side == O.BUY else -trade.last_lots
        lots -= trade.fee_lots if trade.fee_asset == base else 0
    return lots


class Recovery:
    """The accounts of an instrument's venues. `memories`: None where a venue is not quoted."""

    def __init__(self, memories: Sequence[Memory | None]) -> None:
        self._memories = memories
        self.starts: list[Start | None] = [None] * len(memories)
        """By venue: the account at the start, once it is known."""
        self._is_clean = [False] * len(memories)
        self._strays: list[dict[int, int]] = [{} for _ in memories]
        """By venue: orders of an earlier run, and when their cancel was last sent."""

    @property
    def is_known(self) -> bool:
        """Whether every quoted venue has told what it holds."""
        pairs = zip(self._memories, self.starts, strict=True)
        return all(start is not None for memory, start in pairs if memory is not None)

    def has_told(self, venue: int) -> bool:
        """Whether a venue has told what it holds."""
        return self.starts[venue] is not None

    @property
    def position_lots(self) -> int:
        """The position at the start, without missed trades; only when it `is_known`."""
        return sum(start.position_lots for start in self.starts if start is not None)

    @property
    def disputed(self) -> list[int]:
        """Venues whose accounts hold what nobody has counted."""
        starts = enumerate(self.starts)
        return [venue for venue, start in starts if start is not None and start.is_disputed]

    def accept(self, venues: Iterable[int]) -> None:
        """An operator's word: what the accounts of these venues hold beyond is no position."""
        for venue in venues:
            start = self.starts[venue]
            assert start is not None, "an account that is not known is not disputed"
            self.starts[venue] = start.accepted()

    @property
    def has_strays(self) -> bool:
        return any(self._strays)

    @property
    def open_venues(self) -> set[int]:
        """Venues where orders of an earlier run may be open."""
        return {
            venue
            for venue, memory in enumerate(self._memories)
            if memory is not None and (self._strays[venue] or not self.has_told(venue))
        }

    def is_clean(self, venue: int) -> bool:
        """Whether the venue has been read, with no order of an earlier run left."""
        return self._is_clean[venue]

    def is_stray(self, venue: int, order_id: int) -> bool:
        return order_id in self._strays[venue]

    def strays(self, names: Sequence[str]) -> list[str]:
        """Orders of an earlier run that may be open, and venues that have not been read."""
        found = [
            f"{names[venue]} {format_client_id(order_id)} of an earlier run"
            for venue, strays in enumerate(self._strays)
            for order_id in strays
        ]
        unread = [
            f"{names[venue]}: its open orders have not been read"
            for venue, memory in enumerate(self._memories)
            if memory is not None and not self.has_told(venue) and not self._strays[venue]
        ]
        return found + unread

    def lose(self, venue: int) -> None:
        """The venue's order entry is gone: it is read anew when it is back."""
        self._is_clean[venue] = False

    def take(
        self, venue: int, opening: Opening, known: Container[int], entry: VenueEntry, now_ns: int
    ) -> tuple[int, int]:
        """What the venue says of the account; how many orders are strays, how many of others."""
        others = 0
        strays = self._strays[venue] = {}
        for event in opening.open_orders:
            order_id = event.order_id
            if order_id is None:
                others += 1
            elif order_id not in known:
                strays[order_id] = now_ns
        if strays:
            entry.cancel_all(strays, now_ns)
        else:
            self._is_clean[venue] = True
            memory = self._memories[venue]
            assert memory is not None, "a venue that is not quoted has no order entry"
            if self.starts[venue] is None:
                self.starts[venue] = settle(memory, opening)
        return len(strays), others

    def meet(self, venue: int, event: OrderEvent, epoch: int) -> None:
        """An order is open: an earlier run may have sent it, and its way was long."""
        order_id = event.order_id
        if order_id is not None and order_id >> 32 < epoch:
            self.adopt(venue, order_id)

    def adopt(self, venue: int, order_id: int) -> None:
        """An order of ours that the order table does not have: it is cancelled."""
        self._strays[venue].setdefault(order_id, 0)
        self._is_clean[venue] = False

    def take_answer(
        self,
        venue: int,
        order_id: int,
        events: Sequence[OrderEvent],
        entry: VenueEntry,
        now_ns: int,
    ) -> None:
        """The answer to a stray's cancel."""
        strays = self._strays[venue]
        if is_gone(events):
            strays.pop(order_id, None)
        if not strays:
            entry.reread(now_ns)

    def cancel_again(self, venue: int, entry: VenueEntry, now_ns: int) -> None:
        """Cancel what is still there once more, every second."""
        strays = self._strays[venue]
        due = [each for each, at_ns in strays.items() if now_ns - at_ns >= CANCEL_AGAIN_NS]
        strays.update(dict.fromkeys(due, now_ns))
        entry.cancel_all(due, now_ns)
