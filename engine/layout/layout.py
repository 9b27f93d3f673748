"""Where every word lives: the descriptor of the engine's arena, of a stage and of the handoff.

Everything is int64 words. Offsets are computed from the field lists, never typed. The arena has one
owner, the engine thread; the handoff segment has one writer, the same thread, and many readers in
any process.

    arena      | ENGINE header | INSTRUMENT 0.. | CONNECTION 0.. | RULES 0.. | FEED 0.. | touched |
               | routes |
    instrument | INSTRUMENT header | feed indices | merged bids | merged asks |
    rules      | RULES header | SCHEMA of frames | SCHEMA of REST snapshots |
    schema     | SCHEMA header | names | KEY 0..K-1 |
    feed       | FEED header | symbol | price scale | quantity scale | book 0 | book 1 |
    book       | side 0 (bids) | side 1 (asks) |
    side       | SIDE header | top keys | top lots | summary | bitmap | lots per slot | unused
               | far keys | far lots |
    stage      | STAGE header | bids: mantissas, lots, decimals | asks: the same |
    handoff    | HANDOFF header | RING 0..I-1 |
    ring       | RING header (symbol, scales, venue names) | SLOT 0..N-1 |
    slot       | SLOT header | venue states | bids: price, lots, venue | asks: the same |

A *key* is a price in ticks times the side's sign, so that on both sides a larger key is better.
Runs on: any thread (constants only).
"""

from __future__ import annotations

DEPTH_MAX = 50
"""Levels a side that a merged book may have (design: top 10 by default, up to 50)."""

VENUES_MAX = 16
"""Venues of one instrument; sixteen keep a slot below one page."""

SYMBOL_WORDS = 8
"""Symbols and channel remainders are kept in 64 bytes, zero padded; venues' names stay below 32."""
SYMBOL_BYTES_MAX = SYMBOL_WORDS * 8
VENUE_NAME_WORDS = 4
VENUE_NAME_BYTES_MAX = VENUE_NAME_WORDS * 8
CHECKED_BY_WORDS = 12
CHECKED_BY_BYTES_MAX = CHECKED_BY_WORDS * 8

DECIMALS_MAX = 18
"""Fraction digits a decimal may have: one more row than this in a scale table."""
SCALE_WORDS = 5
"""A scale row: multiplier, largest mantissa, inverse of the odd divisor, shift, largest result."""

CACHE_LINE_WORDS = 8

ANY_LAG_NS = (1 << 63) - 1
"""A bound that holds for every lag."""

NO_KEY = -(2**63)
"""No level: smaller than every key."""

# --- the arena -----------------------------------------------------------------------------------

(
    ENGINE_INSTRUMENTS,
    ENGINE_FEEDS,
    ENGINE_WINDOW_SLOTS,
    ENGINE_FAR_MAX,
    ENGINE_INSTRUMENTS_OFFSET,
    ENGINE_FEEDS_OFFSET,
    ENGINE_FEED_WORDS,
    ENGINE_SIDE_WORDS,
    ENGINE_HANDOFF_ADDRESS,
    ENGINE_HANDOFF_WORDS,
    ENGINE_STAGE_ADDRESS,
    ENGINE_STAGE_WORDS,
    ENGINE_ARENA_WORDS,
    ENGINE_LAST_FEED,
    ENGINE_READS_CLOCK,
    ENGINE_METERS_ADDRESS,
    ENGINE_METERS_WORDS,
    ENGINE_CONNECTIONS_OFFSET,
    ENGINE_LARGE_FRAME_BYTES,
    ENGINE_MAKERS_DUE,
    ENGINE_TOUCHED,
    ENGINE_TOUCHED_OFFSET,
    ENGINE_ROUTES,
    ENGINE_ROUTES_OFFSET,
    ENGINE_FRAME_KERNEL,
    ENGINE_DECODE_KERNEL,
    ENGINE_PART_KERNEL,
    ENGINE_FAR_AT,
    ENGINE_WORDS,
) = range(29)
"""WINDOW_SLOTS: the most that a side's window may have. FAR_AT: where in a side its far store is.
MAKERS_DUE: a bit for each market maker whose instrument was touched, until it is stepped.
TOUCHED: how many instruments wait to be published; the offsets of each are at TOUCHED_OFFSET.
ROUTES: how many words guess the feed of a frame (engine.book.routes), 0 where nothing is guessed.
FRAME_KERNEL, DECODE_KERNEL, PART_KERNEL: the addresses of the kernels that take a frame, read a
message, and read a part of one (engine.book.frame_kernel, engine.decoding.decode_kernel,
engine.decoding.other_parts).
"""

