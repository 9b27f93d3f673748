"""Where lines for the operator go, as a type.

Runs on: any thread.
"""

from __future__ import annotations

from typing import Protocol


class LogFunction(Protocol):
    """Where lines for the operator go."""

    def __call__(self, level: str, event: str, **facts: object) -> None: ...
