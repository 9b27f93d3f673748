"""The plain service: orderbook.OrderbookAggregator, the default instrument as doubles.

Runs on: the gateway's event loop.
"""

from __future__ import annotations

from net.gateway.call import Call
from net.gateway.data_path import layout as D
from net.gateway.hub import Hub
from net.gateway.methods import Method, Methods, service_methods
from proto import orderbook_pb2

SERVICE = orderbook_pb2.DESCRIPTOR.services_by_name["OrderbookAggregator"]
SERVICE_NAME = SERVICE.full_name


def orderbook_methods(hub: Hub) -> Methods:
    """The methods of the service over this hub."""
    default = hub.instruments[0]

    async def book_summary(_request: orderbook_pb2.Empty, call: Call) -> None:
        await hub.stream(call, [(default, D.SUMMARY)], f"{default.info.symbol}, summary")

    methods = {"BookSummary": Method(book_summary, orderbook_pb2.Empty.FromString)}
    return service_methods(SERVICE, methods)
