"""The decoder against orjson, for any bytes at all.

What conforms is taken, and what is taken orjson reads alike: `Decoder.judge` holds the two answers
against each other.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.jit import JIT_OFF
from engine.layout import status as S
from tests.engine.decoding.rig import (
    BINANCE,
    BITSTAMP,
    LIMITS,
    STRANGE,
    Decoder,
    is_beyond_orjson,
)
from tests.engine.rig import binance_frame, bitstamp_frame
from tests.recorded import BTCUSDT, DATA, THREE_VENUES, read_tape

MUTANTS = 600 if JIT_OFF else 25_000

HEAD = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2'
BITSTAMP_GOOD = bitstamp_frame(10**15, [("1", "1")])


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


# --- completeness: every conforming frame is taken -----------------------------------------------

KNOWN = {"stream", "data", "e", "E", "s", "U", "u", "b", "a", "bids", "asks", "lastUpdateId"}
KNOWN |= {"event", "channel", "microtimestamp"}

texts = st.text(max_size=12)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
extras = st.lists(st.tuples(texts.filter(lambda key: key not in KNOWN), values), max_size=3)


@st.composite
def decimals(draw: st.DrawFn, *, units: int, places: int) -> str:
    """units * 10^-places written in one of the ways a venue may write it."""
    whole, fraction = divmod(units, 10**places)
    digits = str(fraction).rjust(places, "0")
    if draw(st.booleans()):
        digits = digits.rstrip("0")
    digits += "0" * draw(st.sampled_from([0, 0, 0, 1, 6, 8]))
    zeros = "0" * draw(st.sampled_from([0, 0, 0, 1, 9]))
    text = f"{whole}.{digits}" if digits else str(whole)
    # All digits must make an int64, trailing zeros too, and eighteen decimals are the most.
    fits = len(digits) <= 18 and int(text.replace(".", "")) < 2**63
    return zeros + text if fits else f"{whole}.{str(fraction).rjust(places, '0')}"


@st.composite
def levels(draw: st.DrawFn) -> list[tuple[str, str]]:
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        ticks = draw(st.integers(1, 10**4) | st.integers(1, 10**12))
        lots = draw(st.just(0) | st.integers(0, 10**11) | st.integers(0, 2**63 - 1))
        rows.append((draw(decimals(units=ticks, places=2)), draw(decimals(units=lots, places=8))))
    return rows


class Writer:
    """JSON text with white space anywhere, members in the order given, duplicates and all."""

    def __init__(self, rng: random.Random, is_spaced: bool) -> None:
        self.rng = rng
        self.is_spaced = is_spaced

    def space(self) -> str:
        return self.rng.choice(["", " ", "\n", "\t\r\n  "]) if self.is_spaced else ""

    def join(self, parts: list[str], brackets: str) -> str:
        space = self.space
        inside = ",".join(f"{space()}{part}{space()}" for part in parts) or space()
        return f"{brackets[0]}{inside}{brackets[1]}"

    def write(self, value: Any) -> str:
        if isinstance(value, list | tuple):
            return self.join([self.write(each) for each in value], "[]")
        if isinstance(value, dict):
            return self.members(list(value.items()))
        return json.dumps(value, ensure_ascii=self.rng.random() < 0.5)

    def members(self, members: list[tuple[str, Any]]) -> str:
        pairs = []
        for key, value in members:
            # A key with an escape is a defect of its own, below.
            name = json.dumps(key, ensure_ascii=False)
            pairs.append(f"{name}{self.space()}:{self.space()}{self.write(value)}")
        return self.join(pairs, "{}")


def is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@st.composite
def conforming(draw: st.DrawFn, feed: int) -> bytes:
    """A book frame of a venue: any order, any white space, any keys we do not know."""
    rng = draw(st.randoms(use_true_random=False))
    first = draw(st.integers(0, 10**17))
    last = draw(st.integers(first, 10**17)) if feed == BINANCE else draw(st.integers(1, 10**15))
    bids, asks = draw(levels()), draw(levels())
    inner: list[tuple[str, Any]]
    outer: list[tuple[str, Any]]
    if feed == BINANCE:
        inner = [("e", "depthUpdate"), ("E", draw(st.integers(0, 2 * 10**12))), ("s", "BTCUSDT")]
        inner += [("U", first), ("u", last), ("b", bids), ("a", asks)]
        outer = [("stream", "btcusdt@depth@100ms")]
    else:
        inner = [("timestamp", "1"), ("microtimestamp", str(last)), ("bids", bids), ("asks", asks)]
        outer = [("channel", "diff_order_book_btcusd"), ("event", "data")]
    inner = draw(st.permutations(inner + draw(extras)))
    writer = Writer(rng, draw(st.booleans()))
    if feed == BINANCE and draw(st.booleans()):
        return (writer.space() + writer.members(inner) + writer.space()).encode()
    outer = draw(st.permutations([*outer, ("data", dict(inner)), *draw(extras)]))
    return (writer.space() + writer.members(outer) + writer.space()).encode()


@pytest.mark.parametrize("feed", [BINANCE, BITSTAMP])
def test_every_conforming_frame_is_taken(decoder: Decoder, feed: int) -> None:
    taken = 0

    @given(data=st.data())
    @settings(max_examples=20 if JIT_OFF else 150)
    def run(data: st.DataObject) -> None:
        nonlocal taken
        raw = data.draw(conforming(feed))
        assert decoder.judge(raw, feed) == S.BUFFER
        taken += 1

    run()
    assert taken >= 20


@given(
    frames=st.lists(
        st.tuples(st.integers(0, 10**17), st.integers(0, 10**17), levels(), levels()),
        min_size=2,
        max_size=8,
    ),
    feed=st.sampled_from([BINANCE, BITSTAMP]),
)
def test_frames_of_one_form_are_read_alike(
    decoder: Decoder, frames: list[tuple[int, int, Any, Any]], feed: int
) -> None:
    """What the venues really send: one form for ever, numbers of any width."""
    for first, last, bids, asks in frames:
        if feed == BINANCE:
            ids = sorted((first, last))
            raw = binance_frame(ids[0], ids[1], bids, asks, time_ms=last % 10**13 // 2)
        else:
            raw = bitstamp_frame(first % (9 * 10**15) + 1, bids, asks)
        assert decoder.judge(raw, feed) == S.BUFFER


NUMBERS = [b"", b"0", b"00", b"01", b"7", b"-1", b"+1", b" 1", b"1 ", b"1.0", b"1e1", b"x", b"1x"]
NUMBERS += [b"1" * n for n in (7, 8, 9, 12, 13, 15, 16, 17, 18, 19, 20, 24)]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("key", [b'"E":', b'"U":'])
def test_any_text_for_a_binance_number(decoder: Decoder, key: bytes, number: bytes) -> None:
    """Alike with and without a frame of the same form before."""
    good = binance_frame(1, 10**17, [("61837.63", "3.78826000")] * 3, time_ms=1_723_161_255_208)
    raw = re.sub(key + rb"[0-9]+", key + number, good)
    status = decoder.judge(raw, BINANCE, STRANGE[BINANCE])
    assert decoder.judge(raw, BINANCE, good) == status


@pytest.mark.parametrize("number", [*NUMBERS, b"null", b'\\"'])
@pytest.mark.parametrize("key", [b'"microtimestamp":"'])
def test_any_text_for_a_bitstamp_stamp(decoder: Decoder, key: bytes, number: bytes) -> None:
    good = bitstamp_frame(10**15, [("61837.63", "3.78826000")] * 3)
    raw = re.sub(b"%b[0-9]+" % key, lambda _: key + number, good)
    status = decoder.judge(raw, BITSTAMP, STRANGE[BITSTAMP])
    assert decoder.judge(raw, BITSTAMP, good) == status


# --- soundness: mutants --------------------------------------------------------------------------

TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^{}\[\],:"\s]+|\s+')
SOUP = [
    b"{", b"}", b"[", b"]", b",", b":", b'"b"', b'"a"', b'"e"', b'"u"', b'"U"', b'"E"', b'"s"',
    b'"data"', b'"stream"', b'"event"', b'"bids"', b'"asks"', b'"microtimestamp"', b'"1"', b'"0"',
    b"1", b"-1", b"1.5", b"null", b"true", b'""', b'"depthUpdate"', b'"BTCUSDT"', b" ",
    b'"\\u0062"',
    b'[["1","1"]]', b"[]", b"{}", b'"diff_order_book_btcusd"', b'"9223372036854775808"', b'"1e5"',
]  # fmt: skip
BYTES = b'{}[],:"0123456789.eE+-\\ \t\n\x00\x1f\x7f\x80\xc3\xe2\xf0\xfftnfux'


def flip(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    byte = rng.choice(BYTES) if rng.random() < 0.7 else raw[at] ^ (1 << rng.randrange(8))
    return raw[:at] + bytes([byte]) + raw[at + 1 :]


def delete(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at + rng.choice([1, 1, 2, 8]) :]


def insert(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + bytes(rng.choices(BYTES, k=rng.choice([1, 1, 2, 8]))) + raw[at:]


def truncate(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw))]


def duplicate(raw: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.choices(range(len(raw) + 1), k=2))
    return raw[:stop] + raw[start:stop] + raw[stop:]


def splice(raw: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.choices(range(len(raw) + 1), k=2))
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[start:stop] + raw[at + (stop - start) * rng.randrange(2) :]


def change_tokens(raw: bytes, rng: random.Random) -> bytes:
    """Swap, drop, double or replace whole tokens: mutants that stay close to JSON."""
    tokens = TOKENS.findall(raw)
    for _ in range(rng.choice([1, 1, 2, 3])):
        if not tokens:
            break
        at = rng.randrange(len(tokens))
        kind = rng.randrange(4)
        if kind == 0:
            tokens[at] = rng.choice(SOUP)
        elif kind == 1:
            del tokens[at]
        elif kind == 2:
            tokens.insert(at, rng.choice(SOUP))
        else:
            other = rng.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return b"".join(tokens)


MUTATIONS: list[Callable[[bytes, random.Random], bytes]]
MUTATIONS = [flip, delete, insert, truncate, duplicate, splice, change_tokens, change_tokens]


def seeds() -> list[tuple[int, bytes]]:
    """Short frames of our own, half of all, and recorded ones where the tapes are present."""
    rows = [("61837.63000000", "3.78826000"), ("1.5", "0")]
    found = [
        (BINANCE, binance_frame(1, 2, rows, rows[:1])),
        (BINANCE, HEAD + b',"b":[["1","1"]],"a":[["2.5","92233720368.54775807"]]}'),
        (BINANCE, HEAD + b',"x":[{"y":[1,-2.5e3,null,"\\u00e9\xc3\xa9"]}],"b":[],"a":[]}'),
        (BITSTAMP, bitstamp_frame(10**15, rows[:1], rows)),
        (BITSTAMP, BITSTAMP_GOOD),
    ]
    if DATA.is_dir():
        binance = [r.raw for r in read_tape(BTCUSDT)[:400] if r.kind == "ws"]
        bitstamp = [
            r.raw for r in read_tape(THREE_VENUES)[:200] if r.venue == "bitstamp" and r.kind == "ws"
        ]
        found *= 16
        found += [(BINANCE, raw) for raw in binance if len(raw) < 900][:40]
        found += [(BITSTAMP, raw) for raw in bitstamp if len(raw) < 900][:40]
    return found


def mutants(seed: int, count: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(feed, the frame it was, the mutant)."""
    rng = random.Random(seed)
    originals = seeds()
    for _ in range(count):
        feed, original = rng.choice(originals)
        raw = original
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            raw = rng.choice(MUTATIONS)(raw, rng) or b"{"
        yield feed, original, raw


