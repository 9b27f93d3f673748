"""The market maker's state as text: one line, some lines for a terminal, or exact JSON.

Amounts and prices are exact. Values have more digits than a person reads: in text they are rounded
down to those of a price, so that a loss never looks smaller, and fees are rounded up at the eighth
decimal, for most are parts of a cent; in JSON they are exact.
Runs on: any thread, pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.maker import order_layout as O
from engine.maker.client_ids import format_client_id
from net.client.decimals import decimal_text
from proto.pollux.v1 import maker_pb2

FEE_DECIMALS = 8
NOTHING_DUE = {
    "release": "quoting is not halted",
    "accept": "no account holds what nobody has counted, nor may an earlier run's order be open",
}
"""Why what was asked for changes nothing, where it `is_due` for no market maker."""
SIDE_NAMES = {maker_pb2.SIDE_BUY: "buy", maker_pb2.SIDE_SELL: "sell"}


def risk_name(maker: maker_pb2.Maker) -> str:
    """The gate's state, and why it is halted."""
    name = _name(maker_pb2.RiskState.DESCRIPTOR, maker.risk_state, "RISK_STATE_")
    return f"{name}: {maker.halt_reason}" if maker.halt_reason else name


def _name(enum: object, number: int, prefix: str) -> str:
    """A state as people call it; a number that this program does not know stays a number."""
    value = enum.values_by_number.get(number)  # type: ignore[attr-defined]
    return value.name.removeprefix(prefix) if value else str(number)


def entry_name(venue: maker_pb2.MakerVenue) -> str:
    return _name(maker_pb2.EntryState.DESCRIPTOR, venue.entry_state, "ENTRY_STATE_")


def order_state_name(order: maker_pb2.MakerOrder) -> str:
    return _name(maker_pb2.OrderState.DESCRIPTOR, order.state, "ORDER_STATE_")


def amount_text(maker: maker_pb2.Maker, lots: int, *, signed: bool = False) -> str:
    """An amount, exact, without the zeros that end it; with its sign by request."""
    text = decimal_text(lots, maker.lot_decimals, grouped=True)
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return f"+{short}" if signed and lots > 0 else short


def price_text(maker: maker_pb2.Maker, ticks: int) -> str:
    return decimal_text(ticks * maker.tick_mantissa, maker.tick_decimals, grouped=True)


def fair_text(maker: maker_pb2.Maker) -> str:
    """The fair price to a hundredth of a tick's digit, or why there is none."""
    if not maker.HasField("fair_price"):
        return f"none ({maker.fair_status})"
    return f"{maker.fair_price:,.{maker.tick_decimals + 2}f}"


def value_text(maker: maker_pb2.Maker, units: int) -> str:
    """A value with its sign, rounded down to the digits of a price."""
    decimals = min(maker.tick_decimals, maker.value_decimals)
    rounded = units * maker.value_mantissa // 10 ** (maker.value_decimals - decimals)
    text = decimal_text(rounded, decimals, grouped=True)
    return f"+{text}" if rounded >= 0 else text


def day_text(maker: maker_pb2.Maker) -> str:
    if not maker.HasField("day_result_units"):
        return "not valued yet"
    return value_text(maker, maker.day_result_units)


def start_text(maker: maker_pb2.Maker) -> str:
    return value_text(maker, maker.result_units) if maker.HasField("result_units") else "none"


