"""The engine thread's spin: what it looks at, receives and takes in compiled code, without the GIL.

    epoll_wait(timeout 0), now and then -> recv of each intake -> frames to the kernel -> again

An *intake* is a socket that is received from here. One with a receiver (net.sockets.frames) has its
frames taken to the engine's kernel right away, and the spin goes on; it ends for whatever Python
has to do, which its answer names, or when its time is over. Everything that it needs stands in one
block of words, the selector's (net.sockets.event_loop).
Runs on: the engine thread.
"""

from __future__ import annotations

from errno import EAGAIN, EINTR
from typing import Protocol

from engine.compiling.atomics import Words, int64, view_bytes, view_words
from engine.compiling.c_calls import (
    EPOLL_EVENT_BYTES,
    MSG_DONTWAIT,
    call_words,
    epoll_descriptor,
    epoll_mask,
    epoll_wait,
    error_number,
    recv,
)
from engine.compiling.clock import CLOCK_BOOTTIME, clock_ns
from engine.compiling.jit import inner, kernel
from engine.sharing import meter_layout as M
from engine.sharing.meters import observe
from net.sockets import frames as RF
from net.sockets.rehearsal import REHEARSAL_WORDS, put_off, rehearse

EVENTS_MAX = 64
"""Descriptors handled in one go; an engine has one connection a venue."""
EPOLL_EVERY = 4
"""Rounds over the intakes to one look at everything else: timers and other threads can wait."""
CLOCK_EVERY = 16
"""Rounds between two looks at the clock: a recv costs some 150 ns, the clock 25 ns."""
STANDSTILL_NS = 2_000_000_000
"""A loop that has a faster timer and did not come round for so long was stopped, or its host slept:
what it reads now has waited. A busy host holds up a thread for less."""

EPOLLIN = 0x1
"""From sys/epoll.h."""
INTAKES_MAX = 8
"""Sockets that are received from in compiled code; any others are asyncio's."""
INTAKE_WORDS = 4
(DESCRIPTOR, BUFFER, BUFFER_BYTES, RECEIVER) = range(INTAKE_WORDS)
"""Of a socket: its descriptor, and the address and size of the buffer that was offered; or the
address of its receiver's words, which has a buffer of its own, and 0 where it has none."""
CIPHER_BYTES = 1 << 16
"""Received from a TLS socket at a time; a connection's memory BIO has four times the room."""
(
    EPOLL,
    EVENTS_ADDRESS,
    METERS_ADDRESS,
    CIPHER_ADDRESS,
    ENTERED_NS,
    EXITED_NS,
    TURN,
    FOUND,
    REHEARSAL,
    TAKE_FUNCTION,
    LIMIT_NS,
    TURN_FUNCTION,
    TURN_ADDRESS,
    INTAKES_AT,
) = range(14)
READY_AT = INTAKES_AT + INTAKE_WORDS * INTAKES_MAX
STATE_WORDS = READY_AT + 2 * EVENTS_MAX
"""A selector's words: one address costs a call some 60 ns less than the arrays it stands for.
TURN_FUNCTION: the kernel to call after frames that somebody waits for (`Turn`), 0 where nobody
does, with TURN_ADDRESS."""
NOBODY = -1
NOTHING = 0
STOOD_STILL = -1
RECEIVED = 1 << 48
"""What `poll_until` returns of an intake is this or more: place, then bytes or errno."""
PLACE_SHIFT, PLACE_MASK, BYTES_MASK = 32, INTAKES_MAX - 1, (1 << 32) - 1
ERRNO_LIMIT = 4096
"""Errors of Linux are below it."""
ASKS = BYTES_MASK
"""In place of bytes or errno: a receiver has something for Python to do."""
NO_ROOM = 105
"""ENOBUFS, from asm-generic/errno.h: a BIO that should have been empty was not."""


