"""The market maker's board: what it shows of table and gate, whole or not at all, and who asks."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import pytest

from engine.compiling.atomics import Words, load_acquire
from engine.compiling.jit import JIT_OFF, kernel
from engine.maker import fair_codes, risk_gate, state_board, state_board_writer
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker import risk_codes as R
from engine.maker import state_board_layout as B
from engine.maker.fair import FairSpec
from engine.maker.state_board import (
    BOARD_KIND,
    MakerState,
    Requests,
    StateBoardError,
    StateBoardInfo,
    StateBoardReader,
)
from engine.maker.state_board_writer import StateBoardWriter, publish_state_board
from engine.sharing.directory import HandoffError
from engine.sharing.segment import READONLY_WORDS, segment_path
from tests.engine.maker.rig import FAIR, LIMITS, NOW_NS, Maker, slot_of
from tests.engine.sharing.torn_reads import in_child

pytestmark = pytest.mark.kernel

INFO = StateBoardInfo("BTC-USD", ("binance", "bitstamp"), False, 1, 2)
START_NS = 77
STEADY_NS = 99


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{os.getpid()}"
    yield chosen
    path = segment_path(chosen, BOARD_KIND)
    for left in [path, *path.parent.glob(f"{path.name}+*")]:
        left.unlink(missing_ok=True)


@pytest.fixture
def writer(name: str) -> StateBoardWriter:
    return StateBoardWriter(name, INFO, START_NS)


def fair_words(price: float = math.nan) -> Words:
    words = FairSpec((1000, 1000)).words()
    if not math.isnan(price):
        words[Q.FAIR_STATUS] = fair_codes.AVAILABLE
        words[Q.FAIR_PRICE : Q.FAIR_PRICE + 1].view(np.float64)[0] = price
    return words


def shown(writer: StateBoardWriter, name: str, maker: Maker, fair: float = FAIR) -> MakerState:
    """What a reader sees after a `publish`, which changes neither the table nor the gate."""
    table, risk = maker.table.copy(), maker.risk.copy()
    writer.publish(maker.table, maker.risk, fair_words(fair), maker.now_ns, STEADY_NS)
    assert (maker.table == table).all() and (maker.risk == risk).all()
    return StateBoardReader(name).read()


# --- the state -----------------------------------------------------------------------------------


def test_it_shows_what_table_and_gate_have(writer: StateBoardWriter, name: str) -> None:
    maker = Maker(venues=2)
    bid = maker.open(O.BUY, FAIR - 3, 40)
    ask = maker.open(O.SELL, FAIR + 3, 30, level=9, venue=1)
    gone = maker.open(O.BUY, FAIR - 9, 20, level=2, venue=1)
    maker.event(O.CANCEL_ACK, gone, venue=1)
    assert not maker.new(O.BUY, FAIR - 1, LIMITS.order_lots_max + 1, level=1)
    maker.fill(bid, 1, O.BUY, FAIR - 3, 15)
    maker.fill(bid, 1, O.BUY, FAIR - 3, 15)
    maker.event(O.TIMEOUT, maker.new(O.SELL, FAIR + 9, 5, level=1, venue=1), venue=1)
    maker.decide()
    writer.set_venue(1, B.VENUE_ENTRY_STATE, 3)
    writer.count_venue(1, B.VENUE_ORDERS)
    writer.set_venue(0, B.VENUE_TROUBLE, 5)
    state = shown(writer, name, maker, FAIR + 0.25)
    assert (state.sequence, state.publish_ns) == (1, NOW_NS)
    assert state.position_lots == 15 and state.cash_value == -15 * (FAIR - 3)
    assert (state.open_buy_lots, state.open_sell_lots) == (25, 35)
    assert (state.fills, state.duplicate_fills, state.anomalies) == (1, 1, 0)
    assert (state.risk_state_name, state.halt_text) == ("NORMAL", None)
    assert state.refusal_texts == {R.TEXTS[R.ORDER_SIZE]: 1}
    assert state.position_lots_max == LIMITS.position_lots_max
    assert state.daily_loss_max_value == LIMITS.daily_loss_max
    assert (state.fair_units, state.fair_text, state.risk_fair_units) == (
        FAIR + 0.25,
        "available",
        FAIR,
    )
    assert state.venues[0][:3] == (0, 5, 0) and state.venues[1][:3] == (3, 0, 1)
    live = [row for row in maker.rows() if row.is_live]
    assert [tuple(row[1:]) for row in live] == [tuple(order) for order in state.orders]
    assert state.live_orders == len(live) == 3 and gone not in [each.id for each in state.orders]
    found = next(order for order in state.orders if order.id == ask)
    assert (found.venue, found.side, found.level, found.state_name) == (
        1,
        O.SELL,
        9,
        "PENDING_CANCEL",
    )


def test_no_fair_price_is_no_number(writer: StateBoardWriter, name: str) -> None:
    maker = Maker(venues=2, fair=0)
    maker.decide()
    state = shown(writer, name, maker, math.nan)
    assert (
        math.isnan(state.fair_units)
        and state.fair_text == fair_codes.TEXTS[fair_codes.NOT_COMPUTED]
    )
    assert (state.result_ns, state.result_value, state.day_result_value) == (0, None, None)


def test_every_row_of_the_table_can_be_shown(name: str) -> None:
    """Eight venues, whose slots are all in the middle of a replace."""
    maker = Maker(venues=8, limits=replace(LIMITS, open_orders_max=400, position_lots_max=10**6,
                  reduce_lots=10**6, exposure_max=10**12))  # fmt: skip
    for slot in range(8 * O.VENUE_SLOTS):
        side, level = slot // O.SLOT_LEVELS % 2, slot % O.SLOT_LEVELS
        price = FAIR - 20 - level if side == O.BUY else FAIR + 20 + level
        old = maker.open(side, price, 5, level, slot // O.VENUE_SLOTS)
        (sent,) = maker.submit(O.ACTION_REPLACE, slot, price + 1, 5, old)
        assert sent.kind == O.ACTION_REPLACE
    info = replace(INFO, venues=tuple(f"v{number}" * 8 for number in range(8)))
    state = shown(StateBoardWriter(name, info, 0), name, maker)
    assert len(state.orders) == state.live_orders == 2 * 8 * O.VENUE_SLOTS
    assert StateBoardReader(name).info == info


def test_the_result_since_the_start_and_of_the_day(writer: StateBoardWriter, name: str) -> None:
    """A position brought along is no result; a release begins the day anew, not the whole."""
    maker = Maker(venues=2, position_lots=-10)
    maker.decide()
    state = shown(writer, name, maker)
    assert (state.result_value, state.day_result_value, state.result_ns) == (0, 0, NOW_NS)
    maker.fair = FAIR + 7
    maker.decide()
    state = shown(writer, name, maker)
    assert (state.result_value, state.day_result_value) == (-70, -70)
    maker.kill()
    state = shown(writer, name, maker)
    assert (state.risk_state_name, state.halt_text, state.halts) == ("HALTED", "killed", 1)
    assert risk_gate.release(maker.table, maker.risk) == O.NORMAL
    assert shown(writer, name, maker).day_result_value is None
    maker.fair = FAIR + 9
    maker.decide()
    state = shown(writer, name, maker)
    assert (state.result_value, state.day_result_value) == (-90, 0)
    maker.fair, maker.now_ns = 0, NOW_NS + 10**9
    maker.decide()
    for _ in range(3):
        state = shown(writer, name, maker, math.nan)
        assert (state.result_value, state.day_result_value, state.result_ns) == (-90, 0, NOW_NS)
        assert state.publish_ns == NOW_NS + 10**9


# --- whole or not at all -------------------------------------------------------------------------

SECONDS = 1.0
BATCH = 2 if JIT_OFF else 500
TABLE_ROWS = slice(O.ACCOUNT_WORDS + O.VENUE_ROWS_AT, O.ACCOUNT_WORDS + O.VENUE_WORDS)


@kernel("int64(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64, int64)")
def publish_marked(
    board: Words, table: Words, risk: Words, fair: Words, venues: Words, first: int, count: int
) -> int:
    """Publish `count` states in which every word that may be is the state's number."""
    for mark in range(first, first + count):
        for word in range(2, O.ACCOUNT_WORDS):
            table[word] = mark
        for word in range(O.RISK_WINDOWS_AT):
            risk[word] = mark
        for word in range(B.VENUE_WORDS):
            venues[word] = mark
        for number in range(O.VENUE_SLOTS * O.SLOT_ROWS):
            row = O.ACCOUNT_WORDS + O.VENUE_ROWS_AT + number * O.ORDER_WORDS
            table[row + O.ORDER_STATE] = O.OPEN if number < mark % 50 else O.FILLED
            for word in (O.ORDER_ID, O.ORDER_PRICE, O.ORDER_LOTS, O.ORDER_FILLED_LOTS):
                table[row + word] = mark
        fair[Q.FAIR_STATUS] = mark
        publish_state_board(board, table, risk, fair, venues, mark, mark)
    return first + count


