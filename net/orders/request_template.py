"""A request's text, written by one kernel call: fixed texts around fields that are numbers.

An order goes out microseconds after the book that it follows from, and Python would spend most of
them on putting numbers into text. A field says what its number must be; one that is not is refused
and nothing is written. What was written is what would be built afresh: there is no padding.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Sequence

import numpy as np

from engine.compiling import builtin as C
from engine.compiling.atomics import BYTES_HEADER, Bytes, Words, view_bytes, view_words
from engine.compiling.jit import JIT_OFF, callback, compile_kernels, inner
from engine.maker.client_ids import CLIENT_ID_PREFIX
from engine.maker.order_layout import EPOCH_MAX, SEQUENCE_MAX
from net.orders.messages import EntryError, Field, whole_number

FIELDS_MAX = 6
NUMBER_BYTES_MAX = 40
"""Nineteen digits, a dot and as many zeros before them."""
NAME_BYTES = 17

(TEMPLATE_TEXT, TEMPLATE_TEXT_BYTES, TEMPLATE_OUT, TEMPLATE_OUT_BYTES) = range(4)
(TEMPLATE_FIELDS, TEMPLATE_LAST_BYTES, TEMPLATE_FIELDS_AT) = range(4, 7)
(
    FIELD_TEXT_BYTES,
    FIELD_IS_NAME,
    FIELD_LEAST,
    FIELD_MOST,
    FIELD_STEP,
    FIELD_DIVISOR,
    FIELD_FACTOR,
    FIELD_DECIMALS,
    FIELD_WORDS,
) = range(9)
TEMPLATE_NUMBERS_AT = TEMPLATE_FIELDS_AT + FIELDS_MAX * FIELD_WORDS
TEMPLATE_WORDS = TEMPLATE_NUMBERS_AT + FIELDS_MAX
_ZERO, _DOT, _DASH, _LETTER_A = b"0"[0], b"."[0], b"-"[0], b"a"[0]


ORDER_NAME = Field("order id", 1 << 32 | 1, EPOCH_MAX << 32 | SEQUENCE_MAX)
"""An order's id, written as its client order id (engine.maker.client_ids)."""


@inner
def _copy(source: Bytes, start: int, count: int, out: Bytes, at: int) -> int:
    for index in range(count):
        out[at + index] = source[start + index]
    return at + count


@inner
def _write_hex(out: Bytes, at: int, value: int) -> int:
    """Eight digits."""
    for index in range(8):
        digit = (value >> (4 * (7 - index))) & 15
        out[at + index] = digit + (_ZERO if digit < 10 else _LETTER_A - 10)
    return at + 8


@inner
def _write_decimal(out: Bytes, at: int, value: int, decimals: int) -> int:
    """`value * 10**-decimals` with all its decimals; where it ends."""
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    digits = max(digits, decimals + 1)
    end = at + digits + (1 if decimals > 0 else 0)
    place = end
    for index in range(digits):
        if index == decimals and decimals > 0:
            place -= 1
            out[place] = _DOT
        place -= 1
        out[place] = _ZERO + value % 10
        value //= 10
    return end


@inner
def write_fields(address: int, numbers: Words) -> int:
    """Write the template at `address` with its fields' numbers into its own memory (TEMPLATE_OUT);
    how many bytes it has.

    -1 - field, and nothing that counts is written, for a number that the field refuses.
    """
    words = view_words(address, TEMPLATE_WORDS)
    text = view_bytes(words[TEMPLATE_TEXT], words[TEMPLATE_TEXT_BYTES])
    out = view_bytes(words[TEMPLATE_OUT], words[TEMPLATE_OUT_BYTES])
    start = 0
    at = 0
    for index in range(words[TEMPLATE_FIELDS]):
        field = TEMPLATE_FIELDS_AT + index * FIELD_WORDS
        number = numbers[index]
        if number < words[field + FIELD_LEAST] or number > words[field + FIELD_MOST]:
            return -1 - index
        if number % words[field + FIELD_STEP] != 0:
            return -1 - index
        text_bytes = words[field + FIELD_TEXT_BYTES]
        at = _copy(text, start, text_bytes, out, at)
        start += text_bytes
        if words[field + FIELD_IS_NAME] != 0:
            if number & SEQUENCE_MAX == 0:
                return -1 - index
            at = _write_hex(out, at, number >> 32)
            out[at] = _DASH
            at = _write_hex(out, at + 1, number)
        else:
            value = number // words[field + FIELD_DIVISOR] * words[field + FIELD_FACTOR]
            at = _write_decimal(out, at, value, words[field + FIELD_DECIMALS])
    return _copy(text, start, words[TEMPLATE_LAST_BYTES], out, at)


