"""A host's files: all that this floor reads or writes below /proc, /sys, /dev and /run.

Every path goes through one root directory, which tests replace by a tree of their own. What is
missing, unreadable or makes no sense raises UnknownError with the reason, and nothing is made up.
Runs on: the command's main thread, or a thread that tunes itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

CPU = "/sys/devices/system/cpu"
"""Documentation/admin-guide/cputopology.rst and ABI/testing/sysfs-devices-system-cpu."""
CPUS_MAX = 8192
"""The kernel's own limit (CONFIG_NR_CPUS): a list that names more is not one."""
MASK_WORD_BITS = 32
"""Masks are written as comma-separated words of 32 bits, the highest first (bitmap_print)."""


class UnknownError(Exception):
    """What was asked for cannot be known here: one line with the reason."""


def parse_cpus(text: str) -> tuple[int, ...]:
    """The CPUs of a list like `0-3,8`, sorted; empty for nothing. ValueError: not a list."""
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        match = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", part)
        if match is None:
            raise ValueError(f"{text.strip()!r} is not a list of CPUs like 0-3,8")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first or last >= CPUS_MAX:
            raise ValueError(f"{part.strip()!r} is not a range of CPUs")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def format_cpus(cpus: Iterable[int]) -> str:
    """CPUs as the kernel writes them: `0-3,8`; empty for none."""
    parts: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1][1:] = [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def parse_mask(text: str) -> tuple[int, ...]:
    """The CPUs of a mask like `00000001,ffffffff`. ValueError: not a mask."""
    digits = text.strip().replace(",", "")
    if not re.fullmatch(r"[0-9a-fA-F]+", digits) or len(digits) * 4 > CPUS_MAX:
        raise ValueError(f"{text.strip()[:40]!r} is not a mask of CPUs")
    value = int(digits, 16)
    return tuple(cpu for cpu in range(value.bit_length()) if value >> cpu & 1)


def format_mask(cpus: Iterable[int]) -> str:
    """CPUs as a mask, without leading zeros."""
    value = sum(1 << cpu for cpu in set(cpus))
    words: list[str] = []
    while value or not words:
        words.append(f"{value & (1 << MASK_WORD_BITS) - 1:08x}")
        value >>= MASK_WORD_BITS
    return ",".join(reversed(words)).lstrip("0,") or "0"


@dataclass(frozen=True)
class Host:
    """The files of a host, below `root`."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Where an absolute path of the host is."""
        return self.root / name.lstrip("/")

    def raw(self, name: str) -> bytes:
        """A file's content. UnknownError."""
        try:
            return self.path(name).read_bytes()
        except OSError as error:
            raise UnknownError(f"{name}: {(error.strerror or str(error)).lower()}") from None

    def text(self, name: str) -> str:
        """A file's content without the white space around it. UnknownError."""
        return self.raw(name).decode("utf-8", "replace").replace("\0", " ").strip()

    def number(self, name: str) -> int:
        """The one decimal number in a file. UnknownError."""
        text = self.text(name)
        if not re.fullmatch(r"-?\d{1,19}", text):
            raise UnknownError(f"{name}: {text[:40]!r} is no number")
        return int(text)

    def cpus(self, name: str) -> tuple[int, ...]:
        """The CPUs listed in a file. UnknownError."""
        text = self.text(name)
        if text in ("(null)", "(none)"):  # cpumask of a feature that was never switched on
            return ()
        try:
            return parse_cpus(text)
        except ValueError as error:
            raise UnknownError(f"{name}: {error}") from None

    def choice(self, name: str) -> str:
        """The word in brackets of a file like `always [madvise] never`. UnknownError."""
        text = self.text(name)
        match = re.search(r"\[([\w-]+)\]", text)
        if match is None:
            raise UnknownError(f"{name}: {text[:40]!r} marks no choice")
        return match[1]

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder, as far as this user may see."""
        try:
            return self.path(name).exists()
        except OSError:
            return False

    def names(self, folder: str, pattern: str) -> tuple[str, ...]:
        """The entries of a folder whose whole name matches, numbers in order; empty for none."""
        try:
            entries = os.listdir(self.path(folder))
        except OSError:
            return ()
        found = [entry for entry in entries if re.fullmatch(pattern, entry)]
        return tuple(sorted(found, key=lambda entry: (len(entry), entry)))

    def write(self, name: str, raw: bytes) -> None:
        """Write a file that is there, in one call, as the kernel wants it. OSError."""
        descriptor = os.open(self.path(name), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, raw)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def for_psutil(self) -> Iterator[None]:
        """Have psutil read this host's /proc; what it cannot know raises UnknownError."""
        before = getattr(psutil, "PROCFS_PATH", "/proc")
        psutil.PROCFS_PATH = str(self.path("/proc"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a missing vmstat: nobody asks for its figures
                yield
        except OSError as error:
            raise UnknownError(f"{error.filename}: {(error.strerror or '').lower()}") from None
        except (ValueError, IndexError, KeyError, psutil.Error) as error:
            raise UnknownError(f"/proc makes no sense to psutil: {error!r}") from None
        finally:
            psutil.PROCFS_PATH = before
