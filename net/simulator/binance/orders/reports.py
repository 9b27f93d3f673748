"""What Binance says about orders: results of requests, and the events of the user data stream.

Fields and their order are the published ones (the misspelling `cummulativeQuoteQty` is real).
Runs on: none (pure).
"""

from __future__ import annotations

from net.simulator.market import BID
from net.simulator.options import LOTS_PER_UNIT, InstrumentText
from net.simulator.orders.accounts import FEE_SCALE, Account, Execution, Order
from net.simulator.orders.amounts import lots_text
from net.simulator.orders.desk import Report

NONE = "0.00000000"
EXPIRY = {
    "IOC": "UNFILLED_IOC_QUANTITY_EXPIRED",
    "FOK": "UNFILLED_FOK_ORDER_EXPIRED",
    "GTC": "INSUFFICIENT_LIQUIDITY",  # a market order that used the book up
}
Json = dict[str, object]


def side_text(side: int) -> str:
    """BUY or SELL."""
    return "BUY" if side == BID else "SELL"


def price_text(order: Order) -> str:
    """An order's price; a market order's is zero."""
    return InstrumentText(order.instrument).price(order.price_ticks)


def _state(order: Order) -> Json:
    return {
        "price": price_text(order),
        "origQty": lots_text(order.qty_lots),
        "executedQty": lots_text(order.filled_lots),
        "origQuoteOrderQty": NONE,
        "cummulativeQuoteQty": lots_text(order.filled_quote_lots),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.kind,
        "side": side_text(order.side),
    }


def placed(order: Order, response: str, unit_ns: int) -> Json:
    """The result of order.place: ACK, RESULT or FULL."""
    time = order.created_ns // unit_ns
    out: Json = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "transactTime": time,
    }
    if response == "ACK":
        return out
    out |= _state(order) | {"workingTime": time, "selfTradePreventionMode": order.self_trade}
    if response == "FULL":
        out["fills"] = [_fill(order, each) for each in order.executions]
    return out


def _fill(order: Order, execution: Execution) -> Json:
    return {
        "price": InstrumentText(order.instrument).price(execution.price_ticks),
        "qty": lots_text(execution.qty_lots),
        "commission": lots_text(execution.fee_lots),
        "commissionAsset": execution.fee_asset,
        "tradeId": execution.trade_id,
    }


def canceled(order: Order, cancel_id: str, unit_ns: int) -> Json:
    """The result of a cancel; `clientOrderId` is the cancel's."""
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_order_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": cancel_id,
        "transactTime": order.updated_ns // unit_ns,
        **_state(order),
        "selfTradePreventionMode": order.self_trade,
    }


def status(order: Order, unit_ns: int) -> Json:
    """The result of order.status, and one row of openOrders.status."""
    time = order.created_ns // unit_ns
    state = _state(order)
    quote = state.pop("origQuoteOrderQty")
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        **state,
        "stopPrice": NONE,
        "icebergQty": NONE,
        "time": time,
        "updateTime": order.updated_ns // unit_ns,
        "isWorking": True,
        "workingTime": time,
        "origQuoteOrderQty": quote,
        "selfTradePreventionMode": order.self_trade,
    }


def amended(order: Order, report_id: int, unit_ns: int) -> Json:
    """The result of order.amend.keepPriority."""
    return {
        "transactTime": order.updated_ns // unit_ns,
        "executionId": report_id,
        "amendedOrder": {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "origClientOrderId": order.client_order_id,
            "clientOrderId": order.client_order_id,
            "price": price_text(order),
            "qty": lots_text(order.qty_lots),
            "executedQty": lots_text(order.filled_lots),
            "preventedQty": lots_text(order.prevented_lots),
            "quoteOrderQty": NONE,
            "cumulativeQuoteQty": lots_text(order.filled_quote_lots),
            "status": order.status,
            "timeInForce": order.time_in_force,
            "type": order.kind,
            "side": side_text(order.side),
            "workingTime": order.created_ns // unit_ns,
            "selfTradePreventionMode": order.self_trade,
        },
    }


