"""What is scraped: counters read when it is asked for, in Prometheus' text form.

Nothing is counted twice: the numbers live in the meters, in the engine's arena, in the handoff and
on the market maker's board, and are only read here. Names and units are by Prometheus'
conventions (https://prometheus.io/docs/practices/naming): base units, `_total` on counters.
Runs on: the page's threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.engine import Engine
from engine.layout import layout as L
from engine.maker.state_board import StateBoardFinder
from engine.sharing.meters import MeterReader
from net.feed.clock_check import HostCheck, lag_ns
from net.feed.engine_thread import EngineThread
from net.gateway.book_messages import read_snapshot
from net.gateway.counters import attach_meters
from net.observe.metrics.families import meter_families
from net.observe.metrics.maker import maker_metrics
from net.observe.page.daemon_state import DaemonState
from net.observe.page.health import unready
from tuning.clock import Moment, now

PAUSE_S = 0.000_1
"""After each family: an engine thread that waits for the interpreter gets it then, and not after
the whole page, a millisecond later."""
_FEED_LABELS = ("venue", "symbol")
_INSTRUMENT_LABELS = ("instrument",)


def make_registry(daemon: DaemonState) -> CollectorRegistry:
    """Everything there is of this daemon, and of its process."""
    registry = CollectorRegistry()
    registry.register(_Collector(daemon))
    ProcessCollector(registry=registry)
    return registry


def _gauge(name: str, text: str, number: float) -> Metric:
    family = GaugeMetricFamily(f"pollux_{name}", text)
    family.add_metric((), number)
    return family


def _counter(name: str, text: str, number: float) -> Metric:
    family = CounterMetricFamily(f"pollux_{name}", text)
    family.add_metric((), number)
    return family


class _Collector(Collector):
    def __init__(self, daemon: DaemonState) -> None:
        self._daemon = daemon
        self._meters: tuple[Engine, MeterReader] | None = None

    def _meters_of(self, engine: Engine) -> MeterReader:
        """A generation's meters: their description is read once."""
        kept = self._meters
        if kept is None or kept[0] is not engine:
            kept = self._meters = engine, engine.meters.reader()
        return kept[1]

    def collect(self) -> Iterator[Metric]:
        for family in self._families():
            yield family
            time.sleep(PAUSE_S)

    def _families(self) -> Iterator[Metric]:
        daemon, moment = self._daemon, now()
        live, gateway = daemon.live, daemon.gateway
        yield _gauge(
            "ready",
            "1 while every venue is live and the gateway serves",
            float(not unready(daemon, moment)),
        )
        serves = gateway is not None and gateway.is_serving
        yield _gauge("gateway_serving", "1 while the gateway serves", float(serves))
        for name, text, count in (
            ("dropped", "the queue of the log was full", daemon.log.dropped),
            ("swallowed", "they only repeated others, and were counted", daemon.log.swallowed),
        ):
            yield _counter(f"log_records_{name}", f"records not written: {text}", count)
        if live is not None:
            yield from _of_states(live)
            yield from _of_times(live.engine, live.host_check, moment)
            yield from _of_beats(live.host_check, moment.steady_ns)
            yield from _of_books(live.engine)
            counted = self._meters_of(live.engine)
            yield from meter_families(counted)
            serving = attach_meters(daemon.config.engine.name, counted.start_ns)
            if serving is not None:
                yield from meter_families(serving)
        # A reader of its own for each scrape: two may run at once.
        makers = StateBoardFinder(daemon.config.engine.name, os.getpid()).find()
        yield from maker_metrics(makers)


def _of_states(live: EngineThread) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "pollux_venue_live", "1 while the venue's book is live", labels=_FEED_LABELS
    )
    for sync in (sync for venue in live.venues for sync in venue.syncs):
        labels = (sync.spec.venue, sync.spec.symbol)
        state.add_metric(labels, float(sync.state == L.LIVE))
    yield state


def _of_beats(host_check: HostCheck, steady_ns: int) -> Iterator[Metric]:
    """Whether the engine thread gets its CPU when it wants it."""
    text = "beats of the engine's timer that came more than 100 ms late"
    yield _counter("engine_late_beats", text, host_check.beats.late_count)
    text = "the latest of the last minute's late beats: by how much; 0 without one"
    _, longest_ns = host_check.beats.recent(steady_ns)
    yield _gauge("engine_beat_late_seconds", text, longest_ns / 1e9)


def _of_times(engine: Engine, host_check: HostCheck, now: Moment) -> Iterator[Metric]:
    """When something last happened, and how late the venues' data are."""
    yield _gauge(
        "engine_heartbeat_timestamp_seconds",
        "when the engine last said that it is alive",
        now.stamp_ns(engine.reader().heartbeat_ns) / 1e9,
    )
    lag = GaugeMetricFamily(
        "pollux_venue_lag_seconds",
        "from the venue's time of its last frame to its arrival; below zero: a clock is wrong",
        labels=_FEED_LABELS,
    )
    received = GaugeMetricFamily(
        "pollux_venue_receive_timestamp_seconds",
        "when the last frame arrived",
        labels=_FEED_LABELS,
    )
    incomplete = GaugeMetricFamily(
        "pollux_venue_incomplete",
        "1 while a published level lies where the book is known only in part",
        labels=_FEED_LABELS,
    )
    clock_off = GaugeMetricFamily(
        "pollux_venue_clock_off",
        "1 while the times of a live venue's frames do not fit this host's clock",
        labels=_FEED_LABELS,
    )
    for feed, spec in enumerate(engine.feeds):
        labels, late_ns = (spec.venue, spec.symbol), lag_ns(engine, feed)
        incomplete.add_metric(labels, float(engine.is_incomplete(feed)))
        clock_off.add_metric(labels, float(host_check.clocks[feed].is_off))
        if late_ns is not None:
            lag.add_metric(labels, late_ns / 1e9)
            received.add_metric(labels, engine.receive_ns(feed) / 1e9)
    yield from (lag, received, incomplete, clock_off)


def _of_books(engine: Engine) -> Iterator[Metric]:
    """The merged books."""
    published = GaugeMetricFamily(
        "pollux_book_publish_timestamp_seconds",
        "when the last book was published",
        labels=_INSTRUMENT_LABELS,
    )
    crossed = GaugeMetricFamily(
        "pollux_book_crossed",
        "1 while bid is at or above ask",
        labels=_INSTRUMENT_LABELS,
    )
    levels = GaugeMetricFamily(
        "pollux_book_levels", "levels published", labels=(*_INSTRUMENT_LABELS, "side")
    )
    reader = engine.reader()
    for index, info in enumerate(reader.instruments):
        labels = (info.symbol,)
        if reader.read(index) > 0:
            book = read_snapshot(reader.book, info)
            published.add_metric(labels, book.publish_ns / 1e9)
            crossed.add_metric(labels, float(book.is_crossed))
            levels.add_metric((*labels, "bid"), len(book.bids))
            levels.add_metric((*labels, "ask"), len(book.asks))
    yield from (published, crossed, levels)
