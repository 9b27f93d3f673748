"""The body of Binance's `/api/v3/exchangeInfo`: rate limits, and each symbol with its filters.

The fields and their order are those of the exchange; the limits of quantities and notional are
round figures of the real ones.
Runs on: none (pure).
"""

from __future__ import annotations

from net.simulator.options import DecimalText, SimulatorOptions, VenueInstrument

MAX_PRICE = 1_000_000  # of BTCUSDT
MAX_QTY = 9_000
MIN_NOTIONAL = "5.00000000"
MAX_NOTIONAL = "9000000.00000000"
MAX_MARKET_QTY = "100.00000000"
MAX_NUM_ORDERS = 200
PRICE_FACTOR = 5  # PERCENT_PRICE_BY_SIDE: up to five times, down to a fifth of the market
SELF_TRADE_DEFAULT = "EXPIRE_MAKER"


def exchange_info(
    instruments: list[VenueInstrument], now_ms: int, options: SimulatorOptions
) -> dict[str, object]:
    """The whole answer."""

    def limit(kind: str, interval: str, count: int, most: int) -> dict[str, object]:
        return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": most}

    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [
            limit("REQUEST_WEIGHT", "MINUTE", 1, options.weight_limit),
            limit("ORDERS", "SECOND", 10, options.trading.orders_10s_max),
            limit("ORDERS", "DAY", 1, options.trading.orders_day_max),
            limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
        ],
        "exchangeFilters": [],
        "symbols": [_symbol(instrument) for instrument in instruments],
    }


def _symbol(instrument: VenueInstrument) -> dict[str, object]:
    modes = ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"]
    return {
        "symbol": instrument.venue_symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(instrument),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": SELF_TRADE_DEFAULT,
        "allowedSelfTradePreventionModes": modes,
    }


def _filters(instrument: VenueInstrument) -> list[dict[str, object]]:
    price = DecimalText(instrument.price_decimals, 8)
    qty = DecimalText(instrument.qty_decimals, 8)
    step = qty(1)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": price(1),
            "maxPrice": price(MAX_PRICE * 10**instrument.price_decimals),
            "tickSize": price(1),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": step,
            "maxQty": qty(MAX_QTY * 10**instrument.qty_decimals),
            "stepSize": step,
        },
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": "0.00000000",
            "maxQty": MAX_MARKET_QTY,
            "stepSize": "0.00000000",
        },
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": 10,
            "maxTrailingAboveDelta": 2000,
            "minTrailingBelowDelta": 10,
            "maxTrailingBelowDelta": 2000,
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "5",
            "askMultiplierDown": "0.2",
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": MIN_NOTIONAL,
            "applyMinToMarket": True,
            "maxNotional": MAX_NOTIONAL,
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MAX_NUM_ORDERS},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
