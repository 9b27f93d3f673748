"""How a coroutine becomes a gRPC method: refusals become status codes, bytes stay the same bytes.

The handlers have no response serializer: what they write is already encoded, once for everybody.
Runs on: the gateway's event loop. Called by: the two services.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio

from net.gateway.hub import Context, RefusedError

Request = TypeVar("Request")
Answer = TypeVar("Answer")


def _refusing(
    method: Callable[[Request, Context], Awaitable[Answer]],
) -> Callable[[Request, Context], Awaitable[Answer]]:
    async def call(request: Request, context: Context) -> Answer:
        try:
            return await method(request, context)
        except RefusedError as refused:
            await context.abort(refused.code, refused.text)
            raise AssertionError("abort returned") from refused

    return call


def unary_stream(
    method: Callable[[Request, Context], Awaitable[None]], parse: Callable[[bytes], Request]
) -> grpc.RpcMethodHandler[Any, Any]:
    """A method that writes encoded messages to its context."""
    return grpc.unary_stream_rpc_method_handler(_refusing(method), request_deserializer=parse)


def unary_unary(
    method: Callable[[Request, Context], Awaitable[bytes]], parse: Callable[[bytes], Request]
) -> grpc.RpcMethodHandler[Any, Any]:
    """A method that returns one encoded message."""
    return grpc.unary_unary_rpc_method_handler(_refusing(method), request_deserializer=parse)
