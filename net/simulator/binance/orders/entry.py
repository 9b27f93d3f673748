"""Reads what Binance's order requests ask for, and checks the filters of exchangeInfo.

Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

from typing import NamedTuple

from net.simulator.binance.exchange_info import (
    MAX_MARKET_QTY,
    MAX_NUM_ORDERS,
    MAX_PRICE,
    MAX_QTY,
    MIN_NOTIONAL,
    PRICE_FACTOR,
    SELF_TRADE_DEFAULT,
)
from net.simulator.binance.orders.requests import (
    ApiError,
    Params,
    filter_failure,
    mandatory,
    notional_filter,
    order_amounts,
)
from net.simulator.market import ASK, BID
from net.simulator.options import LOTS_PER_UNIT, VenueInstrument
from net.simulator.orders import desk as words
from net.simulator.orders.accounts import Order
from net.simulator.orders.amounts import LOTS_MAX, quote_lots, read_lots
from net.simulator.orders.desk import Desk, RejectedError, Wanted
from net.simulator.synthetic import SyntheticFeed

REFUSALS = {
    words.BALANCE: (-2010, "Account has insufficient balance for requested action."),
    words.WOULD_TAKE: (-2010, "Order would immediately match and take."),
    words.DUPLICATE: (-2010, "Duplicate order sent."),
    words.NO_LIQUIDITY: (-2010, "Insufficient liquidity for requested action."),  # chosen
    words.TOO_MANY: (-1013, "Filter failure: EXCHANGE_MAX_NUM_ORDERS"),
    words.UNKNOWN: (-2011, "Unknown order sent."),
}


class Entry(NamedTuple):
    """A new order, and which answer it wants (ACK, RESULT or FULL)."""

    wanted: Wanted
    response: str


class Cancel(NamedTuple):
    """Which order is meant, and under what conditions it is to be cancelled."""

    symbol: str
    order_id: int | None
    client_order_id: str | None
    own_id: str | None
    restriction: str | None


def refusal(error: RejectedError) -> ApiError:
    """The engine's refusal in the exchange's words."""
    code, text = REFUSALS[error.reason]
    return ApiError(400, code, text)


def read_symbol(params: Params, feed: SyntheticFeed) -> str:
    """A market that there is."""
    symbol = params.need("symbol")
    if symbol not in feed.instruments:
        raise ApiError(400, -1121, "Invalid symbol.")
    return symbol


def read_cancel(params: Params, feed: SyntheticFeed, *, is_replace: bool = False) -> Cancel:
    """The order that a cancel, an amendment or a query is about."""
    names = ("orderId", "origClientOrderId", "newClientOrderId")
    if is_replace:
        names = ("cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId")
    symbol = read_symbol(params, feed)
    restriction = params.text("cancelRestrictions")
    if restriction not in (None, "ONLY_NEW", "ONLY_PARTIALLY_FILLED"):
        mandatory("cancelRestrictions")
    order_id, client_order_id = params.integer(names[0]), params.text(names[1])
    if order_id is None and client_order_id is None:
        mandatory(names[0])
    return Cancel(symbol, order_id, client_order_id, params.client_id(names[2]), restriction)


def find(desk: Desk, cancel: Cancel, unknown: tuple[int, str]) -> Order:
    """The order that is meant; the two ids must agree if both are given."""
    try:
        order = desk.find(cancel.order_id, cancel.client_order_id, cancel.symbol)
    except RejectedError:
        raise ApiError(400, *unknown) from None
    if cancel.client_order_id not in (None, order.client_order_id):
        raise ApiError(400, -2039, "Client order ID is not correct for this order ID.")
    return order


def read(params: Params, feed: SyntheticFeed, desk: Desk) -> Entry:
    """A new order that passes every filter."""
    instrument = feed.instruments[read_symbol(params, feed)]
    side = BID if params.choice("side", ("BUY", "SELL"), -1117, "side") == "BUY" else ASK
    kinds = ("LIMIT", "LIMIT_MAKER", "MARKET")
    kind = params.choice("type", kinds, -1116, "orderType")
    time_in_force = "GTC"
    if kind == "LIMIT":
        times = ("GTC", "IOC", "FOK")
        time_in_force = params.choice("timeInForce", times, -1115, "timeInForce")
    else:
        params.unwanted("timeInForce")
    if kind == "MARKET":
        params.unwanted("price")
    price_ticks, qty_lots = order_amounts(params, instrument, has_price=kind != "MARKET")
    if kind == "MARKET" and not qty_lots:
        qty_lots = _quantity_for(params, desk, instrument, side)
    _check_filters(desk, instrument, side, price_ticks, qty_lots)
    modes = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
    self_trade = SELF_TRADE_DEFAULT
    if "selfTradePreventionMode" in params:
        what = "selfTradePreventionMode"
        self_trade = params.choice(what, modes, -1013, what)
    response = "ACK" if kind == "LIMIT_MAKER" else "FULL"
    if "newOrderRespType" in params:
        answers = ("ACK", "RESULT", "FULL")
        response = params.choice("newOrderRespType", answers, -1102, "newOrderRespType")
    client_order_id = params.client_id("newClientOrderId") or ""
    wanted = Wanted(
        instrument,
        client_order_id,
        side,
        kind,
        time_in_force,
        price_ticks,
        qty_lots,
        kind == "LIMIT_MAKER",
        self_trade,
    )
    return Entry(wanted, response)


def _quantity_for(params: Params, desk: Desk, instrument: VenueInstrument, side: int) -> int:
    """How much a market order of so much quote gets, in whole steps."""
    if "quoteOrderQty" not in params:
        mandatory("quantity")
    left = params.scaled("quoteOrderQty", "NOTIONAL", 8)
    found = 0
    scale = 10**instrument.price_decimals
    for price_ticks, lots in desk.market(instrument.venue_symbol).preview(side, LOTS_MAX):
        lots_here = min(lots, left * scale // price_ticks)
        found += lots_here
        left -= quote_lots(instrument, price_ticks, lots_here)
        if lots_here < lots:
            break
    step = instrument.qty_step_lots
    return found // step * step


def _check_filters(
    desk: Desk, instrument: VenueInstrument, side: int, price_ticks: int, qty_lots: int
) -> None:
    """The filters in the order exchangeInfo lists them."""
    symbol = instrument.venue_symbol
    market = desk.market(symbol)
    best = market.preview(side, 1) or market.preview(-side, 1)
    market_ticks = best[0][0] if best else price_ticks
    if price_ticks > MAX_PRICE * 10**instrument.price_decimals:
        filter_failure("PRICE_FILTER")
    if not qty_lots or qty_lots > MAX_QTY * LOTS_PER_UNIT:
        filter_failure("LOT_SIZE")
    if not price_ticks and qty_lots > read_lots(MAX_MARKET_QTY):
        filter_failure("MARKET_LOT_SIZE")
    if price_ticks:
        too_high = price_ticks > market_ticks * PRICE_FACTOR
        if too_high or price_ticks * PRICE_FACTOR < market_ticks:
            filter_failure("PERCENT_PRICE_BY_SIDE")
    notional = quote_lots(instrument, price_ticks or market_ticks, qty_lots)
    notional_filter(instrument, notional, MIN_NOTIONAL)
    if len(desk.open_orders(symbol)) >= MAX_NUM_ORDERS:
        filter_failure("MAX_NUM_ORDERS")