(
    INSTRUMENT_DEPTH,
    INSTRUMENT_VENUES,
    INSTRUMENT_TRIGGER,
    INSTRUMENT_IS_LISTED,
    INSTRUMENT_SEQUENCE,
    INSTRUMENT_RING,
    INSTRUMENT_METERS,
    INSTRUMENT_TICK_MANTISSA,
    INSTRUMENT_TICK_DECIMALS,
    INSTRUMENT_LOT_DECIMALS,
    INSTRUMENT_DECLARED_UNITS,
    INSTRUMENT_MAKER_BIT,
    INSTRUMENT_FEEDS_AT,
) = range(13)
"""TRIGGER: the feed that changed it last since it was published. IS_LISTED: whether it is among the
touched. TICK and LOT: the unit of the merged prices and lots. DECLARED_UNITS: price units in the
greatest common divisor of the venues' declared ticks, in which the market maker counts. MAKER_BIT:
of its market maker in MAKERS_DUE, 0 without one."""
INSTRUMENT_HEADS_AT = INSTRUMENT_FEEDS_AT + VENUES_MAX
"""FEEDS_AT holds the offsets of the venues' feeds, HEADS_AT the next level of each in a merge."""
HEAD_WORDS = 3
(HEAD_KEY, HEAD_LOTS, HEAD_CURSOR) = range(HEAD_WORDS)
INSTRUMENT_MERGED_AT = INSTRUMENT_HEADS_AT + VENUES_MAX * HEAD_WORDS
LEVEL_WORDS = 3
"""A merged level: price in the instrument's ticks, lots, venue index."""
(LEVEL_PRICE, LEVEL_LOTS, LEVEL_VENUE) = range(LEVEL_WORDS)
MERGED_SIDE_WORDS = 1 + DEPTH_MAX * LEVEL_WORDS
"""A merged side: how many levels, then the levels."""
INSTRUMENT_WORDS = INSTRUMENT_MERGED_AT + 2 * MERGED_SIDE_WORDS

