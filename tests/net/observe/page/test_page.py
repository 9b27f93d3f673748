"""The daemon's page over real HTTP: what it says of a daemon, and what it does with bad clients."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.layout.units import NS_PER_MS
from engine.sharing.meters import observe_value
from net.config.schema import Config, parse_config
from net.daemon.daemon import Daemon, DaemonError
from net.feed.clock_check import HOLD_NS, LAG_NS_MAX, LATE_NS_MIN, HostCheck
from net.feed.events import FeedEvent
from net.gateway.counters import PUBLISH_TO_GATEWAY, GatewayCounters
from net.observe.page.daemon_state import DaemonState
from net.observe.page.server import CONNECTIONS_MAX, PATHS, VIEWERS_MAX, Page, PageError
from net.venues.checked_by import checked_by
from net.venues.registry import VENUES
from tests.net.gateway.maker_engine import MakerEngine
from tests.net.rig import SECOND, START_NS, Desk, binance_diff, bitstamp_diff
from tuning.clock import steady_ns, wall_ns

NAME = "test-page"
CONFIG = f"""
[engine]
name = "{NAME}"
[[instrument]]
symbol = "BTC-USD"
  [[instrument.venue]]
  name = "binance"
  symbol = "BTCUSDT"
  [[instrument.venue]]
  name = "bitstamp"
  symbol = "btcusd"
"""
VENUES_NS = START_NS + SECOND // 10
"""The time in the frames that make a desk's venues live."""
COUNTS = SimpleNamespace(dropped=3, swallowed=5)
"""Of the log."""
PERIOD_NS = 50 * NS_PER_MS
LATE_NS = 2 * LAG_NS_MAX
"""The desk's clock, set so far behind the venues' own times."""


def config() -> Config:
    return parse_config(CONFIG, "test")


