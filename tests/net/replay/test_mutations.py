"""Five mutations of each venue's tape through the product's own replay: what is noticed of each.

A frame lost, one repeated, two swapped, one digit wrong, the connection cut. `EXPECTED` says what
each venue shows of them; the table in net/venues/README.md is the same. What is right is what the
tape shows as it was recorded: after a mutation was noticed no other book is shown as LIVE.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.layout import status as S
from engine.sharing import meter_layout as M
from net.config.schema import parse_config
from net.replay.replay import Replay
from net.tape.tape import TapeLine, read_tape
from net.venues.registry import VENUES
from tests.net.venues import tape_rig
from tests.net.venues.binance_usdm import test_tape as usdm
from tests.net.venues.bybit import test_tape as bybit
from tests.net.venues.coinbase import test_tape as coinbase
from tests.net.venues.okx import test_tape as okx
from tests.recorded import BTCUSDT, TEN_PAIRS

pytestmark = pytest.mark.kernel

README = Path(__file__).resolve().parents[3] / "net" / "venues" / "README.md"
LINES_MAX = 160
"""Lines of a tape that are played, of the market in question alone."""
REST_LEVELS = 100
"""Levels a side of a recorded REST answer that are left: thousands would take minutes."""
DEPTH = 50

GAP, CHECKSUM, BACKWARDS = "gap", "checksum", "backwards"
"""Withdrawn by the next frame of the market at the latest, and built anew."""
WITHDRAWN = "withdrawn"
"""At once, until there is a whole book of the new connection."""
OLD, SAME = "old", "the same"
"""The frame is passed over, or sets what is set already: the book stays right."""
AUDIT, RENEWAL = "unnoticeable: audit", "unnoticeable: renewal"
CONNECTION = "unnoticeable: connection"
"""Until the next audit by REST; until the book is asked for anew; until the connection is."""
CHANGES = ("lost", "repeated", "swapped", "misread", "cut")

EXPECTED = {
    "binance": (GAP, OLD, GAP, AUDIT, WITHDRAWN),
    "bitstamp": (AUDIT, SAME, BACKWARDS, AUDIT, WITHDRAWN),
    "kraken": (CHECKSUM, SAME, CHECKSUM, CHECKSUM, WITHDRAWN),
    "okx": (GAP, GAP, GAP, AUDIT, WITHDRAWN),
    "okx with checksums": (CHECKSUM, SAME, CHECKSUM, CHECKSUM, WITHDRAWN),
    "bybit": (GAP, OLD, GAP, CONNECTION, WITHDRAWN),
    "binance-usdm": (GAP, OLD, GAP, AUDIT, WITHDRAWN),
    "coinbase": (GAP, GAP, GAP, CONNECTION, WITHDRAWN),
    "gemini": (RENEWAL, SAME, RENEWAL, RENEWAL, WITHDRAWN),
    "gate": (GAP, OLD, GAP, AUDIT, WITHDRAWN),
    "kucoin": (GAP, OLD, GAP, AUDIT, WITHDRAWN),
}
"""What is noticed of CHANGES."""

PAIR = re.compile(rb'\["([0-9.]+)","([0-9.]+)"')


@dataclass(frozen=True)
class Case:
    """A market of a venue: its tape, and which of its lines and levels may be spoiled."""

    venue: str
    symbol: str
    tick_size: str
    lines: Callable[[], list[TapeLine]]
    mark: bytes
    """In each change of this market's book, and nowhere else."""
    level: re.Pattern[bytes] = PAIR


def recorded(tape: str, venue: str, *marks: bytes) -> Callable[[], list[TapeLine]]:
    """The lines of a tape that have all the marks, REST answers by their paths."""

    def lines() -> list[TapeLine]:
        found = []
        for line in tape_rig.lines_of(tape, venue, 10**9):
            where = line.path.encode() if line.kind == "rest" else line.raw
            if all(mark.lower() in where.lower() for mark in marks[line.kind == "rest" :]):
                found.append(trimmed(line) if line.kind == "rest" else line)
            if len(found) == LINES_MAX:
                break
        return found

    return lines


def trimmed(line: TapeLine) -> TapeLine:
    """A REST answer with its best levels only."""
    body = orjson.loads(line.raw)
    book = body.get("data", body)
    for side in ("bids", "asks"):
        book[side] = book[side][:REST_LEVELS]
    return replace(line, raw=orjson.dumps(body))


def okx_lines() -> list[TapeLine]:
    marked = [line for line in tape_rig.lines_of(okx.BOOKS, "okx", 10**9) if line.kind == "ws"]
    return [line for line in marked if b'"BTC-USDT"' in line.raw and b'"action"' in line.raw]


