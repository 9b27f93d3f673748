"""The risk gate's limits over time: new orders by venue, and the account's fills and volume.

A window counts in buckets of a sixteenth of its span, and its sum is over seventeen: the span and a
little more, however others align theirs. What is filled is read from the order table's counters,
which every fill moves once, by its own message or by a cumulative quantity.

The volume's limit holds for the worst case, as the account's do: what was filled and all that is
open together never exceed it, so that fills alone cannot pass it. The number of fills can be known
only afterwards: at its limit both sides are withdrawn until the window has room again.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.maker import order_layout as O
from engine.maker.risk_codes import FILL_RATE, PASSED, RATE_DAY, RATE_OWN, RATE_VENUE, VOLUME_RATE


@inner
def _window_at(venue: int, kind: int) -> int:
    return O.RISK_WINDOWS_AT + (venue * O.WINDOWS + kind) * O.WINDOW_WORDS


@inner
def _move(words: Words, window: int, now_ns: int) -> int:
    """Empty the buckets that time has passed; the current one."""
    bucket = max(now_ns // words[window + O.WINDOW_BUCKET_NS], words[window + O.WINDOW_BUCKET])
    passed = min(bucket - words[window + O.WINDOW_BUCKET], O.WINDOW_BUCKETS + 1)
    for back in range(passed):
        at = (bucket - back) % (O.WINDOW_BUCKETS + 1)
        words[window + O.WINDOW_COUNTS_AT + at] = 0
    words[window + O.WINDOW_BUCKET] = bucket
    return bucket


@inner
def _sum(words: Words, window: int, now_ns: int) -> int:
    """What the window counts over any span that ends now; LOTS_MAX where it is more."""
    _move(words, window, now_ns)
    total = 0
    for at in range(O.WINDOW_BUCKETS + 1):
        total = min(total + words[window + O.WINDOW_COUNTS_AT + at], O.LOTS_MAX)
    return total


@inner
def add_to_window(words: Words, window: int, count: int, now_ns: int) -> None:
    """Count something now; a bucket that is full stays so."""
    at = window + O.WINDOW_COUNTS_AT + _move(words, window, now_ns) % (O.WINDOW_BUCKETS + 1)
    words[at] = min(words[at] + count, O.LOTS_MAX)


@inner
def is_within_rate(words: Words, window: int, now_ns: int) -> bool:
    """Whether one more order keeps to a window's limit."""
    return _sum(words, window, now_ns) < words[window + O.WINDOW_LIMIT]


@inner
def check_rates(risk: Words, venue: int) -> int:
    """PASSED, or which of the venue's rates is spent."""
    now_ns = risk[O.RISK_NOW_NS]
    if not is_within_rate(risk, _window_at(venue, O.WINDOW_OWN), now_ns):
        return RATE_OWN
    if not is_within_rate(risk, _window_at(venue, O.WINDOW_VENUE), now_ns):
        return RATE_VENUE
    if not is_within_rate(risk, _window_at(venue, O.WINDOW_DAY), now_ns):
        return RATE_DAY
    return PASSED


@inner
def count_order(risk: Words, venue: int) -> None:
    """One new order is sent to a venue."""
    for kind in range(O.WINDOWS):
        add_to_window(risk, _window_at(venue, kind), 1, risk[O.RISK_NOW_NS])


@inner
def take_fills(table: Words, risk: Words) -> None:
    """Count what the table has filled since the last call; RISK_NOW_NS is the time."""
    fills = 0
    lots = 0
    for venue in range(table[O.ACCOUNT_VENUES]):
        at = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
        fills += table[at + O.VENUE_BUYS] + table[at + O.VENUE_SELLS]
        lots = (lots + table[at + O.VENUE_TRADED_LOTS]) & O.TRADED_LOTS_MASK
    if fills == risk[O.RISK_FILLS_SEEN]:
        return
    was_open = is_fill_rate_kept(risk)
    now_ns = risk[O.RISK_NOW_NS]
    add_to_window(risk, O.RISK_FILLS_WINDOW_AT, fills - risk[O.RISK_FILLS_SEEN], now_ns)
    traded = (lots - risk[O.RISK_TRADED_LOTS_SEEN]) & O.TRADED_LOTS_MASK
    add_to_window(risk, O.RISK_VOLUME_WINDOW_AT, traded, now_ns)
    risk[O.RISK_FILLS_SEEN] = fills
    risk[O.RISK_TRADED_LOTS_SEEN] = lots
    risk[O.RISK_FILL_NS] = now_ns
    if was_open and not is_fill_rate_kept(risk):
        # Both sides are withdrawn without a single order that the gate would refuse: tell it once.
        risk[O.RISK_REFUSALS_AT + FILL_RATE] += 1


@inner
def _is_quiet(risk: Words, window: int) -> bool:
    """Whether the last fill is so long ago that the window is empty."""
    span_ns = risk[window + O.WINDOW_BUCKET_NS] * (O.WINDOW_BUCKETS + 1)
    return risk[O.RISK_NOW_NS] - risk[O.RISK_FILL_NS] > span_ns


@inner
def is_fill_rate_kept(risk: Words) -> bool:
    """Whether fewer fills than the limit were counted over any span that ends now."""
    window = O.RISK_FILLS_WINDOW_AT
    return _is_quiet(risk, window) or is_within_rate(risk, window, risk[O.RISK_NOW_NS])


@inner
def check_pace(table: Words, risk: Words, lots: int) -> int:
    """PASSED, or which limit of fills an order of so many lots could pass if all is filled."""
    if not is_fill_rate_kept(risk):
        return FILL_RATE
    window = O.RISK_VOLUME_WINDOW_AT
    volume = 0 if _is_quiet(risk, window) else _sum(risk, window, risk[O.RISK_NOW_NS])
    worst = volume + table[O.ACCOUNT_OPEN_BUY_LOTS] + table[O.ACCOUNT_OPEN_SELL_LOTS] + lots
    return VOLUME_RATE if worst > risk[window + O.WINDOW_LIMIT] else PASSED
