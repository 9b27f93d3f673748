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
from net.venues.binance.market_data import BINANCE

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
US_PER_S = 1_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
LONG_NS = 1 << 62

Side = dict[int, int]
Book = tuple[Side, Side]


@dataclass(frozen=True)
class Frame:
    """A text on its way: a diff, or what became of one; without a market it never was one."""

    raw: bytes
    market: Market | None = None
    last_id: int = 0
    must_be_refused: bool = False
    is_nameless: bool = False
    is_binary: bool = False
    is_part: bool = False
    """Whether the rest of it follows in another of the same time."""
    sent_ns: int = 0


@dataclass
class Market:
    """The truth; what has become of its frames; and what is known to be wrong about its feed."""

    feed: int
    spec: FeedSpec
    unit: Decimal
    middle: int
    book_id: int
    rng: random.Random
    quiet_share: float
    """How often it says nothing for seconds."""
    is_cheap: bool = False
    """Its amounts are large, and have two decimals."""
    has_exponents: bool = False
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

    def __post_init__(self) -> None:
        tick = Decimal(self.spec.tick_size)
        self.multiplier = self._first_multiplier = int(tick / self.unit)
        self._decimals = max(0, -int(self.unit.as_tuple().exponent))
        self._unit_mantissa = int(self.unit.scaleb(self._decimals))
        self._is_binance = self.spec.rules == BINANCE.rules
        self._sides: Book = ({}, {})
        self._pending: Book = ({}, {})
        self._first_id = self._now_ns = 0
        for is_asks in (0, 1):
            for _ in range(LEVELS_MAX // 2):
                self._sides[is_asks][self._draw_price(is_asks)] = self._draw_lots()

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
        self._set(is_asks, self._draw_price(is_asks), lots, now_ns)

    def _set(self, is_asks: int, price: int, lots: int, now_ns: int) -> None:
        self.book_id += 1
        if not self._is_binance:
            self.book_id = max(self.book_id, now_ns // 1000)
        self._first_id = self._first_id or self.book_id
        self._pending[is_asks][price] = lots
        if lots:
            self._sides[is_asks][price] = lots
        else:
            self._sides[is_asks].pop(price, None)

    # --- what the venue says ---------------------------------------------------------------------

    def frame(self) -> Frame:
        """Everything since the last frame, as the venue's stream writes it."""
        bids, asks = (self._text(side, is_asks) for is_asks, side in enumerate(self._pending))
        self._remember()
        symbol, last = self.spec.symbol, self.book_id
        if self._is_binance:
            raw = (
                f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate",'
                f'"E":{self._now_ns // NS_PER_MS},"s":"{symbol}",'
                f'"U":{self._first_id},"u":{last},"b":{bids},"a":{asks}}}}}'
            )
        else:
            raw = (
                f'{{"data":{{"timestamp":"{last // US_PER_S}","microtimestamp":"{last}",'
                f'"bids":{bids},"asks":{asks}}},'
                f'"channel":"diff_order_book_{symbol}","event":"data"}}'
            )
        self.frame_ids.append(last)
        self._pending, self._first_id = ({}, {}), 0
        return Frame(raw.encode(), self, last, sent_ns=self._now_ns)

    def snapshot(
        self, levels_max: int | None, book_id: int = 0, ahead: int = 0, fault: str = ""
    ) -> bytes:
        """The book as REST tells it: now, or at an id it once stood at; `ahead` forges the id."""
        if not book_id:
            book_id = self.book_id
            self._remember()
        bids, asks = (
            self._text(dict(sorted(side.items(), reverse=not is_asks)[:levels_max]), is_asks)
            for is_asks, side in enumerate(self.books[book_id])
        )
        if fault == "priceless":
            bids, asks = _with_priceless(bids), _with_priceless(asks)
        elif fault == "one-sided":
            bids, asks = self.rng.choice((("[]", asks), (bids, "[]")))
        book_id += ahead
        if self._is_binance:
            return f'{{"lastUpdateId":{book_id},"bids":{bids},"asks":{asks}}}'.encode()
        return (
            f'{{"timestamp":"{book_id // US_PER_S}","microtimestamp":"{book_id}",'
            f'"bids":{bids},"asks":{asks}}}'
        ).encode()

    def _remember(self) -> None:
        self.books[self.book_id] = (dict(self._sides[0]), dict(self._sides[1]))

    def _text(self, side: Side, is_asks: int) -> str:
        rows = (f'["{self._price(price)}","{self._amount(lots)}"]' for price, lots in side.items())
        return f"[{','.join(rows)}]"

    def _price(self, price: int) -> str:
        value = price * self._unit_mantissa
        if not self._decimals:
            return str(value)
        whole, part = divmod(value, 10**self._decimals)
        return f"{whole}.{part:0{self._decimals}d}"

    def _amount(self, lots: int) -> str:
        if self.has_exponents and 0 < lots < SMALL:
            return f"{Decimal(lots).scaleb(-AMOUNT_DECIMALS).normalize():e}"
        text = f"{lots // LOT}.{lots % LOT:010d}"
        return text.removesuffix("00")

    # --- what became of it -----------------------------------------------------------------------

    def went(self, frame: Frame, now_ns: int, *, is_whole: bool) -> None:
        """A diff is no longer under way; not whole: it was lost, and nobody may ever know."""
        self.gone_id = max(self.gone_id, frame.last_id)
        if is_whole:
            self.lost.pop(frame.last_id, None)
            self.heard_ns, self.heard_id = now_ns, max(self.heard_id, frame.last_id)
        elif not self._is_binance:
            self.lost[frame.last_id] = now_ns

    def came(self, frame: Frame, now_ns: int) -> None:
        """A diff is taken that nobody has heard yet: how late it is counts."""
        if frame.sent_ns and frame.last_id > self.heard_id:
            self.lag_ns = now_ns - frame.sent_ns
            self.best_lag_ns = min(self.best_lag_ns, self.lag_ns)

    def hide(self, snapshot_id: int, now_ns: int) -> None:
        """A snapshot joins no frame at all: what came before and is not in it, nobody misses."""
        if self._is_binance:
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


def _with_priceless(side: str) -> str:
    """A side as text with levels that nobody can trade at."""
    levels = '["0","1.5"],["-1.00","2"]'
    return f"[{levels}]" if side == "[]" else f"{side[:-1]},{levels}]"
