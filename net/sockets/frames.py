"""Websocket frames as they are received, from the socket's bytes to the engine's kernel, compiled.

A *receiver* is a block of words that describes one connection: the buffer that its bytes are
received into, the arena and connection that its frames belong to, and what Python is asked for. A
whole, unmasked text frame without reserved bits goes to the kernel where it lies. Every other frame
is Python's to hand to picows, whole and at its place in the order; what does not even measure as a
frame is handed over to the last byte, and the connection is picows' from there on.

Bytes that are held are those from START to END. A frame that is not whole waits for the rest; one
that is longer than the buffer goes to picows in pieces (OWED).

With TLS the socket's bytes are decrypted here too: they go into the memory BIO of the connection's
own SSL object, which its transport made, and come out of SSL_read into the buffer. Whatever that
does not settle (an alert, an end, an answer to be sent) is found again, and judged, by the
transport: ASKS_TLS.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.frame_kernel import take_frame
from engine.compiling.atomics import Bytes, Words, copy_bytes, int64, view_bytes, view_words
from engine.compiling.c_calls import call_int
from engine.compiling.clock import CLOCK_REALTIME, clock_ns
from engine.compiling.jit import JIT_OFF, callback, inner, kernel
from engine.layout import layout as L
from engine.layout import status as S
from net.sockets.websocket import FRAME_BYTES_MAX, SIZE_16

(
    BUFFER,
    BUFFER_BYTES,
    START,
    END,
    ARENA,
    CONNECTION,
    MODE,
    IS_TOLD,
    OUTCOME,
    TAKEN,
    TAKEN_FROM,
    FRAME_AT,
    FRAME_BYTES,
    STATUS,
    IS_LAST,
    STAMP_NS,
    OWED,
    SSL,
    SSL_RBIO,
    SSL_WBIO,
    SSL_READ,
    SSL_GET_ERROR,
    BIO_WRITE,
    BIO_CTRL_PENDING,
    RECEIVER_WORDS,
) = range(25)
"""IS_TOLD: Python wants each buffer's frames after they were taken, from TAKEN_FROM to START.
TAKEN: how many were taken. FRAME_AT, FRAME_BYTES: the text that STATUS is about, or what is to be
handed over, where it lies in the buffer. OWED: bytes to come of a frame that is handed over
in pieces. SSL and behind: the addresses of the connection's OpenSSL objects, and of the functions
that are called for them; 0 where the socket's bytes are plain."""

(TAKES, HANDS, PASSES) = range(3)
"""Of MODE: plain texts go to the kernel; every whole frame goes to picows; every byte does."""

(DONE, UNTAKEN, HANDED, TOLD, ASKS_STATUS, ASKS_TLS) = range(6)
"""Of OUTCOME. DONE: nothing is left but a frame's beginning. UNTAKEN: nothing was looked at yet.
TOLD: the texts before START were taken, and are on a tape or have touched a market maker's book."""

TEXT = 0x81
"""The first byte of a whole text: the last fragment, no reserved bits (RFC 6455, 5.2)."""
_CONTROL = 0x8
_SIZE_64 = 127
_CONTROL_BYTES_MAX = 125
_HEADER_BYTES = 2
_HEADER_BYTES_16 = 4
_HEADER_BYTES_64 = 10
MALFORMED = -1

SSL_ERROR_WANT_READ = 2
(_DRAINED, _IS_FULL, _ASKS) = range(3)


@inner
def _big_endian(buffer: Bytes, at: int, count: int) -> int:
    value = int64(0)
    for index in range(count):
        value = value << 8 | int64(buffer[at + index])
    return value


@inner
def frame_total(buffer: Bytes, at: int, end: int) -> int:
    """Bytes of the frame that begins at `at`, its header included.

    0 where its header is not whole before `end`; MALFORMED where picows refuses a server's frame
    for its header (RFC 6455, 5.2): it is picows' to say so.
    """
    if end - at < _HEADER_BYTES:
        return 0
    first, flag = int64(buffer[at]), int64(buffer[at + 1])
    kind = first & 0xF
    if kind > 0xA or 0x2 < kind < _CONTROL or flag > _SIZE_64:
        return MALFORMED
    if kind >= _CONTROL and (first < 0x80 or flag > _CONTROL_BYTES_MAX):
        return MALFORMED
    if flag < SIZE_16:
        return _HEADER_BYTES + flag
    if flag == SIZE_16:
        if end - at < _HEADER_BYTES_16:
            return 0
        size = _big_endian(buffer, at + 2, 2)
        return _HEADER_BYTES_16 + size if size >= SIZE_16 else MALFORMED
    if end - at < _HEADER_BYTES_64:
        return 0
    size = _big_endian(buffer, at + 2, 8)
    return _HEADER_BYTES_64 + size if 0xFFFF < size <= FRAME_BYTES_MAX else MALFORMED


@inner
def header_bytes(flag: int) -> int:
    """Of a frame from a server, by its second byte."""
    if flag < SIZE_16:
        return _HEADER_BYTES
    return _HEADER_BYTES_16 if flag == SIZE_16 else _HEADER_BYTES_64


@inner
def _is_whole(total: int, at: int, end: int) -> bool:
    return 0 < total <= end - at


@inner
def _hand_over(words: Words, at: int, size: int) -> int:
    """Have Python hand so many bytes to picows."""
    words[FRAME_AT] = at
    words[FRAME_BYTES] = size
    words[START] = at + size
    return HANDED


