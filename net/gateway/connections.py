"""Which connections must go: none that does nothing keeps a newcomer out, no client has all.

Runs on: the gateway's event loop.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection

from net.gateway.clients import network_of
from net.gateway.link import Link
from net.gateway.options import GatewayOptions

LOOK_EVERY_S = 0.5
CROWDED = 0.75
"""From this part of all places on, idle connections are closed; no client may have more of them."""
IDLE_LIMIT_S = 3.0
"""How long one may then be without a call: a newcomer has made its first one by then."""
UNDIVIDED = 16
"""So few places are not divided among clients."""

_log = logging.getLogger("pollux.gateway")


class Connections:
    """The rules for those of one listener."""

    def __init__(self, options: GatewayOptions) -> None:
        self._crowd = max(UNDIVIDED, int(options.connections_max * CROWDED))
        self._client_limit = min(options.client_streams_max, self._crowd)

    def excess(self, links: Collection[Link], now_s: float) -> list[Link]:
        """Those to be closed now."""
        if len(links) <= min(self._client_limit, self._crowd):
            return []
        by_client: dict[str, list[Link]] = defaultdict(list)
        for link in links:
            by_client[network_of(link.host)].append(link)
        gone = [each for those in by_client.values() for each in self._beyond_share(those)]
        excess = len(links) - len(gone) - self._crowd
        if excess > 0:
            limit_s = now_s - IDLE_LIMIT_S
            shut = set(gone)
            idle = [e for e in links if e.since_s < limit_s and not e.has_call and e not in shut]
            idle.sort(key=lambda e: (-len(by_client[network_of(e.host)]), e.since_s))
            gone += idle[:excess]
        return gone

    def _beyond_share(self, links: list[Link]) -> list[Link]:
        """What a client has too many: first without a call, the oldest; then others, the newest."""
        excess = len(links) - self._client_limit
        if excess <= 0:
            return []
        _log.warning(
            "%s has %d connections, %d are closed: a client may hold %d "
            "([gateway] streams_per_client_max, connections_max)",
            network_of(links[0].host), len(links), excess, self._client_limit,
        )  # fmt: skip
        idle = sorted((each for each in links if not each.has_call), key=lambda e: e.since_s)
        others = sorted((each for each in links if each.has_call), key=lambda e: -e.since_s)
        return [*idle, *others][:excess]