# How a venue's book is kept and what its messages look like: engine.book.rules compiles these.
TEXT_BYTES_MAX = 16
"""Bytes of a key or a name in a schema: two words."""
TEXT_WORDS = TEXT_BYTES_MAX // 8 + 1
(TEXT_FIRST, TEXT_SECOND, TEXT_LENGTH) = range(TEXT_WORDS)
KEYS_MAX = 12
"""Keys of one schema; the most that a known venue needs are eleven."""
KEY_WORDS = TEXT_WORDS + 2
(KEY_FIELD, KEY_IS_OUTSIDE) = range(TEXT_WORDS, KEY_WORDS)
(
    SCHEMA_KEYS,
    SCHEMA_HAS,
    SCHEMA_WANTED,
    SCHEMA_PAYLOAD,
    SCHEMA_QUOTED,
    SCHEMA_IDS,
    SCHEMA_TIME_UNIT_NS,
    SCHEMA_TIME_MAX,
    SCHEMA_IS_TIME_ID,
    SCHEMA_IS_SNAPSHOT,
    SCHEMA_LEVELS,
    SCHEMA_LEVELS_QUOTED,
    SCHEMA_HAS_TEMPLATE,
    SCHEMA_HAS_PLAIN_LEVELS,
    SCHEMA_IS_LISTED,
    SCHEMA_IS_TOPIC_PREFIX,
    SCHEMA_DIFF_AT,
) = range(17)
"""HAS, WANTED, PAYLOAD and QUOTED are bits of fields (engine.decoding.schema). PLAIN_LEVELS: pairs
of quoted decimals."""
SCHEMA_SNAPSHOT_AT = SCHEMA_DIFF_AT + TEXT_WORDS
SCHEMA_TOPIC_AT = SCHEMA_SNAPSHOT_AT + TEXT_WORDS
SCHEMA_PRICE_KEY_AT = SCHEMA_TOPIC_AT + TEXT_WORDS
SCHEMA_QTY_KEY_AT = SCHEMA_PRICE_KEY_AT + TEXT_WORDS
SCHEMA_SIDE_KEY_AT = SCHEMA_QTY_KEY_AT + TEXT_WORDS
SCHEMA_BID_AT = SCHEMA_SIDE_KEY_AT + TEXT_WORDS
SCHEMA_ASK_AT = SCHEMA_BID_AT + TEXT_WORDS
SCHEMA_KEYS_AT = SCHEMA_ASK_AT + TEXT_WORDS
SCHEMA_WORDS = SCHEMA_KEYS_AT + KEYS_MAX * KEY_WORDS
(
    RULES_CONTINUITY,
    RULES_IS_CONNECTION_WIDE,
    RULES_IS_STREAMED,
    RULES_HAS_ZERO_PRICES,
    RULES_CHECKSUM,
    RULES_BOUND,
    RULES_FRAME_AT,
) = range(7)
RULES_SNAPSHOT_AT = RULES_FRAME_AT + SCHEMA_WORDS
RULES_WORDS = RULES_SNAPSHOT_AT + SCHEMA_WORDS

(CONNECTION_RULES, CONNECTION_LAST_ID, CONNECTION_WORDS) = range(3)
"""Where the rules of a connection's venue are, and the number of its last frame where a venue
counts all frames of a connection; NO_ID before the first."""
NO_ID = -1

