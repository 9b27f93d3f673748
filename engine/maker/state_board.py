"""The market maker's state board, as others see it: its state, and what may be asked of it.

The state is read as the handoff's books are: two slots in turn, each a seqlock. Who may write the
segment's file may ask for a kill or a release: the engine polls the counters of both and says how
many it has taken. The state itself is mapped read-only by everybody but its writer.
Runs on: any thread of any process, one reader a thread.
"""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.compiling.atomics import Words, fence_acquire, fetch_add, load_acquire
from engine.compiling.jit import kernel
from engine.layout import layout as L
from engine.maker import fair_codes
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import state_board_layout as B
from engine.sharing.directory import HandoffError, opened
from engine.sharing.handoff import READ_BUSY, READ_NOTHING_YET, READ_TRIES_MAX
from engine.sharing.segment import (
    READONLY_WORDS,
    find_segment,
    get_text,
    map_words,
    read_word,
)

BOARD_KIND = "maker"


def board_kind(number: int) -> str:
    """Of the segment of a daemon's market maker with this number, from 0."""
    return f"{BOARD_KIND}{number + 1}" if number else BOARD_KIND


class StateBoardError(HandoffError):
    """There is no board, it cannot be read now, or it may not be written; one line."""


@kernel(f"int64({READONLY_WORDS}, int64[::1])")
def read_state_board(board: Words, out: Words) -> int:
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
class StateBoardInfo:
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
    lot_decimals: int = L.LOT_DECIMALS

    @property
    def value_mantissa(self) -> int:
        return self.price_mantissa * self.value_scale

    @property
    def value_decimals(self) -> int:
        return self.price_decimals + self.lot_decimals


class Requests(NamedTuple):
    """How often each was asked for so far."""

    kills: int
    releases: int
    accepts: int


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
        return self.slot // O.VENUE_SLOTS

    @property
    def side(self) -> int:
        """BUY or SELL."""
        return self.slot // O.SLOT_LEVELS % O.SIDES

    @property
    def level(self) -> int:
        return self.slot % O.SLOT_LEVELS

    @property
    def state_name(self) -> str:
        return O.STATE_NAMES[self.state]


class MakerVenue(NamedTuple):
    """A venue's part, in the layout's order."""

    entry_state: int
    trouble: int
    orders: int
    cancels: int
    replaces: int
    fills: int
    fee_ppm: int
    """What the venue takes of a fill as a maker, in millionths; below zero for a rebate."""
    fee_value: int
    """What it has taken so far."""
    difference_lots: int
    """What the account holds that nobody has counted, until it is accepted."""
    rate: int
    """What one of its quote currency is worth in the market maker's, in 1e-8."""


