"""What goes wrong and when, from the seed; and what a frame's text becomes on its way.

Only what the protocols can show is inflicted, with one exception: on a venue without sequence
numbers a diff that is lost, or that lost its name, shows nowhere until the next audit. Whether a
damaged text must be refused the oracle's reader says, so a flipped byte that happens to mean the
same, or another valid number (which nothing could tell), is noticed before it is sent.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from enum import Enum

import numpy as np

from engine.book.rules import CONTINUITY_LINK, CONTINUITY_NONE
from net.simulator import mutations
from net.simulator.registry import simulated_venue
from tests.simulation.dialect import Dialect, Rows
from tests.simulation.market import Frame, Market

NS_PER_S = 1_000_000_000

ON_FRAME = (
    "drop", "duplicate", "echo", "reorder", "delay", "hold", "truncate", "garbage", "flip",
    "reword", "nonsense", "binary", "stranger", "lag", "same-time", "future", "wrong-checksum",
    "misread", "unasked", "unchanged", "number-lost", "together", "notice", "cut", "half-open",
    "stall",
)  # fmt: skip
"""What can happen where a frame sets out; the last three happen to its connection."""
ON_CONNECT = ("refuse", "slow-connect")
ON_SUBSCRIBE = ("slow-subscribe", "refuse-member", "unanswered")
ON_REST = (
    "late", "lost", "error", "limited", "page", "body-cut", "body-flip", "old", "empty", "foreign",
    "ahead", "priceless", "one-sided",
)  # fmt: skip
CHECKED = ("wrong-checksum", "misread")
"""Of venues with checksums: one that differs; a digit of a quantity that was read wrong."""
STREAMED = ("unasked",)
"""Of venues whose whole books come in the stream: one that nobody asked for."""
LINKED = ("unchanged",)
"""Of venues whose ids may stay: a frame that says that nothing has changed."""
COUNTED = ("number-lost", "together")
"""Of venues that number a connection's frames: one of another channel was lost; a diff comes as two
messages in one frame."""
ON_TICK = ("clock-step", "tick-finer", "tick-coarser", "odd-amount")
"""What can happen at any time: the host's wall clock is set, either way; a market of the venue gets
another tick while its orders rest, or an amount that needs another lot."""
FAULTS = ON_FRAME + ON_CONNECT + ON_SUBSCRIBE + ON_REST + ON_TICK
DEADLY = ("cut", "half-open", "stall", "notice", "future", *ON_TICK)
"""Struck rarely: each of them ends a connection, the sense of every stamp, or a book."""
STEADY = ("lag",)
"""Befalls every frame while it lasts."""
CLOCK_STEPS_S = (1, 30, 3600, 86_400)

REWORDINGS = (
    mutations.reorder_keys, mutations.extra_keys, mutations.whitespace, mutations.escape_strings,
)  # fmt: skip
NONSENSE = (
    mutations.wrong_types, mutations.exponent, mutations.negative_price, mutations.zero_price,
    mutations.long_digits, mutations.escape_keys,
)  # fmt: skip
PRICELESS = ("zero_price", "negative_price")
"""Of a whole book's levels those are passed over, as nobody trades there."""
NEVER_OVERTAKEN = ("reorder", "echo")
"""Faults of diffs alone: a whole book that comes late or again is a book of the venue's past, which
nothing shows before the next diff."""
TRIES_MAX = 50
REFUSALS = (
    ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError, InvalidOperation,
)  # fmt: skip
"""What a careful reader raises on a text that must be refused."""


def is_possible(kind: str, dialect: Dialect) -> bool:
    """Whether a fault can happen at a venue."""
    rules = dialect.kind.rules
    if kind == "echo" and rules.continuity == CONTINUITY_NONE:
        return False  # it makes the book that it once made, for which its checksum is right
    if kind in CHECKED:
        return dialect.has_checksums
    if kind in STREAMED:
        return rules.is_streamed
    if kind in LINKED:
        return rules.continuity == CONTINUITY_LINK
    if kind in COUNTED:
        return rules.is_connection_wide
    if kind in ON_REST:
        return rules.snapshot is not None
    return True