@kernel(f"int64({READONLY_WORDS}, int64[::1])")
def copy_unchecked(board: Words, out: Words) -> int:
    """What a reader without the version check would do, of the slot that is written next."""
    sequence = load_acquire(board, B.SEQUENCE) + 1
    slot = B.SLOTS_AT + sequence % B.SLOTS * B.SLOT_WORDS
    for word in range(B.SLOT_WORDS):
        out[word] = board[slot + word]
    return sequence


def is_whole(slot: Words) -> bool:
    mark = int(slot[B.SLOT_PUBLISH_NS])
    rows = slot[B.SLOT_ORDERS_AT :][: mark % 50 * B.ROW_WORDS].reshape(-1, B.ROW_WORDS)
    marked = [
        slot[B.SLOT_ACCOUNT_AT + 2 : B.SLOT_RISK_AT],
        slot[B.SLOT_RISK_AT : B.SLOT_VENUES_AT],
        slot[B.SLOT_VENUES_AT : B.SLOT_VENUES_AT + B.VENUE_WORDS],
        rows[:, [B.ROW_ID, B.ROW_PRICE, B.ROW_LOTS, B.ROW_FILLED_LOTS]],
        slot[B.SLOT_FAIR_STATUS],
    ]
    return slot[B.SLOT_ORDERS] == mark % 50 and all((words == mark).all() for words in marked)


