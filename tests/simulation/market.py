"""One instrument on one venue as it truly is, and the frames and snapshots it is told in.

Prices are kept in units of a hundredth of the instrument's ticks at the start, and amounts in parts
of 1e-10, whatever the engine counts in. Whatever a frame or a snapshot shows
is remembered under the id it carries, so a published book can be judged at the id it names.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass, field
from decimal import Decimal

from engine.specs import FeedSpec
from tests.simulation.dialect import NUMBER, Dialect, Ids, Rows, Telling

LEVELS_MAX = 40
"""Levels a side: fewer than an audit compares, so that an audit sees every loss."""
NEAR_TICKS, FAR_TICKS = 30, 300
"""Most levels stand near the middle; one in ten far off, outside the ladder's window."""
RESTLESS = 8
"""Only so many of a side's levels, the latest, change and go: what was lost stays lost for long."""
AMOUNT_DECIMALS = 10
LOT = 10**AMOUNT_DECIMALS
CENT = LOT // 100
LARGE = 184_467_440_737 * LOT
"""Of a cheap token: no such total is a number of 1e-8 that has 64 bits."""
SMALL = LOT // 1000
"""Some venues write amounts below with an exponent."""
LOT_DECIMALS = 8
"""As amounts are printed, but for those that have more."""
JUMP_MAX = 40
"""Ids that other markets of the venue take meanwhile."""
LONG_NS = 1 << 62
PRICELESS: Rows = [("0", "1.5"), ("-1.00", "2")]
"""Levels that nobody can trade at."""

Side = dict[int, int]
Book = tuple[Side, Side]


@dataclass(frozen=True)
class Frame:
    """A text on its way: a diff or a whole book, or what became of one; without a market it never
    was one."""

    raw: bytes
    market: Market | None = None
    last_id: int = 0
    """The market's own id that it leads to."""
    told: Telling | None = None
    must_be_refused: bool = False
    is_nameless: bool = False
    is_binary: bool = False
    is_part: bool = False
    """Whether the rest of it follows in another of the same time."""
    sent_ns: int = 0

    def again(self, told: Telling) -> bytes:
        """The text of another telling, with the same number on the connection."""
        assert self.market is not None and self.told is not None
        dialect = self.market.dialect
        text, before = dialect.text(told), dialect.text(self.told)
        head, _, tail = before.partition(NUMBER)
        number = self.raw.decode()[len(head) : len(self.raw) - len(tail)] if tail else ""
        return text.replace(NUMBER, number).encode()


