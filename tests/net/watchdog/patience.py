"""The daemon and its watchdog with shorter waits for a venue's list of orders to be fresh.

`python -m tests.net.watchdog.patience CONFIG` runs `pollux serve --config CONFIG`, whose watchdog
is this file without an argument. The simulated venues' lists are never old.
Runs on: processes of its own.
"""

from __future__ import annotations

import os
import sys

OPEN_ORDERS_AGE_S = 0.3
READ_AGAIN_S = 1.0


def shorten() -> None:
    """Put the numbers above where daemon and watchdog read their own."""
    import net.orders.sweep
    import net.watchdog.launcher
    from net.venues.bitstamp.orders.entry import BitstampEntry

    defaults = BitstampEntry.__init__.__kwdefaults__
    assert defaults is not None and "open_orders_age_ns" in defaults
    defaults["open_orders_age_ns"] = int(OPEN_ORDERS_AGE_S * 1e9)
    net.watchdog.launcher.MODULE = "tests.net.watchdog.patience"
    net.orders.sweep.READ_AGAIN_NS = int(READ_AGAIN_S * 1e9)


if __name__ == "__main__":
    shorten()
    if len(sys.argv) > 1:
        import pollux

        pollux.main(["serve", "--config", sys.argv[1]])
    else:
        import net.watchdog.__main__

        os._exit(net.watchdog.__main__.main())