@dataclass(frozen=True)
class Bout:
    """One kind of fault, for a while, at one venue, striking a share of its occasions."""

    kind: str
    venue: str
    start_ns: int
    end_ns: int
    share: float


class Schedule:
    """All bouts of a run."""

    def __init__(
        self,
        rng: random.Random,
        venues: Mapping[str, Dialect],
        start_ns: int,
        end_ns: int,
        kinds: Sequence[str] = (),
    ) -> None:
        self.struck: Counter[str] = Counter()
        self._rng = rng
        kinds = kinds or rng.sample(FAULTS, rng.randrange(1, 12))
        self.bouts = []
        for _ in range(rng.randrange(3, 16)):
            kind = rng.choice(kinds)
            first, second = sorted(rng.randrange(start_ns, end_ns) for _ in range(2))
            share = rng.choice((0.02, 0.1, 0.4))
            if kind in DEADLY:
                share = 0.02
            elif kind in STEADY:
                share = 1.0
            elif kind not in ON_FRAME:
                # Connections and snapshots are rare enough as it is.
                first, share = start_ns, rng.choice((0.4, 1.0))
            able = [name for name, dialect in venues.items() if is_possible(kind, dialect)]
            if able:
                self.bouts.append(Bout(kind, rng.choice(able), first, second, share))

    def strike(self, occasions: Sequence[str], venue: str, now_ns: int) -> str:
        """What happens on this occasion: a fault's name, or nothing."""
        for bout in self.bouts:
            is_on = bout.start_ns <= now_ns < bout.end_ns and bout.venue == venue
            if is_on and bout.kind in occasions and self._rng.random() < bout.share:
                self.struck[bout.kind] += 1
                return bout.kind
        return ""


# --- what a text becomes -------------------------------------------------------------------------


class Fate(Enum):
    """What a damaged text means to a careful reader."""

    SAME = "the same"
    REFUSED = "nothing: it must be refused"
    NAMELESS = "no diff of this market"
    ANOTHER = "another valid diff: nothing could tell"


def fate_of(frame: Frame, raw: bytes) -> Fate:
    """What a careful reader makes of a frame's text after it was damaged."""
    market = frame.market
    assert market is not None
    truth = market.dialect.read(frame.raw)
    assert truth is not None
    try:
        found = market.dialect.read(raw)
    except REFUSALS:
        return Fate.REFUSED
    if found is None or found.symbol != truth.symbol:
        return Fate.NAMELESS
    if replace(found, time_ns=truth.time_ns) == truth:
        return Fate.SAME
    if market.has_checksums and replace(found, checksum=truth.checksum) == truth:
        return Fate.REFUSED if found.checksum else Fate.ANOTHER
    return Fate.ANOTHER


def damaged(frame: Frame, kind: str, rng: random.Random) -> Frame:
    """The frame as it arrives after a fault of the text."""
    for _ in range(TRIES_MAX):
        raw = _damage(frame, kind, rng)
        fate = fate_of(frame, raw)
        if fate is Fate.SAME:
            return replace(frame, raw=raw)
        if fate is Fate.REFUSED or kind == "nonsense":
            return replace(frame, raw=raw, must_be_refused=True)
        if fate is Fate.NAMELESS and _shows_what_lost_its_name(frame):
            return replace(frame, raw=raw, is_nameless=True)
    return frame


def _shows_what_lost_its_name(frame: Frame) -> bool:
    """Whether a diff that means nothing any more is missed; a connection's number counts it."""
    assert frame.market is not None
    return not frame.market.dialect.is_connection_wide


