"""The reflection service, grpc.reflection v1 and v1alpha: what can be called here, and its files.

The two versions have the same messages under two names.
https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
Runs on: the gateway's event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2 as pb

import proto
from net.gateway.call import Call
from net.gateway.methods import Method, Methods
from net.gateway.status import RefusedError, Status

ALPHA = pb.DESCRIPTOR.services_by_name["ServerReflection"].full_name
STABLE = ALPHA.replace("v1alpha", "v1")
METHOD = "ServerReflectionInfo"
DESCRIBED = Path(proto.__file__).parent / "descriptors.binpb"
"""Our interfaces with their comments (proto/generate.py)."""


def reflection_methods(services: Sequence[str]) -> Methods:
    """The methods of both services; `services` are told beside them."""
    reflection = _Reflection((*services, ALPHA, STABLE))
    method = Method(reflection.serve, None)
    return {f"/{name}/{METHOD}": method for name in (ALPHA, STABLE)}


class _Reflection:
    def __init__(self, services: Sequence[str]) -> None:
        self._services = sorted(services)
        self._pool = _pool_with_v1()
        described = descriptor_pb2.FileDescriptorSet.FromString(DESCRIBED.read_bytes())
        self._described = {file.name: file.SerializeToString() for file in described.file}

    async def serve(self, call: Call) -> None:
        while (raw := await call.next_request()) is not None:
            try:
                request = pb.ServerReflectionRequest.FromString(raw)
            except DecodeError:
                raise RefusedError(Status.INVALID_ARGUMENT, "no reflection request") from None
            await call.write(self._answer(request).SerializeToString())

    def _answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        answer = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
        kind = request.WhichOneof("message_request")
        try:
            if kind == "list_services":
                for name in self._services:
                    answer.list_services_response.service.add(name=name)
            elif kind == "file_by_filename":
                self._add_files(answer, self._pool.FindFileByName(request.file_by_filename))
            elif kind == "file_containing_symbol":
                symbol = request.file_containing_symbol
                self._add_files(answer, self._pool.FindFileContainingSymbol(symbol))
            elif kind == "file_containing_extension":
                found = request.file_containing_extension
                message = self._pool.FindMessageTypeByName(found.containing_type)
                extension: Any = self._pool.FindExtensionByNumber(message, found.extension_number)
                self._add_files(answer, extension.file)
            elif kind == "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                message = self._pool.FindMessageTypeByName(name)
                numbers = [each.number for each in self._pool.FindAllExtensions(message)]
                answer.all_extension_numbers_response.base_type_name = message.full_name
                answer.all_extension_numbers_response.extension_number.extend(numbers)
            else:
                answer.error_response.error_code = Status.INVALID_ARGUMENT
                answer.error_response.error_message = "the request asks for nothing known"
        except KeyError:
            answer.error_response.error_code = Status.NOT_FOUND
            answer.error_response.error_message = "there is none of this name"
        return answer

    def _add_files(self, answer: pb.ServerReflectionResponse, file: FileDescriptor) -> None:
        """A file and all that it needs, each once, itself first; ours with their comments."""
        pending, seen = [file], {file.name}
        while pending:
            each = pending.pop(0)
            raw = self._described.get(each.name, each.serialized_pb)
            answer.file_descriptor_response.file_descriptor_proto.append(raw)
            for other in each.dependencies:
                if other.name not in seen:
                    seen.add(other.name)
                    pending.append(other)


def _pool_with_v1() -> descriptor_pool.DescriptorPool:
    """The process's pool, with v1's file made of v1alpha's."""
    pool: descriptor_pool.DescriptorPool = descriptor_pool.Default()
    try:
        pool.FindFileContainingSymbol(STABLE)
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto()
        pb.DESCRIPTOR.CopyToProto(file)
        # The package stands in every name, and nothing else of the file contains it.
        text = text_format.MessageToString(file).replace("v1alpha", "v1")
        renamed = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
        pool.AddSerializedFile(renamed.SerializeToString())
    return pool