CASES = {
    "binance": Case(
        "binance", "BTCUSDT", "0.01",
        recorded(BTCUSDT, "binance", b'"depthUpdate"', b"BTCUSDT"), b'"depthUpdate"',
    ),
    "bitstamp": Case(
        "bitstamp", "xlmeur", "0.00001",
        recorded(TEN_PAIRS, "bitstamp", b'"event":"data"', b"xlmeur"), b"microtimestamp",
    ),
    "kraken": Case(
        "kraken", "BTC/USD", "0.1",
        recorded("three-venues-btcusd-20260809-first", "kraken", b'"book"'), b'"update"',
        re.compile(rb'"price":([0-9.]+),"qty":([0-9.]+)'),
    ),
    "okx": Case(
        "okx", "BTC-USDT", "0.1", lambda: okx.with_ids(okx_lines()), b'"action":"update"'
    ),
    "okx with checksums": Case("okx", "BTC-USDT", "0.1", okx_lines, b'"action":"update"'),
    "bybit": Case(
        "bybit", "BTCUSDT", "0.1", lambda: bybit.stream(4, is_spot=True), b'"delta"'
    ),
    "binance-usdm": Case(
        "binance-usdm", "BATUSDT", "0.0001",
        recorded(usdm.FIVE, "binance-usdm", b'"depthUpdate"', b"BATUSDT"), b'"depthUpdate"',
    ),
    "coinbase": Case(
        "coinbase", "BTC-USD", "0.01", lambda: coinbase.lines_of(60), b'"update"',
        re.compile(rb'"price_level":"([0-9.]+)","new_quantity":"([0-9.]+)"'),
    ),
    "gemini": Case(
        "gemini", "BTCGBP", "0.01", recorded("gemini-ten-20210624", "gemini", b'"BTCGBP"'),
        b'"l2_updates"', re.compile(rb'\["(?:buy|sell)","([0-9.]+)","([0-9.]+)"'),
    ),
    "gate": Case(
        "gate", "OMG_USDT", "0.0001",
        recorded("gate-spot-ten-20210422", "gate", b'"depthUpdate"', b"OMG_USDT"),
        b'"depthUpdate"',
    ),
    "kucoin": Case(
        "kucoin", "BCHSV-USDT", "0.001",
        recorded("kucoin-nine-20210425", "kucoin", b"l2update", b"BCHSV-USDT"), b"l2update",
    ),
}  # fmt: skip
LIKE = {"okx": ("okx-swap",), "bybit": ("bybit-linear",)}
"""Venues that are another's in all that counts here: the rules and the audit."""

Shown = tuple[str, list[Any], list[Any]]


@dataclass
class Played:
    """What a tape came to: after each line the state and the sides of what is published."""

    shown: list[Shown]
    reasons: set[str]
    old: int

    def is_live(self, at: int) -> bool:
        return self.shown[at][0] == "LIVE"


def play(case: Case, lines: list[TapeLine], path: Path) -> Played:
    """Through a file, as `pollux replay` reads it."""
    with gzip.open(path, "wb", 1) as file:
        for line in lines:
            entry = {"t": line.t_ns, "venue": line.venue, "kind": line.kind, "path": line.path}
            file.write(orjson.dumps({**entry, "raw": line.raw.decode()}) + b"\n")
    toml = (
        f'[[instrument]]\nsymbol = "X"\ndepth = {DEPTH}\n[[instrument.venue]]\n'
        f'name = "{case.venue}"\nsymbol = "{case.symbol}"\ntick_size = "{case.tick_size}"\n'
        f"[venue.{case.venue}]\nlate_after_ms = 0\n"
    )
    shown: list[Shown] = [("", [], [])]

    def take(book: dict[str, Any]) -> None:
        shown[-1] = (book["venues"][case.venue], book["bids"], book["asks"])

    ticks = {(case.venue, case.symbol): case.tick_size}
    run = Replay(parse_config(toml, "test"), ticks, take)
    for line in read_tape(path):
        shown.append(shown[-1])
        run.step(line)
    place = run.engine.meters.feed_at[0] + M.FEED_OLD
    return Played(shown[1:], set(run.finish().notes), int(run.engine.meters.words[place]))


# --- where a tape is spoiled, and how ------------------------------------------------------------


def places(case: Case, lines: list[TapeLine], clean: Played) -> tuple[int, int, re.Match[bytes]]:
    """A change that shows, the next one, which shows too, and a level of the first that is shown
    after it: what spoils them cannot pass unseen for want of any effect."""
    mine = [n for n, line in enumerate(lines) if line.kind == "ws" and case.mark in line.raw]
    for at, after in pairwise(mine):
        around = [clean.shown[place] for place in (at - 1, at, after)]
        if any(shown[0] != "LIVE" for shown in around) or at < len(lines) // 4:
            continue
        rows = {(Decimal(p), Decimal(q)) for side in around[1][1:] for _, p, q in side}
        levels = [
            found
            for found in case.level.finditer(lines[at].raw)
            if (Decimal(found[1].decode()), Decimal(found[2].decode())) in rows
        ]
        if levels and around[0] != around[1] != around[2]:
            return at, after, levels[0]
    raise AssertionError(f"{case.venue}: no frame to spoil")