(
    FEED_RULES,
    FEED_CONNECTION,
    FEED_INSTRUMENT,
    FEED_VENUE,
    FEED_STATE,
    FEED_ACTIVE_BOOK,
    FEED_TICK_MULTIPLIER,
    FEED_LOT_MULTIPLIER,
    FEED_LOT_DECIMALS,
    FEED_DECLARED_UNITS,
    FEED_UNITS_EPOCH,
    FEED_SYMBOL_BYTES,
    FEED_BOOK_ID_0,
    FEED_BOOK_ID_1,
    FEED_LAST_FRAME_ID,
    FEED_IS_BUFFERED,
    FEED_CROSSED_FRAMES,
    FEED_VENUE_NS,
    FEED_RECEIVE_NS,
    FEED_IS_INCOMPLETE,
    FEED_LAG_MIN_NS,
    FEED_LAG_MAX_NS,
    FEED_METERS,
    FEED_PRINTED_PRICE_DECIMALS,
    FEED_PRINTED_LOT_DECIMALS,
    FEED_PRICE_MANTISSA,
    FEED_PRICE_DECIMALS,
    FEED_CONTRACT_MANTISSA,
    FEED_CONTRACT_DECIMALS,
    FEED_SYMBOL_AT,
) = range(30)
"""MULTIPLIER: the instrument's units in one of the feed's. DECLARED_UNITS: the feed's price units
in a tick that the venue declares. UNITS_EPOCH: how often the feed's scales were written, so that
what was staged with others is known. PRINTED: the most decimals that the venue has written. PRICE:
the unit of the feed's prices. CONTRACT: what a quantity of one is, in the base asset."""
PARTS_MAX = 10
"""Numbers and level lists in one frame's template, its end included; a known venue has nine."""
TEMPLATE_WORDS = 64
"""512 bytes of fixed text: real frames have some 110."""
PART_WORDS = 5
(PART_FIELD, PART_LITERAL_AT, PART_LITERAL_BYTES, PART_DIGITS, PART_IS_OTHER) = range(PART_WORDS)
PART_END = -1
"""The field of the part behind which the frame ends."""
FEED_TEMPLATE_PARTS = FEED_SYMBOL_AT + SYMBOL_WORDS
FEED_TEMPLATE_PRESENT = FEED_TEMPLATE_PARTS + 1
"""The fields of a frame of this form, as STAGE_PRESENT."""
FEED_TEMPLATE_PARTS_AT = FEED_TEMPLATE_PARTS + 2
FEED_TEMPLATE_WORDS_AT = FEED_TEMPLATE_PARTS_AT + PARTS_MAX * PART_WORDS
PLANS = 4
"""Plans a feed keeps at a time (engine.decoding.level_plan): amounts have one to four digits before
the dot."""
(
    PLAN_WIDTHS,
    PLAN_LEVEL_BYTES,
    PLAN_MIDDLE_AT,
    PLAN_MIDDLE_FIXED,
    PLAN_MIDDLE_EXPECTED,
    PLAN_VECTORS_AT,
) = range(6)
PLAN_LANE_BYTES = 16
"""Bytes of a level that one half of a vector register sees (engine.decoding.simd)."""
PLAN_VECTORS = 3
PLAN_VECTOR_WORDS = 2 * PLAN_LANE_BYTES // 8
PLAN_WORDS = PLAN_VECTORS_AT + PLAN_VECTORS * PLAN_VECTOR_WORDS
FEED_TICK_DECIMALS = FEED_TEMPLATE_WORDS_AT + TEMPLATE_WORDS
FEED_PLANNED_DIGITS_MAX = FEED_TICK_DECIMALS + 1
"""Digits of a price in ticks that a plan may read; 0 where the tick is no power of ten."""
FEED_PLANNED_LOT_DIGITS_MAX = FEED_TICK_DECIMALS + 2
"""The same of a quantity in lots."""
FEED_PLAN = FEED_TICK_DECIMALS + 3
FEED_PLAN_TURN = FEED_TICK_DECIMALS + 4
FEED_PLANS_AT = FEED_TICK_DECIMALS + 5
FEED_PRICE_SCALE_AT = FEED_PLANS_AT + PLANS * PLAN_WORDS
FEED_LOT_SCALE_AT = FEED_PRICE_SCALE_AT + (DECIMALS_MAX + 1) * SCALE_WORDS
FEED_BOOKS_AT = FEED_LOT_SCALE_AT + (DECIMALS_MAX + 1) * SCALE_WORDS

(
    SIDE_WINDOW_SLOTS,
    SIDE_WINDOW_LOW,
    SIDE_BEST,
    SIDE_WINDOW_LEVELS,
    SIDE_FAR_LEVELS,
    SIDE_FAR_DELETED,
    SIDE_HORIZON,
    SIDE_METERS,
    SIDE_TOP_LEVELS,
    SIDE_TOP_IS_STALE,
    SIDE_TOP_KEYS_AT,
) = range(11)
"""WINDOW_SLOTS: of its window as it is now, chosen by its last snapshot (engine.book.ladder).
METERS: where the side's begin (engine.sharing.meter_layout)."""
SIDE_TOP_LOTS_AT = SIDE_TOP_KEYS_AT + DEPTH_MAX
SIDE_SUMMARY_AT = SIDE_TOP_LOTS_AT + DEPTH_MAX
"""One byte for each word of the bitmap behind it: whether it has a bit set."""

WINDOW_SLOTS_MIN = 64
WINDOW_SLOTS_MAX = 1 << 20
"""An empty window of this size is searched in 2,048 steps, eight bitmap words each."""
FAR_MAX = 1 << 20
"""The most far levels that may be asked for: two million words a side is already 16 MiB."""

