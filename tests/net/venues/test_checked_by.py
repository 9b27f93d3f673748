"""How a venue's book is known to be right, in words: one text for each venue, made of its facts."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.book.rules import SNAPSHOT_EACH, BookRules
from engine.decoding.schema import FIELD_CHECKSUM
from engine.layout import layout as L
from net.config.schema import parse_config
from net.feed.specs import instrument_specs
from net.venues import registry
from net.venues.checked_by import checked_by
from net.venues.registry import VENUES
from tests.net.rig import Desk
from tests.net.venues.toy import Toy

README = Path(registry.__file__).with_name("README.md")
HEADER = "| venue | checked by |"
PERIOD_S = 77
"""No venue's own."""


def told_by(venue: Any, **facts: object) -> str:
    """What is said of a venue with other facts."""
    changed = copy.copy(venue)
    for name, value in facts.items():
        setattr(changed, name, value)
    return checked_by(changed)


def with_checksum(rules: BookRules, *, is_optional: bool) -> BookRules:
    """The same rules, whose checksum may be missing, or not."""
    keys = tuple(
        replace(key, is_optional=is_optional) if key.field == FIELD_CHECKSUM else key
        for key in rules.frame.keys
    )
    return replace(rules, frame=replace(rules.frame, keys=keys))


@pytest.mark.parametrize("name", VENUES)
def test_every_venue_says_something_that_fits_where_readers_look(name: str) -> None:
    text = checked_by(VENUES[name])
    assert text and text.isprintable()
    assert len(text.encode()) <= L.CHECKED_BY_BYTES_MAX
    assert len(told_by(VENUES[name], audit_interval_s=10**6).encode()) <= L.CHECKED_BY_BYTES_MAX


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("binance", "sequence of each frame, audit every 600 s"),
        ("bitstamp", "times only, audit every 180 s"),
        ("kraken", "CRC32 of each frame"),
        ("okx", "sequence of each frame, CRC32 where sent, audit every 180 s"),
        ("bybit", "sequence of each frame"),
        ("coinbase", "sequence of the connection"),
        ("gemini", "no gap detection, whole book anew every 600 s"),
    ],
)
def test_each_kind_of_check_has_its_words(name: str, text: str) -> None:
    assert checked_by(VENUES[name]) == text


def test_the_words_follow_the_facts_and_not_the_name() -> None:
    assert checked_by(Toy()) == "sequence of each frame"
    kraken, okx, gemini = VENUES["kraken"], VENUES["okx"], VENUES["gemini"]
    rules = with_checksum(kraken.rules, is_optional=True)
    assert told_by(kraken, rules=rules) == "CRC32 where sent"
    rules = with_checksum(okx.rules, is_optional=False)
    assert "CRC32 of each frame" in told_by(okx, rules=rules)
    rules = replace(gemini.rules, source=SNAPSHOT_EACH)
    assert "whole book in each frame" in told_by(gemini, rules=rules)
    assert told_by(okx, rules=gemini.rules) == "no gap detection, whole book anew every 180 s"


@pytest.mark.parametrize("name", VENUES)
def test_a_book_whose_stream_shows_no_gap_says_so(name: str) -> None:
    rules, text = VENUES[name].rules, checked_by(VENUES[name])
    is_said = text.startswith(("times only, ", "no gap detection, "))
    assert is_said is not rules.is_self_checking
    assert ("sequence" in text) is rules.has_gap_detection


@pytest.mark.parametrize("name", VENUES)
def test_another_interval_of_audits_is_another_text(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the way to what the engine is given to describe."""
    toml = '[[instrument]]\nsymbol = "X"\n[[instrument.venue]]\n'
    config = parse_config(f'{toml}name = "{name}"\nsymbol = "Y"\n', "test")

    def told() -> str:
        (spec,) = instrument_specs(config, {(name, "Y"): "0.01"})
        assert (spec.venues, len(spec.checked_by)) == ((name,), 1)
        return spec.checked_by[0]

    before = told()
    period = f"every {VENUES[name].audit_interval_s} s"
    monkeypatch.setattr(VENUES[name], "audit_interval_s", PERIOD_S, raising=False)
    assert told() == before.replace(period, f"every {PERIOD_S} s")
    rules = VENUES[name].rules
    is_audited = rules.snapshot is not None or not rules.is_self_checking
    assert (told() != before) is is_audited


def test_whoever_reads_the_engines_memory_is_told_in_the_order_of_the_venues() -> None:
    desk = Desk(("bitstamp", "binance"))
    (info,) = desk.reader.instruments
    assert info.venues == desk.names
    assert info.checked_by == tuple(checked_by(VENUES[name]) for name in desk.names)
    assert len(set(info.checked_by)) == len(desk.names)


def test_the_readme_says_of_every_venue_what_the_program_says() -> None:
    lines = iter(README.read_text(encoding="utf-8").splitlines())
    assert any(line.startswith(HEADER) for line in lines)
    assert next(lines).startswith("|---|---|")
    told: dict[str, str] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        names, text, *_ = (part.strip() for part in line.strip("|").split("|"))
        told.update(dict.fromkeys(names.split(", "), text))
    assert told == {name: checked_by(venue) for name, venue in VENUES.items()}
