"""`pollux tune apply` and `restore`: make the settings of a layout, and take them back.

Before the first change a record of all that will be changed is on disk, with the bytes that stood
there; `restore` works from it alone, so a crash at any point is undone by it. Applying again keeps
what the first record says. The record lives in /run: it is gone after a reboot, as the settings.
Runs on: the command's main thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuning.host import Host, UnknownError, format_cpus
from tuning.plan import Layout
from tuning.settings import Setting, settings

RECORD = "/run/pollux-tune.json"
NUMBER = re.compile(r"(?<=/irq/)\d+|(?<=/cpu/cpu)\d+")


class TuneError(Exception):
    """Nothing was changed, or not all was taken back: one line."""


@dataclass(frozen=True)
class Change:
    """A setting that does not hold: what is there, and once tried why it could not be changed."""

    setting: Setting
    before: str
    refused: str = ""


@dataclass(frozen=True)
class Kept:
    """A file of the record: the text that brings back what stood there, and its bytes then."""

    file: str
    text: str
    raw: bytes


def changes(host: Host, layout: Layout) -> tuple[list[Change], list[str]]:
    """The settings that do not hold yet, and a line for each that cannot be read."""
    found, unknown = [], []
    for each in settings(host, layout):
        try:
            if not each.holds(host):
                found.append(Change(each, each.present(host)))
        except UnknownError as error:
            unknown.append(str(error))
    return found, unknown


def apply(host: Host, wanted: Iterable[Change]) -> list[Change]:
    """Make the changes; those that the kernel refused, with its reason. TuneError: no record."""
    wanted = list(wanted)
    record = read_record(host)
    known = {kept.file for kept in record}
    for change in wanted:
        file = change.setting.file
        if file not in known:
            try:
                raw = host.raw(file)
            except UnknownError as error:
                raise TuneError(f"{error}; nothing was changed") from None
            text = f"{change.before}\n" if change.setting.kind == "choice" else raw.decode("latin1")
            record.append(Kept(file, text, raw))
    if wanted:
        _write_record(host, record)
    refused = []
    for change in wanted:
        reason = _write(host, change.setting.file, f"{change.setting.wanted}\n".encode())
        try:
            if not reason and not change.setting.holds(host):
                reason = f"still {change.setting.present(host)}"
        except UnknownError as error:
            reason = str(error)
        if reason:
            refused.append(Change(change.setting, change.before, reason))
    return refused


def restore(host: Host) -> tuple[list[str], list[str]]:
    """Write back what the record has; what was done, and what could not be. Both are lines.

    What could not be written back stays in the record for another try.
    """
    done, left, kept_back = [], [], []
    for kept in reversed(read_record(host)):
        if not host.exists(kept.file):
            done.append(f"{kept.file} is no longer there")
            continue
        with contextlib.suppress(UnknownError):
            if host.raw(kept.file) == kept.raw:
                continue
        reason = _write(host, kept.file, kept.text.encode("latin1"))
        if not reason:
            try:
                is_back = host.raw(kept.file) == kept.raw
                reason = "" if is_back else f"now says {host.text(kept.file)!r}"
            except UnknownError as error:
                reason = str(error)
        if reason:
            left.append(f"{kept.file}: {reason}")
            kept_back.append(kept)
        else:
            done.append(f"{kept.file} is {kept.raw.decode('latin1').strip()} again")
    if kept_back:
        _write_record(host, kept_back[::-1])
    else:
        for name in (RECORD, f"{RECORD}.new"):
            with contextlib.suppress(FileNotFoundError):
                host.path(name).unlink()
    return done, left


def _write(host: Host, file: str, raw: bytes) -> str:
    """Why a file could not be written; empty if it was."""
    try:
        host.write(file, raw)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


# --- the record ----------------------------------------------------------------------------------


def read_record(host: Host) -> list[Kept]:
    """What the last `apply` recorded; empty if nothing is applied. TuneError: it is unreadable."""
    if not host.exists(RECORD):
        return []
    try:
        entries: list[dict[str, str]] = json.loads(host.raw(RECORD))
        return [
            Kept(str(each["file"]), str(each["text"]), str(each["raw"]).encode("latin1"))
            for each in entries
        ]
    except UnknownError as error:
        raise TuneError(str(error)) from None
    except (ValueError, KeyError, TypeError, UnicodeError):
        raise TuneError(f"{RECORD} is damaged; a reboot restores every setting") from None


def _write_record(host: Host, record: list[Kept]) -> None:
    entries: list[dict[str, Any]] = [
        {"file": kept.file, "text": kept.text, "raw": kept.raw.decode("latin1")} for kept in record
    ]
    path, fresh = host.path(RECORD), host.path(f"{RECORD}.new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TuneError(f"no record can be kept in {RECORD}: {reason}; this needs root") from None


# --- showing -------------------------------------------------------------------------------------


def change_lines(wanted: Iterable[Change]) -> list[str]:
    """Changes for people: equal ones of numbered files in one line."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for change in wanted:
        setting = change.setting
        number = NUMBER.search(setting.file)
        pattern = NUMBER.sub("{}", setting.file)
        key = (setting.group, pattern, change.before, setting.wanted, change.refused)
        groups.setdefault(key, []).extend([int(number[0])] if number else [])
    lines = []
    for (_, pattern, before, after, refused), numbers in groups.items():
        file = pattern.replace("{}", format_cpus(numbers))
        what = f"not changed, {refused}" if refused else f"{before or 'nothing'} -> {after}"
        lines.append(f"{file}: {what}")
    return lines
