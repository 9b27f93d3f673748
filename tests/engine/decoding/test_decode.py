"""The decoder by example: every refusal, every number's form, every length, both ends guarded."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.compiling.jit import JIT_OFF
from engine.decoding.scan import DEPTH_MAX
from engine.engine import Stage
from engine.layout import layout as L
from engine.layout import status as S
from tests.child import run_module
from tests.engine.decoding.rig import BINANCE, BITSTAMP, STRANGE, Decoder
from tests.engine.rig import (
    binance_frame,
    binance_snapshot,
    bitstamp_frame,
    bitstamp_snapshot,
)

HEAD = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,'
GOOD = HEAD + b'"b":[["1","1"]],"a":[]}'
BITSTAMP_GOOD = bitstamp_frame(10**15, [("1", "1")])


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


def bids(text: bytes) -> bytes:
    return HEAD + b'"b":' + text + b',"a":[]}'


# --- one example of every answer -----------------------------------------------------------------

ANSWERS = [
    (S.BUFFER, GOOD),
    (S.BUFFER, b" \t\r\n" + GOOD.replace(b",", b" ,\n").replace(b":", b"\t: ") + b"\r\n "),
    (S.BUFFER, bids(b"[]")),
    (S.BUFFER, bids(b' [ [ "1" , "1" ] , [ "2" , "0" ] ] ')),
    (S.UNKNOWN_SYMBOL, GOOD.replace(b"BTCUSDT", b"BTCUSD")),
    (S.UNKNOWN_SYMBOL, GOOD.replace(b"BTCUSDT", b"BTCUSDTX")),
    (S.UNKNOWN_SYMBOL, GOOD.replace(b"BTCUSDT", b"btcusdt")),
    (S.UNKNOWN_SYMBOL, GOOD.replace(b"BTCUSDT", b"")),
    (S.UNKNOWN_SYMBOL, GOOD.replace(b"BTCUSDT", b"X" * 300)),
    (S.OTHER, b'{"result":null,"id":1}'),
    (S.OTHER, b"{}"),
    (S.OTHER, b"[]"),
    (S.OTHER, b'"depthUpdate"'),
    (S.OTHER, b" -0.5e+10 "),
    (S.OTHER, b"true"),
    (S.OTHER, b"false"),
    (S.OTHER, b"null"),
    (S.OTHER, b'{"e":"trade","b":1,"a":{},"u":"x"}'),
    (S.OTHER, b'{"e":["depthUpdate"]}'),
    (S.OTHER, b'{"data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}'),
    (S.OTHER, b'{"data":{}}'),
    (S.BAD_JSON, b""),
    (S.BAD_JSON, b" "),
    (S.BAD_JSON, b"{"),
    (S.BAD_JSON, b"nul"),
    (S.BAD_JSON, b"tru"),
    (S.BAD_JSON, b"fals"),
    (S.BAD_JSON, b"True"),
    (S.BAD_JSON, b"01"),
    (S.BAD_JSON, b"-"),
    (S.BAD_JSON, b"1."),
    (S.BAD_JSON, b".1"),
    (S.BAD_JSON, b"1e"),
    (S.BAD_JSON, b"1e+"),
    (S.BAD_JSON, b"+1"),
    (S.BAD_JSON, b"NaN"),
    (S.BAD_JSON, b"'a'"),
    (S.BAD_JSON, b"[1,]"),
    (S.BAD_JSON, b"[,1]"),
    (S.BAD_JSON, b"[1 2]"),
    (S.BAD_JSON, b"[1}"),
    (S.BAD_JSON, b'{"a":[1}]'),
    (S.BAD_JSON, b'{"a":1,}'),
    (S.BAD_JSON, b'{"a" 1}'),
    (S.BAD_JSON, b"{a:1}"),
    (S.BAD_JSON, b'{"a":}'),
    (S.BAD_JSON, b'{"data":{"e":1}'),
    (S.BAD_JSON, b'{"data":{"e":1,}}'),
    (S.BAD_JSON, b'{"data":{"e":1}}}'),
    (S.BAD_JSON, b'{"data":{"e":1}"x":1}'),
    (S.BAD_JSON, b'"\\x"'),
    (S.BAD_JSON, b'"\\u12g4"'),
    (S.BAD_JSON, b'"\\ud800"'),
    (S.BAD_JSON, b'"\\udc00"'),
    (S.BAD_JSON, b'"\\ud800\\u0041"'),
    (S.BAD_JSON, b'"a\nb"'),
    (S.BAD_JSON, b'"a\x00b"'),
    (S.BAD_JSON, b"\xef\xbb\xbf" + GOOD),
    (S.BAD_JSON, GOOD + b"}"),
    (S.BAD_JSON, GOOD + GOOD),
    (S.BAD_JSON, GOOD + b"\0"),
    (S.BAD_JSON, GOOD[:-1]),
    (S.BAD_JSON, bids(b'[["1","1"],]')),
    (S.BAD_JSON, bids(b'[["1","1"] ["2","1"]]')),
    (S.BAD_JSON, bids(b'[["1","1"}]')),
    (S.BAD_UTF8, GOOD.replace(b"BTCUSDT", b"\xff")),
    (S.BAD_UTF8, b'"\xc0\x80"'),
    (S.BAD_UTF8, b'"\xed\xa0\x80"'),
    (S.BAD_UTF8, b'"\xf4\x90\x80\x80"'),
    (S.BAD_UTF8, b'"\xe0\x9f\xbf"'),
    (S.BAD_UTF8, b'"\xf0\x8f\xbf\xbf"'),
    (S.BAD_UTF8, b'"\xe2\x82"'),
    (S.BAD_UTF8, b'"\x80"'),
    (S.BAD_UTF8, b'{"\xff":1}'),
    (S.TOO_DEEP, b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1)),
    (S.TOO_DEEP, GOOD[:-1] + b',"x":' + b"[" * 100_000),
    (S.TOO_DEEP, bids(b"[" * 500)),
    (S.BAD_SCHEMA, HEAD + b'"b":[]}'),
    (S.BAD_SCHEMA, HEAD + b'"a":[]}'),
    (S.BAD_SCHEMA, GOOD.replace(b'"s":"BTCUSDT",', b"")),
    (S.BAD_SCHEMA, GOOD.replace(b'"U":1,', b"")),
    (S.BAD_SCHEMA, GOOD.replace(b'"u":2,', b"")),
    (S.BAD_SCHEMA, GOOD.replace(b'"E":1,', b"")),
    (S.BAD_SCHEMA, GOOD.replace(b'"a":[]', b'"a":[],"a":[]')),
    (S.BAD_SCHEMA, GOOD.replace(b'"u":2', b'"u":2,"u":3')),
    (S.BAD_SCHEMA, GOOD.replace(b'"u":2', b'"u":"2"')),
    (S.BAD_SCHEMA, GOOD.replace(b'"u":2', b'"u":-2')),
    (S.BAD_SCHEMA, GOOD.replace(b'"u":2', b'"u":null')),
    (S.BAD_SCHEMA, GOOD.replace(b'"u":2', b'"u":9223372036854775808')),
    (S.BAD_SCHEMA, GOOD.replace(b'"E":1', b'"E":9223372036854776')),
    (S.BAD_SCHEMA, GOOD.replace(b'"a":[]', b'"a":{}')),
    (S.BAD_SCHEMA, GOOD.replace(b'"a":[]', b'"a":null')),
    (S.BAD_SCHEMA, GOOD.replace(b'"s":"BTCUSDT"', b'"s":7')),
    (S.BAD_SCHEMA, GOOD.replace(b'"s":"BTCUSDT"', b'"s":"BTC\\u0055SDT"')),
    (S.BAD_SCHEMA, bids(b'[["1"]]')),
    (S.BAD_SCHEMA, bids(b'[["1","1","1"]]')),
    (S.BAD_SCHEMA, bids(b"[[]]")),
    (S.BAD_SCHEMA, bids(b"[1]")),
    (S.BAD_SCHEMA, bids(b'["1","1"]')),
    (S.BAD_SCHEMA, bids(b"[[1,1]]")),
    (S.BAD_SCHEMA, bids(b'[["1",1]]')),
    (S.BAD_SCHEMA, bids(b'[["1",null]]')),
    (S.BAD_SCHEMA, bids(b'[["1","1"],[]]')),
    (S.BAD_DECIMAL, bids(b'[["x","1"]]')),
    (S.BAD_PRICE, bids(b'[["0","1"]]')),
    (S.BAD_PRICE, bids(b'[["1.001","1"]]')),
    (S.BAD_QUANTITY, bids(b'[["1","0.000000001"]]')),
    (S.BAD_IDS, GOOD.replace(b'"U":1', b'"U":3')),
]


@pytest.mark.parametrize(("wanted", "raw"), ANSWERS, ids=lambda value: str(value)[:60])
def test_every_answer_has_an_example(decoder: Decoder, wanted: int, raw: bytes) -> None:
    if len(raw) > 5_000 and JIT_OFF:
        raw = raw[:5_000]
    for before in (STRANGE[BINANCE], GOOD):
        assert decoder.judge(raw, BINANCE, before) == wanted, S.TEXTS[wanted]


def test_too_many_levels_is_refused_and_the_most_is_taken(decoder: Decoder) -> None:
    most = 64 if JIT_OFF else L.FRAME_LEVELS_MAX
    words = decoder.rig.engine._stage.words
    words[L.STAGE_LEVELS_MAX] = most
    try:
        rows = b",".join(b'["%d","1"]' % (index + 1) for index in range(most))
        full = HEAD + b'"b":[' + rows + b'],"a":[' + rows + b"]}"
        assert decoder.status(full) == S.BUFFER
        if not JIT_OFF:
            made = decoder.decoded()
            assert [int(price) for price, _ in made.bids] == [*range(1, most + 1)]
            assert made.bids == made.asks
        for side in (b'"b":[', b'"a":['):
            over = full.replace(side, side + b'["7","1"],')
            assert decoder.status(over) == S.TOO_MANY_LEVELS
            assert decoder.status(over[:-1]) == S.BAD_JSON, "all of it is judged first"
    finally:
        words[L.STAGE_LEVELS_MAX] = L.FRAME_LEVELS_MAX


BITSTAMP_ANSWERS = [
    (S.BUFFER, BITSTAMP_GOOD),
    (S.OTHER, b'{"event":"bts:request_reconnect","channel":"","data":""}'),
    (
        S.OTHER,
        b'{"event":"bts:subscription_succeeded","channel":"diff_order_book_btcusd","data":{}}',
    ),
    (S.OTHER, BITSTAMP_GOOD.replace(b"diff_order_book", b"live_order_book")),
    (S.OTHER, BITSTAMP_GOOD.replace(b"diff_order_book_btcusd", b"diff_order_book_")),
    (S.OTHER, BITSTAMP_GOOD.replace(b'"event":"data"', b'"event":"date"')),
    (S.UNKNOWN_SYMBOL, BITSTAMP_GOOD.replace(b"_btcusd", b"_btceur")),
    (S.BAD_SCHEMA, BITSTAMP_GOOD.replace(b'"microtimestamp":"1', b'"microtimestamp":"x1')),
    (S.BAD_SCHEMA, BITSTAMP_GOOD.replace(b'"microtimestamp":"1', b'"microtimestamp":"-1')),
    (S.BAD_SCHEMA, BITSTAMP_GOOD.replace(b'"1000000000000000"', b"1000000000000000")),
    (S.BAD_SCHEMA, BITSTAMP_GOOD.replace(b'"1000000000000000"', b'"9223372036854776"')),
    (S.BAD_SCHEMA, BITSTAMP_GOOD.replace(b'"microtimestamp"', b'"nanotimestamp"')),
    (S.BAD_SCHEMA, BITSTAMP_GOOD.replace(b'"asks"', b'"bids"')),
    (S.BAD_JSON, BITSTAMP_GOOD[:-1]),
]


@pytest.mark.parametrize(("wanted", "raw"), BITSTAMP_ANSWERS, ids=lambda value: str(value)[:60])
def test_bitstamp_answers(decoder: Decoder, wanted: int, raw: bytes) -> None:
    for before in (STRANGE[BITSTAMP], BITSTAMP_GOOD):
        assert decoder.judge(raw, BITSTAMP, before) == wanted, S.TEXTS[wanted]


def test_thirty_two_levels_of_nesting_are_read(decoder: Decoder) -> None:
    nested = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX
    assert decoder.judge(GOOD[:-1] + b',"x":' + nested + b"}") == S.BUFFER
    mixed = b'{"k":[' * (DEPTH_MAX // 2) + b"1" + b"]}" * (DEPTH_MAX // 2)
    assert decoder.judge(mixed.replace(b'{"k":', b'{"x":', 1)) == S.OTHER
    assert decoder.judge(GOOD[:-1] + b',"x":' + mixed + b"}") == S.BUFFER


def test_event_times_in_milliseconds_and_microseconds(decoder: Decoder) -> None:
    for sent, wanted_ns in ((1_723_161_255_208, 10**6), (1_723_161_255_208_123, 10**3)):
        assert decoder.status(binance_frame(1, 2, time_ms=sent)) == S.BUFFER
        assert decoder.decoded().time_ns == sent * wanted_ns
    assert decoder.status(bitstamp_frame(1_617_654_352_436_435), BITSTAMP) == S.BUFFER
    assert decoder.decoded().time_ns == 1_617_654_352_436_435_000


# --- numbers -------------------------------------------------------------------------------------

MOST = "92233720368.54775807"

NUMBERS = [
    ("price", "1", S.BUFFER),
    ("price", "0.01", S.BUFFER),
    ("price", "61837.63", S.BUFFER),
    ("price", "61837.63000000", S.BUFFER),
    ("price", "1.000000000000000000", S.BUFFER),
    ("price", "61837.630000000000000000", S.BUFFER),
    ("price", "0061837.63", S.BUFFER),
    ("price", "00000000061837.63", S.BUFFER),
    ("price", "1234567.8", S.BUFFER),
    ("price", "12345678.9", S.BUFFER),
    ("price", "123456789012345.67", S.BUFFER),
    ("price", "46116860184273879.04", S.BUFFER),  # 2^62 ticks, the most there may be
    ("price", "46116860184273879.05", S.BAD_PRICE),
    ("price", "9223372036854775807", S.BAD_PRICE),
    ("price", "0", S.BAD_PRICE),
    ("price", "0.00", S.BAD_PRICE),
    ("price", "000", S.BAD_PRICE),
    ("price", "1.005", S.BAD_PRICE),
    ("price", "0.001", S.BAD_PRICE),
    ("price", "1.000000000000000001", S.BAD_PRICE),
    ("price", "1.0000000000000000000", S.BUFFER),  # nineteen decimals, which add nothing
    ("price", "184467440737095517", S.BAD_PRICE),  # times 100 this wraps to 84 ticks
    ("price", "0.0000000000000000010", S.BAD_PRICE),
    ("price", "0.0000000000000000001", S.BAD_DECIMAL),
    ("price", "-1", S.BAD_PRICE),
    ("price", "-0", S.BAD_PRICE),
    ("price", "-61837.63000000", S.BAD_PRICE),
    ("price", "1e5", S.BUFFER),
    ("price", "6.183763E+4", S.BUFFER),
    ("price", "1E-8", S.BAD_PRICE),
    ("amount", "0.0000000000000000000", S.BUFFER),
    ("amount", "-1", S.BAD_QUANTITY),
    ("amount", "1E-8", S.BUFFER),
    ("amount", "1.8e-7", S.BUFFER),
    ("amount", "1e-9", S.BAD_QUANTITY),
    ("amount", "0e99", S.BUFFER),
    ("amount", "1e99", S.BAD_DECIMAL),
    ("amount", "1e-99", S.BAD_DECIMAL),
    ("amount", "1e123456789012345678901234567890", S.BAD_DECIMAL),
    ("amount", "184467440738", S.BAD_QUANTITY),  # times 10^8 this wraps to 0.90448384
    ("amount", "0", S.BUFFER),
    ("amount", "0.00000000", S.BUFFER),
    ("amount", "0.0", S.BUFFER),
    ("amount", "0.00000001", S.BUFFER),
    ("amount", "0.000000010", S.BUFFER),
    ("amount", "0.000000001", S.BAD_QUANTITY),
    ("amount", "0.123456789", S.BAD_QUANTITY),
    ("amount", "1.12345678", S.BUFFER),
    ("amount", "12345678.12345678", S.BUFFER),
    ("amount", "123456789.12345678", S.BUFFER),
    ("amount", MOST, S.BUFFER),
    ("amount", "92233720368.54775808", S.BAD_DECIMAL),
    ("amount", "92233720368.547758070", S.BUFFER),  # twenty digits, the last adds nothing
    ("amount", "92233720368.547758071", S.BAD_DECIMAL),
    ("amount", "184467440737.00000000", S.BAD_QUANTITY),
    ("amount", "92233720368.6", S.BAD_QUANTITY),
    ("amount", "92233720369", S.BAD_QUANTITY),
    ("amount", "9223372036854775807", S.BAD_QUANTITY),
    ("amount", "9223372036854775808", S.BAD_DECIMAL),
    ("amount", "18446744073709551617", S.BAD_DECIMAL),
    ("amount", "184467440737.09551617", S.BAD_DECIMAL),
    ("amount", "0" * 25 + "1", S.BUFFER),
]
MALFORMED = [
    "", ".5", "5.", "+1", "-", "--1", "-.5", "e5", "1e", "1e+", "1ee5", "1e5.0", "1e 5", "0x10",
    "NaN", "Infinity", "inf", " 1",
    "1 ", "1 000", "1,0", "1.2.3", "1..2", "..1", "1_0", "1.", ".", "1234567.x", "1.1234567x",
    "1.12345678x", "x2345678", "1234567x", "/1", ":1", "1/", "1:", "1.:", "1.2345678:",
    "\u0661", "\uff11", "½",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "wanted"), NUMBERS)
@pytest.mark.parametrize("tail", [0, 1, 40])
def test_numbers(decoder: Decoder, kind: str, text: str, wanted: int, tail: int) -> None:
    """Near the frame's end the digit-by-digit reader is used, elsewhere eight at a time."""
    rows = [(text, "1")] if kind == "price" else [("1", text)]
    raw = HEAD + b'"b":[],"a":' + str([list(row) for row in rows]).replace("'", '"').encode()
    raw += b" " * tail + b"}" + b" " * tail
    assert decoder.judge(raw, BINANCE, STRANGE[BINANCE]) == wanted
    for width in ("1", "1.50", "61837.63", "61837.63000000", "0.0"):
        alike = raw.replace(text.encode() + b'"', width.encode() + b'"')
        assert decoder.judge(raw, BINANCE, alike) == wanted, "its form was learned before"
    if wanted == S.BUFFER:
        assert decoder.decoded().asks == [(Decimal(rows[0][0]), Decimal(rows[0][1]))]


