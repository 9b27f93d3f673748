"""The limits over all market makers of a process: by currency, by day, by venue account.

    shared  | SHARED header | CURRENCY 0.. | MAKER 0.. | windows of venue account 0 | ... |

Nothing is summed up in advance: where an order is to be checked, every market maker's own table and
gate are read, whose addresses are here. So the sums cannot differ from what they are the sum of.

* A currency: what is held of it beyond what is neutral, should every order that adds to it fill.
  A market maker of BTC-USD holds its position in BTC, and the opposite of its worth in USD. Before
  all of a currency know their positions, nothing is added to it.
* The day: the results of all since 00:00 UTC, each at its last fair price. At the limit every gate
  halts at its next step; a release counts all of them anew.
* A venue account: new orders by its rates, whichever market maker sends them.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from engine.compiling.atomics import Words, view_words
from engine.compiling.jit import inner
from engine.layout.layout import VENUES_MAX
from engine.layout.units import DAY_NS, NS_PER_S
from engine.maker import order_layout as O
from engine.maker.account import value_of
from engine.maker.rate_windows import add_to_window, is_within_rate
from engine.maker.risk_codes import (
    NO_DAY,
    PASSED,
    SHARED_EXPOSURE,
    SHARED_LOSS,
    SHARED_RATE,
    SHARED_RATE_DAY,
)

(SHARED_MAKERS, SHARED_CURRENCIES, SHARED_LOSS_MAX_LOTS, SHARED_WORDS) = range(4)
(CURRENCY_LOTS_MAX, CURRENCY_WORDS) = range(2)
(
    MAKER_TABLE,
    MAKER_TABLE_WORDS,
    MAKER_RISK,
    MAKER_RISK_WORDS,
    MAKER_BASE,
    MAKER_QUOTE,
    MAKER_QUOTE_FACTOR,
    MAKER_QUOTE_DIVISOR,
    MAKER_LOSS_FACTOR,
    MAKER_LOSS_DIVISOR,
    MAKER_ACCOUNTS_AT,
) = range(11)
"""BASE, QUOTE: which currencies, NO_CURRENCY for one without a limit. QUOTE_FACTOR / DIVISOR: from
a value of the table to lots of the quote currency, LOSS: to lots of the common one. ACCOUNTS: by
venue, NO_ACCOUNT where it is not quoted."""
MAKER_WORDS = MAKER_ACCOUNTS_AT + VENUES_MAX
NO_CURRENCY = NO_ACCOUNT = -1
(ACCOUNT_WINDOW_RATE, ACCOUNT_WINDOW_DAY, ACCOUNT_WINDOWS) = range(3)

FACTOR_MAX = 1 << 31
"""Of a factor and of a divisor: the remainder's product fits."""
SUM_MAX = 1 << 61
"""No sum below is larger: one more term of as much fits too."""

assert O.VALUE_MAX <= SUM_MAX and O.POSITION_LOTS_MAX <= SUM_MAX
assert (FACTOR_MAX - 1) * (FACTOR_MAX - 1) < 1 << 62


@inner
def _maker_at(shared: Words, maker: int) -> int:
    return SHARED_WORDS + shared[SHARED_CURRENCIES] * CURRENCY_WORDS + maker * MAKER_WORDS


@inner
def _account_at(shared: Words, account: int) -> int:
    return _maker_at(shared, shared[SHARED_MAKERS]) + account * ACCOUNT_WINDOWS * O.WINDOW_WORDS


