"""What do the parts of a market maker's step cost: own orders, fair price, pace, model, quotes?

Each part alone, called again and again from compiled code with numbers that move: the sum of the
parts that are on is what a model adds to a step. Caches are warm here, as they are in no step that
follows a frame, so that these are the least it can cost.
Runs on: the harness's main thread, pinned to the last CPU.
"""

from __future__ import annotations

import random
import time

import numpy as np

from bench.options import Options, Say
from bench.report.result import Result, Table
from bench.report.stats import Floats, spread
from bench.rig.kernels import bench_kernel
from engine.compiling.atomics import Words
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.fair import FairSpec, update_fair
from engine.maker.model import ModelSpec, put_model, update_volatility
from engine.maker.orders import new_table
from engine.maker.own_lots import OWN_WORDS, read_own
from engine.maker.pace import held_sides, new_pace, take_side_fills
from engine.maker.quotes import QuoteSpec, update_quotes

QUESTION = "cost of a market maker's parts and models"
READ_OWN, FAIR, PACE, VOLATILITY, MODEL, QUOTES = range(6)
MIDS = 1024
MID_UNITS = 6_000_000
INTERVAL_NS = 100_000_000
"""Between two books: one return in ten calls where returns are taken every second."""
LEVELS = 3
LOTS = 1_000_000
SEEN_S, VARIANCE = 3_600.0, 1e-8
WARM_UP = 1
PAPER = ModelSpec(Q.AVELLANEDA_STOIKOV, risk_aversion=1e-3, fill_decay=0.05, price_unit=0.01)
CASES: tuple[tuple[str, int, ModelSpec, int], ...] = (
    ("own orders, none", READ_OWN, ModelSpec(), 0),
    ("own orders, 3 levels a side", READ_OWN, ModelSpec(), LEVELS),
    ("fair price, micro-price of 5", FAIR, ModelSpec(), 0),
    ("the same, own orders taken out", FAIR, ModelSpec(), LEVELS),
    ("pace", PACE, ModelSpec(), 0),
    ("volatility, a return a second", VOLATILITY, ModelSpec(), 0),
    ("volatility, a return a book", VOLATILITY, ModelSpec(sample_ns=0), 0),
    ("model: none", MODEL, ModelSpec(), 0),
    ("model: widened", MODEL, ModelSpec(widen=2.0), 0),
    ("model: Avellaneda and Stoikov", MODEL, PAPER, 0),
    ("quotes, 3 levels a side", QUOTES, ModelSpec(), 0),
)


@bench_kernel(
    "int64(int64, int64, int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], "
    "int64[::1], int64[::1], float64[::1])"
)
def drive_part(
    part: int,
    calls: int,
    now_ns: int,
    table: Words,
    own: Words,
    book: Words,
    fair: Words,
    model: Words,
    quotes: Words,
    pace: Words,
    mids: Floats,
) -> int:
    """Call one part so often, from a time on; a number that depends on all of it."""
    total = 0
    for index in range(calls):
        now_ns += INTERVAL_NS
        mid = mids[index % len(mids)]
        if part == READ_OWN:
            read_own(table, 0, own, quotes, 0, 1, 1)
            total += own[0]
        elif part == FAIR:
            total += update_fair(book, 0, fair, 0, own, now_ns, now_ns)
        elif part == PACE:
            take_side_fills(pace, table, 0, now_ns, now_ns)
            total += held_sides(pace, 0, now_ns, now_ns)
        elif part == VOLATILITY:
            update_volatility(model, mid, now_ns)
            total += model[Q.MODEL_MID_NS]
        elif part == MODEL:
            total += int(put_model(model, quotes, 0, index * LOTS, mid))
            total += quotes[Q.QUOTE_WIDER_PPM]
        else:
            total += update_quotes(quotes, 0, mid) + quotes[Q.QUOTE_WANTED_AT]
    return total


