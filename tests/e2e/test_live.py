"""The whole path over real sockets and separate processes: venues, daemon, gRPC subscribers.

What is right is judged by the venues' own REST books, merged by the plain oracle.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import grpc
import orjson
import pytest
import trustme

from engine.sharing.directory import own_place
from engine.sharing.meter_layout import ENGINE
from engine.sharing.meters import Kind, MeterReader
from net.tape.tape import FRAME_S, read_tape
from net.venues.checked_by import checked_by
from net.venues.registry import VENUES
from proto.pollux.v1 import market_data_pb2 as pb
from tests import oracle
from tests.e2e.rig import (
    ROOT,
    START_S,
    Daemon,
    Venues,
    command,
    daemon,
    free_port,
    running,
    settings,
    simulated_venues,
    until,
)

pytestmark = pytest.mark.timeout(180)

SETTLED_S = 0.5
"""A book that is right must stay so while what was under way arrives: a frame comes every 0.1 s
to 0.3 s, and the venues are paused."""
BACKOFF_S = 3.0
"""A replay draws its own waits after a refused snapshot, and they end with the tape: it goes on."""
PLAIN_PORT = 5002
"""The port that existing clients of the plain interface connect to."""

PLAIN_PROTO = """
syntax = "proto3";
package orderbook;
service OrderbookAggregator { rpc BookSummary(Empty) returns (stream Summary); }
message Empty {}
message Summary { double spread = 1; repeated Level bids = 2; repeated Level asks = 3; }
message Level { string exchange = 1; double price = 2; double amount = 3; }
"""

PLAIN_CLIENT = """
import sys, grpc, orderbook_pb2 as pb, orderbook_pb2_grpc as rpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    stream = rpc.OrderbookAggregatorStub(channel).BookSummary(pb.Empty(), timeout=30)
    for number, summary in zip(range(20), stream):
        best_bid, best_ask = summary.bids[0], summary.asks[0]
        assert abs(summary.spread - (best_ask.price - best_bid.price)) < 1e-6, summary
        assert len(summary.bids) == len(summary.asks) == 10
        assert {level.exchange for level in summary.bids} <= {"binance", "bitstamp"}
        prices = [level.price for level in summary.bids]
        assert prices == sorted(prices, reverse=True) and best_bid.amount > 0
    print("summaries", number + 1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def venues(folder: Path) -> Iterator[Venues]:
    with simulated_venues(folder) as running_venues:
        yield running_venues


@pytest.fixture(scope="module")
def live(folder: Path, venues: Venues) -> Iterator[Daemon]:
    """One daemon for the tests that leave it as they found it."""
    port = free_port()
    with daemon(folder, venues.toml + settings(f"e2e-{port}", port), port) as running_daemon:
        running_daemon.wait_for(binance="LIVE", bitstamp="LIVE")
        yield running_daemon


def merged_by_rest(venues: Venues, depth: int) -> tuple[list[tuple[Decimal, Decimal, str]], ...]:
    """What the merged book must be, from the venues' REST books and the oracle."""
    books = [venues.book(name) for name in ("binance", "bitstamp")]
    sides = []
    for is_asks, name in ((0, "bids"), (1, "asks")):
        rows = oracle.merge_side([book[name] for book in books], depth, is_asks)
        sides.append([(p, a, ("binance", "bitstamp")[venue]) for p, a, venue in rows])
    return tuple(sides)


def exact_levels(book: pb.Book) -> tuple[list[tuple[Decimal, Decimal, str]], ...]:
    """A v1 book's levels as exact decimals."""
    tick = Decimal(book.tick_mantissa).scaleb(-book.tick_decimals)
    lot = Decimal(1).scaleb(-book.lot_decimals)
    return tuple(
        [(level.price_ticks * tick, level.amount_lots * lot, level.venue) for level in side]
        for side in (book.bids, book.asks)
    )


def assert_right(venues: Venues, live: Daemon) -> None:
    """Freeze the markets, let everything arrive, compare with the venues' own books."""
    venues.pause()
    try:
        wanted = merged_by_rest(venues, 10)
        # A venue that was moving to another connection is built anew first: a quiet one in 2 s.
        with contextlib.suppress(AssertionError):
            until(lambda: (now := live.get()) and exact_levels(now) == wanted, 6.0)
        time.sleep(SETTLED_S)
        wanted, book = merged_by_rest(venues, 10), live.get()
        assert book is not None
        assert exact_levels(book) == wanted
        assert book.crossed == (wanted[0][0][0] >= wanted[1][0][0])
    finally:
        for venue in venues.urls:
            venues.post(venue, "resume")


def test_the_merged_book_is_the_venues_books(venues: Venues, live: Daemon) -> None:
    live.wait_for(binance="LIVE", bitstamp="LIVE")
    assert_right(venues, live)


def test_a_client_of_the_plain_interface_works_unchanged(
    folder: Path, venues: Venues, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PLAIN_PORT))
        except OSError:
            pytest.skip(f"port {PLAIN_PORT} is taken on this machine")
    (tmp_path / "orderbook.proto").write_text(PLAIN_PROTO)
    (tmp_path / "client.py").write_text(PLAIN_CLIENT)
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.",
         "--grpc_python_out=.", "orderbook.proto"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    # Defaults only: the listener is where the contract says.
    toml = venues.toml + f'[engine]\nname = "plain-{free_port()}"\n[metrics]\nlisten = ""\n'
    with daemon(folder, toml, PLAIN_PORT) as plain:
        plain.wait_for(binance="LIVE", bitstamp="LIVE")
        done = subprocess.run(
            [sys.executable, "client.py", f"127.0.0.1:{PLAIN_PORT}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "summaries 20\n"


@pytest.mark.parametrize("action", ["drop", "close"])
def test_a_venue_that_drops_is_withdrawn_and_comes_back(
    venues: Venues, live: Daemon, action: str
) -> None:
    live.wait_for(binance="LIVE", bitstamp="LIVE")
    venues.post("bitstamp", "refuse?seconds=2")
    venues.post("bitstamp", action)
    # Its levels may be below the best ten for a moment: only its state tells that it is gone.
    book = until(
        lambda: (
            (found := live.get())
            and {"bitstamp"} == {v.venue for v in found.venues if v.state != pb.VENUE_STATE_LIVE}
            and found
        )
    )
    assert {level.venue for level in (*book.bids, *book.asks)} == {"binance"}, "it goes on"
    assert len(book.bids) == len(book.asks) == 10
    live.wait_for(binance="LIVE", bitstamp="LIVE")
    assert_right(venues, live)


def test_both_venues_down_leaves_an_empty_book_not_an_old_one(venues: Venues, live: Daemon) -> None:
    live.wait_for(binance="LIVE", bitstamp="LIVE")
    for venue in venues.urls:
        venues.post(venue, "refuse?seconds=2")
        venues.post(venue, "drop")
    book = until(lambda: (found := live.get()) and not found.bids and not found.asks and found)
    assert book.spread == 0 or not book.HasField("spread")
    live.wait_for(binance="LIVE", bitstamp="LIVE")
    assert_right(venues, live)


def test_a_notice_is_answered_by_a_new_connection_without_losing_the_book(
    venues: Venues, live: Daemon
) -> None:
    live.wait_for(binance="LIVE", bitstamp="LIVE")

    def connections(name: str) -> list[int]:
        return [int(venues.get(venue, "/simulator/stats")[name]) for venue in venues.urls]

    before = connections("connections_total")
    for venue in venues.urls:
        venues.post(venue, "notice")
    until(lambda: live.process.text.count("renewing the connection") >= 2)
    until(lambda: connections("connections_total") == [count + 1 for count in before])
    until(lambda: connections("connections") == [1, 1], what="the end of the old connections")
    live.wait_for(binance="LIVE", bitstamp="LIVE")
    assert "broken" not in [
        line for line in live.process.text.splitlines() if '"binance"' in line and "gap" in line
    ]
    assert_right(venues, live)


def test_resync_scope_all_rebuilds_every_venue(folder: Path, venues: Venues) -> None:
    port = free_port()
    toml = venues.toml + settings(f"e2e-{port}", port, engine='resync_scope = "all"')
    with daemon(folder, toml, port) as strict:
        strict.wait_for(binance="LIVE", bitstamp="LIVE")
        venues.post("bitstamp", "drop")
        until(lambda: '"bitstamp: ' in strict.process.text, 10, "binance withdrawn with bitstamp")
        strict.wait_for(binance="LIVE", bitstamp="LIVE")
        assert_right(venues, strict)


def test_a_subscriber_sees_venue_states_change_in_the_stream(venues: Venues, live: Daemon) -> None:
    live.wait_for(binance="LIVE", bitstamp="LIVE")
    stream = live.stub.StreamVenueStatus(pb.StreamVenueStatusRequest(), timeout=20)
    updates = iter(stream)
    first: pb.VenueStatusUpdate = next(updates)
    assert {each.venue: each.state for each in first.venues} == {
        "binance": pb.VENUE_STATE_LIVE,
        "bitstamp": pb.VENUE_STATE_LIVE,
    }
    venues.post("binance", "drop")
    seen = []
    for update in updates:
        seen.append({each.venue: each.state for each in update.venues}["binance"])
        if seen[-1] == pb.VENUE_STATE_LIVE:
            break
    assert seen[0] != pb.VENUE_STATE_LIVE
    stream.cancel()  # type: ignore[no-untyped-call]


def counts(meters: MeterReader) -> dict[str, int]:
    """The engine's meters by name, those of all venues summed."""
    counted: dict[str, int] = {}
    for each in meters.series:
        if each.kind is Kind.HISTOGRAM:
            seen = meters.histogram(each)
            count = seen.count + seen.negative
        else:
            count = meters.value(each)
        counted[each.name] = counted.get(each.name, 0) + count
    return counted


def assert_counts(meters: MeterReader) -> None:
    """What a daemon that serves two venues counts, whichever way it waits.

    A book is LIVE from its snapshot on; the first frame that changes it comes later.
    """
    busy = ("frames", "levels", "receive_lag", "publish_latency", "loop_turn", "loop_idle")
    until(lambda: all(counts(meters)[name] > 0 for name in busy), what="each of these counted")
    counted = counts(meters)
    assert counted["connections"] == 2 and counted["snapshots_asked"] >= 2


@pytest.mark.parametrize(("idle", "placement"), [("spin", "process"), ("backoff", "thread")])
def test_the_other_idle_policies_keep_the_same_book_and_an_interrupt_ends_them(
    folder: Path, venues: Venues, idle: str, placement: str
) -> None:
    """Within five seconds, cleanly. SIGTERM does the same: tests/operate/test_shutdown.py."""
    port = free_port()
    name = f"e2e-{port}"
    ours = settings(name, port, extra=f'placement = "{placement}"')
    ours = ours.replace('idle = "block"', f'idle = "{idle}"')
    with daemon(folder, venues.toml + ours, port) as polling:
        polling.wait_for(binance="LIVE", bitstamp="LIVE")
        assert_right(venues, polling)
        assert_counts(MeterReader.attach(name, ENGINE))
        started_s = time.monotonic()
        assert polling.process.end(signal.SIGINT) == 0
        assert time.monotonic() - started_s < 5
        assert "Traceback" not in polling.process.text
        assert list(own_place().glob(f"{name}*")) == []


def test_tls_is_verified(folder: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "cert.pem"), append=True)
    arguments = (
        "--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"),
    )  # fmt: skip
    with simulated_venues(folder, *arguments) as secure:
        trusting = "\n".join(
            f'ca_file = "{tmp_path / "ca.pem"}"' if line.startswith("ca_file") else line
            for line in secure.toml.splitlines()
        )
        assert "wss://" in trusting and "ca.pem" in trusting
        port = free_port()
        with daemon(folder, trusting + "\n" + settings(f"e2e-{port}", port), port) as live:
            live.wait_for(binance="LIVE", bitstamp="LIVE")
        # Without the authority the same venue is refused, said, and retried; nothing is published.
        distrusting = "\n".join(
            line for line in trusting.splitlines() if not line.startswith("ca_file")
        )
        distrusting = distrusting.replace(
            'symbol = "BTCUSDT"', 'symbol = "BTCUSDT"\ntick_size = "0.01"'
        ).replace('symbol = "btcusd"', 'symbol = "btcusd"\ntick_size = "0.01"')
        port = free_port()
        with daemon(folder, distrusting + "\n" + settings(f"e2e-{port}", port), port) as wary:
            until(lambda: "certificate not accepted" in wary.process.text)
            assert set(wary.states().values()) <= {"DISCONNECTED", "CONNECTING"}


