"""A daemon at one moment as text for a terminal of 80 columns.

What is counted is shown by its own description; only what an operator always looks for is named
here. What is zero is left out, but for that.
Runs on: the main thread of a command, pure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from engine.sharing import meter_layout as M
from engine.sharing.meters import Histogram, Kind
from net.client.book_lines import amount_text, duration_text, price_text, state_name, time_text
from net.client.maker_lines import table_lines
from net.gateway.counters import METERS, STREAMS_OPEN
from net.observe.stat.meters import PERCENTS, Meters, Sample
from net.observe.stat.read import GatewayStat, Stat
from proto.pollux.v1 import market_data_pb2 as pb

WIDTH = 80
LOOKED_FOR = (
    M.INSTRUMENT.name(M.INSTRUMENT_PUBLISHED),
    M.VENUE.name(M.VENUE_CONNECTIONS),
    *map(M.FEED.name, (M.FEED_FRAMES, M.FEED_RESYNCS, M.FEED_GAPS)),
)
"""Shown even where they are zero."""
REFUSED = M.FEED.name(M.FEED_REFUSED_AT)
TURN, IDLE = M.LOOP.name(M.LOOP_TURN), M.LOOP.name(M.LOOP_IDLE)
SUBSCRIBERS = METERS.name(STREAMS_OPEN)
PLACES = ("venue", "symbol", "instrument")
"""The labels that say where something is counted; others say what."""
SUBSCRIBERS_SHOWN = 10
"""Those that skipped most; `--json` has all."""
_LABEL_WIDTH = 24


def stat_lines(stat: Stat) -> Iterator[str]:
    """The whole."""
    age = duration_text(stat.now.steady_ns - stat.heartbeat_ns)
    yield f"daemon {stat.name}, pid {stat.pid}: {stat.trouble or 'running'}"
    yield f"  heartbeat   {age} ago"
    for measure, what in stat.measures.items():
        yield f"  {measure:<18}  {what}"
    gateway = stat.gateway
    if gateway is None:
        yield "gateway: none shows itself"
    else:
        yield f"gateway, pid {gateway.meters.pid}: {gateway.trouble or 'running'}"
    for symbol, book in zip(stat.symbols, stat.books, strict=True):
        yield ""
        yield from _book_lines(symbol, book, stat.now.wall_ns)
    both = (stat.meters, gateway.meters if gateway is not None else None)
    yield from _latency_lines([meters for meters in both if meters is not None])
    yield ""
    if stat.meters is None:
        yield from textwrap.wrap(f"no counters: {stat.meters_trouble}", WIDTH)
    else:
        yield from _count_lines(stat.meters)
    if gateway is not None:
        yield from _gateway_lines(gateway, stat.now.wall_ns)
    for maker in stat.makers:
        yield ""
        yield from table_lines(maker)
    if stat.maker_trouble:
        yield f"  {stat.maker_trouble}"


def _book_lines(symbol: str, book: pb.Book | None, now_ns: int) -> Iterator[str]:
    if book is None:
        yield f"{symbol}: nothing published yet"
        return
    age = duration_text(now_ns - book.publish_time_ns)
    crossed = ", crossed" if book.crossed else ""
    yield f"{symbol}: book {book.sequence:,}, published {age} ago{crossed}"
    for side, levels in (("bid", book.bids), ("ask", book.asks)):
        best = "none"
        if levels:
            amount = amount_text(book, levels[0].amount_lots, grouped=True)
            price = price_text(book, levels[0].price_ticks, grouped=True)
            best = f"{price} x {amount} {levels[0].venue}"
        yield f"  best {side}    {best}"
    for venue in book.venues:
        seen = "never"
        if venue.receive_time_ns:
            seen = f"data {duration_text(now_ns - venue.receive_time_ns)} ago"
        part = ", depth known in part" if venue.incomplete else ""
        yield f"  {venue.venue:<10}  {state_name(venue.state):<12}  {seen}{part}"


# --- the gateway ---------------------------------------------------------------------------------


def _gateway_lines(gateway: GatewayStat, now_ns: int) -> Iterator[str]:
    meters = gateway.meters
    yield from _counted("gateway", _items(meters.samples, meters))
    found = {sample.series.name: sample.value for sample in meters.samples}
    streams, listed = found.get(SUBSCRIBERS, 0), len(gateway.subscribers)
    if not gateway.subscribers:
        if not streams:
            yield "  nobody listens to the gateway"
        return
    yield ""
    yield f"  {'subscriber':<22} {'to':<25} {'for':>7} {'sent':>10} {'skipped':>9}"
    by_skipped = sorted(gateway.subscribers, key=lambda row: -row.conflated)
    for row in by_skipped[:SUBSCRIBERS_SHOWN]:
        since = duration_text(now_ns - row.since_ns)
        yield (
            f"  {_cut(row.peer, 22):<22} {_cut(row.what, 25):<25} {since:>7} {row.sent:>10,}"
            f" {row.conflated:>9,}"
        )
    if listed > SUBSCRIBERS_SHOWN:
        yield f"  and {listed - SUBSCRIBERS_SHOWN} more, which --json lists"
    if isinstance(streams, int) and streams > listed:
        yield f"  and {streams - listed} that are in the totals alone"


# --- meters --------------------------------------------------------------------------------------


def _count_lines(engine: Meters) -> Iterator[str]:
    age = duration_text(engine.taken.steady_ns - engine.start_ns)
    yield f"counted since {time_text(engine.taken.stamp_ns(engine.start_ns))}, for {age}"
    groups: dict[str, list[Sample]] = {}
    for sample in engine.samples:
        groups.setdefault(_place(sample), []).append(sample)
    for place, samples in groups.items():
        yield from _counted(place or "loop", _items(samples, engine))


def _counted(place: str, items: Iterable[str]) -> Iterator[str]:
    """What was counted in one place: items one after another, none of them broken."""
    indent = f"  {_cut(place, 20):<20}  "
    wrapped = textwrap.wrap(
        ", ".join(item.replace(" ", "\0") for item in items),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_on_hyphens=False,
    )
    for line in wrapped:
        yield line.replace("\0", " ")


def _latency_lines(every: Iterable[Meters]) -> Iterator[str]:
    """A table of all histograms that hold something."""
    rows = [row for meters in every for row in _latency_rows(meters.samples)]
    intervals_s = [meters.interval_s for meters in every if meters.interval_s]
    if rows:
        when = f"latency, last {max(intervals_s):.1f} s" if intervals_s else "latency so far"
        heads = "".join(f"{name:>9}" for name in (*PERCENTS, "max"))
        yield ""
        yield f"{when:<{_LABEL_WIDTH}}{heads}{'count':>11}"
        yield from rows


def _place(sample: Sample) -> str:
    """Where it is counted: an instrument's symbol goes without saying where a venue's is."""
    places = [sample.series.labels[label] for label in PLACES if label in sample.series.labels]
    return " ".join(places[:2])


def _items(samples: Iterable[Sample], meters: Meters) -> Iterator[str]:
    """What was counted in one place, each as a name and a number."""
    samples = list(samples)
    found = {sample.series.name: sample for sample in samples}
    refused = [each for each in samples if each.series.name == REFUSED]
    yield from _loop_items(found)
    for sample in samples:
        series, value = sample.series, sample.value
        if isinstance(value, Histogram) or series.name == IDLE:
            continue
        what = series.name.replace("_", " ").removeprefix("gateway ")
        labels = [text for label, text in series.labels.items() if label not in PLACES]
        what = f"{what} ({', '.join(labels)})" if labels else what
        if series.kind is Kind.GAUGE and series.name.endswith("_timestamp"):
            if value:
                age = duration_text(meters.taken.wall_ns - value)
                yield f"{what.removesuffix(' timestamp')} {age} old"
        elif value or series.name in LOOKED_FOR:
            unit = f" {series.unit}" if series.unit else ""
            yield f"{what}{unit} {value:,}{_rate(sample, meters)}"
    if refused and not any(sample.value for sample in refused):
        yield "no refused frames"


def _loop_items(found: dict[str, Sample]) -> Iterator[str]:
    """The engine's loop: how often it turned, and how much of the time it waited."""
    if TURN not in found or IDLE not in found:
        return
    turn, idle = found[TURN], found[IDLE]
    turns = turn.value if turn.grown is None else turn.grown
    idle_ns = idle.value if idle.grown is None else idle.grown
    assert isinstance(turns, Histogram) and isinstance(idle_ns, int)
    if turns.sum + idle_ns:
        yield f"turns {turns.count:,}"
        yield f"idle {100 * idle_ns / (turns.sum + idle_ns):.2f} %"


