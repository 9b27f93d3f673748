"""The order table: every event in every state, fills however they come, ids, plans."""

from __future__ import annotations

import re
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker.client_ids import format_client_id, parse_client_id
from engine.maker.orders import (
    BAD_EVENT,
    IGNORE,
    NO_ROW,
    TRANSITIONS,
    new_table,
    on_disconnect,
)
from tests.engine.maker.rig import EPOCH, FAIR, Maker, order_id, slot_of

pytestmark = pytest.mark.kernel

LIVE = range(O.PENDING_NEW, O.UNKNOWN + 1)
CLOSED = range(O.FILLED, O.EXPIRED + 1)
REQUESTS = (O.SUBMIT, O.CANCEL_REQUEST, O.REPLACE_REQUEST)
REPLACE_ANSWERS = (O.REPLACE_ACK, O.REPLACE_REJECT)
ANSWERS = tuple(
    event for event in range(O.EVENTS) if event not in (*REQUESTS, O.FILL, *REPLACE_ANSWERS)
)
PENDING = (O.PENDING_NEW, O.PENDING_CANCEL, O.PENDING_REPLACE)
SETTLED = (O.OPEN, O.PARTIALLY_FILLED)


def expected(event: int, state: int) -> int:
    """The next state by the rules in words, or IGNORE; written apart from the table."""
    if state == O.FREE:
        return O.PENDING_NEW if event == O.SUBMIT else IGNORE
    if state in CLOSED:
        if event == O.FILL:
            return O.UNKNOWN if state == O.REJECTED else state
        if state != O.FILLED and event == O.FOUND_OPEN:
            return O.UNKNOWN
        return O.UNKNOWN if state == O.REJECTED and event == O.ACK else IGNORE
    if state == O.UNKNOWN:
        leaves = {O.FOUND_OPEN: O.OPEN, O.FOUND_CLOSED: O.CANCELED, O.NOT_FOUND: O.REJECTED}
        return leaves.get(event, state if event in (O.FILL, O.CANCEL_REQUEST) else IGNORE)
    always = {
        O.CANCEL_ACK: O.CANCELED,
        O.FOUND_CLOSED: O.CANCELED,
        O.EXPIRE: O.EXPIRED,
        O.DISCONNECT: O.UNKNOWN,
    }
    if event in always:
        return always[event]
    if event in (O.FILL, O.FOUND_OPEN):
        return O.OPEN if state == O.PENDING_NEW else state
    if event == O.CANCEL_REQUEST:
        return IGNORE if state == O.PENDING_CANCEL else O.PENDING_CANCEL
    if event == O.NOT_FOUND:
        return IGNORE if state == O.PENDING_NEW else O.UNKNOWN
    if event == O.TIMEOUT:
        return O.UNKNOWN if state in PENDING else IGNORE
    if event == O.REPLACE_REQUEST:
        return O.PENDING_REPLACE if state in SETTLED else IGNORE
    if event == O.REPLACE_ACK:
        return IGNORE if state == O.PENDING_NEW else O.CANCELED
    if event == O.REJECT:
        return O.REJECTED if state in (O.PENDING_NEW, O.PENDING_CANCEL) else IGNORE
    only_in = {
        (O.ACK, O.PENDING_NEW): O.OPEN,
        (O.CANCEL_REJECT, O.PENDING_CANCEL): O.UNKNOWN,
        (O.REPLACE_REJECT, O.PENDING_REPLACE): O.UNKNOWN,
    }
    return only_in.get((event, state), IGNORE)


@pytest.mark.parametrize("event", range(O.EVENTS), ids=O.EVENT_NAMES)
def test_every_event_has_one_transition_in_every_state(event: int) -> None:
    for state in range(O.STATES):
        cell = int(TRANSITIONS[event * O.STATES + state])
        assert cell == IGNORE or O.PENDING_NEW <= cell < O.STATES
        assert cell == expected(event, state), (O.EVENT_NAMES[event], O.STATE_NAMES[state])


def settled(state: int, filled_lots: int, lots: int) -> int:
    """The two rules that hold for every result."""
    if state not in (O.UNKNOWN, O.FREE) and filled_lots >= lots:
        return O.FILLED
    return O.PARTIALLY_FILLED if state == O.OPEN and filled_lots else state


def in_state(state: int) -> tuple[Maker, int, int]:
    """A maker with one order of 10 lots in that state, written by hand; its id and filled lots."""
    before = 3 if state == O.PARTIALLY_FILLED else 10 if state == O.FILLED else 0
    maker = Maker()
    found = maker.new(O.BUY, FAIR - 5, 10)
    maker.event(O.FOUND_CLOSED, found)
    row = maker.row(found)
    maker.table[row.at + O.ORDER_STATE] = state
    maker.table[row.at + O.ORDER_FILLED_LOTS] = before
    maker.table[row.at + O.ORDER_EXECUTED_LOTS] = before
    maker.table[O.ACCOUNT_LIVE_ORDERS] = int(state in LIVE)
    maker.table[O.ACCOUNT_OPEN_BUY_LOTS] = 10 - before if state in LIVE else 0
    return maker, found, before