@dataclass(frozen=True)
class MakerState:
    """What the market maker was at one moment: exact integers, and their names.

    Prices in units, amounts in lots, values as `StateBoardInfo` says; None where there is none.
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
    fee_value: int
    """All fees that have a value; position, cash and results have them already."""
    fee_base_lots: int
    """What of them was paid in the base currency."""
    unvalued_fees: int
    """Fills whose fee was paid in an asset without a rate: in no result."""
    unconfirmed: int
    """Orders and accounts of earlier runs, beside `orders`, where some may be open."""
    obstacle: int
    """Why a release is refused, a code of engine.maker.risk_codes; UNOBSTRUCTED: it is not."""
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
    """By code of engine.maker.risk_gate."""
    fair_status: int
    fair_units: float
    """NaN where there is none."""
    venues: tuple[MakerVenue, ...]
    orders: tuple[MakerOrder, ...]

    @property
    def risk_state_name(self) -> str:
        return O.RISK_STATE_NAMES[self.risk_state]

    @property
    def halt_text(self) -> str | None:
        """Why it is halted, None where it is not."""
        return R.TEXTS[self.halt_reason] if self.risk_state == O.HALTED else None

    @property
    def obstacle_text(self) -> str | None:
        """Why it stays halted at a release: "" where it would not, None where it is not halted."""
        return R.OBSTACLE_TEXTS[self.obstacle] if self.risk_state == O.HALTED else None

    @property
    def fair_text(self) -> str:
        """Why there is no fair price, or that it is available."""
        return fair_codes.TEXTS[self.fair_status]

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
    has_day = is_valued and risk[O.RISK_DAY] != R.NO_DAY
    assert 0 <= slot[B.SLOT_ORDERS] <= B.ORDERS_MAX, "more orders than the board has room for"
    rows_end = B.SLOT_ORDERS_AT + slot[B.SLOT_ORDERS] * B.ROW_WORDS
    fair = float(words[B.SLOT_FAIR_PRICE : B.SLOT_FAIR_PRICE + 1].view(np.float64)[0])
    return MakerState(
        sequence=sequence,
        publish_ns=slot[B.SLOT_PUBLISH_NS],
        position_lots=account[O.ACCOUNT_POSITION_LOTS],
        cash_value=account[O.ACCOUNT_CASH_VALUE],
        open_buy_lots=account[O.ACCOUNT_OPEN_BUY_LOTS],
        open_sell_lots=account[O.ACCOUNT_OPEN_SELL_LOTS],
        live_orders=account[O.ACCOUNT_LIVE_ORDERS],
        fills=account[O.ACCOUNT_FILLS],
        duplicate_fills=account[O.ACCOUNT_DUPLICATE_FILLS],
        inferred_fills=account[O.ACCOUNT_INFERRED_FILLS],
        orphan_fills=account[O.ACCOUNT_ORPHAN_FILLS],
        orphan_events=account[O.ACCOUNT_ORPHAN_EVENTS],
        ignored_events=account[O.ACCOUNT_IGNORED_EVENTS],
        bad_events=account[O.ACCOUNT_BAD_EVENTS],
        anomalies=account[O.ACCOUNT_ANOMALIES],
        fee_value=account[O.ACCOUNT_FEE_VALUE],
        fee_base_lots=account[O.ACCOUNT_FEE_BASE_LOTS],
        unvalued_fees=account[O.ACCOUNT_UNVALUED_FEES],
        unconfirmed=account[O.ACCOUNT_UNCONFIRMED],
        obstacle=account[O.ACCOUNT_OBSTACLE],
        result_ns=result_ns,
        result_value=result - slot[B.SLOT_START_VALUE] if is_valued else None,
        day_result_value=result - risk[O.RISK_DAY_START_VALUE] if has_day else None,
        risk_state=risk[O.RISK_STATE],
        halt_reason=risk[O.RISK_HALT_REASON],
        halts=risk[O.RISK_HALTS],
        risk_fair_units=risk[O.RISK_FAIR_PRICE],
        order_lots_max=risk[O.RISK_ORDER_LOTS_MAX],
        position_lots_max=risk[O.RISK_POSITION_LOTS_MAX],
        exposure_max_value=risk[O.RISK_EXPOSURE_MAX],
        daily_loss_max_value=risk[O.RISK_DAILY_LOSS_MAX],
        open_orders_max=risk[O.RISK_OPEN_ORDERS_MAX],
        refusals=tuple(risk[O.RISK_REFUSALS_AT : O.RISK_REFUSALS_AT + O.REFUSALS_MAX]),
        fair_status=slot[B.SLOT_FAIR_STATUS],
        fair_units=fair if slot[B.SLOT_FAIR_STATUS] == fair_codes.AVAILABLE else math.nan,
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


assert MakerVenue._fields.index("fee_value") == B.VENUE_FEE_VALUE
assert MakerOrder._fields.index("filled_lots") == B.ROW_FILLED_LOTS


class StateBoardReader:
    """A view of the board of the daemon named `name`: of its market maker `number`, from 0. One per
    thread.

    StateBoardError: no market maker has one there, or it is of another layout.
    """

    def __init__(self, name: str, number: int = 0) -> None:
        kind = board_kind(number)
        try:
            self._path = find_segment(name, kind, f"no market maker runs as {name!r}")
            words = map_words(self._path, "a market maker's board")
        except HandoffError as error:
            raise StateBoardError(str(error)) from None
        if len(words) < B.CONTROL_WORDS or int(words[B.MAGIC_AT]) != B.BOARD_MAGIC:
            raise StateBoardError(f"{self._path} is not a market maker's board")
        version = read_word(words, B.VERSION_AT)
        if version != B.BOARD_VERSION or len(words) != B.BOARD_WORDS:
            raise StateBoardError(
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
            with opened(self._path, os.O_RDWR) as descriptor:
                memory = mmap.mmap(descriptor, 8 * B.CONTROL_WORDS)
        except (HandoffError, OSError, ValueError):
            return None
        control: Words = np.frombuffer(memory, np.int64)
        fixed = slice(B.MAGIC_AT, B.START_NS + 1)
        return control if (control[fixed] == self._words[fixed]).all() else None

    def _read_info(self) -> StateBoardInfo:
        words = self._words
        venues = tuple(
            get_text(
                words,
                B.INFO_VENUE_NAMES_AT + venue * L.VENUE_NAME_WORDS,
                L.VENUE_NAME_BYTES_MAX,
            )
            for venue in range(int(words[B.INFO_VENUES]))
        )
        return StateBoardInfo(
            symbol=get_text(words, B.INFO_SYMBOL_AT, L.SYMBOL_BYTES_MAX),
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
        """When the market maker last published, in steady time; its start before the first time."""
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

    @property
    def accepts_done(self) -> int:
        return read_word(self._words, B.ACCEPTS_DONE)

    def read(self) -> MakerState:
        """The latest state; StateBoardError where nothing was published yet."""
        sequence = read_state_board(self._words, self._slot)
        if sequence == READ_NOTHING_YET:
            raise StateBoardError("the market maker has not published its state yet")
        if sequence == READ_BUSY:
            raise StateBoardError("the market maker's board is being written over and over")
        return _read_state(self._slot, sequence, len(self.info.venues))

    def request_kill(self) -> int:
        """Ask for quoting to halt and every order to be cancelled; taken at this `kills_done`."""
        return self._ask(B.KILLS_ASKED)

    def request_release(self) -> int:
        """Ask for quoting to go on after a halt; taken at this `releases_done`."""
        return self._ask(B.RELEASES_ASKED)

    def request_accept(self) -> int:
        """Ask for what the accounts hold to be taken as it is; taken at this `accepts_done`."""
        return self._ask(B.ACCEPTS_ASKED)

    def _ask(self, word: int) -> int:
        if self._control is None:
            raise StateBoardError(f"{self._path}: this user may read it, but ask for nothing")
        return int(ask(self._control, word))


class StateBoardFinder:
    """The boards of the daemon `name` whose process is `writer_pid`, while there are any.

    A board may come later than its reader, end before it, or be another's: a daemon that was killed
    leaves its boards behind, and its successor may have no market maker.
    """

    def __init__(self, name: str, writer_pid: int) -> None:
        self._name = name
        self._writer_pid = writer_pid
        self._readers: tuple[StateBoardReader, ...] = ()

    def find(self) -> tuple[StateBoardReader, ...]:
        """The boards as they are now, in the market makers' order; none without one."""
        if not self._readers or any(reader.is_closed for reader in self._readers):
            found = open_boards(self._name)
            is_here = all(each.writer_pid == self._writer_pid for each in found[:1])
            self._readers = found if is_here else ()
        return self._readers


def open_boards(name: str) -> tuple[StateBoardReader, ...]:
    """The boards of the daemon `name` that are not closed; those behind the first are its too."""
    found: list[StateBoardReader] = []
    for number in range(O.MAKERS_MAX):
        try:
            reader = StateBoardReader(name, number)
        except StateBoardError:
            break
        if found and reader.writer_pid != found[0].writer_pid:
            break
        found.append(reader)
    return tuple(reader for reader in found if not reader.is_closed)
