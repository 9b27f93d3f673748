"""What the web page shows: one JSON object of an instrument, made once for all who look at it.

    t           this host's clock, ms            health, ready, remarks   texts; empty is good
    symbols     all that may be chosen           symbol   this one
    venues      name, state, lag_ms (of the last frame), age_ms, incomplete, frames (a counter),
                trouble, checked_by (how the book is known to be right), lag_us (of the frames
                since the last object)
    book        sequence, published_ms (age), crossed, spread, bids, asks; null before the first
    levels      [place of the venue in `venues`, price, amount]; prices and amounts exact, as text
    engine_us   from receive to publish, of the books since the last object
    notice_us   from there to the gateway, of all instruments; null without one
    write_us    from the gateway to gRPC's taking, of all messages
                each *_us: count, p50, p99, max; null where nothing came
    maker       what `pollux stat --json` shows of one; null without one
    makers      all of them by symbol, each as its state in words
Runs on: the page's threads, one at a time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

import orjson

from engine.engine import Engine
from engine.layout import layout as L
from engine.maker.state_board import StateBoardError, StateBoardFinder
from engine.sharing import meter_layout as M
from engine.sharing.handoff import HandoffReader, InstrumentInfo
from engine.sharing.meters import Histogram, Kind, MeterReader
from net.client.decimals import decimal_text
from net.client.maker_lines import maker_facts, risk_name
from net.feed.clock_check import lag_ns
from net.gateway.book_messages import Level, read_snapshot
from net.gateway.counters import GATEWAY_TO_WRITTEN, METERS, PUBLISH_TO_GATEWAY, attach_meters
from net.gateway.maker_messages import MakerForm
from net.observe.page.daemon_state import DaemonState
from net.observe.page.health import remarks, unhealthy, unready
from proto.pollux.v1 import maker_pb2
from tuning.clock import Moment, now

PUBLISH_LATENCY = M.INSTRUMENT.name(M.INSTRUMENT_PUBLISH_LATENCY)
RECEIVE_LAG = M.FEED.name(M.FEED_RECEIVE_LAG)
NOTICE = METERS.name(PUBLISH_TO_GATEWAY)
WRITE = METERS.name(GATEWAY_TO_WRITTEN)

Recent = dict[tuple[str, ...], dict[str, float] | None]
"""What came into a histogram since the last look, by its name and its labels' values."""

PERIOD_S = 0.25
"""Between two objects: a person does not read faster, and the daemon's Python is the engine's too.
"""