@pytest.mark.parametrize("lots", (2, 10))
@pytest.mark.parametrize("says_sums", (False, True))
def test_a_fill_counts_in_every_state(lots: int, says_sums: bool) -> None:
    for state in range(O.PENDING_NEW, O.STATES):
        maker, found, before = in_state(state)
        answer = maker.fill(found, 1, O.BUY, FAIR - 5, lots, before + lots if says_sums else 0)
        assert answer == settled(expected(O.FILL, state), before + lots, 10)
        assert maker.position == lots
        assert maker.table[O.ACCOUNT_ANOMALIES] == int(before + lots > 10)
        maker.check()
        assert maker.fill(found, 1, O.BUY, FAIR - 5, lots) == answer
        assert maker.position == lots


@pytest.mark.parametrize(("event", "filled_lots"), tuple(product(ANSWERS, (0, 4, 10))))
def test_the_kernel_walks_the_table(event: int, filled_lots: int) -> None:
    for state in range(O.PENDING_NEW, O.STATES):
        maker, found, before = in_state(state)
        cell = expected(event, state)
        answer = maker.event(event, found, filled_lots)
        total = max(before, filled_lots)
        assert answer == settled(state if cell == IGNORE else cell, total, 10)
        assert maker.state(found) == answer
        assert maker.table[O.ACCOUNT_IGNORED_EVENTS] == int(cell == IGNORE)
        assert maker.position == total - before
        maker.check()


def test_a_replace_is_answered_to_both_orders() -> None:
    for event, old_state, new_state in (
        (O.REPLACE_ACK, O.CANCELED, O.OPEN),
        (O.REPLACE_REJECT, O.UNKNOWN, O.REJECTED),
        (O.TIMEOUT, O.UNKNOWN, O.UNKNOWN),
    ):
        maker = Maker()
        old = maker.open(O.BUY, FAIR - 5, 10)
        (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(O.BUY), FAIR - 4, 12, old)
        assert (sent.kind, sent.id) == (O.ACTION_REPLACE, old)
        assert maker.state(old) == O.PENDING_REPLACE
        assert maker.state(sent.new_id) == O.PENDING_NEW
        assert maker.table[O.ACCOUNT_OPEN_BUY_LOTS] == 22
        for _ in range(2):
            assert maker.event(event, sent.new_id) == new_state
            assert maker.state(old) == old_state
            maker.check()


def test_the_doubled_answer_to_a_replace_is_not_taken_for_the_next_ones() -> None:
    maker = Maker()
    old = maker.open(O.BUY, FAIR - 5, 10)
    (first,) = maker.submit(O.ACTION_REPLACE, slot_of(O.BUY), FAIR - 4, 10, old)
    maker.event(O.REPLACE_REJECT, first.new_id)
    maker.event(O.FOUND_OPEN, old)
    (second,) = maker.submit(O.ACTION_REPLACE, slot_of(O.BUY), FAIR - 3, 10, old)
    maker.event(O.REPLACE_REJECT, first.new_id)
    assert maker.state(second.new_id) == O.PENDING_NEW
    assert maker.state(old) == O.UNKNOWN


def test_the_sum_of_an_answered_replace_is_the_old_orders() -> None:
    maker = Maker()
    old = maker.open(O.SELL, FAIR + 5, 10)
    (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(O.SELL), FAIR + 6, 10, old)
    maker.event(O.REPLACE_ACK, sent.new_id, 4)
    assert maker.position == -4
    assert maker.row(old).filled_lots == 4 and maker.row(sent.new_id).filled_lots == 0


def test_requests_and_fills_cannot_be_smuggled_in_as_events() -> None:
    maker = Maker()
    found = maker.new(O.BUY, FAIR - 5, 10)
    before = maker.rows()
    for event in (*REQUESTS, O.FILL, -1, O.EVENTS):
        assert maker.event(event, found) == BAD_EVENT
    assert maker.event(O.ACK, found, -1) == BAD_EVENT
    assert maker.event(O.ACK, found, venue=1) == BAD_EVENT
    assert maker.rows() == before
    assert maker.event(O.ACK, 0) == NO_ROW
    assert maker.event(O.ACK, order_id(99)) == NO_ROW


# --- fills ---------------------------------------------------------------------------------------

MESSAGES = ("ack", "fill 3", "fill 7", "fill 3", "cancel ack", "fill 7")


