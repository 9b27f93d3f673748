"""Units of time in nanoseconds, in which every time inside the program is.

Runs on: any thread (constants only).
"""

from __future__ import annotations

NS_PER_US, NS_PER_MS, NS_PER_S = 1_000, 1_000_000, 1_000_000_000
DAY_NS = 86_400 * NS_PER_S
NEVER_NS = 2**63 - 1
"""Later than every time."""