def _publish(writer: StateBoardWriter, answer: Connection) -> None:
    maker, fair, mark = Maker(), fair_words(), 1
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        mark = publish_marked(
            writer.words, maker.table, maker.risk, fair, writer.venues, mark, BATCH
        )
    answer.send(mark - 1)


def test_no_reader_ever_accepts_a_torn_state(name: str) -> None:
    writer = StateBoardWriter(name, replace(INFO, venues=("binance",)), 0)
    reader = StateBoardReader(name)
    child, connection = in_child(_publish, writer)
    accepted = torn = torn_unchecked = last = 0
    out = np.zeros(B.SLOT_WORDS, np.int64)
    while not connection.poll(0):
        for _ in range(20):
            sequence = state_board.read_state_board(reader._words, out)
            if sequence > 0:
                accepted += 1
                torn += not is_whole(out) or sequence < last or out[B.SLOT_PUBLISH_NS] != sequence
                last = sequence
            copy_unchecked(reader._words, out)
            torn_unchecked += not is_whole(out)
    written = connection.recv()
    child.join(10)
    assert child.exitcode == 0 and written > (20 if JIT_OFF else 20_000)
    assert accepted > (10 if JIT_OFF else 500)
    assert torn == 0
    assert torn_unchecked > 0, "no reader met the writer: no proof"
    writer.close()


