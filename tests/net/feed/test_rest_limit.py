"""Who is served next within a venue's request limit, and how much of it: in jumping time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import net.feed.rest_limit
from net.feed.rest_limit import OWN_SHARE, RequestLimit, Urgency
from net.sockets.http_body import RestError
from net.venues.binance.market_data import BINANCE
from net.venues.interface import RestLimit
from tests.faults.jumping_time import JumpingTime

LIMIT = RestLimit(weight_max=6000, window_s=60)
SHALLOW, DEEP = 5, 250


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    with JumpingTime() as time:
        monkeypatch.setattr(net.feed.rest_limit, "time", time)
        yield time.run


def test_forty_books_are_had_at_once_and_deepened_as_the_limit_allows(
    run: Callable[[Any], Any],
) -> None:
    """Forty at depth 5000 weigh 10,000 where 3,000 a minute are ours: they are asked for shallow,
    one request each, and the audits that deepen them take what is left."""

    async def main() -> None:
        limit, loop = RequestLimit(LIMIT, 40 * SHALLOW), asyncio.get_running_loop()
        started_s = loop.time()
        lost = [limit.take((SHALLOW, DEEP), Urgency.LOST_BOOK) for _ in range(40)]
        given = await asyncio.gather(*lost)
        assert loop.time() == started_s, "no book waits for another minute"
        assert len(given) == 40 and given.count(1) >= 1, "what is left makes some of them deep"
        audits = [limit.take((DEEP,), Urgency.AUDIT) for index in given if index == 0]
        await asyncio.gather(*audits)
        assert loop.time() - started_s < len(audits) * DEEP / (3000 - 40 * SHALLOW) * 60 + 61

    run(main())


def test_sixty_four_pairs_are_had_in_the_time_that_depth_100_takes(
    run: Callable[[Any], Any],
) -> None:
    async def main() -> None:
        limit, loop = RequestLimit(LIMIT, 64 * SHALLOW), asyncio.get_running_loop()
        started_s = loop.time()
        await asyncio.gather(*(limit.take((SHALLOW, 50), Urgency.LOST_BOOK) for _ in range(64)))
        assert loop.time() == started_s

    run(main())


def test_a_lost_book_is_asked_for_before_any_audit(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        limit, order = RequestLimit(LIMIT, 26 * SHALLOW), list[str]()

        async def ask(name: str, weights: tuple[int, ...], urgency: Urgency) -> None:
            await limit.take(weights, urgency)
            order.append(name)

        audits = [
            asyncio.create_task(ask(f"audit {number}", (DEEP,), Urgency.AUDIT))
            for number in range(26)
        ]
        await asyncio.sleep(1.0)
        before = len(order)
        assert 0 < before < 26, "some wait for the next window"
        await ask("lost", (SHALLOW, DEEP), Urgency.LOST_BOOK)
        assert order[-1] == "lost" and len(order) == before + 1, "at once, from what is kept back"
        await asyncio.gather(*audits)

    run(main())


def test_a_request_that_is_given_up_holds_nobody_up(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        limit = RequestLimit(LIMIT)
        await limit.take((2990,), Urgency.LOST_BOOK)
        given_up = asyncio.create_task(limit.take((1000,), Urgency.LOST_BOOK))
        next_one = asyncio.create_task(limit.take((5,), Urgency.LOST_BOOK))
        await asyncio.sleep(0.1)
        assert not next_one.done(), "in the order of coming"
        given_up.cancel()
        assert await next_one == 0
        assert asyncio.get_running_loop().time() < 1001, "in the same window"

    run(main())


def test_others_at_the_address_take_from_the_total_not_from_our_share(
    run: Callable[[Any], Any],
) -> None:
    async def main() -> None:
        limit, loop = RequestLimit(LIMIT), asyncio.get_running_loop()
        started_s = loop.time()
        await limit.take((SHALLOW,), Urgency.LOST_BOOK)
        limit.learn_total(4000)
        await limit.take((SHALLOW, DEEP), Urgency.LOST_BOOK)
        assert loop.time() == started_s, "they use more than half: we still have our own"
        limit.learn_total(5399)
        await limit.take((SHALLOW,), Urgency.LOST_BOOK)
        assert loop.time() - started_s >= 60, "the limit is near: the next window"

    run(main())


def test_a_ban_tells_those_who_wait_and_those_who_come(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        limit = RequestLimit(LIMIT)
        await limit.take((3000,), Urgency.LOST_BOOK)
        waiting = asyncio.create_task(limit.take((5,), Urgency.LOST_BOOK))
        await asyncio.sleep(1.0)
        limit.leave_alone(120.0)
        for asked in (waiting, asyncio.create_task(limit.take((5,), Urgency.METADATA))):
            with pytest.raises(RestError) as refused:
                await asked
            assert 119 < refused.value.retry_after_s <= 120
        await asyncio.sleep(121.0)
        assert await limit.take((5,), Urgency.LOST_BOOK) == 0

    run(main())


def test_what_never_fits_is_refused_and_what_is_heavy_waits_for_a_window_of_its_own(
    run: Callable[[Any], Any],
) -> None:
    async def main() -> None:
        limit = RequestLimit(LIMIT)
        with pytest.raises(RestError, match="weight 3001"):
            await limit.take((3001,), Urgency.LOST_BOOK)
        await limit.take((5,), Urgency.LOST_BOOK)
        assert await limit.take((int(6000 * OWN_SHARE),), Urgency.AUDIT) == 0

    run(main())


def test_the_end_of_a_ban_is_read_from_the_message() -> None:
    text = "Way too much request weight used; IP banned until 1659146400000. Please use WebSocket."
    assert BINANCE.ban_end_ms({"code": -1003, "msg": text}) == 1659146400000
    others: tuple[object, ...] = (None, [], {}, {"msg": 5}, {"msg": "banned until tomorrow"})
    for other in others:
        assert BINANCE.ban_end_ms(other) is None
