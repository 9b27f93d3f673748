"""What the daemon learns of the markets before it serves them, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest
from aiohttp import web

from net.daemon import tick_sizes
from net.daemon.tick_sizes import TickSizes, known_part
from net.feed.events import FeedEvent
from net.orders.markets import MarketRules
from tests.net.daemon.rig import Told, config, venue_clients
from tests.net.maker.test_build import config_of
from tests.net.orders.test_markets import SYMBOL

MARKET = orjson.dumps({"symbols": [SYMBOL]})
LIMIT_S = 10.0


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, LIMIT_S))


def test_the_part_of_a_configuration_whose_ticks_are_known() -> None:
    whole = config()
    assert known_part(whole, {}) is None
    part = known_part(whole, {("bitstamp", "btcusd"): "1"})
    assert part is not None
    assert [venue.name for venue in part.instrument[0].venue] == ["bitstamp"]
    both = known_part(whole, {("bitstamp", "btcusd"): "1", ("binance", "BTCUSDT"): "0.01"})
    assert both == whole


def test_a_venue_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_sizes, "ASK_AGAIN_FLOOR_MS", 1)
    told = Told()
    answers = [
        web.Response(status=500),
        web.Response(body=MARKET.replace(b'"tickSize":"0.01"', b'"tickSize":"1e-30"')),
        web.Response(body=MARKET),
    ]

    async def main() -> None:
        async with venue_clients(lambda _path: answers.pop(0)) as clients:
            sizes = TickSizes(config(), clients, told.log, told.note, told.record)
            await sizes.learn()
            assert sizes.ticks == {("binance", "BTCUSDT"): "0.01", ("bitstamp", "btcusd"): "1"}

    run(main())
    *failed, (last, facts) = told.events
    assert [event for event, _ in failed] == [FeedEvent.MARKET_UNKNOWN] * 2
    assert [each["attempt"] for _, each in failed] == [1, 2]
    assert all(each["instrument"] == "BTC-USD" for _, each in failed)
    assert "HTTP 500" in str(failed[0][1]["reason"])
    assert (last, facts["tick_size"]) == ("tick size", "0.01")
    ((venue, path, body),) = told.recorded
    assert (venue, body) == ("binance", MARKET) and path.endswith("?symbol=BTCUSDT")


NO_SUCH = b'{"code":-1121,"msg":"Invalid symbol."}'


def test_a_symbol_that_the_venue_does_not_have_is_left_out_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Issue 13.4. Seen: one unknown or delisted symbol at the start, and nothing was served."""
    monkeypatch.setattr(tick_sizes, "REFUSED_AGAIN_MS", (100, 1, 200))
    told = Told()
    refusals = [web.Response(status=400, body=NO_SUCH) for _ in range(2)]  # in either case
    answers = [*refusals, web.Response(body=MARKET)]

    async def main() -> None:
        async with venue_clients(lambda _path: answers.pop(0)) as clients:
            sizes = TickSizes(config(), clients, told.log, told.note, told.record)
            learning = asyncio.create_task(sizes.learn())
            await sizes.settled()
            assert sizes.ticks == {("bitstamp", "btcusd"): "1"} and not sizes.is_complete
            (text,) = sizes.refused.values()
            assert text.startswith("binance: BTCUSDT: HTTP 400") and "Invalid symbol" in text
            assert not sizes.is_all_refused
            await sizes.more(sizes.learned)
            assert sizes.is_complete and not sizes.refused, "it is listed now"
            await learning

    run(main())
    assert told.events[0][0] is FeedEvent.MARKET_REFUSED


def test_8_a_symbol_in_the_wrong_case_gets_a_hint() -> None:
    told = Told()

    def answer(path: str) -> web.Response:
        if "btcusdt" in path:
            return web.Response(body=MARKET.replace(b"BTCUSDT", b"btcusdt"))
        return web.Response(status=400, body=NO_SUCH)

    async def main() -> None:
        async with venue_clients(answer) as clients:
            sizes = TickSizes(config(), clients, told.log, told.note, told.record)
            learning = asyncio.create_task(sizes.learn())
            await sizes.settled()
            (text,) = sizes.refused.values()
            assert text.endswith("; it has btcusdt")
            learning.cancel()

    run(main())
    ((event, facts),) = told.events
    assert event is FeedEvent.MARKET_REFUSED and "; it has btcusdt" in str(facts["reason"])


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=404, body=b"<html>not here</html>"),
        lambda: web.Response(status=400, body=b'{"code":-1003,"msg":"Too many requests."}'),
        lambda: web.Response(status=404, body=b'{"message":"no route"}'),
    ],
)
def test_only_the_venue_s_own_words_about_the_symbol_are_final(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[], web.Response]
) -> None:
    """Issue 13.4. Seen: a 503, then one 404 of some proxy, and the daemon ended with status 2."""
    monkeypatch.setattr(tick_sizes, "ASK_AGAIN_FLOOR_MS", 1)
    told = Told()
    answers = [web.Response(status=503), answer(), web.Response(body=MARKET)]

    async def main() -> None:
        async with venue_clients(lambda _path: answers.pop(0)) as clients:
            sizes = TickSizes(config(), clients, told.log, told.note, told.record)
            await sizes.learn()
            assert sizes.is_complete and not sizes.refused

    run(main())
    assert [event for event, _ in told.events[:2]] == [FeedEvent.MARKET_UNKNOWN] * 2


def test_where_all_is_refused_there_is_nothing_to_serve() -> None:
    told = Told()

    async def main() -> None:
        async with venue_clients(lambda _path: web.Response(status=400, body=NO_SUCH)) as clients:
            alone = config()
            (instrument,) = alone.instrument
            alone = alone.model_copy(
                update={
                    "instrument": (instrument.model_copy(update={"venue": instrument.venue[:1]}),)
                }
            )
            sizes = TickSizes(alone, clients, told.log, told.note, told.record)
            learning = asyncio.create_task(sizes.learn())
            await sizes.settled()
            assert sizes.is_all_refused
            learning.cancel()

    run(main())


def test_the_rules_of_the_quoted_markets_are_asked_for_where_there_is_a_market_maker() -> None:
    told, learned = Told(), dict[str, MarketRules]()
    bitstamp = {
        "market_symbol": "btcusd",
        "base_currency": "BTC",
        "counter_currency": "USD",
        "base_decimals": 8,
        "counter_decimals": 0,
        "minimum_order_value": "10",
        "minimum_order_amount": "0.0",
        "trading": "Enabled",
    }

    def answer(path: str) -> web.Response:
        return web.Response(body=MARKET if "BTCUSDT" in path else orjson.dumps([bitstamp]))

    async def main() -> None:
        async with venue_clients(answer) as clients:
            quoting = config_of()
            sizes = TickSizes(
                quoting, clients, told.log, told.note, told.record, learned.__setitem__
            )
            await sizes.learn()

    run(main())
    assert {name: rules.market.symbol for name, rules in learned.items()} == {
        "binance": "BTCUSDT",
        "bitstamp": "btcusd",
    }
