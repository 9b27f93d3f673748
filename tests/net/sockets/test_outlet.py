"""Texts that compiled code sends over a connection: what a venue gets, over real sockets and TLS.

The venue is picows' server, another implementation of the framing; one frame is the example of
RFC 6455, 5.7.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Iterator

import numpy as np
import pytest
import trustme

from engine.compiling.atomics import int64, view_bytes, view_words
from engine.compiling.jit import kernel
from net.sockets import outlet as OW
from net.sockets import tls_objects
from net.sockets.outlet import Outlet, send_text
from tests.net.sockets.outlet_rig import PairOutlet
from tests.net.sockets.test_private_connection import connected

pytestmark = [pytest.mark.timeout(60, func_only=True), pytest.mark.kernel]

Contexts = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


@kernel("int64(int64, int64, int64)")
def send_text_at(outlet: int, text: int, size: int) -> int:
    """Send `size` bytes at an address by the outlet at an address; 1 as `send_text`'s True."""
    sent = send_text(view_words(outlet, OW.OUTLET_WORDS), view_bytes(text, size), size)
    return int64(1) if sent else int64(0)


@pytest.fixture(params=["ws", "wss", "wss, TLS 1.2"])
def contexts(request: pytest.FixtureRequest) -> Contexts:
    if request.param == "ws":
        return None, None
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    client = ssl.create_default_context()
    if request.param != "wss":
        client.maximum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def pair() -> Iterator[PairOutlet]:
    made = PairOutlet()
    yield made
    made.end()


def send(outlet: Outlet, text: bytes) -> bool:
    """As a kernel would: whether it went."""
    held = np.frombuffer(text or b"\0", np.uint8)
    return bool(send_text_at(outlet.address, held.ctypes.data, len(text)))


def test_the_example_of_the_rfc(pair: PairOutlet) -> None:
    """RFC 6455, 5.7: a single-frame masked text message, "Hello"."""
    pair.set_masks(bytes.fromhex("37fa213d"))
    assert send(pair, b"Hello")
    assert pair.received() == bytes.fromhex("818537fa213d7f9f4d5158")
    assert not send(pair, b"Hello"), "a mask is never used again"
    assert pair.received() == b""


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 124, 125, 126, 127, 255, 256, 300, 4095, 4096])
def test_every_size_is_framed(pair: PairOutlet, size: int) -> None:
    text = random.Random(size).randbytes(size)
    assert send(pair, text)
    assert pair.texts() == [text]


def test_a_text_that_is_too_long_is_left_to_others(pair: PairOutlet) -> None:
    assert not send(pair, bytes(OW.TEXT_BYTES_MAX + 1))
    assert pair.received() == b"" and not pair.failure


def test_texts_of_both_senders_arrive_in_their_order(contexts: Contexts) -> None:
    rng = random.Random(5)
    texts = [rng.randbytes(rng.choice((1, 40, 125, 126, 300, 2000, 4096))) for _ in range(300)]

    async def main() -> None:
        async with connected(*contexts) as here:
            outlet = here.line.outlet
            for number, text in enumerate(texts):
                if number % 3 and outlet.is_clear:
                    assert send(outlet, text)
                else:
                    here.line.send(text)
                if number % 20 == 0:
                    await asyncio.sleep(0)
            assert not outlet.failure
            await here.until(lambda: len(here.venues[0].heard) == len(texts))
            assert here.venues[0].heard == texts
            here.venues[0].say(b"an answer")
            await here.until(lambda: here.owner.texts() == [b"an answer"])

    asyncio.run(main())


def test_masks_are_drawn_anew_and_none_is_used_twice() -> None:
    async def main() -> None:
        async with connected() as here:
            outlet, seen = here.line.outlet, set()
            for _ in range(3 * OW.MASKS_MAX):
                assert outlet.is_clear and send(outlet, b"x")
                at = 4 * int(outlet.words[OW.MASKS_LEFT])
                seen.add(outlet._masks[at : at + 4].tobytes())
                if len(seen) % 100 == 0:
                    await asyncio.sleep(0)
            assert len(seen) > 3 * OW.MASKS_MAX - 4, "four bytes each, from the system's source"

    asyncio.run(main())


def test_nothing_goes_before_what_waits(contexts: Contexts) -> None:
    async def main() -> None:
        async with connected(*contexts) as here:
            below = here.venues[0].transport.underlying_transport
            below.pause_reading()
            link = here.line._transport
            assert link is not None
            sent = 0
            while not link.underlying_transport.get_write_buffer_size():
                here.line.send(bytes(10_000))
                sent += 1
            assert not here.line.outlet.is_clear
            below.resume_reading()
            await here.until(lambda: here.line.outlet.is_clear)
            assert send(here.line.outlet, b"after it")
            await here.until(lambda: len(here.venues[0].heard) == sent + 1)
            assert here.venues[0].heard[-1] == b"after it"

    asyncio.run(main())


def test_a_socket_that_takes_no_more_has_failed(contexts: Contexts) -> None:
    """Half a frame cannot be taken back: the connection ends, and the next one is another."""

    async def main() -> None:
        async with connected(*contexts) as here:
            here.venues[0].transport.underlying_transport.pause_reading()
            link = here.line._transport
            assert link is not None
            link.underlying_transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
            )
            outlet = here.line.outlet
            for _ in range(100_000):
                assert outlet.is_clear and send(outlet, bytes(OW.TEXT_BYTES_MAX))
                if outlet.failure:
                    break
            assert outlet.failure == "the venue does not read what is sent"
            assert not send(outlet, b"x"), "nothing follows what was cut"
            here.line.drop(outlet.failure)
            assert not outlet.is_clear and not send(outlet, b"x")
            await here.until(lambda: here.line.connections == 2)
            assert outlet.is_clear and not outlet.failure and send(outlet, b"again")
            await here.until(lambda: here.venues[-1].heard == [b"again"])

    asyncio.run(main())


def test_a_connection_that_is_gone_fails_with_its_reason(pair: PairOutlet) -> None:
    pair.theirs.close()
    assert send(pair, b"x")
    assert pair.failure == "sending failed: Broken pipe"


def test_a_connection_that_closes_takes_nothing() -> None:
    async def main() -> None:
        async with connected() as here:
            outlet = here.line.outlet
            assert outlet.is_clear
            here.line.renew("old")
            assert not outlet.is_clear, "after a close frame nothing may follow"
            await here.until(lambda: here.line.connections == 2)
            assert outlet.is_clear
            await here.line.stop()
            await here.until(here.run.done)
            assert not outlet.is_clear and not send(outlet, b"x")

    asyncio.run(main())


def test_tls_that_is_not_known_is_its_transports(
    contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    if contexts[0] is None:
        pytest.skip("a plain connection has none")
    monkeypatch.setattr(tls_objects, "_functions", lambda: None)

    async def main() -> None:
        async with connected(*contexts) as here:
            assert not here.line.outlet.is_clear and not send(here.line.outlet, b"x")
            here.line.send(b"by Python")
            await here.until(lambda: here.venues[0].heard == [b"by Python"])

    asyncio.run(main())