@inner
def _scaled(value: int, factor: int, divisor: int) -> int:
    """value x factor / divisor, rounded down, within plus and minus SUM_MAX."""
    whole = value // divisor
    if whole >= SUM_MAX // factor:
        return SUM_MAX
    if whole <= -(SUM_MAX // factor):
        return -SUM_MAX
    return whole * factor + (value - whole * divisor) * factor // divisor


@inner
def _worst_lots(shared: Words, row: int, currency: int, sign: int) -> int:
    """What a market maker could hold of a currency, times `sign`, if all that adds to it fills;
    SUM_MAX, which no limit reaches, while its position is not known."""
    is_base = shared[row + MAKER_BASE] == currency
    is_quote = shared[row + MAKER_QUOTE] == currency
    if not (is_base or is_quote):
        return 0
    risk = view_words(shared[row + MAKER_RISK], shared[row + MAKER_RISK_WORDS])
    if risk[O.RISK_IS_KNOWN] == 0:
        return SUM_MAX
    table = view_words(shared[row + MAKER_TABLE], shared[row + MAKER_TABLE_WORDS])
    # Selling the base is what adds to the quote currency.
    way = sign if is_base else -sign
    side = O.BUY if way > 0 else O.SELL
    lots = way * table[O.ACCOUNT_POSITION_LOTS] + table[O.ACCOUNT_OPEN_BUY_LOTS + side]
    if is_base:
        return max(-SUM_MAX, min(lots, SUM_MAX))
    size = min(abs(lots), O.POSITION_LOTS_MAX)
    value = value_of(table, risk[O.RISK_LAST_FAIR_PRICE], size, lots > 0)
    return _quote_lots(shared, row, value if lots >= 0 else -value)


@inner
def _quote_lots(shared: Words, row: int, value: int) -> int:
    """A value of a market maker's table in lots of its quote currency, rounded up."""
    return -_scaled(-value, shared[row + MAKER_QUOTE_FACTOR], shared[row + MAKER_QUOTE_DIVISOR])


@inner
def _is_within(shared: Words, currency: int, sign: int, lots: int) -> bool:
    """Whether so much more of a currency, or so much less, keeps to its limit."""
    if currency == NO_CURRENCY:
        return True
    total = lots
    for maker in range(shared[SHARED_MAKERS]):
        total += _worst_lots(shared, _maker_at(shared, maker), currency, sign)
        total = max(-SUM_MAX, min(total, SUM_MAX))
    return total <= shared[SHARED_WORDS + currency * CURRENCY_WORDS]


@inner
def check_shared(table: Words, risk: Words, side: int, lots: int, venue: int) -> int:
    """PASSED, or which limit over all market makers an order of this one could break."""
    if risk[O.RISK_SHARED] == 0:
        return PASSED
    shared = view_words(risk[O.RISK_SHARED], risk[O.RISK_SHARED_WORDS])
    row = _maker_at(shared, risk[O.RISK_MAKER])
    sign = 1 if side == O.BUY else -1
    if not _is_within(shared, shared[row + MAKER_BASE], sign, lots):
        return SHARED_EXPOSURE
    if shared[row + MAKER_QUOTE] != NO_CURRENCY:
        value = value_of(table, risk[O.RISK_FAIR_PRICE], lots, True)
        pays = _quote_lots(shared, row, value)
        if not _is_within(shared, shared[row + MAKER_QUOTE], -sign, pays):
            return SHARED_EXPOSURE
    account = shared[row + MAKER_ACCOUNTS_AT + venue]
    if account == NO_ACCOUNT:
        return PASSED
    window, now_ns = _account_at(shared, account), risk[O.RISK_NOW_NS]
    if not is_within_rate(shared, window + ACCOUNT_WINDOW_RATE * O.WINDOW_WORDS, now_ns):
        return SHARED_RATE
    if not is_within_rate(shared, window + ACCOUNT_WINDOW_DAY * O.WINDOW_WORDS, now_ns):
        return SHARED_RATE_DAY
    return PASSED


@inner
def count_shared_order(risk: Words, venue: int) -> None:
    """One new order of this market maker is sent to a venue."""
    if risk[O.RISK_SHARED] == 0:
        return
    shared = view_words(risk[O.RISK_SHARED], risk[O.RISK_SHARED_WORDS])
    account = shared[_maker_at(shared, risk[O.RISK_MAKER]) + MAKER_ACCOUNTS_AT + venue]
    if account != NO_ACCOUNT:
        for kind in range(ACCOUNT_WINDOWS):
            window = _account_at(shared, account) + kind * O.WINDOW_WORDS
            add_to_window(shared, window, 1, risk[O.RISK_NOW_NS])


@inner
def is_shared_loss_reached(risk: Words) -> bool:
    """Whether all market makers together have lost today what they may."""
    if risk[O.RISK_SHARED] == 0:
        return False
    shared = view_words(risk[O.RISK_SHARED], risk[O.RISK_SHARED_WORDS])
    if shared[SHARED_LOSS_MAX_LOTS] == 0:
        return False
    total = 0
    for maker in range(shared[SHARED_MAKERS]):
        row = _maker_at(shared, maker)
        other = view_words(shared[row + MAKER_RISK], shared[row + MAKER_RISK_WORDS])
        if other[O.RISK_DAY] == risk[O.RISK_TODAY] and other[O.RISK_LAST_FAIR_PRICE] != 0:
            result = other[O.RISK_RESULT_VALUE] - other[O.RISK_DAY_START_VALUE]
            factor, divisor = shared[row + MAKER_LOSS_FACTOR], shared[row + MAKER_LOSS_DIVISOR]
            total += _scaled(result, factor, divisor)
            total = max(-SUM_MAX, min(total, SUM_MAX))
    return -total >= shared[SHARED_LOSS_MAX_LOTS]


@inner
def begin_days_anew(risk: Words) -> None:
    """A release after the common loss: every market maker's day begins at its next fair price."""
    if risk[O.RISK_SHARED] == 0 or risk[O.RISK_HALT_REASON] != SHARED_LOSS:
        return
    shared = view_words(risk[O.RISK_SHARED], risk[O.RISK_SHARED_WORDS])
    for maker in range(shared[SHARED_MAKERS]):
        row = _maker_at(shared, maker)
        other = view_words(shared[row + MAKER_RISK], shared[row + MAKER_RISK_WORDS])
        other[O.RISK_DAY] = NO_DAY


@dataclass(frozen=True)
class SharedLimitsSpec:
    """What all market makers together keep to, in lots (1e-8) of a currency."""

    currencies: Mapping[str, int] = field(default_factory=dict)
    """The most that may be held of each, long or short; one that is not named has no limit."""
    loss_max_lots: int = 0
    """Of the common currency, since 00:00 UTC; 0 for no limit."""
    venue_rate: tuple[int, int] = (90, 10 * NS_PER_S)
    """New orders of a venue's account, and the time in ns."""
    day_rate: tuple[int, int] = (160_000, DAY_NS)


class SharedLimits:
    """The words of the limits over `makers` market makers; they outlive the makers' own."""

    def __init__(self, spec: SharedLimitsSpec, makers: int, accounts: Iterable[str]) -> None:
        """`accounts`: the names of the venue accounts that orders are sent to."""
        assert 1 <= makers <= O.MAKERS_MAX
        self._currencies = {name: at for at, name in enumerate(spec.currencies)}
        self._accounts = {name: at for at, name in enumerate(dict.fromkeys(accounts))}
        head = SHARED_WORDS + len(self._currencies) * CURRENCY_WORDS
        windows_at = head + makers * MAKER_WORDS
        count = len(self._accounts) * ACCOUNT_WINDOWS
        words = self.words = np.zeros(windows_at + count * O.WINDOW_WORDS, np.int64)
        words[SHARED_MAKERS], words[SHARED_CURRENCIES] = makers, len(self._currencies)
        words[SHARED_LOSS_MAX_LOTS] = spec.loss_max_lots
        words[SHARED_WORDS:head] = list(spec.currencies.values())
        self._unused = np.zeros(O.risk_words(1), np.int64)
        self._unused[O.RISK_DAY] = NO_DAY
        self._no_table = np.zeros(O.table_words(1), np.int64)
        for maker in range(makers):
            self._place(maker, self._no_table, self._unused)
        for window in range(count):
            at = windows_at + window * O.WINDOW_WORDS
            limit, span_ns = spec.day_rate if window % ACCOUNT_WINDOWS else spec.venue_rate
            words[at + O.WINDOW_LIMIT] = limit
            words[at + O.WINDOW_BUCKET_NS] = -(-span_ns // O.WINDOW_BUCKETS)

    def _place(self, maker: int, table: Words, risk: Words) -> int:
        """Have a market maker's words read; where its row is."""
        head = SHARED_WORDS + len(self._currencies) * CURRENCY_WORDS
        row = head + maker * MAKER_WORDS
        words = self.words
        words[row + MAKER_TABLE], words[row + MAKER_TABLE_WORDS] = table.ctypes.data, len(table)
        words[row + MAKER_RISK], words[row + MAKER_RISK_WORDS] = risk.ctypes.data, len(risk)
        words[row + MAKER_BASE] = words[row + MAKER_QUOTE] = NO_CURRENCY
        words[row + MAKER_QUOTE_FACTOR : row + MAKER_LOSS_DIVISOR + 1] = 1
        words[row + MAKER_ACCOUNTS_AT : row + MAKER_WORDS] = NO_ACCOUNT
        return row

    def add(
        self,
        maker: int,
        table: Words,
        risk: Words,
        currencies: tuple[str, str],
        quote_lots_per_value: Fraction,
        loss_rate: Fraction,
        accounts: Iterable[str | None],
    ) -> None:
        """A market maker keeps to them from now on.

        `currencies`: its base and its quote; `quote_lots_per_value`: lots of the quote currency in
        a value of its table; `loss_rate`: what one of the quote currency is in the common one;
        `accounts`: by venue, None where it does not quote.
        """
        row, words = self._place(maker, table, risk), self.words
        base, quote = currencies
        words[row + MAKER_BASE] = self._currencies.get(base, NO_CURRENCY)
        words[row + MAKER_QUOTE] = self._currencies.get(quote, NO_CURRENCY)
        ways = ((MAKER_QUOTE_FACTOR, 1), (MAKER_LOSS_FACTOR, loss_rate))
        for at, rate in ways:
            exact = (quote_lots_per_value * rate).limit_denominator(FACTOR_MAX - 1)
            assert 0 < exact.numerator < FACTOR_MAX, "a value is worth more than can be counted"
            words[row + at], words[row + at + 1] = exact.numerator, exact.denominator
        for venue, name in enumerate(accounts):
            if name is not None:
                words[row + MAKER_ACCOUNTS_AT + venue] = self._accounts[name]
        risk[O.RISK_SHARED], risk[O.RISK_SHARED_WORDS] = words.ctypes.data, len(words)
        risk[O.RISK_MAKER] = maker
