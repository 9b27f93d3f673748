"""Floors and rooms: no arrow points up, none is outside the table, and folders make no circle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.house.rooms import (
    FLOORS,
    NET_ROOMS_MAX,
    ROOMS,
    SIMULATOR,
    SIMULATOR_IS_IMPORTED_BY,
)
from tests.house.tree import ROOT, Source, imports, modules, of_floors, sources, tracked

TOP_LEVEL = {
    "pyproject.toml", "engine", "net", "proto", "tuning", "tests", "bench", "README.md",
    "pollux.py", "LICENSE", "Makefile", "requirements.lock",
}  # fmt: skip
DOT_FILES = {
    ".ci", ".dockerignore", ".editorconfig", ".gitattributes", ".github", ".gitignore",
    ".pre-commit-config.yaml", ".python-version",
}  # fmt: skip

Arrows = dict[tuple[str, str], list[str]]
"""(room, room that it imports) -> `file:line imports module`, one for each import."""


def climbs(files: Iterable[Source]) -> list[str]:
    """The imports that point up or sideways."""
    return [
        f"{each.path}:{found.line} imports {found.module}"
        for each in files
        for found in imports(each)
        if found.module.startswith(".")
        or (
            (floor := found.module.split(".")[0]) in FLOORS
            and floor not in FLOORS[each.floor] | {each.floor}
        )
    ]


def room_of(module: str, known: Iterable[str]) -> str:
    """The room that a module of engine/ or net/ stands in: `net/feed`, `engine/specs.py`."""
    parts = module.split(".")
    is_folder = any(name.startswith(f"{parts[0]}.{parts[1]}.") for name in known)
    return "/".join(parts[:2]) + ("" if is_folder else ".py")


def arrows(files: Iterable[Source], known: Iterable[str]) -> Arrows:
    """Which room imports which, within engine/ and within net/."""
    names, found = frozenset(known), defaultdict(list)
    for each in files:
        for one in imports(each, names):
            if one.module.split(".")[0] == each.floor and "." in one.module:
                other = room_of(one.module, names)
                if other != each.room:
                    found[each.room, other].append(f"{each.path}:{one.line} imports {one.module}")
    return dict(found)


def outside(found: Arrows, table: Mapping[str, Iterable[str]]) -> list[str]:
    """The imports that the table does not allow."""
    return [
        example
        for (room, other), examples in sorted(found.items())
        if other not in table.get(room, ())
        for example in examples
    ]


def circle(table: Mapping[str, Iterable[str]]) -> list[str]:
    """The rooms of one circle, in order; none where there is no circle."""
    try:
        TopologicalSorter(table).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def allowed() -> dict[str, set[str]]:
    """The table with the floor before each room's name."""
    return {
        room: {f"{room.split('/')[0]}/{other}" for other in others.split()}
        for room, others in ROOMS.items()
    }


def strays(files: Iterable[Source]) -> list[str]:
    """Who imports the simulator and may not."""
    return [
        f"{each.path}:{found.line}"
        for each in files
        if not each.path.startswith(SIMULATOR_IS_IMPORTED_BY)
        for found in imports(each)
        if f"{found.module}.".startswith(f"{SIMULATOR}.")
    ]


# --- floors --------------------------------------------------------------------------------------


def test_no_import_points_up() -> None:
    assert climbs(sources()) == []


def test_an_import_that_points_up_is_found() -> None:
    text = "def late() -> None:\n    from net import daemon\n\nimport bench.run\nfrom . import x\n"
    assert len(climbs([Source("engine/book/bad.py", text)])) == 3
    assert len(climbs([Source("bench/bad.py", text)])) == 1


def test_the_floors_have_something_to_check() -> None:
    assert {each.floor for each in sources()} == set(FLOORS)


def test_the_top_level_is_what_it_should_be() -> None:
    listed = tracked()
    if listed is None:
        pytest.skip("no git checkout")
    assert {path.split("/")[0] for path in listed} - DOT_FILES == TOP_LEVEL
    assert [entry for entry in TOP_LEVEL if not (ROOT / entry).exists()] == []


# --- rooms ---------------------------------------------------------------------------------------


def test_rooms_import_what_the_table_allows() -> None:
    assert outside(arrows(of_floors("engine", "net"), modules()), allowed()) == []


def test_the_table_allows_nothing_that_is_not_needed() -> None:
    table = {(room, other) for room, others in allowed().items() for other in others}
    needed = set(arrows(of_floors("engine", "net"), modules()))
    assert sorted(table - needed) == []


def test_every_room_is_in_the_table() -> None:
    rooms = {each.room for each in of_floors("engine", "net")}
    assert rooms - {"engine/__init__.py", "net/__init__.py"} == set(ROOMS)


def test_rooms_make_no_circle() -> None:
    assert circle(allowed()) == []


def test_modules_of_the_bench_make_no_circle() -> None:
    names = modules()
    assert circle({
        each.module: {one.module for one in imports(each) if one.module in names} - {each.module}
        for each in of_floors("bench")
    }) == []  # fmt: skip


def test_an_arrow_outside_the_table_and_a_circle_are_found() -> None:
    names = ["net.feed.rest", "net.venues.registry", "engine.specs", "engine.book.frame"]
    files = [
        Source("net/feed/rest.py", "from net.venues import registry\nimport net.venues.registry"),
        Source("net/venues/registry.py", "def f() -> None:\n    from net.feed.rest import Rest\n"),
        Source("engine/specs.py", "from engine.book import feed\n"),
    ]
    found = arrows(files, names)
    assert set(found) == {
        ("net/feed", "net/venues"),
        ("net/venues", "net/feed"),
        ("engine/specs.py", "engine/book"),
    }
    assert len(outside(found, {"net/feed": {"net/venues"}})) == 2
    assert circle({"net/feed": {"net/venues"}, "engine/specs.py": {"engine/book"}}) == []
    assert len(circle({room: {other} for room, other in found})) == 3


def test_net_has_few_rooms_and_no_loose_file() -> None:
    rooms = {each.room for each in of_floors("net")} - {"net/__init__.py"}
    assert len(rooms) <= NET_ROOMS_MAX
    assert [room for room in rooms if room.endswith(".py")] == []
    loose = {path for path in tracked() or () if path.count("/") == 1 and path.startswith("net/")}
    assert loose <= {"net/__init__.py", "net/README.md"}


# --- the simulator -------------------------------------------------------------------------------


def test_nothing_at_run_time_imports_the_simulator() -> None:
    assert strays(sources()) == []


def test_an_import_of_the_simulator_is_found() -> None:
    text = "def late() -> None:\n    from net.simulator import market\n"
    assert strays([Source("net/feed/bad.py", text), Source("net/daemon/demo.py", text)]) == [
        "net/feed/bad.py:2"
    ]
