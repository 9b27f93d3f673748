"""A book's bound, its checksum and the numbers of a connection, beside zlib and dictionaries."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from engine.book import rules
from engine.book.rules import BookRules
from engine.decoding import schema
from engine.decoding.schema import Key, LevelForm, MessageSchema
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.specs import FeedSpec, InstrumentSpec
from net.venues.kucoin.market_data import KUCOIN
from net.venues.okx.market_data import OKX
from tests.engine.rig import Rig
from tests.simulation.dialect import Telling
from tests.simulation.rest_dialects import Kucoin
from tests.simulation.stream_dialects import Okx

pytestmark = pytest.mark.kernel

Side = dict[Decimal, Decimal]
BOUND = 10


def made(checksum: int, bound: int = 0) -> BookRules:
    """Rules of frames `{"type","s","b","a","c"}` without ids."""
    keys = (
        Key("type", schema.FIELD_EVENT),
        Key("s", schema.FIELD_SYMBOL),
        Key("b", schema.FIELD_BIDS),
        Key("a", schema.FIELD_ASKS),
        Key("c", schema.FIELD_CHECKSUM),
    )
    levels = LevelForm(is_quoted=False)
    form = MessageSchema(keys, schema.IDS_NONE, levels=levels, diff="d", snapshot="w")
    return BookRules(
        form, rules.CONTINUITY_NONE, rules.SNAPSHOT_STREAM, checksum=checksum, bound=bound
    )


def digits(number: Decimal, decimals: int) -> str:
    return str(int(number.scaleb(decimals))).lstrip("0")


def digits_text(sides: tuple[Side, Side], printed: tuple[int, int]) -> str:
    """Ten asks, then ten bids, each price and quantity without dot and leading zeros."""
    parts = []
    for is_asks in (1, 0):
        for price, qty in sorted(sides[is_asks].items(), reverse=not is_asks)[:10]:
            parts += [digits(price, printed[0]), digits(qty, printed[1])]
    return "".join(parts)


def plain_text(sides: tuple[Side, Side]) -> str:
    """25 bids and asks in turn, `price:quantity`, as short as can be."""
    ordered = [sorted(s.items(), reverse=not n)[:25] for n, s in enumerate(sides)]
    rows = [side[at] for at in range(25) for side in ordered if at < len(side)]
    return ":".join(f"{p.normalize():f}:{q.normalize():f}" for p, q in rows)


class Venue:
    """A market of random moves, whose messages carry the checksum of what its client has."""

    def __init__(self, seed: int, rule: int, bound: int, printed: tuple[int, int]) -> None:
        self.rng = random.Random(seed)
        self.rule, self.bound, self.printed = rule, bound, printed
        self.sides: tuple[Side, Side] = ({}, {})

    def checksum(self) -> int:
        is_digits = self.rule == rules.CHECKSUM_DIGITS
        text = digits_text(self.sides, self.printed) if is_digits else plain_text(self.sides)
        return zlib.crc32(text.encode())

    def message(self, kind: str, levels: int, checksum: int | None = None) -> bytes:
        rows: tuple[list[str], list[str]] = ([], [])
        for _ in range(levels):
            is_asks = self.rng.randrange(2)
            away = self.rng.randrange(1, 60)
            price = Decimal(30_000 + (away if is_asks else -away)).scaleb(-self.printed[0])
            most = 10 ** self.rng.randrange(1, self.printed[1] + 9)
            qty = Decimal(self.rng.randrange(1, most)).scaleb(-self.printed[1])
            if kind == "d" and self.rng.random() < 0.4:
                qty = Decimal(0)
            self.sides[is_asks][price] = qty
            if qty == 0:
                del self.sides[is_asks][price]
            rows[is_asks].append(f"[{price:f},{qty:.{self.printed[1]}f}]")
        for is_asks in range(2):
            ordered = sorted(self.sides[is_asks], reverse=not is_asks)
            for price in ordered[self.bound :] if self.bound else ():
                del self.sides[is_asks][price]
        value = self.checksum() if checksum is None else checksum
        if self.rule == rules.CHECKSUM_TEXT and value >= 2**31:
            value -= 2**32  # as it is written there
        sides = f'"b":[{",".join(rows[0])}],"a":[{",".join(rows[1])}]'
        return f'{{"type":"{kind}","s":"AB",{sides},"c":{value}}}'.encode()


CASES = [
    (rules.CHECKSUM_DIGITS, BOUND, (1, 8)),
    (rules.CHECKSUM_DIGITS, 25, (9, 8)),
    (rules.CHECKSUM_DIGITS, 0, (0, 3)),
    (rules.CHECKSUM_TEXT, 0, (2, 8)),
    (rules.CHECKSUM_TEXT, 0, (11, 4)),
]


def live(rule: int, bound: int, printed: tuple[int, int], seed: int) -> tuple[Rig, Venue]:
    """An engine that shows the venue's whole book."""
    tick = f"1e-{printed[0]}"
    rig = Rig.single(FeedSpec("venue", made(rule, bound), 0, "AB", tick), window_slots=64)
    rig.set_state(L.BUFFERING)
    venue = Venue(seed, rule, bound, printed)
    assert rig.feed(venue.message("w", 40)) == S.SNAPSHOT
    assert rig.engine.load_staged(0)[0] == S.APPLIED
    rig.engine.activate(0, 1)
    return rig, venue


