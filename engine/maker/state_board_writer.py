"""The writing half of the market maker's board: one kernel that copies everything.

Invariants: a state is whole or is not seen; nothing is allocated; the order table and the risk
gate are read and never changed.
Runs on: the engine thread.
"""

from __future__ import annotations

import os

import numpy as np

from engine.compiling.atomics import Words, fence_release, load_acquire, store_release
from engine.compiling.jit import inner, kernel
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker import state_board_layout as B
from engine.maker.orders import is_live
from engine.maker.risk_codes import NO_DAY
from engine.maker.state_board import Requests, StateBoardInfo, board_kind
from engine.sharing.segment import OwnedSegment, put_text, read_word, segment_path, write_word


@inner
def _copy_result(board: Words, slot: int, before: int, risk: Words, stamp_ns: int) -> None:
    """The result as the gate has valued it; without a fair price, what it was at the last one."""
    if risk[O.RISK_FAIR_PRICE] == 0:
        for word in (B.SLOT_RESULT_NS, B.SLOT_RESULT_VALUE, B.SLOT_START_VALUE):
            board[slot + word] = board[before + word]
        return
    result = risk[O.RISK_RESULT_VALUE]
    board[slot + B.SLOT_RESULT_VALUE] = result
    start_value = board[before + B.SLOT_START_VALUE]
    if board[before + B.SLOT_RESULT_NS] == 0:
        has_begun = risk[O.RISK_DAY] != NO_DAY and risk[O.RISK_DAY] != risk[O.RISK_RESUMED_DAY]
        start_value = risk[O.RISK_DAY_START_VALUE] if has_begun else result
    board[slot + B.SLOT_START_VALUE] = start_value
    board[slot + B.SLOT_RESULT_NS] = stamp_ns


@inner
def _copy_orders(board: Words, slot: int, table: Words) -> None:
    """Every live order, in the order of its slot."""
    count = 0
    to = slot + B.SLOT_ORDERS_AT
    for venue in range(table[O.ACCOUNT_VENUES]):
        row = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_ROWS_AT
        for _ in range(O.VENUE_SLOTS * O.SLOT_ROWS):
            if is_live(table[row + O.ORDER_STATE]):
                for word in range(B.ROW_WORDS):
                    board[to + word] = table[row + word]
                to += B.ROW_WORDS
                count += 1
            row += O.ORDER_WORDS
    assert count <= B.ORDERS_MAX, "more orders than the board has room for"
    board[slot + B.SLOT_ORDERS] = count


@kernel("int64(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64, int64)")
def publish_state_board(
    board: Words, table: Words, risk: Words, fair: Words, venues: Words, stamp_ns: int, now_ns: int
) -> int:
    """Copy what the market maker is and has into the next slot; the number of this state.

    `board`: the segment, `table` and `risk`: as `decide` has them, `fair`: `FairSpec.words`,
    `venues`: VENUE words for each venue; `stamp_ns`: what time it is, `now_ns`: steady time.
    """
    sequence = load_acquire(board, B.SEQUENCE) + 1
    before = B.SLOTS_AT + (sequence - 1) % B.SLOTS * B.SLOT_WORDS
    slot = B.SLOTS_AT + sequence % B.SLOTS * B.SLOT_WORDS
    store_release(board, slot + B.SLOT_VERSION, 2 * sequence - 1)
    fence_release()
    board[slot + B.SLOT_PUBLISH_NS] = stamp_ns
    _copy_result(board, slot, before, risk, stamp_ns)
    board[slot + B.SLOT_FAIR_STATUS] = fair[Q.FAIR_STATUS]
    board[slot + B.SLOT_FAIR_PRICE] = fair[Q.FAIR_PRICE]
    for word in range(O.ACCOUNT_WORDS):
        board[slot + B.SLOT_ACCOUNT_AT + word] = table[word]
    for word in range(B.SLOT_RISK_WORDS):
        board[slot + B.SLOT_RISK_AT + word] = risk[word]
    for word in range(table[O.ACCOUNT_VENUES] * B.VENUE_WORDS):
        board[slot + B.SLOT_VENUES_AT + word] = venues[word]
    _copy_orders(board, slot, table)
    store_release(board, slot + B.SLOT_VERSION, 2 * sequence)
    store_release(board, B.SEQUENCE, sequence)
    store_release(board, B.HEARTBEAT_NS, now_ns)
    return sequence


