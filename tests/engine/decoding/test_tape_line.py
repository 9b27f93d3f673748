"""A tape's line: what is read is what any JSON reader finds, and everything else is handed on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.compiling.atomics import Bytes, address_of, view_bytes
from engine.compiling.jit import kernel
from engine.decoding import tape_line

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]

ROOM = 200


@kernel("int64(int64, int64, int64[::1], uint8[::1])")
def read_line(address: int, size: int, found: Any, raw: Bytes) -> int:
    """The raw text's bytes, or -1; `found`: time, first and last byte of the name, the end."""
    text = view_bytes(address, size)
    end = tape_line.line_end(text, 0, size)
    found[3] = end
    time_ns, at = tape_line.read_time(text, 0, end)
    if at < 0:
        return -1
    name, behind = tape_line.read_venue(text, at, end)
    if behind < 0:
        return -1
    found[0], found[1], found[2] = time_ns, name, behind
    return tape_line.unescape(text, behind, end, raw)


@kernel("int64(int64, int64, int64)")
def shape(address: int, size: int, connection: int) -> int:
    """`shape_of` for Python."""
    return tape_line.shape_of(view_bytes(address, size), size, connection)


def read(text: bytes) -> tuple[int, str, bytes] | None:
    found, raw = np.zeros(4, np.int64), np.zeros(ROOM, np.uint8)
    count = read_line(address_of(text), len(text), found, raw)
    if count < 0:
        return None
    time_ns, first, last, _ = found.tolist()
    return time_ns, text[first:last].decode(), raw[:count].tobytes()


def line(t: object = 17, venue: object = "binance", kind: str = "ws", raw: object = "{}") -> str:
    entry = {"t": t, "venue": venue, "kind": kind, "raw": raw}
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False)


FRAME = '{"stream":"a\\\\b","data":{"u":[1.5,"x/y"]}}'


@pytest.mark.parametrize("after", ["", "\n", "\nnext line"])
def test_the_form_that_is_written_is_read(after: str) -> None:
    text = line(1_723_161_253_937_085_768, raw=FRAME)
    assert read((text + after).encode()) == (1_723_161_253_937_085_768, "binance", FRAME.encode())
    escaped = text.replace("/", "\\/")
    assert read(escaped.encode()) == read(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        line(kind="rest"), line(t=0), line(t=-3), line(t=1.5), line(t="5"), line(t=10**19),
        line(t=9_223_372_036_854_775_807), line(venue='b"'), line(raw="\u00e9"),
        line(raw="\n"), line(raw="\x01"), line(raw="ab").replace("ab", "a\tb"),
        line(raw="x" * ROOM), line(raw=5), line(raw=None),
        line()[:-1], line() + " ", line() + "}", " " + line(), line().replace(":", ": "),
        line().replace("17", "017"), line(raw="\x7f"), "", "{", '{"t":', '{"t":1', "x",
        line(raw="a").replace('"a"', '"\\u0041"'), line(raw="a").replace('"a"', '"a\\'),
        line(raw="a").replace('"a"', '"\\b"'), line() + "\r",
    ],
)  # fmt: skip
def test_any_other_form_is_handed_on(text: str) -> None:
    assert read(text.encode()) is None


@example(90_000_000, "", "", "ws")
@given(
    st.integers(1, 2**63 - 1), st.text(max_size=40), st.text(max_size=60),
    st.sampled_from(["ws", "rest", "sent"]),
)  # fmt: skip
def test_what_is_read_is_what_json_says(t: int, venue: str, raw: str, kind: str) -> None:
    text = line(t, venue, kind, raw).encode()
    found = read(text)
    is_plain = raw.isascii() and raw.isprintable() and venue.isascii() and venue.isprintable()
    is_plain = is_plain and kind == "ws" and str(t)[0] != "9" and not set('"\\') & set(venue)
    assert (found is not None) == is_plain
    if found is not None:
        assert found == (t, venue, raw.encode())


@given(st.binary(max_size=120), st.integers(0, 120))
def test_no_bytes_are_misread(noise: bytes, at: int) -> None:
    text = bytearray(line(raw=FRAME).encode())
    text[at : at + len(noise) // 8] = noise[: len(noise) // 8]
    found = read(bytes(text))
    if found is not None:
        first = bytes(text).split(b"\n", maxsplit=1)[0]
        entry = json.loads(first)
        assert (entry["t"], entry["venue"], entry["raw"].encode()) == found
        assert entry["kind"] == "ws"


def test_a_shape_is_that_of_all_that_differ_in_digits_alone() -> None:
    def of(text: bytes, connection: int = 0) -> int:
        return shape(address_of(text), len(text), connection)

    assert of(b'{"e":"trade","p":"61.5"}') == of(b'{"e":"trade","p":"7.12345"}')
    different = (
        b'{"e":"trade","p":"61.5"}', b'{"e":"trade","p":"-61.5"}', b'{"e":"trades","p":"61.5"}',
        b'{"e":"trade","p":"615"}', b'{"e":"trade","p":"."}', b"", b"1", b"1a1", b"a1",
    )  # fmt: skip
    assert len({of(text) for text in different}) == len(different)
    assert of(b"a", 0) != of(b"a", 1)
