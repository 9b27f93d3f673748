"""What the tests of order entry share: keys, markets, and the examples of the venues' pages."""

from __future__ import annotations

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from net.orders.messages import CLIENT_ID, Market
from net.orders.signing import Ed25519Signer, HmacSigner
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.bitstamp.orders.credentials import BitstampKeys

BTCUSDT = Market("BTCUSDT", "BTC", "USDT", "0.01", "0.00001")
ETHBTC = Market("ETHBTC", "ETH", "BTC", "0.0000001", "0.0001")
BTCUSD = Market("btcusd", "BTC", "USD", "1", "0.00000001")
ETHUSDT = Market("ethusdt", "ETH", "USDT", "0.01", "0.000001")

ED25519 = BinanceKeys("key" * 20, Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes(32))))
HMAC = BinanceKeys(
    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    HmacSigner(b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"),
)
BITSTAMP = BitstampKeys("api_key", HmacSigner(b"api_key_secret"))
NONCE = "f93c979d-b00d-43a9-9b9c-fd4cd9547fa6"
NOW_MS = 1_700_000_000_000

client_ids = st.from_regex(CLIENT_ID, fullmatch=True)
request_ids = st.integers(0, 2**63 - 1)
timestamps = st.integers(10**12, 10**13 - 1)
nonces = st.uuids().map(str)
price_ticks = st.integers(1, 2**62) | st.integers(1, 10**7)
steps = st.integers(1, 10**5) | st.integers(1, 10**12)

# --- Binance -------------------------------------------------------------------------------------

ANSWER_FULL = b"""{"id":"e2a8","status":200,"result":
{"symbol":"BTCUSDT","orderId":12569099453,"orderListId":-1,"clientOrderId":"mm-1",
 "transactTime":1660801715793,"price":"23416.10000000","origQty":"0.00847000",
 "executedQty":"0.00847000","origQuoteOrderQty":"0.000000","cummulativeQuoteQty":"198.33521500",
 "status":"FILLED","timeInForce":"GTC","type":"LIMIT","side":"SELL","workingTime":1660801715793,
 "selfTradePreventionMode":"NONE","fills":[{"price":"23416.10000000","qty":"0.00635000",
 "commission":"0.000000","commissionAsset":"BNB","tradeId":1650422481}]},
 "rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,
 "limit":6000,"count":70}]}"""
ANSWER_ACK = b"""{"id":7,"status":200,"result":{"symbol":"BTCUSDT","orderId":9,"orderListId":-1,
 "clientOrderId":"mm-1","transactTime":1660801715793}}"""
ANSWER_REFUSED = b"""{"id":"e2a8","status":400,"error":{"code":-2010,
 "msg":"Account has insufficient balance for requested action."},"rateLimits":[]}"""
ANSWER_LIMITED = b"""{"id":3,"status":429,"error":{"code":-1003,"msg":"Too much request weight",
 "data":{"serverTime":1660801715000,"retryAfter":1660801716500}}}"""
ANSWER_LOGON = b"""{"id":"1","status":200,"result":{"apiKey":"...",
 "authorizedSince":1649729878532,"connectedSince":1649729873021,"returnRateLimits":false,
 "serverTime":1649729878630,"userDataStream":false}}"""
ANSWER_CANCELED = b"""{"id":4,"status":200,"result":{"symbol":"BTCUSDT","origClientOrderId":"mm-1",
 "orderId":9,"orderListId":-1,"clientOrderId":"cancel-77","transactTime":1684804350068,
 "price":"23416.10000000","origQty":"0.00847000","executedQty":"0.00100000",
 "origQuoteOrderQty":"0.000000","cummulativeQuoteQty":"23.4161","status":"CANCELED",
 "timeInForce":"GTC","type":"LIMIT_MAKER","side":"SELL","selfTradePreventionMode":"NONE"}}"""
ANSWER_STATUS = b"""{"id":5,"status":200,"result":{"symbol":"BTCUSDT","orderId":9,
 "orderListId":-1,"clientOrderId":"mm-1","price":"23416.10000000","origQty":"0.00847000",
 "executedQty":"0.00847000","cummulativeQuoteQty":"198.33521500","status":"FILLED",
 "timeInForce":"GTC","type":"LIMIT","side":"SELL","time":1660801715639,
 "updateTime":1660801717945,"isWorking":true}}"""
ANSWER_TRADES = b"""{"id":6,"status":200,"result":[{"symbol":"BTCUSDT","id":1650422481,
 "orderId":12569099453,"orderListId":-1,"price":"23416.10000000","qty":"0.00635000",
 "quoteQty":"148.69223500","commission":"0.00000001","commissionAsset":"BNB",
 "time":1660801715793,"isBuyer":false,"isMaker":true,"isBestMatch":true}]}"""
ANSWER_ACCOUNT = b"""{"id":8,"status":200,"result":{"balances":[
 {"asset":"BTC","free":"1.00000000","locked":"0.50000000"},
 {"asset":"SHIBX","free":"123456789012345678.00000000","locked":"0"},
 {"asset":"USDT","free":"1021.21000000","locked":"0.00000000"}],"canTrade":true}}"""
ANSWER_AMENDED = b"""{"id":9,"status":200,"result":{"transactTime":1741926410255,"executionId":75,
 "amendedOrder":{"symbol":"BTCUSDT","orderId":33,"orderListId":-1,"origClientOrderId":"mm-1",
 "clientOrderId":"mm-1","price":"6.00000000","qty":"5.00000000","executedQty":"0.00000000",
 "preventedQty":"0.00000000","quoteOrderQty":"0.00000000","cumulativeQuoteQty":"0.00000000",
 "status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"SELL"}}}"""
REPORT_TRADE = b"""{"subscriptionId":0,"event":{"e":"executionReport","E":1499405658658,
 "s":"ETHBTC","c":"mm-1","S":"BUY","o":"LIMIT_MAKER","f":"GTC","q":"1.00000000","p":"0.10264410",
 "P":"0.00000000","F":"0.00000000","g":-1,"C":"","x":"TRADE","X":"PARTIALLY_FILLED","r":"NONE",
 "i":4293153,"l":"0.40000000","z":"0.40000000","L":"0.10264410","n":"0.00000004","N":"BNB",
 "T":1499405658657,"t":77,"I":8641984,"w":true,"m":true,"M":true,"O":1499405650000,
 "Z":"0.04105764","Y":"0.04105764","Q":"0.00000000","W":1499405650000,"V":"EXPIRE_MAKER"}}"""
ACCOUNT_POSITION = b"""{"subscriptionId":0,"event":{"e":"outboundAccountPosition",
 "E":1564034571105,"u":1564034571073,"B":[{"a":"ETH","f":"10000.000000","l":"0.000000"}]}}"""
SHUTDOWN = b'{"event":{"e":"serverShutdown","E":1770123456789}}'
SUBSCRIBED = b'{"id":"2","status":200,"result":{"subscriptionId":0}}'

BINANCE_MESSAGES = [
    ANSWER_FULL, ANSWER_ACK, ANSWER_REFUSED, ANSWER_LIMITED, ANSWER_LOGON, ANSWER_CANCELED,
    ANSWER_STATUS, ANSWER_TRADES, ANSWER_ACCOUNT, ANSWER_AMENDED, REPORT_TRADE, ACCOUNT_POSITION,
    SHUTDOWN, SUBSCRIBED,
]  # fmt: skip

# --- Bitstamp ------------------------------------------------------------------------------------

MY_ORDER = b"""{"data":{"id":"2050558851342339","id_str":"2050558851342339","order_type":0,
 "order_subtype":2,"datetime":"1789459694","microtimestamp":"1789459694223000","amount":0.005,
 "amount_str":"0.005000","amount_traded":"0","amount_at_create":"0.005000","price":999999999,
 "price_str":"999999999.00","is_liquidation":false,"trade_account_id":0},
 "channel":"private-my_orders_ethusdt-4416057","event":"order_created","trade_account_id":0,
 "event_id":"00065b81-0d69-fe98-0000-006902000020",
 "pre_event_id":"00065b81-0d68-6088-0000-006901000020","order_source":"orderbook"}"""
MY_TRADE = b"""{"data":{"id":635698396,"amount":"0.005000","price":"2468.04",
 "microtimestamp":"1789459694223000","fee":"0.04936","order_id":"2050558851342339",
 "trade_account_id":0,"side":"buy"},"channel":"private-my_trades_ethusdt-4416057",
 "event":"trade","trade_account_id":0}"""
BTS_SUBSCRIBED = b"""{"event":"bts:subscription_succeeded",
 "channel":"private-my_orders_btcusd-1","data":{}}"""
BTS_RECONNECT = b'{"event":"bts:request_reconnect","channel":"","data":""}'
BTS_ERROR = b"""{"event":"bts:error","channel":"",
 "data":{"code":null,"message":"Bad subscription string."}}"""
BTS_HEARTBEAT = b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}'
BITSTAMP_FRAMES = [MY_ORDER, MY_TRADE, BTS_SUBSCRIBED, BTS_RECONNECT, BTS_ERROR, BTS_HEARTBEAT]

