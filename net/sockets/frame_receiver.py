"""Between a connection's transport and picows: whole texts to the kernel, all else to picows.

    transport -> FrameReceiver -> engine.book.frame     whole plain texts, compiled
                       `-------> picows -> listener     whatever else comes, whole, in its order

It takes picows' place as the transport's protocol where picows holds nothing: the next byte begins
a frame. The spinning selector receives straight into its buffer and takes the frames without the
GIL (net.sockets.frames); on any other loop the transport calls `buffer_updated`, and the same
kernel is called from there. picows goes on to answer pings, to put fragments together and to judge
what is not well formed: it sees all of a connection but the texts that were taken.
Runs on: the thread of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
from picows import WSTransport

from net.sockets import frames as RF
from net.sockets.tls_objects import tls_words

BUFFER_BYTES = 1 << 17
"""Of one connection: what one look at a busy socket may bring, some hundred frames."""


class FrameTaker(Protocol):
    """Whose frames they are: what Python has to do about them."""

    @property
    def takes_texts(self) -> bool:
        """Whether a whole text is a message of its own: not among another one's fragments, nor
        behind a close."""

    def on_taken(self, texts: Iterator[bytes], stamp_ns: int) -> None:
        """Texts that the kernel has taken; only where it wants every one."""

    def on_status(self, status: int, raw: bytes, is_last: bool) -> None:
        """What the kernel said of a text, other than APPLIED or OLD."""

    def on_turn(self) -> None:
        """Texts were taken that its market makers may care for, or whose status it was told."""


class FrameReceiver(asyncio.BufferedProtocol):
    """One connection's. `is_told`: whether the taker wants every text, for a tape.

    The arena must outlive it.
    """

    def __init__(
        self, link: WSTransport, taker: FrameTaker, arena: int, connection: int, *, is_told: bool
    ) -> None:
        self._link = link
        self._taker = taker
        self._transport: Any = link.underlying_transport
        self._picows: Any = self._transport.get_protocol()
        self._buffer = np.zeros(BUFFER_BYTES, np.uint8)
        self._memory = self._buffer.data
        self._seen = 0
        self.words = np.zeros(RF.RECEIVER_WORDS, np.int64)
        self.words[RF.BUFFER] = self._buffer.ctypes.data
        self.words[RF.BUFFER_BYTES] = BUFFER_BYTES
        self.words[RF.ARENA] = arena
        self.words[RF.CONNECTION] = connection
        self.words[RF.IS_TOLD] = is_told
        self._tls_engine = self._transport.get_extra_info("ssl_object")
        if self._tls_engine is not None:
            self.words[RF.SSL : RF.RECEIVER_WORDS] = tls_words(self._transport) or 0
        self.address = int(self.words.ctypes.data)
        self._take = partial(RF.take_frames, RF.take_function())

    @property
    def can_spin(self) -> bool:
        """Whether the socket can be received from in compiled code; a closing one cannot."""
        if self._tls_engine is None:
            return True
        return bool(self.words[RF.SSL]) and not self._transport.is_closing()

    def begin(self) -> None:
        """Take the place of picows, which holds nothing; the loop's selector notices."""
        self._transport.pause_reading()
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    # --- what the transport calls ----------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._memory[int(self.words[RF.END]) :]

    def buffer_updated(self, nbytes: int) -> None:
        self.words[RF.END] += nbytes
        self._serve(self._take(self.address, 0), 0)

    def eof_received(self) -> bool | None:
        answer: bool | None = self._picows.eof_received()
        return answer

    def connection_lost(self, exc: Exception | None) -> None:
        self._picows.connection_lost(exc)

    def pause_writing(self) -> None:
        self._picows.pause_writing()

    def resume_writing(self) -> None:
        self._picows.resume_writing()

    # --- what the selector calls -----------------------------------------------------------------

    def serve(self) -> None:
        """Do what the compiled loop could not do about what it has received."""
        self._serve(int(self.words[RF.OUTCOME]), 1)

    def tell_picows(self) -> None:
        """Frames have come since the last call: picows pings a silent connection."""
        taken = int(self.words[RF.TAKEN])
        if taken != self._seen:
            self._seen = taken
            self._picows.buffer_updated(0)

    # --- what Python has to do -------------------------------------------------------------------

    def _serve(self, outcome: int, reads_tls: int) -> None:
        words, taker = self.words, self._taker
        while outcome not in (RF.DONE, RF.ASKS_TLS):
            if outcome == RF.HANDED:
                self._hand(self._frame())
            elif outcome != RF.UNTAKEN:
                if words[RF.IS_TOLD]:
                    taker.on_taken(self._texts(), int(words[RF.STAMP_NS]))
                if outcome == RF.ASKS_STATUS:
                    taker.on_status(int(words[RF.STATUS]), self._frame(), bool(words[RF.IS_LAST]))
                taker.on_turn()
            if reads_tls and not self.can_spin:  # it was closed: what TLS has is its transport's
                self._serve(self._take(self.address, 0), 0)
                outcome = RF.ASKS_TLS
            else:
                outcome = self._take(self.address, reads_tls)
        if outcome == RF.ASKS_TLS:
            self._transport._retry_ssl_read()

    def _frame(self) -> bytes:
        at, size = int(self.words[RF.FRAME_AT]), int(self.words[RF.FRAME_BYTES])
        return bytes(self._memory[at : at + size])

    def _texts(self) -> Iterator[bytes]:
        """The texts from TAKEN_FROM to START."""
        at, end = int(self.words[RF.TAKEN_FROM]), int(self.words[RF.START])
        while at < end:
            flag = self._memory[at + 1]
            width = {126: 2, 127: 8}.get(flag, 0)
            at += 2 + width
            size = int.from_bytes(self._memory[at - width : at], "big") if width else flag
            yield bytes(self._memory[at : at + size])
            at += size

    def _hand(self, raw: bytes) -> None:
        """Have picows see bytes as if they had come from the socket."""
        while raw:
            room = memoryview(self._picows.get_buffer(-1))
            part, raw = raw[: len(room)], raw[len(room) :]
            room.cast("B")[: len(part)] = part
            self._picows.buffer_updated(len(part))
        if self._link.is_disconnected or self._link.is_close_frame_sent:
            self.words[RF.MODE] = RF.PASSES
        elif self.words[RF.MODE] != RF.PASSES:
            self.words[RF.MODE] = RF.TAKES if self._taker.takes_texts else RF.HANDS