def test_mutants_are_judged_as_orjson_judges_them(decoder: Decoder) -> None:
    """Each one twice: to an engine that has just seen its original, and to one that has not."""
    answers: Counter[int] = Counter()
    for feed, original, raw in mutants(20260809, MUTANTS):
        if is_beyond_orjson(raw):
            continue
        try:
            status = decoder.judge(raw, feed, STRANGE[feed])
            answers[status] += 1
            assert decoder.judge(raw, feed, original) == status, "the frame before made the answer"
        except AssertionError as error:
            raise AssertionError(f"feed {feed}, frame {raw!r}: {error}") from error
    assert answers[S.BUFFER] > MUTANTS // 100, "too few mutants are accepted to prove anything"
    assert len(answers) >= (6 if JIT_OFF else 9), answers


@pytest.mark.parametrize("number", [b"", *NUMBERS, b"null", b'\\"'])
def test_any_text_for_bitstamps_unused_seconds(decoder: Decoder, number: bytes) -> None:
    good = bitstamp_frame(10**15, [("61837.63", "3.78826000")] * 3)
    raw = good.replace(b'"timestamp":"1000000000"', b'"timestamp":"%b"' % number)
    status = decoder.judge(raw, BITSTAMP, STRANGE[BITSTAMP])
    assert decoder.judge(raw, BITSTAMP, good) == status


