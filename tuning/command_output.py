"""What the commands `doctor`, `tune` and `jitter` do: text out, exit status back.

Runs on: the command's main thread.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuning import apply as A
from tuning.doctor.report import count, examine, findings_json, findings_text
from tuning.host import Host, UnknownError, parse_cpus
from tuning.plan import (
    Layout,
    PlanError,
    isolated_engines,
    layout_around,
    plan_host,
    plan_json,
    plan_text,
)
from tuning.settings import beyond

Say = Callable[[str], None]
"""Prints one or more lines."""


class HostError(Exception):
    """The command cannot do what was asked: one line. `status` is the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def cpus_of(text: str, option: str) -> tuple[int, ...]:
    """The CPUs an option names; none for an empty one. HostError: not a list."""
    try:
        return parse_cpus(text)
    except ValueError as error:
        raise HostError(f"{option}: {error}", 2) from None


def doctor(host: Host, cpus: str, as_json: bool, say: Say) -> int:
    """Examine the host; 1 where there is a problem. `cpus`: the engines', empty to guess."""
    findings = examine(host, cpus_of(cpus, "--cpu"))
    say(_json(findings_json(findings)) if as_json else findings_text(findings))
    return 1 if count(findings, "problem") else 0


def layout_of(host: Host, engines: int | None) -> Layout:
    """The layout for so many engines, or of the CPUs that the kernel has isolated, or for one.

    HostError: this host cannot have it, or does not tell.
    """
    try:
        isolated = isolated_engines(host) if engines is None else ()
        return layout_around(host, isolated) if isolated else plan_host(host, engines or 1)
    except PlanError as error:
        raise HostError(str(error), 2) from None
    except UnknownError as error:
        raise HostError(f"the CPUs of this host cannot be read: {error}") from None


def plan(host: Host, engines: int, as_json: bool, say: Say) -> int:
    """Print the layout and what an operator installs for it."""
    layout = layout_of(host, engines)
    say(_json(plan_json(host, layout)) if as_json else plan_text(host, layout))
    return 0


def tune(host: Host, engines: int | None, is_dry: bool, as_json: bool, say: Say) -> int:
    """Show the changes of a layout, then make them unless `is_dry`; 1 where one was refused."""
    layout = layout_of(host, engines)
    wanted, unknown = A.changes(host, layout)
    unchanged = [*unknown, *beyond(host, layout)]
    if not as_json:
        for line in A.change_lines(wanted) or ["nothing to change"]:
            say(line)
        for line in unchanged:
            say(f"not changed: {line}")
    try:
        refused = [] if is_dry else A.apply(host, wanted)
    except A.TuneError as error:
        raise HostError(str(error)) from None
    if as_json:
        entries = [
            {"file": each.setting.file, "before": each.before, "after": each.setting.wanted,
             "why": each.setting.why}
            for each in wanted
        ]  # fmt: skip
        said = {each.setting.file: each.refused for each in refused}
        report = {"changes": entries, "refused": said, "unchanged": unchanged, "dry_run": is_dry}
        say(_json(report))
    elif is_dry:
        say(f"{len(wanted)} files would be changed")
    else:
        for line in A.change_lines(refused):
            say(line)
        say(f"{len(wanted) - len(refused)} of {len(wanted)} files changed; "
            "pollux tune restore undoes it")  # fmt: skip
    return 1 if refused else 0


def restore(host: Host, as_json: bool, say: Say) -> int:
    """Take back what `tune` changed; 1 where something could not be taken back."""
    try:
        done, left = A.restore(host)
    except A.TuneError as error:
        raise HostError(str(error)) from None
    if as_json:
        say(_json({"done": done, "left": left}))
    else:
        for line in done or ([] if left else ["nothing to restore"]):
            say(line)
        for line in left:
            say(f"not restored: {line}")
    return 1 if left else 0


def jitter(
    host: Host, cpus: str, seconds: float, plot: Path | None, as_json: bool, say: Say
) -> int:
    """Measure each CPU in turn, a line as each is done; `cpus` empty: the isolated ones or all."""
    from tuning.jitter import (
        DECADE_HEAD,
        HEAD,
        check_cpus,
        compile_spin,
        decade_line,
        default_cpus,
        jitter_json,
        jitter_line,
        measure,
    )
    from tuning.plot import KINDS, plot_jitter

    chosen = cpus_of(cpus, "--cpus") or default_cpus(host)
    if plot is not None and plot.suffix not in KINDS:
        raise HostError(f"--plot: {plot}: the name must end with {' or '.join(KINDS)}", 2)
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise HostError('--plot needs matplotlib: pip install "pollux[bench]"', 2)
    try:
        check_cpus(chosen)
    except ValueError as error:
        raise HostError(f"--cpus: {error}", 2) from None
    compile_spin()
    found = []
    if not as_json:
        say(f"interruptions of 1 us or more, {seconds:g} s on each CPU in turn\n{HEAD}")
    for cpu in chosen:
        found.append(measure(cpu, seconds))
        if not as_json:
            say(jitter_line(found[-1]))
    if as_json:
        say(_json({"cpus": [jitter_json(each) for each in found]}))
    else:
        say("\n".join(("", DECADE_HEAD, *map(decade_line, found))))
    if plot is not None:
        try:
            plot_jitter(found, plot)
        except OSError as error:
            raise HostError(f"--plot: {plot}: {(error.strerror or str(error)).lower()}") from None
    return 0


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)
