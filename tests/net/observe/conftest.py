"""Fixtures of the tests of what looks at a daemon: an engine's segment to look at."""

from tests.net.gateway.conftest import engine

__all__ = ["engine"]
