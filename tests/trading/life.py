"""One process of a run: the market maker with its connections, its journal, and the run's report.

Runs on: the tests' thread.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.maker import journal_codes as J
from net.journal.files import Record
from net.maker.left_behind import LeftBehind
from net.maker.maker import Maker
from tests.trading.network import Http, Link

if TYPE_CHECKING:
    from tests.trading.world import World

LEDGER_KINDS = (
    J.EVENT_ACCOUNT,
    J.EVENT_RESULT,
    J.EVENT_TRANSFER,
    J.EVENT_SETTLED,
    J.EVENT_CHECKPOINT,
)


@dataclass
class Report:
    """What a run came to."""

    seed: int
    steps: int = 0
    orders: int = 0
    fills: int = 0
    messages: int = 0
    lives: int = 0
    quiet_ns: int = 0
    digest: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)


class SeedFailedError(AssertionError):
    """A run that showed something wrong; its text says how to see it again."""


class Notes:
    """A journal that is kept as a digest, and the judge's knowledge of which order is whose."""

    def __init__(self, world: World) -> None:
        self._world = world

    def append(self, record: Record) -> int:
        world = self._world
        if record.kind in LEDGER_KINDS:
            world.ledger_records.append(record)
        if record.kind in (J.EVENT_SUBMIT, J.EVENT_REPLACE):
            world.judge.slots[record.order] = record.slot
        if record.kind == J.EVENT_TAKE:
            world.judge.takes.add(record.order)
        world.say("journal {}", record)
        return 1


@dataclass
class Life:
    """One process: the maker and its order entry, from its start to its end."""

    maker: Maker
    links: list[Link]
    https: list[Http]
    """By venue, as far as they are quoted; then those of what is cleaned."""
    epoch: int
    cleaners: list[LeftBehind]
    """Of accounts that are not quoted any more."""

    def kill(self) -> None:
        """The process is gone."""
        for http in self.https:
            http.is_over = True
        for link in self.links:
            link.break_off()
