"""Prices off the tick, quantities that no lot of 1e-8 holds, prices of nothing, sides that lack.

Issue 13, points 3 and 6. What is right is a plain dictionary of decimals.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.engine import Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.units import Units
from net.feed.events import FeedEvent
from tests.net.rig import (
    ASKS,
    BIDS,
    FAR_ASKS,
    FAR_BIDS,
    Desk,
    Rows,
    binance_diff,
    bitstamp_diff,
    snapshot,
)

pytestmark = pytest.mark.kernel


def amounts(rows: Rows) -> dict[str, Decimal]:
    return {f"{Decimal(p).normalize():f}": Decimal(q).normalize() for p, q in rows}


def shown(desk: Desk) -> dict[str, dict[str, Decimal]]:
    """The published book without what diffs set where a test does not care."""
    far = {price for price, _ in FAR_BIDS + FAR_ASKS}
    return {
        side: {price: amount for price, amount in rows.items() if f"{price}.00" not in far}
        for side, rows in desk.book().items()
    }


def both_live() -> Desk:
    desk = Desk()
    desk.go_live("bitstamp")
    desk.go_live("binance")
    return desk


def rebuild(desk: Desk, book_id: int, bids: Rows, asks: Rows) -> None:
    """A frame of both sides, then the snapshot that was asked for."""
    asked = desk.asked.count("binance")
    for number in range(8):
        desk.wait(0.6)
        desk.frame("bitstamp", bitstamp_diff(200 + number, bids=[("1.00", str(number + 1))]))
        desk.frame("binance", binance_diff(book_id + number, book_id + number))
        if desk.asked.count("binance") > asked:
            desk.answer("binance", book_id + number, bids, asks)
            return
    raise AssertionError("no snapshot was asked for within five seconds")


def test_a_price_off_the_grid_makes_the_feed_count_in_a_finer_unit() -> None:
    desk = both_live()
    assert desk.frame("binance", binance_diff(101, 101, [("100.005", "3")], [])) == S.BAD_PRICE
    assert desk.state("binance") == "BUFFERING" and desk.state("bitstamp") == "LIVE"
    assert desk.tick_questions == ["binance"], "what the venue declares is asked again"
    assert shown(desk)["bitstamp bid"] == amounts(BIDS), "the neighbour is told in the new unit"
    rebuild(desk, 102, [("100.005", "3"), *BIDS], ASKS)
    assert desk.state("binance") == desk.state("bitstamp") == "LIVE"
    book = shown(desk)
    assert book["binance bid"] == amounts([("100.005", "3"), *BIDS])
    assert book["binance ask"] == amounts(ASKS)
    assert desk.bids()[0] == ("binance", 100005, 3 * 10**8)
    assert desk.syncs["bitstamp"].counters.resyncs == 0
    counters = desk.syncs["binance"].counters
    assert counters.units_learned == 1 and counters.refused_frames == 0
    assert (FeedEvent.UNITS_LEARNED, "0.001") in [
        (event, facts.get("price_unit")) for _, event, facts in desk.notes
    ]


def test_the_frame_off_the_grid_is_not_lost_while_the_book_is_built() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100))
    desk.frame("binance", binance_diff(101, 101, [("100.005", "3")], [("100.015", "4")]))
    assert desk.state("binance") == "SYNCING", "nothing was shown, so nothing is given up"
    desk.answer("binance", 100)
    assert desk.state("binance") == "LIVE"
    assert shown(desk)["binance bid"] == amounts([("100.005", "3"), *BIDS])
    assert shown(desk)["binance ask"] == amounts([("100.015", "4"), *ASKS])


def test_a_snapshot_with_orders_of_an_older_grid_is_joined_at_once() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100))
    desk.answer("binance", 100, [*BIDS, ("98.12345", "7")], ASKS)
    assert desk.state("binance") == "LIVE" and desk.asked == ["binance"]
    assert shown(desk)["binance bid"] == amounts([*BIDS, ("98.12345", "7")])


def test_an_audit_that_finds_an_older_grid_builds_the_book_anew() -> None:
    desk = both_live()
    desk.syncs["binance"].break_off("to ask again", desk.now_ns)
    desk.wait(0.6)
    desk.frame("binance", binance_diff(101, 101))
    desk.answer("binance", 101)
    assert desk.state("binance") == "LIVE"
    desk.syncs["binance"]._start_audit(desk.now_ns)
    desk.wait(0.6)
    desk.frame("binance", binance_diff(102, 102))
    desk.answer("binance", 102, [*BIDS, ("98.12345", "7")], ASKS)
    assert desk.state("binance") == "BUFFERING"
    rebuild(desk, 103, [*BIDS, ("98.12345", "7")], ASKS)
    assert shown(desk)["binance bid"] == amounts([*BIDS, ("98.12345", "7")])


def test_a_body_that_was_staged_in_older_units_is_staged_again() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100))
    stage, sync = Stage(64), desk.syncs["binance"]
    assert desk.engine.stage(0, snapshot("binance", 100, BIDS, ASKS), stage) == S.APPLIED
    desk.frame("binance", binance_diff(101, 101, [("100.005", "3")], []))
    sync.on_snapshot(sync.request.number, stage, 5, desk.now_ns)
    desk.frame("binance", binance_diff(102, 102, [("99.99", "8")], [("100.02", "9")]))
    assert desk.state("binance") == "LIVE"
    wanted = amounts([("100.005", "3"), ("100.00", "1"), ("99.99", "8")])
    assert shown(desk)["binance bid"] == wanted


@pytest.mark.parametrize(
    ("bids", "lot_decimals"),
    [
        ([("99.00", "184467440737.00000000")], 6),
        ([("99.00", "184467440737.0"), ("98.00", "0.0000001")], 7),
        ([("99.00", "1.0123456789")], 10),
        ([("99.00", "1.8e-7"), ("98.00", "1e-9")], 9),
    ],
)
def test_a_lot_is_what_the_market_needs(bids: Rows, lot_decimals: int) -> None:
    desk = Desk()
    desk.go_live("bitstamp")
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100))
    desk.answer("binance", 100, bids, ASKS)
    assert desk.state("binance") == desk.state("bitstamp") == "LIVE"
    assert shown(desk) == {
        "binance bid": amounts(bids),
        "binance ask": amounts(ASKS),
        "bitstamp bid": amounts(BIDS),
        "bitstamp ask": amounts(ASKS),
    }
    assert desk.reader.instruments[0].counted_as(desk.reader.book).lot_decimals == lot_decimals
    desk.frame("bitstamp", bitstamp_diff(101, [("99.99", "2.5")], []))
    assert shown(desk)["bitstamp bid"]["99.99"] == Decimal("2.5")
    assert desk.syncs["bitstamp"].counters.resyncs == 0


def test_totals_beside_a_book_that_counts_finer_are_refused_and_the_book_goes_on() -> None:
    """Sixty-four bits hold either, not both in one unit: never a wrong number."""
    desk = Desk()
    desk.connect("bitstamp")
    desk.frame("bitstamp", bitstamp_diff(100))
    desk.answer("bitstamp", 100, [("100.00", "0.12345678")], ASKS)
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100))
    desk.answer("binance", 100, [("99.00", "184467440737.0")], ASKS)
    assert desk.state("binance") == "SYNCING" and desk.state("bitstamp") == "LIVE"
    assert desk.notes[-1][1] is FeedEvent.SNAPSHOT_REFUSED
    assert shown(desk)["bitstamp bid"] == amounts([("100.00", "0.12345678")])


@pytest.mark.parametrize("price", ["61837.123456789012345678", "46116860184273879.05", "0", "-5"])
def test_a_price_that_no_unit_holds_is_refused_and_counted(price: str) -> None:
    desk = both_live()
    before = desk.engine.units(0)
    desk.frame("binance", binance_diff(101, 101, [(price, "3")], []))
    assert desk.state("binance") == "BUFFERING" and desk.engine.units(0) == before
    assert desk.syncs["binance"].counters.refused_frames == 1
    assert desk.state("bitstamp") == "LIVE"


@pytest.mark.parametrize("price", ["0", "0.00000000", "-1", "-60000.00000000"])
@pytest.mark.parametrize("name", ["binance", "bitstamp"])
def test_a_level_of_a_snapshot_without_a_price_is_dropped_and_counted(
    name: str, price: str
) -> None:
    desk = Desk()
    desk.connect(name)
    desk.frame(name, binance_diff(95, 100) if name == "binance" else bitstamp_diff(100))
    desk.answer(name, 100, [BIDS[0], (price, "123.00000000"), BIDS[1]], [*ASKS, (price, "1")])
    assert desk.state(name) == "LIVE"
    assert shown(desk) == {f"{name} bid": amounts(BIDS), f"{name} ask": amounts(ASKS)}
    block = desk.engine.meters.words[desk.engine.meters.feed_at[desk.syncs[name].feed] :]
    assert block[M.FEED_DROPPED_LEVELS] == 2


def test_a_finer_tick_that_the_venue_declares_is_taken_over() -> None:
    desk = both_live()
    desk.syncs["binance"].units.declared("0.01", desk.now_ns)
    desk.syncs["binance"].units.declared("0.05", desk.now_ns)
    assert desk.state("binance") == "LIVE" and desk.engine.units(0) == Units((1, 2))
    desk.syncs["binance"].units.declared("0.0005", desk.now_ns)
    assert desk.state("binance") == "BUFFERING" and desk.engine.units(0) == Units((5, 4))
    rebuild(desk, 101, BIDS, ASKS)
    assert shown(desk)["binance ask"] == amounts(ASKS)


def test_a_unit_that_is_too_fine_for_the_market_does_not_last() -> None:
    """One absurd price must not condemn the book for ever."""
    desk = both_live()
    desk.frame("binance", binance_diff(101, 101, [("0.000000000000000001", "3")], []))
    assert desk.state("binance") == "BUFFERING"
    rebuild(desk, 102, BIDS, ASKS)
    desk.wait(1.0)
    if desk.state("binance") != "LIVE":
        rebuild(desk, 110, BIDS, ASKS)
    assert desk.state("binance") == desk.state("bitstamp") == "LIVE"
    assert shown(desk)["binance bid"] == amounts(BIDS)


# --- a side that lacks (point 6) -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["binance", "bitstamp"])
@pytest.mark.parametrize(("bids", "asks"), [(BIDS, []), ([], ASKS)], ids=["no asks", "no bids"])
def test_a_snapshot_without_a_side_that_the_stream_shows_is_refused(
    name: str, bids: Rows, asks: Rows
) -> None:
    desk = Desk()
    desk.connect(name)
    desk.frame(name, binance_diff(95, 100) if name == "binance" else bitstamp_diff(100))
    desk.answer(name, 100, bids, asks)
    assert desk.state(name) == "SYNCING" and desk.bids() == desk.asks() == []
    assert "empty" in str(desk.notes[-1][2]["reason"])
    desk.wait(1.0)
    desk.frame(name, binance_diff(101, 101) if name == "binance" else bitstamp_diff(101))
    desk.answer(name, 101)
    assert desk.state(name) == "LIVE"


def test_a_snapshot_without_a_side_is_not_believed_after_a_book_that_had_it() -> None:
    desk = Desk()
    desk.go_live("bitstamp")
    desk.venues["bitstamp"].on_lost("cut", desk.now_ns)
    desk.connect("bitstamp")
    desk.frame("bitstamp", bitstamp_diff(200, [("1.00", "2")], []))
    desk.answer("bitstamp", 200, BIDS, [])
    desk.wait(2.5)
    assert desk.state("bitstamp") == "SYNCING"


def test_a_market_of_one_side_is_shown_and_audited_when_the_other_comes() -> None:
    desk = Desk()
    desk.connect("bitstamp")
    for number in range(60):
        desk.frame("bitstamp", bitstamp_diff(100 + number, [("100.00", "2")], []))
        if desk.syncs["bitstamp"].is_asking:
            desk.answer("bitstamp", 100 + number, BIDS, [])
        desk.wait(1.0)
    assert desk.state("bitstamp") == "LIVE" and desk.asks() == []
    asked = len(desk.asked)
    desk.frame("bitstamp", bitstamp_diff(200, [], [("100.01", "2")]))
    desk.wait(0.5)
    desk.frame("bitstamp", bitstamp_diff(300, [], [("100.01", "3")]))
    assert len(desk.asked) == asked + 1, "there may be more than the stream has shown"
    assert desk.syncs["bitstamp"].state == L.LIVE
