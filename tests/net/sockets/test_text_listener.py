"""What becomes of frames that are no whole text: fragments, reserved bits, binary."""

from __future__ import annotations

from typing import Any

import pytest
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from net.sockets.websocket import MESSAGE_PARTS_MAX, TextListener


class Kept(TextListener):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def on_text(self, raw: bytes, now_ns: int, is_last: bool) -> None:
        assert now_ns > 0
        self.told.append(raw)

    def on_binary(self, now_ns: int) -> None:
        self.told.append("binary")

    def on_broken(self, reason: str) -> None:
        self.told.append(f"broken: {reason}")

    def on_other(self, is_last: bool) -> None:
        self.told.append("other")


def take(
    listener: Kept, kind: WSMsgType, raw: bytes, *, fin: bool = True, rsv1: bool = False
) -> Any:
    """Hand it one frame; all that it was told so far."""
    listener.on_ws_frame(None, _make_test_ws_frame(kind, raw, fin, rsv1))
    return listener.told


def test_a_text_is_handed_on_and_a_fragmented_one_when_it_is_whole() -> None:
    listener = Kept()
    assert take(listener, WSMsgType.TEXT, b"whole") == [b"whole"]
    take(listener, WSMsgType.TEXT, b"be", fin=False)
    take(listener, WSMsgType.PING, b"")
    take(listener, WSMsgType.CONTINUATION, b"gi", fin=False)
    told = take(listener, WSMsgType.CONTINUATION, b"n")
    assert told == [b"whole", "other", b"begin"]
    assert take(listener, WSMsgType.TEXT, b"next")[-1] == b"next"


@pytest.mark.parametrize("kind", [WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING])
def test_a_compressed_frame_that_nobody_agreed_on_ends_the_connection(kind: WSMsgType) -> None:
    """Issue 13.7; RFC 6455, 5.2: without an extension the reserved bits are zero."""
    assert take(Kept(), kind, b"{}", rsv1=True) == ["broken: a compressed frame"]


def test_fragments_out_of_order_or_without_end_end_the_connection() -> None:
    assert take(Kept(), WSMsgType.CONTINUATION, b"x") == ["broken: fragments out of order"]
    listener = Kept()
    take(listener, WSMsgType.TEXT, b"x", fin=False)
    assert take(listener, WSMsgType.TEXT, b"y") == ["broken: fragments out of order"]
    listener = Kept()
    take(listener, WSMsgType.TEXT, b"x", fin=False)
    for _ in range(MESSAGE_PARTS_MAX):
        take(listener, WSMsgType.CONTINUATION, b"", fin=False)
    assert listener.told == ["broken: message too long"]


def test_a_binary_frame_is_told_as_what_it_is() -> None:
    assert take(Kept(), WSMsgType.BINARY, b"x") == ["binary", "other"]