@inner
def _rest(words: Words, total: int) -> int:
    """No whole frame is left: hand over what must be, and move the rest to the buffer's beginning.

    `total`: what `frame_total` says of it.
    """
    start, end = words[START], words[END]
    if total == MALFORMED:
        words[MODE] = PASSES
        return _hand_over(words, start, end - start)
    if end - start == words[BUFFER_BYTES]:
        words[OWED] = total - (end - start)
        return _hand_over(words, start, end - start)
    if start > 0:
        if end > start:
            held = view_bytes(words[BUFFER], end)
            copy_bytes(held, 0, held, start, end - start)
        words[START] = 0
        words[END] = end - start
    return DONE


@inner
def _is_told(words: Words) -> bool:
    """Whether Python has something to do about texts that were taken."""
    engine = view_words(words[ARENA], L.ENGINE_WORDS)
    is_told: bool = words[IS_TOLD] != 0 or engine[L.ENGINE_MAKERS_DUE] != 0
    return is_told


@inner
def _take_texts(words: Words) -> int:
    """Hand every whole text at the beginning of what is held to the kernel; the outcome.

    The last one before anything else publishes.
    """
    end = words[END]
    buffer = view_bytes(words[BUFFER], end)
    at = words[START]
    words[TAKEN_FROM] = at
    stamp_ns = clock_ns(CLOCK_REALTIME)
    words[STAMP_NS] = stamp_ns
    total = frame_total(buffer, at, end)
    while _is_whole(total, at, end):
        if buffer[at] != TEXT or words[MODE] == HANDS:
            break
        following = at + total
        next_total = frame_total(buffer, following, end)
        is_next = _is_whole(next_total, following, end) and buffer[following] == TEXT
        text = at + header_bytes(int64(buffer[at + 1]))
        is_last = int64(0) if is_next else int64(1)
        size = following - text
        frame = words[BUFFER] + text
        status = take_frame(words[ARENA], words[CONNECTION], frame, size, stamp_ns, is_last)
        words[TAKEN] += 1
        words[START] = following
        if status != S.APPLIED and status != S.OLD:
            words[FRAME_AT] = text
            words[FRAME_BYTES] = size
            words[STATUS] = status
            words[IS_LAST] = is_last
            return ASKS_STATUS
        at, total = following, next_total
    if at > words[TAKEN_FROM] and _is_told(words):
        return TOLD
    if _is_whole(total, at, end):
        return _hand_over(words, at, total)
    return _rest(words, total)


@inner
def _take_held(words: Words) -> int:
    """Take what is held; the outcome."""
    held = words[END] - words[START]
    if held > 0 and (words[MODE] == PASSES or words[OWED] > 0):
        size = held if words[MODE] == PASSES else min(words[OWED], held)
        words[OWED] -= min(words[OWED], size)
        return _hand_over(words, words[START], size)
    return _take_texts(words)


@inner
def _decrypt(words: Words) -> int:
    """Read what TLS has into the buffer: until it has no more, or the buffer is full."""
    while words[END] < words[BUFFER_BYTES]:
        room = words[BUFFER_BYTES] - words[END]
        size = call_int(words[SSL_READ], words[SSL], words[BUFFER] + words[END], room)
        if size <= 0:
            error = call_int(words[SSL_GET_ERROR], words[SSL], size, 0)
            is_answered = call_int(words[BIO_CTRL_PENDING], words[SSL_WBIO], 0, 0) == 0
            return _DRAINED if error == SSL_ERROR_WANT_READ and is_answered else _ASKS
        words[END] += size
    return _IS_FULL


@inner
def _take_received(words: Words) -> int:
    """Take what is held, and what TLS has besides; the outcome."""
    while True:
        left = int64(_DRAINED)
        if words[SSL] != 0:
            left = _decrypt(words)
        outcome = _take_held(words)
        if outcome != DONE:
            return outcome
        if left == _ASKS:
            return ASKS_TLS
        if left == _DRAINED:
            return DONE


@inner
def keep_received(words: Words, cipher: int, size: int) -> bool:
    """Take over bytes that the socket gave, from `cipher` where it is TLS; whether they fitted.

    Its BIO is empty whenever the socket is read: it has room for more than is ever received.
    """
    if words[SSL] != 0:
        return call_int(words[BIO_WRITE], words[SSL_RBIO], cipher, size) == size
    words[END] += size
    return True


def _take(address: int, reads_tls: int) -> int:
    """Take what a receiver holds, and with `reads_tls` what TLS has besides; the outcome."""
    words = view_words(address, RECEIVER_WORDS)
    return _take_received(words) if reads_tls != 0 else _take_held(words)


_compiled = callback("int64(int64, int64)")(_take)

if JIT_OFF:

    def take_function() -> int:
        """The address by which kernels call `_take`: one copy of all that a frame needs, which the
        spin, the rehearsal and Python share. Only after `compile_kernels`."""
        return 0

    def take_by(function: int, address: int, reads_tls: int) -> int:
        """Call `_take` by its address."""
        return _take(address, reads_tls)

else:

    def take_function() -> int:
        return _compiled.address

    @inner
    def take_by(function: int, address: int, reads_tls: int) -> int:
        return call_int(function, address, reads_tls, 0)


@kernel("int64(int64, int64, int64)")
def take_frames(function: int, address: int, reads_tls: int) -> int:
    """The same for Python. `function`: what `take_function` says."""
    return take_by(function, address, reads_tls)