@dataclass
class Market:
    """The truth; what has become of its frames; and what is known to be wrong about its feed."""

    feed: int
    spec: FeedSpec
    dialect: Dialect
    unit: Decimal
    middle: int
    book_id: int
    rng: random.Random
    quiet_share: float
    """How often it says nothing for seconds."""
    is_cheap: bool = False
    """Its amounts are large, and have two decimals."""
    has_exponents: bool = False
    has_checksums: bool = False
    sends_wholes: bool = False
    """Whether a subscription brings the whole book in the stream."""
    books: dict[int, Book] = field(default_factory=dict)
    frame_ids: list[int] = field(default_factory=list)
    heard_ns: int = 0
    heard_id: int = 0
    """The newest diff handed over whole since the stream last began."""
    lag_ns: int = 0
    """How long that diff was under way."""
    best_lag_ns: int = LONG_NS
    """The least that any diff was."""
    gone_id: int = 0
    """The newest diff that is no longer under way: handed over or lost."""
    lost: dict[int, int] = field(default_factory=dict)
    """Diffs whose loss no sequence number shows, and when they were lost."""
    forged: dict[int, int] = field(default_factory=dict)
    """Ids of snapshots of something else, and when they were answered."""
    own_ids: dict[int, int] = field(default_factory=dict)
    """The market's own id of each that a published book names, where those are others."""

    def __post_init__(self) -> None:
        tick = Decimal(self.spec.tick_size)
        self.multiplier = self._first_multiplier = int(tick / self.unit)
        self._decimals = max(0, -int(self.unit.as_tuple().exponent))
        self._unit_mantissa = int(self.unit.scaleb(self._decimals))
        self._sides: Book = ({}, {})
        self._pending: Book = ({}, {})
        self._first_id = self._now_ns = 0
        self._lot_decimals = LOT_DECIMALS
        for is_asks in (0, 1):
            for _ in range(LEVELS_MAX // 2):
                self._sides[is_asks][self._draw_price(is_asks)] = self._draw_lots()
        self._sent_id = self.book_id
        self._remember()

    # --- the book moves --------------------------------------------------------------------------

    def move(self, now_ns: int) -> None:
        """Some levels appear, change and go; the book is never crossed."""
        rng, self._now_ns = self.rng, now_ns
        self.middle += rng.choice((-40, -3, -1, 0, 0, 0, 1, 3, 40)) * self._first_multiplier
        for is_asks, sign in ((0, -1), (1, 1)):
            for price in [p for p in self._sides[is_asks] if sign * (p - self.middle) <= 0]:
                self._set(is_asks, price, 0, now_ns)
        for _ in range(rng.randrange(1, 6)):
            is_asks = rng.randrange(2)
            levels = self._sides[is_asks]
            share = rng.random()
            if levels and (share < 0.35 or len(levels) >= LEVELS_MAX):
                self._set(is_asks, rng.choice(list(levels)[-RESTLESS:]), 0, now_ns)
            elif levels and share < 0.5:
                self._set(is_asks, rng.choice(list(levels)[-RESTLESS:]), self._draw_lots(), now_ns)
            else:
                self._set(is_asks, self._draw_price(is_asks), self._draw_lots(), now_ns)

    def _draw_price(self, is_asks: int) -> int:
        ticks = FAR_TICKS if self.rng.random() < 0.1 else NEAR_TICKS
        distance = self.multiplier * self.rng.randrange(1, ticks)
        return self.middle + distance if is_asks else max(self.middle - distance, self.multiplier)

    def _draw_lots(self) -> int:
        part: int = CENT if self.is_cheap else LOT // 10**8
        return self.rng.choice((LOT, 2 * LOT, self.rng.randrange(1, 100 * LOT // part) * part))

    def change_tick(self, *, is_finer: bool) -> None:
        """From now on its orders have a finer tick, or a coarser one; those of the old one rest."""
        if is_finer:
            self.multiplier = max(self.multiplier // 10, 1)
        elif self.multiplier < 10 * self._first_multiplier:
            self.multiplier *= 10

    def set_odd_amount(self, now_ns: int) -> None:
        """An order whose amount needs another lot: a very large one of a cheap token, else one of
        ten decimals."""
        is_asks = self.rng.randrange(2)
        lots = LARGE if self.is_cheap else self.rng.randrange(1, 10) * LOT + 1
        self._lot_decimals = AMOUNT_DECIMALS
        self._set(is_asks, self._draw_price(is_asks), lots, now_ns)

    def _set(self, is_asks: int, price: int, lots: int, now_ns: int) -> None:
        ids = self.dialect.ids
        if ids is not Ids.FRAMES:
            self.book_id += self.rng.randrange(1, JUMP_MAX) if ids is Ids.JUMPS else 1
        if ids is Ids.TIMES:
            self.book_id = max(self.book_id, now_ns // 1000)
        self._first_id = self._first_id or self.book_id
        self._pending[is_asks][price] = lots
        if lots:
            self._sides[is_asks][price] = lots
        else:
            self._sides[is_asks].pop(price, None)

    # --- what the venue says ---------------------------------------------------------------------

    def frame(self) -> Frame | None:
        """Everything since the last frame, as the venue's stream writes it; None where its view
        has not changed."""
        changes = self._changes()
        if not any(changes):
            return None
        if self.dialect.ids is Ids.FRAMES:
            self.book_id += 1
        self._remember()
        first_id, previous_id = self._first_id or self.book_id, self._sent_id
        self._sent_id = self.book_id
        self.frame_ids.append(self.book_id)
        self._pending, self._first_id = ({}, {}), 0
        return self._told(changes, first_id, previous_id, is_whole=False)

    def whole(self) -> Frame:
        """The book as the last frame left it, as a message of the stream."""
        return self._told(self.books[self._sent_id], self._sent_id, self._sent_id, is_whole=True)

    def unchanged(self) -> Frame:
        """A frame that says that nothing has changed: its id is that of the one before."""
        return self._told(({}, {}), self._sent_id, self._sent_id, is_whole=False)

    def _changes(self) -> Book:
        """What the next frame sets."""
        if not self.dialect.view_depth:
            return self._pending
        before, after = self.books[self._sent_id], self._view()
        changes: Book = ({}, {})
        for is_asks in (0, 1):
            old, new = before[is_asks], after[is_asks]
            there = new if self.dialect.deletes_pushed_out else self._sides[is_asks]
            changes[is_asks].update({price: 0 for price in old if price not in there})
            changes[is_asks].update({p: q for p, q in new.items() if old.get(p) != q})
        return changes

    def _view(self) -> Book:
        """The book as far as the stream knows it."""
        depth = self.dialect.view_depth or None
        bids, asks = (
            dict(sorted(side.items(), reverse=not is_asks)[:depth])
            for is_asks, side in enumerate(self._sides)
        )
        return bids, asks

    def _told(self, sides: Book, first_id: int, previous_id: int, *, is_whole: bool) -> Frame:
        """A message of the stream that leads to the book that was sent last."""
        told = Telling(
            self.spec.symbol, *self._rows(sides), first_id, self._sent_id, previous_id,
            self._now_ns, self._checksum(), is_whole,
        )  # fmt: skip
        raw = self.dialect.text(told).encode()
        return Frame(raw, self, self._sent_id, told, sent_ns=self._now_ns)

    def _checksum(self) -> int:
        """Of the book that was sent last."""
        if not self.has_checksums:
            return 0
        bids, asks = (
            dict(sorted(side.items(), reverse=not is_asks))
            for is_asks, side in enumerate(self.books[self._sent_id])
        )
        return self.dialect.checksum(*self._rows((bids, asks)))

    def snapshot(
        self, levels_max: int | None, book_id: int = 0, ahead: int = 0, fault: str = ""
    ) -> bytes:
        """The book as REST tells it: now, or at an id it once stood at; `ahead` forges the id."""
        if not book_id:
            book_id = self.book_id
            self._remember()
        bids, asks = self._rows(
            tuple(
                dict(sorted(side.items(), reverse=not is_asks)[:levels_max])
                for is_asks, side in enumerate(self.books[book_id])
            )
        )
        if fault == "priceless":
            bids, asks = [*bids, *PRICELESS], [*asks, *PRICELESS]
        elif fault == "one-sided":
            bids, asks = self.rng.choice((([], asks), (bids, [])))
        told = Telling(self.spec.symbol, bids, asks, 0, book_id + ahead, 0, self._now_ns)
        return self.dialect.snapshot(told).encode()

    def _remember(self) -> None:
        self.books[self.book_id] = self._view()

    def own_id(self, shown_id: int) -> int:
        """The market's id that a published book's means."""
        return self.own_ids.get(shown_id, 0) if self.dialect.is_renumbered else shown_id

    def tick(self, now_ns: int) -> None:
        """What is told from here on is told now."""
        self._now_ns = now_ns

    def _rows(self, sides: tuple[Side, ...]) -> tuple[Rows, Rows]:
        """The levels of both sides as texts."""
        bids, asks = (
            [(self._price(price), self._amount(lots)) for price, lots in side.items()]
            for side in sides
        )
        return bids, asks

    def _price(self, price: int) -> str:
        value = price * self._unit_mantissa
        if not self._decimals:
            return str(value)
        whole, part = divmod(value, 10**self._decimals)
        return self._short(f"{whole}.{part:0{self._decimals}d}")

    def _amount(self, lots: int) -> str:
        if self.has_exponents and 0 < lots < SMALL:
            return f"{Decimal(lots).scaleb(-AMOUNT_DECIMALS).normalize():e}"
        text = f"{lots // LOT}.{lots % LOT:010d}"
        if self.dialect.deletes_pushed_out:
            return self._short(text.removesuffix("00"))
        return text[: len(text) - AMOUNT_DECIMALS + self._lot_decimals]

    def _short(self, number: str) -> str:
        return number.rstrip("0").rstrip(".") if self.dialect.strips_zeros else number

    # --- what became of it -----------------------------------------------------------------------

    def went(self, frame: Frame, now_ns: int, *, is_whole: bool) -> None:
        """A diff is no longer under way; not whole: it was lost, and nobody may ever know."""
        self.gone_id = max(self.gone_id, frame.last_id)
        if is_whole:
            self.lost.pop(frame.last_id, None)
            self.heard_ns, self.heard_id = now_ns, max(self.heard_id, frame.last_id)
        elif self.dialect.is_blind:
            self.lost[frame.last_id] = now_ns

    def came(self, frame: Frame, now_ns: int) -> None:
        """A diff is taken that nobody has heard yet, or a whole book: how late it is counts."""
        is_whole = frame.told is not None and frame.told.is_whole
        if frame.sent_ns and (frame.last_id > self.heard_id or is_whole):
            self.lag_ns = now_ns - frame.sent_ns
            self.best_lag_ns = min(self.best_lag_ns, self.lag_ns)

    def hide(self, snapshot_id: int, now_ns: int) -> None:
        """A snapshot joins no frame at all: what came before and is not in it, nobody misses."""
        if not self.dialect.is_blind:
            return
        start = bisect_right(self.frame_ids, snapshot_id)
        for frame_id in self.frame_ids[start:]:
            if self.heard_id < frame_id <= self.gone_id:
                self.lost.setdefault(frame_id, now_ns)

    def excuse_ns(self, base_id: int, book_id: int) -> int:
        """Since when a book made of a snapshot and what followed may be wrong; 0: it must not."""
        if base_id in self.forged:
            return self.forged[base_id]
        lost = [at for frame_id, at in self.lost.items() if base_id < frame_id <= book_id]
        return min(lost, default=0)
