"""The journal's word for why: of a halt, of an order that risk refused, of a venue's refusal.

Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.maker import journal_codes as J
from engine.maker import risk_codes as R
from net.orders.errors import ErrorClass

HALTS = {
    R.DAILY_LOSS: J.REASON_LOSS_LIMIT,
    R.SHARED_LOSS: J.REASON_SHARED_LOSS_LIMIT,
    R.ANOMALY: J.REASON_ANOMALY,
    R.KILLED: J.REASON_OPERATOR,
    R.OTHER_MAKER: J.REASON_OTHER_MAKER,
    R.ACCOUNT: J.REASON_ACCOUNT,
}
GATE_HALTS = {reason: code for code, reason in HALTS.items()}
"""The gate's code of a halt that the journal has; of any other it is KILLED."""
REFUSALS = {
    R.ORDER_SIZE: J.REASON_ORDER_LOTS_LIMIT,
    R.NOTIONAL: J.REASON_ORDER_LOTS_LIMIT,
    R.COLLAR: J.REASON_PRICE_BAND,
    R.OPEN_ORDERS: J.REASON_OPEN_ORDERS_LIMIT,
    R.POSITION: J.REASON_POSITION_LIMIT,
    R.EXPOSURE: J.REASON_POSITION_LIMIT,
    R.SHARED_EXPOSURE: J.REASON_POSITION_LIMIT,
    R.OWN_CROSS: J.REASON_SELF_TRADE,
    R.RATE_OWN: J.REASON_RATE_LIMIT,
    R.RATE_VENUE: J.REASON_RATE_LIMIT,
    R.RATE_DAY: J.REASON_RATE_LIMIT,
    R.SHARED_RATE: J.REASON_RATE_LIMIT,
    R.SHARED_RATE_DAY: J.REASON_RATE_LIMIT,
    R.FILL_RATE: J.REASON_RATE_LIMIT,
    R.VOLUME_RATE: J.REASON_RATE_LIMIT,
}
VENUE_ERRORS = {
    ErrorClass.WOULD_TAKE: J.REASON_WOULD_TAKE,
    ErrorClass.RATE_LIMITED: J.REASON_VENUE_RATE_LIMIT,
}
