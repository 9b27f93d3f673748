"""Measures the floors below it."""