@pytest.mark.parametrize("text", MALFORMED)
@pytest.mark.parametrize("is_amount", [0, 1])
@pytest.mark.parametrize("tail", [0, 40])
def test_malformed_numbers(decoder: Decoder, text: str, is_amount: int, tail: int) -> None:
    row = f'["1","{text}"]' if is_amount else f'["{text}","1"]'
    raw = HEAD + b'"b":[],"a":[' + row.encode() + b"]" + b" " * tail + b"}"
    assert decoder.judge(raw, BINANCE, STRANGE[BINANCE]) == S.BAD_DECIMAL
    for width in ("1", "1.50", "1234567.12345678"):
        alike = raw.replace(row.encode(), row.replace(f'"{text}"', f'"{width}"').encode())
        assert decoder.judge(raw, BINANCE, alike) == S.BAD_DECIMAL, "its form was learned before"
    assert decoder.judge(raw.replace(b'"b":[]', b'"b":[["5","5"]]')) == S.BAD_DECIMAL


def test_a_number_that_never_ends_is_not_read_for_ever(decoder: Decoder) -> None:
    for digit in (b"0", b"9", b"1"):
        long = digit * (2_000 if JIT_OFF else 1_000_000)
        assert decoder.judge(bids(b'[["' + long + b'","1"]]')) == S.BAD_DECIMAL
        assert decoder.judge(bids(b'[["1.' + long + b'","1"]]')) == S.BAD_DECIMAL


