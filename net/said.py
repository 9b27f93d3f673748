"""What outsiders said, or an unexpected error did, fit for one line of a log or of an error.

They may say a megabyte, several lines, or a list in a list in a list, a thousand deep, which
Python cannot write out at all.
Runs on: any thread. Called by: net.
"""

from __future__ import annotations

import orjson

CHARACTERS_MAX = 300
"""Longer texts are cut: what is wrong is said at the beginning, or not at all."""


def said(value: object) -> str:
    """A text, or a value decoded from JSON, as one line of bounded length."""
    text = value if isinstance(value, str) else _written(value)
    # Cut before it is split: of a megabyte only the beginning is looked at.
    line = " ".join(text[: 2 * CHARACTERS_MAX].split())
    is_cut = len(text) > 2 * CHARACTERS_MAX or len(line) > CHARACTERS_MAX
    return f"{line[:CHARACTERS_MAX]}..." if is_cut else line


def told(error: BaseException) -> str:
    """An error that nobody expected, as one line: its kind and its text."""
    return said(f"{type(error).__name__}: {error}")


def _written(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return f"a {type(value).__name__}"