def _rate(sample: Sample, meters: Meters) -> str:
    if not isinstance(sample.grown, int) or not sample.grown or not meters.interval_s:
        return ""
    rate = sample.grown / meters.interval_s
    return f" (+{rate:,.{0 if rate >= 100 else 1}f}/s)"


def _latency_rows(samples: Iterable[Sample]) -> Iterator[str]:
    """A row for each histogram that holds something, those of one name below each other."""
    last_name = ""
    for sample in samples:
        seen = sample.value if sample.grown is None else sample.grown
        if not isinstance(seen, Histogram) or not (seen.count or seen.negative):
            continue
        name, place = sample.series.name.replace("_", " "), _place(sample)
        if place and name != last_name:
            yield f"  {name}"
        last_name = name
        label = f"    {place}" if place else f"  {name}"
        values = [seen.percentile(percent) for percent in PERCENTS.values()]
        shown = (latency_text(value) for value in (*values, seen.max if seen.count else None))
        cells = "".join(f"{text:>9}" for text in shown)
        yield f"{_cut(label, _LABEL_WIDTH):<{_LABEL_WIDTH}}{cells}{seen.count:>11,}"
        if seen.negative:
            yield f"      and {seen.negative:,} below zero: a clock is wrong"


def latency_text(duration_ns: int | None) -> str:
    """Three digits and the unit that suits them."""
    if duration_ns is None:
        return "-"
    if duration_ns < 1000:
        return f"{duration_ns} ns"
    for unit, size_ns in (("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        number = duration_ns / size_ns
        if number < 999.5 or unit == "s":
            return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} {unit}"
    raise AssertionError("seconds have no end")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."
