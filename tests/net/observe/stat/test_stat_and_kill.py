"""`pollux stat`, `kill` and `release`: what is shown of a daemon, how it is asked, and statuses."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import net.client.kill_switch
import pollux
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import state_board_layout as B
from engine.maker.state_board import Requests
from engine.sharing.handoff import segment_path, write_word
from net.client.maker_lines import fees_text, table_lines
from net.observe.stat.read import read_stat
from net.observe.stat.text import stat_lines
from net.process.tuning_report import KIND, read_tuning_report, write_tuning_report
from proto.pollux.v1 import maker_pb2
from tests.net.gateway.maker_engine import MakerEngine
from tests.net.gateway.rig import Engine, gateway_thread, ladder
from tuning.clock import now
from tuning.measures import Measure

NOBODY_PID = 2**22 + 1
"""Above Linux's largest."""
LONG_AGO_NS = 10_000_000_000


@pytest.fixture
def maker(engine: Engine) -> Iterator[MakerEngine]:
    maker = MakerEngine(engine.name)
    yield maker
    maker.close()


class Done:
    """A command's end: its status and what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        with pytest.raises(SystemExit) as end:
            pollux.main(arguments)
        self.status = end.value.code
        self.out, self.err = capsys.readouterr()


# --- stat ----------------------------------------------------------------------------------------


def test_stat_shows_books_venues_and_the_market_maker(
    engine: Engine, maker: MakerEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.publish(*ladder(9_999), states=[L.LIVE, L.STALE], flags=[1, 0])
    write_tuning_report(engine.name, os.getpid(), [Measure("cpu", "refused", "not permitted")])
    done = Done(capsys, "stat", "--name", engine.name)
    write_tuning_report(
        engine.name, os.getpid() + 1, [Measure("cpu", "applied", "another daemon's")]
    )
    assert not read_tuning_report(engine.name, os.getpid())
    segment_path(engine.name, KIND).unlink()
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(done.out.split())
    for words in (
        f"daemon {engine.name}, pid {os.getpid()}: running",
        "cpu refused: not permitted",
        "BTC-USD: book 1, published",
        "best bid 99.99 x 1.00000000 binance",
        "binance LIVE data",
        "depth known in part",
        "bitstamp STALE",
        "ETH-USD: nothing published yet",
        "market maker BTC-USD, on paper: NORMAL",
        "fair price 100.0050",
        "binance: one of its quote currency counts 0.9987",
        "position +0.00000015 of at most 0.00001",
        "open 0.00000025 to buy, 0.0000003 to sell, 2 of at most 40 orders",
        "result +0.00 today, halts at -0.01",
        "fees 0.00000001 of all runs, in the results already",
        "binance READY 1 0 0 0 7.5 -",
        "bitstamp DISCONNECTED 0 0 0 0 0 RATE_LIMITED",
        "binance buy 0 99.97 0.0000004 0.00000015 PARTIALLY_FILLED",
    ):
        assert words in text, words


def test_stat_as_json_is_exact(
    engine: Engine, maker: MakerEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.publish(*ladder(9_999))
    maker.maker.kill()
    maker.publish()
    done = Done(capsys, "stat", "--name", engine.name, "--json")
    said = json.loads(done.out)
    assert (done.status, said["pid"], said["trouble"]) == (0, os.getpid(), None)
    assert said["heartbeat_age_ns"] < LONG_AGO_NS
    assert said["books"]["BTC-USD"]["bids"][0] == ["binance", "99.99", "1.00000000"]
    shown = said["maker"]
    assert (shown["risk_state"], shown["halt_reason"]) == ("HALTED", "killed")
    assert (shown["position"], shown["day_result"]) == ("0.00000015", "0.0000000039")
    assert (shown["fees"], shown["fees_base"], shown["unvalued_fees"]) == (
        "0.0000000006",
        "0.00000000",
        0,
    )
    assert shown["venues"]["binance"]["fee_ppm"] == 750
    assert [each["rate"] for each in shown["venues"].values()] == ["0.9987", "1"]
    assert shown["venues"]["binance"]["fees"] == "0.0000000006"
    assert [order["state"] for order in shown["orders"]] == ["PENDING_CANCEL"] * 2


def test_stat_without_a_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    done = Done(capsys, "stat", "--name", "test-nobody")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("pollux: no daemon named 'test-nobody' is running")


def test_stat_without_a_market_maker(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    done = Done(capsys, "stat", "--name", engine.name)
    assert done.status == 0 and "market maker" not in done.out


def test_stat_tells_a_dead_a_hung_and_a_stopped_daemon(engine: Engine) -> None:
    moment = now()
    engine.writer.beat(moment.steady_ns - LONG_AGO_NS)
    stat = read_stat(engine.name, moment)
    assert (stat.status, stat.trouble) == (1, "hung: no sign of life for 10.0 s")
    engine.writer.words[L.HANDOFF_WRITER_PID] = NOBODY_PID
    stat = read_stat(engine.name, moment)
    assert stat.status == 1 and (stat.trouble or "").startswith("dead: its process has ended")
    engine.writer.beat(moment.steady_ns)
    assert read_stat(engine.name, moment).status == 0, "of another pid namespace, perhaps"
    engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)
    stat = read_stat(engine.name, moment)
    assert (stat.status, stat.trouble) == (1, "stopped")


def test_stat_tells_a_silent_market_maker_and_keeps_its_last_word(
    engine: Engine, maker: MakerEngine
) -> None:
    moment = now()
    write_word(maker.writer.words, B.HEARTBEAT_NS, moment.steady_ns - LONG_AGO_NS)
    stat = read_stat(engine.name, moment)
    assert stat.status == 1 and stat.makers
    assert [*stat_lines(stat)][-1].strip() == "the market maker is hung: silent for 10.0 s"


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (8_010_491_586, 10, "0.80104916"),
        (-8_010_491_586, 10, "-0.80104915"),
        (1, 10, "0.00000001"),
        (0, 10, "0.00"),
        (15, 1, "1.5"),
        (12_345_670_000_000, 10, "1,234.567"),
        (5 * 10**10, 10, "5.00"),
    ],
)
def test_fees_are_shown_to_the_eighth_decimal_rounded_up(
    units: int, decimals: int, text: str
) -> None:
    maker = maker_pb2.Maker(
        fees_units=units, value_mantissa=1, value_decimals=decimals, tick_decimals=2
    )
    assert fees_text(maker) == text


def test_what_is_left_of_earlier_runs_and_odd_fills_are_said_in_words() -> None:
    maker = maker_pb2.Maker(
        fills=12, inferred_fills=1, duplicate_fills=2_000, unconfirmed=1, unvalued_fees=3,
        fees_units=-(10**16), value_mantissa=1, value_decimals=10, tick_decimals=2,
    )  # fmt: skip
    lines = [*table_lines(maker)]
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for words in (
        "fees -1,000,000.00 of all runs, in the results already",
        "and 3 in assets without a rate, in no result",
        "fills 12 in this run 1 known from an order's total alone, without its own message",
        "2,000 told again",
        "earlier 1 orders or accounts of earlier runs: some order may be open, no venue has",
    ):
        assert words in text, words
    assert "not known any more" not in text


# --- kill and release ----------------------------------------------------------------------------


def test_kill_and_release_on_this_host(
    engine: Engine,
    maker: MakerEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Issue 14.2: a kill is done when nothing is open, or says what may be."""
    config = tmp_path / "pollux.toml"
    config.write_text(
        f'[engine]\nname = "{engine.name}"\n[[instrument]]\nsymbol = "BTC-USD"\n'
        f'[[instrument.venue]]\nname = "bitstamp"\nsymbol = "btcusd"\n'
    )
    with maker.running():
        monkeypatch.setattr(net.client.kill_switch, "CLOSED_LIMIT_S", 0.1)
        done = Done(capsys, "kill", "--name", engine.name)
        assert done.status == 1 and done.out.startswith("maker BTC-USD on paper HALTED: killed ")
        assert done.err.startswith("pollux: 2 orders may still be open: binance pollux-")
        assert done.err.count("PENDING_CANCEL") == 2
        maker.close_orders()
        done = Done(capsys, "kill", "--name", engine.name)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("maker BTC-USD on paper HALTED: killed ")
        assert maker.maker.risk_state == O.HALTED
        done = Done(capsys, "release", "--config", str(config))
        assert done.status == 0 and "NORMAL" in done.out
        assert maker.maker.risk_state == O.NORMAL