def test_an_unreachable_venue_is_retried_and_the_other_serves(folder: Path, venues: Venues) -> None:
    port, nobody = free_port(), free_port()
    lines, section = [], ""
    for line in venues.toml.splitlines():
        section = line if line.startswith("[") else section
        is_address = section == "[venue.bitstamp]" and "_url" in line
        lines.append(line.rpartition(":")[0] + f':{nobody}"' if is_address else line)
        if line.startswith("symbol = ") and line != 'symbol = "BTC-USD"':
            lines.append('tick_size = "0.01"')
    toml = "\n".join(lines) + "\n" + settings(f"e2e-{port}", port)
    with daemon(folder, toml, port) as half:
        until(lambda: half.states().get("binance") == "LIVE")
        until(lambda: half.process.text.count("Connection refused") >= 2, what="two attempts")
        book = half.get()
        assert book is not None and {level.venue for level in book.bids} == {"binance"}
        assert half.process.popen.poll() is None


def run_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that is to end by itself.

    The place of the kernels' cache goes along: without it the command compiles them all again.
    """
    kept = ("POLLUX_CACHE_DIR", "XDG_CACHE_HOME", "RUNTIME_DIRECTORY")
    caches = {key: os.environ[key] for key in kept if key in os.environ}
    return subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=START_S, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path.home()), **caches},
    )  # fmt: skip


def test_a_port_in_use_is_one_line_and_status_1(folder: Path, venues: Venues, live: Daemon) -> None:
    config = folder / "busy.toml"
    config.write_text(venues.toml + settings("e2e-busy", live.port))
    done = run_command("serve", "--config", str(config), cwd=folder)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("pollux: ")]
    assert len(errors) == 1 and str(live.port) in errors[0]
    assert "Traceback" not in done.stderr


def test_two_daemons_of_one_name_are_refused(folder: Path, venues: Venues, live: Daemon) -> None:
    config = folder / "twin.toml"
    config.write_text(venues.toml + settings(f"e2e-{live.port}", free_port()))
    done = run_command("serve", "--config", str(config), cwd=folder)
    assert done.returncode == 1 and "running already" in done.stderr
    assert live.get() is not None, "the first one still serves"


def test_where_no_symbol_is_known_it_is_one_line_and_status_2(folder: Path, venues: Venues) -> None:
    config = folder / "unknown.toml"
    toml = venues.toml.replace('"BTCUSDT"', '"NOSUCH"').replace('"btcusd"', '"nosuch"')
    config.write_text(toml + settings("e2e-unknown", free_port()))
    done = run_command("serve", "--config", str(config), cwd=folder)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("pollux: ")]
    assert "binance: NOSUCH: " in line and "Invalid symbol" in line and "has no nosuch" in line


def test_an_unknown_symbol_is_left_out_and_the_rest_is_served(folder: Path, venues: Venues) -> None:
    """Issue 13.4: one member's fault is its own."""
    port = free_port()
    toml = venues.toml.replace('"BTCUSDT"', '"NOSUCH"')
    with daemon(folder, toml + settings("e2e-partly", port), port) as partly:
        partly.wait_for(bitstamp="LIVE")
        said = partly.process.text
        assert "market refused" in said and "Invalid symbol" in said
        assert partly.process.end(signal.SIGTERM) == 0


