"""A service's methods: what a path stands for, and how its requests are read.

What they write is already encoded, once for everybody.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from net.gateway.call import Call
from net.gateway.status import RefusedError, Status


@dataclass(frozen=True)
class Method:
    """One method. `serve` is given the request, or nothing where `parse` is None and it reads its
    requests itself; it returns the one answer, or None where it has written all of them.
    """

    serve: Callable[..., Awaitable[bytes | None]]
    parse: Callable[[bytes], Any] | None
    needs_token: bool = True

    async def run(self, call: Call, raw: bytes) -> bytes | None:
        """Serve a call; RefusedError."""
        if self.parse is None:
            return await self.serve(call)
        try:
            request = self.parse(raw)
        except DecodeError:
            text = f"the request of {len(raw)} bytes is not a message of this method"
            raise RefusedError(Status.INVALID_ARGUMENT, text) from None
        return await self.serve(request, call)


Methods = dict[str, Method]
"""By path: `/package.Service/Method`."""


def service_methods(service: Any, methods: Mapping[str, Method]) -> Methods:
    """All methods of a service, given its descriptor."""
    assert set(methods) == set(service.methods_by_name), "every method of the .proto, no other"
    return {f"/{service.full_name}/{name}": method for name, method in methods.items()}
