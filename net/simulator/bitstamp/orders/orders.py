"""Bitstamp's REST API v2 for orders and the account.

Not simulated: rate limits (but for the fault), daily and GTD orders, sub-accounts, stop orders, the
ten-second cache of open_orders. Two orders of the account that meet
trade with each other, as no prevention is documented. A maker-or-cancel order that would take is
refused in the answer; the documents leave it open.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import orjson
from aiohttp import web

from net.simulator.bitstamp.orders.private_channels import PrivateChannels
from net.simulator.bitstamp.orders.requests import (
    Form,
    Gate,
    RefusalError,
    market_name,
    not_found,
    refuse,
    refuse_all,
    server_signature,
)
from net.simulator.bitstamp.orders.transactions import datetime_text, transfer_row
from net.simulator.clock import NS_PER_MS, NS_PER_S, SimulatorClock, monotonic_s
from net.simulator.connection import CANCEL, CHANGE, PLACE, SIGNED, Interceptor
from net.simulator.market import ASK, BID
from net.simulator.options import LOT_DECIMALS, InstrumentText, SimulatorOptions, VenueInstrument
from net.simulator.orders import desk as words
from net.simulator.orders.accounts import (
    CANCELED,
    COMPLETE,
    EXPIRED,
    FEE_SCALE,
    FILLED,
    NEW,
    PARTLY,
    PREVENTED,
    Account,
    ApiKey,
    Execution,
    Order,
    Transfer,
    api_keys,
)
from net.simulator.orders.amounts import LOTS_MAX, lots_text, quote_lots, read_lots
from net.simulator.orders.desk import Desk, RejectedError, Wanted
from net.simulator.source import Message
from net.simulator.synthetic import SyntheticFeed

MINIMUM_ORDER = "10"
CLIENT_ID_LENGTH_MAX = 180
PRICE_BAND_PERCENT = 20
TRANSACTIONS_DEFAULT, TRANSACTIONS_MAX = 100, 1000
OFFSET_MAX = 200_000
UNANSWERED_S = 120.0  # a lost answer is not missed before a client gives up
CONTENT_TYPE = "application/json"
MOC = "MOC"
STATUS = {
    NEW: "Open",
    PARTLY: "Open",
    FILLED: "Finished",
    CANCELED: "Canceled",
    EXPIRED: "Canceled",
    PREVENTED: "Canceled",
}
Json = dict[str, object]


class Call(NamedTuple):
    """One request: the groups of its path, its form, and the time."""

    parts: tuple[str, ...]
    form: Form
    now_ns: int


class BitstampOrders:
    """The order side of one simulated venue."""

    def __init__(
        self,
        feed: SyntheticFeed,
        clock: SimulatorClock,
        options: SimulatorOptions,
        *,
        interceptor: Interceptor,
        publish: Callable[[list[Message]], None],
    ) -> None:
        self.account = Account(options.trading, fee_in_quote=True)
        self.desk = Desk(feed, self.account, are_client_ids_unique=False)
        self._feed = feed
        self._clock = clock
        self._gate = Gate(api_keys(options.trading))
        self._interceptor = interceptor
        self._publish = publish
        self.private = PrivateChannels(
            self.account.user_id,
            publish,
            self._interceptor,
            chains_by_market=options.trading.chains_by_market,
        )
        self.desk.listeners.append(self.private.on_report)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Every signed POST."""
        body = (await request.read()).decode("utf-8", "replace")
        now_ns = self._clock.now_ns()
        skew = self._interceptor.spoils("bitstamp", SIGNED)
        skew_ms = int(skew[1]) if skew is not None else 0
        try:
            key = self._gate.authenticate(request, body, now_ns // NS_PER_MS + skew_ms)
        except RefusalError as error:
            return web.json_response(error.body, status=error.status)
        found = next(
            ((m, each) for each in ROUTES if (m := each.path.fullmatch(request.path))), None
        )
        if found is None:
            return web.Response(status=404, text="Not Found")
        matched, route = found
        self._publish(self._feed.poll(now_ns))
        try:
            result = route.method(self, Call(matched.groups(), Form(body), now_ns))
        except RefusalError as error:
            return _answer(key, request, error.body, error.status)
        spoilt = self._interceptor.spoils("bitstamp", CHANGE) if route.is_change else None
        if spoilt is not None and spoilt[0] == "ack-lost":
            await asyncio.sleep(UNANSWERED_S)
        if spoilt is not None and request.transport is not None:
            request.transport.abort()
        return _answer(key, request, result, 200)

    # -- placing -------------------------------------------------------------------------------

    def _place(self, call: Call) -> Json:
        side_text, kind, pair = call.parts
        instrument = self._instrument(pair)
        form = call.form
        side = BID if side_text == "buy" else ASK
        flags = [name for name in ("ioc_order", "fok_order", "moc_order") if form.flag(name)]
        if len(flags) > 1:
            refuse_all("400.024", "Only one of the order flags can be set.")
        if len(form.text("client_order_id")) > CLIENT_ID_LENGTH_MAX:
            refuse("400.001", {"client_order_id": ["Too long."]})  # chosen
        is_limit = not kind
        price_ticks = form.amount("price", instrument.price_decimals) if is_limit else 0
        qty_lots = form.amount("amount", LOT_DECIMALS)
        if kind == "instant/" and side == BID:
            qty_lots = self._quantity_for(instrument, qty_lots)
        time_in_force = {"ioc_order": "IOC", "fok_order": "FOK"}.get("".join(flags), "GTC")
        is_post_only = flags == ["moc_order"]
        wanted = Wanted(
            instrument,
            form.text("client_order_id"),
            side,
            "MARKET" if not is_limit else MOC if is_post_only else "LIMIT",
            time_in_force,
            price_ticks,
            qty_lots,
            is_post_only,
        )
        self._check(wanted)
        self._may_place()
        order = self._placed(wanted, call.now_ns)
        shown = order.price_ticks
        if not shown and order.executions:
            shown = order.executions[-1].price_ticks
        out: Json = {
            "id": str(order.order_id),
            "market": market_name(instrument),
            "datetime": datetime_text(order.created_ns),
            "type": str(int(order.side != BID)),
            "price": InstrumentText(instrument).price(shown),
            "amount": lots_text(order.qty_lots),
        }
        return out | _client_id(order)

    def _instrument(self, pair: str) -> VenueInstrument:
        instrument = self._feed.instruments.get(pair)
        if instrument is None:
            refuse("404.001", "Market not found")  # chosen
        return instrument

    def _quantity_for(self, instrument: VenueInstrument, left: int) -> int:
        """How much so much counter currency buys."""
        found, scale = 0, 10**instrument.price_decimals
        for price_ticks, lots in self.desk.market(instrument.venue_symbol).preview(BID, LOTS_MAX):
            lots_here = min(lots, left * scale // price_ticks)
            found += lots_here
            left -= quote_lots(instrument, price_ticks, lots_here)
            if lots_here < lots:
                break
        return max(1, found)

    def _check(self, wanted: Wanted) -> None:
        """Minimum size and price band."""
        made, side = wanted.instrument, wanted.side
        market = self.desk.market(made.venue_symbol)
        best = market.preview(side, 1) or market.preview(-side, 1)
        market_ticks = best[0][0] if best else wanted.price_ticks
        price_ticks = wanted.price_ticks or market_ticks
        if quote_lots(made, price_ticks, wanted.qty_lots) < read_lots(MINIMUM_ORDER):
            refuse_all("400.020", f"Minimum order size is {MINIMUM_ORDER}.0 {made.quote}.")
        if abs(price_ticks - market_ticks) * 100 > market_ticks * PRICE_BAND_PERCENT:
            text = f"Price is more than {PRICE_BAND_PERCENT}% from the market price."
            refuse_all("400.021", text)

    def _may_place(self) -> None:
        if self._interceptor.spoils("bitstamp", PLACE) is not None:
            refuse("400.002", "Request rate limit exceeded.")

    def _placed(self, wanted: Wanted, now_ns: int) -> Order:
        try:
            order = self.desk.place(wanted, now_ns)
        except RejectedError as error:
            if error.reason == words.BALANCE:
                self._refuse_balance(wanted)
            refuse_all("500.017", f"Order rejected: {error.reason}.")
        self._publish(self._feed.taken(order.symbol))
        return order

    def _refuse_balance(self, wanted: Wanted) -> None:
        asset = wanted.instrument.quote if wanted.side == BID else wanted.instrument.base
        free = lots_text(self.account.balance(asset).free_lots)
        text = f"You have only {free} {asset} available. Check your account balance for details."
        refuse_all("400.009", text)

    # -- changing ------------------------------------------------------------------------------

    def _find(self, form: Form, *names: str) -> Order:
        """By number (`names[0]`) or by the client's own id (`names[1]`)."""
        order_id, own_id = form.order_id(names[0]), form.text(names[1])
        if order_id is None and not own_id:
            not_found()
        try:
            return self.desk.find(order_id, own_id)
        except RejectedError:
            not_found()

    def _cancel(self, call: Call) -> Json:
        order = self._find(call.form, "id", "client_order_id")
        if not order.is_open:
            not_found()
        spoilt = self._interceptor.spoils("bitstamp", CANCEL)
        if spoilt is not None and spoilt[0] == "cancel-rejected":
            not_found()
        if spoilt is not None:
            fill = self.desk.cancel_too_late(order, call.now_ns)
            self.desk.settle_later(fill, spoilt[1] / 1_000)
        else:
            self.desk.cancel(order, call.now_ns)
        return _brief(order) | {"status": "Canceled"}

    def _cancel_all(self, call: Call) -> Json:
        pair = call.parts[0]
        orders = self.desk.open_orders(self._instrument(pair).venue_symbol if pair else None)
        for order in orders:
            self.desk.cancel(order, call.now_ns)
        return {"canceled": [_brief(order) for order in orders], "success": True}

    def _replace(self, call: Call) -> Json:
        """All or nothing: what could refuse the new order is asked before the old one goes."""
        form = call.form
        old = self._find(form, "id", "orig_client_order_id")
        if not old.is_open:
            not_found()
        made = old.instrument
        price_ticks = form.amount("price", made.price_decimals)
        qty_lots = form.amount("amount", LOT_DECIMALS)
        wanted = Wanted(
            made,
            form.text("client_order_id"),
            old.side,
            old.kind,
            "GTC",
            price_ticks,
            qty_lots,
        )
        self._check(wanted)
        market = self.desk.market(made.venue_symbol)
        if old.kind == MOC and market.would_take(old.side, price_ticks):
            refuse_all("500.017", f"Order rejected: {words.WOULD_TAKE}.")
        probe = Order(
            0, made, "", old.side, old.kind, "GTC", price_ticks, qty_lots, call.now_ns, "NONE"
        )
        free_lots = self.account.balance(old.spends).free_lots + old.locked_lots
        if self.account.required_lots(probe, qty_lots) > free_lots:
            self._refuse_balance(wanted)
        self._may_place()
        self.private.replacing = old
        try:
            self.desk.cancel(old, call.now_ns)
            new = self._placed(wanted, call.now_ns)
        finally:
            self.private.replacing = None
        return {
            "order_id": str(new.order_id),
            "orig_order_id": str(old.order_id),
            "status": "Open",
        } | _client_id(new)

    # -- asking --------------------------------------------------------------------------------

    def _status(self, call: Call) -> Json:
        order = self._find(call.form, "id", "client_order_id")
        out: Json = {
            "id": str(order.order_id),
            "datetime": datetime_text(order.created_ns),
            "type": str(int(order.side != BID)),
            "status": STATUS[order.status],
            "market": market_name(order.instrument),
            "amount_remaining": lots_text(order.open_lots),
        }
        if not call.form.flag("omit_transactions"):
            out["transactions"] = [_transaction(order, each) for each in order.executions]
        return out | _client_id(order)

    def _open_orders(self, call: Call) -> list[Json]:
        pair = call.parts[0]
        orders = self.desk.open_orders(self._instrument(pair).venue_symbol if pair else None)
        return [
            _brief(order)
            | {
                "datetime": datetime_text(order.created_ns),
                "amount": lots_text(order.open_lots),
                "amount_at_create": lots_text(order.qty_lots),
            }
            | _client_id(order)
            for order in orders
        ]

    def _balances(self, call: Call) -> object:
        asked = call.parts[0]
        rows = [
            {
                "currency": asset.lower(),
                "total": lots_text(balance.free_lots + balance.locked_lots),
                "available": lots_text(balance.free_lots),
                "reserved": lots_text(balance.locked_lots),
            }
            for asset, balance in self.account.balances.items()
            if asked in (None, asset.lower())
        ]
        if asked is None:
            return rows
        return rows[0] if rows else refuse("404.003", "Currency not found")  # chosen

    def _transactions(self, call: Call) -> list[Json]:
        pair, form = call.parts[0], call.form
        offset = form.integer("offset", 0, OFFSET_MAX)
        limit = form.integer("limit", TRANSACTIONS_DEFAULT, TRANSACTIONS_MAX)
        since_id = form.integer("since_id", 0, LOTS_MAX)
        since_s = form.integer("since_timestamp", 0, LOTS_MAX)
        until_s = form.integer("until_timestamp", LOTS_MAX // NS_PER_S, LOTS_MAX)
        found: list[Execution | Transfer] = [
            made
            for made in self.desk.executions.values()
            if made.trade_id >= since_id
            and since_s <= made.time_ns // NS_PER_S <= until_s
            and pair in (None, made.symbol)
        ]
        if pair is None:
            # What is pending or has failed is listed elsewhere.
            found += [each for each in self.account.transfers if each.state == COMPLETE]
            found.sort(key=lambda made: made.time_ns)
        if form.text("sort") != "asc":
            found.reverse()
        trades = Counter(made.trade_id for made in self.desk.executions.values())
        chosen = found[offset : offset + limit]
        return [
            transfer_row(made)
            if isinstance(made, Transfer)
            else self._transaction_row(made, trades[made.trade_id] > 1)
            for made in chosen
        ]

    def _transaction_row(self, made: Execution, is_self_trade: bool) -> Json:
        instrument = self._feed.instruments[made.symbol]
        base, quote = instrument.base.lower(), instrument.quote.lower()
        is_buy = made.side == BID
        return {
            "id": made.trade_id,
            "datetime": datetime_text(made.time_ns),
            "type": "2",
            "order_id": made.order_id,
            "fee": lots_text(made.fee_lots),
            base: ("" if is_buy else "-") + lots_text(made.qty_lots),
            quote: ("-" if is_buy else "") + lots_text(made.quote_lots),
            f"{base}_{quote}": InstrumentText(instrument).price(made.price_ticks),
            "self_trade": is_self_trade,
        }

    def _history(self, call: Call) -> object:
        form = call.form
        pair = form.text("market").replace("/", "").lower()
        if form.text("order_source") != "orderbook":
            refuse("400.001", {"order_source": ["Unknown."]})  # chosen
        symbol = self._instrument(pair).venue_symbol
        return self.private.history_of(symbol, form.text("since_id"), form.text("until_id"))

    def _fees(self, call: Call) -> list[Json]:
        percent = 10**LOT_DECIMALS * 100 // FEE_SCALE
        return [
            {
                "market": pair,
                "fees": {
                    "maker": lots_text(self.account.maker_fee * percent),
                    "taker": lots_text(self.account.taker_fee * percent),
                },
            }
            for pair in self._feed.instruments
        ]

    def _token(self, call: Call) -> Json:
        token = self.private.new_token(monotonic_s())
        return {"token": token, "valid_sec": 60, "user_id": self.account.user_id}


def _answer(key: ApiKey, request: web.Request, value: object, status: int) -> web.Response:
    body = orjson.dumps(value)
    signature = server_signature(key, request, CONTENT_TYPE, body)
    headers = {"X-Server-Auth-Signature": signature}
    return web.Response(body=body, status=status, headers=headers, content_type=CONTENT_TYPE)


def _client_id(order: Order) -> Json:
    """Only where one was set."""
    return {"client_order_id": order.client_order_id} if order.client_order_id else {}


def _brief(order: Order) -> Json:
    return {
        "id": str(order.order_id),
        "amount": lots_text(order.open_lots),
        "price": InstrumentText(order.instrument).price(order.price_ticks),
        "type": str(int(order.side != BID)),
        "market": market_name(order.instrument),
    }


def _transaction(order: Order, made: Execution) -> Json:
    instrument = order.instrument
    return {
        "tid": made.trade_id,
        "price": InstrumentText(instrument).price(made.price_ticks),
        instrument.base.lower(): lots_text(made.qty_lots),
        instrument.quote.lower(): lots_text(made.quote_lots),
        "fee": lots_text(made.fee_lots),
        "datetime": datetime_text(made.time_ns),
        "type": 2,
    }


class Route(NamedTuple):
    """A path and its method; `is_change`: it changes orders."""

    path: re.Pattern[str]
    method: Callable[[BitstampOrders, Call], object]
    is_change: bool = False


def _route(
    path: str, method: Callable[[BitstampOrders, Call], object], *, is_change: bool = False
) -> Route:
    return Route(re.compile(f"/api/v2/{path}/"), method, is_change)


_PAIR = r"(?:/([a-z0-9]+))?"
_O = BitstampOrders
ROUTES = (
    _route(r"(buy|sell)/(market/|instant/)?([a-z0-9]+)", _O._place, is_change=True),
    _route("cancel_order", _O._cancel, is_change=True),
    _route(f"cancel_all_orders{_PAIR}", _O._cancel_all, is_change=True),
    _route("replace_order", _O._replace, is_change=True),
    _route(f"open_orders{_PAIR}", _O._open_orders),
    _route("order_status", _O._status),
    _route(f"account_balances{_PAIR}", _O._balances),
    _route(f"user_transactions{_PAIR}", _O._transactions),
    _route("account_order_data", _O._history),
    _route("fees/trading", _O._fees),
    _route("websockets_token", _O._token),
)
