"""One step of the market maker, one kernel call: from the book as published to messages to send.

    rates -> our own orders -> fair price less those -> volatility -> for each venue: its best
    prices less ours, the model's lean and width -> quotes -> what its account can pay for ->
    wanted rows, held after a fill -> risk gate -> actions

The words of all of it stay where their rooms have allocated them; `STEP` words hold where that is,
and what each venue may do. Between two steps, events change the order table through its kernels.
Runs on: the engine thread.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np

from engine.book.side import side_at
from engine.compiling.atomics import Words, view_words
from engine.compiling.jit import inner, kernel
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.account import put_rate, set_rate
from engine.maker.fair import AVAILABLE, factor_at, mid_at, price_at, update_fair
from engine.maker.funds import FUND_WORDS, fit_side, new_funds, venue_skew_ppm
from engine.maker.model import ModelSpec, put_model, update_volatility
from engine.maker.own_lots import OWN_WORDS, lots_above, own_lots, read_own
from engine.maker.pace import PACE_WORDS, held_sides, new_pace, take_side_fills
from engine.maker.quotes import NOT_MEASURED, update_quotes
from engine.maker.rated_book import RATED_WORDS, merge_rated
from engine.maker.rates import NO_RATE, market_rate, rate_of
from engine.maker.risk_gate import decide_all
from engine.sharing.handoff import slot_at

(
    STEP_ARENA,
    STEP_ARENA_WORDS,
    STEP_INSTRUMENT,
    STEP_VENUES,
    STEP_FAIR,
    STEP_QUOTES,
    STEP_TABLE,
    STEP_TABLE_WORDS,
    STEP_RISK,
    STEP_RISK_WORDS,
    STEP_WANTED,
    STEP_ACTIONS,
    STEP_SEQUENCE,
    STEP_OWN,
    STEP_IS_SHOWN,
    STEP_TAKES,
    STEP_RATED_BOOK,
    STEP_PACE,
    STEP_FUNDS,
    STEP_MODEL,
    STEP_VENUES_AT,
) = range(21)
"""Addresses and sizes; the instrument's offset in the arena; the sequence of the book used last;
whether the venues' books show our orders; whether somebody sends orders that take, whose slots are
left alone. RATED_BOOK: 0 where no venue has a rate."""
(
    VENUE_MAY_BUY,
    VENUE_MAY_SELL,
    VENUE_QUOTE_STATUS,
    VENUE_STAMP_NS,
    VENUE_HEARD_NS,
    VENUE_RATE_MARKET,
    VENUE_WORDS,
) = range(7)
"""STAMP: of the feed's last frame, by the wall clock, compared for being another and for nothing
else; HEARD: when a step first saw it, in steady time. RATE_MARKET: the instrument in
the arena that the venue's rate is taken from, 0 where it stays."""
STEP_WORDS = STEP_VENUES_AT + L.VENUES_MAX * VENUE_WORDS

(LEAVE, CANCEL, QUOTE) = range(3)
"""What a side of a venue may do: nothing is sent, what rests is cancelled, quotes are kept."""

assert Q.SLOTS == O.VENUE_SLOTS and Q.LEVELS_MAX == O.SLOT_LEVELS
assert O.BUY == 0 and O.SELL == 1


