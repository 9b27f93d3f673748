"""The market makers' part of the metrics page, from their boards.

Runs on: the page's threads.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker.state_board import MakerState, StateBoardError, StateBoardInfo, StateBoardReader
from net.orders.interface import EntryState

_LABELS = ("instrument",)
_VENUE_LABELS = ("instrument", "venue")


def maker_metrics(boards: Iterable[StateBoardReader]) -> Iterable[Metric]:
    """All of it, by instrument; nothing of one that has published nothing yet."""
    families: dict[str, Metric] = {}
    for board in boards:
        with contextlib.suppress(StateBoardError):
            for family in _of_maker(board.read(), board.info):
                families.setdefault(family.name, family)
                if families[family.name] is not family:
                    families[family.name].samples += family.samples
    return families.values()


def _of_maker(state: MakerState, info: StateBoardInfo) -> Iterator[Metric]:
    yield from _of_account(state, info)
    yield from _of_risk(state, info)
    yield from _of_venues(state, info)


def _of_account(state: MakerState, info: StateBoardInfo) -> Iterator[Metric]:
    lots: int = 10**info.lot_decimals
    fair = state.fair_units * info.price_mantissa / 10**info.price_decimals
    gauges = (
        ("position", "what is held, in the base currency", state.position_lots / lots),
        ("open_buy", "left of all live orders to buy", state.open_buy_lots / lots),
        ("open_sell", "left of all live orders to sell", state.open_sell_lots / lots),
        ("live_orders", "orders that may be open", state.live_orders),
        ("fair_price", "NaN where there is none", fair),
        ("day_result", "since 00:00 UTC or a release", _value(state.day_result_value, info)),
        ("result", "since the start, quote currency", _value(state.result_value, info)),
        ("fees", "fees paid, quote currency, in the results", _value(state.fee_value, info)),
        ("fees_base", "what of them was paid in the base currency", state.fee_base_lots / lots),
        ("publish_timestamp_seconds", "when the state was published", state.publish_ns / 1e9),
    )
    for name, text, number in gauges:
        family = GaugeMetricFamily(f"pollux_maker_{name}", text, labels=_LABELS)
        family.add_metric((info.symbol,), number)
        yield family
    counters = (
        ("fills", "fills counted", state.fills),
        ("inferred_fills", "fills known from a sum", state.inferred_fills),
        ("duplicate_fills", "fills seen twice", state.duplicate_fills),
        ("orphan_fills", "fills of orders not known any more", state.orphan_fills),
        ("orphan_events", "events of orders not known any more", state.orphan_events),
        ("ignored_events", "events that could not matter", state.ignored_events),
        ("bad_events", "events that cannot be", state.bad_events),
        ("anomalies", "contradictions of the account", state.anomalies),
        ("unvalued_fees", "fills whose fee has no value in a result", state.unvalued_fees),
        ("halts", "times that quoting was halted", state.halts),
    )
    for name, text, count in counters:
        counter = CounterMetricFamily(f"pollux_maker_{name}", text, labels=_LABELS)
        counter.add_metric((info.symbol,), count)
        yield counter


def _value(units: int | None, info: StateBoardInfo) -> float:
    return math.nan if units is None else units * info.value_mantissa / 10**info.value_decimals


def _of_risk(state: MakerState, info: StateBoardInfo) -> Iterator[Metric]:
    risk = GaugeMetricFamily(
        "pollux_maker_risk_state", "1 for the risk gate's state", labels=(*_LABELS, "state")
    )
    for number, name in enumerate(O.RISK_STATE_NAMES):
        risk.add_metric((info.symbol, name), float(state.risk_state == number))
    refusals = CounterMetricFamily(
        "pollux_maker_refusals", "orders that the risk gate refused", labels=(*_LABELS, "reason")
    )
    for code, text in R.TEXTS.items():
        if code != R.PASSED:
            refusals.add_metric((info.symbol, text), state.refusals[code])
    yield from (risk, refusals)


def _of_venues(state: MakerState, info: StateBoardInfo) -> Iterator[Metric]:
    ready = GaugeMetricFamily(
        "pollux_maker_entry_ready", "1 while orders may be sent", labels=_VENUE_LABELS
    )
    for name, venue in zip(info.venues, state.venues, strict=True):
        ready.add_metric((info.symbol, name), float(venue.entry_state == EntryState.READY))
    fees = GaugeMetricFamily(
        "pollux_maker_fee_ratio", "what a venue takes of a fill as a maker", labels=_VENUE_LABELS
    )
    for name, venue in zip(info.venues, state.venues, strict=True):
        fees.add_metric((info.symbol, name), venue.fee_ppm / 1e6)
    rates = GaugeMetricFamily(
        "pollux_maker_rate",
        "what one of a venue's quote currency is worth in the market maker's",
        labels=_VENUE_LABELS,
    )
    for name, venue in zip(info.venues, state.venues, strict=True):
        rates.add_metric((info.symbol, name), venue.rate / O.RATE_ONE)
    yield from (ready, fees, rates)
    for title, text, counts in (
        ("orders_sent", "orders sent", [venue.orders for venue in state.venues]),
        ("cancels_sent", "cancels sent", [venue.cancels for venue in state.venues]),
        ("replaces_sent", "replaces sent", [venue.replaces for venue in state.venues]),
        ("venue_fills", "fills that came, by venue", [venue.fills for venue in state.venues]),
    ):
        family = CounterMetricFamily(f"pollux_maker_{title}", text, labels=_VENUE_LABELS)
        for name, count in zip(info.venues, counts, strict=True):
            family.add_metric((info.symbol, name), count)
        yield family