def test_check_says_which_symbol_is_wrong_and_how_it_is_written(
    folder: Path, venues: Venues
) -> None:
    """Issue 13.4 and 13.8."""
    config = folder / "check.toml"
    config.write_text(venues.toml + settings("e2e-check", free_port()))
    done = run_command("check", "--config", str(config), cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        "ok    binance BTCUSDT: tick size 0.01000000; checked by: sequence of each frame, "
        "audit every 600 s",
        "ok    bitstamp btcusd: tick size 0.01; checked by: times only, audit every 180 s",
    ]
    wrong = venues.toml.replace('"BTCUSDT"', '"btcusdt"')
    config.write_text(wrong + settings("e2e-check", free_port()))
    done = run_command("check", "--config", str(config), cwd=folder)
    assert done.returncode == 2 and done.stderr == ""
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("wrong")]
    assert line.startswith("wrong binance btcusdt: ") and line.endswith("; it has BTCUSDT")


def test_subscribers_are_told_what_is_known(live: Daemon) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live.stub.GetBook(pb.GetBookRequest(symbol="NO-SUCH"), timeout=5)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "BTC-USD" in str(caught.value.details())
    (listed,) = live.stub.ListInstruments(pb.ListInstrumentsRequest(), timeout=5).instruments
    assert list(listed.checked_by) == [checked_by(VENUES[name]) for name in listed.venues]