@inner
def _best_of_others(
    arena: Words, feed: int, is_asks: int, own: Words, venue: int, tick_units: int
) -> int:
    """The venue's best price in the ticks that it declares, less what only we stand at; 0 where the
    side is empty. A price between two ticks, which no order of ours has, is the worse one.

    Where all known levels are ours the last of them stands in for what is behind it.
    """
    side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
    sign = -1 if is_asks else 1
    parts, lot_decimals = arena[feed + L.FEED_DECLARED_UNITS], arena[feed + L.FEED_LOT_DECIMALS]
    best = 0
    for level in range(arena[side + L.SIDE_TOP_LEVELS]):
        key = arena[side + L.SIDE_TOP_KEYS_AT + level]
        best = sign * (key // parts)
        if key % parts != 0:
            break
        lots = arena[side + L.SIDE_TOP_LOTS_AT + level]
        if lots_above(lots, lot_decimals, own_lots(own, venue, is_asks, best * tick_units)):
            break
    return best


@inner
def _quote_venue(
    arena: Words,
    feed: int,
    venue: int,
    quotes: Words,
    at: int,
    table: Words,
    own: Words,
    funds: Words,
    model: Words,
    fair_price: float,
    factor: float,
) -> int:
    """Write one venue's inputs and let its quotes be computed, in the venue's currency; their
    status. `factor`: the venue's rate."""
    tick_units = quotes[at + Q.QUOTE_TICK_UNITS]
    is_live_book = arena[feed + L.FEED_STATE] == L.LIVE
    bid = _best_of_others(arena, feed, 0, own, venue, tick_units)
    ask = _best_of_others(arena, feed, 1, own, venue, tick_units)
    quotes[at + Q.QUOTE_BEST_BID] = bid if is_live_book else 0
    quotes[at + Q.QUOTE_BEST_ASK] = ask if is_live_book else 0
    quotes[at + Q.QUOTE_POSITION_LOTS] = table[O.ACCOUNT_POSITION_LOTS]
    quotes[at + Q.QUOTE_VENUE_SKEW_PPM] = venue_skew_ppm(funds, table, venue)
    if not put_model(model, quotes, at, table[O.ACCOUNT_POSITION_LOTS], fair_price):
        update_quotes(quotes, at, math.nan)
        return NOT_MEASURED
    return update_quotes(quotes, at, fair_price / factor)


@inner
def _held_lots(quotes: Words, at: int, within: int) -> int:
    """What is wanted of a slot where nothing new may be placed: what rests, or nothing.

    It stays where its price is the wanted one and no more of it rests than is wanted.
    """
    resting = at + Q.QUOTE_RESTING_AT + within * Q.ROW_WORDS
    row = at + Q.QUOTE_WANTED_AT + within * Q.ROW_WORDS
    lots = quotes[resting + Q.ROW_LOTS]
    is_at_price = quotes[resting + Q.ROW_PRICE] == quotes[row + Q.ROW_PRICE]
    return lots if is_at_price and lots <= quotes[row + Q.ROW_LOTS] else 0


@inner
def _fit(
    step: Words,
    words: int,
    funds: Words,
    table: Words,
    venue: int,
    quotes: Words,
    at: int,
    position: int,
    is_reducing: bool,
    room: int,
) -> int:
    """Cut a venue's quotes to what can be paid for there; the lots left of `room`, which all venues
    together may reduce the position by. A side that may not quote takes none of it."""
    for side in range(O.SIDES):
        if step[words + VENUE_MAY_BUY + side] != QUOTE:
            continue
        reduces = is_reducing and side == (O.SELL if position > 0 else O.BUY)
        left = fit_side(funds, table, venue, side, quotes, at, room if reduces else O.LOTS_MAX)
        if reduces:
            room = left
    return room


@inner
def _want(
    wanted: Words, venue: int, step: Words, words: int, quotes: Words, at: int, held: int
) -> None:
    """What is wanted of a venue's slots, prices in the common units of orders.

    `held`: the sides on which nothing new may be placed: 1 for bids, 2 for asks, 3 for both.
    """
    tick_units = quotes[at + Q.QUOTE_TICK_UNITS]
    for within in range(O.VENUE_SLOTS):
        row = at + Q.QUOTE_WANTED_AT + within * Q.ROW_WORDS
        slot = (venue * O.VENUE_SLOTS + within) * O.WANTED_WORDS
        side = within // O.SLOT_LEVELS
        may = step[words + VENUE_MAY_BUY + side]
        if step[STEP_TAKES] != 0 and within % O.SLOT_LEVELS == O.TAKE_LEVEL:
            may = LEAVE
        wanted[slot + O.WANTED_PRICE] = quotes[row + Q.ROW_PRICE] * tick_units
        if may == QUOTE and held >> side & 1 == 0:
            wanted[slot + O.WANTED_LOTS] = quotes[row + Q.ROW_LOTS]
        elif may == QUOTE:
            wanted[slot + O.WANTED_LOTS] = _held_lots(quotes, at, within)
        else:
            wanted[slot + O.WANTED_LOTS] = 0 if may == CANCEL else O.LEFT_ALONE


@inner
def _newest_heard_ns(step: Words, arena: Words, instrument: int, venues: int, now_ns: int) -> int:
    """When a frame of any live venue was last seen to have come."""
    newest = 0
    for venue in range(venues):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        words = STEP_VENUES_AT + venue * VENUE_WORDS
        if step[words + VENUE_STAMP_NS] != arena[feed + L.FEED_RECEIVE_NS]:
            step[words + VENUE_STAMP_NS] = arena[feed + L.FEED_RECEIVE_NS]
            step[words + VENUE_HEARD_NS] = now_ns
        if arena[feed + L.FEED_STATE] == L.LIVE:
            newest = max(newest, step[words + VENUE_HEARD_NS])
    return newest


@inner
def _take_rates(
    step: Words, arena: Words, instrument: int, table: Words, fair: Words, handoff: Words
) -> None:
    """The venues' rates of now, for the account and for the fair price, and the book that they make
    of the venues'."""
    fair[Q.FAIR_HAS_RATES] = 1
    for venue in range(step[STEP_VENUES]):
        market = step[STEP_VENUES_AT + venue * VENUE_WORDS + VENUE_RATE_MARKET]
        if market != 0:
            ring, sequence = (
                arena[market + L.INSTRUMENT_RING],
                arena[market + L.INSTRUMENT_SEQUENCE],
            )
            rate = market_rate(handoff, ring, sequence, fair[Q.FAIR_CROSSED_PPM_MAX])
            if rate == NO_RATE:
                fair[Q.FAIR_HAS_RATES] = 0
            else:
                put_rate(table, venue, rate)
        factor = float(rate_of(table, venue)) / float(O.RATE_ONE)
        fair[Q.FAIR_FACTORS_AT + venue] = np.float64(factor).view(np.int64)
    merge_rated(arena, instrument, fair, view_words(step[STEP_RATED_BOOK], RATED_WORDS))


@inner
def _step(step: Words, arena: Words, instrument: int, sequence: int, now_ns: int) -> int:
    venues = step[STEP_VENUES]
    fair = view_words(step[STEP_FAIR], Q.FAIR_WORDS)
    quotes = view_words(step[STEP_QUOTES], venues * Q.QUOTE_WORDS)
    table = view_words(step[STEP_TABLE], step[STEP_TABLE_WORDS])
    risk = view_words(step[STEP_RISK], step[STEP_RISK_WORDS])
    wanted = view_words(step[STEP_WANTED], venues * O.VENUE_SLOTS * O.WANTED_WORDS)
    actions_words = venues * O.VENUE_SLOTS * O.SLOT_ROWS * O.ACTION_WORDS
    actions = view_words(step[STEP_ACTIONS], actions_words)
    funds = view_words(step[STEP_FUNDS], venues * FUND_WORDS)
    handoff = view_words(arena[L.ENGINE_HANDOFF_ADDRESS], arena[L.ENGINE_HANDOFF_WORDS])
    own = view_words(step[STEP_OWN], OWN_WORDS)
    pace = view_words(step[STEP_PACE], PACE_WORDS)
    model = view_words(step[STEP_MODEL], Q.MODEL_WORDS)
    slot = slot_at(arena[instrument + L.INSTRUMENT_RING], sequence)
    heard_ns = _newest_heard_ns(step, arena, instrument, venues, now_ns)
    for venue in range(venues):
        at = venue * Q.QUOTE_WORDS
        units = quotes[at + Q.QUOTE_TICK_UNITS]
        read_own(table, venue, own, quotes, at, units, step[STEP_IS_SHOWN])
        stamp_ns = step[STEP_VENUES_AT + venue * VENUE_WORDS + VENUE_STAMP_NS]
        take_side_fills(pace, table, venue, stamp_ns, now_ns)
    fair[Q.FAIR_BOOK_UNITS] = arena[instrument + L.INSTRUMENT_DECLARED_UNITS]
    if step[STEP_RATED_BOOK] != 0:
        _take_rates(step, arena, instrument, table, fair, handoff)
        book = view_words(step[STEP_RATED_BOOK], RATED_WORDS)
        status = update_fair(book, 0, fair, 0, own, heard_ns, now_ns)
    else:
        status = update_fair(handoff, slot, fair, 0, own, heard_ns, now_ns)
    fair_price = price_at(fair, 0)
    position = table[O.ACCOUNT_POSITION_LOTS]
    is_reducing = risk[O.RISK_STATE] == O.REDUCING
    room = abs(position) if is_reducing else O.LOTS_MAX
    update_volatility(model, mid_at(fair, 0), now_ns)
    for venue in range(venues):
        feed = arena[instrument + L.INSTRUMENT_FEEDS_AT + venue]
        words = STEP_VENUES_AT + venue * VENUE_WORDS
        at = venue * Q.QUOTE_WORDS
        if step[words + VENUE_MAY_BUY] == QUOTE or step[words + VENUE_MAY_SELL] == QUOTE:
            step[words + VENUE_QUOTE_STATUS] = _quote_venue(
                arena,
                feed,
                venue,
                quotes,
                at,
                table,
                own,
                funds,
                model,
                fair_price,
                factor_at(fair, 0, venue),
            )
            room = _fit(step, words, funds, table, venue, quotes, at, position, is_reducing, room)
        held = held_sides(pace, venue, step[words + VENUE_STAMP_NS], now_ns)
        _want(wanted, venue, step, words, quotes, at, held)
    has_fair = status == AVAILABLE and 0.5 <= fair_price < float(O.PRICE_MAX)
    fair_units = math.floor(fair_price + 0.5) if has_fair else 0
    return decide_all(table, risk, wanted, actions, fair_units, now_ns)


@kernel("int64(int64, int64, int64)")
def step_maker(address: int, now_ns: int, is_forced: int) -> int:
    """Take one step; how many actions are to be sent as they stand.

    `address`: of the STEP words; `now_ns`: steady time (tuning.clock). Nothing is done where the
    book is the one of the step before, unless `is_forced`, or where none has been published yet.
    """
    step = view_words(address, STEP_WORDS)
    arena = view_words(step[STEP_ARENA], step[STEP_ARENA_WORDS])
    instrument = step[STEP_INSTRUMENT]
    sequence = arena[instrument + L.INSTRUMENT_SEQUENCE]
    if sequence == 0 or (sequence == step[STEP_SEQUENCE] and is_forced == 0):
        return 0
    step[STEP_SEQUENCE] = sequence
    return _step(step, arena, instrument, sequence, now_ns)


_ACTION = struct.Struct(f"={O.ACTION_WORDS}q")


class Action(NamedTuple):
    """One message that is to be sent, in the order of the ACTION words."""

    kind: int
    slot: int
    order_id: int
    """Of the order to cancel or to replace; 0 for a new one."""
    new_id: int
    """Of the order that is new; 0 for a cancel."""
    price_units: int
    lots: int

    @property
    def venue(self) -> int:
        return self.slot // O.VENUE_SLOTS


assert len(Action._fields) == O.ACTION_WORDS and Action._fields.index("lots") == O.ACTION_LOTS


class MakerStep:
    """The words of one market maker, described to the kernel once. They must outlive this object.

    `instrument_at`: the instrument's offset in `arena`; `table`, `risk`, `fair`: as `decide_all`,
    `update_fair` have them; `quotes`: QUOTE words of each venue, one after the other; `pause_ns`:
    so long nothing new is placed on a side after a fill; `is_shown`: whether the venues' books show
    our orders, which on paper they do not; `takes`: whether orders that take are sent, by somebody
    else; `model`: what the quotes are made of, or nothing but
    their own rules.
    """

    def __init__(
        self,
        arena: Words,
        instrument_at: int,
        table: Words,
        risk: Words,
        fair: Words,
        quotes: Words,
        *,
        pause_ns: int = 0,
        is_shown: bool = True,
        takes: bool = False,
        model: ModelSpec | None = None,
    ) -> None:
        venues = int(table[O.ACCOUNT_VENUES])
        assert len(table) == O.table_words(venues) and len(risk) == O.risk_words(venues)
        assert len(fair) == Q.FAIR_WORDS and len(quotes) == venues * Q.QUOTE_WORDS
        self.table, self.risk, self.fair, self.quotes = table, risk, fair, quotes
        self.funds = new_funds(venues)
        """What each venue's account has for orders; FUND words of each."""
        self.actions: Words = np.zeros(O.actions_words(venues), np.int64)
        self._action_bytes = self.actions.view(np.uint8).data
        self._arena = arena
        self._wanted: Words = np.zeros(O.wanted_words(venues), np.int64)
        self._own: Words = np.zeros(OWN_WORDS, np.int64)
        self._rated_book: Words = np.zeros(RATED_WORDS, np.int64)
        self._pace = new_pace(pause_ns)
        self.model = (model or ModelSpec()).words()
        self._words: Words = np.zeros(STEP_WORDS, np.int64)
        self.address = int(self._words.ctypes.data)
        """What `step_maker` takes."""
        step = self._words
        step[STEP_ARENA], step[STEP_ARENA_WORDS] = arena.ctypes.data, len(arena)
        step[STEP_INSTRUMENT], step[STEP_VENUES] = instrument_at, venues
        step[STEP_FAIR], step[STEP_QUOTES] = fair.ctypes.data, quotes.ctypes.data
        step[STEP_TABLE], step[STEP_TABLE_WORDS] = table.ctypes.data, len(table)
        step[STEP_RISK], step[STEP_RISK_WORDS] = risk.ctypes.data, len(risk)
        step[STEP_FUNDS] = self.funds.ctypes.data
        step[STEP_WANTED] = self._wanted.ctypes.data
        step[STEP_ACTIONS] = self.actions.ctypes.data
        step[STEP_OWN], step[STEP_IS_SHOWN] = self._own.ctypes.data, is_shown
        step[STEP_TAKES] = takes
        step[STEP_PACE] = self._pace.ctypes.data
        step[STEP_MODEL] = self.model.ctypes.data

    def parts(self) -> dict[int, Words]:
        """All that a step writes, beside the STEP words themselves: by the STEP word that has its
        address."""
        return {
            STEP_FAIR: self.fair,
            STEP_QUOTES: self.quotes,
            STEP_TABLE: self.table,
            STEP_RISK: self.risk,
            STEP_WANTED: self._wanted,
            STEP_ACTIONS: self.actions,
            STEP_OWN: self._own,
            STEP_PACE: self._pace,
            STEP_FUNDS: self.funds,
            STEP_MODEL: self.model,
        } | ({STEP_RATED_BOOK: self._rated_book} if self._words[STEP_RATED_BOOK] else {})

    @property
    def book_sequence(self) -> int:
        """Of the book that the last step has used."""
        return int(self._words[STEP_SEQUENCE])

    def rate(self, venue: int, rate: int, market_at: int = 0) -> None:
        """A venue's rate in 1e-8 from now on; `market_at`: the instrument in the arena whose mid it
        is at every step, 0 for none."""
        set_rate(self.table, venue, rate)
        self._words[STEP_RATED_BOOK] = self._rated_book.ctypes.data
        self._words[STEP_VENUES_AT + venue * VENUE_WORDS + VENUE_RATE_MARKET] = market_at

    def permit(self, venue: int, side: int, permission: int) -> None:
        """What a side of a venue may do from now on: LEAVE, CANCEL or QUOTE."""
        assert LEAVE <= permission <= QUOTE
        self._words[STEP_VENUES_AT + venue * VENUE_WORDS + VENUE_MAY_BUY + side] = permission

    def decided(self, count: int) -> list[Action]:
        """The first `count` actions."""
        words = self._action_bytes[: count * _ACTION.size]
        return [Action._make(each) for each in _ACTION.iter_unpack(words)]
