"""A venue that takes every order at once: answers Binance's WebSocket API, and looks at nothing.

Only so much that order entry opens (a rich account, no fee), and that each of its orders is
acknowledged.
Runs on: a worker process of the harness, off the engine's CPU.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import orjson
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from bench.load.frames import SYMBOL
from bench.rig.host import pin
from bench.rig.workers import Handler, Message
from tuning.clock import wall_ns


def _placed(name: str) -> dict[str, Any]:
    now_ms = wall_ns() // 1_000_000
    return {"symbol": SYMBOL, "orderId": 1, "clientOrderId": name, "transactTime": now_ms}


def _canceled(name: str) -> dict[str, Any]:
    return _placed("cancel") | {
        "origClientOrderId": name,
        "executedQty": "0.00000000",
        "status": "CANCELED",
    }


def _no_fees() -> dict[str, str]:
    return dict.fromkeys(("maker", "taker", "buyer", "seller"), "0.00000000")


def _balance(asset: str, free: str) -> dict[str, str]:
    return {"asset": asset, "free": free, "locked": "0.00000000"}


ANSWERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "time": lambda _: {"serverTime": wall_ns() // 1_000_000},
    "openOrders.status": lambda _: [],
    "myTrades": lambda _: [],
    "account.status": lambda _: {
        "commissionRates": _no_fees(),
        "balances": [_balance("BTC", "1000.00000000"), _balance("USDT", "100000000.00000000")],
    },
    "account.commission": lambda given: {
        "symbol": given["symbol"],
        "standardCommission": _no_fees(),
        "specialCommission": _no_fees(),
        "taxCommission": _no_fees(),
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "1.00000000",
        },
    },
    "order.place": lambda given: _placed(given["newClientOrderId"]),
    "order.cancel": lambda given: _canceled(given["origClientOrderId"]),
    "order.cancelReplace": lambda given: {
        "cancelResult": "SUCCESS",
        "newOrderResult": "SUCCESS",
        "cancelResponse": _canceled(given["cancelOrigClientOrderId"]),
        "newOrderResponse": _placed(given["newClientOrderId"]),
    },
}


class _Listener(WSListener):  # type: ignore[misc]
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        asked = orjson.loads(frame.get_payload_as_bytes())
        build = ANSWERS.get(asked["method"])
        answer = build(asked.get("params", {})) if build is not None else {}
        result = {"id": asked["id"], "status": 200, "result": answer}
        transport.send(WSMsgType.TEXT, orjson.dumps(result))


def _listener(_request: WSUpgradeRequest) -> _Listener:
    return _Listener()


class Venue:
    """The server on a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._is_ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        assert self._is_ready.wait(10), "the venue did not start"

    async def _serve(self) -> None:
        server = await ws_create_server(_listener, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await server.serve_forever()


def handlers() -> dict[str, Handler]:
    """`start`, once; it ends with the process."""

    def start(request: Message) -> Message:
        pin(*request["cpus"])
        return {"port": Venue().port}

    return {"start": start}