@given(raw=st.binary(max_size=60), feed=st.sampled_from([BINANCE, BITSTAMP]))
def test_any_bytes(decoder: Decoder, raw: bytes, feed: int) -> None:
    assert decoder.judge(raw, feed) in {S.OTHER, S.BAD_JSON, S.BAD_UTF8, *LIMITS}


@given(value=values, feed=st.sampled_from([BINANCE, BITSTAMP]), is_ascii=st.booleans())
def test_any_other_json_is_other(decoder: Decoder, value: Any, feed: int, is_ascii: bool) -> None:
    if is_ascii or is_encodable(value):
        raw = json.dumps(value, ensure_ascii=is_ascii).encode()
        if not re.search(rb"\\ud[89a-f]", raw):
            assert decoder.judge(raw, feed) == S.OTHER


@given(text=st.text(alphabet="0123456789.", min_size=1, max_size=24), is_amount=st.booleans())
def test_any_digits_and_dots(decoder: Decoder, text: str, is_amount: bool) -> None:
    row = ["1", text] if is_amount else [text, "1"]
    raw = HEAD + b',"b":[' + json.dumps(row).encode() + b'],"a":[]}'
    status = decoder.judge(raw)
    is_plain = re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is not None
    if not is_plain:
        assert status == S.BAD_DECIMAL
        return
    scaled = Decimal(text).scaleb(8 if is_amount else 2)
    is_whole = scaled == scaled.to_integral_value()
    fits = is_whole and (0 <= scaled < 2**63 if is_amount else 0 < scaled <= 2**62)
    if status == S.BUFFER:
        assert fits
    else:
        too_long = len(text.replace(".", "").lstrip("0")) > 18 or "." in text[:-18]
        assert not fits or too_long


