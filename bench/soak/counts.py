"""Everything countable at one moment: the daemon's metrics page and the venues' own statistics.

Runs on: any thread.
"""

from __future__ import annotations

import ssl
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families

ASK_LIMIT_S = 30.0


@dataclass(frozen=True)
class Look:
    """Everything countable at one moment."""

    counters: dict[tuple[str, ...], float]
    stats: dict[str, dict[str, Any]]

    def count(self, name: str, venue: str, reason: str = "") -> int:
        """A counter of the daemon, all reasons together where none is given."""
        found = [
            value
            for key, value in self.counters.items()
            if key[:2] == (name, venue) and (not reason or key[2] == reason)
        ]
        return int(sum(found))

    def reasons(self, name: str, venue: str) -> dict[str, int]:
        """A counter's parts, those that are not zero."""
        return {
            key[2]: int(value)
            for key, value in self.counters.items()
            if key[:2] == (name, venue) and value
        }

    def connections(self, venue: str) -> int:
        """Connections the venue has seen."""
        return int(self.stats[venue]["connections_total"])

    def requests(self, venue: str) -> int:
        """REST requests the venue has seen; the websocket's routes are no such."""
        return sum(n for path, n in self.stats[venue]["requests"].items() if "/api/" in path)

    def strikes(self, venue: str) -> dict[str, int]:
        return dict(self.stats[venue]["faults"])


def look(metrics: str, urls: dict[str, str], context: ssl.SSLContext | None = None) -> Look:
    """Read the metrics page at an address and the statistics of venues."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=ASK_LIMIT_S) as answer:
        page = answer.read().decode()
    counters: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = sample.labels
            name = sample.name.removeprefix("pollux_").removesuffix("_total")
            key = (name, labels.get("venue", ""), labels.get("reason", ""))
            counters[key] = counters.get(key, 0.0) + sample.value
    stats = {}
    for venue, url in urls.items():
        address = f"{url}/simulator/stats"
        with urllib.request.urlopen(address, timeout=ASK_LIMIT_S, context=context) as answer:
            stats[venue] = orjson.loads(answer.read())
    return Look(counters, stats)


def post(url: str, action: str, context: ssl.SSLContext | None = None) -> Any:
    """One of a simulated venue's control endpoints."""
    request = urllib.request.Request(f"{url}/simulator/{action}", method="POST")
    with urllib.request.urlopen(request, timeout=ASK_LIMIT_S, context=context) as answer:
        return orjson.loads(answer.read())


def inflict(url: str, orders: list[str], context: ssl.SSLContext | None = None) -> None:
    """Order faults (net.simulator.faults has the grammar)."""
    query = urllib.parse.urlencode([("order", order) for order in orders])
    assert post(url, f"fault?{query}", context) == {"armed": orders}
