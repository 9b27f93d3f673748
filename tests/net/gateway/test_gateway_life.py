"""The gateway's life: the engine's death, health, reflection, TLS, limits, ports, options."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from engine.layout import layout as L
from net.gateway.options import GatewayError, GatewayOptions
from net.gateway.server import run_gateway
from proto import orderbook_pb2
from proto.orderbook_pb2_grpc import OrderbookAggregatorStub
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.net.gateway.rig import (
    PATIENCE_S,
    Engine,
    eventually,
    gateway_thread,
    ladder,
    status_of,
    take,
)
from tuning.clock import steady_ns

SERVICES = (
    "",
    "orderbook.OrderbookAggregator",
    "pollux.v1.MarketDataService",
    "pollux.v1.MakerService",
)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _health(channel: grpc.Channel) -> set[int]:
    stub = health_pb2_grpc.HealthStub(channel)
    return {
        stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S).status
        for service in SERVICES
    }


def _stop(engine: Engine) -> None:
    engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)


def _fall_silent(engine: Engine) -> None:
    engine.writer.beat(steady_ns() - 6_000_000_000)


def _beat_in_the_future(engine: Engine) -> None:
    engine.writer.beat(steady_ns() + 3600_000_000_000)


@pytest.mark.parametrize(
    ("kill", "reason"),
    [
        (_stop, "the engine has stopped"),
        (_fall_silent, "the engine has shown no sign of life for 6"),
        (_beat_in_the_future, "the engine has shown no sign of life for 3"),
    ],
)
def test_a_dead_engine_ends_streams_and_health(
    engine: Engine, kill: Callable[[Engine], None], reason: str
) -> None:
    engine.publish(*ladder(500))
    unavailable = grpc.StatusCode.UNAVAILABLE
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        plain, exact = OrderbookAggregatorStub(channel), MarketDataServiceStub(channel)
        summaries = plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S)
        books = exact.StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S)
        states = exact.StreamVenueStatus(
            pb.StreamVenueStatusRequest(symbols=["BTC-USD"]), timeout=PATIENCE_S
        )
        streams: tuple[Iterable[object], ...] = (summaries, books, states)
        for stream in streams:
            take(stream)
        assert _health(channel) == {SERVING}
        kill(engine)
        for stream in streams:
            code, text = status_of(partial(take, stream))
            assert code is unavailable and text.startswith(reason), text
        assert eventually(lambda: _health(channel) == {NOT_SERVING})
        calls: tuple[Callable[[], object], ...] = (
            lambda: take(plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S)),
            lambda: take(exact.StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S)),
            lambda: exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S),
            lambda: exact.ListInstruments(pb.ListInstrumentsRequest(), timeout=PATIENCE_S),
        )
        for call in calls:
            code, text = status_of(call)
            assert code is unavailable and text.startswith(reason), text
        assert gateway.counters.subscribers == 0


def test_an_engine_that_comes_back_is_served_again(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        _fall_silent(engine)
        assert eventually(lambda: _health(channel) == {NOT_SERVING})
        engine.beat()
        assert eventually(lambda: _health(channel) == {SERVING})
        plain = OrderbookAggregatorStub(channel)
        assert take(plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S)).bids


def test_a_new_call_does_not_wait_for_the_tick_to_notice_the_death(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, exact):
        exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S)
        _stop(engine)
        call = partial(exact.GetBook, pb.GetBookRequest(), timeout=PATIENCE_S)
        assert status_of(call)[0] is grpc.StatusCode.UNAVAILABLE


def test_health_follows_although_a_call_noticed_first(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        exact = MarketDataServiceStub(channel)
        _stop(engine)
        for _ in range(50):
            status_of(lambda: exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S))
        assert eventually(lambda: _health(channel) == {NOT_SERVING})


def test_streams_end_with_a_reason_when_the_gateway_stops(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway:
        channel = grpc.insecure_channel(gateway.target)
        stream = OrderbookAggregatorStub(channel).BookSummary(orderbook_pb2.Empty())
        take(stream)
    code, text = status_of(lambda: take(stream))
    channel.close()
    assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the gateway is shutting down")


def test_reflection_lists_the_services(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="pollux.v1.Book"),
            reflection_pb2.ServerReflectionRequest(
                file_containing_symbol="orderbook.OrderbookAggregator"
            ),
        ]
        listed, *files = stub.ServerReflectionInfo(iter(requests), timeout=PATIENCE_S)
    names = {service.name for service in listed.list_services_response.service}
    assert names == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        *SERVICES[1:],
    }
    for answer, comment in zip(
        files, ("merged book at one moment", "The plain interface"), strict=True
    ):
        raw = answer.file_descriptor_response.file_descriptor_proto[0]
        assert comment.encode() in raw, "with its comments"


def test_both_versions_of_reflection_answer_alike(engine: Engine) -> None:
    """The second by its bytes: grpcio-reflection has no stub for it."""
    asked = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.reflection.v1"),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="grpc.reflection.v1.ServerReflection"
        ),
        reflection_pb2.ServerReflectionRequest(file_by_filename="proto/pollux/v1/maker.proto"),
        reflection_pb2.ServerReflectionRequest(file_by_filename="no/such.proto"),
        reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="pollux.v1.Book"),
        reflection_pb2.ServerReflectionRequest(),
    ]
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        answers = []
        for version in ("v1", "v1alpha"):
            call = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )
            answers.append(list(call(iter(asked), timeout=PATIENCE_S)))
    assert answers[0] == answers[1]
    kinds = [answer.WhichOneof("message_response") for answer in answers[0]]
    found, none = "file_descriptor_response", "error_response"
    numbers = "all_extension_numbers_response"
    assert kinds == [none, found, found, none, numbers, none]
    assert [answers[0][each].error_response.error_code for each in (0, 3, 5)] == [5, 5, 3]


def test_the_limit_of_subscribers(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine, subscribers_max=3) as gateway, gateway.stubs() as (plain, exact):
        streams = [plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S) for _ in range(3)]
        for stream in streams:
            take(stream)
        refused = exact.StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S)
        code, text = status_of(lambda: take(refused))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text == "this gateway has 3 subscribers ([gateway] subscribers_max)"
        assert exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S).sequence == 1
        streams[0].cancel()  # type: ignore[no-untyped-call]
        assert eventually(lambda: gateway.counters.subscribers == 2)
        assert take(exact.StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S)).sequence == 1
        assert gateway.counters.refused == 1


# --- TLS -----------------------------------------------------------------------------------------


def _pem(folder: Path, authority: trustme.CA) -> tuple[str, str]:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return str(cert), str(key)


def test_tls(engine: Engine, tmp_path: Path) -> None:
    engine.publish(*ladder(500))
    authority = trustme.CA()
    cert, key = _pem(tmp_path, authority)
    with gateway_thread(engine, tls_cert=cert, tls_key=key) as gateway:
        trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(gateway.target, trusting) as channel:
            stream = OrderbookAggregatorStub(channel).BookSummary(
                orderbook_pb2.Empty(), timeout=PATIENCE_S
            )
            assert take(stream).bids[0].price == 5.0
        stranger = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
        with grpc.secure_channel(gateway.target, stranger) as channel:
            assert _first_code(channel) is grpc.StatusCode.UNAVAILABLE
        with gateway.channel() as channel:
            assert _first_code(channel) is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls(engine: Engine, tmp_path: Path) -> None:
    engine.publish(*ladder(500))
    authority, clients = trustme.CA(), trustme.CA()
    cert, key = _pem(tmp_path, authority)
    client_ca = tmp_path / "clients.pem"
    clients.cert_pem.write_to_path(str(client_ca))
    with gateway_thread(
        engine, tls_cert=cert, tls_key=key, tls_client_ca=str(client_ca)
    ) as gateway:
        for issuer, expected in (
            (clients, grpc.StatusCode.OK),
            (trustme.CA(), grpc.StatusCode.UNAVAILABLE),
            (None, grpc.StatusCode.UNAVAILABLE),
        ):
            issued = issuer.issue_cert("desk@example.org") if issuer else None
            credentials = grpc.ssl_channel_credentials(
                authority.cert_pem.bytes(),
                issued.private_key_pem.bytes() if issued else None,
                issued.cert_chain_pems[0].bytes() if issued else None,
            )
            with grpc.secure_channel(gateway.target, credentials) as channel:
                assert _first_code(channel) is expected


def _first_code(channel: grpc.Channel) -> grpc.StatusCode:
    stub = MarketDataServiceStub(channel)
    return status_of(lambda: stub.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S))[0]


# --- what prevents serving -----------------------------------------------------------------------


def _error(options: GatewayOptions) -> str:
    with pytest.raises(GatewayError) as raised:
        run_gateway(options, ready=lambda _port: None, stop=threading.Event())
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_in_use(engine: Engine, host: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"{host}:{other.getsockname()[1]}"
        text = _error(GatewayOptions(engine.name, listen))
        assert text == f"gateway.listen: cannot listen on {listen}: address already in use"


def test_a_second_gateway_on_the_port(engine: Engine) -> None:
    with gateway_thread(engine) as gateway:
        text = _error(GatewayOptions(engine.name, gateway.target))
        assert text == f"gateway.listen: cannot listen on {gateway.target}: address already in use"


def test_unusable_addresses_and_cpus(engine: Engine) -> None:
    assert "gateway.listen: cannot listen on 192.0.2.1:0" in _error(
        GatewayOptions(engine.name, "192.0.2.1:0")
    )
    assert "gateway cpu 4095" in _error(GatewayOptions(engine.name, "127.0.0.1:0", cpu=4095))


def test_bad_certificates(engine: Engine, tmp_path: Path) -> None:
    cert, key = _pem(tmp_path, trustme.CA())
    other = tmp_path / "other"
    other.mkdir()
    _, wrong_key = _pem(other, trustme.CA())
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    listen = "127.0.0.1:0"
    absent = str(tmp_path / "absent.pem")

    def error(cert: str, key: str, client_ca: str = "") -> str:
        options = GatewayOptions(
            engine.name, listen, tls_cert=cert, tls_key=key, tls_client_ca=client_ca
        )
        return _error(options)

    assert error(absent, key) == f"gateway tls_cert {absent}: No such file or directory"
    assert "key values mismatch" in error(cert, wrong_key)
    assert str(junk) in error(str(junk), key)
    assert str(junk) in error(cert, str(junk))
    assert f"gateway tls_client_ca {junk}" in error(cert, key, str(junk))


def test_no_engine_in_time(engine: Engine) -> None:
    text = _error(GatewayOptions("test-nobody", "127.0.0.1:0", attach_timeout_ms=120))
    assert text.startswith("no book to serve after 0.12 s: no daemon named 'test-nobody'")
    _fall_silent(engine)
    text = _error(GatewayOptions(engine.name, "127.0.0.1:0", attach_timeout_ms=120))
    assert "no sign of life for 6" in text


def test_a_gateway_started_first_waits_for_the_engine() -> None:
    late = Engine()
    late.close()  # only for the name
    stop, ready = threading.Event(), threading.Event()
    options = GatewayOptions(late.name, "127.0.0.1:0")
    thread = threading.Thread(
        target=lambda: run_gateway(options, ready=lambda _port: ready.set(), stop=stop)
    )
    thread.start()
    assert not ready.wait(0.15)
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "gateway options are not JSON"),
        ("[]", "gateway options must be one JSON object"),
        ("{}", "gateway handoff_name: is missing"),
        ('{"handoff_name": 1}', "gateway handoff_name 1: must be str"),
        ('{"handoff_name": "x", "cpus": 1}', "gateway option 'cpus' is unknown"),
        ('{"handoff_name": "x", "parent_pid": true}', "gateway parent_pid True: must be int"),
        ('{"handoff_name": "x", "attach_timeout_ms": -1}', "gateway attach_timeout_ms -1: must be"),
        (
            '{"handoff_name": "x", "idle": "nap"}',
            "gateway idle 'nap': must be one of",
        ),
        ('{"handoff_name": "x", "listen": "5002"}', "gateway listen '5002': must be HOST:PORT"),
        ('{"handoff_name": "x", "listen": "a:99999"}', "gateway listen 'a:99999': must be"),
        ('{"handoff_name": "x", "tls_cert": "a"}', "gateway tls_cert and tls_key: give both"),
        ('{"handoff_name": "x", "tls_client_ca": "a"}', "gateway tls_client_ca: needs tls_cert"),
    ],
)
def test_wrong_options(text: str, expected: str) -> None:
    with pytest.raises(GatewayError) as raised:
        GatewayOptions.from_json(text)
    assert str(raised.value).startswith(expected)


def test_options_survive_the_journey_to_the_process() -> None:
    options = GatewayOptions("x", "[::1]:0", cpu=3, subscribers_max=7)
    assert GatewayOptions.from_json(options.to_json()) == options
    assert options.host_and_port() == ("::1", 0)