PLACED = b"""{"id":"1458532827766784","market":"BTC/USD","datetime":"2022-01-31 14:43:15.796000",
 "type":"0","price":"2211","amount":"0.05000000","client_order_id":"mm-1"}"""
CANCELED = b"""{"id":1458532827766784,"amount":0.02035278,"price":2100,"type":0,
 "market":"BTC/USD","status":"Canceled"}"""
CANCELED_ALL = b"""{"canceled":[{"id":1458532827766784,"amount":0.02035278,"price":2100.0,
 "type":0,"market":"BTC/USD"}],"success":true}"""
REPLACED = b"""{"order_id":1458532827766785,"orig_order_id":1458532827766784,"status":"Open"}"""
OPEN_ORDERS = b"""[{"id":"1458532827766784","datetime":"2022-01-31 14:43:15","type":"1",
 "price":"2211.00","amount":"0.03000000","amount_at_create":"0.05000000","market":"BTC/USD",
 "client_order_id":"mm-1"}]"""
ORDER_STATUS = b"""{"id":1458532827766784,"datetime":"2022-01-31 14:43:15","type":"0",
 "status":"Open","market":"BTC/USD","amount_remaining":"0.03000000","client_order_id":"mm-1",
 "transactions":[{"tid":216000477,"price":"2211.00","btc":"0.02000000","usd":"44.22",
 "fee":"0.110551","datetime":"2022-01-31 14:43:15.796000","type":2}]}"""
