"""A few thousand mutants of each venue's frames; `make fuzz-venues` makes a million of each."""

from __future__ import annotations

import pytest

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.layout import status as S
from net.venues.registry import VENUES
from tests.fuzz.target import FuzzError
from tests.fuzz.venue_frames import SAMPLES
from tests.fuzz.venues import TAKEN, VenueTarget, fuzz

INPUTS = 128 if JIT_OFF or BOUNDS_CHECKED else 4096

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]


@pytest.mark.parametrize("name", SAMPLES)
def test_mutants_are_refused_or_read_as_another_reader_does(name: str) -> None:
    target = fuzz(name, 1, INPUTS)
    assert sum(target.answers.values()) >= INPUTS
    assert any(target.answers[status] for status in TAKEN)
    assert any(status <= S.BAD_JSON for status in target.answers)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_books_as_they_are(name: str) -> None:
    target = VenueTarget(name)
    statuses = [target.judge(raw, raw, 0) for raw in SAMPLES[name].frames]
    assert statuses[0] in TAKEN, S.TEXTS[statuses[0]]


def test_every_form_of_frame_is_among_them() -> None:
    forms = {venue.rules for name, venue in VENUES.items() if name in SAMPLES}
    others = {venue.rules for venue in VENUES.values() if venue.orders is None}
    assert others <= forms


def test_a_level_that_was_not_in_the_frame_is_caught() -> None:
    class Lying(VenueTarget):
        def _staged(self) -> object:
            bids, asks = super()._staged()
            return bids, [(price, qty + 1) for price, qty in asks]

    raw = SAMPLES["kraken"].frames[0]
    with pytest.raises(FuzzError, match="other levels"):
        Lying("kraken").judge(raw, raw, 0)
