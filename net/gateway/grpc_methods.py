"""How a coroutine becomes a gRPC method: refusals become status codes, bytes stay the same bytes.

The handlers have no response serializer: what they write is already encoded, once for everybody.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from net.gateway.hub import Context, RefusedError

Request = TypeVar("Request")
Answer = TypeVar("Answer")


def _refusing(
    method: Callable[[Request, Context], Awaitable[Answer]], parse: Callable[[bytes], Request]
) -> Callable[[bytes, Context], Awaitable[Answer]]:
    """The method as gRPC calls it; gRPC's own parsing would answer nonsense with INTERNAL."""

    async def call(raw: bytes, context: Context) -> Answer:
        try:
            return await method(_parsed(raw, parse), context)
        except RefusedError as refused:
            await context.abort(refused.code, refused.text)
            raise AssertionError("abort returned") from refused

    return call


def _parsed(raw: bytes, parse: Callable[[bytes], Request]) -> Request:
    try:
        return parse(raw)
    except DecodeError:
        text = f"the request of {len(raw)} bytes is not a message of this method"
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, text) from None


def unary_stream(
    method: Callable[[Request, Context], Awaitable[None]], parse: Callable[[bytes], Request]
) -> grpc.RpcMethodHandler[Any, Any]:
    """A method that writes encoded messages to its context."""
    return grpc.unary_stream_rpc_method_handler(_refusing(method, parse))


def unary_unary(
    method: Callable[[Request, Context], Awaitable[bytes]], parse: Callable[[bytes], Request]
) -> grpc.RpcMethodHandler[Any, Any]:
    """A method that returns one encoded message."""
    return grpc.unary_unary_rpc_method_handler(_refusing(method, parse))
