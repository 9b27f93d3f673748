"""The market maker's board, as others see it: its state, and the two things that may be asked.

The state is read as the handoff's books are: two slots in turn, each a seqlock. Who may write the
segment's file may ask for a kill or a release: the engine polls the counters of both and says how
many it has taken. The state itself is mapped read-only by everybody but its writer.
Runs on: any thread of any process. Called by: net.gateway, net.stat, net.metrics, pollux.py.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine import layout
from engine.atomics import Words, fence_acquire, fetch_add, load_acquire
from engine.handoff import READ_BUSY, READ_NOTHING_YET, READ_TRIES_MAX
from engine.jit import kernel
from engine.maker import board_layout as B
from engine.maker import fair_codes as F
from engine.maker import order_layout as L
from engine.maker import risk_codes as R
from engine.segment import (
    READONLY_WORDS,
    HandoffError,
    get_text,
    map_words,
    read_word,
    segment_path,
)

BOARD_KIND = "maker"


class MakerBoardError(HandoffError):
    """There is no board, it cannot be read now, or it may not be written; one line."""


@kernel(f"int64({READONLY_WORDS}, int64[::1])")
def read_board(board: Words, out: Words) -> int:
    """Copy the latest state into `out`, shape (SLOT_WORDS,); its number, or READ_BUSY."""
    for _ in range(READ_TRIES_MAX):
        sequence = load_acquire(board, B.SEQUENCE)
        if sequence == 0:
            return READ_NOTHING_YET
        slot = B.SLOTS_AT + sequence % B.SLOTS * B.SLOT_WORDS
        if load_acquire(board, slot + B.SLOT_VERSION) != 2 * sequence:
            continue
        # A count that is just being written may be anything.
        orders = min(max(board[slot + B.SLOT_ORDERS], 0), B.ORDERS_MAX)
        for word in range(B.SLOT_ORDERS_AT + orders * B.ROW_WORDS):
            out[word] = board[slot + word]
        fence_acquire()
        if load_acquire(board, slot + B.SLOT_VERSION) == 2 * sequence:
            return sequence
    return READ_BUSY


@kernel("int64(int64[::1], int64)")
def ask(control: Words, word: int) -> int:
    """Count a request word up, whoever else does at the same time; the number of this request."""
    return fetch_add(control, word, 1) + 1


@dataclass(frozen=True)
class MakerBoardInfo:
    """What is fixed about a market maker.

    A price is `units * price_mantissa * 10**-price_decimals`, an amount `lots * 10**-lot_decimals`,
    a value `value * value_mantissa * 10**-value_decimals` of the quote currency.
    """

    symbol: str
    venues: tuple[str, ...]
    is_live: bool
    """Orders go to the venues; otherwise they are on paper."""
    price_mantissa: int
    price_decimals: int
    value_scale: int = 1
    lot_decimals: int = layout.LOT_DECIMALS

    @property
    def value_mantissa(self) -> int:
        return self.price_mantissa * self.value_scale

    @property
    def value_decimals(self) -> int:
        return self.price_decimals + self.lot_decimals


class MakerOrder(NamedTuple):
    """A live order, in the words of the order table."""

    id: int
    state: int
    slot: int
    price_units: int
    lots: int
    filled_lots: int

    @property
    def venue(self) -> int:
        return self.slot // L.VENUE_SLOTS

    @property
    def side(self) -> int:
        """BUY or SELL."""
        return self.slot // L.SLOT_LEVELS % L.SIDES

    @property
    def level(self) -> int:
        return self.slot % L.SLOT_LEVELS

    @property
    def state_name(self) -> str:
        return L.STATE_NAMES[self.state]


class MakerVenue(NamedTuple):
    """A venue's part, in the layout's order."""

    entry_state: int
    trouble: int
    orders: int
    cancels: int
    replaces: int
    fills: int


@dataclass(frozen=True)
class MakerState:
    """What the market maker was at one moment: exact integers, and their names.

    Prices in units, amounts in lots, values as `MakerBoardInfo` says; None where there is none.
    """

    sequence: int
    publish_ns: int
    position_lots: int
    cash_value: int
    open_buy_lots: int
    open_sell_lots: int
    live_orders: int
    fills: int
    duplicate_fills: int
    inferred_fills: int
    orphan_fills: int
    orphan_events: int
    ignored_events: int
    bad_events: int
    anomalies: int
    result_ns: int
    """When the results were valued: the last time there was a fair price; 0 for never."""
    result_value: int | None
    """Since the start, marked to the fair price; a position brought along enters at the first."""
    day_result_value: int | None
    """Since 00:00 UTC, or since the last release."""
    risk_state: int
    halt_reason: int
    halts: int
    risk_fair_units: int
    """The whole price that the limits are counted at; 0 where there is none."""
    order_lots_max: int
    position_lots_max: int
    exposure_max_value: int
    daily_loss_max_value: int
    open_orders_max: int
    refusals: tuple[int, ...]
    """By code of engine.maker.risk."""
    fair_status: int
    fair_units: float
    """NaN where there is none."""
    venues: tuple[MakerVenue, ...]
    orders: tuple[MakerOrder, ...]

    @property
    def risk_state_name(self) -> str:
        return L.RISK_STATE_NAMES[self.risk_state]

    @property
    def halt_text(self) -> str:
        """Why it is halted; empty where it is not."""
        return R.TEXTS[self.halt_reason] if self.risk_state == L.HALTED else ""

    @property
    def fair_text(self) -> str:
        """Why there is no fair price, or that it is available."""
        return F.TEXTS[self.fair_status]

    @property
    def refusal_texts(self) -> dict[str, int]:
        """How often each refusal was given, in words; those never given are left out."""
        return {R.TEXTS[code]: count for code, count in enumerate(self.refusals) if count}


def _read_state(words: Words, sequence: int, venues: int) -> MakerState:
    """The copied slot as plain numbers."""
    slot = words.tolist()
    account = slot[B.SLOT_ACCOUNT_AT : B.SLOT_RISK_AT]
    risk = slot[B.SLOT_RISK_AT : B.SLOT_VENUES_AT]
    result_ns, result = slot[B.SLOT_RESULT_NS], slot[B.SLOT_RESULT_VALUE]
    is_valued = result_ns > 0
    has_day = is_valued and risk[L.RISK_DAY] != R.NO_DAY
    rows_end = B.SLOT_ORDERS_AT + slot[B.SLOT_ORDERS] * B.ROW_WORDS
    fair = float(words[B.SLOT_FAIR_PRICE : B.SLOT_FAIR_PRICE + 1].view(np.float64)[0])
    return MakerState(
        sequence=sequence,
        publish_ns=slot[B.SLOT_PUBLISH_NS],
        position_lots=account[L.ACCOUNT_POSITION_LOTS],
        cash_value=account[L.ACCOUNT_CASH_VALUE],
        open_buy_lots=account[L.ACCOUNT_OPEN_BUY_LOTS],
        open_sell_lots=account[L.ACCOUNT_OPEN_SELL_LOTS],
        live_orders=account[L.ACCOUNT_LIVE_ORDERS],
        fills=account[L.ACCOUNT_FILLS],
        duplicate_fills=account[L.ACCOUNT_DUPLICATE_FILLS],
        inferred_fills=account[L.ACCOUNT_INFERRED_FILLS],
        orphan_fills=account[L.ACCOUNT_ORPHAN_FILLS],
        orphan_events=account[L.ACCOUNT_ORPHAN_EVENTS],
        ignored_events=account[L.ACCOUNT_IGNORED_EVENTS],
        bad_events=account[L.ACCOUNT_BAD_EVENTS],
        anomalies=account[L.ACCOUNT_ANOMALIES],
        result_ns=result_ns,
        result_value=result - slot[B.SLOT_START_VALUE] if is_valued else None,
        day_result_value=result - risk[L.RISK_DAY_START_VALUE] if has_day else None,
        risk_state=risk[L.RISK_STATE],
        halt_reason=risk[L.RISK_HALT_REASON],
        halts=risk[L.RISK_HALTS],
        risk_fair_units=risk[L.RISK_FAIR_PRICE],
        order_lots_max=risk[L.RISK_ORDER_LOTS_MAX],
        position_lots_max=risk[L.RISK_POSITION_LOTS_MAX],
        exposure_max_value=risk[L.RISK_EXPOSURE_MAX],
        daily_loss_max_value=risk[L.RISK_DAILY_LOSS_MAX],
        open_orders_max=risk[L.RISK_OPEN_ORDERS_MAX],
        refusals=tuple(risk[L.RISK_REFUSALS_AT : L.RISK_REFUSALS_AT + L.REFUSALS_MAX]),
        fair_status=slot[B.SLOT_FAIR_STATUS],
        fair_units=fair if slot[B.SLOT_FAIR_STATUS] == F.AVAILABLE else math.nan,
        venues=tuple(
            MakerVenue(*slot[at : at + len(MakerVenue._fields)])
            for at in range(
                B.SLOT_VENUES_AT, B.SLOT_VENUES_AT + venues * B.VENUE_WORDS, B.VENUE_WORDS
            )
        ),
        orders=tuple(
            MakerOrder(*slot[at : at + B.ROW_WORDS])
            for at in range(B.SLOT_ORDERS_AT, rows_end, B.ROW_WORDS)
        ),
    )


assert MakerVenue._fields.index("fills") == B.VENUE_FILLS
assert MakerOrder._fields.index("filled_lots") == B.ROW_FILLED_LOTS


class MakerBoardReader:
    """A view of the board of the daemon named `name`. One per thread.

    MakerBoardError: no market maker has one there, or it is of another layout.
    """

    def __init__(self, name: str) -> None:
        self._path = segment_path(name, BOARD_KIND)
        try:
            words = map_words(
                self._path, "a market maker's board", f"no market maker runs as {name!r}"
            )
        except HandoffError as error:
            raise MakerBoardError(str(error)) from None
        if len(words) < B.CONTROL_WORDS or int(words[B.MAGIC_AT]) != B.BOARD_MAGIC:
            raise MakerBoardError(f"{self._path} is not a market maker's board")
        version = read_word(words, B.VERSION_AT)
        if version != B.BOARD_VERSION or len(words) != B.BOARD_WORDS:
            raise MakerBoardError(
                f"the market maker's board has layout version {version} and {len(words)} words, "
                f"this program reads {B.BOARD_VERSION} and {B.BOARD_WORDS}"
            )
        self._words = words
        self._control = self._map_control()
        self._slot: Words = np.zeros(B.SLOT_WORDS, np.int64)
        self.info = self._read_info()

    def _map_control(self) -> Words | None:
        """The requests, for writing; None where this user may not write, or it is another file."""
        try:
            with open(self._path, "r+b") as file:
                memory = mmap.mmap(file.fileno(), 8 * B.CONTROL_WORDS)
        except (OSError, ValueError):
            return None
        control: Words = np.frombuffer(memory, np.int64)
        fixed = slice(B.MAGIC_AT, B.START_NS + 1)
        return control if (control[fixed] == self._words[fixed]).all() else None

    def _read_info(self) -> MakerBoardInfo:
        words = self._words
        venues = tuple(
            get_text(
                words,
                B.INFO_VENUE_NAMES_AT + venue * layout.VENUE_NAME_WORDS,
                layout.VENUE_NAME_BYTES_MAX,
            )
            for venue in range(int(words[B.INFO_VENUES]))
        )
        return MakerBoardInfo(
            symbol=get_text(words, B.INFO_SYMBOL_AT, layout.SYMBOL_BYTES_MAX),
            venues=venues,
            is_live=bool(words[B.INFO_IS_LIVE]),
            price_mantissa=int(words[B.INFO_PRICE_MANTISSA]),
            price_decimals=int(words[B.INFO_PRICE_DECIMALS]),
            value_scale=int(words[B.INFO_VALUE_SCALE]),
            lot_decimals=int(words[B.INFO_LOT_DECIMALS]),
        )

    @property
    def writer_pid(self) -> int:
        return int(self._words[B.WRITER_PID])

    @property
    def start_ns(self) -> int:
        return int(self._words[B.START_NS])

    @property
    def heartbeat_ns(self) -> int:
        """When the market maker last published (wall clock); its start before the first time."""
        return read_word(self._words, B.HEARTBEAT_NS)

    @property
    def is_closed(self) -> bool:
        """Whether its writer has ended in order."""
        return read_word(self._words, B.IS_CLOSED) != 0

    @property
    def sequence(self) -> int:
        """The number of the latest state; 0 before the first."""
        return read_word(self._words, B.SEQUENCE)

    @property
    def kills_done(self) -> int:
        return read_word(self._words, B.KILLS_DONE)

    @property
    def releases_done(self) -> int:
        return read_word(self._words, B.RELEASES_DONE)

    def read(self) -> MakerState:
        """The latest state; MakerBoardError where nothing was published yet."""
        sequence = read_board(self._words, self._slot)
        if sequence == READ_NOTHING_YET:
            raise MakerBoardError("the market maker has not published its state yet")
        if sequence == READ_BUSY:
            raise MakerBoardError("the market maker's board is being written over and over")
        return _read_state(self._slot, sequence, len(self.info.venues))

    def request_kill(self) -> int:
        """Ask for quoting to halt and every order to be cancelled; taken at this `kills_done`."""
        return self._ask(B.KILLS_ASKED)

    def request_release(self) -> int:
        """Ask for quoting to go on after a halt; taken at this `releases_done`."""
        return self._ask(B.RELEASES_ASKED)

    def _ask(self, word: int) -> int:
        if self._control is None:
            raise MakerBoardError(f"{self._path}: this user may read it, but ask for nothing")
        return int(ask(self._control, word))