def spoiled(
    change: str, lines: list[TapeLine], at: int, after: int, level: re.Match[bytes]
) -> tuple[list[TapeLine], Callable[[int], int]]:
    """The tape, and which line of the recorded one each line of it is."""
    if change == "lost":
        return tape_rig.lost(lines, at), lambda n: n + (n >= at)
    if change == "repeated":
        return tape_rig.repeated(lines, at), lambda n: n - (n > at)
    if change == "swapped":
        return tape_rig.swapped(lines, at, after), lambda n: n
    if change == "cut":
        return tape_rig.cut(lines, at), lambda n: n - (n >= at)
    raw, place = lines[at].raw, level.end(2) - 1
    digit = b"1" if raw[place : place + 1] != b"1" else b"2"
    wrong = replace(lines[at], raw=raw[:place] + digit + raw[place + 1 :])
    return [*lines[:at], wrong, *lines[at + 1 :]], lambda n: n


CROSSED = f"broken: {S.TEXTS[S.CROSSED_TOO_LONG]}"
REASONS = {
    f"broken: {S.TEXTS[S.GAP]}": GAP,
    f"broken: {S.TEXTS[S.BAD_CHECKSUM]}": CHECKSUM,
    f"broken: {S.TEXTS[S.BACKWARDS]}": BACKWARDS,
}


def noticed(case: Case, change: str, lines: list[TapeLine], clean: Played, path: Path) -> str:
    """What becomes of a mutation; that no wrong book is LIVE once it has been noticed."""
    at, after, level = places(case, lines, clean)
    tape, line_of = spoiled(change, lines, at, after, level)
    run = play(case, tape, path)
    size = range(at, len(tape))
    gone = next((n for n in size if not run.is_live(n) and clean.is_live(line_of(n))), None)
    is_right = [run.shown[n] == clean.shown[line_of(n)] for n in size]
    if gone is None:
        if not all(is_right):
            return bound_of(case)
        return OLD if run.old > clean.old else SAME
    for n in range(gone, len(tape)):
        assert not run.is_live(n) or is_right[n - at], f"a wrong book is LIVE at line {n}"
    if change == "cut":
        assert gone == at
        return WITHDRAWN
    (reason,) = (each for each in run.reasons - clean.reasons if each.startswith("broken: "))
    if reason == CROSSED:
        return bound_of(case)  # by luck, and later
    assert line_of(gone) <= after, "the next frame of the market tells"
    return REASONS[reason]


def bound_of(case: Case) -> str:
    """What ends the life of a wrong book that nothing in the stream shows."""
    rules = VENUES[case.venue].rules
    if rules.snapshot is not None:
        return AUDIT
    return CONNECTION if rules.is_self_checking else RENEWAL


def cell(venue: str, outcome: str) -> str:
    """What the table says of an outcome: where nothing shows it, for how long."""
    protocol = VENUES[venue]
    seconds = {
        AUDIT: protocol.audit_interval_s,
        RENEWAL: protocol.audit_interval_s,
        CONNECTION: protocol.connection_age_max_s,
    }.get(outcome)
    return outcome if seconds is None else f"{outcome} every {seconds} s"


@pytest.mark.parametrize("name", CASES)
def test_what_is_noticed_of_five_mutations(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    lines, path = case.lines(), tmp_path / "tape.jsonl.gz"
    clean = play(case, lines, path)
    found = [noticed(case, change, lines, clean, path) for change in CHANGES]
    assert dict(zip(CHANGES, found, strict=True)) == dict(zip(CHANGES, EXPECTED[name], strict=True))


def test_the_table_of_the_readme_is_this_one() -> None:
    rows = {}
    for name, outcomes in EXPECTED.items():
        venue = CASES[name].venue
        label = ", ".join((name, *LIKE.get(name, ())))
        rows[label] = [cell(venue, outcome) for outcome in outcomes]
    section = README.read_text("utf-8").partition("## What five mutations show\n")[2]
    table = [line for line in section.partition("\n## ")[0].splitlines() if line[:1] == "|"]
    written = {}
    for line in table[2:]:
        label, *cells = (part.strip() for part in line.strip("|").split("|"))
        written[label] = cells
    assert written == rows


def test_every_venue_is_in_the_table() -> None:
    named = [each for name in CASES for each in (CASES[name].venue, *LIKE.get(name, ()))]
    assert set(named) == set(VENUES) and set(EXPECTED) == set(CASES)
    for name, others in LIKE.items():
        for other in others:
            assert VENUES[other].rules == VENUES[name].rules
            assert VENUES[other].audit_interval_s == VENUES[name].audit_interval_s
            assert VENUES[other].connection_age_max_s == VENUES[name].connection_age_max_s
