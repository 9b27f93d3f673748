"""What a simulator is told: options, instruments, and the one exception for bad input.

Invariant: everything here is immutable. Used by every other file of this package and by the
command line that builds a `SimulatorOptions`.
Runs on: none (plain values).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

LOT_DECIMALS = 8  # both venues state quantities in at most eight decimals
LOTS_PER_UNIT = 10**LOT_DECIMALS
SYMBOLS_MAX = 64  # one process simulates a handful; more is a typing error, not a market
SYMBOL_PATTERN = re.compile(r"[A-Z0-9]{2,10}-[A-Z0-9]{2,10}")
AMOUNT_TEXT = re.compile(r"[0-9]{1,10}(\.[0-9]{1,8})?")  # fits 64 bits in lots
FEE_MAX = 100_000  # ten percent: more is a typing error
PORT_MAX = 65_535
REST_LAG_MAX_S = 5.0  # the undo log that serves late answers is bounded by this (plain_book.py)


class SimulatorError(Exception):
    """Bad input. The message is one line and names the file, line or value.

    `status` is the exit status of a program that ends with it: 2 for bad input.
    """

    status = 2


class SimulatorFailedError(SimulatorError):
    """The input is good, and it failed all the same: a port that is taken, a market that died."""

    status = 1


@dataclass(frozen=True)
class TradingOptions:
    """The account that each simulated venue keeps, and the keys that open it.

    Amounts are decimal texts; fees are in hundredths of a basis point. The key pair is the one of
    the exchange's published signing examples; `ed25519_public_pem` left out means no such key.
    """

    balances: tuple[tuple[str, str], ...] = (
        ("BTC", "10"),
        ("ETH", "100"),
        ("USDT", "1000000"),
        ("USD", "1000000"),
    )
    maker_fee: int = 1_000
    taker_fee: int = 1_000
    fee_asset: str = ""  # where a venue takes fees in an asset of its own, as long as there is some
    fee_asset_price: str = "600"  # of one of it, in any quote currency
    api_key: str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    api_secret: str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    ed25519_key: str = "ed25519-test-key"
    ed25519_public_pem: str = ""
    user_id: int = 4_416_057
    orders_10s_max: int = 100  # where orders are counted
    orders_day_max: int = 200_000
    chains_by_market: bool = False
    """Where an order's event names the one before it: that of its market, or of the account."""

    def check(self) -> None:
        """Raise `SimulatorError` for the first impossible value."""
        for asset, amount in self.balances:
            if AMOUNT_TEXT.fullmatch(amount) is None:
                raise SimulatorError(f"balance {amount!r} of {asset} is not a decimal amount")
        for name, fee in (("maker", self.maker_fee), ("taker", self.taker_fee)):
            if not 0 <= fee <= FEE_MAX:
                raise SimulatorError(f"{name} fee {fee} is not in 0..{FEE_MAX}")
        if AMOUNT_TEXT.fullmatch(self.fee_asset_price) is None or not float(self.fee_asset_price):
            raise SimulatorError(f"fee asset price {self.fee_asset_price!r} is no amount above 0")
        if self.orders_10s_max < 1 or self.orders_day_max < 1:
            raise SimulatorError("an order limit below 1 allows no order")


