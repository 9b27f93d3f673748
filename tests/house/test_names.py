"""Names: one alias for one module, one place for one constant, an exchange in its own folder."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.house.rooms import FLOORS
from tests.house.tree import ROOT, Source, imports, of_floors, sources

EXCHANGES = ("binance", "bitstamp", "bybit", "coinbase", "gemini", "kraken", "kucoin", "okx")
FOLDERS = (*EXCHANGES, "binance_usdm", "gate")
"""Of exchanges; "gate" is a word of the language too, and is not looked for."""
VENUE_PLACES = ("net/venues/", "net/simulator/")
VENUE_REGISTRIES = ("net/venues/registry.py", "net/simulator/registry.py")
BENCH_VENUES = "bench/rig/venue_names.py"
"""A bench chooses its venues by name, as data, in one file."""

OF_NO_VENUE = ("net/orders/", "net/maker/", "net/watchdog/")
"""Rooms whose docstrings and comments name no exchange either."""

TWICE = {
    "HEARTBEAT_NS": "a word of the meters' header, and one of the state board's",
    "SERVICE_NAME": "of two gRPC services",
    "SLOT_WORDS": "of the handoff's slots, and of the state board's",
    "VERSION": "of two segments' layouts",
}
"""Constants of one name and value in two modules that are different things, each with why."""


def alias_faults(files: Iterable[Source], known: Iterable[str] | None = None) -> list[str]:
    """Modules of ours with two names, and names given by `as` that stand for two modules.

    A module that keeps its own name may share it with another (two folders have a `rig`).
    """
    names: dict[str, dict[str, str]] = defaultdict(dict)
    given: dict[str, dict[str, str]] = defaultdict(dict)
    for each in files:
        for found in imports(each, known):
            if found.bound is not None and found.module.split(".")[0] in FLOORS:
                names[found.module].setdefault(found.bound, f"{each.path}:{found.line}")
                if found.is_renamed:
                    given[found.bound].setdefault(found.module, f"{each.path}:{found.line}")
    return [
        f"{key}: {', '.join(f'{value} ({where})' for value, where in sorted(uses.items()))}"
        for table in (names, given)
        for key, uses in sorted(table.items())
        if len(uses) > 1
    ]


def constants(each: Source) -> Iterator[tuple[str, str]]:
    """(name, value) of the constants of a module: names in capitals, at its top level.

    Arithmetic of literals is worked out, so that 10**9 is 1_000_000_000.
    """
    for node in each.tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        for name, one in pairs:
            if isinstance(name, ast.Name) and name.id.isupper():
                yield name.id, value_text(one)


def value_text(node: ast.expr) -> str:
    """A value as it is written, or what its arithmetic comes to."""
    inner = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    if all(isinstance(each, inner) for each in ast.walk(node)):
        return repr(eval(compile(ast.Expression(node), "", "eval"), {}))  # literals alone
    return ast.unparse(node)


def program_of(path: str) -> str:
    """What shares its constants: the simulator is the independent other side of every test, and
    tuning/ imports nothing of ours."""
    return next((each for each in ("net/simulator/", "tuning/") if path.startswith(each)), "pollux")


def defined_twice(files: Iterable[Source]) -> dict[str, list[str]]:
    """Name -> the modules of one program that define it with one value."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for each in files:
        for name, value in constants(each):
            found[program_of(each.path), name, value].append(each.path)
    return {name: sorted(paths) for (_, name, _), paths in sorted(found.items()) if len(paths) > 1}


def is_venue_place(path: str) -> bool:
    """Whether a file stands in a folder named as an exchange, or says which ones there are."""
    return path in (*VENUE_REGISTRIES, BENCH_VENUES) or any(
        path.startswith(f"{place}{name}/") for place in VENUE_PLACES for name in FOLDERS
    )


def exchanges_named(each: Source) -> list[str]:
    """Lines of code that name an exchange; texts that stand for themselves are left out."""
    lines = []
    for node in each.tree.body:
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            lines += ast.unparse(node).splitlines()
    return [
        f"{each.path}: {line.strip()}"
        for line in lines
        if any(name in line.lower() for name in EXCHANGES)
    ]


def test_a_module_has_one_name_everywhere() -> None:
    assert alias_faults(sources()) == []


def test_two_names_for_one_module_and_one_for_two_are_found() -> None:
    known = ["net.feed.rest", "net.tape.tape"]
    files = [
        Source("net/a.py", "from net.feed import rest as R\nfrom net.tape import tape as R\n"),
        Source("net/b.py", "from net.feed import rest\n"),
    ]
    assert len(alias_faults(files, known)) == 2 + 1 - 1
    assert len(alias_faults(files[:1], known)) == 1
    assert alias_faults(files[1:], known) == []


def test_a_constant_is_defined_once() -> None:
    found = defined_twice(of_floors("engine", "net", "tuning", "pollux"))
    assert {name: where for name, where in found.items() if name not in TWICE} == {}
    assert sorted(set(TWICE) - set(found)) == [], "an exception that is needed no longer"


def test_a_constant_that_is_defined_twice_is_found() -> None:
    files = [
        Source("net/a.py", "LIMIT_S = 1.0\nX: int = 10**2\nY = 1\n"),
        Source("net/b.py", "LIMIT_S, X = 1.0, 100\nY = 2\n"),
        Source("net/simulator/c.py", "LIMIT_S = 1.0\n"),
    ]
    both = ["net/a.py", "net/b.py"]
    assert defined_twice(files) == {"LIMIT_S": both, "X": both}


def test_an_exchange_is_named_in_its_own_folders_alone() -> None:
    named = {
        each.path: lines
        for each in of_floors("engine", "net", "tuning", "bench", "pollux")
        if not is_venue_place(each.path) and (lines := exchanges_named(each))
    }
    assert named == {}


def test_the_trade_side_names_no_exchange_in_any_text() -> None:
    texts = {each.path: each.text.lower() for each in of_floors("net")}
    named = {
        path: [name for name in EXCHANGES if name in text]
        for path, text in texts.items()
        if path.startswith(OF_NO_VENUE)
    }
    assert len(named) > 30
    assert {path: names for path, names in named.items() if names} == {}


def test_every_venue_folder_is_known_to_this_test() -> None:
    for place in VENUE_PLACES:
        folders = {path.name for path in (ROOT / place).iterdir() if path.is_dir()}
        assert folders - {"__pycache__", "orders"} <= set(FOLDERS)


def test_an_exchange_in_code_is_found() -> None:
    text = '"""Binance does this."""\nX = 1\n"""As Kraken."""\ndef f():\n    """Of OKX."""\n'
    assert len(exchanges_named(Source("net/feed/a.py", text))) == 1
    assert len(exchanges_named(Source("net/feed/a.py", "if venue == 'bitstamp':\n    pass\n"))) == 1
    assert is_venue_place("net/venues/binance/orders/entry.py")
    assert not is_venue_place("net/venues/binance.py")
    assert not is_venue_place("net/feed/binance/rest.py")
