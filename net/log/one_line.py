"""A text from outside, or an unexpected error, as one line for the log or for an error.

A venue or a client may send a megabyte, several lines, or lists nested a thousand deep, which
Python cannot write out at all.
Runs on: any thread.
"""

from __future__ import annotations

import orjson

CHARACTERS_MAX = 300
"""Longer texts are cut: their beginning says what is wrong."""


def one_line(value: object) -> str:
    """A text, or a value decoded from JSON, as one line of bounded length."""
    text = value if isinstance(value, str) else _written(value)
    # Cut before it is split: of a megabyte only the beginning is looked at.
    line = " ".join(text[: 2 * CHARACTERS_MAX].split())
    is_cut = len(text) > 2 * CHARACTERS_MAX or len(line) > CHARACTERS_MAX
    return f"{line[:CHARACTERS_MAX]}..." if is_cut else line


def error_text(error: BaseException) -> str:
    """An error that nobody expected, as one line: its kind and its text."""
    return one_line(f"{type(error).__name__}: {error}")


def _written(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return f"a {type(value).__name__}"
