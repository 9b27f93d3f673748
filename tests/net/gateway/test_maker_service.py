"""pollux.v1.MakerService over real gRPC: what it shows, and who may ask it for what."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import state_board_layout as B
from engine.maker.state_board import Requests
from net.gateway.authorization import read_token
from net.gateway.maker_service import BOARD_LOOK_S
from net.gateway.options import GatewayError
from net.orders.interface import EntryState
from proto.pollux.v1 import maker_pb2
from proto.pollux.v1.maker_pb2_grpc import MakerServiceStub
from tests.net.gateway.maker_engine import FAIR, MakerEngine
from tests.net.gateway.rig import PATIENCE_S, Engine, Gateway, gateway_thread, status_of
from tuning.clock import wall_ns

TOKEN = "correct-horse-battery"
OPEN_TO_ALL = "0.0.0.0:0"


@pytest.fixture
def maker(engine: Engine) -> Iterator[MakerEngine]:
    maker = MakerEngine(engine.name)
    yield maker
    maker.close()


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(f"{TOKEN}\n")
    return str(path)


def get(channel: grpc.Channel) -> maker_pb2.Maker:
    return MakerServiceStub(channel).GetMaker(maker_pb2.GetMakerRequest(), timeout=PATIENCE_S)


def kill(channel: grpc.Channel, *metadata: tuple[str, str]) -> maker_pb2.KillResponse:
    request = maker_pb2.KillRequest(reason="a test")
    return MakerServiceStub(channel).Kill(request, timeout=PATIENCE_S, metadata=metadata)


def release(channel: grpc.Channel, *metadata: tuple[str, str]) -> maker_pb2.ReleaseResponse:
    request = maker_pb2.ReleaseRequest(reason="a test")
    return MakerServiceStub(channel).Release(request, timeout=PATIENCE_S, metadata=metadata)


# --- the state -----------------------------------------------------------------------------------


def test_the_public_entry_states_are_those_of_order_entry_in_their_order() -> None:
    public = maker_pb2.EntryState.keys()[1:]
    assert public == [f"ENTRY_STATE_{each.name}" for each in EntryState]


def test_the_state_is_exact(engine: Engine, maker: MakerEngine) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        said = get(channel)
    assert (said.symbol, said.sequence, said.live) == ("BTC-USD", 1, False)
    assert abs(wall_ns() - said.publish_time_ns) < 20e9
    assert (said.tick_mantissa, said.tick_decimals, said.lot_decimals) == (1, 2, 8)
    assert (said.value_mantissa, said.value_decimals) == (1, 10)
    assert (said.risk_state, said.halt_reason) == (maker_pb2.RISK_STATE_NORMAL, "")
    assert (said.position_lots, said.position) == (15, 15e-8)
    assert (said.fair_price, said.fair_status) == (100.005, "available")
    assert (said.open_buy_lots, said.open_sell_lots, said.fills) == (25, 30, 1)
    # 15 lots bought 3 ticks below the fair price; the gate's is the whole price.
    assert (said.result_units, said.result, said.day_result_units) == (39, 39e-10, 39)
    assert (said.fees_units, said.fees, said.fee_base_lots, said.unvalued_fees) == (6, 6e-10, 0, 0)
    assert [(each.fee_ppm, each.fees_units) for each in said.venues] == [(750, 6), (0, 0)]
    assert [each.rate_e8 for each in said.venues] == [99_870_000, 100_000_000]
    first, second = said.venues
    assert (first.venue, first.entry_state, first.orders) == (
        "binance",
        maker_pb2.ENTRY_STATE_READY,
        1,
    )
    assert (second.entry_state, second.trouble) == (
        maker_pb2.ENTRY_STATE_DISCONNECTED,
        "RATE_LIMITED",
    )
    bid, ask = said.orders
    assert (bid.venue, bid.side, bid.state) == (
        "binance", maker_pb2.SIDE_BUY, maker_pb2.ORDER_STATE_PARTIALLY_FILLED)  # fmt: skip
    assert (bid.price_ticks, bid.price, bid.amount_lots, bid.filled_lots) == (9997, 99.97, 40, 15)
    assert (ask.venue, ask.side, ask.level, ask.state) == (
        "bitstamp", maker_pb2.SIDE_SELL, 0, maker_pb2.ORDER_STATE_OPEN)  # fmt: skip


def test_of_several_market_makers_the_symbol_tells_which(
    engine: Engine, maker: MakerEngine
) -> None:
    """Without one a state is the first's, and a kill or release is of all."""
    other = MakerEngine(engine.name, "ETH-USD", 1)
    try:
        with gateway_thread(engine) as gateway, gateway.channel() as channel:
            stub, eth = MakerServiceStub(channel), "ETH-USD"
            assert get(channel).symbol == "BTC-USD"
            asked = maker_pb2.GetMakerRequest(symbol=eth)
            assert stub.GetMaker(asked, timeout=PATIENCE_S).symbol == "ETH-USD"
            listed = stub.ListMakers(maker_pb2.ListMakersRequest(), timeout=PATIENCE_S).makers
            assert [each.symbol for each in listed] == ["BTC-USD", "ETH-USD"]
            streamed = maker_pb2.StreamMakerRequest(symbol=eth)
            assert next(iter(stub.StreamMaker(streamed, timeout=PATIENCE_S))).symbol == "ETH-USD"
            absent = maker_pb2.KillRequest(symbol="DOGE-USD")
            with pytest.raises(grpc.RpcError) as caught:
                stub.Kill(absent, timeout=PATIENCE_S)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert "there are: BTC-USD, ETH-USD" in str(caught.value.details())
            with maker.running(), other.running():
                killed = stub.Kill(maker_pb2.KillRequest(symbol=eth), timeout=PATIENCE_S)
                assert [each.symbol for each in killed.makers] == ["ETH-USD"]
                assert (maker.maker.risk_state, other.maker.risk_state) == (O.NORMAL, O.HALTED)
                assert [each.symbol for each in kill(channel).makers] == ["BTC-USD", "ETH-USD"]
                assert maker.maker.risk_state == other.maker.risk_state == O.HALTED
                assert len(release(channel).makers) == 2
                assert maker.maker.risk_state == other.maker.risk_state == O.NORMAL
    finally:
        other.close()