@pytest.mark.parametrize("says_sums", (False, True))
@pytest.mark.parametrize("last", (7, 5))
def test_messages_of_an_order_mean_the_same_in_any_order(says_sums: bool, last: int) -> None:
    total = 3 + last
    ends = set()
    for order in set(permutations(MESSAGES)):
        maker = Maker()
        found = maker.new(O.BUY, FAIR - 5, 10)
        for message in order:
            if message == "ack":
                maker.event(O.ACK, found)
            elif message == "cancel ack":
                maker.event(O.CANCEL_ACK, found, total)
            elif message == "fill 3":
                maker.fill(found, 1, O.BUY, FAIR - 5, 3, 3 if says_sums else 0)
            else:
                maker.fill(found, 2, O.BUY, FAIR - 5, last, total if says_sums else 0)
        maker.check()
        assert maker.position == total
        assert maker.table[O.ACCOUNT_CASH_VALUE] == -total * (FAIR - 5)
        assert maker.table[O.ACCOUNT_DUPLICATE_FILLS] == 2
        assert maker.table[O.ACCOUNT_ANOMALIES] == 0
        ends.add(maker.state(found))
    assert ends == {O.FILLED if total == 10 else O.CANCELED}


def test_a_fill_of_an_order_whose_row_is_gone_counts_once() -> None:
    maker = Maker()
    first = maker.open(O.BUY, FAIR - 5, 10)
    maker.event(O.CANCEL_ACK, first, 6)
    for _ in range(O.SLOT_ROWS):
        maker.event(O.CANCEL_ACK, maker.open(O.BUY, FAIR - 5, 10))
    assert first not in [row.id for row in maker.rows()]
    assert maker.position == 6
    assert maker.fill(first, 1, O.BUY, FAIR - 5, 4) == NO_ROW
    assert maker.position == 6, "the sum had counted it"
    maker.fill(first, 2, O.BUY, FAIR - 5, 3)
    assert maker.position == 7, "two of it were counted"
    maker.fill(order_id(500), 3, O.SELL, FAIR, 9)
    maker.fill(order_id(500), 3, O.SELL, FAIR, 9)
    assert maker.position == -2
    assert maker.table[O.ACCOUNT_ORPHAN_FILLS] == 3


def test_execution_ids_are_the_venues_own_and_the_last_ones_are_remembered() -> None:
    maker = Maker(venues=2)
    for venue in (0, 1):
        maker.fill(order_id(900), 5, O.BUY, FAIR, 1, venue=venue)
    assert maker.position == 2
    for execution in range(100, 100 + O.EXECUTIONS - 1):
        maker.fill(order_id(900), execution, O.BUY, FAIR, 1)
    maker.fill(order_id(900), 5, O.BUY, FAIR, 1)
    assert maker.position == 1 + O.EXECUTIONS
    assert maker.table[O.ACCOUNT_DUPLICATE_FILLS] == 1


def test_a_fill_that_cannot_be_is_refused() -> None:
    maker = Maker()
    found = maker.new(O.BUY, FAIR - 5, 10)
    bad = (
        (found, 0, O.BUY, FAIR, 1, 0),
        (found, 1, 2, FAIR, 1, 0),
        (found, 1, O.SELL, FAIR, 1, 0),
        (found, 1, O.BUY, 0, 1, 0),
        (found, 1, O.BUY, O.PRICE_MAX + 1, 1, 0),
        (found, 1, O.BUY, FAIR, 0, 0),
        (found, 1, O.BUY, FAIR, O.LOTS_MAX + 1, 0),
        (found, 1, O.BUY, FAIR, 1, -1),
    )
    for fill in bad:
        assert maker.fill(*fill) == BAD_EVENT
    assert maker.position == 0
    assert maker.table[O.ACCOUNT_BAD_EVENTS] == len(bad)


def test_an_order_filled_beyond_its_lots_is_an_anomaly() -> None:
    maker = Maker()
    found = maker.open(O.BUY, FAIR - 5, 10)
    maker.fill(found, 1, O.BUY, FAIR - 5, 12)
    assert maker.position == 12
    assert maker.table[O.ACCOUNT_ANOMALIES] == 1


