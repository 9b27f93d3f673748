"""The health service, grpc.health.v1: whether the books can be trusted, for all services alike.

Probes need no token, and learn nothing but whether there is a service.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from grpc_health.v1 import health_pb2 as pb

from net.gateway.call import Call
from net.gateway.methods import Method, Methods, service_methods
from net.gateway.status import RefusedError, Status

SERVICE = pb.DESCRIPTOR.services_by_name["Health"]
SERVICE_NAME = SERVICE.full_name


class HealthService:
    """The empty name stands for all `services`."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._is_serving = self._is_retired = False
        self._watchers: set[asyncio.Event] = set()

    def methods(self) -> Methods:
        """The methods of the service."""
        methods = {
            "Check": Method(self._check, pb.HealthCheckRequest.FromString, needs_token=False),
            "List": Method(self._list, pb.HealthListRequest.FromString, needs_token=False),
            "Watch": Method(self._watch, pb.HealthCheckRequest.FromString, needs_token=False),
        }
        return service_methods(SERVICE, methods)

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

    async def _check(self, request: pb.HealthCheckRequest, _call: Call) -> bytes:
        if request.service not in self._services:
            raise RefusedError(Status.NOT_FOUND, "there is no service of this name")
        wire: bytes = self._answer(request.service).SerializeToString()
        return wire

    async def _list(self, _request: pb.HealthListRequest, _call: Call) -> bytes:
        statuses = {each: self._answer(each) for each in self._services}
        wire: bytes = pb.HealthListResponse(statuses=statuses).SerializeToString()
        return wire

    async def _watch(self, request: pb.HealthCheckRequest, call: Call) -> None:
        changed, said = asyncio.Event(), None
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                answer = self._answer(request.service)
                if answer != said:
                    said = answer
                    await call.write(answer.SerializeToString())
                await changed.wait()
        finally:
            self._watchers.discard(changed)
