"""What a record of the journal says: its kinds and its reasons, each a small integer with a name.

A number once given keeps its meaning for ever: new ones are added at the end, none is taken out or
used again. A number without a constant below has a name only and was never written. So an older
journal is read by a newer program, and a newer one by an older program, which shows the numbers it
does not know.
Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.maker.order_layout import BUY, NO_SIDE, SELL

EVENT_NONE = 0
EVENT_JOURNAL_CLOSED = 1
EVENT_JOURNAL_LOST = 2
EVENT_SUBMIT = 4
EVENT_ACK = 5
EVENT_FILL = 6
EVENT_CANCEL = 7
EVENT_REPLACE = 9
EVENT_REJECT = 11
EVENT_CANCEL_REJECT = 12
EVENT_EXPIRED = 13
EVENT_RISK_REFUSAL = 14
EVENT_KILL = 15
EVENT_RELEASE = 16
EVENT_DISCONNECT = 17
EVENT_RECONNECT = 18
EVENT_RECONCILED = 19
EVENT_ACCOUNT = 21
EVENT_RESULT = 22
EVENT_CHECKPOINT = 23
EVENT_FEE = 24
EVENT_TAKE = 25
EVENT_TRANSFER = 26
EVENT_SETTLED = 27
"""JOURNAL_CLOSED and JOURNAL_LOST are the journal's own: its writer's end, and how many records
before this one found no room (their number is in the reason's place).

SUBMIT, REPLACE, CANCEL, TAKE: what was sent, which is every decision that the risk gate has passed;
a TAKE takes and never rests, a REPLACE has the old order's id in the place of the filled lots.
RISK_REFUSAL: what it has not passed, once a minute for each reason (the lots are the gate's code).
ACK, FILL, REJECT, CANCEL_REJECT, EXPIRED: what a venue says; RECONCILED: that it says where an
order stands, a confirmed cancel included, or, without an order, the position at the start.
DISCONNECT, RECONNECT: of a venue's order entry, or of one order whose answer did not come. KILL,
RELEASE: with the reason.

FEE, after the FILL that has cost it: the fee in lots of its asset as the lots, its value as the
filled lots, in which kind of asset it was paid as the reason.
ACCOUNT, RESULT, TRANSFER, SETTLED, CHECKPOINT are the ledger's (net.journal.ledger), for the next
run to read.
ACCOUNT, before the FILL that has changed it: the market's number in the slot's place, the neutral
holding as the lots, the position as the filled lots, whether it is live and whether orders may be
open in the places of the states, the execution as the reason. RESULT: the decimals and the mantissa
of its values in the places of slot and price, cash as the lots, fees in the order's place, the
day's first result as the filled lots, whether it is live and the day in the places of the states,
the halt as the reason, the position in the book sequence's place. TRANSFER: a deposit or a
withdrawal that an account's neutral holding has moved with: market and mode as in ACCOUNT, the
change as the lots, when it was booked as the filled lots, and the number that it is known by in the
order's place. SETTLED: an account held what was known of it, market, mode and time as in TRANSFER.
"""

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
    "account",
    "result",
    "checkpoint",
    "fee",
    "take",
    "transfer",
    "settled",
)

REASON_NONE = 0
REASON_WOULD_TAKE = 4
REASON_VENUE_REFUSED = 5
REASON_VENUE_RATE_LIMIT = 6
REASON_ORDER_LOTS_LIMIT = 9
REASON_POSITION_LIMIT = 10
REASON_OPEN_ORDERS_LIMIT = 11
REASON_PRICE_BAND = 12
REASON_RATE_LIMIT = 13
REASON_LOSS_LIMIT = 14
REASON_SELF_TRADE = 15
REASON_DISCONNECTED = 16
REASON_TIMED_OUT = 17
REASON_JOURNAL_FULL = 18
REASON_OPERATOR = 19
REASON_SHUTDOWN = 20
REASON_WATCHDOG = 21
REASON_ANOMALY = 22
REASON_ACCOUNT = 23
REASON_FEE_IN_BASE = 24
REASON_FEE_IN_QUOTE = 25
REASON_FEE_IN_OTHER = 26
REASON_FEE_NOT_VALUED = 27
REASON_OTHER_MAKER = 28
REASON_AUDIT = 29
REASON_SHARED_LOSS_LIMIT = 30

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
    "account",
    "fee-in-base",
    "fee-in-quote",
    "fee-in-other",
    "fee-not-valued",
    "other-maker",
    "audit",
    "shared-loss-limit",
)

SIDE_NAMES = {NO_SIDE: "none", BUY: "buy", SELL: "sell"}

assert EVENT_NAMES[EVENT_TAKE] == "take" and EVENT_NAMES[EVENT_SETTLED] == "settled"
assert EVENT_NAMES[EVENT_TRANSFER] == "transfer" and EVENT_NAMES[EVENT_KILL] == "kill"
assert REASON_NAMES[REASON_SHARED_LOSS_LIMIT] == "shared-loss-limit"
assert REASON_NAMES[REASON_ACCOUNT] == "account" and REASON_NAMES[REASON_LOSS_LIMIT] == "loss-limit"


def name_of(names: tuple[str, ...], code: int) -> str:
    """The name of a kind or a reason; a number that this program does not know stays a number."""
    return names[code] if 0 <= code < len(names) else str(code)
