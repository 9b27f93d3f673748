"""The plain service: orderbook.OrderbookAggregator, the default instrument as doubles.

Runs on: the gateway's event loop.
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from net.gateway.grpc_methods import unary_stream
from net.gateway.hub import Context, Cursor, Hub
from proto import orderbook_pb2

SERVICE_NAME = orderbook_pb2.DESCRIPTOR.services_by_name["OrderbookAggregator"].full_name


def orderbook_handlers(hub: Hub) -> grpc.GenericRpcHandler[Any, Any]:
    """The methods of the service over this hub."""
    default = hub.instruments[0]

    async def book_summary(_request: orderbook_pb2.Empty, context: Context) -> None:
        await hub.stream(
            context, [Cursor(default, default.summary)], f"{default.info.symbol}, summary"
        )

    return grpc.method_handlers_generic_handler(
        SERVICE_NAME,
        {"BookSummary": unary_stream(book_summary, orderbook_pb2.Empty.FromString)},
    )