class StateBoardWriter:
    """Creates and owns the board of one market maker, the daemon's `number`th from 0. `name=None`
    keeps it private (replay, tests).

    `venues` is for the market maker to write: VENUE words for each venue, which `publish` copies.
    """

    def __init__(
        self, name: str | None, info: StateBoardInfo, start_ns: int, number: int = 0
    ) -> None:
        self.info = info
        image = np.zeros(B.BOARD_WORDS, np.int64)
        self._describe(image, start_ns)
        path = segment_path(name, board_kind(number)) if name is not None else None
        self._segment = OwnedSegment(path, image, B.VERSION_AT, B.BOARD_VERSION)
        self.words = self._segment.words
        self._readable = self.words.view()
        self._readable.flags.writeable = False
        self.venues: Words = np.zeros(len(info.venues) * B.VENUE_WORDS, np.int64)

    def _describe(self, words: Words, start_ns: int) -> None:
        info = self.info
        words[B.MAGIC_AT] = B.BOARD_MAGIC
        words[B.WRITER_PID] = os.getpid()
        words[B.START_NS] = words[B.HEARTBEAT_NS] = start_ns
        words[B.INFO_VENUES] = len(info.venues)
        words[B.INFO_IS_LIVE] = info.is_live
        words[B.INFO_PRICE_MANTISSA] = info.price_mantissa
        words[B.INFO_PRICE_DECIMALS] = info.price_decimals
        words[B.INFO_LOT_DECIMALS] = info.lot_decimals
        words[B.INFO_VALUE_SCALE] = info.value_scale
        put_text(words, B.INFO_SYMBOL_AT, info.symbol, L.SYMBOL_BYTES_MAX)
        for venue, name in enumerate(info.venues):
            at = B.INFO_VENUE_NAMES_AT + venue * L.VENUE_NAME_WORDS
            put_text(words, at, name, L.VENUE_NAME_BYTES_MAX)

    def set_venue(self, venue: int, word: int, value: int) -> None:
        """One of a venue's VENUE words; the next `publish` shows it."""
        self.venues[venue * B.VENUE_WORDS + word] = value

    def count_venue(self, venue: int, word: int) -> None:
        """One more of what a venue's VENUE word counts."""
        self.venues[venue * B.VENUE_WORDS + word] += 1

    def publish(self, table: Words, risk: Words, fair: Words, stamp_ns: int, now_ns: int) -> int:
        """Show what is now; the number of this state.

        `stamp_ns`: what time it is, `now_ns`: steady time (tuning.clock). It is also the heartbeat:
        twice a second at the least, whether or not anything changed.
        """
        assert table[O.ACCOUNT_VENUES] == len(self.info.venues)
        args = (self.words, table, risk, fair, self.venues, stamp_ns, now_ns)
        return int(publish_state_board(*args))

    def requests(self) -> Requests:
        """How often each was asked for so far.

        Where several have grown, accept first, release then, and kill last: in doubt nothing is
        quoted.
        """
        kills = read_word(self._readable, B.KILLS_ASKED)
        releases = read_word(self._readable, B.RELEASES_ASKED)
        return Requests(kills, releases, read_word(self._readable, B.ACCEPTS_ASKED))

    def answer(self, taken: Requests) -> None:
        """So many of them are taken: after the `publish` that shows what came of it."""
        write_word(self.words, B.KILLS_DONE, taken.kills)
        write_word(self.words, B.RELEASES_DONE, taken.releases)
        write_word(self.words, B.ACCEPTS_DONE, taken.accepts)

    def close(self) -> None:
        """Mark the market maker stopped and remove the board's name; harmless twice."""
        write_word(self.words, B.IS_CLOSED, 1)
        self._segment.remove()