def test_a_recording_replays_to_the_same_digest_twice(
    folder: Path, venues: Venues, tmp_path: Path
) -> None:
    config = tmp_path / "record.toml"
    config.write_text(venues.toml + settings(f"e2e-{free_port()}", free_port()))
    tape = tmp_path / "tape.jsonl.gz"
    recorded = run_command(
        "record", "--config", str(config), "--out", str(tape), "--seconds", "6", cwd=tmp_path
    )
    assert recorded.returncode == 0, recorded.stderr
    again = run_command(
        "record", "--config", str(config), "--out", str(tape), "--seconds", "1", cwd=tmp_path
    )
    assert again.returncode == 2 and "is there already" in again.stderr
    runs = [
        run_command("replay", str(tape), "--config", str(config), cwd=tmp_path) for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert "BTCUSDT LIVE" in runs[0].stdout and "btcusd LIVE" in runs[0].stdout
    assert "digest" in runs[0].stdout


@pytest.mark.parametrize("name", ["tape.jsonl.zst", "tape.jsonl.gz"])
def test_13_a_killed_recording_of_lost_connections_replays_to_the_venues_books(
    folder: Path, venues: Venues, tmp_path: Path, name: str
) -> None:
    config, tape = tmp_path / "record.toml", tmp_path / name
    config.write_text(venues.toml + settings(f"e2e-{free_port()}", free_port()))
    arguments = ("record", "--config", str(config), "--out", str(tape))
    with running(tmp_path, "record", *arguments) as recorder:
        until(lambda: recorder.text.count('"live"') == 2, START_S, "both venues")
        for venue in ("binance", "bitstamp"):
            venues.post(venue, "drop")
        until(lambda: recorder.text.count('"live"') == 4, what="both venues again")
        time.sleep(BACKOFF_S)
        venues.pause()
        try:
            time.sleep(FRAME_S + SETTLED_S)
            truth = merged_by_rest(venues, 10)
        finally:
            recorder.end(signal.SIGKILL)
            for venue in ("binance", "bitstamp"):
                venues.post(venue, "resume")
    kinds = [line.kind for line in read_tape(tape) if line.venue == "bitstamp"]
    assert [kind for kind in kinds if kind in ("open", "lost")] == ["open", "lost", "open"]
    replayed = run_command("replay", str(tape), "--config", str(config), "--json", cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    *books, summary = map(orjson.loads, replayed.stdout.splitlines())
    for rows, side in zip((books[-1]["bids"], books[-1]["asks"]), truth, strict=True):
        found = [(Decimal(price), Decimal(amount), venue) for venue, price, amount in rows]
        assert found == side
    # The same without its last bytes: it is replayed to there, which is said.
    (tmp_path / "cut").write_bytes(tape.read_bytes()[:-3])
    cut = run_command("replay", str(tmp_path / "cut"), "--config", str(config), cwd=tmp_path)
    assert cut.returncode == 0 and "digest" in cut.stdout, cut.stderr
    assert "the tape ends early: " in cut.stdout and "cut short" in cut.stdout
    assert "end" not in summary and summary["frames"] > 0