# --- a stage: one decoded frame or snapshot ------------------------------------------------------

(
    STAGE_LEVELS_MAX,
    STAGE_KIND,
    STAGE_PRESENT,
    STAGE_MISTYPED,
    STAGE_OUTSIDE,
    STAGE_FIRST_ID,
    STAGE_LAST_ID,
    STAGE_TIME,
    STAGE_PREVIOUS_ID,
    STAGE_EVENT_START,
    STAGE_EVENT_END,
    STAGE_TOPIC_START,
    STAGE_TOPIC_END,
    STAGE_SYMBOL_START,
    STAGE_SYMBOL_END,
    STAGE_CHECKSUM,
    STAGE_BIDS,
    STAGE_ASKS,
    STAGE_DROPPED,
    STAGE_PRICE_DECIMALS,
    STAGE_LOT_DECIMALS,
    STAGE_PRICE_DIGITS,
    STAGE_LOT_DIGITS,
    STAGE_PARTS,
    STAGE_PARTS_AT,
) = range(25)
"""DROPPED: levels without a price above zero. DECIMALS, DIGITS: what a message needs whose numbers
do not fit the feed's units, behind the dot and before it."""
NOTE_WORDS = 3
STAGE_ROWS_AT = STAGE_PARTS_AT + PARTS_MAX * NOTE_WORDS
"""PARTS_AT notes where the frame's numbers and level lists are: field, first byte, byte after."""
ROW_WORDS = 3
"""A staged level: price, lots, and until they are scaled price decimals * 64 + lot decimals."""
(ROW_PRICE, ROW_LOTS, ROW_DECIMALS) = range(ROW_WORDS)

LARGE_FRAME_BYTES = 256 << 10
"""A frame beyond this that may be a whole book is decoded by another thread: it takes milliseconds.
"""
FRAME_LEVELS_MAX = 16_384
"""Levels a side of one frame; the largest recorded has 1,076 in all."""
SNAPSHOT_LEVELS_MAX = 131_072
"""Levels a side of one snapshot; real whole books have up to 27,195."""


def stage_words(levels_max: int) -> int:
    """Words of a stage that holds `levels_max` levels a side."""
    return STAGE_ROWS_AT + 2 * levels_max * ROW_WORDS


