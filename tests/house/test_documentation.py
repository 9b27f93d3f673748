"""Every README is true: its paths exist, its commands take these options, its examples work."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import click
import pytest

from net.config.schema import ConfigError, parse_config
from net.config.table import options_table
from tests.house.tree import ROOT, tracked

README_BYTES_MAX = 8_000
"""Two screens: what it is, how to try it, where to read on."""

READMES_OF = (
    ".", "bench", "engine", "net", "net/config", "net/maker", "net/simulator", "net/venues",
    "proto", "tests", "tuning", "tuning/packaging",
)  # fmt: skip

MADE = {"venues.toml", "report.html", "prometheus.yml", "web-socket-api.md"}
"""Files that a reader makes or has, and none of the tree."""

SUFFIXES = "py|md|toml|proto|json|yaml|service|png|css|js|html|sh"
FILE = rf"[\w<>-]+\.(?:{SUFFIXES})"
PATH = re.compile(rf"(?<![\w/.:<>$-])((?:[\w<>.-]+/)+(?:{FILE})?|{FILE})(?![\w/])")
LINK = re.compile(r"\]\(([^)#\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"(?:^|[\s`/])pollux ((?:[a-z]+)(?: [^`|#\n]*)?)")
MODULE = re.compile(r"python -m ([\w.]+)")
TARGET = re.compile(r"(?:^|`)make ([a-z][a-z-]*)(?:`| *#| [A-Z_]+=|$)", re.M)


def readmes() -> list[Path]:
    listed = tracked()
    found = listed if listed is not None else [f"{each}/README.md" for each in READMES_OF]
    return [ROOT / path for path in found if Path(path).name == "README.md"]


def candidates(readme: Path, line: str, name: str) -> Iterable[Path]:
    """Where a name that a README writes may lead: from its folder, from the root, or from a folder
    that is named in the same line."""
    yield from (readme.parent / name, ROOT / name)
    for match in PATH.finditer(line):
        folder = match[1]
        if folder.endswith("/"):
            yield from (readme.parent / folder / name, ROOT / folder / name)


def missing_paths(readme: Path, text: str) -> list[str]:
    """The names of files and folders in a README that lead nowhere.

    `<venue>` stands for the folder of any exchange. A bare file name is looked for below the
    README's folder too.
    """
    bad = []
    folders = {path.name for path in (*ROOT.iterdir(), *readme.parent.iterdir()) if path.is_dir()}
    for line in text.splitlines():
        for match in PATH.finditer(line):
            name = match[1]
            if name in MADE or ("/" in name and name.split("/")[0] not in folders | {"<venue>"}):
                continue
            filled = [name.replace("<venue>", each) for each in venue_folders()]
            found = any(path.exists() for each in filled for path in candidates(readme, line, each))
            if not found and not ("/" not in name and name in names_below(readme.parent)):
                bad.append(f"{readme.relative_to(ROOT)}: {name}")
    for link in LINK.findall(text):
        if "://" not in link and not (readme.parent / link).exists():
            bad.append(f"{readme.relative_to(ROOT)}: link to {link}")
    return bad


def names_below(folder: Path) -> set[str]:
    """The names of the tree's files below a folder."""
    paths = [ROOT / path for path in tracked() or ()] or list(folder.rglob("*"))
    return {path.name for path in paths if folder in path.parents}


def venue_folders() -> list[str]:
    folders = (path.parent.name for path in (ROOT / "net/venues").glob("*/market_data.py"))
    return sorted(folders) or ["<venue>"]


def wrong_commands(group: click.Group, text: str) -> list[str]:
    """Commands of a README that do not exist, or do not take the options that it shows."""
    bad = []
    for match in COMMAND.finditer(text):
        words = re.sub(r"[\[\]()]", " ", match[1]).split()
        command: click.Command | None = group
        while words and isinstance(command, click.Group):
            command = command.commands.get(words.pop(0))
        if command is None or isinstance(command, click.Group):
            bad.append(f"pollux {match[1]}")
            continue
        known = {name for each in command.params for name in each.opts} | {"--help"}
        for word in words:
            option = word.split("=")[0].rstrip(".,;:")
            if option.startswith("--") and option not in known:
                bad.append(f"pollux {command.name} takes no {option}")
    return bad


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


# --- paths, links, commands ----------------------------------------------------------------------


def test_the_first_readme_is_two_screens() -> None:
    assert (ROOT / "README.md").stat().st_size < README_BYTES_MAX


def test_every_folder_with_readers_of_its_own_has_a_readme() -> None:
    assert [each for each in READMES_OF if not (ROOT / each / "README.md").is_file()] == []


@pytest.mark.parametrize("readme", readmes(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_readme_names_exists(readme: Path) -> None:

    from pollux import command_group

    text = readme.read_text(encoding="utf-8")
    assert missing_paths(readme, text) == []
    assert wrong_commands(command_group(), text) == []
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    assert [each for each in TARGET.findall(text) if each not in targets] == []
    for module in MODULE.findall(text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


def test_every_readme_is_reached_from_the_first() -> None:
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        readme = ahead.pop()
        if readme not in seen:
            seen.add(readme)
            links = LINK.findall(readme.read_text(encoding="utf-8"))
            found = ((readme.parent / link).resolve() for link in links if "://" not in link)
            ahead += [path for path in found if path.name == "README.md"]
    assert {path for path in readmes() if "tests/fuzz" not in str(path)} <= seen


def test_a_readme_that_is_not_true_is_found() -> None:
    readme = ROOT / "net/README.md"
    good = (
        "`feed/rest.py`, `engine/book/merge.py`, [x](config/README.md), `rest.py`",
        "venues/<venue>/market_data.py and `/metrics` at ws://host/x; engine/book/: `merge.py`",
    )
    bad = (
        "`feed/resting.py`",
        "engine/board/",
        "`restful.py`",
        "`merge.py`",
        "[x](configuration/README)",
        "<venue>/market_datum.py",
    )
    assert [each for each in good if missing_paths(readme, each)] == []
    assert [each for each in bad if not missing_paths(readme, each)] == []
    group = click.Group("pollux", commands={"watch": click.Command("watch", params=[])})
    assert wrong_commands(group, "`pollux watch`: see `pollux watch --help`") == []
    assert len(wrong_commands(group, "`pollux watch --jsn`\n.venv/bin/pollux wach # x")) == 2


# --- examples ------------------------------------------------------------------------------------


def test_the_table_of_options_is_that_of_the_schema() -> None:
    text = (ROOT / "net/config/README.md").read_text(encoding="utf-8")
    assert text.endswith("\n\n" + options_table())


def test_the_configurations_are_taken() -> None:
    first, *others = blocks(ROOT / "README.md", "toml")
    assert others == []
    assert [each.symbol for each in parse_config(first, "README.md").instrument] == ["BTC-USD"]
    maker, *parts = blocks(ROOT / "net/maker/README.md", "toml")
    for part in parts:
        parse_config("\n".join((first, maker, part)), "net/maker/README.md")
    config = parse_config(first + maker, "net/maker/README.md")
    assert [each.orders for each in config.maker] == ["paper"]
    with pytest.raises(ConfigError):
        parse_config(first + maker.replace("levels", "level"), "net/maker/README.md")
    assert tomllib.loads(maker)["maker"]["quotes"]["levels"] == 3