@pytest.mark.skipif(not JIT_OFF, reason="looks into the kernel while it runs")
def test_a_slot_is_marked_while_it_is_written(
    writer: StateBoardWriter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader must meet the mark however fast the writer is: no race proves that it is there."""
    versions = []

    def look(board: Words, slot: int, _table: Words) -> None:
        versions.append(int(board[slot + B.SLOT_VERSION]))

    monkeypatch.setattr(state_board_writer, "_copy_orders", look)
    for _ in range(3):
        shown(writer, name, Maker(venues=2))
    assert versions == [1, 3, 5]


def test_a_writer_that_dies_in_the_middle_leaves_its_last_word(
    writer: StateBoardWriter, name: str
) -> None:
    reader = StateBoardReader(name)
    with pytest.raises(StateBoardError, match="not published"):
        reader.read()
    maker = Maker(venues=2)
    shown(writer, name, maker)
    writer.words[B.SLOTS_AT + 2 % B.SLOTS * B.SLOT_WORDS + B.SLOT_VERSION] = 3
    assert reader.read().sequence == 1
    writer.words[B.SLOTS_AT + 1 % B.SLOTS * B.SLOT_WORDS + B.SLOT_VERSION] = 5
    with pytest.raises(StateBoardError, match="over and over"):
        reader.read()


# --- what may be asked ---------------------------------------------------------------------------

ASKED = 20_000


def _ask_often(name: str, answer: Connection) -> None:
    reader = StateBoardReader(name)
    answer.send({reader.request_kill() for _ in range(ASKED)})


@pytest.mark.usefixtures("compiled_only")
def test_no_request_is_lost_however_many_ask(writer: StateBoardWriter, name: str) -> None:
    children = [in_child(_ask_often, name) for _ in range(2)]
    numbers: set[int] = set()
    for process, connection in children:
        assert connection.poll(60)
        numbers |= connection.recv()
        process.join(10)
    assert numbers == set(range(1, 2 * ASKED + 1)), "every request has a number of its own"
    assert writer.requests() == Requests(2 * ASKED, 0, 0)


def test_a_request_is_taken_when_it_is_answered(writer: StateBoardWriter, name: str) -> None:
    one, other = StateBoardReader(name), StateBoardReader(name)
    assert (one.request_kill(), other.request_kill(), one.request_release()) == (1, 2, 1)
    assert [one.request_accept() for _ in range(3)] == [1, 2, 3]
    assert writer.requests() == Requests(2, 1, 3)
    assert (one.kills_done, one.releases_done, one.accepts_done) == (0, 0, 0)
    writer.answer(Requests(2, 1, 3))
    assert (other.kills_done, other.releases_done, other.accepts_done) == (2, 1, 3)


def test_the_state_is_out_of_a_readers_reach(writer: StateBoardWriter, name: str) -> None:
    reader = StateBoardReader(name)
    with pytest.raises(ValueError, match="read-only"):
        reader._words[0] = 1
    assert reader._control is not None and len(reader._control) == B.CONTROL_WORDS
    mode = segment_path(name, BOARD_KIND).stat().st_mode & 0o777
    assert mode == 0o600, "others may neither read nor ask"


def test_nothing_is_asked_of_a_successor_that_was_not_read(
    writer: StateBoardWriter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that the path names may be another by the time it is opened for writing."""
    old = StateBoardReader(name)._words
    successor = StateBoardWriter(name, INFO, START_NS + 1)
    monkeypatch.setattr(state_board, "map_words", lambda *_: old)
    with pytest.raises(StateBoardError, match="ask for nothing"):
        StateBoardReader(name).request_kill()
    assert successor.requests() == writer.requests() == Requests(0, 0, 0)


# --- lives ---------------------------------------------------------------------------------------


def test_a_reader_sees_what_the_writer_described(writer: StateBoardWriter, name: str) -> None:
    reader = StateBoardReader(name)
    assert reader.info == INFO
    assert (reader.writer_pid, reader.start_ns, reader.heartbeat_ns) == (os.getpid(), 77, 77)
    shown(writer, name, Maker(venues=2))
    assert (reader.heartbeat_ns, reader.sequence, reader.is_closed) == (STEADY_NS, 1, False)


def test_closing_is_harmless_twice_and_leaves_a_successor_alone(
    writer: StateBoardWriter, name: str
) -> None:
    reader = StateBoardReader(name)
    writer.close()
    assert reader.is_closed and not segment_path(name, BOARD_KIND).exists()
    successor = StateBoardWriter(name, INFO, 1_000)
    writer.close()
    assert StateBoardReader(name).start_ns == 1_000
    successor.close()
    with pytest.raises(StateBoardError, match=f"no market maker runs as '{name}'"):
        StateBoardReader(name)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\0" * 8, b"POLLUX+M" * 3, b"POLLUX+M" * B.BOARD_WORDS]
)
def test_a_file_that_is_no_board_is_refused(name: str, content: bytes) -> None:
    segment_path(name, BOARD_KIND).write_bytes(content)
    with pytest.raises(StateBoardError):
        StateBoardReader(name)


def test_another_layout_and_a_cut_board_are_refused(writer: StateBoardWriter, name: str) -> None:
    writer.words[B.VERSION_AT] = 0
    with pytest.raises(StateBoardError, match="layout version 0"):
        StateBoardReader(name)
    writer.words[B.VERSION_AT] = B.BOARD_VERSION
    os.truncate(segment_path(name, BOARD_KIND), 8 * (B.BOARD_WORDS - 1))
    with pytest.raises(StateBoardError, match="words"):
        StateBoardReader(name)


def test_no_name_of_a_daemon_is_that_of_a_board(name: str) -> None:
    with pytest.raises(HandoffError):
        segment_path(f"{name}+{BOARD_KIND}")
    assert slot_of(O.SELL, 9, 7) == 8 * O.VENUE_SLOTS - 1, "the layout's largest slot"
