"""Tests of the market maker's parts; the whole of it is in tests/trading."""
