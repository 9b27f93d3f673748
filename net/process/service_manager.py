"""What a service manager is told: that the daemon serves, how it stands, and that it ends.

One datagram of assignments to the socket that $NOTIFY_SOCKET names, sd_notify(3); where there is
none, nothing is done. A service manager that does not take it in at once is not waited for.
Runs on: the main thread.
"""

from __future__ import annotations

import contextlib
import os
import socket

MICROSECONDS = 1_000_000


def is_managed() -> bool:
    """Whether a service manager wants to know."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*assignments: str) -> None:
    """Send assignments, as `READY=1`; each is one line."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    message = "\n".join(" ".join(each.split()) for each in assignments)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.setblocking(False)
        to.sendto(message.encode(), address)


def watchdog_s() -> float | None:
    """After how long without `WATCHDOG=1` the service manager would start this process anew."""
    limit_us, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or not int(limit_us) or pid not in ("", str(os.getpid())):
        return None
    return int(limit_us) / MICROSECONDS
