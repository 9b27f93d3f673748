"""`pollux journal`: each record as one line, columns for people, JSON for programs.

Runs on: the main thread of a process of its own.
"""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson

from engine.maker.journal_codes import (
    EVENT_ACCOUNT,
    EVENT_FEE,
    EVENT_FILL,
    EVENT_JOURNAL_LOST,
    EVENT_NAMES,
    EVENT_RESULT,
    EVENT_SETTLED,
    EVENT_TRANSFER,
    REASON_NAMES,
    SIDE_NAMES,
    name_of,
)
from engine.maker.order_layout import STATE_NAMES
from net.journal.files import Header, Record
from net.journal.reader import End, JournalEnd, JournalReader

POLL_S = 0.05
"""Between two looks at a journal that is followed."""


def print_journal(
    folder: Path, out: BinaryIO, *, as_json: bool = False, is_following: bool = False
) -> JournalEnd:
    """Print every record, and on stderr how each run but the last ends; how the last one does.

    Following, it returns when the last run is closed, or at damage. JournalError: no journal.
    """
    ends = 0
    with contextlib.closing(JournalReader(folder)) as reader:
        while True:
            for records in reader.read(is_following=is_following):
                ends = _print_ends(reader, ends)
                for record in records:
                    if as_json:
                        out.write(json_line(reader.header, record) + b"\n")
                    else:
                        out.write(plain_line(reader.header, record).encode() + b"\n")
                out.flush()
            ends = _print_ends(reader, ends)
            assert reader.end is not None
            if not is_following or reader.end.reason is End.CLOSED or reader.end.is_damage:
                return reader.end
            time.sleep(POLL_S)


def _print_ends(reader: JournalReader, printed: int) -> int:
    for end in reader.ends[printed:]:
        print(end, file=sys.stderr)
    return len(reader.ends)


def plain_line(header: Header, record: Record) -> str:
    """One record for a person's eye."""
    cells = (
        f"{header.epoch:>3} {record.sequence:>8} {_time_text(record.time_ns)}",
        f"{name_of(EVENT_NAMES, record.kind):<14} {record.book_sequence:>9}",
        f"{name_of(header.instruments, record.instrument):<10}",
        f"{name_of(header.venues, record.venue):<9} {record.slot:>4} {record.order:>8}",
        f"{SIDE_NAMES.get(record.side, str(record.side)):<4} {record.price_ticks:>12}",
        f"{_amounts_text(record)} {_states_text(record)} {_reason_text(record)}",
    )
    return " ".join(cells)


def json_line(header: Header, record: Record) -> bytes:
    """One record as a JSON object: the names beside the numbers, all integers exact."""
    said: dict[str, object] = {"run": header.epoch, "sequence": record.sequence}
    said |= record._asdict()
    said["kind"] = name_of(EVENT_NAMES, record.kind)
    said["instrument"] = name_of(header.instruments, record.instrument)
    said["venue"] = name_of(header.venues, record.venue)
    said["side"] = SIDE_NAMES.get(record.side, str(record.side))
    said["reason"] = _reason_text(record)
    return orjson.dumps(said)


def _amounts_text(record: Record) -> str:
    """Lots and filled lots; of a fee its own two numbers, which are neither of the order."""
    if record.kind == EVENT_FEE:
        return f"{f'fee={record.lots}':>14} {f'value={record.filled_lots}':>14}"
    return f"{record.lots:>14} {record.filled_lots:>14}"


def _states_text(record: Record) -> str:
    """An order's states by name; what a record of the ledger has in their places; - for none."""
    before, after = record.state_before, record.state_after
    if record.kind in (EVENT_ACCOUNT, EVENT_TRANSFER, EVENT_SETTLED):
        return ("live" if before else "paper") + (",orders-may-be-open" if after else "")
    if record.kind == EVENT_RESULT:
        return f"{'live' if before else 'paper'},day={after}"
    if not (record.order or before or after):
        return "-"
    return f"{name_of(STATE_NAMES, before)}>{name_of(STATE_NAMES, after)}"


def _reason_text(record: Record) -> str:
    if record.kind == EVENT_JOURNAL_LOST:
        return f"{record.reason} records lost"
    if record.kind in (EVENT_FILL, EVENT_ACCOUNT):
        return str(record.reason)  # the execution's number: on paper they count from 1
    return name_of(REASON_NAMES, record.reason)


def _time_text(time_ns: int) -> str:
    """Date and time, UTC, to the nanosecond; a number where no calendar reaches."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    try:
        clock = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(time_ns)
    return f"{clock}.{rest_ns:09d}Z"
