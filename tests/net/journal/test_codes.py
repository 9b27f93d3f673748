"""The journal's codes: each constant is written by the program, each number keeps its name."""

from __future__ import annotations

import ast
from pathlib import Path

import engine
from engine.maker import journal_codes as J

ROOT = Path(engine.__file__).resolve().parent.parent
PLACES = ("engine/maker", "net/journal", "net/maker", "net/watchdog", "net/daemon")
NUMBERS = {
    name: number
    for name, number in vars(J).items()
    if name.startswith(("EVENT_", "REASON_")) and isinstance(number, int)
}


def written_codes() -> set[str]:
    """The names of the codes that any code but the list of them and its readers mentions."""
    found = set()
    for place in PLACES:
        for path in (ROOT / place).rglob("*.py"):
            if path.name not in ("journal_codes.py", "lines.py", "reader.py"):
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.Attribute):
                        found.add(node.attr)
                    elif isinstance(node, ast.Name):
                        found.add(node.id)
    return found


def test_each_code_is_written_somewhere() -> None:
    unwritten = NUMBERS.keys() - written_codes() - {"EVENT_NONE"}
    assert not unwritten, "write it where it happens, or take the constant out"


def test_each_number_has_the_name_of_its_constant() -> None:
    for name, number in NUMBERS.items():
        kind, _, rest = name.partition("_")
        names = J.EVENT_NAMES if kind == "EVENT" else J.REASON_NAMES
        assert names[number] == rest.lower().replace("_", "-")
