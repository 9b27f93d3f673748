"""Order entry at the simulated Binance, over the real line: keys, signatures and sockets included.

The market stands still: what fills does so because a test says it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, SELL
from net.log.note import Note
from net.orders.errors import ErrorClass, Refusal
from net.orders.http_connection import HttpLine
from net.orders.interface import EntryNote, EntryState, Opening
from net.orders.markets import MarketRules
from net.orders.messages import Kind, OrderEvent, OrderRequest, Request, State
from net.orders.signing import Ed25519Signer, HmacSigner
from net.orders.transfers import Transfer
from net.sockets.backoff import Backoff
from net.sockets.private_connection import Line
from net.venues.binance.orders import entry as binance_session
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.binance.orders.entry import BinanceEntry
from net.venues.binance.orders.markets import binance_market
from tests.net.simulator.binance.client import ED25519_KEY, KEY, PRIVATE, SECRET, options, touch
from tests.net.simulator.reference import Lab, lab
from tuning.clock import steady_ns, wall_ns

pytestmark = pytest.mark.timeout(60, func_only=True)

KEYS = {
    "ed25519": BinanceKeys(ED25519_KEY, Ed25519Signer(PRIVATE)),
    "hmac": BinanceKeys(KEY, HmacSigner(SECRET)),
    "unknown": BinanceKeys("another-key", Ed25519Signer(PRIVATE)),
}
IDS = [(9 << 32) + number for number in range(1, 9)]
LOTS = 1_000_000
NS_PER_S = 1_000_000_000


class Desk:
    """A market maker without an opinion: it does what the test says, and keeps what it is told."""

    def __init__(self, here: Lab, rules: MarketRules, keys: BinanceKeys, best_bid: int) -> None:
        self.transfers: list[tuple[Transfer, ...]] = []
        url = here.binance.replace("http", "ws", 1) + "/ws-api/v3"
        quick = Backoff(random.Random(1), floor_ms=1, first_ms=1, limit_ms=10)
        self.here, self.rules, self.best_bid = here, rules, best_bid
        self.line = Line(url, ssl_context=lambda: pytest.fail("no TLS here"), backoff=quick)
        loop = asyncio.get_running_loop()
        no_tls = self.line._ssl_context
        self.http = HttpLine(here.binance, loop=loop, owner_loop=loop, ssl_context=no_tls)
        self.entry = BinanceEntry(0, rules.market, keys, self.line, self, http=self.http)
        self.answers: dict[tuple[Request, int], tuple[OrderEvent, ...]] = {}
        self.unanswered: list[tuple[Request, int]] = []
        self.pushed: list[OrderEvent] = []
        self.openings: list[Opening] = []
        self.audits: list[Opening] = []
        self.lost: list[str] = []
        self.troubles: list[Refusal] = []
        self.notes: list[Note] = []

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        assert asked[:2] not in self.answers
        self.answers[asked[:2]] = events

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        self.unanswered.append(asked[:2])

    def on_push(self, venue: int, events: Any, balances: Any, now_ns: int) -> None:
        self.pushed += events

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        self.openings.append(opening)

    def on_transfers(self, venue: int, transfers: tuple[Transfer, ...], now_ns: int) -> None:
        self.transfers.append(transfers)

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        self.audits.append(reading)

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self.lost.append(reason)

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        self.troubles.append(refusal)

    def wall_ns(self) -> int:
        return wall_ns()

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        self.notes.append(note)

    async def until(self, condition: Callable[[], object], limit_s: float = 10.0) -> None:
        end_s = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end_s, (self.answers, self.pushed, self.lost, self.notes)
            self.entry.on_timer(steady_ns())
            await asyncio.sleep(0.002)

    async def ready(self, count: int = 1) -> Opening:
        await self.until(lambda: len(self.openings) == count)
        return self.openings[-1]

    async def answer(self, request: Request, order_id: int) -> tuple[OrderEvent, ...]:
        await self.until(lambda: (request, order_id) in self.answers)
        return self.answers[request, order_id]

    async def arm(self, fault: str, times: int = 1) -> None:
        order = f"{fault}:binancex{times}"
        await self.here.control(self.here.binance, f"fault?order={order}")

    def place(self, order_id: int, ticks_below: int = 500) -> None:
        price_ticks = self.best_bid - ticks_below
        self.entry.place(order_id, BUY, price_ticks, LOTS, steady_ns())


def run(test: Callable[[Desk], Awaitable[None]], keys: str = "ed25519") -> None:
    async def main() -> None:
        async with lab(options()) as here:
            await here.control(here.binance, "pause")
            body = await here.get(f"{here.binance}/api/v3/exchangeInfo?symbol=BTCUSDT")
            rules = binance_market(body, "BTCUSDT")
            bid = rules.market.price_ticks(str((await touch(here))[0]))
            desk = Desk(here, rules, KEYS[keys], bid)
            task = asyncio.ensure_future(desk.line.run(desk.entry))
            posting = asyncio.ensure_future(desk.http.run(desk.entry))
            await test(desk)
            posting.cancel()
            await desk.line.stop()
            await asyncio.wait_for(task, 5)
            assert desk.entry.unreadable_frames == desk.entry.unmatched_answers == 0
            here.venues.server("binance").orders.desk.check()  # type: ignore[attr-defined]

    asyncio.run(main())


@pytest.mark.parametrize("keys", ["ed25519", "hmac"])
def test_the_life_of_orders(keys: str) -> None:
    one, two, three, four = IDS[:4]

    async def test(desk: Desk) -> None:
        opening = await desk.ready()
        assert opening.open_orders == opening.trades == ()
        assert {each.asset: each.free_lots for each in opening.balances}["BTC"] == 10 * 10**8
        assert desk.rules.is_trading and desk.rules.market.tick_size == "0.01000000"
        desk.place(one)
        (accepted,) = await desk.answer(Request.PLACE, one)
        assert (accepted.kind, accepted.client_order_id) == (Kind.ACCEPTED, format_client_id(one))
        price_ticks = desk.best_bid - 400
        desk.entry.replace(one, two, BUY, price_ticks, 2 * LOTS, steady_ns())
        gone, come = await desk.answer(Request.REPLACE, two)
        assert (gone.kind, come.kind) == (Kind.CANCELED, Kind.ACCEPTED)
        desk.entry.ask(two, steady_ns())
        (state,) = await desk.answer(Request.STATUS, two)
        assert (state.state, state.price_ticks, state.quantity_lots) == (
            State.OPEN,
            price_ticks,
            2 * LOTS,
        )
        # A price that would trade at once is refused, and the old order is gone all the same.
        desk.entry.replace(two, three, SELL, price_ticks, LOTS, steady_ns())
        gone, refused = await desk.answer(Request.REPLACE, three)
        assert (gone.kind, refused.error) == (Kind.CANCELED, ErrorClass.WOULD_TAKE)
        desk.entry.cancel(two, steady_ns())
        (failed,) = await desk.answer(Request.CANCEL, two)
        assert (failed.kind, failed.error) == (Kind.FAILED, ErrorClass.UNKNOWN_ORDER)
        desk.place(four)
        await desk.answer(Request.PLACE, four)
        await desk.arm("late-fill=10")
        desk.entry.cancel(four, steady_ns())
        assert (await desk.answer(Request.CANCEL, four))[0].kind is Kind.CANCELED
        await desk.until(lambda: desk.pushed[-1].kind is Kind.FILL)
        fill = desk.pushed[-1]
        assert (fill.client_order_id, fill.last_lots) == (format_client_id(four), LOTS)
        desk.entry.ask(four, steady_ns())
        state, traded = await desk.answer(Request.STATUS, four)
        assert (state.state, traded.execution_id) == (State.FILLED, fill.execution_id)
        assert traded.client_order_id == format_client_id(four)
        assert desk.troubles == [] and desk.unanswered == [] and desk.lost == []
        assert abs(desk.entry.clock_offset_ns + steady_ns() - wall_ns()) < NS_PER_S

    run(test, keys)


def test_a_disconnect_is_followed_by_a_reading_that_finds_the_order() -> None:
    async def test(desk: Desk) -> None:
        await desk.ready()
        await desk.arm("order-disconnect")
        desk.place(IDS[0])
        (left,) = (await desk.ready(2)).open_orders
        assert left.client_order_id == format_client_id(IDS[0]) and len(desk.lost) == 1
        assert desk.answers == {} and desk.unanswered == []
        await desk.arm("late-fill=1")
        desk.entry.cancel(IDS[0], steady_ns())
        await desk.until(lambda: desk.pushed and desk.pushed[-1].kind is Kind.FILL)
        desk.line.renew("for the test")
        opening = await desk.ready(3)
        assert opening.open_orders == ()
        # The list of trades names the order by the venue's number only.
        assert [each.client_order_id for each in opening.trades] == [format_client_id(IDS[0])]

    run(test)


def test_an_acknowledgement_that_is_lost_is_found_out_by_a_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binance_session, "ANSWER_LIMIT_NS", NS_PER_S // 5)

    async def test(desk: Desk) -> None:
        await desk.ready()
        await desk.arm("ack-lost")
        desk.place(IDS[0])
        await desk.until(lambda: desk.unanswered == [(Request.PLACE, IDS[0])])
        desk.entry.ask(IDS[0], steady_ns())
        (state,) = await desk.answer(Request.STATUS, IDS[0])
        assert state.state is State.OPEN and desk.lost == []
        desk.entry.ask(IDS[1], steady_ns())
        (never,) = await desk.answer(Request.STATUS, IDS[1])
        assert never.error is ErrorClass.UNKNOWN_ORDER

    run(test)


def test_a_wrong_clock_is_set_right_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_session, "SKEW_FIRST_NS", NS_PER_S // 20)

    async def test(desk: Desk) -> None:
        await desk.ready()
        await desk.arm("clock-skew=6000")
        desk.place(IDS[0])
        (refused,) = await desk.answer(Request.PLACE, IDS[0])
        assert refused.error is ErrorClass.CLOCK_SKEW
        assert [trouble.error for trouble in desk.troubles] == [ErrorClass.CLOCK_SKEW]
        # A skew that comes and goes during the opening: once it is read again, then it is barred.
        await desk.arm("clock-skew=6000", times=3)
        desk.line.drop("for the test")
        await desk.ready(2)
        assert desk.entry.state is EntryState.READY
        assert desk.notes.count(EntryNote.BARRED) == 1 and len(desk.lost) == 2

    run(test)


def test_wrong_keys_are_barred() -> None:
    async def test(desk: Desk) -> None:
        await desk.until(lambda: desk.lost)
        assert desk.entry.state is EntryState.BARRED
        assert [trouble.error for trouble in desk.troubles] == [ErrorClass.BAD_KEYS]
        await asyncio.sleep(0.1)
        assert desk.line.connections == 1 and desk.openings == []

    run(test, "unknown")
