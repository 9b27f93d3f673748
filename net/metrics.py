"""The metrics page: counters read when it is asked for, in Prometheus' text form.

Nothing is counted twice: the numbers live in the engine's arena, in the sessions and on the market
maker's board, and are only read here, by the server's own thread.
Runs on: the metrics server's threads. Called by: net.daemon.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine import layout as L
from engine import status as S
from engine.maker.board import MakerBoardError
from net.live import Live
from net.maker.metrics import maker_metrics
from net.maker.view import MakerView

_FEED_LABELS = ("venue", "symbol")


class MetricsError(Exception):
    """The page cannot be served: one line."""


class _Collector(Collector):
    def __init__(self, live: Live) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        engine, sessions = self._live.engine, [s for v in self._live.venues for s in v.sessions]
        state = GaugeMetricFamily(
            "pollux_venue_live", "1 while the venue's book is live", labels=_FEED_LABELS
        )
        counters = {
            name: CounterMetricFamily(f"pollux_{name}", text, labels=_FEED_LABELS)
            for name, text in (
                ("frames", "book frames taken"),
                ("frame_bytes", "bytes of book frames"),
                ("levels", "levels in book frames"),
                ("resyncs", "books thrown away and built anew"),
                ("gaps", "sequence gaps seen"),
                ("snapshots_asked", "snapshots asked for"),
                ("snapshots_refused", "snapshots refused or failed"),
                ("audits_failed", "audits that found a difference"),
            )
        }
        refused = CounterMetricFamily(
            "pollux_refused_frames",
            "frames refused as malformed, by what was wrong",
            labels=(*_FEED_LABELS, "reason"),
        )
        for session in sessions:
            labels = (session.spec.venue, session.spec.symbol)
            state.add_metric(labels, float(session.state == L.LIVE))
            seen, kept = engine.counters(session.feed), session.counters
            values = (seen.frames, seen.bytes, seen.levels, kept.resyncs, kept.gaps)
            more = (kept.snapshots_asked, kept.snapshots_refused, kept.audits_failed)
            for family, value in zip(counters.values(), (*values, *more), strict=True):
                family.add_metric(labels, value)
            for status in S.REFUSALS:
                refused.add_metric((*labels, S.TEXTS[status]), kept.refused[status])
        published = CounterMetricFamily("pollux_books", "books published", labels=("instrument",))
        reader = engine.reader()
        for index, board in enumerate(reader.boards):
            published.add_metric((board.symbol,), reader.sequence(index))
        yield from (state, published, refused, *counters.values(), *self._of_venues())
        # A view of its own for each scrape: two may run at once.
        maker = MakerView(self._live.config.engine.name, os.getpid()).reader()
        if maker is not None:
            with contextlib.suppress(MakerBoardError):
                yield from maker_metrics(maker)

    def _of_venues(self) -> Iterator[Metric]:
        families = [
            CounterMetricFamily(f"pollux_{name}", text, labels=("venue",))
            for name, text in (
                ("connections", "connections made, the first included"),
                ("other_symbols", "book frames of symbols that were not asked for"),
                ("binary_frames", "binary frames, which no venue should send"),
                ("not_understood", "text frames of a form nobody knows"),
            )
        ]
        for venue in self._live.venues:
            stream, seen = self._live.streams.get(venue.name), venue.counters
            connections = stream.reconnects + 1 if stream is not None else 0
            values = (connections, seen.other_symbols, seen.binary_frames, seen.not_understood)
            for family, value in zip(families, values, strict=True):
                family.add_metric((venue.name,), value)
        yield from families


def serve_metrics(listen: str, live: Live) -> Callable[[], None]:
    """Serve the page; a function that stops it. MetricsError where the address cannot be had."""
    host, _, port = listen.rpartition(":")
    registry = CollectorRegistry()
    registry.register(_Collector(live))
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise MetricsError(f"metrics: cannot listen on {listen}: {error.strerror}") from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
