"""By which HTTP proxy a venue is reached: the venue's own setting, or the environment's.

`HTTPS_PROXY` (`HTTP_PROXY` for addresses without TLS), then `ALL_PROXY`, upper or lower case, but
for what `NO_PROXY` names: hosts, domains with all that is in them, networks, `*`. A loopback
address goes by no proxy of the environment. A venue's own setting is for all its addresses.
Runs on: any thread.
"""

from __future__ import annotations

import contextlib
import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies

VARIABLES = frozenset(
    {
        each
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
        for each in (name, name.lower())
    }
)
"""What a child that connects to venues is given of the environment."""
PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


class ProxySettingError(Exception):
    """A proxy of the environment that cannot be used: one line."""


def proxy_of(url: str, configured: str = "") -> str:
    """The proxy for a connection to this address; empty: none. It may hold a password.

    A venue without such connections has an empty address.
    """
    if configured or not url:
        return configured
    parts, given = urlsplit(url), getproxies()
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    kind = "https" if PORTS[parts.scheme] == PORTS["https"] else "http"
    name = kind if kind in given else "all"
    if name not in given or _is_excepted(host, port, given.get("no", "")):
        return ""
    proxy = given[name] if "://" in given[name] else f"http://{given[name]}"
    if not _is_http(proxy):
        raise ProxySettingError(
            f"{name.upper()}_PROXY: {without_password(proxy)!r} is not the address of an HTTP "
            f"proxy (http:// or https://): correct it, or name {host} in NO_PROXY"
        )
    return proxy


def _is_http(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    rules = re.split(r"[\s,]+", exceptions.lower())
    try:
        address = ip_address(host)
    except ValueError:
        is_near = host == "localhost"
    else:
        is_near = address.is_loopback
        for rule in rules:
            with contextlib.suppress(ValueError):
                is_near = is_near or address in ip_network(rule, strict=False)
    endings = tuple("." + rule.lstrip("*.") for rule in rules if rule.strip("*."))
    is_named = any(f".{name}".endswith(endings) for name in (host, f"{host}:{port}"))
    return is_near or is_named or "*" in rules


def without_password(proxy: str) -> str:
    """A proxy's address as it may be shown."""
    return re.sub(r"//.*@", "//", proxy)


def by_proxy(text: str, proxy: str) -> str:
    """Why a connection failed, and the proxy that it went by, if any."""
    return f"{text} (by the proxy {without_password(proxy)})" if proxy else text