@callback("int64(int64, int64, int64)")
def _write(own: int, arguments: int, count: int) -> int:
    """PyObject *_write(PyObject *self, PyObject *const *arguments, Py_ssize_t count)."""
    context = view_words(own + BYTES_HEADER, 1)
    words = view_words(context[0], TEMPLATE_WORDS)
    if count != words[TEMPLATE_FIELDS]:
        C.bad_argument()
        return C.FAILED
    given = view_words(arguments, count)
    numbers = view_words(context[0] + 8 * TEMPLATE_NUMBERS_AT, FIELDS_MAX)
    for index in range(count):
        number = C.long_value(given[index])
        if number == -1 and C.error_set() != 0:
            return C.FAILED
        numbers[index] = number
    size = write_fields(context[0], numbers)
    if size < 0:
        refused: int = C.long_new(size)
        return refused
    text: int = C.bytes_new(words[TEMPLATE_OUT], size)
    return text


class Template:
    """A text of which only the fields change."""

    def __init__(self, literals: Sequence[bytes], fields: Sequence[Field]) -> None:
        """The texts before, between and after the fields: one more than there are fields."""
        assert len(literals) == len(fields) + 1 <= FIELDS_MAX + 1
        texts = list(literals)
        for index, each in enumerate(fields):
            if each is ORDER_NAME:
                texts[index] += f"{CLIENT_ID_PREFIX}-".encode()
        self._fields = tuple(fields)
        self._text = np.frombuffer(b"".join(texts) or b"\0", np.uint8)
        size = len(self._text) + sum(NUMBER_BYTES_MAX + each.decimals for each in fields)
        self._out = np.zeros(size, np.uint8)
        self._words: Words = np.zeros(TEMPLATE_WORDS, np.int64)
        self._describe(texts)
        self.address = int(self._words.ctypes.data)
        """What `write_fields` takes; valid as long as the template is kept."""
        self._fill: Callable[..., bytes | int] = self._fill_without_jit
        if not JIT_OFF:
            compile_kernels()
            self._fill = C.builtin(_write, struct.pack("=q", self._words.ctypes.data))

    def _describe(self, texts: list[bytes]) -> None:
        words = self._words
        words[TEMPLATE_TEXT], words[TEMPLATE_TEXT_BYTES] = self._text.ctypes.data, len(self._text)
        words[TEMPLATE_OUT], words[TEMPLATE_OUT_BYTES] = self._out.ctypes.data, len(self._out)
        words[TEMPLATE_FIELDS], words[TEMPLATE_LAST_BYTES] = len(self._fields), len(texts[-1])
        for index, each in enumerate(self._fields):
            at = TEMPLATE_FIELDS_AT + index * FIELD_WORDS
            words[at + FIELD_TEXT_BYTES] = len(texts[index])
            words[at + FIELD_IS_NAME] = each is ORDER_NAME
            words[at + FIELD_LEAST], words[at + FIELD_MOST] = each.least, each.most
            words[at + FIELD_STEP], words[at + FIELD_DIVISOR] = each.step, each.divisor
            words[at + FIELD_FACTOR], words[at + FIELD_DECIMALS] = each.factor, each.decimals

    def write(self, *numbers: int) -> bytes:
        """The text with a number for each field, in order; EntryError for one that does not fit."""
        try:
            text = self._fill(*numbers)
        except (TypeError, OverflowError):
            raise self._refusal(numbers) from None
        if isinstance(text, int):
            raise self._refusal(numbers)
        return text

    def _fill_without_jit(self, *numbers: int) -> bytes | int:
        exact = np.array([operator.index(number) for number in numbers], np.int64)
        size = write_fields(int(self._words.ctypes.data), exact)
        return self._out[:size].tobytes() if size >= 0 else size

    def _refusal(self, numbers: tuple[int, ...]) -> EntryError:
        for each, number in zip(self._fields, numbers, strict=True):
            try:
                whole_number(number, each.least, each.most, each.what)
            except EntryError as error:
                return error
            if number % each.step or (each is ORDER_NAME and not number & SEQUENCE_MAX):
                return EntryError(f"{each.what}: {number} is no multiple of {each.step}")
        raise AssertionError("refused, and nothing is wrong with it")