TRANSACTIONS = b"""[{"id":216000477,"datetime":"2022-01-31 14:43:15.796000","type":"2",
 "fee":"0.110551000001","order_id":1458532827766784,"btc":"-0.02000000","usd":44.22,
 "btc_usd":2211.00,"self_trade":false},
 {"id":5,"datetime":"2022-01-31 14:00:00","type":"0","fee":"0","btc":"1","usd":"0"}]"""
BALANCES = b"""[{"currency":"usd","total":"100.00","available":"90.00","reserved":"10.00"},
 {"currency":"pepe","total":"9e30","available":"9e30","reserved":"0"}]"""
TOKEN = b'{"token":"abc","valid_sec":60,"user_id":1}'
NOT_FOUND = b"""{"status":"error","reason":"Order not found","response_code":"404.002",
 "response_explanation":"Order not found for corresponding request."}"""
TOO_SMALL = b"""{"status":"error","reason":{"__all__":["Minimum order size is 10.0 USD."]},
 "response_code":"400.020"}"""
BAD_NONCE = b'{"status":"error","reason":"Invalid nonce","code":"API0004"}'
BARE_ERROR = b'{"error":"Order not found"}'
FIELD_ERROR = b'{"code":"API0017","message":"X-Auth-Timestamp out of boundaries","field":"x"}'
TIMED_OUT = b"""{"status":"error","reason":"Your request timed out before order confirmation.",
 "response_code":"500.016","order_id":"77"}"""
BITSTAMP_BODIES = [
    PLACED, CANCELED, CANCELED_ALL, REPLACED, OPEN_ORDERS, ORDER_STATUS, TRANSACTIONS, BALANCES,
    TOKEN, NOT_FOUND, TOO_SMALL, BAD_NONCE, BARE_ERROR, FIELD_ERROR, TIMED_OUT,
]  # fmt: skip


def halves(status: int, code: int, cancel: object, new: object, results: tuple[str, str]) -> bytes:
    """An answer to cancelReplace."""
    data = {
        "cancelResult": results[0],
        "newOrderResult": results[1],
        "cancelResponse": cancel,
        "newOrderResponse": new,
    }
    if status == 200:
        return orjson.dumps({"id": 1, "status": 200, "result": data})
    error = {"code": code, "msg": "Order cancel-replace failed.", "data": data}
    return orjson.dumps({"id": 1, "status": status, "error": error})
