"""Recovery: what must be known of the accounts before the first quote, and after every break.

* Orders of an earlier run of this program (known by their names) are cancelled; then the account is
  read again, so that what it holds is no longer changing. So is one that only now reaches the
  venue.
* Orders of others are left alone and counted.
* The position at the start is what the accounts hold of the base currency, less the *neutral*
  amount: the configured one, else that of the first start, which the journal keeps.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from engine.maker.client_ids import format_client_id
from net.orders.interface import Opening, VenueEntry
from net.orders.messages import OrderEvent, is_gone

CANCEL_AGAIN_NS = 1_000_000_000


class Recovery:
    """The accounts of the quoted venues. `bases`: their base currency, None where not quoted."""

    def __init__(self, bases: Sequence[str | None], neutral_lots: int | None) -> None:
        self._bases = bases
        self._held_lots: list[int | None] = [None] * len(bases)
        self._is_clean = [False] * len(bases)
        self._strays: list[dict[int, int]] = [{} for _ in bases]
        """By venue: orders of an earlier run, and when their cancel was last sent."""
        self._neutral_lots = neutral_lots

    @property
    def is_known(self) -> bool:
        """Whether every quoted venue has told what it holds."""
        pairs = zip(self._bases, self._held_lots, strict=True)
        return all(held is not None for base, held in pairs if base is not None)

    def has_told(self, venue: int) -> bool:
        """Whether a venue has told what it holds."""
        return self._held_lots[venue] is not None

    @property
    def neutral_lots(self) -> int:
        """What the accounts hold where the position is zero; only when it `is_known`."""
        return self._total() if self._neutral_lots is None else self._neutral_lots

    @property
    def position_lots(self) -> int:
        """The position at the start; only when it `is_known`."""
        return self._total() - self.neutral_lots

    def _total(self) -> int:
        return sum(held for held in self._held_lots if held is not None)

    @property
    def has_strays(self) -> bool:
        return any(self._strays)

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
            for venue, base in enumerate(self._bases)
            if base is not None and not self.has_told(venue) and not self._strays[venue]
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
            if self._held_lots[venue] is None:
                held = (b for b in opening.balances if b.asset == self._bases[venue])
                self._held_lots[venue] = sum(b.free_lots + b.locked_lots for b in held)
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
