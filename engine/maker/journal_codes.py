"""What a record of the journal says: its kinds and its reasons, each a small integer with a name.

A number once given keeps its meaning for ever: new ones are added at the end, none is taken out or
used again. So an older journal is read by a newer program, and a newer one by an older program,
which shows the numbers it does not know.
Runs on: any thread (constants only). Called by: engine.maker.journal, net.journal, the tests.
"""

from __future__ import annotations

from engine.maker.order_layout import BUY, NO_SIDE, SELL

(
    EVENT_NONE,
    EVENT_JOURNAL_CLOSED,
    EVENT_JOURNAL_LOST,
    EVENT_DECISION,
    EVENT_SUBMIT,
    EVENT_ACK,
    EVENT_FILL,
    EVENT_CANCEL,
    EVENT_CANCEL_ACK,
    EVENT_REPLACE,
    EVENT_REPLACE_ACK,
    EVENT_REJECT,
    EVENT_CANCEL_REJECT,
    EVENT_EXPIRED,
    EVENT_RISK_REFUSAL,
    EVENT_KILL,
    EVENT_RELEASE,
    EVENT_DISCONNECT,
    EVENT_RECONNECT,
    EVENT_RECONCILED,
    EVENT_UNKNOWN_ORDER,
) = range(21)
"""JOURNAL_CLOSED and JOURNAL_LOST are the journal's own: its writer's end, and how many records
before this one found no room (their number is in the reason's place)."""

EVENT_NAMES = (
    "none",
    "journal-closed",
    "journal-lost",
    "decision",
    "submit",
    "ack",
    "fill",
    "cancel",
    "cancel-ack",
    "replace",
    "replace-ack",
    "reject",
    "cancel-reject",
    "expired",
    "risk-refusal",
    "kill",
    "release",
    "disconnect",
    "reconnect",
    "reconciled",
    "unknown-order",
)

(
    REASON_NONE,
    REASON_PRICE_MOVED,
    REASON_SIZE_CHANGED,
    REASON_WITHDRAWN,
    REASON_WOULD_TAKE,
    REASON_VENUE_REFUSED,
    REASON_VENUE_RATE_LIMIT,
    REASON_VENUE_NOT_LIVE,
    REASON_BOOK_STALE,
    REASON_ORDER_LOTS_LIMIT,
    REASON_POSITION_LIMIT,
    REASON_OPEN_ORDERS_LIMIT,
    REASON_PRICE_BAND,
    REASON_RATE_LIMIT,
    REASON_LOSS_LIMIT,
    REASON_SELF_TRADE,
    REASON_DISCONNECTED,
    REASON_TIMED_OUT,
    REASON_JOURNAL_FULL,
    REASON_OPERATOR,
    REASON_SHUTDOWN,
    REASON_WATCHDOG,
    REASON_ANOMALY,
) = range(23)

REASON_NAMES = (
    "none",
    "price-moved",
    "size-changed",
    "withdrawn",
    "would-take",
    "venue-refused",
    "venue-rate-limit",
    "venue-not-live",
    "book-stale",
    "order-lots-limit",
    "position-limit",
    "open-orders-limit",
    "price-band",
    "rate-limit",
    "loss-limit",
    "self-trade",
    "disconnected",
    "timed-out",
    "journal-full",
    "operator",
    "shutdown",
    "watchdog",
    "anomaly",
)

SIDE_NAMES = {NO_SIDE: "none", BUY: "buy", SELL: "sell"}

assert len(EVENT_NAMES) == EVENT_UNKNOWN_ORDER + 1
assert len(REASON_NAMES) == REASON_ANOMALY + 1


def name_of(names: tuple[str, ...], code: int) -> str:
    """The name of a kind or a reason; a number that this program does not know stays a number."""
    return names[code] if 0 <= code < len(names) else str(code)
