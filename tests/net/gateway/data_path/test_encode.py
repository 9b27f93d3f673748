"""The compiled encoders against net.gateway.book_messages, and the doubles against fractions."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.jit import kernel
from engine.layout import layout as L
from engine.sharing.handoff import HandoffWriter, InstrumentInfo
from net.gateway.book_messages import (
    Form,
    Snapshot,
    book_form,
    read_snapshot,
    summary_form,
    venue_status_form,
)
from net.gateway.counters import GatewayCounters
from net.gateway.data_path import layout as D
from net.gateway.data_path.encode import quotient_bits
from proto import orderbook_pb2
from proto.pollux.v1 import market_data_pb2 as pb
from tests.net.gateway.data_path.rig import Rig

pytestmark = pytest.mark.kernel

INT64_MAX = 2**63 - 1


@kernel("int64(int64, int64)")
def bits_of(number: int, divisor: int) -> int:
    return quotient_bits(number, divisor)


def double(number: int, divisor: int) -> float:
    value: float = struct.unpack("<d", struct.pack("<q", bits_of(number, divisor)))[0]
    return value


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.integers(-INT64_MAX, INT64_MAX),
        st.integers(2**53 - 3, 2**53 + 70),
        st.builds(lambda power, less: 2**power - less, st.integers(50, 62), st.integers(-3, 3)),
    ),
    st.integers(0, L.DECIMALS_MAX),
)
def test_a_quotient_is_the_double_nearest_to_it(number: int, decimals: int) -> None:
    assert double(number, 10**decimals) == float(Fraction(number, 10**decimals))


def test_ties_go_to_the_even_double() -> None:
    for number in (2**53 + 1, 2**53 + 3, 2**54 + 2, 2**54 + 6, 2**62 + 2**9, INT64_MAX):
        assert double(number, 1) == float(number)
        assert double(-number, 1) == float(-number)


def forms(rig: Rig, index: int) -> dict[int, tuple[Form, Any]]:
    """Each form of an instrument as Python writes it, and its message's type."""
    info, counters = rig.engine.instruments[index], GatewayCounters()
    found: dict[int, tuple[Form, Any]] = {
        D.SUMMARY: (summary_form(info, counters), orderbook_pb2.Summary),
        D.STATUS: (venue_status_form(info, counters), pb.VenueStatusUpdate),
    }
    for depth in range(1, info.depth + 1):
        found[D.BOOK + depth - 1] = (book_form(info, depth, counters), pb.Book)
    return found


def newest(rig: Rig, index: int) -> Snapshot:
    slot = rig.path.slot(index)
    assert slot is not None
    return read_snapshot(slot, rig.engine.instruments[index])


def content(rig: Rig, index: int, kind: int) -> int:
    at = int(rig.path.words[D.FORMS_AT]) + (index * D.FORMS_EACH + kind) * D.FORM_WORDS
    return int(rig.path.words[at + D.FORM_CONTENT])


def publish_random(rig: Rig, index: int, chance: random.Random) -> None:
    """A book of anything that a slot can hold."""
    info = rig.engine.instruments[index]
    words, at = rig.engine.writer.words, HandoffWriter.ring_at(index)
    sides = []
    for _ in "ab":
        wide = chance.choice((10, 10**6, 2**40, 2**60))
        count, venues = chance.randrange(info.depth + 1), len(info.venues)
        sides.append(
            [
                (chance.randrange(-wide, wide), chance.randrange(wide), chance.randrange(venues))
                for _ in range(count)
            ]
        )
    sequence = rig.engine.publish(
        *sides,
        instrument=index,
        states=[chance.randrange(6) for _ in info.venues],
        flags=[chance.randrange(2) for _ in info.venues],
    )
    slot = at + L.RING_SLOTS_AT + (sequence % L.RING_SLOTS) * L.SLOT_WORDS
    words[slot + L.SLOT_TICK_MANTISSA] = chance.choice((1, 1, 5, 25))
    if max((abs(t) for side in sides for t, _, _ in side), default=0) > 2**58:
        words[slot + L.SLOT_TICK_MANTISSA] = 1
    words[slot + L.SLOT_TICK_DECIMALS] = chance.randrange(L.DECIMALS_MAX + 1)
    words[slot + L.SLOT_LOT_DECIMALS] = chance.randrange(L.DECIMALS_MAX + 1)
    words[slot + L.SLOT_TRIGGER_VENUE] = chance.choice((-1, 0, len(info.venues) - 1, 99))
    for time_at in (L.SLOT_PUBLISH_NS, L.SLOT_RECEIVE_NS, L.SLOT_VENUE_NS):
        words[slot + time_at] = chance.choice((0, chance.randrange(2**62)))


