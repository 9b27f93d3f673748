"""A frame's order in the turn that took the frame: step and send, compiled, without the GIL.

    spin -> frame -> book published -> `take_turn`: each market maker that is due and armed
         -> step_maker -> send_actions -> the spin ends -> `settle`: what follows, in Python

The spin ends for a frame that has touched a market maker's book, and Python then steps it. That
costs more than the step. So a market maker whose orders go out over connections that compiled code
can write to is *armed* before each spin, and stepped before the spin ends; what Python has to do
about what was sent (who awaits the answer, journal, board, and what could not be sent so) is done
first thing after it. No Python runs on the engine thread in between, so nothing can have changed.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from engine.compiling.arena import view_arena
from engine.compiling.atomics import Words, int64, view_words
from engine.compiling.c_calls import call_words
from engine.compiling.clock import CLOCK_BOOTTIME, clock_ns
from engine.compiling.jit import inner, kernel, kernel_address
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker.step import step_maker
from net.maker.turn_rehearsal import TurnRehearsal, rehearse_turn
from net.orders.compiled_requests import send_actions

(TURN_ARENA, TURN_STEP, TURN_SEND, TURN_STEPPED, TURN_REHEARSED, TURN_MAKERS_AT) = range(6)
"""Addresses of the arena and of two kernels; a bit for each market maker that was stepped and is
not settled; who was rehearsed last."""
(ARMED_STEP, ARMED_SENDER, ARMED_REHEARSAL, ARMED_COUNT, ARMED_NOW_NS, ARMED_WORDS) = range(6)
"""Of a market maker: the addresses that `step_maker`, `send_actions` and `rehearse_turn` take, STEP
0 while it is not armed; how many actions its step has decided, and its time."""
TURN_WORDS = TURN_MAKERS_AT + O.MAKERS_MAX * ARMED_WORDS


@inner
def _step_due(turn: Words) -> int:
    due = view_arena(turn[TURN_ARENA])[L.ENGINE_MAKERS_DUE]
    stepped = int64(0)
    for maker in range(O.MAKERS_MAX):
        if due >> maker == 0:
            break
        at = TURN_MAKERS_AT + maker * ARMED_WORDS
        if due >> maker & 1 == 0 or turn[at + ARMED_STEP] == 0:
            continue
        zero, now_ns = int64(0), clock_ns(CLOCK_BOOTTIME)
        count = call_words(turn[TURN_STEP], turn[at + ARMED_STEP], now_ns, zero, zero, zero, zero)
        if count > 0:
            sender = turn[at + ARMED_SENDER]
            call_words(turn[TURN_SEND], sender, count, now_ns, zero, zero, zero)
        turn[at + ARMED_COUNT] = count
        turn[at + ARMED_NOW_NS] = now_ns
        turn[TURN_STEPPED] |= int64(1) << maker
        stepped += 1
    return stepped


@inner
def _rehearse_next(turn: Words, now_ns: int) -> int:
    """Rehearse the next armed market maker after the last one; how many."""
    for _ in range(O.MAKERS_MAX):
        maker = (turn[TURN_REHEARSED] + 1) % O.MAKERS_MAX
        turn[TURN_REHEARSED] = maker
        at = TURN_MAKERS_AT + maker * ARMED_WORDS
        if turn[at + ARMED_STEP] != 0 and turn[at + ARMED_REHEARSAL] != 0:
            rehearse_turn(turn[at + ARMED_REHEARSAL], turn[TURN_STEP], turn[TURN_SEND], now_ns)
            return 1
    return 0


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def take_turn(address: int, rehearses: int, now_ns: int, _1: int, _2: int, _3: int) -> int:
    """Step the armed market makers that are due, and send; how many were stepped.

    `address`: of the TURN words. With `rehearses` one of them is rehearsed instead, at `now_ns`,
    steady time. The others are for the form of the call (`call_words`).
    """
    turn = view_words(address, TURN_WORDS)
    return _rehearse_next(turn, now_ns) if rehearses != 0 else _step_due(turn)


def members_of(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, the lowest first."""
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1


class CompiledTurn:
    """What the spin calls for market makers. `arena`: the engine's address; it must outlive this
    object."""

    def __init__(self, arena: int) -> None:
        self._words: Words = np.zeros(TURN_WORDS, np.int64)
        self.address = int(self._words.ctypes.data)
        self._words[TURN_ARENA] = arena
        self._rehearsals: dict[int, TurnRehearsal] = {}
        self._armed: dict[int, int] = {}
        self._stepped = self._words[TURN_STEPPED : TURN_STEPPED + 1].data

    @property
    def function(self) -> int:
        """What the spin calls with `address`; 0 without the JIT. Only after `compile_kernels`."""
        self._words[TURN_STEP] = kernel_address(step_maker)
        self._words[TURN_SEND] = kernel_address(send_actions)
        return kernel_address(take_turn)

    def arm(self, maker: int, step: int, sender: int) -> None:
        """Step this market maker in the spin, from now on; `step` 0: in Python."""
        if self._armed.get(maker, 0) == step:
            return  # as it is before most spins, and for one on paper always
        self._armed[maker] = step
        at = TURN_MAKERS_AT + maker * ARMED_WORDS
        self._words[at + ARMED_STEP], self._words[at + ARMED_SENDER] = step, sender

    def is_rehearsed(self, maker: int) -> bool:
        """Whether `rehearse` was called for it."""
        return maker in self._rehearsals

    def rehearse(self, maker: int, rehearsal: TurnRehearsal) -> None:
        """Rehearse this market maker's turn while nothing comes, from now on."""
        self._rehearsals[maker] = rehearsal
        at = TURN_MAKERS_AT + maker * ARMED_WORDS
        self._words[at + ARMED_REHEARSAL] = rehearsal.address

    @property
    def is_unsettled(self) -> bool:
        """Whether the spin has stepped one since `take`."""
        return bool(self._stepped[0])

    def take(self, settle: Callable[[int, int, int], None]) -> int:
        """Call `settle(maker, count, now_ns)` for each that was stepped, once; a bit for each."""
        stepped, self._stepped[0] = int(self._stepped[0]), 0
        for maker in members_of(stepped):
            at = TURN_MAKERS_AT + maker * ARMED_WORDS
            settle(maker, int(self._words[at + ARMED_COUNT]), int(self._words[at + ARMED_NOW_NS]))
        return stepped
