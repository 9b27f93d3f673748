"""A market maker whose quotes are filled again and again: each comes back after the pause only.

Issue 14, point 7. Seen: 12 fills in 95 ms from one frame, and 0.48 of 0.5 position within 3 s.
"""

from __future__ import annotations

import random

import pytest

from engine.maker import order_layout as O
from engine.maker.client_ids import format_client_id
from net.config.schema import parse_config
from net.maker.build import DigestJournal, build_maker, plain_market
from net.maker.maker import Maker
from net.maker.refusal_backoff import WOULD_TAKE_NS
from net.orders.messages import Kind, OrderEvent, State
from tests.net.maker.test_units import CONFIG, Quoting
from tests.net.rig import binance_diff

pytestmark = pytest.mark.kernel

PAUSE_MS = 700
AT_ONCE = "[maker.paper]\nlatency_ms = 0\nlatency_tail_ms = 0\nfee_bps = 0\n"


class Paced(Quoting):
    """A desk whose market maker pauses after a fill; the book's best bid and ask move together."""

    def __init__(self, more: str = "", quotes: str = "") -> None:
        self._more, self._quotes = more, quotes
        self.facts: list[tuple[str, dict[str, object]]] = []
        super().__init__()
        self.next_id = 101

    def build(self, tick_size: str) -> Maker:
        text = CONFIG.replace("first = 5.0", f"first = 5.0\npause_ms = {PAUSE_MS}\n{self._quotes}")
        config = parse_config(text + self._more + AT_ONCE, "test")
        markets = {"binance": plain_market("BTCUSDT", tick_size)}
        rng = random.Random(1)
        return build_maker(config, self.engine, markets, DigestJournal(), self, epoch=1, rng=rng)

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        super().note_maker(level, what, **facts)
        self.facts.append((what, facts))

    def turn(self, seconds: float) -> None:
        self.wait(seconds)
        self.maker.on_book(self.wall_ns())
        self.maker.on_timer(self.wall_ns())

    def frame_of(self, bid: str, ask: str) -> None:
        """The levels that `go_live` has shown go, these come; one frame."""
        gone = [(f"{price / 100:.2f}", "0") for price in range(9_990, 10_011)]
        bids = [row for row in gone if row[0] != bid] + [(bid, "3")]
        asks = [row for row in gone if row[0] != ask] + [(ask, "3")]
        self.frame("binance", binance_diff(self.next_id, self.next_id, bids, asks))
        self.next_id += 1

    @property
    def fills(self) -> int:
        return int(self.maker.table[O.ACCOUNT_FILLS])

    def our_bids(self) -> list[int]:
        return [ticks for side, ticks in self.orders() if side == O.BUY]


@pytest.fixture
def desk() -> Paced:
    found = Paced()
    found.go_live("binance")
    found.step()
    return found


def fill_the_bid(desk: Paced) -> None:
    """The book falls through our best bid, in one frame."""
    bid = max(desk.our_bids())
    desk.frame_of(f"{(bid - 4) / 100:.2f}", f"{(bid - 1) / 100:.2f}")
    desk.turn(0.01)
    desk.turn(0.01)
    assert desk.fills == 1


def test_one_frame_fills_a_quote_once(desk: Paced) -> None:
    fill_the_bid(desk)
    for _ in range(120):
        desk.turn(0.1)  # far longer than the pause, and no frame
    assert desk.fills == 1 and desk.our_bids() == []


def test_a_quote_comes_back_after_the_pause_with_another_frame(desk: Paced) -> None:
    fill_the_bid(desk)
    desk.turn(0.2)
    desk.frame_of("99.91", "99.95")
    desk.turn(0.2)
    assert desk.our_bids() == [], "within the pause"
    desk.turn(0.4)
    desk.turn(0.01)
    assert len(desk.our_bids()) == 1 and desk.fills == 1


def test_what_rests_beside_a_fill_stays_where_it_is() -> None:
    desk = Paced(quotes="levels = 2\nstep = 10\nhold = 20\n")
    desk.go_live("binance")
    desk.step()
    best, second = sorted(desk.our_bids(), reverse=True)
    fill_the_bid(desk)
    for _ in range(10):
        desk.turn(0.1)
        assert desk.our_bids() == [second], best


def test_what_would_have_to_move_beside_a_fill_goes() -> None:
    desk = Paced(quotes="levels = 2\nstep = 10\nhold = 1\n")
    desk.go_live("binance")
    desk.step()
    assert len(desk.our_bids()) == 2
    fill_the_bid(desk)
    desk.turn(0.01)
    assert desk.our_bids() == [], "the fallen fair price wants it lower: it is no new one"


def test_the_other_side_goes_on(desk: Paced) -> None:
    (ask,) = (ticks for side, ticks in desk.orders() if side == O.SELL)
    fill_the_bid(desk)
    desk.turn(0.1)
    (after,) = (ticks for side, ticks in desk.orders() if side == O.SELL)
    assert after < ask, "it follows the fallen book"


def test_at_the_limit_of_fills_all_quotes_go_and_it_is_told() -> None:
    desk = Paced(more="fills_per_min = 1\n")
    desk.go_live("binance")
    desk.step()
    fill_the_bid(desk)
    desk.turn(0.01)
    desk.turn(0.01)
    assert desk.orders() == []
    assert ("warning", "order refused by risk") in desk.told
    refused = [facts for what, facts in desk.facts if what == "order refused by risk"]
    assert refused[0]["limit"] == "risk.fills_per_min = 1"
    assert not desk.maker.halts.is_halted


def test_the_volume_of_a_minute_is_never_passed() -> None:
    desk = Paced(more='volume_per_min = "0.02"\n')
    desk.go_live("binance")
    desk.step()
    assert len(desk.orders()) == 2, "0.01 on either side"
    fill_the_bid(desk)
    for _ in range(20):
        desk.frame_of("99.91", "99.95")
        desk.turn(0.1)
    assert desk.our_bids() == [], "0.01 has been traded, and 0.01 rests on the other side"


def test_an_order_that_is_accepted_and_then_deleted_pauses_its_side_shortly(desk: Paced) -> None:
    """One way of a venue to refuse a post-only order that would have traded."""
    maker = desk.maker
    (order_id,) = (each for each, sent in maker.orders.sent.items() if sent.slot == 0)
    name = format_client_id(order_id)
    gone = OrderEvent(Kind.CANCELED, State.CANCELED, "BTCUSDT", name, side=O.BUY, filled_lots=0)
    now_ns = maker.orders.sent[order_id].sent_ns + 50_000_000
    maker.on_push(0, (gone,), (), now_ns)
    assert order_id not in maker.orders.sent
    pauses = [maker.refusal_backoff.must_pause(0, side, now_ns) for side in (O.BUY, O.SELL)]
    assert pauses == [True, False]
    later_ns = now_ns + WOULD_TAKE_NS
    assert not maker.refusal_backoff.must_pause(0, O.BUY, later_ns), "no failure: no longer pause"
