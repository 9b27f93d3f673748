"""Fixtures of the tests of clients: an engine's segment for their gateways."""

from tests.net.gateway.conftest import engine

__all__ = ["engine"]
