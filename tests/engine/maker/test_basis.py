"""A book that is crossed between two currencies has a basis, and is told from one that is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.maker import fair_codes
from engine.maker import quote_layout as Q
from engine.maker.fair import FairSpec
from tests.engine.maker.test_fair import Book, compute

SPEC = FairSpec((1000, 1000), crossed_ppm_max=1_000, currencies=(0, 1))
MIXED = Book(bids=((100_200, 5, 0), (100_000, 5, 1)), asks=((100_010, 5, 1), (100_210, 5, 0)))
"""Venue 0 is 20 bps above venue 1."""


def test_between_currencies_it_is_the_basis_and_its_size_is_there() -> None:
    words = SPEC.words()
    assert compute(MIXED, words)[0] == fair_codes.BASIS
    assert words[Q.FAIR_CROSSED_PPM] == int(190 / 100_105 * Q.PPM)
    assert fair_codes.TEXTS[fair_codes.BASIS] != fair_codes.TEXTS[fair_codes.CROSSED]


@pytest.mark.parametrize("currencies", [(), (0, 0), (1, 1)])
def test_within_one_currency_it_is_a_crossed_book(currencies: tuple[int, ...]) -> None:
    words = replace(SPEC, currencies=currencies).words()
    assert compute(MIXED, words)[0] == fair_codes.CROSSED


def test_a_venue_that_is_crossed_with_itself_has_no_basis() -> None:
    own = Book(bids=((100_200, 5, 0), (100_000, 5, 1)), asks=((100_010, 5, 0), (100_210, 5, 1)))
    assert compute(own, SPEC.words())[0] == fair_codes.CROSSED


def test_a_small_basis_leaves_a_price_and_a_spread_is_below_zero() -> None:
    words = replace(SPEC, crossed_ppm_max=3_000).words()
    assert compute(MIXED, words)[0] == fair_codes.AVAILABLE
    apart = Book(bids=((100_000, 5, 1),), asks=((100_100, 5, 0),))
    assert compute(apart, words)[0] == fair_codes.AVAILABLE
    assert words[Q.FAIR_CROSSED_PPM] == -1_000


def test_without_a_weight_a_venue_has_no_part_in_it() -> None:
    assert compute(MIXED, replace(SPEC, weights_mille=(0, 1000)).words())[0] == fair_codes.AVAILABLE
