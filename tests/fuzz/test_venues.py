"""A few thousand mutants of each venue's messages; `make fuzz-venues` makes a million of each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.layout import status as S
from net.venues.registry import VENUES
from tests.fuzz.schema_reader import NoBookError, read
from tests.fuzz.target import FuzzError
from tests.fuzz.venue_frames import SAMPLES
from tests.fuzz.venues import REST, SCHEMAS, STREAM, TAKEN, Staged, StreamTarget, fuzz, target_of

INPUTS = 128 if JIT_OFF or BOUNDS_CHECKED else 4096
JUDGED_SHARE_LEAST = 8
KRAKEN = SAMPLES["kraken"].frames[0]

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]


@pytest.mark.parametrize(("name", "kind"), SCHEMAS)
def test_mutants_are_refused_or_read_as_another_reader_does(name: str, kind: str) -> None:
    target = fuzz(name, kind, 1, INPUTS)
    assert target.answers.total() >= INPUTS and target.judged > INPUTS / JUDGED_SHARE_LEAST
    assert any(target.answers[status] for status in TAKEN)
    assert any(status <= S.BAD_JSON for status in target.answers)


@pytest.mark.parametrize(("name", "kind"), SCHEMAS)
def test_the_samples_are_books_as_they_are(name: str, kind: str) -> None:
    target = target_of(name, kind)
    statuses = [target.judge(raw, raw, 0) for raw in target.messages]
    assert statuses[0] in TAKEN, S.TEXTS[statuses[0]]


def test_every_form_of_message_is_among_them() -> None:
    fuzzed = {(VENUES[name].rules, kind) for name, kind in SCHEMAS}
    forms = {(venue.rules, STREAM) for venue in VENUES.values()}
    forms |= {(venue.rules, REST) for venue in VENUES.values() if venue.rules.snapshot is not None}
    assert fuzzed == forms


# --- each of these must be caught, or the silence above means nothing ----------------------------


@pytest.mark.parametrize(
    "lie",
    [
        lambda said: replace(said, asks=[(price, qty + 1) for price, qty in said.asks]),
        lambda said: replace(said, bids=said.asks, asks=said.bids),
        lambda said: replace(said, time_ns=said.time_ns + 1),
        lambda said: replace(said, checksum=7),
    ],
)
def test_what_was_not_in_the_frame_is_caught(lie: object) -> None:
    class Lying(StreamTarget):
        def staged(self) -> Staged:
            assert callable(lie)
            found = lie(super().staged())
            assert isinstance(found, Staged)
            return found

    with pytest.raises(FuzzError, match="read as"):
        Lying("kraken").judge(KRAKEN, KRAKEN, 0)


@pytest.mark.parametrize("status", [S.OTHER, S.UNKNOWN_SYMBOL, *S.REFUSALS])
def test_a_book_that_is_refused_without_reason_is_caught(status: int) -> None:
    class Refusing(StreamTarget):
        def answer(self, raw: bytes, before: bytes, number: int) -> tuple[int, None]:
            return status, None

    with pytest.raises(FuzzError):
        Refusing("kraken").judge(KRAKEN, KRAKEN, 0)


@pytest.mark.parametrize("qty", [b"0e99999999999999999999", b"0E400", b"0.00e-400"])
def test_a_number_beyond_a_double_is_judged_too(qty: bytes) -> None:
    target = StreamTarget("kraken")
    assert target.judge(KRAKEN.replace(b"0.00000000", qty), KRAKEN, 1) == S.BUFFER
    assert target.judged == 1


# --- the other reader, by examples ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"update"', b'"updates"'), (b'"book"', b'"books"'), (b'"qty":0.00000000', b'"x":0'),
        (b'"bids":[]', b'"bids":{}'), (b'"bids":[],', b""), (b'"bids":[]', b'"bids":[],"bids":[]'),
        (b"3713844912", b'"3713844912"'), (b"3713844912", b"3713844912.5"),
        (b"3713844912", b"4294967296"), (b"08-09T", b"02-30T"), (b":05.77", b":60.77"),
        (b'"data":[', b'"bids":[],"data":['), (b"}]}", b"},{}]}"), (b"64785.7", b'"64785.7"'),
    ],
)  # fmt: skip
def test_the_other_reader_takes_no_message_of_another_form(old: bytes, new: bytes) -> None:
    form = VENUES["kraken"].rules.frame
    assert read(KRAKEN, form).symbol == "BTC/USD"
    spoiled = KRAKEN.replace(old, new) if old != b"}]}" else KRAKEN[:-3] + new
    assert spoiled != KRAKEN
    with pytest.raises(NoBookError):
        read(spoiled, form)
