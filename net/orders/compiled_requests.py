"""A step's orders sent by compiled code: written, framed and handed to the socket in one call.

    actions of a step -> the venue's templates -> its connection's outlet -> request numbers

An order is worth most in the microseconds after its book, and Python needs ten of them to write and
send one. So an entry whose requests are templates over its own connection, without a signature,
gives them here (`CompiledRequests`); `ActionSender` sends the actions of a step by them, venue by
venue in their order, and says under which number each request went. What it could not send (no such
entry, a connection that has something to send before, a number that does not fit) is Python's to
send, with all that follows it for the same venue.

The fields of the templates, in their order (prices in ticks, times in ms by the venue's clock):

    cancel    request number, order id, time
    place     request number, order id, price, lots, time
    replace   request number, the order id that goes, the one that comes, price, lots, time

Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.compiling.atomics import Words, view_bytes, view_words
from engine.compiling.jit import inner, kernel
from engine.layout.layout import VENUES_MAX
from engine.layout.units import NS_PER_MS
from engine.maker import order_layout as O
from engine.maker.orders import side_of
from net.orders.request_template import (
    FIELDS_MAX,
    TEMPLATE_NUMBERS_AT,
    TEMPLATE_OUT,
    TEMPLATE_OUT_BYTES,
    TEMPLATE_WORDS,
    Template,
    write_fields,
)
from net.sockets.outlet import OUTLET_WORDS, SENT_NS, WRITTEN_NS, Outlet, send_text

(
    REQUESTS_OUTLET,
    REQUESTS_LAST_NUMBER,
    REQUESTS_CLOCK_OFFSET_NS,
    REQUESTS_TICK_UNITS,
    REQUESTS_IS_OPEN,
    REQUESTS_TEMPLATES_AT,
) = range(6)
"""OUTLET, LAST_NUMBER: addresses. CLOCK_OFFSET: the venue's clock less our steady one. TICK_UNITS:
common price units in a tick of the venue. IS_OPEN: whether compiled code may send in this call.
TEMPLATES: addresses by kind of action and side."""
REQUESTS_WORDS = REQUESTS_TEMPLATES_AT + O.ACTION_KINDS * O.SIDES

(SENDER_ACTIONS, SENDER_NUMBERS, SENDER_WRITTEN_NS, SENDER_SENT_NS, SENDER_VENUES_AT) = range(5)
"""Addresses of a step's ACTION words, of the requests' numbers, and by venue of REQUESTS words;
when the first of a call was written and had been handed to the socket, by the steady clock."""
SENDER_WORDS = SENDER_VENUES_AT + VENUES_MAX
ACTIONS_MAX = VENUES_MAX * O.VENUE_SLOTS * O.SLOT_ROWS


@inner
def _fill(action: Words, at: int, ticks: int, time_ms: int, numbers: Words) -> None:
    """The fields of an action's template, behind the request's number."""
    kind = action[at + O.ACTION_KIND]
    if kind == O.ACTION_CANCEL:
        numbers[1] = action[at + O.ACTION_ID]
        numbers[2] = time_ms
        return
    field = 1
    if kind == O.ACTION_REPLACE:
        numbers[1] = action[at + O.ACTION_ID]
        field = 2
    numbers[field] = action[at + O.ACTION_NEW_ID]
    numbers[field + 1] = ticks
    numbers[field + 2] = action[at + O.ACTION_LOTS]
    numbers[field + 3] = time_ms


@inner
def _send_action(requests: Words, actions: Words, at: int, now_ns: int) -> int:
    """Send one action; its request's number, 0 where it was not sent."""
    kind, slot = actions[at + O.ACTION_KIND], actions[at + O.ACTION_SLOT]
    template = requests[REQUESTS_TEMPLATES_AT + kind * O.SIDES + side_of(slot)]
    units = requests[REQUESTS_TICK_UNITS]
    price = actions[at + O.ACTION_PRICE]
    if template == 0 or price % units != 0:
        return 0
    words = view_words(template, TEMPLATE_WORDS)
    numbers = view_words(template + 8 * TEMPLATE_NUMBERS_AT, FIELDS_MAX)
    last = view_words(requests[REQUESTS_LAST_NUMBER], 1)
    numbers[0] = last[0] + 1
    time_ms = (now_ns + requests[REQUESTS_CLOCK_OFFSET_NS]) // NS_PER_MS
    _fill(actions, at, price // units, time_ms, numbers)
    size = write_fields(template, numbers)
    if size < 0:
        return 0
    text = view_bytes(words[TEMPLATE_OUT], words[TEMPLATE_OUT_BYTES])
    if not send_text(view_words(requests[REQUESTS_OUTLET], OUTLET_WORDS), text, size):
        return 0
    last[0] += 1
    number: int = last[0]
    return number


@kernel("int64(int64, int64, int64)")
def send_actions(address: int, count: int, now_ns: int) -> int:
    """Send the first `count` actions of a step; how many were sent.

    `address`: of the SENDER words. Of each action the request's number is put, 0 where Python is to
    send it: from there on all of its venue's.
    """
    sender = view_words(address, SENDER_WORDS)
    actions = view_words(sender[SENDER_ACTIONS], count * O.ACTION_WORDS)
    numbers = view_words(sender[SENDER_NUMBERS], ACTIONS_MAX)
    sent = 0
    for index in range(count):
        at = index * O.ACTION_WORDS
        numbers[index] = 0
        where = sender[SENDER_VENUES_AT + actions[at + O.ACTION_SLOT] // O.VENUE_SLOTS]
        if where == 0:
            continue
        requests = view_words(where, REQUESTS_WORDS)
        if requests[REQUESTS_IS_OPEN] != 0:
            numbers[index] = _send_action(requests, actions, at, now_ns)
            if numbers[index] == 0:
                requests[REQUESTS_IS_OPEN] = 0
                continue
            if sent == 0:
                outlet = view_words(requests[REQUESTS_OUTLET], OUTLET_WORDS)
                sender[SENDER_WRITTEN_NS] = outlet[WRITTEN_NS]
                sender[SENDER_SENT_NS] = outlet[SENT_NS]
            sent += 1
    return sent


class CompiledRequests:
    """One entry's requests for compiled code. `last_number`: one word, shared with whoever numbers
    the entry's other requests; `templates` by kind of action (ACTION_CANCEL, ...) and side."""

    def __init__(
        self, outlet: Outlet, last_number: Words, templates: Mapping[tuple[int, int], Template]
    ) -> None:
        self._outlet, self._last_number = outlet, last_number
        self._templates = dict(templates)
        self._words: Words = np.zeros(REQUESTS_WORDS, np.int64)
        self.address = int(self._words.ctypes.data)
        self._words[REQUESTS_OUTLET] = outlet.address
        self._words[REQUESTS_LAST_NUMBER] = last_number.ctypes.data
        self._words[REQUESTS_TICK_UNITS] = 1
        for (kind, side), template in self._templates.items():
            self._words[REQUESTS_TEMPLATES_AT + kind * O.SIDES + side] = template.address

    @property
    def outlet_address(self) -> int:
        """Of the outlet's words."""
        return self._outlet.address

    def set_clock(self, offset_ns: int) -> None:
        """The venue's clock less our steady one, in ns, from now on."""
        self._words[REQUESTS_CLOCK_OFFSET_NS] = offset_ns

    def set_tick_units(self, tick_units: int) -> None:
        """Actions' prices count so many units in a tick of the venue."""
        self._words[REQUESTS_TICK_UNITS] = tick_units

    def prepare(self, is_ready: bool) -> None:
        """Before a call: may compiled code send? `is_ready`: whether the entry takes orders."""
        self._words[REQUESTS_IS_OPEN] = is_ready and self._outlet.is_clear

    @property
    def failure(self) -> str:
        """Why the connection has failed with what compiled code has sent; "" where it has not."""
        return self._outlet.failure


class ActionSender:
    """One step's actions to the entries that can be sent to by compiled code.

    `actions`: the step's ACTION words, int64; they must outlive this object.
    """

    def __init__(self, actions: Words) -> None:
        self._numbers: Words = np.zeros(ACTIONS_MAX, np.int64)
        self._words: Words = np.zeros(SENDER_WORDS, np.int64)
        self.address = int(self._words.ctypes.data)
        """What `send_actions` takes."""
        self._words[SENDER_ACTIONS] = actions.ctypes.data
        self._words[SENDER_NUMBERS] = self._numbers.ctypes.data
        self.venues: dict[int, CompiledRequests] = {}
        """What is sent to, by venue; `attach` changes it."""

    @property
    def first_stamps_ns(self) -> tuple[int, int]:
        """When the first order of the last call that sent any was written, and when it had been
        handed to the socket, by the steady clock; zeros before there was one."""
        return int(self._words[SENDER_WRITTEN_NS]), int(self._words[SENDER_SENT_NS])

    def attach(self, venue: int, requests: CompiledRequests | None, tick_units: int) -> None:
        """Send a venue's actions by these from now on; None: they are Python's to send."""
        self.venues.pop(venue, None)
        if requests is not None:
            requests.set_tick_units(tick_units)
            self.venues[venue] = requests
        self._words[SENDER_VENUES_AT + venue] = requests.address if requests is not None else 0

    def send(self, count: int, now_ns: int) -> None:
        """Send the first `count` actions, as far as compiled code can."""
        send_actions(self.address, count, now_ns)

    def numbers(self, count: int) -> list[int]:
        """Of the first `count` actions of the last call each one's request number, 0 where it was
        not sent."""
        numbers: list[int] = self._numbers[:count].tolist()
        return numbers