@dataclass(frozen=True)
class SimulatorOptions:
    """All durations are real seconds except where a name says simulated.

    `speed` multiplies the market's (or the tape's) clock; 0 plays a tape as fast as clients read.
    `port_base` 0 takes free ports; otherwise the first venue listens on it, each on the next one.
    `tls_ca` is the authority written into `configuration_toml` (default: the certificate itself).
    """

    symbols: tuple[str, ...] = ("BTC-USD",)
    venues: tuple[str, ...] = ()  # by name (registry.py); left out: those that take orders
    seed: int = 1
    speed: float = 1.0
    host: str = "127.0.0.1"
    port_base: int = 0
    tape: Path | None = None
    tape_start_delay_s: float = 0.25  # so that one client's burst of subscriptions misses nothing
    close_at_tape_end: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    far_levels_share: float = 1.0  # of the recorded depth beyond the nearest 1000 levels a side
    faults: tuple[str, ...] = ()  # orders in the language of faults.py, timed from the start
    rest_lag_max_s: float = 0.5  # where REST is late: drawn for each answer, simulated
    rest_cache_s: float = 1.0  # where a cache repeats REST answers
    weight_limit: int = 6000  # where REST has weights, per clock-aligned minute
    ping_interval_s: float = 20.0  # where the venue pings
    pong_timeout_s: float = 60.0
    connection_lifetime_s: float = 86_400.0  # where connections are cut for their age
    trading: TradingOptions = TradingOptions()
    backlog_frames_max: int = field(default=4096)  # a slow client is cut beyond this
    backlog_bytes_max: int = field(default=16 << 20)  # or beyond this

    def check(self) -> None:
        """Raise `SimulatorError` for the first impossible value."""
        if not 0 <= self.port_base < PORT_MAX:
            raise SimulatorError(f"port base {self.port_base} is not in 0..{PORT_MAX - 1}")
        if not 0 <= self.speed < float("inf"):
            raise SimulatorError(f"speed {self.speed} is not a number from 0 upwards")
        if self.speed == 0 and self.tape is None:
            raise SimulatorError("speed 0 (as fast as possible) needs a tape")
        if self.seed < 0:
            raise SimulatorError(f"seed {self.seed} is negative")
        if not 0 <= self.far_levels_share <= 1:
            raise SimulatorError(f"far levels share {self.far_levels_share} is not in 0..1")
        if not 0 <= self.rest_lag_max_s <= REST_LAG_MAX_S:
            raise SimulatorError(f"REST lag {self.rest_lag_max_s} s is not in 0..{REST_LAG_MAX_S}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SimulatorError("TLS needs both a certificate and a key")
        self.trading.check()
        if self.tape is None:
            parse_symbols(self.symbols)


@dataclass(frozen=True)
class VenueInstrument:
    """One market as one venue names and prints it. A tick is 10**-price_decimals."""

    symbol: str  # what Pollux calls it: BTC-USD
    venue_symbol: str  # BTCUSDT or btcusd
    base: str
    quote: str
    price_decimals: int
    qty_decimals: int  # the step quantities are multiples of
    price_text_decimals: int  # decimals the venue prints, zeros included
    qty_text_decimals: int

    @property
    def qty_step_lots(self) -> int:
        """Smallest quantity, in lots of 1e-8."""
        return int(10 ** (LOT_DECIMALS - self.qty_decimals))


def parse_symbols(symbols: tuple[str, ...]) -> list[tuple[str, str]]:
    """("BTC-USD", ...) to [("BTC", "USD"), ...]."""
    if not 1 <= len(symbols) <= SYMBOLS_MAX:
        raise SimulatorError(f"{len(symbols)} symbols: need 1 to {SYMBOLS_MAX}")
    pairs = []
    for symbol in symbols:
        if SYMBOL_PATTERN.fullmatch(symbol) is None:
            raise SimulatorError(f"bad symbol {symbol!r}: expected the form BTC-USD")
        base, quote = symbol.split("-")
        if (base, quote) in pairs:
            raise SimulatorError(f"symbol {symbol} is given twice")
        pairs.append((base, quote))
    return pairs


class DecimalText:
    """Prints a scaled integer the way a venue does: fixed decimals, zero padded.

    `DecimalText(2, 8)(6183763)` is "61837.63000000".
    """

    __slots__ = ("_decimals", "_padding", "_scale")

    def __init__(self, decimals: int, text_decimals: int) -> None:
        assert 0 <= decimals <= text_decimals
        self._decimals = decimals
        self._scale = 10**decimals
        zeros = "0" * (text_decimals - decimals)
        self._padding = zeros if decimals else ("." + zeros if zeros else "")

    def __call__(self, value: int) -> str:
        """`value` is not negative."""
        if not self._decimals:
            return f"{value}{self._padding}"
        whole, part = divmod(value, self._scale)
        return f"{whole}.{part:0{self._decimals}d}{self._padding}"


class InstrumentText:
    """Prints one instrument's prices, quantities and levels."""

    __slots__ = ("price", "qty")

    def __init__(self, instrument: VenueInstrument) -> None:
        self.price = DecimalText(instrument.price_decimals, instrument.price_text_decimals)
        if instrument.qty_text_decimals == LOT_DECIMALS:
            self.qty = DecimalText(LOT_DECIMALS, LOT_DECIMALS)
        else:
            self.qty = _ShortQuantityText(instrument.qty_text_decimals)

    def levels(self, levels: list[tuple[int, int]]) -> str:
        """[(price_ticks, qty_lots)] as the JSON both venues use: [["1.00","2.00"],...]."""
        price, qty = self.price, self.qty
        return "[" + ",".join([f'["{price(p)}","{qty(q)}"]' for p, q in levels]) + "]"


class _ShortQuantityText(DecimalText):
    """Lots printed with fewer than eight decimals (some markets)."""

    __slots__ = ("_divisor",)

    def __init__(self, text_decimals: int) -> None:
        super().__init__(text_decimals, text_decimals)
        self._divisor = 10 ** (LOT_DECIMALS - text_decimals)

    def __call__(self, value: int) -> str:
        return super().__call__(value // self._divisor)