def test_a_release_that_is_refused_says_why(
    engine: Engine, maker: MakerEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.close_orders()
    with maker.running(), gateway_thread(engine) as gateway:
        for place in (("--name", engine.name), ("--target", gateway.target)):
            assert Done(capsys, "kill", *place).status == 0
            for code, words in enumerate(R.OBSTACLE_TEXTS[1:], 1):
                maker.maker.table[O.ACCOUNT_OBSTACLE] = code
                for what in ("release", "accept"):
                    done = Done(capsys, what, *place)
                    assert done.status == 1 and "HALTED: killed" in done.out
                    assert done.err == f"pollux: BTC-USD: release refused: {words}\n"
            assert f"no release  {words}" in Done(capsys, "stat", "--name", engine.name).out
            maker.maker.table[O.ACCOUNT_OBSTACLE] = R.UNOBSTRUCTED
            done = Done(capsys, "release", *place)
            assert done.status == 0 and "NORMAL" in done.out and "nothing" not in done.out
            assert (
                "nothing to release: quoting is not halted" in Done(capsys, "release", *place).out
            )
            assert "nothing to accept: no account" in Done(capsys, "accept", *place).out
            maker.writer.set_venue(0, B.VENUE_DIFFERENCE_LOTS, 5)
            maker.publish()
            assert "nothing" not in Done(capsys, "accept", *place).out
            maker.writer.set_venue(0, B.VENUE_DIFFERENCE_LOTS, 0)
            maker.publish()


def test_the_help_tells_that_the_daily_loss_counts_anew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = " ".join(Done(capsys, "release", "--help").out.split())
    assert "result counts from zero again" in told
    assert "day's result do not" in " ".join(Done(capsys, "accept", "--help").out.split())


def test_several_market_makers_are_shown_and_asked_by_their_symbols(
    engine: Engine, maker: MakerEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    other = MakerEngine(engine.name, "ETH-USD", 1)
    for each in (maker, other):
        each.close_orders()
    try:
        done = Done(capsys, "stat", "--name", engine.name)
        assert "market maker BTC-USD, on paper: NORMAL" in done.out
        assert "market maker ETH-USD, on paper: NORMAL" in done.out
        with maker.running(), other.running():
            done = Done(capsys, "kill", "--name", engine.name, "--symbol", "ETH-USD")
            assert done.status == 0 and done.out.startswith("maker ETH-USD on paper HALTED")
            assert maker.maker.risk_state == O.NORMAL
            done = Done(capsys, "kill", "--name", engine.name)
            assert done.status == 0 and done.out.count("HALTED: killed") == 2
            done = Done(capsys, "release", "--name", engine.name)
            assert done.status == 0 and done.out.count("NORMAL") == 2
        done = Done(capsys, "kill", "--name", engine.name, "--symbol", "DOGE-USD")
        assert done.status == 2 and "there are: BTC-USD, ETH-USD" in done.err
    finally:
        other.close()


def test_a_kill_that_is_not_taken_is_a_failure(
    engine: Engine,
    maker: MakerEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(net.client.kill_switch, "TAKEN_LIMIT_S", 0.1)
    done = Done(capsys, "kill", "--name", engine.name)
    assert done.status == 1 and "not taken after 0.1 s" in done.err
    assert maker.writer.requests() == Requests(1, 0, 0), "it stands, for an engine that wakes up"
    maker.writer.words[B.WRITER_PID] = NOBODY_PID
    done = Done(capsys, "kill", "--name", engine.name)
    assert done.status == 1 and "is dead (its process" in done.err and "still open" not in done.err
    assert "Its watchdog cancels what it left open, where that still ran: look at" in done.err
    maker.writer.words[B.WRITER_PID] = os.getpid()
    maker.close()
    done = Done(capsys, "release", "--name", engine.name)
    assert done.status == 1 and "no market maker runs as" in done.err


def test_kill_and_release_through_a_gateway(
    engine: Engine, maker: MakerEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("a-word-that-nobody-knows")
    options = {"listen": "0.0.0.0:0", "maker_token_file": str(token)}
    with gateway_thread(engine, **options) as gateway, maker.running():
        done = Done(capsys, "kill", "--target", gateway.target)
        assert done.status == 1
        assert done.err.startswith(f"pollux: {gateway.target}: metadata `authorization")
        closing = threading.Timer(0.3, maker.close_orders)
        closing.start()
        done = Done(capsys, "kill", "--target", gateway.target, "--token-file", str(token))
        assert done.status == 0 and "HALTED: killed" in done.out
        closing.join()
        token.chmod(0o644)
        done = Done(capsys, "release", "--target", gateway.target, "--token-file", str(token))
        assert done.status == 2 and "chmod 600" in done.err
        assert maker.maker.risk_state == O.HALTED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kill", "--name", "a", "--config", "b"), "give one"),
        (("kill", "--name", "a/b"), "letters, digits"),
        (("stat", "--name", "a/b"), "letters, digits"),
        (("kill", "--token-file", "a"), "are for --target"),
        (("release", "--target", "h:1", "--name", "a"), "leave --name"),
        (("release", "--config", "/absent.toml"), "/absent.toml"),
    ],
)
def test_wrong_command_lines(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    done = Done(capsys, *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("pollux: ") and words in done.err and done.err.count("\n") == 1
