"""`pollux stat`: counters and latencies as text and as JSON, once and watching."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator

import pytest

from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import EngineMeters
from engine.sharing.meters import observe_value
from engine.specs import FeedSpec, InstrumentSpec
from net.gateway.counters import GatewayCounters
from net.gateway.subscribers import CONFLATED, SENT
from net.observe.stat.read import StatError, read_stat
from net.observe.stat.run import StatOptions, run_stat
from net.observe.stat.text import latency_text, stat_lines
from net.venues.binance.market_data import BINANCE
from net.venues.bitstamp.market_data import BITSTAMP
from tests.net.gateway.rig import Engine, ladder
from tuning.clock import Moment, now, steady_ns, wall_ns

FEEDS = (
    FeedSpec("binance", BINANCE.rules, 0, "BTCUSDT", "0.01"),
    FeedSpec("bitstamp", BITSTAMP.rules, 1, "btcusd", "0.01"),
)
INSTRUMENTS = (InstrumentSpec("BTC-USD", FEEDS),)
START_NS = 60_000_000_000
"""How long ago the engine of these tests began to count."""


class Counting:
    """An engine and a gateway that count what a test says."""

    def __init__(self, engine: Engine) -> None:
        now_ns = steady_ns()
        self.name = engine.name
        self.engine = EngineMeters(engine.name, INSTRUMENTS, now_ns - START_NS)
        self.gateway = GatewayCounters(engine.name, 2, now_ns)

    def add(self, feed: int, place: int, count: int) -> None:
        self.engine.words[self.engine.feed_at[feed] + place] += count

    def published(self, latency_ns: int) -> None:
        at = self.engine.instrument_at[0]
        self.engine.words[at + M.INSTRUMENT_PUBLISHED] += 1
        observe_value(self.engine.words, at + M.INSTRUMENT_PUBLISH_LATENCY, latency_ns)

    def close(self) -> None:
        self.engine.close()
        self.gateway.close()


@pytest.fixture
def counting(engine: Engine) -> Iterator[Counting]:
    engine.publish(*ladder(9_999))
    counting = Counting(engine)
    yield counting
    counting.close()


class Terminal(io.StringIO):
    """Takes so many texts, does something after each, and then the user presses Ctrl-C."""

    def __init__(self, *between: object, is_terminal: bool = False) -> None:
        super().__init__()
        self._between = [*between]
        self._is_terminal = is_terminal
        self._is_over = False

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        if self._between:
            self._between.pop(0)()  # type: ignore[operator]
        elif not self._is_over:
            self._is_over = True
            raise KeyboardInterrupt


def text_of(counting: Counting) -> list[str]:
    lines = list(stat_lines(read_stat(counting.name, now())))
    assert max(map(len, lines)) <= 80
    return lines


# --- text ----------------------------------------------------------------------------------------


def test_text_shows_what_is_looked_for_and_no_wall_of_zeros(counting: Counting) -> None:
    counting.add(0, M.FEED_FRAMES, 12_345)
    counting.add(0, M.FEED_REFUSED_AT + 2, 3)
    counting.add(1, M.FEED_SIDES_AT + M.SIDE_FAR_LEVELS, 77)
    counting.add(1, M.FEED_SNAPSHOT_NS, wall_ns() - 30_000_000_000)
    counting.published(12_000)
    for _ in range(98):
        counting.published(900)
    counting.published(3_456_000_000)
    observe_value(counting.engine.words, counting.engine.loop_at + M.LOOP_TURN, 1_000_000)
    counting.engine.words[counting.engine.loop_at + M.LOOP_IDLE] = 3_000_000
    lines = text_of(counting)
    text = " ".join(" ".join(lines).split())
    for words in (
        f"gateway, pid {os.getpid()}: running",
        "for 60.0 s",
        "loop turns 1, idle 75.00 %",
        "binance connections 0",
        "BTC-USD books published 100",
        "binance BTCUSDT frames 12,345, resyncs 0, gaps 0, refused frames (",
        ") 3",
        "bitstamp btcusd frames 0, snapshot 30.0 s old, far levels (bid) 77, resyncs 0",
        "no refused frames",
        "nobody listens to the gateway",
    ):
        assert words in text, (words, text)
    assert text.count("no refused frames") == 1 and "audits" not in text and "lag" not in text
    row = next(lines[at + 1] for at, line in enumerate(lines) if line == "  publish latency")
    assert " ".join(row.split()) == "BTC-USD 911 ns 911 ns 12.0 us 3.46 s 3.46 s 100"


def test_subscribers_are_shown_with_those_that_have_no_row(counting: Counting) -> None:
    now_ns, table = steady_ns(), counting.gateway.table
    first = table.enter("127.0.0.1:50001", "BTC-USD", now_ns - 12_000_000_000)
    second = table.enter("[::1]:50002", "BTC-USD, depth 3", now_ns)
    table.enter("127.0.0.1:50003", "market maker", now_ns)
    counting.gateway.subscribers = 3
    table.counts[first + SENT] = 1200
    table.counts[second + CONFLATED] = 9
    lines = [" ".join(line.split()) for line in text_of(counting)]
    at = lines.index("subscriber to for sent skipped")
    assert lines[at + 1].startswith("[::1]:50002 BTC-USD, depth 3 ")
    assert lines[at + 1].endswith(" ms 0 9"), "who skips most comes first"
    assert lines[at + 2 : at + 4] == [
        "127.0.0.1:50001 BTC-USD 12.0 s 1,200 0",
        "and 1 that are in the totals alone",
    ]


def test_a_dead_gateway_hides_nothing(counting: Counting) -> None:
    later = Moment(wall_ns(), steady_ns() + 3_000_000_000)
    counting.engine.beat(later.steady_ns)
    stat = read_stat(counting.name, later)
    assert stat.gateway is not None
    assert stat.gateway.trouble == "hung: no sign of life for 3.0 s" and stat.status == 1
    text = "\n".join(stat_lines(stat))
    assert f"gateway, pid {os.getpid()}: hung" in text and "books published" in text
    counting.engine.close()
    counting.engine = EngineMeters(counting.name, INSTRUMENTS, later.steady_ns)
    assert read_stat(counting.name, later).gateway is None, "of the daemon before"


def test_without_meters_it_says_so(engine: Engine) -> None:
    stat = read_stat(engine.name, now())
    assert stat.status == 0 and stat.facts()["engine"] is stat.facts()["gateway"] is None
    text = " ".join(" ".join(stat_lines(stat)).split())
    assert f"no counters: the engine of '{engine.name}' counts nothing" in text
    assert "gateway: none shows itself" in text


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (None, "-"), (0, "0 ns"), (999, "999 ns"), (1000, "1.00 us"), (9_994, "9.99 us"),
        (9_995, "10.0 us"), (99_949, "99.9 us"), (99_950, "100 us"), (999_499, "999 us"),
        (999_500, "1.00 ms"), (123_456_789, "123 ms"), (2_000_000_000, "2.00 s"),
        (1_099_511_627_775, "1100 s"),
    ],
)  # fmt: skip
def test_a_latency_has_three_digits_and_a_unit(duration_ns: int | None, text: str) -> None:
    assert latency_text(duration_ns) == text


# --- JSON ----------------------------------------------------------------------------------------


def test_json_has_every_series_raw(counting: Counting) -> None:
    counting.add(1, M.FEED_GAPS, 4)
    counting.published(1500)
    counting.gateway.table.enter("127.0.0.1:1", "BTC-USD", steady_ns())
    out = io.StringIO()
    assert run_stat(StatOptions(counting.name, json=True), out) == 0
    said = json.loads(out.getvalue())
    assert {"name", "pid", "trouble", "t", "heartbeat_age_ns", "measures", "books", "maker",
            "makers", "maker_trouble", "engine", "gateway"} == set(said)  # fmt: skip
    series = said["engine"]["series"]
    assert len(series) == len(counting.engine.reader().series)
    (gaps,) = [each for each in series if each["name"] == "gaps" and each["value"]]
    labels = {"venue": "bitstamp", "symbol": "btcusd", "instrument": "BTC-USD"}
    assert gaps == {"name": "gaps", "kind": "counter", "unit": None, "labels": labels, "value": 4}
    (latency,) = [each for each in series if each["name"] == "publish_latency"]
    assert latency == {
        "name": "publish_latency", "kind": "histogram", "unit": "ns",
        "labels": {"instrument": "BTC-USD"}, "count": 1, "sum": 1500, "negative": 0,
        "p50": 1500, "p90": 1500, "p99": 1500, "p99.9": 1500, "max": 1500,
    }  # fmt: skip
    (lag, _) = [each for each in series if each["name"] == "receive_lag"]
    assert (lag["count"], lag["p50"], lag["max"]) == (0, None, None)
    gateway = said["gateway"]
    assert gateway["trouble"] is None and gateway["pid"] == os.getpid()
    row = {"peer": "127.0.0.1:1", "what": "BTC-USD", "sent": 0, "conflated": 0}
    (told,) = gateway["subscribers"]
    assert abs(told.pop("since_ns") - wall_ns()) < 5e9, "a stamp"
    assert told == row


# --- watching ------------------------------------------------------------------------------------


def test_watching_shows_rates_and_the_percentiles_of_the_interval(counting: Counting) -> None:
    for _ in range(1000):
        counting.published(1_000_000)

    def trade() -> None:
        counting.add(0, M.FEED_FRAMES, 50)
        counting.published(5_000)

    out = Terminal(trade, lambda: None)
    assert run_stat(StatOptions(counting.name, json=True, interval_s=0.1), out) == 0
    first, second, third = map(json.loads, out.getvalue().splitlines())

    def series(look: dict[str, dict[str, object]], name: str) -> dict[str, object]:
        found = look["engine"]["series"]
        assert isinstance(found, list)
        chosen: dict[str, object] = next(each for each in found if each["name"] == name)
        return chosen

    assert first["engine"]["interval_s"] is None and "interval" not in series(first, "frames")
    seconds = second["engine"]["interval_s"]
    assert 0.05 < seconds < 2
    assert series(second, "frames")["per_s"] == pytest.approx(50 / seconds)
    latency = series(second, "publish_latency")
    assert latency["count"] == 1001 and latency["p50"] >= 1_000_000  # type: ignore[operator]
    came = latency["interval"]
    assert isinstance(came, dict)
    assert came["count"] == 1 and 5_000 <= came["p50"] <= came["max"] < 5_200
    assert series(third, "frames")["per_s"] == 0
    assert series(third, "publish_latency")["interval"]["count"] == 0  # type: ignore[index]
    text = Terminal(trade, lambda: None)
    assert run_stat(StatOptions(counting.name, interval_s=0.1), text) == 0
    blocks = text.getvalue().split("\n\ndaemon ")
    assert len(blocks) == 3 and "/s)" not in blocks[0] and "/s)" not in blocks[2]
    assert "frames 100 (+" in blocks[1] and "latency, last 0.1 s" in blocks[1]


def test_watching_says_that_a_daemon_has_ended() -> None:
    engine = Engine()
    engine.publish(*ladder(9_999))
    try:
        out = Terminal(engine.close, lambda: None)
        assert run_stat(StatOptions(engine.name, interval_s=0.1), out) == 0
    finally:
        engine.close()
    last = out.getvalue().split("\n\n")[-1]
    assert last.startswith(f"daemon {engine.name}, pid {os.getpid()}: stopped\n  no daemon named")
    with pytest.raises(StatError):
        run_stat(StatOptions(engine.name, interval_s=0.1), out)


def test_a_terminal_is_drawn_on_and_given_back(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    out = Terminal(*[lambda: None] * 5, is_terminal=True)
    assert run_stat(StatOptions(counting.name, interval_s=0.1), out) == 0
    screen = out.getvalue()
    assert (
        screen.startswith("\x1b[?1049h")
        and "counted since" in screen
        and screen.endswith("\x1b[?1049l")
    )
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal(lambda: None, is_terminal=True)
    assert run_stat(StatOptions(counting.name, interval_s=0.1), out) == 0
    assert "\x1b" not in out.getvalue() and out.getvalue().count("daemon ") == 2


def test_a_closed_pipe_ends_it_quietly(counting: Counting) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as out:
        assert run_stat(StatOptions(counting.name, interval_s=0.1), out) == 0
