"""Why there is no market maker. Runs on: the main thread. Called by: net.maker, net.daemon."""

from __future__ import annotations


class HousekeepingError(Exception):
    """The market maker cannot be started: one line."""