def trade(order: Order, execution: Execution, unit_ns: int) -> Json:
    """One row of myTrades."""
    return {
        "symbol": execution.symbol,
        "id": execution.trade_id,
        "orderId": execution.order_id,
        "orderListId": -1,
        "price": InstrumentText(order.instrument).price(execution.price_ticks),
        "qty": lots_text(execution.qty_lots),
        "quoteQty": lots_text(execution.quote_lots),
        "commission": lots_text(execution.fee_lots),
        "commissionAsset": execution.fee_asset,
        "time": execution.time_ns // unit_ns,
        "isBuyer": execution.side == BID,
        "isMaker": execution.is_maker,
        "isBestMatch": True,
    }


def account_status(account: Account, omit_zero: bool, now: int) -> Json:
    """The result of account.status."""
    rate_lots = LOTS_PER_UNIT // FEE_SCALE
    maker, taker = (lots_text(fee * rate_lots) for fee in (account.maker_fee, account.taker_fee))
    return {
        "makerCommission": account.maker_fee // 100,
        "takerCommission": account.taker_fee // 100,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "commissionRates": {"maker": maker, "taker": taker, "buyer": NONE, "seller": NONE},
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now,
        "accountType": "SPOT",
        "balances": [
            {
                "asset": asset,
                "free": lots_text(balance.free_lots),
                "locked": lots_text(balance.locked_lots),
            }
            for asset, balance in account.balances.items()
            if not omit_zero or balance.free_lots or balance.locked_lots
        ],
        "permissions": ["SPOT"],
        "uid": account.user_id,
    }


def commission(account: Account, symbol: str) -> Json:
    """The result of account.commission."""
    rate_lots = LOTS_PER_UNIT // FEE_SCALE
    maker, taker = (lots_text(fee * rate_lots) for fee in (account.maker_fee, account.taker_fee))
    none = dict.fromkeys(("maker", "taker", "buyer", "seller"), NONE)
    return {
        "symbol": symbol,
        "standardCommission": none | {"maker": maker, "taker": taker},
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": bool(account.fee_asset),
            "enabledForSymbol": True,
            "discountAsset": account.fee_asset or "BNB",
            "discount": "1.00000000",
        },
    }


def execution_report(report: Report, report_id: int, unit_ns: int) -> Json:
    """An executionReport event; `c` is the cancel's own id on a cancel, `C` then the order's."""
    order, execution = report.order, report.execution
    time = report.time_ns // unit_ns
    created = order.created_ns // unit_ns
    is_cancel = report.what == "CANCELED"
    out: Json = {
        "e": "executionReport",
        "E": time,
        "s": order.symbol,
        "c": report.request_id if is_cancel else order.client_order_id,
        "S": side_text(order.side),
        "o": order.kind,
        "f": order.time_in_force,
        "q": lots_text(order.qty_lots),
        "p": price_text(order),
        "P": NONE,
        "F": NONE,
        "g": -1,
        "C": order.client_order_id if is_cancel else "",
        "x": report.what,
        "X": order.status,
        "r": "NONE",
        "i": order.order_id,
        "l": lots_text(execution.qty_lots if execution else 0),
        "z": lots_text(order.filled_lots),
        "L": InstrumentText(order.instrument).price(execution.price_ticks if execution else 0),
        "n": lots_text(execution.fee_lots if execution else 0),
        "N": execution.fee_asset if execution else None,
        "T": time,
        "t": execution.trade_id if execution else -1,
        "I": report_id,
        "w": order.is_open and order.kind != "MARKET",
        "m": execution.is_maker if execution else False,
        "M": execution is not None,
        "O": created,
        "Z": lots_text(order.filled_quote_lots),
        "Y": lots_text(execution.quote_lots if execution else 0),
        "Q": NONE,
        "W": created,
        "V": order.self_trade,
    }
    if report.what == "TRADE_PREVENTION":
        out |= {"A": lots_text(order.prevented_lots), "B": lots_text(order.prevented_lots)}
    if report.what == "EXPIRED":
        out["eR"] = EXPIRY[order.time_in_force]
    return out


def account_position(account: Account, order: Order, now_ns: int, unit_ns: int) -> Json:
    """An outboundAccountPosition event: the assets an order may have changed."""
    time = now_ns // unit_ns
    assets = [order.instrument.base, order.instrument.quote]
    if account.fee_asset:
        assets.append(account.fee_asset)
    return {
        "e": "outboundAccountPosition",
        "E": time,
        "u": time,
        "B": [
            {
                "a": asset,
                "f": lots_text(account.balance(asset).free_lots),
                "l": lots_text(account.balance(asset).locked_lots),
            }
            for asset in assets
        ],
    }
