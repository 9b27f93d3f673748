"""An outlet to one end of a pair of sockets; what comes out of the other, as a venue reads it."""

from __future__ import annotations

import os
import socket

import numpy as np

from net.sockets import outlet as OW
from net.sockets.outlet import Outlet


class PairOutlet(Outlet):
    """Open from the beginning; `is_shut`: whether something is to be sent before."""

    def __init__(self) -> None:
        super().__init__()
        self._ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.is_shut = False
        self.words[OW.DESCRIPTOR] = self._ours.fileno()
        self.set_masks(os.urandom(OW.MASKS_MAX * OW.MASK_BYTES))

    def set_masks(self, masks: bytes) -> None:
        """The next frames have these, the last one first."""
        self._masks[: len(masks)] = np.frombuffer(masks, np.uint8)
        self.words[OW.MASKS_LEFT] = len(masks) // OW.MASK_BYTES

    @property
    def is_clear(self) -> bool:
        return not self.is_shut

    def received(self) -> bytes:
        """What has come since the last call."""
        try:
            return self.theirs.recv(1 << 20)
        except BlockingIOError:
            return b""

    def texts(self) -> list[bytes]:
        """The texts that have come, each from one masked frame (RFC 6455, 5.2)."""
        raw, found = self.received(), []
        while raw:
            assert raw[0] == 0x81, "a whole text"
            assert raw[1] & 0x80, "masked"
            size, at = raw[1] & 0x7F, 2
            if size == 126:
                size, at = int.from_bytes(raw[2:4], "big"), 4
                assert size > 125
            mask, body = raw[at : at + 4], raw[at + 4 : at + 4 + size]
            assert len(body) == size
            found.append(bytes(byte ^ mask[index % 4] for index, byte in enumerate(body)))
            raw = raw[at + 4 + size :]
        return found

    def end(self) -> None:
        self._ours.close()
        self.theirs.close()
