"""The inputs that fuzzing begins from: frames as venues write them, and those that were kept.

A kept corpus is a text file, one Python bytes literal a line, so that a change can be read.
Runs on: the fuzzers' thread.
"""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

from tests.engine.decoding.rig import BINANCE, BITSTAMP, STRANGE
from tests.engine.rig import binance_frame, binance_snapshot, bitstamp_frame, bitstamp_snapshot

HERE = Path(__file__).resolve().parent / "corpus"
ENTRIES_MAX = 300
"""Entries of each kept file."""
NAMES = {
    ("diffs", BINANCE): "binance-diffs.txt",
    ("diffs", BITSTAMP): "bitstamp-diffs.txt",
    ("snapshots", BINANCE): "binance-snapshots.txt",
    ("snapshots", BITSTAMP): "bitstamp-snapshots.txt",
}
Row = tuple[str, str]

WIDE = [
    ("61837.63000000", "3.78826000"),
    ("61837.60000000", "0.00123000"),
    ("61836.00000000", "12.50000000"),
    ("59999.99000000", "0.00000000"),
    ("61839.01000000", "123.45678901"),
]
"""Levels as Binance writes them."""
SHORT = [("61837", "3.78826000"), ("61838.5", "0.1"), ("9.01", "0"), ("101837.63", "1"), ("7", "7")]
"""Levels as Bitstamp may."""


def diffs(feed: int) -> list[bytes]:
    """Diffs of every size that venues send, in the forms that they send them in."""
    sides = [(WIDE[:1], []), ([], WIDE[:2]), (WIDE, WIDE[:2]), (SHORT, WIDE), (SHORT[:3], SHORT)]
    found = []
    for number, (bids, asks) in enumerate(sides):
        if feed == BINANCE:
            last = (9, 10**9, 4_242_424_242, 51_234_567_890, 10**17)[number]
            found.append(binance_frame(last - 3, last, bids, asks))
            plain = b'{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":%d,"u":%d,"b":' % (
                last - 3,
                last,
            )
            found.append(plain + _rows(bids) + b',"a":' + _rows(asks) + b"}")
        else:
            found.append(bitstamp_frame(1_723_161_255_208_123 + number, bids, asks))
    if feed == BINANCE:
        found.append(binance_frame(1, 2, WIDE[:1], symbol="ETHUSDT"))
        found.append(b'{"result":null,"id":1}')
        found.append(b'{"e":"serverShutdown","E":1723161255208}')
    else:
        found.append(bitstamp_frame(5, WIDE[:1], pair="ethusd"))
        found.append(b'{"event":"bts:request_reconnect","channel":"","data":""}')
    odd = b'"x":[{"y":[1,-2.5e3,null,true,"\\u00e9\xc3\xa9\\ud83d\\ude00\\n"]}, {} ],'
    found.append(found[0].replace(b'{"', b"{ " + odd + b'"', 1))
    return [*found, *_odd(found[0], feed), STRANGE[feed]]


def _odd(raw: bytes, feed: int) -> list[bytes]:
    """A frame in forms that chance does not come upon."""
    found = [raw + b" ", raw.replace(b'{"', b'{"x":-1.5e+10,"', 1)]
    # More fixed text than a template holds.
    found.append(raw.replace(b'{"', b'{"x":"%b","' % (b"y" * 600), 1))
    if feed == BINANCE:
        head = b'{"e":"depthUpdate","E":1,"U":1,"u":2,"b":[],"a":[],'
        found += [head + b'"s":"%b"}' % name for name in (b"", b"X", b"BTCUSDT", b"B" * 65)]
        found.append(raw.replace(b'"b"', b'"\\u0062"'))
    else:
        # The unused seconds again and again: more numbers than a template holds.
        found.append(raw.replace(b'"timestamp":', b'"timestamp":"1",' * 9 + b'"timestamp":'))
        head = b'{"event":"data","data":{"microtimestamp":"5","bids":[],"asks":[]},'
        names = (b"", b"x", b"btcusd", b"b" * 65)
        found += [head + b'"channel":"diff_order_book_%b"}' % name for name in names]
        found.append(raw.replace(b'"event"', b'"\\u0065vent"'))
    return found


def _rows(rows: list[Row]) -> bytes:
    return b"[" + b",".join(b'["%b","%b"]' % (p.encode(), q.encode()) for p, q in rows) + b"]"


def snapshots(feed: int) -> list[bytes]:
    """REST bodies."""
    make = (binance_snapshot, bitstamp_snapshot)[feed]
    stamps = (7, 4_242_424_242, 1_723_161_255_208_123)
    sides: tuple[tuple[list[Row], list[Row]], ...]
    sides = ((WIDE, SHORT), (SHORT, []), ([], WIDE))
    found = [make(stamp, *side) for stamp, side in itertools.product(stamps, sides)]
    return [*found, make(10**17, WIDE), make(10**18 - 1, WIDE)]


def large(kind: str, feed: int) -> tuple[bytes, ...]:
    """Frames and bodies as on a wild day: 300 to 1,024 levels a side, in both venues' widths."""
    found = []
    for count, shape in itertools.product((300, 1000, 1024), (_wide_row, _short_row)):
        rows = [shape(number) for number in range(count)]
        if kind == "snapshots":
            found.append((binance_snapshot, bitstamp_snapshot)[feed](4_242_424_242, rows, rows))
        elif feed == BINANCE:
            found.append(binance_frame(4_242_424_239, 4_242_424_242, rows, rows[: count // 2]))
        else:
            found.append(bitstamp_frame(1_723_161_255_208_123, rows, rows[: count // 2]))
    return tuple(found)


def _wide_row(number: int) -> Row:
    return f"{61837 - number // 100}.{99 - number % 100:02d}000000", f"{number % 7}.78826000"


def _short_row(number: int) -> Row:
    """Of a width that changes from level to level."""
    return f"{10 ** (number % 6) + number}", f"0.{number + 1}"


def kept(kind: str, feed: int) -> list[bytes]:
    """What coverage-guided runs have kept."""
    path = HERE / NAMES[kind, feed]
    if not path.exists():
        return []
    return [ast.literal_eval(line) for line in path.read_text("ascii").splitlines()]


def keep(kind: str, feed: int, entries: list[bytes]) -> None:
    """Write the kept corpus anew."""
    HERE.mkdir(exist_ok=True)
    lines = [f"{entry!r}\n" for entry in entries[:ENTRIES_MAX]]
    (HERE / NAMES[kind, feed]).write_text("".join(lines), "ascii")


def corpus(kind: str, feed: int) -> tuple[bytes, ...]:
    """All to begin from; empty entries are of no use to a mutator."""
    made = diffs(feed) if kind == "diffs" else snapshots(feed)
    return tuple(dict.fromkeys(raw for raw in [*made, *kept(kind, feed)] if raw))