class PageState:
    """The latest object of each instrument, made when somebody looks and the last one is old."""

    def __init__(self, daemon: DaemonState) -> None:
        self.symbols = tuple(each.symbol for each in daemon.config.instrument)
        self._daemon = daemon
        self._lock = threading.Lock()
        self._made: dict[str, tuple[float, bytes]] = {}
        self._engine: Engine | None = None
        self._reader: HandoffReader | None = None
        self._meters: MeterReader | None = None
        self._seen: dict[str, dict[tuple[str, ...], Histogram]] = {}
        """By the symbol it was looked at for: by the process, the series and its labels."""
        self._makers = StateBoardFinder(daemon.config.engine.name, os.getpid())

    def look(self, symbol: str) -> bytes:
        """The object of one of the `symbols` as JSON."""
        with self._lock:
            made_s, made = self._made.get(symbol, (0.0, b""))
            if not made or time.monotonic() - made_s >= PERIOD_S / 2:
                made = orjson.dumps(self._facts(symbol, now()))
                self._made[symbol] = time.monotonic(), made
            return made

    def _facts(self, symbol: str, now: Moment) -> dict[str, object]:
        live = self._daemon.live
        return {
            "t": now.wall_ns // 1_000_000,
            "name": self._daemon.config.engine.name,
            "health": unhealthy(self._daemon, now) or "",
            "ready": unready(self._daemon, now),
            "remarks": remarks(self._daemon, now),
            "symbols": self.symbols,
            "symbol": symbol,
            **(self._instrument(live.engine, symbol, now.wall_ns) if live is not None else {}),
            **self._maker_facts(symbol),
        }

    def _instrument(self, engine: Engine, symbol: str, now_ns: int) -> dict[str, object]:
        if self._reader is None or engine is not self._engine:
            self._engine, self._reader, self._seen = engine, engine.reader(), {}
            self._meters = engine.meters.reader()
        reader = self._reader
        for index, info in enumerate(reader.instruments):
            if info.symbol == symbol:
                recent = self._recent(symbol)
                is_there = reader.read(index) > 0
                return {
                    "venues": self._venues(engine, index, now_ns, recent),
                    "book": _book_facts(info, reader, now_ns) if is_there else None,
                    "engine_us": recent.get((PUBLISH_LATENCY, symbol)),
                    "notice_us": recent.get((NOTICE,)),
                    "write_us": recent.get((WRITE,)),
                }
        return {}

    def _recent(self, symbol: str) -> Recent:
        """Of every histogram of this instrument, or of none: what came since the last look."""
        assert self._meters is not None
        gateway = attach_meters(self._daemon.config.engine.name, self._meters.start_ns)
        before, now = self._seen.get(symbol, {}), {}
        recent = {}
        for reader in (self._meters, *((gateway,) if gateway is not None else ())):
            process = (str(reader.writer_pid), str(reader.start_ns))
            for series in reader.series:
                is_shown = series.labels.get("instrument", symbol) == symbol
                if series.kind is Kind.HISTOGRAM and is_shown:
                    key = (series.name, *series.labels.values())
                    seen = now[(*process, *key)] = reader.histogram(series)
                    recent[key] = percentiles_us(seen.since(before.get((*process, *key), seen)))
        self._seen[symbol] = now
        return recent

    def _venues(
        self, engine: Engine, index: int, now_ns: int, recent: Recent
    ) -> list[dict[str, object]]:
        first = sum(len(each.feeds) for each in engine.instruments[:index])
        shown: list[dict[str, object]] = []
        symbol = engine.instruments[index].symbol
        for feed, spec in enumerate(engine.instruments[index].feeds, first):
            lag, receive_ns = lag_ns(engine, feed), engine.receive_ns(feed)
            shown.append(
                {
                    "name": spec.venue,
                    "state": L.STATE_NAMES[engine.state(feed)],
                    "lag_ms": None if lag is None else lag / 1e6,
                    "age_ms": (now_ns - receive_ns) / 1e6 if receive_ns else None,
                    "incomplete": engine.is_incomplete(feed),
                    "frames": engine.counters(feed).frames,
                    "trouble": self._daemon.trouble(spec.venue, spec.symbol) or "",
                    "checked_by": spec.checked_by,
                    "lag_us": recent.get((RECEIVE_LAG, spec.venue, spec.symbol, symbol)),
                }
            )
        return shown

    def _maker_facts(self, symbol: str) -> dict[str, object]:
        """The market maker of the instrument that is shown, or the first, and what all are."""
        found: dict[str, maker_pb2.Maker] = {}
        for board in self._makers.find():
            with contextlib.suppress(StateBoardError):  # nothing published yet
                message = MakerForm(board.info).message(board.read())
                found[board.info.symbol] = maker_pb2.Maker.FromString(message.wire)
        shown = found.get(symbol) or next(iter(found.values()), None)
        return {
            "maker": maker_facts(shown) if shown is not None else None,
            "makers": {name: risk_name(maker) for name, maker in found.items()},
        }


def percentiles_us(seen: Histogram) -> dict[str, float] | None:
    """Count, median, 99th percentile and maximum in us; None of nothing."""
    p50, p99 = seen.percentile(50), seen.percentile(99)
    if p50 is None or p99 is None:
        return None
    return {"count": seen.count, "p50": p50 / 1e3, "p99": p99 / 1e3, "max": seen.max / 1e3}


def _book_facts(info: InstrumentInfo, reader: HandoffReader, now_ns: int) -> dict[str, object]:
    book = read_snapshot(reader.book, info)
    info, spread = book.info, book.spread_ticks
    return {
        "sequence": book.sequence,
        "published_ms": (now_ns - book.publish_ns) / 1e6,
        "crossed": book.is_crossed,
        "spread": None if spread is None else _price(info, spread),
        "bids": [_level(info, level) for level in book.bids],
        "asks": [_level(info, level) for level in book.asks],
    }


def _price(info: InstrumentInfo, ticks: int) -> str:
    return decimal_text(ticks * info.tick_mantissa, info.tick_decimals)


def _level(info: InstrumentInfo, level: Level) -> list[int | str]:
    amount = decimal_text(level.amount_lots, info.lot_decimals)
    return [level.venue, _price(info, level.price_ticks), amount]
