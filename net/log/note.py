"""What a part of the program tells an operator, as codes: each has a text and a level in the log.

A code travels from who notices to who logs; only the log renders its text.
Runs on: any thread (constants only).
"""

from __future__ import annotations

from enum import Enum


class Note(Enum):
    """The base of such codes, which has none itself: NAME = (text, level)."""

    def __init__(self, text: str, level: str) -> None:
        self.text = text
        self.level = level
