"""What stops quoting until an operator's word, and that word: kill, release, accept.

A kill cancels everything and stays until the release, also across restarts. A release is refused
while the kill file is there, or an account disputed.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import risk_gate
from engine.maker import state_board_layout as B
from engine.maker.state_board import Requests
from engine.maker.state_board_writer import StateBoardWriter
from engine.maker.step import MakerStep
from net.journal.files import Record
from net.maker.accounts import Accounts
from net.maker.event_journal import EventJournal
from net.maker.journal_reasons import GATE_HALTS
from net.maker.recovery import Recovery
from net.maker.risk_report import MakerHost, RiskReport
from net.maker.venue_report import tell_accepted


class Halts:
    """Of one market maker. `send(count, now_ns)`: sends the step's first `count` actions;
    `limit_texts`: MakerRules'."""

    def __init__(
        self,
        step: MakerStep,
        accounts: Accounts,
        recovery: Recovery,
        journal: EventJournal,
        board: StateBoardWriter,
        host: MakerHost,
        send: Callable[[int, int], None],
        limit_texts: Mapping[int, str],
    ) -> None:
        self.is_stopping = False
        """Whether it is the end: then nothing is released."""
        self.is_blocked = False
        """Whether a release is refused: an operator's kill file is there."""
        self._step = step
        self._risk = step.risk
        self._accounts = accounts
        self._recovery = recovery
        self._journal = journal
        self._board = board
        self._host = host
        self._send = send
        self._requests_seen = Requests(0, 0, 0)
        """Asked for through the board, as far as they were taken."""
        self._report = RiskReport(step.table, step.risk, journal, host, limit_texts)

    def tell_limits_of(self, texts: Mapping[int, str]) -> None:
        """Limits that it has in common with others: what a refusal names, by its code."""
        self._report.tell_limits_of(texts)

    @property
    def is_halted(self) -> bool:
        return int(self._risk[O.RISK_STATE]) == O.HALTED

    @property
    def earlier(self) -> list[str]:
        """Orders and accounts of earlier runs of which nothing is confirmed yet, by name."""
        left = [
            f"{account.venue} {account.market}: orders of an earlier run"
            for account in self._accounts.left_behind
        ]
        return self._recovery.strays(self._board.info.venues) + left

    def take_requests(self, now_ns: int) -> Requests | None:
        """Do what others have asked for through the board; what is to be answered."""
        asked, seen = self._board.requests(), self._requests_seen
        if asked == seen:
            return None
        if asked.accepts != seen.accepts:
            self.accept()
        if asked.releases != seen.releases:
            self.release()
        if asked.kills != seen.kills:
            self.kill(J.REASON_OPERATOR, now_ns)
        self._requests_seen = asked
        return asked

    def look(self, now_ns: int) -> None:
        """Tell what the gate has decided by itself; end a halt for an account that is explained."""
        self._report.look(now_ns)
        self._resume_explained()

    def kill(self, reason: int, now_ns: int) -> None:
        """Halt, cancel everything, stay so until `release`. `reason`: of the journal's."""
        was_halted = self.is_halted
        code = GATE_HALTS.get(reason, R.KILLED)
        count = risk_gate.kill(self._step.table, self._risk, self._step.actions, code)
        self._send(count, now_ns)
        self._report.on_kill()
        # An account that is explained ends a halt that was for it, and no other.
        if reason != J.REASON_SHUTDOWN and self._accounts.halt in (J.REASON_NONE, J.REASON_ACCOUNT):
            self._accounts.halt = reason
        self._accounts.look()
        if not was_halted:
            self._journal.write(Record(J.EVENT_KILL, reason=reason))
            facts: dict[str, object] = {"reason": J.REASON_NAMES[reason], "cancels": count}
            if earlier := self.earlier:
                facts["not_confirmed"] = earlier
            level = "info" if self.is_stopping else "warning"
            self._host.note_maker(level, "quoting killed", **facts)

    def yield_to_another(self, venue_name: str, now_ns: int) -> None:
        """Two on one account and market would cancel each other's orders: the newer one stays."""
        if self.is_halted:
            return
        self.kill(J.REASON_OTHER_MAKER, now_ns)
        self._host.note_maker("error", R.TEXTS[R.OTHER_MAKER], venue=venue_name)

    def dispute(self, now_ns: int) -> None:
        """An account holds what nobody has counted: only an operator can say what it is."""
        if not self.is_halted:
            self._accounts.halt_for(J.REASON_ACCOUNT)
            self.look(now_ns)

    def release(self) -> None:
        """Quote again, from the next step on: an operator's word."""
        if self.is_stopping:
            return
        if obstacle := self.obstacle:
            self._host.note_maker("error", f"release refused: {R.OBSTACLE_TEXTS[obstacle]}")
        elif self.is_halted:
            self._release()

    @property
    def obstacle(self) -> int:
        """Why a release is refused now, a code of risk_codes; UNOBSTRUCTED where it is not."""
        if self.is_blocked:
            return R.KILL_FILE
        if self._recovery.disputed:
            return R.DISPUTED
        return R.LEFT_BEHIND if self._accounts.left_behind else R.UNOBSTRUCTED

    def _release(self) -> None:
        """End the halt, and say what that resets."""
        facts = {"halted_by": J.name_of(J.REASON_NAMES, self._accounts.halt)}
        if self._risk[O.RISK_DAY] != R.NO_DAY and self._risk[O.RISK_FAIR_PRICE]:
            result = self._risk[O.RISK_RESULT_VALUE] - self._risk[O.RISK_DAY_START_VALUE]
            info = self._board.info
            value = Decimal(int(result) * info.value_mantissa).scaleb(-info.value_decimals)
            facts["day_result_reset"] = f"{value:f}"
        risk_gate.release(self._step.table, self._risk)
        self._accounts.halt = J.REASON_NONE
        self._journal.write(Record(J.EVENT_RELEASE, reason=J.REASON_OPERATOR))
        self._host.note_maker("warning", "quoting released", **facts)

    def accept(self) -> None:
        """What the accounts hold beyond what was counted is no position: an operator's word."""
        self._accounts.accept_left_behind()
        self.settle(self._recovery.disputed)

    def settle(self, venues: Sequence[int]) -> None:
        """What these accounts hold beyond what was counted is known to be no position."""
        self._recovery.accept(venues)
        for venue in venues:
            start = self._recovery.starts[venue]
            assert start is not None
            self._accounts.open(venue, start, self._host.wall_ns())
            self._board.set_venue(venue, B.VENUE_DIFFERENCE_LOTS, 0)
            tell_accepted(self._host, self._board.info.venues[venue], start)
        self._resume_explained()

    def _resume_explained(self) -> None:
        """Where the halt was for an account and none is disputed any longer (what was missing was
        told, or accepted, or what was left behind is cleaned): nothing else is reset, and the day's
        result goes on."""
        if self._accounts.halt != J.REASON_ACCOUNT or self.is_stopping:
            return
        if self.obstacle != R.UNOBSTRUCTED:
            return
        self._risk[O.RISK_STATE], self._risk[O.RISK_HALT_REASON] = O.NORMAL, R.PASSED
        self._accounts.halt = J.REASON_NONE
        self._journal.write(Record(J.EVENT_RELEASE, reason=J.REASON_ACCOUNT))
        self._host.note_maker("warning", "quoting goes on: the account is explained")
