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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import InvalidOperation
from enum import Enum

import numpy as np

from net.simulator import mutations
from net.simulator.registry import simulated_venue
from net.venues.binance.market_data import BINANCE
from tests import oracle
from tests.simulation.market import Frame, Market

US_PER_S = 1_000_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

ON_FRAME = (
    "drop", "duplicate", "echo", "reorder", "delay", "hold", "truncate", "garbage", "flip",
    "reword", "nonsense", "binary", "stranger", "lag", "same-time", "future", "notice", "cut",
    "half-open", "stall",
)  # fmt: skip
"""What can happen where a frame sets out; the last three happen to its connection."""
ON_CONNECT = ("refuse", "slow-connect")
ON_SUBSCRIBE = ("slow-subscribe", "refuse-member")
ON_REST = (
    "late", "lost", "error", "limited", "page", "body-cut", "body-flip", "old", "empty", "foreign",
    "ahead", "priceless", "one-sided",
)  # fmt: skip
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
TRIES_MAX = 50


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
        venues: Sequence[str],
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
            self.bouts.append(Bout(kind, rng.choice(venues), first, second, share))

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
    """What the oracle makes of a frame's text after it was damaged."""
    market = frame.market
    assert market is not None
    is_binance = market.spec.rules == BINANCE.rules
    read = oracle.read_binance_diff if is_binance else oracle.read_bitstamp_diff
    truth = read(frame.raw)
    assert truth is not None
    try:
        diff = read(raw)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, InvalidOperation):
        return Fate.REFUSED
    if diff is None or diff.symbol != truth.symbol:
        return Fate.NAMELESS
    return Fate.SAME if replace(diff, time_ns=truth.time_ns) == truth else Fate.ANOTHER


def damaged(frame: Frame, kind: str, rng: random.Random) -> Frame:
    """The frame as it arrives after a fault of the text."""
    for _ in range(TRIES_MAX):
        raw = _damage(frame, kind, rng)
        fate = fate_of(frame, raw)
        if fate is Fate.SAME:
            return replace(frame, raw=raw)
        if fate is Fate.REFUSED or kind == "nonsense":
            return replace(frame, raw=raw, must_be_refused=True)
        if fate is Fate.NAMELESS:
            return replace(frame, raw=raw, is_nameless=True)
    return frame


def _damage(frame: Frame, kind: str, rng: random.Random) -> bytes:
    raw = frame.raw
    if kind == "truncate":
        return raw[: rng.randrange(1, len(raw))]
    if kind == "garbage":
        return rng.randbytes(len(raw))
    if kind == "flip":
        return flipped(raw, rng)
    change = rng.choice(REWORDINGS if kind == "reword" else NONSENSE)
    assert frame.market is not None
    venue = "binance" if frame.market.spec.rules == BINANCE.rules else "bitstamp"
    book_frame = mutations.BookFrame(simulated_venue(venue).form, raw.decode())
    (text,) = change(book_frame, 0.0, np.random.default_rng(rng.randrange(1 << 32)))
    assert isinstance(text, str)
    return text.encode()


def halves(frame: Frame) -> list[Frame]:
    """The frame as two of one time, where times are the venue's only numbers."""
    market = frame.market
    assert market is not None
    if market.spec.rules == BINANCE.rules:
        return [frame]
    asks = frame.raw.index(b'"asks":')
    end = frame.raw.index(b"}", asks)
    bids = frame.raw.index(b'"bids":')
    first = frame.raw[:asks] + b'"asks":[]' + frame.raw[end:]
    second = frame.raw[:bids] + b'"bids":[],' + frame.raw[asks:]
    return [replace(frame, raw=first, is_part=True), replace(frame, raw=second)]


def of_the_future(frame: Frame, ahead_s: int) -> Frame:
    """The frame with a time ahead of every clock: refused where times are the order. How late it
    is nobody can tell."""
    market = frame.market
    assert market is not None
    if market.spec.rules == BINANCE.rules:
        now_ms = frame.sent_ns // NS_PER_MS
        ahead_ms = now_ms + 1000 * ahead_s
        raw = frame.raw.replace(b'"E":%d' % now_ms, b'"E":%d' % ahead_ms)
        return replace(frame, raw=raw, sent_ns=0)
    ahead = b'"microtimestamp":"%d"' % (frame.last_id + ahead_s * US_PER_S)
    raw = frame.raw.replace(b'"microtimestamp":"%d"' % frame.last_id, ahead)
    return replace(frame, raw=raw, sent_ns=0, must_be_refused=True)


def flipped(raw: bytes, rng: random.Random) -> bytes:
    """One bit of it turned over."""
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def flipped_body(body: bytes, market: Market, rng: random.Random) -> bytes:
    """A snapshot with one bit turned over, so that it must be refused or means the same."""
    is_binance = market.spec.rules == BINANCE.rules
    read = oracle.read_binance_snapshot if is_binance else oracle.read_bitstamp_snapshot
    truth = read(body)
    for _ in range(TRIES_MAX):
        raw = flipped(body, rng)
        try:
            if read(raw) == truth:
                return raw
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError, InvalidOperation):
            return raw
    return body
