"""Every bench, tiny: that it runs, counts what it sent, and orders its percentiles. Never speed.

The percentiles' order, the counts and the rows are looked at; verdicts are not, for they are of
this moment's machine (tests/bench/test_verdicts.py has what a verdict does).
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import grpc
import orjson
import psutil
import pytest

from bench.contenders.servers import Layout, ours, tonic, yardstick_binary
from bench.encodings import diff, order_event
from bench.load import frames as F
from bench.load.two_venue_server import event_of
from bench.options import Options
from bench.questions import cold, decode, edge, ladder, models, order, seqlock, tuning
from bench.questions.wire import WireRig
from bench.registry import BENCHES
from bench.report.result import Result
from bench.report.tables import new_console, print_result
from bench.rig.host import free_port, placement, session_nice
from bench.rig.stamps import new_stamps
from bench.rig.workers import Worker, WorkerError
from engine.maker import fair_codes
from engine.maker import quote_layout as Q
from net.venues.registry import VENUES
from proto import orderbook_pb2
from tests.bench.leftovers import segments_of
from tests.tuning.trees import SMT, plant, snapshot

pytestmark = pytest.mark.timeout(120)

TINY = Options("tiny")


def quiet(_text: str) -> None:
    pass


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """What a bench starts, opens in shared memory or pins must be gone after it."""
    affinity, of_session = os.sched_getaffinity(0), session_nice()
    known = set(psutil.Process().children())
    before = segments_of(os.getpid())
    yield
    left = [each for each in psutil.Process().children() if each not in known]
    _, alive = psutil.wait_procs(left, timeout=5)
    assert alive == []
    assert segments_of(os.getpid()) == before
    assert (os.sched_getaffinity(0), session_nice()) == (affinity, of_session)


def run(name: str, options: Options = TINY) -> Result:
    """One bench by name, which leaves nothing behind."""
    with unchanged_process():
        return checked(BENCHES[name].bench.run(options, quiet), name)


def checked(result: Result, name: str) -> Result:
    """What every result must have."""
    assert result.name == name
    assert result.command.startswith(f"pollux bench {name}")
    if result.is_skipped:
        pytest.skip(result.notes[0])
    assert result.tables and all(table.rows for table in result.tables)
    assert orjson.loads(orjson.dumps(result.as_json()))["name"] == name
    print_result(new_console(), result)
    return result


def assert_percentiles(result: Result) -> None:
    """p50 <= p90 <= p99 <= p99.9 <= max, all above zero, in every row that has them."""
    for table in result.tables:
        first = table.columns.index("p50 us")
        for row in table.rows:
            values = [float(value or 0) for value in row[first : first + 5]]
            assert values == sorted(values) and values[0] > 0, row


def value_of(result: Result, what: str) -> float:
    (found,) = [bar.median for bar in result.bars if what in bar.what]
    return found


def test_decode() -> None:
    result = run("decode")
    table, counting = result.tables
    assert table.rows[0][1] == 200, "two hundred recorded frames"
    names = [str(row[0]) for row in table.rows]
    venues = [name.removeprefix("recorded ") for name in names[5:]]
    assert [name.split()[0] for name in names[:5]] == ["recorded", *["synthetic,"] * 4]
    assert set(venues) <= set(VENUES) and len(counting.rows) == 2
    assert 0 < value_of(result, "counters and histograms") < 100_000


def test_ladder() -> None:
    result = run("ladder")
    assert [row[0] for row in result.tables[0].rows] == list(ladder.CASES)
    assert all(bar.median > 0 for bar in result.bars)


def test_models() -> None:
    result = run("models")
    (table,) = result.tables
    assert [row[0] for row in table.rows] == [case[0] for case in models.CASES]
    case = models.Case("own", models.FAIR, models.PAPER, models.LEVELS, 1)
    case.run(True)
    volatility = models.Case("volatility", models.VOLATILITY, models.PAPER, 0, 25)
    for _ in range(2):
        volatility.run(True)
        assert volatility._model[Q.MODEL_MID_NS] >= volatility._now_ns - 10 * models.INTERVAL_NS
    status = int(case._fair[Q.FAIR_STATUS])
    assert status == fair_codes.AVAILABLE and case._own[0] == models.LEVELS


def test_merge() -> None:
    result = run("merge")
    assert [row[:2] for row in result.tables[0].rows][:2] == [(1, 10), (2, 10)]


def test_seqlock() -> None:
    result = run("seqlock")
    assert "0 torn" in result.notes[0]
    assert seqlock.Handoff().publish_ns(10) > 0


def test_watched() -> None:
    result = run("watched")
    assert [row[0] for row in result.tables[0].rows] == ["no", "yes"]
    assert all(int(str(row[1])) > 100 for row in result.tables[0].rows), "frames of either half"
    assert value_of(result, "looked least") >= 1 and result.notes == ()


def test_edge() -> None:
    result = run("edge")
    assert len(result.tables) == len(result.notes) == 2
    for table, note in zip(result.tables, result.notes, strict=True):
        assert len(table.rows) == 5 and "converting pays " in note
        assert int(str(table.rows[0][1])) > int(str(table.rows[2][1])) > 0, "protobuf is smaller"


def plain_diff(raw: bytes) -> tuple[Decimal, ...]:
    """What a diff says, by the plain reading of its decimals."""
    data = orjson.loads(raw)["data"]
    bids, asks = ([[Decimal(text) for text in level] for level in data[side]] for side in "ba")
    return (
        max(100 * price for price, amount in bids if amount),
        min(100 * price for price, amount in asks if amount),
        10**8 * Decimal(sum(amount for _, amount in (*bids, *asks))),
    )


def plain_order(raw: bytes) -> tuple[Decimal, ...]:
    event = orjson.loads(raw)["event"]
    filled = 10**8 * Decimal(event["l"]) * (1 if event["S"] == "BUY" else -1)
    rest = 10**8 * (Decimal(event["q"]) - Decimal(event["z"]))
    return filled, -filled * 100 * Decimal(event["L"]), rest


def test_every_form_says_what_the_text_says() -> None:
    """Forms that agree with each other might all be wrong."""
    rng = random.Random(4)
    frames = []
    for number in range(1, 71):
        bids, asks = (
            F.side_levels(rng, rng.randrange(3, 15), F.MID_CENTS, sign) for sign in (-1, 1)
        )
        frames.append(F.diff(number, number, bids, asks))
    for messages, forms, plain in (
        (frames, diff.FORMS, plain_diff),
        (order_event.reports(70), order_event.FORMS, plain_order),
    ):
        contest = edge.Contest(messages, forms)
        contest.run(1, 1)
        wanted = [plain(raw) for raw in messages]
        assert all(len(set(column)) > 1 for column in zip(*wanted, strict=True))
        for form in forms:
            assert [tuple(map(Decimal, a)) for a in contest.answers[form.name]] == wanted, form


def test_tick() -> None:
    result = run("tick")
    (table,) = result.tables
    names = {str(row[0]) for row in table.rows}
    assert names == {
        "ours",
        "ours, through picows",
        "ours, TLS",
        "bare loop",
        "asyncio",
        "uvloop",
        "naive",
    }
    assert all(row[1] == 500 for row in table.rows), "one run of 500 frames each"
    assert_percentiles(result)
    assert value_of(result, "never became visible") == 0
    (plot,) = result.plots
    assert all(len(samples) == 500 for samples in plot.samples_ns.values())


def test_tuning() -> None:
    result = run("tuning")
    (table,) = result.tables
    rows = {str(row[0]): row[1:] for row in table.rows}
    assert list(rows)[:3] == ["nothing", "affinity", "priority"] and len(rows) == 9
    assert value_of(result, "never became visible") == 0
    # No test machine has an isolated CPU.
    assert rows.pop("realtime") == (None, None, "refused", None, None, "refused")
    assert any(note.startswith("realtime: refused") for note in result.notes), result.notes
    for name in ("locked memory", "stay awake"):
        if rows[name][2] == "refused":
            del rows[name]  # this user may not
    assert all(float(row[0] or 0) > 0 and float(row[1] or 0) > 0 for row in rows.values())


def test_the_hosts_settings_are_changed_for_their_runs_only(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    before = snapshot(tmp_path)
    every = tuning.host_variants(host)[0]
    if os.geteuid() != 0:
        assert every == []
        pytest.skip("root only")
    assert {"governor", "IRQ affinity", "busy poll"} <= {each.measure for each in every}
    for each in every:
        notes: dict[str, str] = {}
        with contextlib.suppress(ZeroDivisionError), tuning.applied(host, each, notes):
            assert all(change.setting.holds(host) for change in each.changes)
            raise ZeroDivisionError
        assert snapshot(tmp_path) == before and notes == {}


def test_order() -> None:
    result = run("order")
    (table,) = result.tables
    assert [row[0] for row in table.rows] == [plan[0] for plan in order.PLANS.values()]
    assert all(int(str(row[2])) > 0 for row in table.rows), "a frame that led to nothing"
    assert_percentiles(result)


def test_saturation() -> None:
    result = run("saturation")
    assert value_of(result, "never visible") == 0
    assert all(int(str(row[1])) > 0 for row in result.tables[0].rows)


def test_subscribers() -> None:
    result = run("subscribers")
    assert_percentiles(result)
    rows = {str(row[0]): row for row in result.tables[0].rows}
    assert set(rows) == {"process, 0", "process, 2", "thread, 0", "thread, 2"}
    for name, row in rows.items():
        assert (row[-1] != 0) == name.endswith("2"), row
    assert value_of(result, "never became visible") == 0


def test_fanout() -> None:
    result = run("fanout")
    (row,) = result.tables[0].rows
    assert row[:4] == ("4 streams, 2 a connection", "50", "ours", row[3])
    assert int(str(row[3])) >= 4 * 15, "every event to every stream"
    assert all(bar.median > 0 for bar in result.bars)


COLD_US = (2, 3, 4, 6, 7)
"""Columns of the bench `cold` that are times: percentiles, the two stages."""


def test_cold() -> None:
    result = run("cold")
    rows = {str(row[0]): row for row in result.tables[0].rows}
    assert set(rows) == set(cold.NAMES.values())
    for row in rows.values():
        p50_us, p90_us, p99_us, arrival_us, publication_us = (float(str(row[at])) for at in COLD_US)
        assert 0 < p50_us <= p90_us <= p99_us and arrival_us > 0 and publication_us > 0


def test_instruments() -> None:
    result = run("instruments")
    ticks, starts = result.tables
    assert [row[0] for row in ticks.rows] == ["one of 1", "one of 16"]
    assert all(row[1] == 500 for row in ticks.rows)
    assert [row[0] for row in starts.rows] == [1, 16]
    assert value_of(result, "memory of an instrument") > 0
    (plot,) = result.plots
    assert all(len(samples) > 400 for samples in plot.samples_ns.values())


def test_memory() -> None:
    result = run("memory")
    assert value_of(result, "kernels that allocate") == 0
    assert value_of(result, "never became visible") == 0
    assert "17" in result.notes[0] or "kernels" in result.notes[0]


def test_growth() -> None:
    result = run("growth")
    assert len(result.tables) == 4 and len(result.plots) == 4


# --- wire, with ours standing in for another server ----------------------------------------------


def test_wire_measures_ours_and_another_server_in_one_run() -> None:
    port = free_port()
    # Another program, as far as the bench knows: it is pointed at the feed's port, and waits.
    place = placement()
    layout = Layout(place.engine, place.others[0], spins=False)
    with unchanged_process(), ours(port, layout) as other:
        options = Options("tiny", external=other.target, feed_port=port)
        result = checked(BENCHES["wire"].bench.run(options, quiet), "wire")
    assert_percentiles(result)
    assert value_of(result, "no summary showed") == 0
    rows = result.tables[0].rows
    assert [str(row[1]).split()[0] for row in rows] == ["ours", "external"]
    assert all(row[2] == 100 and row[4] == 0 for row in rows), "a hundred events, none unseen"


@pytest.fixture(scope="module")
def wire_rig() -> Iterator[WireRig]:
    with Worker("feed") as feed, Worker("subscribers") as client:
        yield WireRig(feed, client, 0)


def test_a_server_that_streams_nothing_is_said_to_stream_nothing(wire_rig: WireRig) -> None:
    wire_rig.join_limit_s = 0.3
    target = f"127.0.0.1:{free_port()}"
    with (
        pytest.raises(WorkerError, match="does not stream both venues' books"),
        wire_rig.joined(target, wire_rig.external_port),
    ):
        pass


def test_the_yardstick_streams_every_event(wire_rig: WireRig) -> None:
    binary = yardstick_binary()
    if not binary.exists():
        pytest.skip(f"{binary} is not built: make yardstick")
    layout = Layout(wire_rig.place.engine, wire_rig.place.others[0], spins=False)
    port = wire_rig.own_port
    with tonic(binary, port, layout) as server, wire_rig.joined(server.target, port):
        run = wire_rig.measure(port, 100.0, 0.5)
        assert (run.sent, run.missing) == (50, 0)
        assert server.usage().cpu_s > 0
        with grpc.insecure_channel(server.target) as channel:
            call = channel.unary_stream("/orderbook.OrderbookAggregator/BookSummary", None, None)
            summary = orderbook_pb2.Summary.FromString(next(iter(call(b"", timeout=10))))
    assert [level.exchange for level in summary.asks[:1]] == ["bitstamp"]
    assert len(summary.bids) == len(summary.asks) == 10
    assert summary.spread == pytest.approx(summary.asks[0].price - summary.bids[0].price)
    prices = [level.price for level in summary.bids]
    assert prices == sorted(prices, reverse=True)


async def _first_texts(port: int, path: str, subscribe: str, count: int) -> list[dict[str, object]]:
    from websockets.asyncio.client import connect

    texts: list[dict[str, object]] = []
    async with connect(f"ws://127.0.0.1:{port}{path}") as link:
        if subscribe:
            await link.send(subscribe)
        async for text in link:
            texts.append(orjson.loads(text))
            if len(texts) == count:
                break
    return texts


def test_the_feed_speaks_every_channel_others_use(wire_rig: WireRig) -> None:
    import asyncio

    def ask(path: str, subscribe: str = "", count: int = 2) -> list[dict[str, object]]:
        return asyncio.run(_first_texts(port, path, subscribe, count))

    port = wire_rig.own_port
    raw = ask("/ws/btcusdt@depth20@100ms")
    assert all(len(each["bids"]) == 20 for each in raw)  # type: ignore[arg-type]
    combined = ask("/stream?streams=ethbtc@depth@100ms")
    first, second = (each["data"] for each in combined)
    assert second["U"] == first["u"] + 1 and second["s"] == "ETHBTC"  # type: ignore[index]
    assert len(second["b"]) == len(second["a"]) == 20  # type: ignore[index]
    assert all(a != b for a, b in zip(first["b"], second["b"], strict=True))  # type: ignore[index]
    later = ask("/ws", '{"method":"SUBSCRIBE","params":["btcusdt@depth10"],"id":1}')
    assert later[0] == {"result": None, "id": 1} and len(later[1]["asks"]) == 10  # type: ignore[arg-type]
    for channel in ("order_book_btcusd", "diff_order_book_btcusd"):
        text = f'{{"event":"bts:subscribe","data":{{"channel":"{channel}"}}}}'
        subscribed, book = ask("/", text)
        assert subscribed["event"] == "bts:subscription_succeeded"
        assert book["channel"] == channel and book["event"] == "data"
        assert len(book["data"]["bids"]) == len(book["data"]["asks"]) == 20  # type: ignore[index]
        amount = float(book["data"]["asks"][0][1])  # type: ignore[index]
        assert event_of(amount) % 2 == 1, "Bitstamp's events are odd"


# --- the parts -----------------------------------------------------------------------------------


def test_frames_are_equally_long_publish_each_and_have_rising_ids() -> None:
    frames = F.frame_set(F.LEVELS, 64)
    texts = decode.synthetic(F.LEVELS, 130)
    assert frames.frame_bytes == len(texts[0])
    assert [orjson.loads(text)["data"]["u"] - F.FIRST_ID for text in texts] == list(range(1, 131))
    touches = [orjson.loads(text)["data"]["b"][0] for text in texts]
    assert len({str(touch) for touch in touches[:64]}) == 64


def test_a_worker_that_fails_says_why_and_one_that_dies_is_noticed() -> None:
    with Worker("sender") as worker, new_stamps(1) as stamps:
        with pytest.raises(WorkerError, match="KeyError"):
            worker.ask("nonsense")
        assert worker.ask("listen", cpu=0)["port"] > 0
        psutil.Process(worker.pid).kill()
        with pytest.raises(WorkerError, match="ended"):
            worker.ask("run", stamps=str(stamps.path), columns=1)


def test_grpc_is_what_the_light_subscribers_speak() -> None:
    """The counting client against a real server that grpc's own client can read too."""
    with Worker("constant") as constant, Worker("subscribers") as clients:
        port = constant.ask("start", cpu=0)["port"]
        target = f"127.0.0.1:{port}"
        clients.ask("start", target=target, count=3, per_channel=2, cpus=[0])
        assert clients.ask("count")["least"] > 0
        clients.ask("stop")
        with grpc.insecure_channel(target) as channel:
            call = channel.unary_stream("/orderbook.OrderbookAggregator/BookSummary", None, None)
            assert next(iter(call(b"", timeout=10)))