class Turn(Protocol):
    """What is done in a spin after frames that somebody waits for, before the spin ends; and
    rehearsed while nothing comes, where frames are."""

    @property
    def function(self) -> int:
        """The kernel, by address (engine.compiling.c_calls.call_words); 0: nothing is done. Called
        as f(address, 1 for a rehearsal, its time by the steady clock, 0, 0, 0)."""

    @property
    def address(self) -> int:
        """What it is given."""

    def prepare(self) -> None:
        """A spin begins."""

    def settle(self) -> None:
        """A spin has ended."""


@inner
def _is_intake(intakes: Words, descriptor: int) -> bool:
    for at in range(0, len(intakes), INTAKE_WORDS):
        if intakes[at] == descriptor:
            return True
    return False


@inner
def _others(events_address: int, count: int, intakes: Words, ready: Words) -> int:
    """Descriptors and masks of epoll's events, without the readability of intakes; how many."""
    raw = view_bytes(events_address, EVENTS_MAX * EPOLL_EVENT_BYTES)
    left = 0
    for index in range(count):
        at = index * EPOLL_EVENT_BYTES
        mask, number = epoll_mask(raw, at), epoll_descriptor(raw, at)
        if _is_intake(intakes, number):
            mask &= ~EPOLLIN
        if mask != 0:
            ready[2 * left] = number
            ready[2 * left + 1] = mask
            left += 1
    return left


@inner
def _found(place: int, received: int) -> int:
    """What `poll_until` returns of an intake: how many bytes; below zero an errno, zero the end."""
    return RECEIVED + (place << PLACE_SHIFT) + ERRNO_LIMIT + received


@inner
def _receive(state: Words, intakes: Words, first: int) -> int:
    """Receive from the first intake, counted from `first`, that has something.

    NOTHING, or `_found`. What a receiver's socket has brought is kept by it, untaken.
    """
    for step in range(INTAKES_MAX):
        place = (first + step) % INTAKES_MAX
        at = place * INTAKE_WORDS
        if intakes[at + DESCRIPTOR] == NOBODY:
            continue
        buffer, size = intakes[at + BUFFER], intakes[at + BUFFER_BYTES]
        if intakes[at + RECEIVER] != 0:
            words = view_words(intakes[at + RECEIVER], RF.RECEIVER_WORDS)
            if words[RF.SSL] != 0:
                buffer, size = state[CIPHER_ADDRESS], int64(CIPHER_BYTES)
            else:
                buffer = words[RF.BUFFER] + words[RF.END]
                size = words[RF.BUFFER_BYTES] - words[RF.END]
        received = recv(intakes[at + DESCRIPTOR], buffer, size, MSG_DONTWAIT)
        if received < 0:
            received = -error_number()
            if received == -EAGAIN or received == -EINTR:
                continue
        if received > 0 and intakes[at + RECEIVER] != 0:
            words = view_words(intakes[at + RECEIVER], RF.RECEIVER_WORDS)
            if not RF.keep_received(words, buffer, received):
                received = int64(-NO_ROOM)
        return _found(place, received)
    return NOTHING


@inner
def _end_wait(state: Words, meters: Words) -> bool:
    """Something is there: count the wait; whether the loop stood still before it."""
    now_ns = clock_ns(CLOCK_BOOTTIME)
    meters[M.LOOP_IDLE] += now_ns - state[ENTERED_NS]
    stood_still: bool = now_ns - state[EXITED_NS] > STANDSTILL_NS
    state[EXITED_NS] = now_ns
    return stood_still


@inner
def _begin_wait(state: Words, meters: Words) -> int:
    """The turn is over: count it; the time, in ns."""
    now_ns = clock_ns(CLOCK_BOOTTIME)
    observe(meters, M.LOOP_TURN, now_ns - state[EXITED_NS])
    state[ENTERED_NS] = now_ns
    return now_ns


