"""gRPC on HTTP/2, as https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.clients.h2 import frame
from net.gateway.status import percent_encoded
from proto.pollux.v1 import market_data_pb2 as pb
from tests.net.gateway.rig import Engine
from tests.net.gateway.wire_client import (
    CANCEL,
    DATA,
    EMPTY,
    END_STREAM,
    GET_BOOK,
    HEADERS,
    NO_ERROR,
    RST_STREAM,
    SUMMARY,
    WireClient,
    fields,
    served,
)

INVALID, DEADLINE, UNIMPLEMENTED = 3, 4, 12
EXHAUSTED = 8


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Engine, int]]:
    with served(request_bytes_max=1024) as running:
        yield running


@pytest.fixture
def client(gateway: tuple[Engine, int]) -> Iterator[WireClient]:
    with WireClient(gateway[1]) as made:
        yield made


def message(raw: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(raw).to_bytes(4, "big") + raw


def test_a_unary_call_has_headers_one_message_and_trailers(client: WireClient) -> None:
    client.call(1, GET_BOOK)
    head = client.read_until(HEADERS, 1)
    assert head.fields == {":status": "200", "content-type": "application/grpc"}
    body = client.read_until(DATA, 1).payload
    assert body[0] == 0 and int.from_bytes(body[1:5], "big") == len(body) - 5
    assert pb.Book.FromString(body[5:]).symbol == "BTC-USD"
    end = client.read_until(HEADERS, 1, END_STREAM)
    assert end.fields == {"grpc-status": "0"}


def test_a_refusal_is_one_frame_of_headers(client: WireClient) -> None:
    wanted = pb.GetBookRequest(symbol="é%\n").SerializeToString()
    client.call(1, GET_BOOK, message(wanted))
    found = client.read_until(HEADERS, 1)
    assert found.flags & END_STREAM, "trailers only"
    assert found.fields[":status"] == "200"
    assert found.fields["content-type"] == "application/grpc"
    assert found.fields["grpc-status"] == "5"
    text = "unknown symbol '%C3%A9%25\\n'; known: BTC-USD, ETH-USD"
    assert found.fields["grpc-message"] == text


def test_percent_encoding() -> None:
    assert percent_encoded("a b~%\n\x7fé") == b"a b~%25%0A%7F%C3%A9"


@pytest.mark.parametrize(
    "kind",
    [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;charset=utf-8",
        "Application/GRPC",
    ],
)
def test_content_types_of_grpc(client: WireClient, kind: str) -> None:
    headers = [each for each in fields(GET_BOOK) if each[0] != "content-type"]
    client.headers(1, [*headers, ("content-type", kind)])
    client.send(frame(DATA, END_STREAM, 1, EMPTY))
    assert client.status(1) == (0, "")


@pytest.mark.parametrize("kind", ["", "application/json", "application/grpc-web", "text/html"])
def test_other_content_types(client: WireClient, kind: str) -> None:
    headers = [each for each in fields(GET_BOOK) if each[0] != "content-type"]
    client.headers(1, [*headers, *([("content-type", kind)] if kind else [])])
    found = client.read_until(HEADERS, 1, END_STREAM)
    assert found.fields == {":status": "415"}
    assert client.read_until(RST_STREAM, 1).payload == NO_ERROR.to_bytes(4, "big")


def test_other_verbs(client: WireClient) -> None:
    headers = [(":method", "GET"), *(each for each in fields(GET_BOOK) if each[0] != ":method")]
    client.headers(1, headers, END_STREAM)
    assert client.read_until(HEADERS, 1, END_STREAM).fields[":status"] == "405"


def test_unknown_methods(client: WireClient) -> None:
    client.call(1, "/pollux.v1.MarketDataService/Nothing")
    assert client.status(1) == (
        UNIMPLEMENTED, "there is no method /pollux.v1.MarketDataService/Nothing"
    )  # fmt: skip


def test_compressed_requests(client: WireClient) -> None:
    client.call(1, GET_BOOK, message(b"x", flag=1), grpc_encoding="gzip")
    code, text = client.status(1)
    assert code == UNIMPLEMENTED and "'gzip'" in text
    client.call(3, GET_BOOK, message(b"x", flag=1))
    assert client.status(3)[0] == UNIMPLEMENTED
    client.call(5, GET_BOOK, grpc_encoding="identity", grpc_accept_encoding="gzip")
    assert client.status(5) == (0, "")


def test_a_request_in_pieces(client: WireClient) -> None:
    wanted = message(pb.GetBookRequest(symbol="ETH-USD").SerializeToString())
    client.headers(1, fields(GET_BOOK))
    for byte in wanted:
        client.send(frame(DATA, 0, 1, bytes((byte,))))
    code, text = client.status(1)
    assert (code, text) == (14, "ETH-USD has no book yet: the engine has published none")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", UNIMPLEMENTED),
        (EMPTY[:4], INVALID),
        (message(b"abc")[:-1], INVALID),
        (message(b"\xff\xff\xff"), INVALID),
        (message(b"x" * 1025), EXHAUSTED),
        (b"\0\xff\xff\xff\xff", EXHAUSTED),
    ],
)
def test_requests_that_are_none(client: WireClient, raw: bytes, code: int) -> None:
    client.headers(1, fields(GET_BOOK))
    client.send(frame(DATA, END_STREAM, 1, raw))
    assert client.status(1)[0] == code


def test_a_second_request_of_a_method_that_takes_one(client: WireClient) -> None:
    client.headers(1, fields(SUMMARY))
    client.send(frame(DATA, 0, 1, EMPTY))
    client.read_until(DATA, 1)
    client.send(frame(DATA, 0, 1, EMPTY))
    assert client.status(1) == (UNIMPLEMENTED, "this method takes one request")


@pytest.mark.parametrize("timeout", ["100m", "90000u", "1n", "80000000n"])
def test_deadlines(client: WireClient, timeout: str) -> None:
    client.call(1, SUMMARY, grpc_timeout=timeout)
    assert client.status(1) == (DEADLINE, "the call's deadline is over")


@pytest.mark.parametrize("timeout", ["1H", "99999999H", "abc", "-1S", "123456789S", ""])
def test_deadlines_that_are_far_or_none(client: WireClient, timeout: str) -> None:
    client.call(1, GET_BOOK, grpc_timeout=timeout)
    assert client.status(1) == (0, "")


def test_a_client_that_cancels_is_sent_nothing_more(client: WireClient) -> None:
    client.call(1, SUMMARY)
    client.read_until(DATA, 1)
    client.send(frame(RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big")))
    assert client.outcome(0) == ("lives", 0)
    before = len(client.frames)
    client.call(3, GET_BOOK)
    assert client.status(3) == (0, "")
    assert all(found.stream != 1 for found in client.frames[before:])


def test_metadata_that_means_nothing_here(client: WireClient) -> None:
    client.call(1, GET_BOOK, user_agent="x", trace_bin="AAECAw", x_empty="", x_space=" a ")
    assert client.status(1) == (0, "")
