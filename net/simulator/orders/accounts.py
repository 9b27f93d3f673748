"""Accounts: balances, API keys, orders and executions, all in exact integers.

Fees are rounded down to a lot. Binance takes them out of what is received (the base of a buy, the
quote of a sell), or in an asset of its own while there is enough; Bitstamp always in quote, so a
buy sets the fee aside too. Amounts of quote are
rounded down when a fill is paid and up when an order's money is set aside, hence a fill always
finds its money: floor(x) + ceil(y) <= ceil(x + y).
Invariants (`check`): no balance is negative; what is locked is the sum of what open orders have
set aside; every asset's total is the deposit plus what trades with the market moved, less fees.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from net.simulator.market import BID
from net.simulator.options import (
    LOTS_PER_UNIT,
    SimulatorError,
    TradingOptions,
    VenueInstrument,
)
from net.simulator.orders.amounts import quote_lots, quote_lots_up, read_lots

FEE_SCALE = 1_000_000  # hundredths of a basis point in one

NEW, PARTLY, FILLED = "NEW", "PARTIALLY_FILLED", "FILLED"
CANCELED, EXPIRED, PREVENTED = "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"
OPEN = (NEW, PARTLY)
TRANSFER_STATES = COMPLETE, PENDING, FAILED = "complete", "pending", "failed"
FIRST_TRANSFER_ID = 1 << 40
"""Above any trade's, with which a venue may list them."""


@dataclass(frozen=True)
class ApiKey:
    """A key: an HMAC secret or an Ed25519 public key, never both."""

    name: str
    secret: bytes = b""
    public_key: Ed25519PublicKey | None = None

    def signs(self, payload: bytes, signature: str) -> bool:
        """HMAC-SHA256 in hex of either case, or Ed25519 in base64."""
        if self.public_key is None:
            made = hmac.new(self.secret, payload, hashlib.sha256).hexdigest()
            return hmac.compare_digest(made.encode(), signature.lower().encode())
        try:
            self.public_key.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


def api_keys(options: TradingOptions) -> dict[str, ApiKey]:
    """The keys by name; `SimulatorError` for a public key that is none."""
    keys = [ApiKey(options.api_key, options.api_secret.encode())]
    if options.ed25519_public_pem:
        try:
            public_key = load_pem_public_key(options.ed25519_public_pem.encode())
        except ValueError as error:
            raise SimulatorError(f"the Ed25519 public key cannot be read: {error}") from None
        if not isinstance(public_key, Ed25519PublicKey):
            raise SimulatorError("the Ed25519 public key is of another kind")
        keys.append(ApiKey(options.ed25519_key, public_key=public_key))
    return {key.name: key for key in keys}


@dataclass(slots=True)
class Balance:
    """Of one asset: what is free, and what open orders have set aside."""

    free_lots: int = 0
    locked_lots: int = 0


@dataclass(slots=True)
class Order:
    """An order from its acceptance on. Price 0 is a market order's."""

    order_id: int
    instrument: VenueInstrument
    client_order_id: str
    side: int
    kind: str
    time_in_force: str
    price_ticks: int
    qty_lots: int
    created_ns: int
    self_trade: str
    response_tag: str = ""  # what the venue's protocol wants to remember of the request
    status: str = NEW
    filled_lots: int = 0
    filled_quote_lots: int = 0
    locked_lots: int = 0
    prevented_lots: int = 0
    updated_ns: int = 0
    executions: list[Execution] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN

    @property
    def open_lots(self) -> int:
        """What is not filled."""
        return self.qty_lots - self.filled_lots

    @property
    def symbol(self) -> str:
        """The venue's name of its market."""
        return self.instrument.venue_symbol

    @property
    def spends(self) -> str:
        """The asset it pays with."""
        return self.instrument.quote if self.side == BID else self.instrument.base


class Execution(NamedTuple):
    """One fill, settled."""

    execution_id: int
    trade_id: int
    order_id: int
    symbol: str
    side: int
    price_ticks: int
    qty_lots: int
    quote_lots: int
    fee_lots: int
    fee_asset: str
    is_maker: bool
    time_ns: int


class Transfer(NamedTuple):
    """A deposit, or a withdrawal, whose lots are below zero, as the venue's history has it."""

    transfer_id: int
    asset: str
    lots: int
    fee_lots: int
    state: str
    """Of TRANSFER_STATES."""
    time_ns: int


