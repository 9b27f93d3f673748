"""The health service, grpc.health.v1: whether the books can be trusted, for all services alike.

gRPC's own one (grpc_health.v1.health.aio) writes to a watcher while it holds the lock that every
other watcher and every change needs: one client that reads nothing would stop the gateway.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb

from net.gateway.grpc_methods import unary_stream, unary_unary
from net.gateway.hub import Context, RefusedError

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["Health"].full_name


class HealthService:
    """The empty name stands for all `services`."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._is_serving = self._is_retired = False
        self._watchers: set[asyncio.Event] = set()

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The methods of the service."""
        methods = {
            "Check": unary_unary(self._check, pb.HealthCheckRequest.FromString),
            "List": unary_unary(self._list, pb.HealthListRequest.FromString),
            "Watch": unary_stream(self._watch, pb.HealthCheckRequest.FromString),
        }
        return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)

    def set(self, is_serving: bool) -> None:
        """From now on; without effect after `retire`."""
        self._is_serving = is_serving and not self._is_retired
        for watcher in self._watchers:
            watcher.set()

    def retire(self) -> None:
        """Never serving again: the gateway ends."""
        self._is_retired = True
        self.set(False)

    def _answer(self, service: str) -> pb.HealthCheckResponse:
        kinds = pb.HealthCheckResponse
        if service not in self._services:
            return kinds(status=kinds.SERVICE_UNKNOWN)
        return kinds(status=kinds.SERVING if self._is_serving else kinds.NOT_SERVING)

    async def _check(self, request: pb.HealthCheckRequest, _context: Context) -> bytes:
        if request.service not in self._services:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, "there is no service of this name")
        wire: bytes = self._answer(request.service).SerializeToString()
        return wire

    async def _list(self, _request: pb.HealthListRequest, _context: Context) -> bytes:
        statuses = {each: self._answer(each) for each in self._services}
        wire: bytes = pb.HealthListResponse(statuses=statuses).SerializeToString()
        return wire

    async def _watch(self, request: pb.HealthCheckRequest, context: Context) -> None:
        changed, said = asyncio.Event(), None
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                answer = self._answer(request.service)
                if answer != said:
                    said = answer
                    await context.write(answer.SerializeToString())
                await changed.wait()
        finally:
            self._watchers.discard(changed)