@pytest.mark.parametrize(("rule", "bound", "printed"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_book_is_the_venues_and_the_checksum_zlibs(
    rule: int, bound: int, printed: tuple[int, int], seed: int
) -> None:
    rig, venue = live(rule, bound, printed, seed)
    for _ in range(60):
        assert rig.feed(venue.message("d", venue.rng.randrange(6))) == S.APPLIED
        for is_asks in range(2):
            wanted = {
                int(price.scaleb(printed[0])): int(qty.scaleb(8))
                for price, qty in venue.sides[is_asks].items()
            }
            assert rig.levels(is_asks) == wanted
        rig.check()
    counted = rig.engine.meters.words[rig.engine.meters.feed_at[0] + M.FEED_CHECKSUMS]
    assert counted == 61


@pytest.mark.parametrize(("rule", "bound", "printed"), CASES)
def test_a_wrong_checksum_is_never_published(
    rule: int, bound: int, printed: tuple[int, int]
) -> None:
    rig, venue = live(rule, bound, printed, 7)
    before = rig.published()
    assert rig.feed(venue.message("d", 5, checksum=12345)) == S.BAD_CHECKSUM
    assert rig.published() == before
    rig.set_state(L.BUFFERING)
    assert rig.feed(venue.message("w", 0, checksum=54321)) == S.SNAPSHOT
    assert rig.engine.load_staged(0)[0] == S.BAD_CHECKSUM


def test_published_vectors() -> None:
    """Of the exchange that prints them: BTC/USD of its documents' kind, ADA/XBT with 9 decimals."""
    asks = """0.000022900 13355.87450757, 0.000022910 15283.79025460, 0.000022920 9720.96187490,
        0.000022930 1242.63590000, 0.000022940 21171.82368366, 0.000022950 12340.22471303,
        0.000022960 31576.53000000, 0.000022970 21320.52365062, 0.000022980 51.19231072,
        0.000022990 73.92471820"""
    bids = """0.000022890 31.75709827, 0.000022870 24571.66469962, 0.000022860 31571.61559016,
        0.000022850 9583.31556883, 0.000022840 23627.79481260, 0.000022830 24680.02089865,
        0.000022820 5398.09880000, 0.000022810 5561.18760000, 0.000022800 16682.21010000,
        0.000022790 2600.00000000"""
    rows = [
        ",".join(f"[{level.strip().replace(' ', ',')}]" for level in " ".join(s.split()).split(","))
        for s in (bids, asks)
    ]
    rig = Rig.single(FeedSpec("venue", made(rules.CHECKSUM_DIGITS, 10), 0, "AB", "1e-9"))
    rig.set_state(L.BUFFERING)
    raw = f'{{"type":"w","s":"AB","b":[{rows[0]}],"a":[{rows[1]}],"c":993647625}}'
    assert rig.feed(raw.encode()) == S.SNAPSHOT
    assert rig.engine.load_staged(0)[0] == S.APPLIED


def test_a_bounded_book_says_where_it_ends() -> None:
    rig = Rig(
        InstrumentSpec("AB", (FeedSpec("v", made(rules.CHECKSUM_DIGITS, 5), 0, "AB", "1"),), 10)
    )
    rig.set_state(L.BUFFERING)
    venue = Venue(1, rules.CHECKSUM_DIGITS, 5, (0, 8))
    assert rig.feed(venue.message("w", 80)) == S.SNAPSHOT
    assert rig.engine.load_staged(0)[0] == S.APPLIED
    rig.engine.activate(0, 1)
    published = rig.published()
    assert len(published.bids) == len(published.asks) == 5 and published.incomplete == (True,)


NUMBERED = BookRules(
    MessageSchema(
        keys=(
            Key("channel", schema.FIELD_TOPIC, is_outside=True),
            Key("n", schema.FIELD_LAST_ID, is_outside=True),
            Key("events", schema.FIELD_ENVELOPE),
            Key("type", schema.FIELD_EVENT),
            Key("s", schema.FIELD_SYMBOL),
            Key("b", schema.FIELD_BIDS),
            Key("a", schema.FIELD_ASKS),
        ),
        ids=schema.IDS_ONE,
        diff="d",
        snapshot="w",
        topic="book",
        is_listed=True,
    ),
    rules.CONTINUITY_STEP,
    rules.SNAPSHOT_STREAM,
    is_connection_wide=True,
)


def numbered(number: int, kind: str = "d", symbol: str = "AB", channel: str = "book") -> bytes:
    event: Any = {"type": kind, "s": symbol, "b": [[str(number + 1), "1"]], "a": []}
    return orjson.dumps({"channel": channel, "n": number, "events": [event]})


def test_numbers_of_a_connection_count_every_frame_of_it() -> None:
    specs = [FeedSpec("v", NUMBERED, 0, symbol, "1") for symbol in ("AB", "CD")]
    rig = Rig(*(InstrumentSpec(spec.symbol, (spec,), 10) for spec in specs))
    for feed, symbol in enumerate(("AB", "CD")):
        rig.set_state(L.BUFFERING, feed)
        assert rig.feed(numbered(feed, "w", symbol)) == S.SNAPSHOT
        rig.engine.load_staged(feed)
        rig.engine.activate(feed, 1)
    assert rig.feed(numbered(2)) == S.APPLIED
    assert rig.feed(numbered(3, channel="heartbeats")) == S.OTHER
    assert rig.feed(numbered(4, symbol="EF")) == S.UNKNOWN_SYMBOL
    assert rig.feed(b'{"type":"error","message":"without a number"}') == S.OTHER
    assert rig.feed(numbered(5, symbol="CD")) == S.APPLIED
    assert rig.feed(numbered(6)) == S.APPLIED
    assert rig.feed(numbered(8, channel="heartbeats")) == S.GAP
    assert rig.engine.last_feed == -1, "no feed of the connection is spared"
    assert rig.feed(numbered(9)) == S.APPLIED and rig.feed(numbered(9)) == S.GAP
    rig.engine.restart_connection(0)
    assert rig.feed(numbered(0, channel="subscriptions")) == S.OTHER


def test_a_frame_that_ends_where_the_snapshot_stands_must_have_the_snapshots_checksum() -> None:
    """Seeds with OKX: such a frame is applied once more, and a digit of it had been misread."""
    dialect = Okx()
    rig = Rig.single(FeedSpec("v", OKX.rules, 0, "BTC-USDT", "0.1"))
    rig.set_state(L.BUFFERING)
    bids, asks = [("100", "1"), ("99", "2")], [("101", "3")]
    checksum = dialect.checksum(bids, asks)
    right = Telling("BTC-USDT", bids[:1], [], 9, 10, 8, 10**18, checksum)
    wrong = replace(right, bids=[("100", "2")])
    body = dialect.snapshot(replace(right, bids=bids, asks=asks)).encode()
    for told, status in ((right, S.OLD), (wrong, S.BAD_CHECKSUM)):
        raw = dialect.text(told).encode()
        rig.load(body)
        assert rig.engine.replay(0, raw) == status


def test_a_change_at_zero_moves_the_ids_alone_and_one_below_is_refused() -> None:
    """Seeds with KuCoin: a change at a price below zero was passed over as one at zero is."""
    dialect = Kucoin()
    rig = Rig.single(FeedSpec("v", KUCOIN.rules, 0, "BTC-USDT", "0.1"))
    rig.set_state(L.BUFFERING)
    told = Telling("BTC-USDT", [("0", "1")], [("101", "3")], 9, 10, 8, 10**18)
    assert rig.feed(dialect.text(told).encode()) == S.BUFFER
    below = replace(told, first_id=11, last_id=11, bids=[("-1", "1")])
    assert rig.feed(dialect.text(below).encode()) == S.BAD_PRICE