class Account:
    """One customer of one venue."""

    def __init__(self, options: TradingOptions, *, fee_in_quote: bool) -> None:
        self.user_id = options.user_id
        self.maker_fee, self.taker_fee = options.maker_fee, options.taker_fee
        self.fee_in_quote = fee_in_quote
        self.fee_asset = "" if fee_in_quote else options.fee_asset
        self._fee_asset_price_lots = read_lots(options.fee_asset_price)
        self.balances = {name: Balance(read_lots(text)) for name, text in options.balances}
        self.fees_paid: Counter[str] = Counter()
        self.traded: Counter[str] = Counter()  # net lots that came from the market
        self.transfers: list[Transfer] = []
        """What the venue's history lists, oldest first."""
        self._deposits = {name: each.free_lots for name, each in self.balances.items()}

    def balance(self, asset: str) -> Balance:
        """An asset's balance; nothing if it was never held."""
        return self.balances.setdefault(asset, Balance())

    def deposit(
        self,
        asset: str,
        lots: int,
        time_ns: int = 0,
        *,
        fee_lots: int = 0,
        state: str = COMPLETE,
        is_listed: bool = True,
    ) -> int:
        """Put something into the account from outside, a withdrawal where it is below zero; by how
        much the account has changed. What is not listed came another way than the history knows."""
        if is_listed:
            number = FIRST_TRANSFER_ID + len(self.transfers)
            self.transfers.append(Transfer(number, asset, lots, fee_lots, state, time_ns))
        # A deposit is there when it is complete; a withdrawal is gone unless it has failed.
        is_booked = state == COMPLETE or (state == PENDING and lots < 0)
        change = lots - fee_lots if is_booked else 0
        balance = self.balance(asset)
        balance.free_lots += change
        assert balance.free_lots >= 0, "more is withdrawn than is free"
        self._deposits[asset] = self._deposits.get(asset, 0) + change
        return change

    def complete(self, transfer_id: int) -> None:
        """A pending withdrawal is done."""
        at = transfer_id - FIRST_TRANSFER_ID
        assert self.transfers[at].state == PENDING and self.transfers[at].lots < 0
        self.transfers[at] = self.transfers[at]._replace(state=COMPLETE)

    def required_lots(self, order: Order, qty_lots: int) -> int:
        """What a limit order must set aside for so much of it."""
        if order.side != BID:
            return qty_lots
        cost = quote_lots_up(order.instrument, order.price_ticks, qty_lots)
        return self.with_fee(cost)

    def with_fee(self, cost_lots: int) -> int:
        """What a buy of so much quote may cost in all."""
        if not self.fee_in_quote:
            return cost_lots
        rate = max(self.maker_fee, self.taker_fee)
        return cost_lots + -(-cost_lots * rate // FEE_SCALE)

    def lock(self, order: Order, lots: int) -> bool:
        """Set aside for an order; False (and nothing done) if that much is not free."""
        balance = self.balance(order.spends)
        if lots > balance.free_lots:
            return False
        self._move(order, lots)
        return True

    def release(self, order: Order, keep_lots: int) -> None:
        """Set aside no more than so much."""
        self._move(order, min(0, keep_lots - order.locked_lots))

    def _move(self, order: Order, lots: int) -> None:
        balance = self.balance(order.spends)
        balance.free_lots -= lots
        balance.locked_lots += lots
        order.locked_lots += lots
        assert balance.free_lots >= 0 and order.locked_lots >= 0

    def settle(
        self,
        order: Order,
        *,
        price_ticks: int,
        qty_lots: int,
        is_maker: bool,
        execution_id: int,
        trade_id: int,
        time_ns: int,
    ) -> Execution:
        """Exchange base for quote, take the fee, and note the fill in the order."""
        assert 0 < qty_lots <= order.open_lots
        made = order.instrument
        cost = quote_lots(made, price_ticks, qty_lots)
        is_buy = order.side == BID
        received, gained = (made.base, qty_lots) if is_buy else (made.quote, cost)
        spent = cost if is_buy else qty_lots
        rate = self.maker_fee if is_maker else self.taker_fee
        fee_asset, fee = self._own_asset_fee(cost * rate)
        if not fee_asset:
            fee_asset = made.quote if self.fee_in_quote else received
            fee = (cost if self.fee_in_quote else gained) * rate // FEE_SCALE
            if fee_asset == received:
                gained -= fee
            else:
                spent += fee
        order.locked_lots -= spent
        assert order.locked_lots >= 0, "a fill costs more than was set aside"
        self.balance(order.spends).locked_lots -= spent
        self.balance(received).free_lots += gained
        self.traded[made.base] += qty_lots if is_buy else -qty_lots
        self.traded[made.quote] += -cost if is_buy else cost
        self.fees_paid[fee_asset] += fee
        order.filled_lots += qty_lots
        order.filled_quote_lots += cost
        order.status = FILLED if not order.open_lots else PARTLY
        order.updated_ns = time_ns
        execution = Execution(
            execution_id,
            trade_id,
            order.order_id,
            order.symbol,
            order.side,
            price_ticks,
            qty_lots,
            cost,
            fee,
            fee_asset,
            is_maker,
            time_ns,
        )
        order.executions.append(execution)
        return execution

    def _own_asset_fee(self, scaled_lots: int) -> tuple[str, int]:
        """The asset and the lots of a fee that is paid in the venue's own; "" where it is not.

        `scaled_lots`: the fee in lots of quote, times FEE_SCALE."""
        if not self.fee_asset:
            return "", 0
        fee = scaled_lots * LOTS_PER_UNIT // (FEE_SCALE * self._fee_asset_price_lots)
        balance = self.balance(self.fee_asset)
        if fee > balance.free_lots:
            return "", 0
        balance.free_lots -= fee
        return self.fee_asset, fee

    def check(self, orders: list[Order]) -> None:
        """Assert every invariant of the module docstring, given all open orders."""
        locked: Counter[str] = Counter()
        for order in orders:
            locked[order.spends] += order.locked_lots
        for asset, balance in self.balances.items():
            assert balance.free_lots >= 0 and balance.locked_lots == locked[asset]
            total = balance.free_lots + balance.locked_lots
            moved = self.traded[asset] - self.fees_paid[asset]
            assert total == self._deposits.get(asset, 0) + moved