# --- found by hand -------------------------------------------------------------------------------

LEVELS = b',"b":[["1","1"]],"a":[]'

UNSOUND = {
    "an escaped key is the same key": HEAD + LEVELS + b',"\\u0062":[["2","2"]]}',
    "an escaped symbol key": HEAD + LEVELS + b',"\\u0073":"ETHUSDT"}',
    "a side outside the envelope": b'{"data":' + HEAD + b',"b":[["1","1"]]},"a":[]}',
    "the ids outside the envelope": b'{"U":1,"data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","u":2'
    + LEVELS
    + b"}}",
    "data again, no object": b'{"data":' + HEAD + LEVELS + b'},"data":5}',
    "bids for b": HEAD + b',"bids":[["1","1"]],"asks":[]}',
    "lastUpdateId for u": HEAD.replace(b'"u"', b'"lastUpdateId"') + LEVELS + b"}",
}


@pytest.mark.parametrize("name", UNSOUND)
def test_what_is_taken_means_the_same_to_orjson(decoder: Decoder, name: str) -> None:
    assert decoder.judge(UNSOUND[name]) != S.BUFFER


def test_bitstamp_levels_belong_into_data(decoder: Decoder) -> None:
    raw = (
        b'{"microtimestamp":"5","bids":[["1","1"]],"asks":[],'
        b'"channel":"diff_order_book_btcusd","event":"data"}'
    )
    assert decoder.judge(raw, BITSTAMP) != S.BUFFER


@pytest.mark.parametrize("time", [9_223_372_036_855, 17_231_612_552_038, 10**14 - 1])
def test_a_time_that_does_not_fit_is_refused(decoder: Decoder, time: int) -> None:
    raw = (HEAD + LEVELS + b"}").replace(b'"E":1', b'"E":%d' % time)
    assert decoder.judge(raw) == S.BAD_SCHEMA


@pytest.mark.parametrize("value", [b"2.0", b"2e1", b"2E1"])
@pytest.mark.parametrize("key", [b'"u"', b'"U"', b'"E"'])
def test_a_fraction_for_an_id_is_another_type_and_no_syntax_error(
    decoder: Decoder, key: bytes, value: bytes
) -> None:
    assert decoder.judge(b'{"e":"other",' + key + b":" + value + b"}") == S.OTHER


@pytest.mark.parametrize(
    ("feed", "raw"),
    [
        (BINANCE, (HEAD + LEVELS + b"}").replace(b"depthUpdate", b"depth\\u0055pdate")),
        (BITSTAMP, BITSTAMP_GOOD.replace(b'"event":"data"', b'"event":"d\\u0061ta"')),
        (BITSTAMP, BITSTAMP_GOOD.replace(b"diff_order", b"diff\\u005forder")),
    ],
)
def test_a_book_frame_is_never_ignored_in_silence(decoder: Decoder, feed: int, raw: bytes) -> None:
    assert decoder.judge(raw, feed) != S.OTHER


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + LEVELS + b',"bids":[]}',
        HEAD + LEVELS + b',"lastUpdateId":7}',
        b'{"stream":"btcusdt\\u0040depth","data":' + HEAD + LEVELS + b"}}",
        b'{"stream":null,"data":' + HEAD + LEVELS + b"}}",
    ],
)
def test_keys_a_binance_diff_does_not_use_do_not_refuse_it(decoder: Decoder, raw: bytes) -> None:
    assert decoder.judge(raw) == S.BUFFER
