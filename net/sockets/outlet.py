"""A connection's way out for compiled code: one text framed, masked, encrypted and sent by a call.

picows writes what Python sends. An order that follows from a book is written by compiled code, and
from there goes the same way that picows would send it: as one text frame of a client (RFC 6455, 5.2
and 5.3), through the connection's own SSL object where it has one, by send(2) on its socket. It may
do so only while everything that was sent before has gone to the socket (`is_clear`): frames of one
connection never mix. A socket that does not take a whole frame at once, with megabytes before it
that the other side does not read, is no way for orders: the connection has failed.
Runs on: the thread of the connection's loop.
"""

from __future__ import annotations

import os
from errno import EAGAIN
from typing import Any

import numpy as np
from picows import WSTransport

from engine.compiling.atomics import (
    Bytes,
    Words,
    int64,
    load_u64,
    store_u64,
    view_bytes,
)
from engine.compiling.c_calls import MSG_DONTWAIT, MSG_NOSIGNAL, call_int, error_number, send
from engine.compiling.clock import CLOCK_BOOTTIME, clock_ns
from engine.compiling.jit import inner
from net.sockets.tls_objects import SSL_WRITE_WORDS, tls_write_words
from net.sockets.websocket import SIZE_16

(
    DESCRIPTOR,
    FRAME,
    MASKS,
    MASKS_LEFT,
    ERROR,
    WRITTEN_NS,
    SENT_NS,
    CIPHER,
    SSL,
    SSL_WBIO,
    SSL_WRITE,
    BIO_READ,
    BIO_CTRL_PENDING,
    OUTLET_WORDS,
) = range(14)
"""DESCRIPTOR: of the socket, NO_SOCKET while there is none. FRAME, MASKS, CIPHER: of memory.
MASKS_LEFT: masks that no frame has had yet. ERROR: the errno of the frame that failed, 0 where none
has. WRITTEN_NS, SENT_NS: by the steady clock, when the last frame was begun and when send(2) was
back. SSL and behind: as net.sockets.tls_objects gives them; 0 where the connection is plain."""
assert OUTLET_WORDS - SSL == SSL_WRITE_WORDS

NO_SOCKET = -1
MASK_BYTES = 4
MASKS_MAX = 1024
"""Drawn at once, and anew when they are used up."""
TEXT_BYTES_MAX = 4096
"""Of a request. A frame of more than 125 bytes and less than 65,536 has two bytes of size."""
_HEADER_BYTES_MAX = 8
_SLACK_BYTES = 8
FRAME_BYTES_MAX = _HEADER_BYTES_MAX + TEXT_BYTES_MAX + _SLACK_BYTES
CIPHER_BYTES_MAX = FRAME_BYTES_MAX + 1024
"""A TLS record adds at most 256 bytes to what it holds, and this is one (RFC 8446, 5.2)."""
_TEXT, _IS_MASKED = 0x81, 0x80
EPROTO = 71
"""From asm-generic/errno.h: what stands in ERROR where OpenSSL has refused to encrypt."""


@inner
def _put_frame(frame: Bytes, text: Bytes, size: int, masks: Bytes, mask_at: int) -> int:
    """Write a client's frame of text[:size]; its bytes. Some bytes behind it are overwritten."""
    frame[0] = _TEXT
    if size < SIZE_16:
        frame[1] = _IS_MASKED | size
        at = 2
    else:
        frame[1] = _IS_MASKED | SIZE_16
        frame[2] = size >> 8
        frame[3] = size & 255
        at = 4
    for byte in range(MASK_BYTES):
        frame[at + byte] = masks[mask_at + byte]
        frame[at + MASK_BYTES + byte] = masks[mask_at + byte]
    mask = load_u64(frame, at)
    at += MASK_BYTES
    whole = size & ~7
    for start in range(0, whole, 8):
        store_u64(frame, at + start, load_u64(text, start) ^ mask)
    for index in range(whole, size):
        frame[at + index] = text[index] ^ masks[mask_at + (index & 3)]
    return at + size


