"""Packages of Pollux's own interface, by version."""