@pytest.mark.parametrize("seed", range(12))
def test_every_form_says_what_python_says(rig: Rig, seed: int) -> None:
    chance, seen = random.Random(seed), 0
    for _ in range(6):
        for index in range(2):
            publish_random(rig, index, chance)
            book = newest(rig, index)
            for kind, (form, message_type) in forms(rig, index).items():
                wire = rig.path.message(index, kind)
                expected = form.message(book).wire
                assert message_type.FromString(wire) == message_type.FromString(expected), kind
                seen += 1
    assert seen == 6 * (12 + 7)


def test_equal_contents_have_one_hash_and_others_another(rig: Rig) -> None:
    """Over random books: equal where and only where Python's contents are equal."""
    chance = random.Random(7)
    known: dict[tuple[int, bytes], int] = {}
    for _ in range(20):
        publish_random(rig, 1, chance)
        for repeated in range(2):
            if repeated:  # the same once more, at another time
                words, at = rig.engine.writer.words, HandoffWriter.ring_at(1)
                sequence = int(words[at + L.RING_SEQUENCE])
                before = at + L.RING_SLOTS_AT + (sequence % L.RING_SLOTS) * L.SLOT_WORDS
                old = words[before : before + L.SLOT_WORDS].copy()
                rig.engine.publish(instrument=1)
                after = at + L.RING_SLOTS_AT + ((sequence + 1) % L.RING_SLOTS) * L.SLOT_WORDS
                words[after + L.SLOT_FLAGS : after + L.SLOT_WORDS] = old[L.SLOT_FLAGS :]
            book = newest(rig, 1)
            for kind, (form, _) in forms(rig, 1).items():
                rig.path.message(1, kind)
                key = (kind, form.message(book).content)
                assert known.setdefault(key, content(rig, 1, kind)) == content(rig, 1, kind)
    by_kind: dict[int, set[int]] = {}
    for (kind, _), value in known.items():
        by_kind.setdefault(kind, set()).add(value)
    for kind, values in by_kind.items():
        assert len(values) == sum(key[0] == kind for key in known), "two contents, one hash"


def test_the_largest_book_fits() -> None:
    longest = "x" * L.VENUE_NAME_BYTES_MAX
    info = InstrumentInfo("S" * L.SYMBOL_BYTES_MAX, (longest,) * L.VENUES_MAX, L.DEPTH_MAX, 1, 8)
    rig = Rig(D.Sizes(1, 4, 2), instruments=(info,))
    try:
        side = [(-(2**62) - i, INT64_MAX - i, 7) for i in range(L.DEPTH_MAX)]
        rig.engine.publish(side, side, states=[5] * L.VENUES_MAX, flags=[1] * L.VENUES_MAX)
        for kind in (D.SUMMARY, D.STATUS, D.BOOK + L.DEPTH_MAX - 1):
            wire = rig.path.message(0, kind)
            assert wire is not None and len(wire) + 5 <= D.MESSAGE_BYTES_MAX
        assert wire is not None and len(pb.Book.FromString(wire).asks) == L.DEPTH_MAX
    finally:
        rig.close()
