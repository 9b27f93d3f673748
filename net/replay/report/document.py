"""One HTML file that needs nothing else: no script, no link, its style and its plots inside.

Text is escaped by `tag`, which everything is built with; only `Html` goes in as it is.
Runs on: the main thread of a command.
"""

from __future__ import annotations

import html
import importlib.util
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from net.replay.report.drawing import COLOURS

STYLE = Path(__file__).with_name("report.css")
SUFFIX = ".html"

GOOD, WARN, BAD = "good", "warn", "bad"
"""How a verdict is coloured; its text says the same."""


class ReportError(Exception):
    """A report that cannot be drawn or written: one line. `status` is the exit status."""

    def __init__(self, text: str, status: int = 2) -> None:
        super().__init__(text)
        self.status = status


class Html(str):
    """Markup: what is not of this type is text, and is escaped."""

    __slots__ = ()


def tag(name: str, *parts: str, **attributes: str) -> Html:
    """An element; `class_` is its class."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    inside = "".join(part if isinstance(part, Html) else html.escape(part) for part in parts)
    return Html(f"<{name}{given}>{inside}</{name}>")


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1
) -> Html:
    """Rows under headings, in a box that scrolls by itself; the first `texts` columns are text."""

    def row(cell: str, cells: Sequence[str]) -> Html:
        sides = ("text" if index < texts else "number" for index in range(len(cells)))
        return tag("tr", *(tag(cell, each, class_=s) for each, s in zip(cells, sides, strict=True)))

    body = tag("tbody", *(row("td", cells) for cells in rows))
    caption = tag("caption", title)
    inner = tag("table", caption, tag("thead", row("th", columns)), body)
    # What scrolls must be reachable with the keyboard.
    return tag("div", inner, class_="wide", tabindex="0")


def facts(pairs: Mapping[str, str]) -> Html:
    """Names and what they are."""
    return tag("dl", *(tag(*each) for k, v in pairs.items() for each in (("dt", k), ("dd", v))))


def bullets(items: Iterable[str]) -> Html:
    return tag("ul", *(tag("li", each) for each in items))


def verdict(text: str, kind: str) -> Html:
    """A word that stands out; `kind`: GOOD, WARN or BAD."""
    return tag("b", text, class_=kind)


def plot(title: str, svg: str) -> Html:
    """A drawing; on a narrow screen it scrolls in its own box."""
    return tag("figure", Html(svg), class_="wide", role="img", aria_label=title, tabindex="0")


def section(title: str, *parts: str) -> Html:
    return tag("section", tag("h2", title), *parts)


def versions(names: Iterable[str]) -> str:
    """Of Python and of installed packages."""
    found = [f"Python {platform.python_version()}"]
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


def command_line() -> str:
    """As it was given, to be given again."""
    return shlex.join((Path(sys.argv[0]).name, *sys.argv[1:]))


def document(title: str, *parts: str) -> str:
    """The whole file."""
    head = (
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        Html('<link rel="icon" href="data:,">'),
        tag("style", Html(_colours() + STYLE.read_text(encoding="utf-8"))),
    )
    body = tag("main", tag("h1", title), *parts)
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', body), lang='en')}\n"


def _colours() -> str:
    """Variables by the screen's scheme; paper is light."""
    light, dark = (
        "".join(f"--{name}:{pair[index]};" for name, pair in COLOURS.items()) for index in range(2)
    )
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}\n"
    )


def check_report(path: Path) -> None:
    """ReportError where a report could not be drawn, or not be written here. Changes nothing."""
    if path.suffix != SUFFIX:
        # A tape or a configuration given by mistake is not to be lost.
        raise ReportError(f"{path}: the name must end with {SUFFIX}")
    check_drawing("a report")
    check_place(path)


def check_place(path: Path) -> None:
    """ReportError where no file could be written here. Changes nothing."""
    try:
        is_new = not path.exists()
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror}") from None


def check_drawing(what: str) -> None:
    """ReportError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ReportError(f'{what} needs matplotlib: pip install "pollux[bench]"')


def write_report(path: Path, text: str) -> None:
    """Write a document; ReportError where the disk refuses."""
    try:
        # A file's name may hold bytes that are no text.
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror}", 1) from None
