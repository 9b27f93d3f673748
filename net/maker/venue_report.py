"""Tells an operator what is so at one venue: of its account, its refusals, its fee.

Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.layout.units import NS_PER_MS
from engine.maker import journal_codes as J
from engine.maker.client_ids import format_client_id
from engine.maker.quotes import QuoteSpec
from net.config.maker_contradictions import PPM_PER_BPS
from net.journal.ledger import Account
from net.maker.fees import quoted_with
from net.maker.recovery import Start
from net.maker.risk_report import MakerHost
from net.maker.scaled_settings import MakerRules
from net.orders.errors import Refusal
from net.orders.messages import OrderEvent
from net.orders.transfers import Transfer

REMEDY = "pollux accept, if that is no position of ours"
LEFT_REMEDY = "start with its keys, which cancels them, or cancel them there and then pollux accept"


def tell_start(host: MakerHost, venue: str, start: Start, base: str) -> None:
    """What an account is at the start, and what to do where only an operator can say."""
    facts: dict[str, object] = {
        "venue": venue,
        "position_lots": start.all_lots(base),
        "neutral_lots": start.neutral_lots,
    }
    if start.missed:
        facts["missed_fills"] = len(start.missed)
    if start.has_history:
        text = "the account has trades that may be ours, and the journal does not know it"
        host.note_maker("error", text, **facts, remedy=REMEDY)
    elif start.is_disputed:
        facts["difference_lots"] = start.difference_lots
        text = "the account holds what nobody has counted"
        host.note_maker("error", text, **facts, remedy=REMEDY)
    elif start.is_new:
        text = "a new account: what it holds now is its neutral holding"
        host.note_maker("warning", text, **facts)
    else:
        host.note_maker("info", "the account at the start", **facts)


def tell_transfers(
    host: MakerHost, venue: str, transfers: Sequence[Transfer], found: Sequence[Transfer]
) -> None:
    """A disputed account's history, and the part of it that explains the difference."""
    if found:
        changes = [each.lots for each in found]
        text = "deposits and withdrawals are what nobody had counted"
        host.note_maker("warning", text, venue=venue, lots=changes)
    else:
        text = "deposits and withdrawals do not explain the account"
        changes = [each.lots for each in transfers]
        host.note_maker("error", text, venue=venue, lots=changes, remedy=REMEDY)


def tell_left_behind(host: MakerHost, accounts: Iterable[Account], reason: str) -> None:
    """Orders of an earlier run may be open, and why they are not cancelled."""
    text = "orders of an earlier run may be open where nothing is quoted now"
    for account in accounts:
        facts = {"venue": account.venue, "market": account.market, "reason": reason}
        host.note_maker("error", text, **facts, remedy=LEFT_REMEDY)


def tell_accepted(host: MakerHost, venue: str, start: Start) -> None:
    """An account was accepted as it is."""
    facts = {"position_lots": start.position_lots, "neutral_lots": start.neutral_lots}
    host.note_maker("warning", "the account is accepted", venue=venue, **facts)


def tell_rejected(
    host: MakerHost, venue: str, side: int, order_id: int, event: OrderEvent, wait_ns: int
) -> None:
    """An order was not accepted, and its side waits for so long."""
    host.note_maker(
        "warning",
        "order rejected",
        venue=venue,
        side=J.SIDE_NAMES[side],
        order=format_client_id(order_id),
        meaning=event.error.value,
        reason=event.reason,
        again_in_ms=wait_ns // NS_PER_MS,
    )


def tell_trouble(host: MakerHost, venue: str, refusal: Refusal, wait_ns: int) -> None:
    """The venue refuses us, not one order, and is left alone for so long."""
    facts = {"meaning": refusal.error.value, "reason": refusal.text}
    again_in_ms = wait_ns // NS_PER_MS
    host.note_maker("error", "trouble at a venue", venue=venue, **facts, again_in_ms=again_in_ms)


def tell_fee(host: MakerHost, venue: str, fee_ppm: int, spec: QuoteSpec, rules: MakerRules) -> None:
    """A fee that leaves no price to quote at, or that moves the first level farther out."""
    quoted = quoted_with(spec, fee_ppm)
    limit_bps = min(rules.limits.collar_bps, spec.band_millipercent / 10)
    facts = {
        "venue": venue,
        "fee_bps": fee_ppm / PPM_PER_BPS,
        "first_bps": spec.first / PPM_PER_BPS,
        "quoted_first_bps": quoted.first / PPM_PER_BPS,
    }
    if quoted.edge_ppm_min >= limit_bps * PPM_PER_BPS:
        text = "the fee leaves no price to quote at within risk.collar_bps and band_percent"
        host.note_maker("error", text, **facts)
    elif quoted.first > spec.first and rules.is_first_given:
        text = "the first level is inside the fee: it is quoted farther out"
        host.note_maker("warning", text, **facts)