def test_no_fair_price_is_told_with_its_reason(engine: Engine, maker: MakerEngine) -> None:
    maker.publish(math.nan)
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        said = get(channel)
    assert not said.HasField("fair_price") and said.fair_status == "no venue that counts is live"
    assert said.result_units == 39 and said.result_time_ns > 0


def test_a_stream_has_the_state_at_once_and_then_every_change(
    engine: Engine, maker: MakerEngine
) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        stub = MakerServiceStub(channel)
        stream = iter(stub.StreamMaker(maker_pb2.StreamMakerRequest(), timeout=PATIENCE_S))
        assert next(stream).sequence == 1
        maker.publish()
        time.sleep(3 * BOARD_LOOK_S)
        maker.publish(FAIR + 0.75)
        said = next(stream)
        assert (said.sequence, said.fair_price) == (3, 100.0075), "a time alone is no change"
        rare = iter(stub.StreamMaker(maker_pb2.StreamMakerRequest(min_interval_ms=400), timeout=9))
        assert next(rare).sequence == 3
        started_s = time.monotonic()
        for step in range(4):
            maker.publish(FAIR + step)
        assert next(rare).sequence == 7, "the latest, not each"
        assert time.monotonic() - started_s > 0.3
        wrong = stub.StreamMaker(
            maker_pb2.StreamMakerRequest(min_interval_ms=-1), timeout=PATIENCE_S
        )
        code, text = status_of(lambda: next(iter(wrong)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT and "min_interval_ms -1" in text
        engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)
        code, text = status_of(lambda: list(stream))
        assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the engine has stopped")


def test_without_a_market_maker_and_when_one_comes_and_goes(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        for call in (get, kill, release):
            code, text = status_of(partial(call, channel))
            assert code is grpc.StatusCode.NOT_FOUND and "no market maker" in text
        maker = MakerEngine(engine.name)
        assert get(channel).symbol == "BTC-USD"
        maker.close()
        assert status_of(lambda: get(channel))[0] is grpc.StatusCode.NOT_FOUND
        with contextlib.closing(MakerEngine(engine.name)) as left_by_another_process:
            left_by_another_process.writer.words[B.WRITER_PID] += 1
            assert status_of(lambda: get(channel))[0] is grpc.StatusCode.NOT_FOUND


def test_a_silent_market_maker_is_not_shown(engine: Engine, maker: MakerEngine) -> None:
    with (
        gateway_thread(engine, heartbeat_stale_after_ms=300) as gateway,
        gateway.channel() as channel,
    ):
        limit_s = time.monotonic() + PATIENCE_S
        while status_of(lambda: get(channel))[0] is grpc.StatusCode.OK:
            assert time.monotonic() < limit_s
            engine.beat()
        engine.beat()
        code, text = status_of(lambda: get(channel))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert text.startswith("the market maker has shown no sign of life for 0.")


# --- kill and release ----------------------------------------------------------------------------


def test_kill_and_release_are_answered_when_they_are_done(
    engine: Engine, maker: MakerEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel, maker.running():
        said = kill(channel).maker
        assert (said.risk_state, said.halt_reason) == (maker_pb2.RISK_STATE_HALTED, "killed")
        assert {order.state for order in said.orders} == {maker_pb2.ORDER_STATE_PENDING_CANCEL}
        assert release(channel).maker.risk_state == maker_pb2.RISK_STATE_NORMAL
    assert maker.maker.risk_state == O.NORMAL
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("kill asked for by ") and first.endswith(": a test")
    assert second.startswith("release asked for by ")


def test_a_request_that_nobody_takes_says_so(engine: Engine, maker: MakerEngine) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        code, text = status_of(lambda: kill(channel))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert text == "the kill is asked for, but not taken after 2 s"
        engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)
        code, text = status_of(lambda: kill(channel))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert text == "the kill is asked for but not taken: the engine has stopped"
        assert status_of(lambda: release(channel))[0] is grpc.StatusCode.UNAVAILABLE
        assert maker.writer.requests() == Requests(2, 0, 0), (
            "no release waits for an engine that comes back"
        )


def test_a_reason_is_bounded(engine: Engine, maker: MakerEngine) -> None:
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        request = maker_pb2.KillRequest(reason="x" * 201)
        code, _ = status_of(lambda: MakerServiceStub(channel).Kill(request, timeout=PATIENCE_S))
        assert code is grpc.StatusCode.INVALID_ARGUMENT and maker.writer.requests() == Requests(
            0, 0, 0
        )


# --- who may -------------------------------------------------------------------------------------

OK, DENIED = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED
RIGHT, WRONG = f"Bearer {TOKEN}", f"Bearer {TOKEN}x"


@pytest.mark.parametrize(
    ("listen", "has_file", "expected"),
    [
        ("127.0.0.1:0", False, {"": OK, WRONG: OK}),
        ("localhost:0", True, {"": UNKNOWN, WRONG: UNKNOWN, RIGHT: OK}),  # issue 13, point 11
        (OPEN_TO_ALL, False, {"": DENIED, RIGHT: DENIED, "Bearer ": DENIED}),
        (
            OPEN_TO_ALL,
            True,
            {"": UNKNOWN, WRONG: UNKNOWN, RIGHT[:-1]: UNKNOWN, "Bearer ": UNKNOWN, TOKEN: UNKNOWN,
             RIGHT.lower(): UNKNOWN, RIGHT: OK},
        ),
    ],
)  # fmt: skip
def test_who_may_ask(
    engine: Engine,
    maker: MakerEngine,
    token_file: str,
    listen: str,
    has_file: bool,
    expected: dict[str, grpc.StatusCode],
) -> None:
    options = {"listen": listen, "maker_token_file": token_file if has_file else ""}
    with (
        gateway_thread(engine, **options) as gateway,
        gateway.channel() as channel,
        maker.running(),
    ):
        for shown, wanted in expected.items():
            metadata = [("authorization", shown)] if shown else []
            before = maker.writer.requests()
            for code, text in (
                status_of(partial(kill, channel, *metadata)),
                status_of(partial(release, channel, *metadata)),
            ):
                assert code is wanted, (shown, text)
                assert TOKEN not in text
            assert (maker.writer.requests() != before) == (wanted is OK)
        assert get(channel).symbol == "BTC-USD", "to look is free"


def test_two_tokens_are_none(engine: Engine, maker: MakerEngine, token_file: str) -> None:
    options = {"listen": OPEN_TO_ALL, "maker_token_file": token_file}
    with gateway_thread(engine, **options) as gateway, gateway.channel() as channel:
        for words in ((RIGHT, WRONG), (WRONG, RIGHT)):
            metadata = [("authorization", word) for word in words]
            assert status_of(partial(kill, channel, *metadata))[0] is UNKNOWN


def test_a_certificate_allows_and_tls_alone_does_not(
    engine: Engine, maker: MakerEngine, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key, ca = (str(tmp_path / name) for name in ("cert", "key", "ca"))
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    own = authority.issue_cert("client")
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(), own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
    )

    def ask(gateway: Gateway) -> tuple[grpc.StatusCode, str]:
        with grpc.secure_channel(gateway.target, credentials) as channel:
            return status_of(lambda: kill(channel))

    options: dict[str, Any] = {"listen": OPEN_TO_ALL, "tls_cert": cert, "tls_key": key}
    with maker.running():
        with gateway_thread(engine, **options, tls_client_ca=ca) as gateway:
            assert ask(gateway)[0] is OK
        with gateway_thread(engine, **options) as gateway:
            assert ask(gateway)[0] is DENIED


@pytest.mark.parametrize(
    ("mode", "content", "words"),
    [
        (0o644, TOKEN, r"\(0644\): chmod 600"),
        (0o640, TOKEN, r"\(0640\): chmod 600"),
        (0o604, TOKEN, "chmod 600"),
        (0o602, TOKEN, "chmod 600"),
        (0o600, "", "16 to 256"),
        (0o600, "short", "16 to 256"),
        (0o600, "two words that are long enough", "16 to 256"),
        (0o600, "é" * 40, "16 to 256"),
        (0o600, "x" * 257, "16 to 256"),
    ],
)
def test_a_token_file_that_is_not_safe_is_refused(
    token_file: str, mode: int, content: str, words: str
) -> None:
    path = Path(token_file)
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(GatewayError, match=f"maker token_file .*{words}"):
        read_token(token_file)


@pytest.mark.timeout(10)
def test_a_token_file_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Issue 13.9; a link to a file is one, as where secrets are mounted."""
    pipe, link, file = (tmp_path / name for name in ("pipe", "link", "file"))
    os.mkfifo(pipe, 0o600)
    with pytest.raises(GatewayError, match=r"token_file .*pipe is no regular"):
        read_token(str(pipe))
    file.write_text(TOKEN)
    file.chmod(0o600)
    link.symlink_to(file)
    assert read_token(str(link)) == TOKEN
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
        with pytest.raises(GatewayError, match="belongs to another user"):
            read_token(str(file))


def test_a_gateway_does_not_start_with_one(engine: Engine) -> None:
    for path in ("/absent", "/absent\0"):
        with (
            pytest.raises(GatewayError, match="maker token_file /absent"),
            gateway_thread(engine, maker_token_file=path),
        ):
            pass
