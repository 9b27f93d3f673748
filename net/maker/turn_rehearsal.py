"""A market maker's turn rehearsed while nothing comes, so that the next real one finds it warm.

As net.sockets.rehearsal does for frames: a step after 4 ms of quiet takes three times as long as
one after another. So the idle spin takes a step now and then that is made of everything real, and
changes nothing: the words of a market maker are copied, the prices of its open orders moved in the
copy, and the copy is stepped on the real books. It wants its orders elsewhere, passes them through
a copy of the risk gate, writes the requests, and sends them to a socket that does not exist.
Runs on: the engine thread.
"""

from __future__ import annotations

import numpy as np

from engine.compiling.atomics import Words, int64, view_words
from engine.compiling.c_calls import call_words
from engine.compiling.jit import inner
from engine.maker import order_layout as O
from engine.maker.step import STEP_WORDS, MakerStep
from net.orders import compiled_requests as CR
from net.orders.compiled_requests import ActionSender
from net.sockets import outlet as OW

COPIES_MAX, PATCHES_MAX = 32, 64
(
    REHEARSAL_STEP,
    REHEARSAL_SENDER,
    REHEARSAL_TABLE,
    REHEARSAL_TABLE_WORDS,
    REHEARSAL_COPIES,
    REHEARSAL_PATCHES,
    REHEARSAL_ACTIONS,
    REHEARSAL_COPIES_AT,
) = range(8)
"""Addresses of the copy's STEP, SENDER and table words; how many copies and patches follow; how
many actions the last one had."""
(COPY_FROM, COPY_TO, COPY_COUNT, COPY_WORDS) = range(4)
(PATCH_ADDRESS, PATCH_VALUE, PATCH_WORDS) = range(3)
REHEARSAL_PATCHES_AT = REHEARSAL_COPIES_AT + COPIES_MAX * COPY_WORDS
REHEARSAL_WORDS = REHEARSAL_PATCHES_AT + PATCHES_MAX * PATCH_WORDS
REFUSED_SOCKET = -2
"""A descriptor that send(2) refuses."""


@inner
def _copy(words: Words) -> None:
    """Bring the copy up to date."""
    for copy in range(words[REHEARSAL_COPIES]):
        at = REHEARSAL_COPIES_AT + copy * COPY_WORDS
        source = view_words(words[at + COPY_FROM], words[at + COPY_COUNT])
        target = view_words(words[at + COPY_TO], words[at + COPY_COUNT])
        for index in range(words[at + COPY_COUNT]):
            target[index] = source[index]
    for patch in range(words[REHEARSAL_PATCHES]):
        at = REHEARSAL_PATCHES_AT + patch * PATCH_WORDS
        view_words(words[at + PATCH_ADDRESS], 1)[0] = words[at + PATCH_VALUE]


@inner
def _move_orders(table: Words) -> None:
    """Have the open orders stand at other prices than they do."""
    for venue in range(table[O.ACCOUNT_VENUES]):
        rows = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_ROWS_AT
        for row in range(O.VENUE_SLOTS * O.SLOT_ROWS):
            at = rows + row * O.ORDER_WORDS
            if table[at + O.ORDER_STATE] == O.OPEN:
                table[at + O.ORDER_PRICE] //= 2


@inner
def rehearse_turn(address: int, step: int, send: int, now_ns: int) -> None:
    """Take one step that nobody sees. `address`: of the REHEARSAL words; `step`, `send`: of the
    kernels `step_maker` and `send_actions`."""
    words = view_words(address, REHEARSAL_WORDS)
    _copy(words)
    _move_orders(view_words(words[REHEARSAL_TABLE], words[REHEARSAL_TABLE_WORDS]))
    zero, one = int64(0), int64(1)
    count = call_words(step, words[REHEARSAL_STEP], now_ns, one, zero, zero, zero)
    if count > 0:
        call_words(send, words[REHEARSAL_SENDER], count, now_ns, zero, zero, zero)
    words[REHEARSAL_ACTIONS] = count


class TurnRehearsal:
    """One market maker's. What is copied must outlive this object; of `sender` those entries are
    rehearsed that it has now."""

    def __init__(self, step: MakerStep, sender: ActionSender) -> None:
        self._kept: list[object] = [step, sender]
        self.words: Words = np.zeros(REHEARSAL_WORDS, np.int64)
        self.address = int(self.words.ctypes.data)
        copied_step = self._copy(step.address, STEP_WORDS)
        for index, part in step.parts().items():
            copied = self._copy(part.ctypes.data, len(part))
            self._patch(copied_step + 8 * index, copied)
            if part is step.table:
                self.words[REHEARSAL_TABLE], self.words[REHEARSAL_TABLE_WORDS] = copied, len(part)
            if part is step.risk and part[O.RISK_SHARED]:
                shared = self._copy(int(part[O.RISK_SHARED]), int(part[O.RISK_SHARED_WORDS]))
                self._patch(copied + 8 * O.RISK_SHARED, shared)
            if part is step.actions:
                actions = copied
        self.words[REHEARSAL_STEP] = copied_step
        self._copy_sender(sender, actions)

    def _copy_sender(self, sender: ActionSender, actions: int) -> None:
        copied = self._copy(sender.address, CR.SENDER_WORDS)
        numbers = np.zeros(CR.ACTIONS_MAX + 1, np.int64)
        self._kept.append(numbers)
        self._patch(copied + 8 * CR.SENDER_ACTIONS, actions)
        self._patch(copied + 8 * CR.SENDER_NUMBERS, numbers.ctypes.data)
        for venue, requests in sender.venues.items():
            outlet = self._copy(requests.outlet_address, OW.OUTLET_WORDS)
            self._patch(outlet + 8 * OW.DESCRIPTOR, REFUSED_SOCKET)
            self._patch(outlet + 8 * OW.SSL, 0)
            self._patch(outlet + 8 * OW.ERROR, 0)
            self._patch(outlet + 8 * OW.MASKS_LEFT, OW.MASKS_MAX)
            copied_requests = self._copy(requests.address, CR.REQUESTS_WORDS)
            self._patch(copied_requests + 8 * CR.REQUESTS_OUTLET, outlet)
            last_number = numbers.ctypes.data + 8 * CR.ACTIONS_MAX
            self._patch(copied_requests + 8 * CR.REQUESTS_LAST_NUMBER, last_number)
            self._patch(copied_requests + 8 * CR.REQUESTS_IS_OPEN, 1)
            self._patch(copied + 8 * (CR.SENDER_VENUES_AT + venue), copied_requests)
        self.words[REHEARSAL_SENDER] = copied

    def _copy(self, address: int, count: int) -> int:
        """Copy these words each time; where to."""
        target: Words = np.zeros(count, np.int64)
        self._kept.append(target)
        at = REHEARSAL_COPIES_AT + int(self.words[REHEARSAL_COPIES]) * COPY_WORDS
        self.words[at : at + COPY_WORDS] = address, target.ctypes.data, count
        self.words[REHEARSAL_COPIES] += 1
        return int(target.ctypes.data)

    def _patch(self, address: int, value: int) -> None:
        """Set this word of a copy each time."""
        at = REHEARSAL_PATCHES_AT + int(self.words[REHEARSAL_PATCHES]) * PATCH_WORDS
        self.words[at : at + PATCH_WORDS] = address, value
        self.words[REHEARSAL_PATCHES] += 1
