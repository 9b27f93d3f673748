"""`pollux soak`: a daemon among failing venues for hours; every book it publishes is judged."""

from __future__ import annotations

from bench.soak.run import SoakError, SoakOptions, run_soak

__all__ = ["SoakError", "SoakOptions", "run_soak"]
