"""The ledger: what the journal remembers of every account from one run to the next.

An account is one market at one venue, on paper or live: they never mix. Of each the ledger has the
neutral holding, the position, whether orders of ours may be open there, when it last held what was
known of it and which transfers were counted since; of each instrument the cash, the day's first
result and the halt that waits for its release. A record of the journal holds
the whole state of an account or a result, so the latest of each is all there is to know. A
*checkpoint* is all of them, closed by a record of its own: reading begins at the last one.
Runs on: the main thread (reading), the engine thread (the rest).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from engine.maker import journal_codes as J
from net.journal.files import (
    Header,
    JournalError,
    Record,
    read_header,
    segment_numbers,
    segment_path,
)
from net.journal.reader import JournalReader
from net.orders.transfers import Transfer

EXECUTIONS_MAX = 4_096
"""More than any venue lists at once."""
REMEDY = (
    "Put the file back as it was, or move the folder away: then the next start is that of new "
    "accounts, which hold what they hold"
)
TRANSFERS_KEPT_NS = 3_600_000_000_000
"""How long before an account was settled its transfers are known one by one: more than clocks
differ by, and than lies between what a venue books and what it shows."""


class Account(NamedTuple):
    """Which account: `market` is the venue's own symbol."""

    is_live: bool
    venue: str
    market: str


class Holding(NamedTuple):
    """What is known of an account, in lots of the base currency."""

    neutral_lots: int
    """What it holds where the position is zero."""
    position_lots: int
    may_have_orders: bool
    """Whether an order of ours may be open there."""
    execution_id: int
    """The largest of those that the position counts; 0 for none."""


class Result(NamedTuple):
    """What is known of an instrument. A value is `value * unit_mantissa * 10**-unit_decimals` of
    the quote currency."""

    unit_mantissa: int
    unit_decimals: int
    cash_value: int
    fee_value: int
    """What fills have cost so far: of cash and position already."""
    day: int
    """Days since 1970-01-01, UTC; the risk gate's NO_DAY where none has begun."""
    day_start_value: int
    """The result at the day's first fair price."""
    halt: int
    """The journal's reason of the halt that waits for its release; REASON_NONE: none does."""
    position_lots: int = 0
    """What the day's results were counted with: of the accounts that were quoted."""


