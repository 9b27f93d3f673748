"""The least a grpc.aio server can do: stream one constant message to whoever subscribes.

The same method, the same wire size as a summary of ten levels a side; no book, no encoding, no
waiting for anything. What the gateway does beyond this is what it costs.
Runs on: a worker process of the harness, pinned to the last CPU.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import grpc.aio

from bench.clients.crowd import METHOD
from bench.rig.host import pin
from bench.rig.workers import Handler, Message
from proto import orderbook_pb2

LEVELS = 10
READY_LIMIT_S = 20.0


def constant_summary() -> bytes:
    """A summary as large as the real ones."""
    summary = orderbook_pb2.Summary(spread=0.01)
    for levels in (summary.bids, summary.asks):
        for number in range(LEVELS):
            levels.add(exchange="example", price=60000.01 + number, amount=1.00000001)
    return summary.SerializeToString()


async def _serve(ready: threading.Event, port: list[int]) -> None:
    message = constant_summary()

    async def stream(request: bytes, context: Any) -> None:
        while True:
            await context.write(message)

    handler = grpc.unary_stream_rpc_method_handler(stream)
    service, _, method = METHOD.strip("/").partition("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port.append(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    ready.set()
    await server.wait_for_termination()


def handlers() -> dict[str, Handler]:
    """`start` serving, tell the `usage` of the CPU; it serves until the process ends."""
    port: list[int] = []

    def start(request: Message) -> Message:
        pin(request["cpu"])
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(_serve(ready, port)), daemon=True).start()
        assert ready.wait(READY_LIMIT_S), "the server did not start"
        return {"port": port[0]}

    def usage(request: Message) -> Message:
        return {"cpu_s": time.process_time()}

    return {"start": start, "usage": usage}
