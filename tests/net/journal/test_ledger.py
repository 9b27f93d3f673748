"""What the journal remembers of accounts: read back as it was, from the last checkpoint on."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.maker import journal_codes as J
from net.journal.files import JournalError, Record, segment_numbers, segment_path
from net.journal.ledger import (
    EXECUTIONS_MAX,
    TRANSFERS_KEPT_NS,
    Account,
    Holding,
    Ledger,
    Result,
    missing_segments,
    read_ledger,
)
from net.journal.writer import JournalWriter
from net.orders.transfers import Transfer

pytestmark = pytest.mark.kernel

PAPER = Account(False, "binance", "BTCUSDT")
LIVE = Account(True, "binance", "BTCUSDT")
OTHER = Account(True, "bitstamp", "btcusd")
RESULT = Result(3, 10, -(2**60), 11, 20_000, 7, J.REASON_NONE)


def begin(folder: Path, ledger: Ledger, records: int = 1_000) -> JournalWriter:
    """A run whose header names every account."""
    journal = JournalWriter(
        folder, ["BTC-USD"], ["binance", "bitstamp"], 1, records, markets=["BTCUSDT", "btcusd"]
    )
    ledger.begin(journal.header, journal.append)
    return journal


def write_segments(folder: Path) -> None:
    """A run of many segments, the last checkpoint in the fifth; the account ends at 39 lots."""
    ledger = Ledger()
    journal = begin(folder, ledger, records=8)
    for position in range(1, 40):
        ledger.set_holding(LIVE, Holding(1, position, True, 0), position)
        if position == 33:
            ledger.checkpoint()
        journal.tend()
    journal.close(2)


def test_paper_and_live_venues_and_markets_are_remembered_each_for_itself(tmp_path: Path) -> None:
    """Issue 14.1."""
    ledger = read_ledger(tmp_path / "new")
    assert not ledger.holdings and not ledger.results
    journal = begin(tmp_path, ledger)
    ledger.set_holding(PAPER, Holding(0, -5, False, 0), 9)
    ledger.set_holding(LIVE, Holding(2_000, 7, True, 0), 41)
    ledger.set_holding(LIVE, Holding(2_000, 8, True, 41), 40)
    ledger.set_result((True, "BTC-USD"), RESULT)
    journal.append(Record(J.EVENT_FILL, reason=99))
    journal.close(2)
    read = read_ledger(tmp_path)
    assert read.holdings == {
        PAPER: Holding(0, -5, False, 9), LIVE: Holding(2_000, 8, True, 41)
    }  # fmt: skip
    assert read.results == {(True, "BTC-USD"): RESULT}
    assert [each for each in range(50) if read.has_counted(LIVE, each)] == [0, 40, 41]
    assert not read.has_counted(OTHER, 1)


def test_the_next_run_brings_along_what_it_does_not_use_itself(tmp_path: Path) -> None:
    first = Ledger()
    journal = begin(tmp_path, first)
    first.set_holding(OTHER, Holding(1, 2, True, 0), 30)
    journal.close(2)
    for _ in range(2):
        ledger = read_ledger(tmp_path)
        begin(tmp_path, ledger).close(2)
    read = read_ledger(tmp_path)
    assert read.holdings == {OTHER: Holding(1, 2, True, 30)}
    assert read.has_counted(OTHER, 29) and not read.has_counted(OTHER, 31), "up to the checkpoint"


def test_a_run_that_was_killed_before_its_checkpoint_says_nothing(tmp_path: Path) -> None:
    ledger = Ledger()
    journal = begin(tmp_path, ledger)
    ledger.set_holding(LIVE, Holding(1, 2, True, 0))
    journal.close(2)
    JournalWriter(tmp_path, ["BTC-USD"], ["binance"], 1, 1_000).close(2)
    assert read_ledger(tmp_path).holdings == {LIVE: Holding(1, 2, True, 0)}


def test_reading_begins_at_the_last_checkpoint_of_a_long_run(tmp_path: Path) -> None:
    write_segments(tmp_path)
    numbers = segment_numbers(tmp_path)
    assert len(numbers) > 4
    path = segment_path(tmp_path, numbers[1])
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    read = read_ledger(tmp_path)
    assert read.holdings == {LIVE: Holding(1, 39, True, 39)}, "what is before it does not matter"


def test_a_damaged_journal_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    """Issue 14.1: it never yields a new neutral holding in silence."""
    ledger = Ledger()
    journal = begin(tmp_path, ledger)
    for position in range(9):
        ledger.set_holding(LIVE, Holding(1, position, True, 0))
    journal.close(2)
    path = segment_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[4_096 + 4 * 128 + 80] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        JournalError, match=r"JOURNAL-000001\.pollux.*what the accounts held.*Put the file back"
    ):
        read_ledger(tmp_path)


def test_a_missing_segment_is_told_and_refused_where_it_counts(tmp_path: Path) -> None:
    write_segments(tmp_path)
    assert missing_segments(tmp_path) == [] == missing_segments(tmp_path / "none")
    segment_path(tmp_path, 3).unlink()
    assert read_ledger(tmp_path).holdings == {LIVE: Holding(1, 39, True, 39)}
    assert missing_segments(tmp_path) == ["JOURNAL-000003.pollux"]
    checkpoint = segment_path(tmp_path, 5)
    checkpoint.unlink()
    with pytest.raises(JournalError, match=r"JOURNAL-000005\.pollux is missing.*Put the file back"):
        read_ledger(tmp_path)


def test_what_this_process_has_counted_is_counted_for_its_next_engine_too() -> None:
    ledger = Ledger()
    for execution in range(1, 3 * EXECUTIONS_MAX, 2):
        ledger.set_holding(LIVE, Holding(1, execution, True, 0), execution)
        assert ledger.has_counted(LIVE, execution) and not ledger.has_counted(LIVE, execution + 1)
    assert len(ledger.counted[LIVE]) <= EXECUTIONS_MAX
    assert ledger.has_counted(LIVE, 1) and not ledger.has_counted(OTHER, 1)


def test_transfers_are_known_until_no_history_may_bring_them_up_again(tmp_path: Path) -> None:
    """Over restarts, with and without a checkpoint between."""
    old, new = Transfer(1, 5, 10**15), Transfer(2, -7, 10**15 + TRANSFERS_KEPT_NS)
    ledger = Ledger()
    ledger.holdings = {LIVE: Holding(1, 2, False, 0), OTHER: Holding(1, 2, False, 0)}
    journal = begin(tmp_path, ledger)
    ledger.settle(LIVE, old.time_ns)
    ledger.count_transfer(LIVE, old)
    ledger.count_transfer(LIVE, new)
    journal.close(2)
    for _ in range(2):
        ledger = read_ledger(tmp_path)
        assert ledger.transfers == {LIVE: {1: old, 2: new}}
        assert ledger.settled_ns == {LIVE: old.time_ns}
        begin(tmp_path, ledger).close(3)
    ledger = read_ledger(tmp_path)
    journal = begin(tmp_path, ledger)
    ledger.settle(LIVE, new.time_ns + 1)
    journal.close(4)
    ledger = read_ledger(tmp_path)
    assert ledger.transfers == {LIVE: {2: new}} and ledger.settled_ns == {LIVE: new.time_ns + 1}