def _damage(frame: Frame, kind: str, rng: random.Random) -> bytes:
    raw = frame.raw
    if kind == "truncate":
        return raw[: rng.randrange(1, len(raw))]
    if kind == "garbage":
        return rng.randbytes(len(raw))
    if kind == "flip":
        return flipped(raw, rng)
    assert frame.market is not None
    dialect = frame.market.dialect
    told = frame.told
    assert told is not None
    legal = PRICELESS if told.is_whole else dialect.nonsense_is_legal
    nonsense = [each for each in NONSENSE if each.__name__ not in legal]
    change = rng.choice(REWORDINGS if kind == "reword" else nonsense)
    form = simulated_venue(dialect.kind.name).form
    book_frame = mutations.BookFrame(form, raw.decode())
    (text,) = change(book_frame, 0.0, np.random.default_rng(rng.randrange(1 << 32)))
    assert isinstance(text, str)
    return text.encode()


def halves(frame: Frame) -> list[Frame]:
    """The frame as two of one time, where times are the venue's only numbers."""
    market, told = frame.market, frame.told
    assert market is not None and told is not None
    if not market.dialect.is_time_the_id:
        return [frame]
    first = frame.again(replace(told, asks=[]))
    second = frame.again(replace(told, bids=[]))
    return [replace(frame, raw=first, is_part=True), replace(frame, raw=second)]


def of_the_future(frame: Frame, ahead_s: int) -> Frame:
    """The frame with a time ahead of every clock: refused where times are the order. How late it
    is nobody can tell."""
    market, told = frame.market, frame.told
    assert market is not None and told is not None
    raw = frame.again(market.dialect.ahead(told, ahead_s))
    is_refused = market.dialect.is_time_the_id
    return replace(frame, raw=raw, sent_ns=0, must_be_refused=is_refused)


def together(frame: Frame) -> Frame:
    """The frame with its bids and its asks in messages of their own, under its one number."""
    market, told = frame.market, frame.told
    assert market is not None and told is not None
    if not market.dialect.is_connection_wide or told.is_whole:
        return frame
    head, _, bids = frame.again(replace(told, asks=[])).partition(b'"events":[')
    asks = frame.again(replace(told, bids=[])).partition(b'"events":[')[2]
    raw = head + b'"events":[' + bids.removesuffix(b"]}") + b"," + asks
    return replace(frame, raw=raw)


def with_wrong_checksum(frame: Frame) -> Frame:
    """The frame with a checksum that no book has; as it was where it has none."""
    market, told = frame.market, frame.told
    assert market is not None and told is not None
    if not market.has_checksums:
        return frame
    raw = frame.again(replace(told, checksum=told.checksum % 2**31 + 1))
    return replace(frame, raw=raw, must_be_refused=True)


def misread(frame: Frame) -> Frame:
    """The frame with another quantity, which its checksum shows if the level is in the book."""
    market, told = frame.market, frame.told
    assert market is not None and told is not None
    if not market.has_checksums:
        return frame
    return replace(frame, raw=frame.again(replace(told, bids=_other(told.bids), asks=told.asks)))


def _other(rows: Rows) -> Rows:
    """Levels of which the first that has a quantity has another."""
    at = next((at for at, row in enumerate(rows) if Decimal(row[1]) > 0), None)
    if at is None:
        return rows
    price, amount = rows[at]
    digit = str((int(amount[0]) + 1) % 10)
    return [*rows[:at], (price, digit + amount[1:]), *rows[at + 1 :]]


def flipped(raw: bytes, rng: random.Random) -> bytes:
    """One bit of it turned over."""
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def flipped_body(body: bytes, market: Market, rng: random.Random) -> bytes:
    """A snapshot with one bit turned over, so that it must be refused or means the same."""
    read = market.dialect.read_snapshot
    truth = read(body)
    for _ in range(TRIES_MAX):
        raw = flipped(body, rng)
        try:
            if read(raw) == truth:
                return raw
        except REFUSALS:
            return raw
    return body
