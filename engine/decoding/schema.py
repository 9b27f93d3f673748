"""What a venue's messages look like, as data: keys, names, level shapes, number and time forms.

A venue declares a `MessageSchema` for the frames of its stream and one for its REST snapshots. The
engine compiles each once into words of its arena, and the general reader (engine.decoding.decode)
branches on those integers alone. Texts are compared as two words of eight bytes and a length, so
none may be longer than TEXT_BYTES_MAX.
Runs on: any thread (constants and facts; compiled once, at start).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.layout import layout as L

# What a key means. The number is also the field's bit in STAGE_PRESENT and STAGE_OUTSIDE.
(
    FIELD_UNKNOWN,
    FIELD_ENVELOPE,
    FIELD_EVENT,
    FIELD_TOPIC,
    FIELD_SYMBOL,
    FIELD_FIRST_ID,
    FIELD_LAST_ID,
    FIELD_PREVIOUS_ID,
    FIELD_TIME,
    FIELD_BIDS,
    FIELD_ASKS,
    FIELD_LEVELS,
    FIELD_IGNORED,
    FIELD_HEADER,
    FIELD_INNER,
    FIELD_WHOLE,
    FIELD_CHECKSUM,
) = range(17)
"""ENVELOPE: the object that holds the book where the message wraps it; INNER: one in it whose
members belong to the book too; HEADER: one beside it whose members count as outside. LEVELS: one
list of both sides. WHOLE: whatever only a whole book has. IGNORED: a number that nothing uses, but
that differs from frame to frame; there may be several."""
FIELD_DOUBLED = 17
"""The bit that says that some field came twice."""
FIELD_ESCAPED = 18
"""The bit that says that a key, an event or a topic spells plain characters as escapes."""

(LEVELS_PAIRS, LEVELS_LONGER, LEVELS_OBJECTS, LEVELS_SIDED, LEVELS_SIDED_ARRAYS) = range(5)
"""`[p,q]` exactly; `[p,q,..]` with more members; `{"price":p,"qty":q}`; one list of both sides:
objects each with its side, or `[side,p,q]`."""
ONE_LIST = (LEVELS_SIDED, LEVELS_SIDED_ARRAYS)

(IDS_RANGE, IDS_ONE, IDS_PREVIOUS, IDS_LINK, IDS_NONE) = range(5)
"""First and last id; one id a message; an id and that of the message before; the same where ids may
fall or stay (a venue that counts anew, or says that nothing has changed); none at all."""

NO_CHECKSUM = -1
"""Of a message that has none."""
CHECKSUM_MIN, CHECKSUM_MAX = -(2**31), 2**32 - 1
"""32 bits, which some venues write with a sign; a number beyond them is no checksum."""

NS, US, MS, S = 1, 10**3, 10**6, 10**9
"""Units of time in ns."""
MS_OR_US = 0
"""Milliseconds, or microseconds where the number is too large for them (MICROSECONDS_FROM)."""
ISO_TEXT = -1
"""RFC 3339 text in UTC with up to nine fraction digits."""


class SchemaError(ValueError):
    """A schema that contradicts itself or does not fit the engine's tables: one line."""


@dataclass(frozen=True)
class Key:
    """A member of a message. `is_outside`: beside the envelope, never in it; the others belong
    into the envelope where there is one. `is_quoted`: its number stands in quotes."""

    name: str
    field: int
    is_outside: bool = False
    is_optional: bool = False
    is_quoted: bool = False


@dataclass(frozen=True)
class LevelForm:
    """How levels are written. The keys are those of objects; `bid` and `ask` are a side's names."""

    shape: int = LEVELS_PAIRS
    is_quoted: bool = True
    price_key: str = ""
    qty_key: str = ""
    side_key: str = ""
    bid: str = ""
    ask: str = ""