@dataclass
class Served:
    """A desk's engine, shown on a page."""

    desk: Desk = field(default_factory=Desk)
    daemon: DaemonState = field(default_factory=lambda: DaemonState(config(), COUNTS))
    gateway: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(is_serving=True))
    logged: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page = Page("127.0.0.1:0", self.daemon, self.log)

    def log(self, level: str, event: str, **facts: object) -> None:
        self.logged.append((event, facts))

    def start(self) -> None:
        """A generation begins: both venues LIVE, the clock that of the venues."""
        self.desk.now_ns += VENUES_NS - START_NS
        self.host_check = HostCheck(self.desk.engine, lambda *_, **__: None, PERIOD_NS)
        live: Any = SimpleNamespace(
            engine=self.desk.engine,
            venues=[*self.desk.venues.values()],
            streams={},
            host_check=self.host_check,
        )
        for name in self.desk.names:
            self.desk.go_live(name)
        if "bitstamp" in self.desk.names:
            self.desk.frame("bitstamp", bitstamp_diff(VENUES_NS // 1000))
        self.beat(0)
        self.daemon.show(live, self.gateway)

    def beat(self, ago_ns: int) -> None:
        self.desk.engine.handoff.beat(steady_ns() - ago_ns)

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str, http.client.HTTPResponse]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=5)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, answer

    def watch(self, path: str = "/events") -> Iterator[dict[str, Any]]:
        """The events of one viewer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=5)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/event-stream")
        try:
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        finally:
            connection.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.page.close()
    assert served.logged == []


# --- health and readiness ------------------------------------------------------------------------


def test_before_the_first_engine_it_is_healthy_but_not_ready(served: Served) -> None:
    facts: dict[str, object] = {"venue": "binance", "symbol": "BTCUSDT"}
    served.daemon.hear(FeedEvent.MARKET_UNKNOWN, {**facts, "reason": "cannot connect\nx"})
    assert served.ask("/healthz")[:2] == (200, "healthy\n")
    assert served.ask("/readyz")[:2] == (
        503,
        "binance BTCUSDT is not started (market not learned yet: cannot connect x); "
        "bitstamp btcusd is not started; the gateway does not serve\n",
    )
    assert next(served.watch())["symbols"] == ["BTC-USD"]


def test_ready_is_every_venue_live_and_the_gateway_serving(served: Served) -> None:
    served.start()
    assert served.ask("/readyz")[:2] == (200, "ready\n")
    served.gateway.is_serving = False
    assert served.ask("/readyz")[:2] == (503, "the gateway does not serve\n")
    served.gateway.is_serving = True
    served.desk.frame("binance", b'{"stream":')
    served.daemon.hear(FeedEvent.BROKEN, {"venue": "binance", "symbol": "BTCUSDT", "reason": "r"})
    served.daemon.hear(FeedEvent.DISCONNECTED, {"venue": "binance", "reason": "refused"})
    status, text, _ = served.ask("/readyz")
    assert status == 503
    assert text.startswith("binance BTCUSDT is BUFFERING, last data ")
    assert text.endswith(" ago (broken: r; disconnected: refused)\n") and "bitstamp" not in text
    served.daemon.hear(FeedEvent.RENEWING, {"venue": "binance", "reason": "keeps no book away"})
    served.daemon.hear(
        FeedEvent.LOST, {"venue": "binance", "symbol": "BTCUSDT", "reason": "refused"}
    )
    served.daemon.hear(
        FeedEvent.SNAPSHOT_REFUSED, {"venue": "binance", "symbol": "BTCUSDT", "reason": "s"}
    )
    trouble = served.daemon.trouble("binance", "BTCUSDT")
    assert trouble == "disconnected: refused; snapshot refused: s"
    served.daemon.hear(FeedEvent.JOINED, {"venue": "binance", "symbol": "BTCUSDT"})
    assert served.daemon.trouble("binance", "BTCUSDT") is None, "over"


def test_a_venue_whose_tick_is_unknown_is_missed(served: Served) -> None:
    served.desk = Desk(names=("bitstamp",))
    served.start()
    assert served.ask("/readyz")[1] == "binance BTCUSDT has not told its tick size yet\n"


def test_an_engine_that_hangs_or_has_stopped_is_not_healthy(served: Served) -> None:
    served.start()
    served.beat(10 * SECOND)
    status, text, _ = served.ask("/healthz")
    assert (status, text) == (503, "the engine is hung: no sign of life for 10.0 s\n")
    assert text.strip() in served.ask("/readyz")[1]
    served.desk.engine.close()
    assert served.ask("/healthz")[:2] == (503, "the engine has stopped\n")


@pytest.mark.parametrize(("off_ns", "words"), [(LATE_NS, "behind"), (-LATE_NS, "ahead of")])
def test_a_clock_that_is_off_is_said_though_all_is_served(
    served: Served, off_ns: int, words: str
) -> None:
    served.desk.now_ns += off_ns
    served.start()
    served.host_check.look(1)
    assert served.ask("/readyz")[:2] == (200, "ready\n"), "one frame proves nothing"
    served.desk.now_ns += HOLD_NS
    served.desk.frame("binance", binance_diff(101, 100 + HOLD_NS // NS_PER_MS))
    served.host_check.look(1 + HOLD_NS)
    odd = f"binance's times of BTCUSDT are 2.000 s {words} this host's clock\n"
    assert served.ask("/readyz")[:2] == (200, f"ready; {odd}")
    assert served.ask("/healthz")[:2] == (200, f"healthy; {odd}")
    assert next(served.watch())["remarks"] == [odd.strip()]
    text = served.ask("/metrics")[1]
    assert 'pollux_venue_clock_off{symbol="BTCUSDT",venue="binance"} 1.0' in text
    assert 'pollux_venue_clock_off{symbol="btcusd",venue="bitstamp"} 0.0' in text


def test_an_engine_that_was_held_up_is_said_though_all_is_served(served: Served) -> None:
    served.start()
    now_ns = time.monotonic_ns()
    for ago_ns in (SECOND, SECOND - PERIOD_NS - LATE_NS_MIN, 0):
        served.host_check.look(now_ns - ago_ns)
    odd = "the engine was held up 2 times in the last minute, for 800 ms at most: run pollux doctor"
    assert served.ask("/readyz")[:2] == (200, f"ready; {odd}\n")
    assert served.ask("/healthz")[:2] == (200, f"healthy; {odd}\n")
    served.gateway.is_serving = False
    assert served.ask("/readyz")[:2] == (503, f"the gateway does not serve; {odd}\n")
    text = served.ask("/metrics")[1]
    assert "pollux_engine_late_beats_total 2.0" in text
    assert "pollux_engine_beat_late_seconds 0.8" in text


# --- what the page shows -------------------------------------------------------------------------


def test_events_show_the_book_the_venues_and_the_rates(served: Served) -> None:
    served.start()
    events = served.watch("/events?symbol=BTC-USD")
    first = next(events)
    assert first["ready"] == [] and first["symbol"] == "BTC-USD" and first["maker"] is None
    assert first["book"]["bids"] == [
        [0, "100.00", "1.00000000"],
        [1, "100.00", "1.00000000"],
        [0, "99.99", "2.00000000"],
        [1, "99.99", "2.00000000"],
        [0, "1.00", "1.00000000"],
        [1, "1.00", "1.00000000"],
    ]
    assert (first["book"]["spread"], first["book"]["crossed"]) == ("0.01", False)
    assert first["engine_us"] is None, "books that were there before anybody looked"
    venue = first["venues"][0]
    assert (venue["name"], venue["state"], venue["lag_ms"]) == ("binance", "LIVE", 0.0)
    assert [each["checked_by"] for each in first["venues"]] == [
        checked_by(VENUES[name]) for name in served.desk.names
    ]
    served.desk.frame("binance", binance_diff(101, 101, [("100.05", "3")]))
    while (latest := next(events))["book"]["sequence"] == first["book"]["sequence"]:
        pass
    assert latest["book"]["crossed"] and latest["book"]["spread"] == "-0.04"
    assert latest["venues"][0]["frames"] == venue["frames"] + 1
    assert latest["engine_us"] is None, "a desk's engine reads no clock"


def test_events_show_the_market_maker(served: Served) -> None:
    maker = MakerEngine(NAME)
    try:
        shown = next(served.watch())["maker"]
    finally:
        maker.close()
    assert (shown["risk_state"], shown["position"], shown["live"]) == (
        "NORMAL",
        "0.00000015",
        False,
    )
    assert [(order["side"], order["price"]) for order in shown["orders"]] == [
        ("buy", "99.97"),
        ("sell", "100.03"),
    ]


def saw_book(counters: GatewayCounters, latency_ns: int) -> None:
    """As the data path counts it."""
    observe_value(counters.words, counters.at + PUBLISH_TO_GATEWAY, latency_ns)


def test_events_show_what_came_into_the_histograms_since_the_last_one(served: Served) -> None:
    served.start()
    counters = GatewayCounters(NAME, now_ns=served.desk.engine.meters.reader().start_ns)
    try:
        saw_book(counters, 5_000_000)
        viewer = served.watch()
        first = next(viewer)
        assert (first["notice_us"], first["write_us"], first["venues"][0]["lag_us"]) == (None,) * 3
        saw_book(counters, 3000)
        saw_book(counters, 1_000_000)
        served.desk.now_ns += 40_000_000
        served.desk.frame("binance", binance_diff(101, 101, [("99.97", "1")]))
        latest = next(viewer)
        while latest["notice_us"] is None or latest["venues"][0]["lag_us"] is None:
            latest = next(viewer)
    finally:
        counters.close()
    assert latest["notice_us"]["count"] == 2
    assert latest["notice_us"]["p50"] == pytest.approx(3.0, rel=0.04)
    assert latest["notice_us"]["max"] == pytest.approx(1000, rel=0.04)
    lag = latest["venues"][0]["lag_us"]
    assert (lag["count"], lag["p99"]) == (1, pytest.approx(40_000, rel=0.04))
    assert latest["write_us"] is None


def test_the_files_need_nothing_from_elsewhere(served: Served) -> None:
    status, page, answer = served.ask("/")
    assert status == 200 and answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert "default-src 'self'" in (answer.getheader("Content-Security-Policy") or "")
    for path in ("/page.js", "/page.css", "/chart.js"):
        status, text, _ = served.ask(path)
        assert status == 200
        assert path == "/chart.js" or path.removeprefix("/") in page
        assert "http://" not in text and "https://" not in text and "@import" not in text
    assert "<script>" not in page and "style=" not in page, "the policy forbids them"


# --- metrics -------------------------------------------------------------------------------------


def test_metrics_are_named_and_counted(served: Served) -> None:
    def samples() -> dict[tuple[str, str, str], float]:
        status, text, _ = served.ask("/metrics")
        assert status == 200
        return {
            (s.name, s.labels.get("venue", ""), s.labels.get("reason", "")): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
        }

    before = samples()
    assert (before["pollux_ready", "", ""], before["pollux_gateway_serving", "", ""]) == (0, 0)
    assert ("process_resident_memory_bytes", "", "") in before
    assert before["pollux_log_records_dropped_total", "", ""] == COUNTS.dropped
    assert before["pollux_log_records_swallowed_total", "", ""] == COUNTS.swallowed
    served.start()
    served.desk.frame("bitstamp", b"{}")
    served.desk.frame("bitstamp", b'{"data":{},"channel":"diff_order_book_btcusd","event":"data"}')
    now = samples()
    assert now["pollux_venue_live", "binance", ""] == 1
    assert now["pollux_venue_live", "bitstamp", ""] == 0
    assert now["pollux_venue_lag_seconds", "binance", ""] == 0
    assert now["pollux_frames_total", "binance", ""] == 1
    refused = {key: value for key, value in now.items() if key[0] == "pollux_refused_frames_total"}
    assert sum(refused.values()) == 1
    assert now["pollux_not_understood_total", "bitstamp", ""] == 1
    heartbeat = now["pollux_engine_heartbeat_timestamp_seconds", "", ""]
    assert heartbeat == pytest.approx(wall_ns() / 1e9, abs=60)


# --- bad requests and bad clients ----------------------------------------------------------------


def test_what_is_not_there_is_404_and_says_what_is(served: Served) -> None:
    status, text, _ = served.ask("/metric?x=1")
    assert status == 404 and text == f"nothing is at /metric; there is {' '.join(PATHS)}\n"
    status, text, _ = served.ask("/events?symbol=DOGE")
    assert (status, text) == (404, "no instrument DOGE; there is BTC-USD\n")
    assert served.ask("/../../etc/passwd")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_another_method_is_405(served: Served, method: str) -> None:
    status, text, answer = served.ask("/healthz", method)
    assert (status, text) == (405, "only GET and HEAD are served here\n")
    assert answer.getheader("Allow") == "GET, HEAD"


def test_head_is_the_head_of_get(served: Served) -> None:
    for path in ("/", "/healthz", "/events"):
        status, text, answer = served.ask(path, "HEAD")
        assert (status, text) == (200, "") and answer.getheader("Content-Type")


def test_nonsense_gets_one_line(served: Served) -> None:
    for raw in (b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 70_000):
        with socket.create_connection(("127.0.0.1", served.page.port), 5) as client:
            client.sendall(raw + b"\r\n\r\n")
            answer = client.recv(65_536).decode()
        head, _, body = answer.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 4") or head.startswith("HTTP/1.1 505"), answer
        assert body.count("\n") == 1 and "<" not in body and "Traceback" not in body


def test_connections_and_viewers_are_bounded(served: Served) -> None:
    address = ("127.0.0.1", served.page.port)
    viewers = [served.watch() for _ in range(VIEWERS_MAX)]
    for viewer in viewers:
        next(viewer)
    status, text, _ = served.ask("/events")
    assert (status, text) == (503, f"{VIEWERS_MAX} viewers are connected already\n")
    idle = [socket.create_connection(address, 5) for _ in range(CONNECTIONS_MAX - VIEWERS_MAX)]
    time.sleep(0.2)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        served.ask("/healthz")
    for each in idle:
        each.close()
    limit_s = time.monotonic() + 5
    while True:
        try:
            assert served.ask("/healthz")[0] == 200
            break
        except (ConnectionError, http.client.HTTPException):
            assert time.monotonic() < limit_s
            time.sleep(0.02)


def test_viewers_are_let_go_at_the_end() -> None:
    served = Served()
    viewer = served.watch()
    next(viewer)
    started_s = time.monotonic()
    served.page.close()
    assert sum(1 for _ in viewer) <= 2 and time.monotonic() - started_s < 2


def test_a_port_in_use_is_one_line(served: Served) -> None:
    listen = f"127.0.0.1:{served.page.port}"
    with pytest.raises(PageError) as error:
        Page(listen, served.daemon, served.log)
    text = f"metrics.listen: cannot listen on {listen}: Address already in use"
    assert str(error.value) == text
    daemon = Daemon(parse_config(f'{CONFIG}[metrics]\nlisten = "{listen}"', "test"))
    with pytest.raises(DaemonError) as failure:
        daemon.run()
    assert (str(failure.value), failure.value.status) == (text, 1)


def test_a_defect_of_ours_is_a_line_of_the_log_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    served = Served()

    def fail(symbol: str) -> bytes:
        raise ValueError(f"{symbol}: a\nb")

    monkeypatch.setattr(served.page._server.page_state, "look", fail)
    with pytest.raises(StopIteration):
        next(served.watch())
    served.page.close()
    event, facts = served.logged[0]
    assert event == "page request failed" and "BTC-USD" in str(facts["reason"])
    assert capfd.readouterr().err == ""