@inner
def _encrypt(words: Words, size: int) -> int:
    """Encrypt the frame; how many bytes CIPHER has of it, 0 where nothing was done, or below."""
    if call_int(words[BIO_CTRL_PENDING], words[SSL_WBIO], int64(0), int64(0)) != 0:
        return 0
    if call_int(words[SSL_WRITE], words[SSL], words[FRAME], size) != size:
        return -EPROTO
    return call_int(words[BIO_READ], words[SSL_WBIO], words[CIPHER], int64(CIPHER_BYTES_MAX))


@inner
def send_text(words: Words, text: Bytes, size: int) -> bool:
    """Send one text of a connection; False, and nothing is sent, where it cannot go from here.

    With True it has gone, or ERROR says that the connection has failed with it.
    """
    if words[DESCRIPTOR] == NO_SOCKET or words[ERROR] != 0:
        return False
    if words[MASKS_LEFT] == 0 or size > TEXT_BYTES_MAX:
        return False
    words[WRITTEN_NS] = clock_ns(CLOCK_BOOTTIME)
    words[MASKS_LEFT] -= 1
    masks = view_bytes(words[MASKS], MASKS_MAX * MASK_BYTES)
    frame = view_bytes(words[FRAME], FRAME_BYTES_MAX)
    source, count = words[FRAME], _put_frame(frame, text, size, masks, 4 * words[MASKS_LEFT])
    if words[SSL] != 0:
        count = _encrypt(words, count)
        source = words[CIPHER]
        if count == 0:
            return False
        if count < 0:
            words[ERROR] = EPROTO
            return True
    sent = send(words[DESCRIPTOR], source, count, MSG_DONTWAIT | MSG_NOSIGNAL)
    words[SENT_NS] = clock_ns(CLOCK_BOOTTIME)
    if sent != count:
        words[ERROR] = error_number() if sent < 0 else int64(EAGAIN)
    return True


class Outlet:
    """One connection's, again and again: `open` with each new transport, `close` with its end."""

    def __init__(self) -> None:
        self._frame = np.zeros(FRAME_BYTES_MAX, np.uint8)
        self._cipher = np.zeros(CIPHER_BYTES_MAX, np.uint8)
        self._masks = np.zeros(MASKS_MAX * MASK_BYTES, np.uint8)
        self.words: Words = np.zeros(OUTLET_WORDS, np.int64)
        self.address = int(self.words.ctypes.data)
        self.words[FRAME] = self._frame.ctypes.data
        self.words[CIPHER] = self._cipher.ctypes.data
        self.words[MASKS] = self._masks.ctypes.data
        self.words[DESCRIPTOR] = NO_SOCKET
        self._link: WSTransport | None = None
        self._transport: Any = None

    def open(self, link: WSTransport) -> None:
        """Write to this connection, after its handshake. One whose encryption cannot be reached
        from here stays closed."""
        self.close()
        transport: Any = link.underlying_transport
        tls = transport.get_extra_info("ssl_object") is not None
        if tls:
            found = tls_write_words(transport)
            if found is None:
                return
            self.words[SSL:] = found
        else:
            self.words[SSL:] = 0
        self._link, self._transport = link, transport
        self.words[ERROR] = 0
        self.words[DESCRIPTOR] = transport.get_extra_info("socket").fileno()

    def close(self) -> None:
        """Write to nothing from now on."""
        self.words[DESCRIPTOR] = NO_SOCKET
        self._link = self._transport = None

    @property
    def is_clear(self) -> bool:
        """Whether compiled code may write now: all that was sent before is out of our hands. Draws
        new masks where they are used up."""
        link = self._link
        if link is None or link.is_close_frame_sent or link.is_disconnected:
            return False
        if not self.words[MASKS_LEFT]:
            self._masks[:] = np.frombuffer(os.urandom(len(self._masks)), np.uint8)
            self.words[MASKS_LEFT] = MASKS_MAX
        return not self._transport.get_write_buffer_size()

    @property
    def failure(self) -> str:
        """Why the connection has failed in compiled code; "" where it has not."""
        number = int(self.words[ERROR])
        if not number:
            return ""
        if number == EAGAIN:
            return "the venue does not read what is sent"
        return f"sending failed: {os.strerror(number)}"
