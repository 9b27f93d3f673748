"""Reads a report's HTML back: its tables, and what it would load.

Runs on: the tests' thread.
"""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link"}
LOADING = ("src", "href", "xlink:href", "data", "srcset", "poster", "action")


class Report(HTMLParser):
    """Text, tables and references; AssertionError where a tag is not closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.rows: list[list[str]] = []
        """Of all tables, headings included."""
        self.drawn: list[str] = []
        """Texts in plots."""
        self._open: list[str] = []
        self._text = ""
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in LOADING]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "text"):
            self._text = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(self._text)
        elif tag == "text":
            self.drawn.append(self._text)

    def handle_data(self, data: str) -> None:
        self._text += data

    @property
    def loaded(self) -> list[str]:
        """References that lead out of the file."""
        return [each for each in self.references if not each.startswith(("#", "data:"))]

    def row(self, first: str) -> list[str]:
        """The cells of the one row that begins so."""
        (found,) = [row for row in self.rows if row and row[0] == first]
        return found[1:]
