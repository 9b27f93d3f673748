"""The daemon's reports to the service manager (systemd), as long as it runs.

READY when it serves; until then it asks for more time, so that only a start that hangs is ended.
STATUS is the line of `/readyz`. WATCHDOG as long as the engine's heart beats (`/healthz`): where
the engine, this loop or the whole process stands still there is none, and systemd starts anew.
Runs on: the main thread's loop.
"""

from __future__ import annotations

import asyncio

from net.observe.page.daemon_state import DaemonState
from net.observe.page.health import unhealthy, unready
from net.process.service_manager import MICROSECONDS, is_managed, notify, watchdog_s
from tuning.clock import now

PERIOD_S = 0.5
PERIODS_IN_WATCHDOG = 3
"""So many reports may be late, or lost, before the service manager acts."""
EXTENSION_S = 30
"""How much longer a start may take from each report on: many times the period."""


async def report_to_service_manager(
    state: DaemonState, stop: asyncio.Event, has_gateway: bool
) -> None:
    """Until `stop`, or cancelled."""
    if not is_managed():
        return
    limit_s = watchdog_s()
    period_s = min(PERIOD_S, limit_s / PERIODS_IN_WATCHDOG) if limit_s is not None else PERIOD_S
    is_ready, said = False, ""
    while not stop.is_set():
        moment, report = now(), []
        if not is_ready:
            is_ready = _is_serving(state, has_gateway)
            extension_us = EXTENSION_S * MICROSECONDS
            report.append("READY=1" if is_ready else f"EXTEND_TIMEOUT_USEC={extension_us}")
        status = "; ".join(unready(state, moment)) or "ready"
        if status != said:
            said = status
            report.append(f"STATUS={status}")
        if limit_s is not None and unhealthy(state, moment) is None:
            report.append("WATCHDOG=1")
        if report:
            notify(*report)
        await asyncio.sleep(period_s)


def _is_serving(state: DaemonState, has_gateway: bool) -> bool:
    if not has_gateway:
        return state.live is not None
    return state.gateway is not None and state.gateway.is_serving
