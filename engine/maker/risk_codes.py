"""Why the risk gate refuses an order, why it halts, and why it stays so: codes and their texts.

Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.maker.order_layout import REFUSALS_MAX

PASSED = 0
(
    IS_HALTED,
    NOT_REDUCING,
    NO_FAIR_PRICE,
    BAD_ORDER,
    ORDER_SIZE,
    NOTIONAL,
    COLLAR,
    OPEN_ORDERS,
    POSITION,
    EXPOSURE,
    OWN_CROSS,
    RATE_OWN,
    RATE_VENUE,
    RATE_DAY,
    SLOT_BUSY,
    NO_SUCH_ORDER,
    IDS_SPENT,
    DAILY_LOSS,
    ANOMALY,
    KILLED,
    ACCOUNT,
    FILL_RATE,
    VOLUME_RATE,
    OTHER_MAKER,
    SHARED_EXPOSURE,
    SHARED_LOSS,
    SHARED_RATE,
    SHARED_RATE_DAY,
) = range(1, 29)

TEXTS = {
    PASSED: "passed",
    IS_HALTED: "quoting is halted",
    NOT_REDUCING: "would not bring the position towards zero",
    NO_FAIR_PRICE: "no fair price",
    BAD_ORDER: "a price or quantity that is not possible",
    ORDER_SIZE: "larger than an order may be",
    NOTIONAL: "worth more than an order may be",
    COLLAR: "too far from the fair price",
    OPEN_ORDERS: "too many open orders",
    POSITION: "the position could pass its limit",
    EXPOSURE: "the position could be worth more than its limit",
    OWN_CROSS: "would trade with an own order",
    RATE_OWN: "more orders than the own rate allows",
    RATE_VENUE: "more orders than the venue's rate allows",
    RATE_DAY: "more orders than the venue allows a day",
    SLOT_BUSY: "the slot has an order whose state is not settled",
    NO_SUCH_ORDER: "no live order to cancel or replace",
    IDS_SPENT: "no order id is left",
    DAILY_LOSS: "the daily loss is at its limit",
    ANOMALY: "the account contradicts itself",
    KILLED: "killed",
    FILL_RATE: "more fills than the own limit allows",
    VOLUME_RATE: "more could be traded than the own limit allows",
    OTHER_MAKER: "another market maker of a newer run trades on this account and market",
    ACCOUNT: "an account holds what nobody has counted",
    SHARED_EXPOSURE: "all market makers together could hold more of a currency than its limit",
    SHARED_LOSS: "the daily loss of all market makers together is at its limit",
    SHARED_RATE: "more orders of all market makers than the venue's rate allows",
    SHARED_RATE_DAY: "more orders of all market makers than the venue allows a day",
}
"""One text for every refusal, and for the reasons for a halt."""

(UNOBSTRUCTED, KILL_FILE, DISPUTED, LEFT_BEHIND) = range(4)
OBSTACLE_TEXTS = (
    "",
    "the kill file is there",
    "an account is disputed (pollux accept)",
    "orders of an earlier run may be open elsewhere: wait, or pollux accept",
)
"""Why a release is refused."""

NO_DAY = -1
"""RISK_DAY before the first fair price, and after a release until the next."""

assert max(TEXTS) < REFUSALS_MAX