# --- lengths and tails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "raw"),
    [
        (BINANCE, binance_frame(1, 2, [("61837.63000000", "3.78826000")], [("1", "0")])),
        (BINANCE, GOOD.replace(b"{", b'{"\xc3\xa9\\u00e9":[true,false,null,-1.5e3],', 1)),
        (BITSTAMP, bitstamp_frame(10**15, [("64726.56", "1.5")], [("5.01", "0.00000000")])),
    ],
)
def test_truncated_at_every_length(decoder: Decoder, feed: int, raw: bytes) -> None:
    assert decoder.judge(raw, feed) == S.BUFFER
    for length in range(len(raw)):
        for before in (STRANGE[feed], raw):
            assert decoder.judge(raw[:length], feed, before) in (S.BAD_JSON, S.BAD_UTF8)
    for tail in (b" ", b"\n\n\t\r "):
        assert decoder.judge(raw + tail, feed, raw) == S.BUFFER
    for tail in (b"x", b"\0", b",", b"}", b"]", b'"', raw, b"\xff", b"\x0b"):
        assert decoder.judge(raw + tail, feed, raw) == S.BAD_JSON


@pytest.mark.parametrize("feed", [BINANCE, BITSTAMP])
def test_snapshots_truncated_mangled_and_empty(decoder: Decoder, feed: int) -> None:
    make = binance_snapshot if feed == BINANCE else bitstamp_snapshot
    raw = make(7, [("61837.63", "3.788")], [("61837.64", "1.5")])
    stage = Stage(10)
    stage_body = decoder.rig.engine.stage
    assert stage_body(feed, raw, stage) == S.APPLIED
    assert (stage.last_id, stage.levels) == (7, (1, 1))
    for length in range(len(raw)):
        assert stage_body(feed, raw[:length], stage) == S.BAD_JSON
    bad = {
        b"<html>": S.BAD_JSON,
        b"[]": S.BAD_SCHEMA,
        b"null": S.BAD_SCHEMA,
        b"{}": S.BAD_SCHEMA,
        b'{"code":-1121,"msg":"Invalid symbol."}': S.BAD_SCHEMA,
        raw.replace(b"asks", b"bids"): S.BAD_SCHEMA,
        raw.replace(b"61837.63", b"61837.635"): S.BAD_PRICE,
        raw.replace(b"3.788", b"3.123456789"): S.BAD_QUANTITY,
        raw.replace(b"3.788", b"1e99"): S.BAD_DECIMAL,
        make(7, [("1", "1")] * 11): S.TOO_MANY_LEVELS,
        make(7, (), [("1", "1")] * 11): S.TOO_MANY_LEVELS,
        raw + b"{}": S.BAD_JSON,
    }
    for body, wanted in bad.items():
        assert stage_body(feed, body, stage) == wanted, body


@pytest.mark.parametrize("mode", ["inside", "over-read", "under-read"])
def test_nothing_is_read_outside_the_frame(mode: str) -> None:
    """Frames right against inaccessible pages, in a process of their own; it must not crash.

    The two other modes read one byte beyond on purpose and must crash: the fence holds.
    """
    done = run_module("tests.engine.decoding.guard_pages", mode)
    if mode == "inside":
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.startswith("read ")
    else:
        assert done.returncode < 0, "a read beyond the page went unnoticed"
