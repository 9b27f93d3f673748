"""Tests of net/simulator."""