@inner
def _take(state: Words, meters: Words, receiver: int, found: int) -> int:
    """A compiled turn: NOTHING where all was taken, else what Python is to be told."""
    words = view_words(receiver, RF.RECEIVER_WORDS)
    if _end_wait(state, meters):
        words[RF.OUTCOME] = RF.UNTAKEN
        state[FOUND] = found
        return STOOD_STILL
    outcome = RF.take_by(state[TAKE_FUNCTION], receiver, 1)
    words[RF.OUTCOME] = outcome
    if outcome == RF.TOLD and state[TURN_FUNCTION] != 0:
        zero = int64(0)
        call_words(state[TURN_FUNCTION], state[TURN_ADDRESS], zero, zero, zero, zero, zero)
    return NOTHING if outcome == RF.DONE else found


@inner
def _rehearse(state: Words, now_ns: int) -> None:
    """Let a frame, and the turn after it, be taken that nobody sees, where it is time to."""
    is_played = rehearse(view_words(state[REHEARSAL], REHEARSAL_WORDS), now_ns)
    if is_played and state[TURN_FUNCTION] != 0:
        one, zero = int64(1), int64(0)
        call_words(state[TURN_FUNCTION], state[TURN_ADDRESS], one, now_ns, zero, zero, zero)


@inner
def _poll(state: Words, intakes: Words, ready: Words, meters: Words, spin_ns: int) -> int:
    """What `poll_until` returns. The turn goes round: everybody comes first now and then."""
    end_ns = min(_begin_wait(state, meters) + spin_ns, state[LIMIT_NS])
    polls = int64(0)
    while True:
        turn = state[TURN]
        state[TURN] = turn + 1
        if turn % EPOLL_EVERY == 0:
            count = epoll_wait(state[EPOLL], state[EVENTS_ADDRESS], EVENTS_MAX, 0)
            count = _others(state[EVENTS_ADDRESS], count, intakes, ready)
            if count > 0:
                break
        count = _receive(state, intakes, turn % INTAKES_MAX)
        if count != NOTHING:
            place = count >> PLACE_SHIFT & PLACE_MASK
            receiver = intakes[place * INTAKE_WORDS + RECEIVER]
            if receiver == 0 or (count & BYTES_MASK) <= ERRNO_LIMIT:
                break
            asks = RECEIVED + (place << PLACE_SHIFT) + ASKS
            count = _take(state, meters, receiver, asks)
            if count != NOTHING:
                return count
            now_ns = _begin_wait(state, meters)
            if state[REHEARSAL] != 0:
                put_off(view_words(state[REHEARSAL], REHEARSAL_WORDS), now_ns)
            end_ns = min(now_ns + spin_ns, state[LIMIT_NS])
            if now_ns >= end_ns:
                break
        polls += 1
        if polls % CLOCK_EVERY == 0:
            now_ns = clock_ns(CLOCK_BOOTTIME)
            if now_ns >= end_ns:
                break
            if state[REHEARSAL] != 0:
                _rehearse(state, now_ns)
    if _end_wait(state, meters):
        state[FOUND] = count
        return STOOD_STILL
    return count


@kernel("int64(int64, int64)", releases_gil=True)
def poll_until(state_address: int, spin_ns: int) -> int:
    """Look at an epoll descriptor and receive from the intakes until Python has something to do.

    Returns NOTHING `spin_ns` after the last frame, and at LIMIT_NS, steady time; below RECEIVED how
    many descriptors the words from READY_AT name, else what `_found` says, or ASKS in its place;
    STOOD_STILL, and that in FOUND, where more than STANDSTILL_NS have gone by since the last wait.
    Runs without the GIL.
    """
    state = view_words(state_address, STATE_WORDS)
    intakes = view_words(state_address + 8 * INTAKES_AT, INTAKE_WORDS * INTAKES_MAX)
    ready = view_words(state_address + 8 * READY_AT, 2 * EVENTS_MAX)
    meters = view_words(state[METERS_ADDRESS], M.LOOP_WORDS)
    return _poll(state, intakes, ready, meters, spin_ns)
