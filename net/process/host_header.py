"""Which `Host` an HTTP listener answers to.

A page of a stranger can have its own name resolve to loopback, and the browser then takes what
listens there for the stranger's (DNS rebinding). The name stays the stranger's: it is in `Host`.
Runs on: any thread.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit


def is_own_host(header: str, own: Iterable[str]) -> bool:
    """Whether a `Host` is loopback's or one of these names or addresses; ports do not matter."""
    try:
        host = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    host = host.removesuffix(".")
    if host == "localhost":
        return True
    names = {each.strip("[]").lower().removesuffix(".") for each in own}
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in names
    return address.is_loopback or str(address) in names


def is_own_origin(header: str, own: Iterable[str]) -> bool:
    """The same for an `Origin`: the page that has a browser send a request."""
    return is_own_host(header.partition("://")[2], own)
