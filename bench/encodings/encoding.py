"""The forms a message may have between the edge and its consumers: what each step of the path does.

    edge     the venue's JSON -> the form that is handed on (text: nothing is done)
    ring     into a slot of shared memory and out again
    decode   the form -> numbers that the consumer can use
    use      three integers, the same for every form

A name that ends in "compiled" decodes and uses in a kernel, the others in Python. At the edge
protobuf and records read the venue's text by the same reader, so what differs is the form.
Runs on: the harness's main thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bench.rig.ring import Ring
from engine.compiling.atomics import address_of

Answer = tuple[int, int, int]
"""What a consumer makes of a message."""
UNITS_PER_TICK = 10**6
"""A tick is 0.01."""


class Form(ABC):
    """One form of one message: a step of the path each, over payloads of its own kind."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.ring = Ring()
        self.bytes = self.messages = 0
        """Handed on since the start."""

    @abstractmethod
    def encode(self, raw: bytes) -> Any:
        """At the edge, once: what is handed on."""

    def pass_on(self, payload: Any) -> Any:
        """Through the ring: the consumer's copy of bytes."""
        row, size = self.ring.pass_on(address_of(payload), len(payload))
        self.count(size)
        return self.ring.taken.views[row][:size]

    def count(self, size: int) -> None:
        self.bytes += size
        self.messages += 1

    @abstractmethod
    def decode(self, taken: Any) -> Any:
        """At each consumer: numbers."""

    @abstractmethod
    def use(self, decoded: Any) -> Answer:
        """At each consumer."""


class TextForm(Form):
    """The venue's text as it came."""

    def encode(self, raw: bytes) -> bytes:
        return raw


class RecordForm(Form):
    """A record's row is its payload: (address, bytes); the consumer's copy is a row too."""

    def pass_on(self, payload: tuple[int, int]) -> int:
        row, size = self.ring.pass_on(*payload)
        self.count(size)
        return row


def message_class(name: str, numbers: Sequence[str], lists: Sequence[str] = ()) -> Any:
    """A protobuf message of int64 fields, made at run time by the library's compiled parser."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"bench_{name}.proto", package="pollux.bench", syntax="proto3"
    )
    message = file.message_type.add(name=name)
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, field in enumerate((*numbers, *lists), 1):
        label = kinds.LABEL_REPEATED if field in lists else kinds.LABEL_OPTIONAL
        message.field.add(name=field, number=number, type=kinds.TYPE_INT64, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"pollux.bench.{name}"))


def units(text: str) -> int:
    """A decimal of eight fraction digits, as the venue writes all of them, in units of 1e-8."""
    return int(text[:-9] + text[-8:])