def fees_text(maker: maker_pb2.Maker) -> str:
    """What was paid, rounded up, below zero for rebates, without the zeros that end it."""
    decimals = min(FEE_DECIMALS, maker.value_decimals)
    divisor = 10 ** (maker.value_decimals - decimals)
    rounded = -(-maker.fees_units * maker.value_mantissa // divisor)
    whole, point, part = decimal_text(rounded, decimals, grouped=True).partition(".")
    part = part.rstrip("0").ljust(min(maker.tick_decimals, decimals), "0")
    return f"{whole}{point}{part}" if part else whole


def unvalued_text(maker: maker_pb2.Maker) -> str:
    return f"and {maker.unvalued_fees:,} in assets without a rate"


def is_due(what: str, maker: maker_pb2.Maker) -> bool:
    """Whether there is something that a release, or an accept, would change."""
    if what == "release":
        return maker.risk_state == maker_pb2.RISK_STATE_HALTED
    return bool(maker.unconfirmed or maker.release_obstacle) or any(
        venue.difference_lots for venue in maker.venues
    )


def refusal_text(what: str, maker: maker_pb2.Maker) -> str:
    """After a release or an accept: why it is halted all the same; empty where that is right."""
    if maker.risk_state != maker_pb2.RISK_STATE_HALTED or what == "kill":
        return ""
    if maker.release_obstacle:
        return f"{maker.symbol}: release refused: {maker.release_obstacle}"
    return f"{maker.symbol}: still halted: {maker.halt_reason}" if what == "release" else ""


def mode_text(maker: maker_pb2.Maker) -> str:
    return "live" if maker.live else "on paper"


def plain_line(maker: maker_pb2.Maker) -> str:
    """One short line below a book's."""
    unvalued = f" ({unvalued_text(maker)})" if maker.unvalued_fees else ""
    return (
        f"maker {maker.symbol} {mode_text(maker)} {risk_name(maker)}  fair {fair_text(maker)}  "
        f"position {amount_text(maker, maker.position_lots, signed=True)}  "
        f"fills {maker.fills}  fees {fees_text(maker)}{unvalued}  day {day_text(maker)}  "
        f"orders {len(maker.orders)}"
    )


def table_lines(maker: maker_pb2.Maker) -> Iterator[str]:
    """Everything that an operator looks for, in 80 columns."""
    yield f"market maker {maker.symbol}, {mode_text(maker)}: {risk_name(maker)}"
    if maker.release_obstacle:
        yield f"  no release  {maker.release_obstacle}"
    yield f"  fair price  {fair_text(maker)}"
    yield (
        f"  position    {amount_text(maker, maker.position_lots, signed=True)}"
        f" of at most {amount_text(maker, maker.position_lots_max)}"
    )
    yield (
        f"  open        {amount_text(maker, maker.open_buy_lots)} to buy,"
        f" {amount_text(maker, maker.open_sell_lots)} to sell,"
        f" {len(maker.orders)} of at most {maker.open_orders_max} orders"
    )
    limit = value_text(maker, -maker.daily_loss_max_units)
    yield f"  result      {day_text(maker)} today, halts at {limit}"
    yield f"              {start_text(maker)} since the start"
    yield f"  fees        {fees_text(maker)} of all runs, in the results already"
    if maker.unvalued_fees:
        yield f"              {unvalued_text(maker)}, in no result"
    yield f"  fills       {maker.fills:,} in this run"
    for count, what in (
        (maker.inferred_fills, "known from an order's total alone, without its own message"),
        (maker.duplicate_fills, "told again by a venue, counted once"),
        (maker.orphan_fills, "of orders that are not known any more"),
    ):
        if count:
            yield f"              {count:,} {what}"
    if maker.halts or maker.anomalies:
        yield f"  halts       {maker.halts:,}, anomalies {maker.anomalies:,}"
    for reason, count in sorted(maker.refusals.items()):
        yield f"  refused     {count:,} x {reason}"
    if count := maker.unconfirmed:
        yield f"  earlier     {count} orders or accounts of earlier runs: some order may"
        yield "              be open, no venue has shown the contrary yet; the log names them"
    yield from _venue_lines(maker)
    yield from _order_lines(maker)


def _venue_lines(maker: maker_pb2.Maker) -> Iterator[str]:
    yield (
        f"  {'venue':<10} {'order entry':<12} {'orders':>6} {'cancels':>7} {'replaces':>8}"
        f" {'fills':>5} {'fee bps':>7}  last trouble"
    )
    for venue in maker.venues:
        yield (
            f"  {venue.venue:<10} {entry_name(venue):<12} {venue.orders:>6} {venue.cancels:>7}"
            f" {venue.replaces:>8} {venue.fills:>5} {venue.fee_ppm / 100:>7g}"
            f"  {venue.trouble or '-'}"
        )
    for venue in maker.venues:
        if venue.rate_e8 not in (0, O.RATE_ONE):
            yield f"  {venue.venue}: one of its quote currency counts {rate_text(venue)}"
        if venue.difference_lots:
            text = amount_text(maker, venue.difference_lots, signed=True)
            yield f"  {venue.venue}: {text} held that nobody has counted: pollux accept takes it so"


def rate_text(venue: maker_pb2.MakerVenue) -> str:
    """What one of a venue's quote currency is worth in the market maker's; a daemon of an earlier
    version does not say, which is 0."""
    return decimal_text(venue.rate_e8, 8).rstrip("0").rstrip(".")


def order_name(order: maker_pb2.MakerOrder) -> str:
    """An order as its venue knows it, and where it stands."""
    return f"{order.venue} {format_client_id(order.order_id)} {order_state_name(order)}"


def _order_lines(maker: maker_pb2.Maker) -> Iterator[str]:
    if not maker.orders:
        yield "  no orders"
        return
    yield (f"  {'venue':<10}  {'order':<7}  {'price':>13}  {'amount':>12}  {'filled':>10}  state")
    for order in maker.orders:
        quote = f"{SIDE_NAMES.get(order.side, '?')} {order.level}"
        yield (
            f"  {order.venue:<10}  {quote:<7}  {price_text(maker, order.price_ticks):>13}"
            f"  {amount_text(maker, order.amount_lots):>12}"
            f"  {amount_text(maker, order.filled_lots):>10}  {order_state_name(order)}"
        )


def maker_facts(maker: maker_pb2.Maker) -> dict[str, object]:
    """The object of `pollux stat --json`: exact decimals as text, null where there is none."""

    def amount(lots: int) -> str:
        return decimal_text(lots, maker.lot_decimals)

    def value(units: int) -> str:
        return decimal_text(units * maker.value_mantissa, maker.value_decimals)

    def price(ticks: int) -> str:
        return decimal_text(ticks * maker.tick_mantissa, maker.tick_decimals)

    def of(name: str, text: str) -> str | None:
        return text if maker.HasField(name) else None  # type: ignore[arg-type]

    return {
        "symbol": maker.symbol,
        "seq": maker.sequence,
        "t": maker.publish_time_ns,
        "live": maker.live,
        "risk_state": _name(maker_pb2.RiskState.DESCRIPTOR, maker.risk_state, "RISK_STATE_"),
        "halt_reason": maker.halt_reason or None,
        "release_obstacle": maker.release_obstacle or None,
        "halts": maker.halts,
        "fair_price": maker.fair_price if maker.HasField("fair_price") else None,
        "fair_status": maker.fair_status,
        "position": amount(maker.position_lots),
        "position_max": amount(maker.position_lots_max),
        "open_buy": amount(maker.open_buy_lots),
        "open_sell": amount(maker.open_sell_lots),
        "day_result": of("day_result_units", value(maker.day_result_units)),
        "result": of("result_units", value(maker.result_units)),
        "daily_loss_max": value(maker.daily_loss_max_units),
        "fees": value(maker.fees_units),
        "fees_base": amount(maker.fee_base_lots),
        "unvalued_fees": maker.unvalued_fees,
        "unconfirmed": maker.unconfirmed,
        "fills": maker.fills,
        "anomalies": maker.anomalies,
        "refusals": dict(sorted(maker.refusals.items())),
        "venues": {
            venue.venue: {
                "entry": entry_name(venue),
                "trouble": venue.trouble or None,
                "orders": venue.orders,
                "cancels": venue.cancels,
                "replaces": venue.replaces,
                "fills": venue.fills,
                "fee_ppm": venue.fee_ppm,
                "fees": value(venue.fees_units),
                "difference": amount(venue.difference_lots),
                "rate": rate_text(venue) if venue.rate_e8 else None,
            }
            for venue in maker.venues
        },
        "orders": [
            {
                "id": order.order_id,
                "venue": order.venue,
                "side": SIDE_NAMES.get(order.side),
                "level": order.level,
                "state": order_state_name(order),
                "price": price(order.price_ticks),
                "amount": amount(order.amount_lots),
                "filled": amount(order.filled_lots),
            }
            for order in maker.orders
        ],
    }