def book_slot() -> Words:
    """A published book of ten levels a side, of one live venue."""
    book = np.zeros(L.SLOT_WORDS, np.int64)
    book[L.SLOT_VENUES_AT + L.VENUE_STATE] = L.LIVE
    book[L.SLOT_LOT_DECIMALS] = L.LOT_DECIMALS
    for count_at, levels_at, sign in (
        (L.SLOT_BIDS, L.SLOT_BIDS_AT, -1),
        (L.SLOT_ASKS, L.SLOT_ASKS_AT, 1),
    ):
        book[count_at] = 10
        for level in range(10):
            at = levels_at + level * L.LEVEL_WORDS
            price = MID_UNITS + sign * (1 + level)
            book[at : at + L.LEVEL_WORDS] = (price, 5 * LOTS, 0)
    return book


def table_with(levels: int) -> Words:
    """An order table with so many open orders a side at its venue, at the book's best prices."""
    table = new_table(1, 1)
    for side, sign in ((O.BUY, -1), (O.SELL, 1)):
        for level in range(levels):
            slot = side * O.SLOT_LEVELS + level
            row = O.ACCOUNT_WORDS + O.VENUE_ROWS_AT + slot * O.SLOT_WORDS
            table[row + O.ORDER_ID], table[row + O.ORDER_STATE] = slot + 1, O.OPEN
            table[row + O.ORDER_SLOT] = slot
            table[row + O.ORDER_PRICE] = MID_UNITS + sign * (1 + level)
            table[row + O.ORDER_LOTS] = LOTS
    return table


class Case:
    """One part; ns a call, one value a repetition."""

    def __init__(self, name: str, part: int, spec: ModelSpec, levels: int, calls: int) -> None:
        rng = random.Random(1)
        self.name, self._part, self._calls = name, part, calls
        self._table = table_with(levels)
        self._own: Words = np.zeros(OWN_WORDS, np.int64)
        self._fair = FairSpec((1000,), method=Q.MICRO_PRICE).words()
        self._model = spec.words()
        floats = self._model.view(np.float64)
        floats[Q.MODEL_TIME_S], floats[Q.MODEL_SQUARES] = SEEN_S, SEEN_S * VARIANCE
        quotes = QuoteSpec(LOTS, 100 * LOTS, levels=LEVELS, touch=Q.FREE)
        self._quotes = quotes.words()
        self._quotes[Q.QUOTE_BEST_BID] = MID_UNITS - 1
        self._quotes[Q.QUOTE_BEST_ASK] = MID_UNITS + 1
        self._pace = new_pace(0)
        mids = [MID_UNITS + rng.randrange(-50, 50) / 2 for _ in range(MIDS)]
        self._mids: Floats = np.array(mids, np.float64)
        self._now_ns = INTERVAL_NS
        self._drive(READ_OWN, 1)
        self.ns: list[float] = []

    def _drive(self, part: int, calls: int) -> None:
        drive_part(
            part, calls, self._now_ns, self._table, self._own, book_slot(), self._fair, self._model,
            self._quotes, self._pace, self._mids,
        )  # fmt: skip
        self._now_ns += calls * INTERVAL_NS

    def run(self, counts: bool) -> None:
        started_ns = time.perf_counter_ns()
        self._drive(self._part, self._calls)
        if counts:
            self.ns.append((time.perf_counter_ns() - started_ns) / self._calls)


def run(options: Options, say: Say) -> Result:
    """Every part, alternating."""
    calls = options.pick(50, 200_000, 2_000_000)
    cases = [Case(*case, calls) for case in CASES]
    for repetition in range(WARM_UP + options.repetitions):
        say(f"repetition {repetition + 1}")
        for each in cases if repetition % 2 else reversed(cases):
            each.run(repetition >= WARM_UP)
    rows = tuple((each.name, spread(each.ns, 1)) for each in cases)
    table = Table("ns a call: median (min-max)", ("part", "ns"), rows)
    note = "by venue: own orders, pace, model and quotes; fair price and volatility once a step"
    return Result("models", QUESTION, options.command("models"), (table,), notes=(note,))