@dataclass(frozen=True)
class MessageSchema:
    """One form of message: its keys, and what tells it from others.

    `diff` and `snapshot` are the values of the EVENT key; a message with another event is none of
    ours. Without an EVENT key every message is a diff, or a snapshot if `is_snapshot`. The TOPIC is
    `topic`; where no SYMBOL key names the symbol, that is what follows in it. Ids that are optional
    are missing all at once, and then the message has a checksum.
    """

    keys: tuple[Key, ...]
    ids: int
    time_unit_ns: int = NS
    is_time_the_id: bool = False
    """The last id is the venue's time too, in `time_unit_ns`."""
    levels: LevelForm = LevelForm()
    diff: str = ""
    snapshot: str = ""
    topic: str = ""
    is_topic_prefix: bool = False
    """The TOPIC begins with `topic`, though a key names the symbol."""
    is_listed: bool = False
    """The envelope stands in a list, alone."""
    is_snapshot: bool = False

    @property
    def has_snapshots(self) -> bool:
        """Whether a message of this form may be a whole book."""
        has_mark = any(key.field == FIELD_WHOLE for key in self.keys)
        return bool(self.snapshot) or self.is_snapshot or has_mark

    @property
    def envelope(self) -> str:
        """The key of the object that holds the book, or of the list with it; empty where none."""
        return next((key.name for key in self.keys if key.field == FIELD_ENVELOPE), "")

    def words(self) -> list[int]:
        """The schema as SCHEMA_WORDS words (engine.layout.layout); SchemaError."""
        self._check()
        form = self.levels
        is_plain = form.shape == LEVELS_PAIRS and form.is_quoted
        header = [0] * L.SCHEMA_DIFF_AT
        header[L.SCHEMA_KEYS] = len(self.keys)
        header[L.SCHEMA_HAS] = _mask(self.keys)
        header[L.SCHEMA_WANTED] = _mask(self._wanted())
        header[L.SCHEMA_PAYLOAD] = _mask(
            [key for key in self.keys if not key.is_outside and key.field not in _NO_PAYLOAD]
        )
        header[L.SCHEMA_QUOTED] = _mask([key for key in self.keys if key.is_quoted])
        header[L.SCHEMA_IDS] = self.ids
        header[L.SCHEMA_TIME_UNIT_NS] = self.time_unit_ns
        header[L.SCHEMA_TIME_MAX] = (2**63 - 1) // max(self.time_unit_ns, 1)
        header[L.SCHEMA_IS_TIME_ID] = self.is_time_the_id
        header[L.SCHEMA_IS_SNAPSHOT] = self.is_snapshot
        header[L.SCHEMA_LEVELS] = form.shape
        header[L.SCHEMA_LEVELS_QUOTED] = form.is_quoted
        header[L.SCHEMA_HAS_TEMPLATE] = not self.is_snapshot
        header[L.SCHEMA_HAS_PLAIN_LEVELS] = is_plain
        header[L.SCHEMA_IS_LISTED] = self.is_listed
        header[L.SCHEMA_IS_TOPIC_PREFIX] = self.is_topic_prefix
        texts = [self.diff, self.snapshot, self.topic]
        texts += [form.price_key, form.qty_key, form.side_key, form.bid, form.ask]
        keys = [
            word
            for key in self.keys
            for word in (*_text_words(key.name), key.field, int(key.is_outside))
        ]
        words = [*header, *(word for text in texts for word in _text_words(text)), *keys]
        assert len(words) == L.SCHEMA_KEYS_AT + len(self.keys) * L.KEY_WORDS
        return words + [0] * (L.SCHEMA_WORDS - len(words))

    def _wanted(self) -> list[Key]:
        return [key for key in self.keys if not key.is_optional and key.field not in _NOT_WANTED]

    def _check(self) -> None:
        fields = [key.field for key in self.keys if key.field != FIELD_IGNORED]
        if len(self.keys) > L.KEYS_MAX:
            raise SchemaError(f"{len(self.keys)} keys; at most {L.KEYS_MAX}")
        if len(set(fields)) != len(fields):
            raise SchemaError("two keys have one meaning")
        sides = {FIELD_LEVELS} if self.levels.shape in ONE_LIST else {FIELD_BIDS, FIELD_ASKS}
        ids = {
            IDS_RANGE: {FIELD_FIRST_ID, FIELD_LAST_ID},
            IDS_ONE: {FIELD_LAST_ID},
            IDS_PREVIOUS: {FIELD_PREVIOUS_ID, FIELD_LAST_ID},
            IDS_LINK: {FIELD_PREVIOUS_ID, FIELD_LAST_ID},
            IDS_NONE: set[int](),
        }[self.ids]
        if not sides | ids <= set(fields):
            raise SchemaError("no key for the levels, or for the ids")
        if (FIELD_EVENT in fields) != bool(self.diff or self.snapshot):
            raise SchemaError("an EVENT key and its values go together")
        if (FIELD_TOPIC in fields) != bool(self.topic):
            raise SchemaError("a TOPIC key and its beginning go together")


_NOT_WANTED = (FIELD_IGNORED, FIELD_WHOLE)
_NO_PAYLOAD = (FIELD_ENVELOPE, FIELD_HEADER, FIELD_INNER, FIELD_IGNORED)


def _mask(keys: tuple[Key, ...] | list[Key]) -> int:
    """The bits of the keys' fields."""
    return sum(1 << key.field for key in keys)


def _text_words(text: str) -> tuple[int, int, int]:
    """A text's first eight bytes and the next eight, zero padded, and its length; SchemaError."""
    raw = text.encode()
    if len(raw) > L.TEXT_BYTES_MAX:
        raise SchemaError(f"{text!r} is longer than {L.TEXT_BYTES_MAX} bytes")
    first, second = raw[:8].ljust(8, b"\0"), raw[8:].ljust(8, b"\0")
    return int.from_bytes(first, "little"), int.from_bytes(second, "little"), len(raw)