def far_at(window_slots: int) -> int:
    """Where a side's far store begins: behind the largest window."""
    return SIDE_SUMMARY_AT + -(-window_slots // 512) + window_slots // 64 + window_slots


def side_words(window_slots: int, far_max: int) -> int:
    """Words of one side of one book."""
    words = far_at(window_slots) + 2 * far_max
    return -(-words // CACHE_LINE_WORDS) * CACHE_LINE_WORDS


KEPT_BITS = 8
KEPT_LEVELS = 1 << KEPT_BITS
KEPT_WORDS = 4
(KEPT_KEY, KEPT_LOTS, KEPT_CRC, KEPT_BYTES) = range(KEPT_WORDS)
"""What a level's text does to a checksum of zero, behind one word that tells in which units
(engine.book.checksum)."""


def feed_words(window_slots: int, far_max: int) -> int:
    """Words of one feed: its header, two books (the second one for make-before-break), and what is
    kept of its levels where they have a checksum."""
    words = FEED_BOOKS_AT + 4 * side_words(window_slots, far_max) + 1 + KEPT_LEVELS * KEPT_WORDS
    return -(-words // CACHE_LINE_WORDS) * CACHE_LINE_WORDS


# --- the handoff segment -------------------------------------------------------------------------

HANDOFF_MAGIC = 0x58554C4C4F50
"""The letters POLLUX, little-endian."""
HANDOFF_VERSION = 4

(
    HANDOFF_MAGIC_AT,
    HANDOFF_VERSION_AT,
    HANDOFF_WRITER_PID,
    HANDOFF_START_NS,
    HANDOFF_RINGS,
    HANDOFF_RING_WORDS,
    HANDOFF_RING_SLOTS,
    HANDOFF_ENGINE_STATE,
) = range(8)
HANDOFF_HEARTBEAT_NS = CACHE_LINE_WORDS
"""Steady time (tuning.clock), as START_NS: all processes of a host share it, and nobody sets it."""
HANDOFF_PUBLISHED = 2 * CACHE_LINE_WORDS
"""Books published, of all instruments: the word a waiting reader polls, alone in its line."""
HANDOFF_WORDS = 3 * CACHE_LINE_WORDS

(ENGINE_IS_STARTING, ENGINE_IS_RUNNING, ENGINE_IS_STOPPED) = range(3)

(
    RING_SEQUENCE,
    RING_DEPTH,
    RING_VENUES,
    RING_TICK_MANTISSA,
    RING_TICK_DECIMALS,
    RING_LOT_DECIMALS,
    RING_SYMBOL_BYTES,
    RING_SYMBOL_AT,
) = range(8)
RING_VENUE_NAMES_AT = RING_SYMBOL_AT + SYMBOL_WORDS
RING_CHECKED_BY_AT = RING_VENUE_NAMES_AT + VENUES_MAX * VENUE_NAME_WORDS
RING_SLOTS_AT = RING_CHECKED_BY_AT + VENUES_MAX * CHECKED_BY_WORDS

RING_SLOTS = 64
"""Books kept per instrument for readers that want each one: 6 s of a busy pair at 10 a second."""

(
    SLOT_VERSION,
    SLOT_SEQUENCE,
    SLOT_PUBLISH_NS,
    SLOT_RECEIVE_NS,
    SLOT_VENUE_NS,
    SLOT_TRIGGER_VENUE,
    SLOT_FLAGS,
    SLOT_TICK_MANTISSA,
    SLOT_TICK_DECIMALS,
    SLOT_LOT_DECIMALS,
    SLOT_BIDS,
    SLOT_ASKS,
    SLOT_VENUES_AT,
) = range(13)
"""TICK and LOT: what this book's prices and lots are counted in; the ring's are those at the start.
"""
(VENUE_STATE, VENUE_VENUE_NS, VENUE_RECEIVE_NS, VENUE_UPDATE_ID, VENUE_FLAGS, VENUE_WORDS) = range(
    6
)
SLOT_BIDS_AT = SLOT_VENUES_AT + VENUES_MAX * VENUE_WORDS
SLOT_ASKS_AT = SLOT_BIDS_AT + DEPTH_MAX * LEVEL_WORDS
_SLOT_USED = SLOT_ASKS_AT + DEPTH_MAX * LEVEL_WORDS
SLOT_WORDS = -(-_SLOT_USED // CACHE_LINE_WORDS) * CACHE_LINE_WORDS
RING_WORDS = -(-(RING_SLOTS_AT + RING_SLOTS * SLOT_WORDS) // CACHE_LINE_WORDS) * CACHE_LINE_WORDS

FLAG_CROSSED = 1
"""Slot flag: the best merged bid is at or above the best merged ask."""
FLAG_INCOMPLETE = 1
"""Venue flag: a published level lies where the venue's book is known only in part."""

# A venue's state as subscribers see it; net.feed.book_sync has the transitions.
(DISCONNECTED, CONNECTING, BUFFERING, SYNCING, LIVE, STALE) = range(6)
STATE_NAMES = ("DISCONNECTED", "CONNECTING", "BUFFERING", "SYNCING", "LIVE", "STALE")

LOT_DECIMALS = 8
"""A lot is 1e-8 of the base currency, unless a market needs another; orders are always in these."""

assert SLOT_WORDS * 8 <= 4096, "a slot stays within one page"
assert SYMBOL_BYTES_MAX % 8 == 0 and VENUE_NAME_BYTES_MAX % 8 == 0
assert len(STATE_NAMES) == STALE + 1