def test_a_lost_connection_makes_the_venues_live_orders_unknown() -> None:
    maker = Maker(venues=2)
    here = maker.open(O.BUY, FAIR - 5, 10, venue=1)
    there = maker.open(O.BUY, FAIR - 5, 10, venue=0)
    assert on_disconnect(maker.table, 1) == 1
    assert maker.state(here) == O.UNKNOWN and maker.state(there) == O.OPEN
    for event in (O.ACK, O.CANCEL_ACK, O.REJECT, O.TIMEOUT, O.EXPIRE):
        assert maker.event(event, here, venue=1) == O.UNKNOWN
    maker.want(slot_of(O.BUY, venue=1), FAIR - 5, 10)
    maker.want(slot_of(O.BUY), FAIR - 5, 10)
    assert maker.decide() == []
    assert maker.refused() == {}, "it was not even planned"
    assert maker.event(O.FOUND_CLOSED, here, 10, venue=1) == O.FILLED
    assert [sent.slot for sent in maker.decide()] == [slot_of(O.BUY, venue=1)]
    assert on_disconnect(maker.table, 2) == BAD_EVENT


# --- plans ---------------------------------------------------------------------------------------


def test_a_slot_is_brought_to_what_is_wanted() -> None:
    maker = Maker()
    slot = slot_of(O.BUY)
    maker.want(slot, FAIR - 5, 10)
    (sent,) = maker.decide()
    assert (sent.kind, sent.slot, sent.price, sent.lots) == (O.ACTION_SUBMIT, slot, FAIR - 5, 10)
    assert sent.new_id == order_id(1)
    assert maker.decide() == [], "pending"
    maker.event(O.ACK, sent.new_id)
    assert maker.decide() == [], "as wanted"
    maker.fill(sent.new_id, 1, O.BUY, FAIR - 5, 4)
    assert maker.decide() == [], "keeps its place"
    maker.want(slot, FAIR - 5, 5)
    (sent,) = maker.decide()
    assert (sent.kind, sent.lots) == (O.ACTION_REPLACE, 5), "six are left"
    assert maker.decide() == []
    maker.event(O.REPLACE_ACK, sent.new_id, 4)
    maker.want(slot, FAIR - 6, 5)
    (again,) = maker.decide()
    assert (again.kind, again.id) == (O.ACTION_REPLACE, sent.new_id)
    maker.event(O.REPLACE_ACK, again.new_id)
    maker.want(slot, 0, 0)
    (cancel,) = maker.decide()
    assert (cancel.kind, cancel.id) == (O.ACTION_CANCEL, again.new_id)
    assert maker.decide() == []
    maker.event(O.CANCEL_ACK, again.new_id)
    assert maker.decide() == []
    assert maker.position == 4


def test_two_open_orders_of_a_slot_become_one() -> None:
    maker = Maker()
    first = maker.open(O.BUY, FAIR - 5, 10)
    maker.event(O.CANCEL_ACK, first)
    second = maker.open(O.BUY, FAIR - 5, 10)
    assert maker.event(O.FOUND_OPEN, first) == O.UNKNOWN
    maker.want(slot_of(O.BUY), FAIR - 5, 10)
    assert maker.decide() == []
    assert maker.event(O.FOUND_OPEN, first) == O.OPEN
    assert [(sent.kind, sent.id) for sent in maker.decide()] == [(O.ACTION_CANCEL, first)]
    maker.event(O.CANCEL_ACK, first)
    assert maker.decide() == [] and maker.state(second) == O.OPEN


# --- ids -----------------------------------------------------------------------------------------


@given(st.integers(1, O.EPOCH_MAX), st.integers(1, O.SEQUENCE_MAX))
def test_client_ids_come_back(epoch: int, sequence: int) -> None:
    number = epoch << 32 | sequence
    text = format_client_id(number)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,36}", text)
    assert parse_client_id(text) == number
    assert 0 < number < 2**63


@pytest.mark.parametrize(
    "text",
    (
        "", "web_1", "pollux-", "pollux-00000001-0000000", "pollux-00000001-000000011",
        "pollux-00000001-0000000G", "pollux-00000000-00000001", "pollux-00000001-00000000",
        "pollux-80000000-00000001", "Pollux-00000001-00000001", "pollux-00000001-00000001\n",
        "pollux-0000000A-00000001", "pollux-٠0000001-00000001",
    ),
)  # fmt: skip
def test_other_peoples_ids_are_not_ours(text: str) -> None:
    assert parse_client_id(text) is None


def test_numbers_that_are_no_ids_are_refused() -> None:
    for number in (0, 5, 1 << 32, -1, 1 << 63 | 1):
        with pytest.raises(ValueError, match="no order id"):
            format_client_id(number)


def test_a_table_that_cannot_be_is_refused() -> None:
    for arguments in ((0, 1), (L.VENUES_MAX + 1, 1), (1, 0), (1, 2**31), (1, 1, 0), (1, 1, 10**7)):
        with pytest.raises(ValueError, match="possible"):
            new_table(*arguments)
    with pytest.raises(ValueError, match="position"):
        new_table(1, 1, 1, O.LOTS_MAX + 1)
    assert new_table(1, EPOCH)[O.ACCOUNT_EPOCH] == EPOCH
