"""Tells what the risk gate has decided by itself: its state, halts, and refusals that are new.

Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from engine.compiling.atomics import Words
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from net.journal.files import Record
from net.maker import journal_reasons as reasons
from net.maker.event_journal import EventJournal

TELL_EVERY_NS = 60_000_000_000
"""A limit that refuses orders again and again is told of so often; each refusal is counted."""


class MakerHost(Protocol):
    """What the market maker tells outside."""

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        """Something an operator should see."""

    def wall_ns(self) -> int:
        """What time it is: for stamps and days."""


class RiskReport:
    """What was last told of one gate. `table` and `risk` are read and never changed."""

    def __init__(
        self,
        table: Words,
        risk: Words,
        journal: EventJournal,
        host: MakerHost,
        limit_texts: Mapping[int, str],
    ) -> None:
        self._table = table
        self._risk = risk
        self._journal = journal
        self._host = host
        self._limit_texts = dict(limit_texts)
        self._state = int(risk[O.RISK_STATE])
        self._halts = int(risk[O.RISK_HALTS])
        self._refusals = self._counts().tobytes()
        self._told_ns: dict[int, int] = {}
        """When each refusal was last told, by its code."""

    def tell_limits_of(self, texts: Mapping[int, str]) -> None:
        """More of `limit_texts`."""
        self._limit_texts.update(texts)

    def on_kill(self) -> None:
        """A halt was asked for, and whoever asked has told of it."""
        self._halts = int(self._risk[O.RISK_HALTS])

    def look(self, now_ns: int) -> None:
        """Tell what has changed since the last look."""
        self._tell_state()
        self._tell_halt()
        self._tell_refusals(now_ns)

    def _tell_state(self) -> None:
        before, state = self._state, int(self._risk[O.RISK_STATE])
        if state != before:
            self._state = state
            states = {"before": O.RISK_STATE_NAMES[before], "after": O.RISK_STATE_NAMES[state]}
            position = int(self._table[O.ACCOUNT_POSITION_LOTS])
            self._host.note_maker("info", "risk state", **states, position_lots=position)

    def _tell_halt(self) -> None:
        halts = int(self._risk[O.RISK_HALTS])
        if halts != self._halts:
            self._halts = halts
            halt = int(self._risk[O.RISK_HALT_REASON])
            reason = reasons.HALTS.get(halt, J.REASON_NONE)
            self._journal.write(Record(J.EVENT_KILL, reason=reason))
            self._host.note_maker("error", "quoting halted", reason=R.TEXTS[halt])

    def _tell_refusals(self, now_ns: int) -> None:
        counts = self._counts()
        told = counts.tobytes()
        if told == self._refusals:  # as at nearly every look
            return
        before, self._refusals = np.frombuffer(self._refusals, np.int64), told
        for code in np.flatnonzero(counts != before).tolist():
            if code not in self._told_ns or now_ns - self._told_ns[code] >= TELL_EVERY_NS:
                self._told_ns[code] = now_ns
                reason = reasons.REFUSALS.get(code, J.REASON_NONE)
                record = Record(J.EVENT_RISK_REFUSAL, reason=reason, lots=code)
                self._journal.write(record)
                facts = {"reason": R.TEXTS[code]}
                if limit := self._limit_texts.get(code):
                    facts["limit"] = limit
                self._host.note_maker("warning", "order refused by risk", **facts)

    def _counts(self) -> Words:
        """How often each refusal has happened, by its code."""
        return self._risk[O.RISK_REFUSALS_AT :][: O.REFUSALS_MAX]
