"""The tables of a feed's states and steps: every state with every combination of facts."""

from __future__ import annotations

import itertools

import pytest

from engine.layout import layout as L
from net.feed.events import WARNING, FeedEvent
from net.feed.sync_rules import (
    TRANSITIONS,
    LiveFacts,
    SnapshotFacts,
    Step,
    live_step,
    snapshot_step,
)

STATES = range(len(L.STATE_NAMES))
SNAPSHOT_CASES = [SnapshotFacts(*bits) for bits in itertools.product((False, True), repeat=5)]
LIVE_CASES = [LiveFacts(*bits) for bits in itertools.product((False, True), repeat=4)]


def test_the_table_has_no_dead_state_and_losing_the_connection_is_always_possible() -> None:
    for state in STATES:
        assert TRANSITIONS[state, FeedEvent.LOST] == L.DISCONNECTED
    reached = {L.DISCONNECTED}
    while True:
        grown = reached | {after for (before, _), after in TRANSITIONS.items() if before in reached}
        if grown == reached:
            break
        reached = grown
    assert reached == set(STATES)
    into_live = {before for (before, _), after in TRANSITIONS.items() if after == L.LIVE}
    assert into_live == {L.SYNCING, L.STALE, L.LIVE}, "only through a join"


def test_a_book_that_is_broken_is_built_anew_from_wherever_there_is_a_stream() -> None:
    broken = {before: after for (before, event), after in TRANSITIONS.items()
              if event is FeedEvent.BROKEN}  # fmt: skip
    assert broken == dict.fromkeys((L.BUFFERING, L.SYNCING, L.LIVE, L.STALE), L.BUFFERING)


@pytest.mark.parametrize("state", STATES, ids=L.STATE_NAMES)
def test_a_snapshot_is_asked_for_only_where_none_is_outstanding_or_held(state: int) -> None:
    for facts in SNAPSHOT_CASES:
        step = snapshot_step(state, facts)
        is_building = state in (L.BUFFERING, L.SYNCING)
        may_ask = facts.can_ask and facts.is_ask_due and not facts.is_asked and not facts.is_held
        assert (step is Step.ASK_FOR_SNAPSHOT) == (is_building and may_ask), facts


@pytest.mark.parametrize("state", STATES, ids=L.STATE_NAMES)
def test_a_held_snapshot_is_joined_or_dropped_but_never_without_a_stream(state: int) -> None:
    for facts in SNAPSHOT_CASES:
        step = snapshot_step(state, facts)
        has_stream = state not in (L.DISCONNECTED, L.CONNECTING)
        is_kept = facts.is_held and has_stream
        assert (step is Step.TRY_TO_JOIN) == (is_kept and not facts.is_held_too_long), facts
        assert (step is Step.DROP_HELD_SNAPSHOT) == (is_kept and facts.is_held_too_long), facts
        assert step in (
            Step.NOTHING, Step.ASK_FOR_SNAPSHOT, Step.TRY_TO_JOIN, Step.DROP_HELD_SNAPSHOT
        )  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=L.STATE_NAMES)
def test_a_shown_book_is_judged_for_silence_first_and_nothing_else_is_judged(state: int) -> None:
    for facts in LIVE_CASES:
        step = live_step(state, facts)
        if state != L.LIVE:
            assert step is Step.NOTHING
        elif facts.is_silent:
            assert step is Step.GO_STALE
            assert (state, FeedEvent.SILENT) in TRANSITIONS
        elif facts.is_late:
            assert step is Step.GO_LATE
            assert (state, FeedEvent.LATE) in TRANSITIONS
        elif facts.is_never_reached:
            assert step is Step.BREAK_OFF
        else:
            assert step is (Step.START_AUDIT if facts.is_audit_due else Step.NOTHING)


def test_what_keeps_a_book_away_is_a_warning_and_no_two_events_look_alike() -> None:
    assert all(each.level == WARNING for each in FeedEvent if each.keeps_book_away)
    assert len({each.text for each in FeedEvent}) == len(list(FeedEvent))
    assert not FeedEvent.JOINED.keeps_book_away and not FeedEvent.LOST.keeps_book_away
