"""What a check says, and what it is given to look at.

Runs on: the command's main thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tuning.host import Host, UnknownError
from tuning.plan import Layout, PlanError, isolated_engines, layout_around, plan_host
from tuning.settings import Setting, settings
from tuning.topology import Topology, read_topology

State = Literal["ok", "advice", "problem", "unknown"]
"""problem: the engine is slow or cannot run like this; advice: it would be steadier otherwise."""


@dataclass(frozen=True)
class Finding:
    """One item: its state, the present value, the reason, and the command that would change it."""

    state: State
    value: str
    reason: str = ""
    command: str = ""


@dataclass(frozen=True)
class Inspection:
    """A host and the CPUs of its engines, given or guessed.

    Every property that the host does not tell raises UnknownError: the check's answer is unknown.
    """

    host: Host
    given: tuple[int, ...] = ()

    @cached_property
    def topology(self) -> Topology:
        return read_topology(self.host)

    @cached_property
    def engines(self) -> tuple[int, ...]:
        """The CPUs named on the command line, else the isolated ones, else those of a plan."""
        known = self.given or isolated_engines(self.host)
        return known or self._planned.engines or self.topology.cpus[:1]

    @cached_property
    def _planned(self) -> Layout:
        try:
            return plan_host(self.host)
        except PlanError as error:
            raise UnknownError(str(error)) from None

    @cached_property
    def layout(self) -> Layout:
        """The plan's layout, but for the CPUs that are the engines' in fact."""
        if self.engines == self._planned.engines:
            return self._planned
        return layout_around(self.host, self.engines)

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        return tuple(settings(self.host, self.layout))

    def group(self, name: str) -> list[Setting]:
        """The settings of a group that do not hold. UnknownError: it has none here."""
        known = [each for each in self.settings if each.group == name]
        if not known:
            raise UnknownError("this host has no such setting")
        return [each for each in known if not each.holds(self.host)]
