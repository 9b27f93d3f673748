"""Tapes of connections that were lost: no book is continued over one (design, section 13).

What is right comes from a plain dictionary that forgets everything when a connection is lost.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from engine.layout import layout as L
from net.config.schema import parse_config
from net.replay import replay
from net.replay.replay import Replay
from net.tape.tape import TapeLine
from tests.net.rig import ASKS, BIDS, SECOND, START_NS, Rows, binance_diff, bitstamp_diff, snapshot

SYMBOLS = {"binance": "BTCUSDT", "bitstamp": "btcusd"}
PATHS = {
    "binance": "/api/v3/depth?symbol=BTCUSDT&limit=1000",
    "bitstamp": "/api/v2/order_book/btcusd/?group=1",
}
FIRST = {"binance": 1000, "bitstamp": START_NS // 1000}
"""The id of a venue's first frame; Bitstamp's are times in microseconds."""
BOTH = pytest.mark.parametrize("venue", ["binance", "bitstamp"])


class Recorder:
    """Writes a tape of one venue, a tenth of a second a line, and knows its book."""

    def __init__(self, venue: str) -> None:
        self.lines: list[TapeLine] = []
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self._venue = venue
        self._now_ns = START_NS
        self._id = FIRST[venue]

    def add(self, kind: str, raw: bytes = b"", path: str = "") -> None:
        self._now_ns += SECOND // 10
        self.lines.append(TapeLine(self._now_ns, self._venue, kind, raw, path))

    def _next_id(self) -> int:
        self._id += 1 if self._venue == "binance" else 100_000
        return self._id

    def diff(self, bids: Rows, asks: Rows, *, is_recorded: bool = True) -> None:
        book_id = self._next_id()
        for side, rows in ((self.bids, bids), (self.asks, asks)):
            side.update(rows)
            for price in [price for price, amount in side.items() if amount == "0"]:
                del side[price]
        if not is_recorded:
            self._now_ns += SECOND // 10
        else:
            now_ms = self._now_ns // 1_000_000
            self.add(
                "ws",
                binance_diff(book_id, book_id, bids, asks, now_ms)
                if self._venue == "binance"
                else bitstamp_diff(book_id, bids, asks),
            )

    def rest(self) -> None:
        bids, asks = list(self.bids.items()), list(self.asks.items())
        self.add("rest", snapshot(self._venue, self._id, bids, asks), PATHS[self._venue])

    def start(self) -> None:
        """Two diffs, a book between them, and some more."""
        self.diff(BIDS, ASKS)
        self.rest()
        for number in range(3):
            self.diff([("99.9", str(number + 1))], [("100.2", str(number + 1))])


def begun(venue: str) -> Replay:
    toml = (
        '[[instrument]]\nsymbol = "BTC-USD"\ndepth = 50\n[[instrument.venue]]\n'
        f'name = "{venue}"\nsymbol = "{SYMBOLS[venue]}"\ntick_size = "0.01"\n'
    )
    BOOKS.clear()
    return Replay(parse_config(toml, "test"), {(venue, SYMBOLS[venue]): "0.01"}, BOOKS.append)


def played(lines: list[TapeLine]) -> Replay:
    run = begun(lines[0].venue)
    for line in lines:
        run.step(line)
    return run


BOOKS: list[dict[str, Any]] = []


def final_state(run: Replay) -> str:
    (states,) = run.finish().states.values()
    return next(iter(states.values()))


def check_final(tape: Recorder) -> None:
    """The last book is LIVE, and what the plain dictionary says."""
    for name, side in (("bids", tape.bids), ("asks", tape.asks)):
        found = {float(price): float(amount) for _, price, amount in BOOKS[-1][name]}
        assert found == {float(price): float(amount) for price, amount in side.items()}


def check_begins_anew(tape: Recorder) -> None:
    """The stream goes on, and only a snapshot makes the book live again."""
    tape.diff([("99.9", "7")], [("100.2", "7")])
    assert final_state(played(tape.lines)) != "LIVE" and BOOKS[-1]["bids"] == []
    tape.rest()
    tape.diff([("99.9", "8")], [("100.2", "8")])
    assert final_state(played(tape.lines)) == "LIVE"
    check_final(tape)


@BOTH
def test_13_no_book_is_continued_over_a_lost_connection(venue: str) -> None:
    """While it was lost a bid went, and nothing after it says so: a phantom at rank 2."""
    tape = Recorder(venue)
    tape.add("open", path="/")
    tape.start()
    assert final_state(played(tape.lines)) == "LIVE"
    check_final(tape)
    tape.add("lost", b"the connection broke", "/")
    tape.diff([("99.99", "0")], [], is_recorded=False)
    run = played(tape.lines)
    assert final_state(run) == "DISCONNECTED" and BOOKS[-1]["bids"] == []
    tape.add("open", path="/")
    check_begins_anew(tape)


@BOTH
def test_13_what_comes_after_a_loss_is_of_a_new_connection(venue: str) -> None:
    """Whatever recorded it wrote no `open`."""
    tape = Recorder(venue)
    tape.start()
    tape.add("lost")
    tape.add("lost")
    tape.diff([("99.99", "0")], [], is_recorded=False)
    check_begins_anew(tape)


@BOTH
def test_13_a_body_from_before_the_loss_is_not_used_after_it(venue: str) -> None:
    tape = Recorder(venue)
    tape.start()
    tape.rest()  # nobody has asked for it yet
    tape.add("lost")
    tape.add("open")
    tape.diff([("99.9", "7")], [("100.2", "7")])
    tape.diff([("99.9", "8")], [("100.2", "8")])
    assert final_state(played(tape.lines)) != "LIVE" and BOOKS[-1]["bids"] == []


@BOTH
def test_13_a_renewed_connection_is_a_break_where_no_ids_prove_otherwise(venue: str) -> None:
    """A successor is opened before the old one goes, as the daemon does."""
    tape = Recorder(venue)
    tape.add("open")
    tape.start()
    tape.add("open")
    tape.diff([("99.9", "7")], [("100.2", "7")])
    assert (final_state(played(tape.lines)) == "LIVE") is (venue == "binance")
    tape.rest()
    for number in range(30):  # a book that was live for a moment only waits before it asks
        tape.diff([("99.9", f"{number}.5")], [("100.2", f"{number}.5")])
    assert final_state(played(tape.lines)) == "LIVE"
    check_final(tape)


def test_13_other_venues_go_on() -> None:
    lines: list[TapeLine] = []
    for venue in ("binance", "bitstamp"):
        tape = Recorder(venue)
        tape.start()
        lines += tape.lines
    lines.append(TapeLine(lines[-1].t_ns + 1, "bitstamp", "lost", b""))
    lines.append(TapeLine(lines[-1].t_ns + 1, "kraken", "lost", b""))
    toml = '[[instrument]]\nsymbol = "BTC-USD"\n' + "".join(
        f'[[instrument.venue]]\nname = "{venue}"\nsymbol = "{symbol}"\ntick_size = "0.01"\n'
        for venue, symbol in SYMBOLS.items()
    )
    run = Replay(parse_config(toml, "t"), {(v, s): "0.01" for v, s in SYMBOLS.items()})
    for line in sorted(lines, key=lambda line: line.t_ns):
        run.step(line)
    assert run.finish().states == {
        "binance": {"BTCUSDT": "LIVE"},
        "bitstamp": {"btcusd": "DISCONNECTED"},
    }


@BOTH
@pytest.mark.parametrize("seed", range(10))
def test_13_whatever_is_shown_as_live_is_the_venues_book(venue: str, seed: int) -> None:
    """Connections are lost and opened at any moment, and the market goes on meanwhile."""
    rng, tape, run = random.Random(seed), Recorder(venue), begun(venue)
    is_open, losses, compared = True, 0, 0
    tape.start()
    for _ in range(300):
        dice = rng.random()
        if is_open and dice < 0.02:
            is_open, losses = False, losses + 1
            tape.add("lost", b"the connection broke")
        elif not is_open and dice < 0.2:
            is_open = True
            if rng.random() < 0.8:
                tape.add("open", path="/")
        elif is_open and dice < 0.2:
            tape.rest()
        else:
            bid, ask = f"99.{rng.randrange(80, 90)}", f"100.{rng.randrange(10, 20)}"
            amounts = [rng.choice(("0", "1", "2.5")) for _ in range(2)]
            tape.diff([(bid, amounts[0])], [(ask, amounts[1])], is_recorded=is_open)
        while tape.lines:
            run.step(tape.lines.pop(0))
        state = L.STATE_NAMES[run.venues[venue].syncs[0].state]
        if state == "LIVE" and is_open:
            compared += 1
            check_final(tape)
        assert is_open or state == "DISCONNECTED"
    assert losses > 0 and compared > 20


@BOTH
def test_13_a_clock_set_forward_while_recording_is_no_silence_to_play(
    venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without a battery for its clock: its time is of 1970 until it has been told."""
    monkeypatch.setattr(replay, "SILENCE_NS_MAX", 10 * SECOND)
    tape = Recorder(venue)
    tape.start()
    run = played(tape.lines)
    turns: list[int] = []
    monkeypatch.setattr(run.venues[venue], "on_timer", turns.append)
    run.step(TapeLine(START_NS + 10_000 * SECOND, venue, "lost", b""))
    assert turns[-1] > START_NS + 9_999 * SECOND and len(turns) <= 200
