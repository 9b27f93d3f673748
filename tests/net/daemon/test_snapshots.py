"""Snapshots asked for from the engine thread: fetched over a real socket, decoded, handed back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from aiohttp import web

from engine.engine import Stage
from engine.layout import status as S
from net.daemon.snapshots import Snapshots
from net.feed.rest_limit import Urgency
from net.feed.snapshot_request import SnapshotRequest
from tests.net.daemon.rig import Told, config, venue_clients
from tests.net.rig import ASKS, BIDS, Desk, snapshot
from tuning.clock import wall_ns

pytestmark = pytest.mark.kernel

LIMIT_S = 10.0
LOST = SnapshotRequest(feed=0, number=7, is_audit=False)
AUDIT = SnapshotRequest(feed=0, number=8, is_audit=True)
BODY = snapshot("binance", 100, BIDS, ASKS)


class Receiver:
    """A live engine's side: keeps what it is given."""

    def __init__(self) -> None:
        self.engine = Desk().engine
        self.given: list[tuple[int, object, object]] = []
        self.sent: list[SnapshotRequest] = []
        self.depths: list[int] = []
        self.is_given = asyncio.Event()

    def snapshot_sent(self, request: SnapshotRequest) -> None:
        self.sent.append(request)

    def snapshot(self, request: SnapshotRequest, stage: Stage, depth: int) -> None:
        self.depths.append(depth)
        is_whole = stage.status == S.APPLIED
        found = (stage.last_id, stage.levels) if is_whole else (S.TEXTS[stage.status], 0.0)
        self._give(request.number, *found)

    def snapshot_failed(self, request: SnapshotRequest, reason: str, retry_after_s: float) -> None:
        self._give(request.number, reason, retry_after_s)

    def _give(self, *given: object) -> None:
        self.given.append(given)  # type: ignore[arg-type]
        self.is_given.set()


def ask(answer: Callable[[], web.Response]) -> tuple[Told, tuple[int, object, object]]:
    """`ask_of` a venue that answers everything alike."""
    return ask_of(lambda _path: answer())


def ask_of(answer: Callable[[str], web.Response]) -> tuple[Told, tuple[int, object, object]]:
    """Request one of Binance from another thread, as the engine's does; what comes of it."""
    told = Told()

    async def main() -> tuple[int, object, object]:
        receiver = Receiver()
        async with venue_clients(answer) as clients:
            snapshots = Snapshots(config(), clients, told.record, receiver)
            request = threading.Thread(target=snapshots.request, args=(LOST,))
            request.start()
            await asyncio.wait_for(receiver.is_given.wait(), LIMIT_S)
            request.join()
        (given,) = receiver.given
        return given

    return told, asyncio.run(main())


def test_a_snapshot_is_recorded_decoded_and_handed_back() -> None:
    told, given = ask(lambda: web.Response(body=BODY))
    assert given == (LOST.number, 100, (len(BIDS), len(ASKS)))
    ((venue, path, body),) = told.recorded
    assert (venue, body) == ("binance", BODY) and "symbol=BTCUSDT" in path


def test_a_refusal_says_how_long_the_venue_wants_to_be_left_alone() -> None:
    told, given = ask(lambda: web.Response(status=429, headers={"Retry-After": "7"}))
    assert given == (LOST.number, "HTTP 429 Too Many Requests", 7.0)
    assert told.recorded == []


def test_a_body_that_is_no_book_is_recorded_and_refused() -> None:
    told, given = ask(lambda: web.Response(body=b'{"lastUpdateId":1'))
    assert given[0] == LOST.number and given[1] in S.TEXTS.values() and given[2] == 0.0
    assert len(told.recorded) == 1


def test_a_redirection_is_refused_and_where_it_leads_is_never_asked() -> None:
    """Issue 13.7. Seen: 302 to another host, whose poisoned snapshot was published LIVE."""
    asked: list[str] = []

    def answer(path: str) -> web.Response:
        asked.append(path)
        if path == "/poisoned":
            return web.Response(body=BODY)
        return web.Response(status=302, headers={"Location": "/poisoned"})

    _, given = ask_of(answer)
    assert "sent to /poisoned, and redirections are not followed" in str(given[1])
    assert len(asked) == 1 and asked[0].startswith("/api/v3/depth")


def test_an_endless_location_is_bounded() -> None:
    """Issue 13.7. Seen: 4,340 characters in a line where 300 are promised."""
    far = "http://" + "x" * 4000
    _, given = ask(lambda: web.Response(status=301, headers={"Location": far}))
    assert len(str(given[1])) < 450


def test_a_bans_end_is_read_from_the_message_where_no_header_has_it() -> None:
    """Issue 13.5: Binance's 418 without Retry-After."""
    end_ms = wall_ns() // 1_000_000 + 90_000
    body = f'{{"code":-1003,"msg":"Way too much request weight used; IP banned until {end_ms}."}}'
    _, given = ask(lambda: web.Response(status=418, body=body.encode()))
    assert isinstance(given[2], float) and 85 < given[2] <= 90


def test_a_lost_book_is_had_at_the_depth_that_is_wanted_where_the_limit_allows_it() -> None:
    async def main() -> None:
        receiver = Receiver()
        async with venue_clients(lambda _path: web.Response(body=BODY)) as clients:
            snapshots = Snapshots(config(), clients, Told().record, receiver)
            for request in (LOST, AUDIT):
                receiver.is_given.clear()
                snapshots.request(request)
                await asyncio.wait_for(receiver.is_given.wait(), LIMIT_S)
            assert receiver.depths == [1000, 1000]
            limit = clients["binance"]._limit
            await limit.take((2980 - limit._own_weight,), Urgency.METADATA)
            receiver.is_given.clear()
            snapshots.request(LOST)
            await asyncio.wait_for(receiver.is_given.wait(), LIMIT_S)
            assert receiver.depths[-1] == 100, "little is left of this minute"

    asyncio.run(main())


def test_a_feed_has_one_request_and_it_is_cancelled_when_it_is_given_up() -> None:
    """Issue 13.5: an answer of a request that was given up is never handed back."""

    async def main() -> None:
        receiver, asked = Receiver(), asyncio.Event()
        may_answer = asyncio.Event()

        async def slow(request: web.Request) -> web.Response:
            asked.set()
            await may_answer.wait()
            return web.Response(body=BODY)

        async with venue_clients(slow) as clients:
            snapshots = Snapshots(config(), clients, Told().record, receiver)
            snapshots.request(LOST)
            await asyncio.wait_for(asked.wait(), LIMIT_S)
            asked.clear()
            snapshots.request(LOST._replace(number=9))
            await asyncio.wait_for(asked.wait(), LIMIT_S)
            assert len(snapshots._tasks) == 1
            may_answer.set()
            await asyncio.wait_for(receiver.is_given.wait(), LIMIT_S)
            assert [number for number, *_ in receiver.given] == [9]
            snapshots.request(LOST._replace(number=10))
            snapshots.cancel(0)
            await asyncio.sleep(0.1)
            assert [number for number, *_ in receiver.given] == [9] and not snapshots._tasks

    asyncio.run(main())


def test_after_the_end_nothing_is_fetched() -> None:
    asked: list[str] = []

    def answer(path: str) -> web.Response:
        asked.append(path)
        return web.Response(body=BODY)

    async def main() -> None:
        receiver = Receiver()
        async with venue_clients(answer) as clients:
            snapshots = Snapshots(config(), clients, Told().record, receiver)
            snapshots.request(LOST)
            snapshots.close()
            await asyncio.sleep(0.1)
        assert asked == [] and receiver.given == []

    asyncio.run(main())