class Ledger:
    """Accounts and results by name. `write` is where changes go, once a run has begun."""

    def __init__(self) -> None:
        self.holdings: dict[Account, Holding] = {}
        self.results: dict[tuple[bool, str], Result] = {}
        """By whether it is live, and the instrument's symbol."""
        self.counted: dict[Account, set[int]] = {}
        """Executions that were counted, from the checkpoint that was read on."""
        self.floors: dict[Account, int] = {}
        """All up to this execution were counted, as far as is known."""
        self.settled_ns: dict[Account, int] = {}
        """When an account last held what was known of it."""
        self.transfers: dict[Account, dict[int, Transfer]] = {}
        """Those that neutral holdings have moved with, by their numbers, as long as a venue's
        history may bring them up again."""
        self._names: _Names | None = None
        self._write: Callable[[Record], object] = lambda record: None

    def has_counted(self, account: Account, execution_id: int) -> bool:
        """Whether an execution is in the account's position already."""
        is_old = execution_id <= self.floors.get(account, 0)
        return is_old or execution_id in self.counted.get(account, ())

    # --- writing ---------------------------------------------------------------------------------

    def begin(self, header: Header, write: Callable[[Record], object]) -> None:
        """A run begins, whose header has the names of all accounts: a checkpoint is written."""
        self._names, self._write = _Names(header), write
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write all there is, for the next run to begin reading at."""
        names = self._names
        if names is None:
            return
        for key, result in self.results.items():
            self._write(names.result_record(key, result))
        for account, holding in self.holdings.items():
            self._write(names.account_record(account, holding, holding.execution_id))
        for account, time_ns in self.settled_ns.items():
            self._write(names.transfer_record(J.EVENT_SETTLED, account, Transfer(0, 0, time_ns)))
        for account, transfers in self.transfers.items():
            for each in transfers.values():
                self._write(names.transfer_record(J.EVENT_TRANSFER, account, each))
        self._write(Record(J.EVENT_CHECKPOINT))

    def set_holding(self, account: Account, holding: Holding, execution_id: int = 0) -> None:
        """An account has changed, by this execution where it was one."""
        holding = self._keep(account, holding, execution_id)
        if self._names is not None:
            self._write(self._names.account_record(account, holding, execution_id))

    def close_orders(self, account: Account) -> None:
        """No order of ours is open there any more."""
        holding = self.holdings.get(account)
        if holding is not None and holding.may_have_orders:
            self.set_holding(account, holding._replace(may_have_orders=False))

    def settle(self, account: Account, time_ns: int) -> None:
        """The account held what is known of it. Transfers of long before come up no more."""
        self._keep_settled(account, time_ns)
        if self._names is not None:
            settled = Transfer(0, 0, time_ns)
            self._write(self._names.transfer_record(J.EVENT_SETTLED, account, settled))

    def count_transfer(self, account: Account, transfer: Transfer) -> None:
        """A transfer is in the account's neutral holding."""
        self.transfers.setdefault(account, {})[transfer.number] = transfer
        if self._names is not None:
            self._write(self._names.transfer_record(J.EVENT_TRANSFER, account, transfer))

    def _keep_settled(self, account: Account, time_ns: int) -> None:
        self.settled_ns[account] = time_ns
        first_ns, known = time_ns - TRANSFERS_KEPT_NS, self.transfers.pop(account, {})
        if kept := {number: each for number, each in known.items() if each.time_ns >= first_ns}:
            self.transfers[account] = kept

    def set_result(self, key: tuple[bool, str], result: Result) -> None:
        """A result, its day or its halt has changed."""
        self.results[key] = result
        if self._names is not None:
            self._write(self._names.result_record(key, result))

    def _keep(self, account: Account, holding: Holding, execution_id: int) -> Holding:
        """Remember an account, and the largest execution that was ever in it."""
        before = self.holdings.get(account)
        known = before.execution_id if before is not None else 0
        largest = max(known, holding.execution_id, execution_id)
        self.holdings[account] = holding = holding._replace(execution_id=largest)
        self._count(account, execution_id)
        return holding

    def _count(self, account: Account, execution_id: int) -> None:
        """An execution is in the account's position; only so many are known one by one."""
        counted = self.counted.setdefault(account, set())
        counted.add(execution_id)
        if len(counted) > EXECUTIONS_MAX:
            oldest = sorted(counted)[: EXECUTIONS_MAX // 2]
            counted.difference_update(oldest)
            self.floors[account] = max(self.floors.get(account, 0), oldest[-1])

    # --- reading ---------------------------------------------------------------------------------

    def take(self, header: Header, record: Record) -> None:
        """What one record says of an account or a result; other kinds say nothing."""
        if record.kind in (J.EVENT_ACCOUNT, J.EVENT_TRANSFER, J.EVENT_SETTLED):
            account = Account(
                bool(record.state_before), header.venues[record.venue], header.markets[record.slot]
            )
        if record.kind == J.EVENT_ACCOUNT:
            holding = Holding(record.lots, record.filled_lots, bool(record.state_after), 0)
            self._keep(account, holding, record.reason)
        elif record.kind == J.EVENT_TRANSFER:
            self.count_transfer(account, Transfer(record.order, record.lots, record.filled_lots))
        elif record.kind == J.EVENT_SETTLED:
            self._keep_settled(account, record.filled_lots)
        elif record.kind == J.EVENT_RESULT:
            key = bool(record.state_before), header.instruments[record.instrument]
            self.results[key] = Result(
                record.price_ticks,
                record.slot,
                record.lots,
                record.order,
                record.state_after,
                record.filled_lots,
                record.reason,
                record.book_sequence,
            )
        elif record.kind == J.EVENT_CHECKPOINT:
            self.counted.clear()
            self.floors = {each: held.execution_id for each, held in self.holdings.items()}


class _Names:
    """Records, from names: a run's header gives each its number."""

    def __init__(self, header: Header) -> None:
        self._instruments = {name: at for at, name in enumerate(header.instruments)}
        self._venues = {name: at for at, name in enumerate(header.venues)}
        self._markets = {name: at for at, name in enumerate(header.markets)}

    def account_record(self, account: Account, holding: Holding, execution_id: int) -> Record:
        return Record(
            J.EVENT_ACCOUNT,
            venue=self._venues[account.venue],
            slot=self._markets[account.market],
            lots=holding.neutral_lots,
            filled_lots=holding.position_lots,
            state_before=account.is_live,
            state_after=holding.may_have_orders,
            reason=execution_id,
        )

    def transfer_record(self, kind: int, account: Account, transfer: Transfer) -> Record:
        return Record(
            kind,
            venue=self._venues[account.venue],
            slot=self._markets[account.market],
            order=transfer.number,
            lots=transfer.lots,
            filled_lots=transfer.time_ns,
            state_before=account.is_live,
        )

    def result_record(self, key: tuple[bool, str], result: Result) -> Record:
        is_live, symbol = key
        return Record(
            J.EVENT_RESULT,
            instrument=self._instruments[symbol],
            slot=result.unit_decimals,
            order=result.fee_value,
            price_ticks=result.unit_mantissa,
            lots=result.cash_value,
            filled_lots=result.day_start_value,
            state_before=is_live,
            state_after=result.day,
            reason=result.halt,
            book_sequence=result.position_lots,
        )


def read_ledger(folder: Path) -> Ledger:
    """What the journal in a folder says; an empty ledger where there is no journal.

    A run of an older program, or one that was killed before its first checkpoint, says nothing, and
    the run before it counts. JournalError where what counts is damaged or missing: it names the
    place and the remedy.
    """
    if not folder.is_dir():
        return Ledger()
    segment_numbers(folder)  # a folder that cannot be read is no damage
    try:
        for first, last in _runs_backwards(folder):
            for number in range(last, first - 1, -1):
                ledger = _read_from(folder, number, read_header(segment_path(folder, first)).epoch)
                if ledger is not None:
                    return ledger
    except JournalError as error:
        raise JournalError(f"{error}. {REMEDY}") from None
    return Ledger()


def missing_segments(folder: Path) -> list[str]:
    """The names of segments that are not there, between the first and the last that are."""
    numbers = segment_numbers(folder) if folder.is_dir() else []
    pairs = itertools.pairwise(numbers)
    return [segment_path(folder, at).name for a, b in pairs for at in range(a + 1, b)]


def _runs_backwards(folder: Path) -> Iterator[tuple[int, int]]:
    """The first and the last segment of each run, the latest run first."""
    numbers = segment_numbers(folder)
    last = numbers[-1] if numbers else 0
    for number in reversed(numbers):
        if read_header(segment_path(folder, number)).first_sequence == 1:
            yield number, last
            last = number - 1


def _read_from(folder: Path, number: int, epoch: int) -> Ledger | None:
    """A run's ledger, read from a segment on; None where no checkpoint is from there on."""
    path = segment_path(folder, number)
    if not path.exists():
        raise JournalError(f"{path} is missing: what the accounts held is not known without it")
    ledger, has_checkpoint = Ledger(), False
    with contextlib.closing(JournalReader(folder, number)) as reader:
        for records in reader.read():
            if reader.header.epoch != epoch:
                break
            for record in records:
                ledger.take(reader.header, record)
                has_checkpoint |= record.kind == J.EVENT_CHECKPOINT
        else:
            assert reader.end is not None
            if reader.end.is_damage:
                raise JournalError(f"{reader.end}: what the accounts held is not known from it")
    return ledger if has_checkpoint else None
