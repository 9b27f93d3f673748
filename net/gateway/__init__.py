"""The gRPC gateway: reads the engine's handoff and streams the merged books to subscribers."""

from net.gateway.options import GatewayCounters, GatewayError, GatewayOptions
from net.gateway.server import run_gateway

__all__ = ["GatewayCounters", "GatewayError", "GatewayOptions", "run_gateway"]
