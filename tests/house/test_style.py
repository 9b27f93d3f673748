"""Sizes, docstrings, clocks and sockets: the house's rules on how a file is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from tests.house.tree import Source, functions, imports, of_floors, sources

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
LINE_COLUMNS_MAX = 100

PRAGMA = re.compile(r"\s*# (type: ignore|noqa|fmt: skip).*$")

CLOCKS = {"time", "random", "datetime", "secrets", "uuid"}
"""Modules that no file of engine/ may import, but for the twins that stand in with the JIT off."""
SOCKETS_AND_LOGS = {
    "socket", "ssl", "select", "asyncio", "logging", "structlog", "picows", "grpc", "threading",
    "aiohttp", "requests", "urllib",
}  # fmt: skip


def too_long(files: Iterable[Source]) -> list[str]:
    """Files, lines and functions above their limits."""
    bad = []
    for each in files:
        lines = each.text.splitlines()
        if len(lines) > FILE_LINES_MAX:
            bad.append(f"{each.path}: {len(lines)} lines")
        for number, line in enumerate(lines, 1):
            # As ruff does: a comment for a tool at the line's end does not count.
            if len(PRAGMA.sub("", line)) > LINE_COLUMNS_MAX:
                bad.append(f"{each.path}:{number}: {len(line)} columns")
        for one in functions(each):
            assert one.end_lineno is not None
            if one.end_lineno - one.lineno >= FUNCTION_LINES_MAX:
                count = one.end_lineno - one.lineno + 1
                bad.append(f"{each.path}:{one.lineno}: {one.name} has {count} lines")
    return bad


def docstring_faults(each: Source) -> list[str]:
    """What is wrong with a module's docstring."""
    if each.path.endswith("__init__.py") and not each.text.strip():
        return []
    lines = each.docstring.splitlines()
    if not lines:
        return ["there is none"]
    bad = []
    if lines[0][-1] not in ".?":
        bad.append("the first line is no sentence")
    if len(lines) > 1 and lines[1]:
        bad.append("no empty line after the first")
    if "called by:" in each.docstring.lower():
        bad.append("the imports say who calls it")
    threads = [number for number, line in enumerate(lines) if "Runs on:" in line]
    if each.floor in ("engine", "net") and not each.path.endswith("__init__.py") and not threads:
        bad.append("it does not say which thread runs it")
    for number in threads:
        rest = "\n".join(lines[number:])
        if not lines[number].startswith("Runs on: ") or re.search(r"\n\n|[.?]\s+\S", rest):
            bad.append("`Runs on:` and one sentence are not its last line")
    return bad


def foreign(each: Source, forbidden: set[str]) -> list[str]:
    """The imports of a file that its floor forbids.

    What stands in `if JIT_OFF:` is left out: the Python twins of intrinsics and of libc's calls.
    """
    body: list[ast.stmt] = []
    for node in each.tree.body:
        is_twin = isinstance(node, ast.If) and ast.unparse(node.test) == "JIT_OFF"
        body += node.orelse if is_twin and isinstance(node, ast.If) else [node]
    rest = Source(each.path, ast.unparse(ast.Module(body=body, type_ignores=[])))
    return [
        f"{each.path} imports {found.module}"
        for found in imports(rest)
        if found.module.split(".")[0] in forbidden
    ]


def test_files_functions_and_lines_stay_short() -> None:
    assert too_long(sources()) == []


def test_what_is_too_long_is_found() -> None:
    function = "def f() -> None:\n" + "    pass\n" * FUNCTION_LINES_MAX
    assert len(too_long([Source("net/a.py", function)])) == 1
    assert too_long([Source("net/a.py", function.replace("    pass\n", "", 1))]) == []
    assert len(too_long([Source("net/a.py", "x = 1\n" * (FILE_LINES_MAX + 1))])) == 1
    assert len(too_long([Source("net/a.py", f"x = '{'-' * LINE_COLUMNS_MAX}'\n")])) == 1


def test_module_docstrings_have_one_form() -> None:
    bad = [f"{each.path}: {fault}" for each in sources() for fault in docstring_faults(each)]
    assert bad == []


def test_a_docstring_of_another_form_is_found() -> None:
    for text in (
        "",
        '"""What it is"""',
        '"""What it is.\nMore of it.\n\nRuns on: the engine thread.\n"""',
        '"""What it is. Runs on: the engine thread."""',
        '"""What it is."""',
        '"""What it is.\n\nRuns on: the engine thread.\nMore of it.\n"""',
        '"""What it is.\n\nCalled by: net/feed.\nRuns on: the engine thread.\n"""',
    ):
        assert docstring_faults(Source("net/feed/a.py", text)) != [], text
    good = '"""What it is.\n\nMore of it.\nRuns on: the engine thread,\nand tests.\n"""'
    assert docstring_faults(Source("net/feed/a.py", good)) == []


def test_the_engine_has_no_clock_chance_socket_or_log() -> None:
    bad = [each for one in of_floors("engine") for each in foreign(one, CLOCKS | SOCKETS_AND_LOGS)]
    assert bad == []


def test_a_clock_in_the_engine_is_found() -> None:
    text = "if JIT_OFF:\n    import random\nelse:\n    import time\n\ndef f():\n    import ssl\n"
    found = foreign(Source("engine/a.py", text), CLOCKS | SOCKETS_AND_LOGS)
    assert found == ["engine/a.py imports time", "engine/a.py imports ssl"]
