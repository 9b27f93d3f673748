"""Recorded tapes replayed: verbatim, in order, and joined exactly by REST at any moment."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from net.simulator.options import SimulatorError, SimulatorOptions
from net.simulator.registry import simulated_venue
from net.simulator.tape import TapeBook, TapeClock, TapeFeed, heal
from net.simulator.tape_file import Depth, read_tape, scaled
from tests.net.simulator.reference import (
    BinanceBook,
    BitstampBook,
    Lab,
    closing,
    lab,
    pending,
    recorded,
    side,
    text,
)
from tests.net.simulator.tapes import lines, raw_frames, write_tape


def options(path: Path, speed: float, **more: Any) -> SimulatorOptions:
    return SimulatorOptions(tape=path, speed=speed, tape_start_delay_s=0.05, **more)


async def finished(here: Lab, base: str) -> None:
    async with asyncio.timeout(30):
        while not (await here.stats(base))["exhausted"]:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("pair", "speed"), [("btcusdt", 0.0), ("ethusdt", 250.0)])
def test_binance_tape_joins_exactly(pair: str, speed: float) -> None:
    path = recorded(f"binance-{pair}-20240808")
    symbol = pair.upper()
    channel = f"{pair}@depth@100ms"
    real = raw_frames(path, "binance", channel)
    (rest,) = [line for line in lines(path, "binance") if line["kind"] == "rest"]

    async def main() -> None:
        async with lab(options(path, speed)) as here:
            socket = await here.session.ws_connect(f"{here.binance}/stream?streams={channel}")
            url = f"{here.binance}/api/v3/depth?symbol={symbol}&limit=5000"
            asked = asyncio.create_task(here.session.get(url))
            book, late = BinanceBook(), BinanceBook()
            frames: list[str] = []
            while len(frames) < len(real):
                frames.append(await text(socket))
                event = json.loads(frames[-1])["data"]
                book.on_event(event)
                if asked.done() and not book.joined:
                    body = await (await asked).text()
                    assert body == rest["raw"], "the first answer is the recorded one"
                    assert book.on_snapshot(json.loads(body))
                if book.joined:
                    book.check()
                if len(frames) >= 600 and not late.joined:  # a second client, in the middle
                    late.on_event(event)
                    late.on_snapshot(await here.get(url))
                elif late.joined:
                    late.on_event(event)
            assert frames == real, "verbatim and in order"
            if not book.joined:
                assert book.on_snapshot(json.loads(await (await asked).text()))
            truth = await here.get(url)
            assert truth["lastUpdateId"] == book.last == json.loads(real[-1])["data"]["u"]
            for mine in (book, late):
                assert (mine.bids, mine.asks) == (side(truth["bids"]), side(truth["asks"]))

    asyncio.run(main())


def test_tickers_and_trades_go_to_their_subscribers_unwrapped_on_raw_connections(
    tmp_path: Path,
) -> None:
    whole = recorded("binance-btcusdt-20240808")
    path = write_tape(tmp_path / "start.gz", lines(whole, "binance")[:6000])
    real = {
        name: raw_frames(path, "binance", f"btcusdt@{name}") for name in ("trade", "bookTicker")
    }

    async def main() -> None:
        async with lab(options(path, 0.0)) as here:
            raw = await here.session.ws_connect(f"{here.binance}/ws/btcusdt@trade")
            combined = await here.session.ws_connect(
                f"{here.binance}/stream?streams=btcusdt@bookTicker"
            )
            tickers = [await text(combined) for _ in real["bookTicker"]]
            trades = [await text(raw) for _ in real["trade"]]
            assert len(tickers) > 3000 and tickers == real["bookTicker"]
            assert trades == [
                each[len('{"stream":"btcusdt@trade","data":') : -1] for each in real["trade"]
            ]

    asyncio.run(main())


@pytest.mark.parametrize("speed", [0.0, 200.0])
def test_the_three_venue_tape_starts_with_a_stale_book_then_joins(speed: float) -> None:
    path = recorded("three-venues-btcusd-20260809")
    real = raw_frames(path, "bitstamp", "diff_order_book")
    bodies = [line["raw"] for line in lines(path, "bitstamp") if line["kind"] == "rest"]

    async def main() -> None:
        async with lab(options(path, speed, rest_lag_max_s=0.2)) as here:
            socket = await here.session.ws_connect(here.bitstamp)
            await socket.send_json(
                {"event": "bts:subscribe", "data": {"channel": "diff_order_book_btcusd"}}
            )
            await text(socket)
            book, answers = BitstampBook(), 0
            frames: list[str] = []
            while len(frames) < len(real):
                frames.append(await text(socket))
                book.on_event(json.loads(frames[-1])["data"])
                if not book.joined:
                    answers += 1
                    url = f"{here.bitstamp}/api/v2/order_book/btcusd/?group=1&_={answers}"
                    async with here.session.get(url) as response:
                        body = await response.text()
                    if answers == 1:
                        assert body == bodies[0]
                        assert not book.on_snapshot(json.loads(body)), "older than the first diff"
                    else:
                        book.on_snapshot(json.loads(body))
                if book.joined:
                    book.check()
            assert frames == real and answers >= 2 and book.joined
            await finished(here, here.bitstamp)
            truth = await here.get(f"{here.bitstamp}/api/v2/order_book/btcusd/?_=end")
            assert (book.bids, book.asks) == (side(truth["bids"]), side(truth["asks"]))

    asyncio.run(main())


def test_the_healed_book_agrees_with_the_recorded_audits() -> None:
    """An audit was taken between two diffs: what differs, the next diff changes.

    One level of the second audit differs for another reason: it changed and changed back, or the
    exchange's own channels disagree.
    """
    tape = read_tape(recorded("three-venues-btcusd-20260809"))["bitstamp"]
    book = TapeFeed(simulated_venue("bitstamp"), tape, TapeClock(0.0, 0, 0.0)).tape_book("btcusd")
    audits = [line.depth for line in tape.lines if not line.channel][1:]
    unexplained = []
    for line in tape.lines:
        diff = line.depth
        if not line.channel or diff is None:
            continue
        audit = audits[0] if audits else None
        if audit is not None and diff.last > audit.last:
            assert book.book is not None
            for mine, theirs, changed in (
                (book.book.bids, audit.bids, diff.bids),
                (book.book.asks, audit.asks, diff.asks),
            ):
                there = {scaled(p, 2): scaled(q, 8) for p, q in theirs}
                next_prices = {scaled(p, 2) for p, _ in changed}
                unexplained += [
                    price
                    for price in mine.keys() | there.keys()
                    if mine.get(price) != there.get(price) and price not in next_prices
                ]
            audits.pop(0)
        book.on_diff(diff)
    assert not audits and len(unexplained) <= 1


def test_ten_pairs_at_once() -> None:
    path = recorded("bitstamp-ten-pairs-20210405")
    bodies = {
        line["path"].rsplit("/", 1)[1]: line["raw"]
        for line in lines(path, "bitstamp")
        if line["kind"] == "rest"
    }
    real = raw_frames(path, "bitstamp", '"diff_order_book_')
    assert len(bodies) == 10

    async def main() -> None:
        async with lab(options(path, 60.0)) as here:
            markets = {
                each["market_symbol"]: each
                for each in await here.get(f"{here.bitstamp}/api/v2/markets/")
            }
            assert set(markets) == set(bodies)
            for pair, decimals in (("linketh", 8), ("xlmeur", 5), ("btcusdc", 2)):
                assert markets[pair]["counter_decimals"] == decimals
            socket = await here.session.ws_connect(here.bitstamp)
            for pair in bodies:
                await socket.send_json(
                    {"event": "bts:subscribe", "data": {"channel": f"diff_order_book_{pair}"}}
                )
            for _ in bodies:
                assert "succeeded" in await text(socket)

            async def body(pair: str) -> str:
                url = f"{here.bitstamp}/api/v2/order_book/{pair}/?group=1&_=1"
                async with here.session.get(url) as response:
                    assert response.status == 200
                    return await response.text()

            asked = {pair: asyncio.create_task(body(pair)) for pair in bodies}
            books = {pair: BitstampBook() for pair in bodies}
            frames: list[str] = []
            while len(frames) < len(real):
                frames.append(await text(socket))
                frame = json.loads(frames[-1])
                pair = frame["channel"].removeprefix("diff_order_book_")
                books[pair].on_event(frame["data"])
                if asked[pair].done() and not books[pair].joined:
                    assert asked[pair].result() == bodies[pair]
                    assert books[pair].on_snapshot(json.loads(asked[pair].result()))
                if books[pair].joined:
                    books[pair].check()
            assert frames == real
            await finished(here, here.bitstamp)
            for pair, book in books.items():
                truth = await here.get(f"{here.bitstamp}/api/v2/order_book/{pair}/?_=end")
                assert book.joined, pair
                assert (book.bids, book.asks) == (side(truth["bids"]), side(truth["asks"])), pair

    asyncio.run(main())


def test_healing_takes_each_level_from_the_body_that_knows_it() -> None:
    stale = Depth(5, 5, [["10", "1"], ["9", "1"], ["8", "1"]], [["20", "1"]])
    diffs = [
        Depth(8, 8, [["9", "0"]], []),
        Depth(9, 9, [["7", "4"]], [["20", "6"]]),
        Depth(13, 13, [["10", "3"]], []),
    ]
    later = Depth(9, 9, [["10", "2"], ["7", "4"]], [["20", "6"], ["21", "1"]])
    healed = heal(stale, later, diffs)
    # 10 changed before the diffs began, 8 went then; 9 and 20 are as before their own diffs.
    assert sorted(healed.bids) == [["10", "2"], ["9", "1"]]
    assert sorted(healed.asks) == [["20", "1"], ["21", "1"]]
    book = TapeBook(0, gap_free=False)
    book.start_from(healed)
    for diff in diffs[:2]:
        book.on_diff(diff)
    assert book.book is not None
    assert book.book.sorted_bids() == [(10, 2 * 10**8), (7, 4 * 10**8)]
    assert book.book.sorted_asks() == [(20, 6 * 10**8), (21, 10**8)]


# -- a tape of one's own ---------------------------------------------------------------------------


def binance_rows(count: int, gap_ms: int = 100) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(count):
        frame = (
            f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{number},'
            f'"s":"BTCUSDT","U":{10 + number},"u":{10 + number},'
            f'"b":[["{100 + number % 5}.50000000","1.20000000"]],"a":[]}}}}'
        )
        rows.append(
            {"t": 10**18 + number * gap_ms * 10**6, "venue": "binance", "kind": "ws", "raw": frame}
        )
    body = '{"lastUpdateId":11,"bids":[["99.00000000","1.00000000"]],"asks":[["200.25","3"]]}'
    rows.insert(
        3,
        {
            "t": 10**18 + 2 * gap_ms * 10**6,
            "venue": "binance",
            "kind": "rest",
            "path": "/api/v3/depth?symbol=BTCUSDT&limit=1000",
            "raw": body,
        },
    )
    return rows


def test_pace_start_pause_and_the_first_answer_waits_for_its_time(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "t.gz", binance_rows(8))

    async def main() -> None:
        async with lab(options(path, 1.0)) as here:
            assert tomllib.loads(here.venues.configuration_toml())["instrument"][0] == {
                "symbol": "BTC-USD",
                "depth": 10,
                "venue": [{"name": "binance", "symbol": "BTCUSDT"}],
            }
            info = await here.get(f"{here.binance}/api/v3/exchangeInfo?symbol=BTCUSDT")
            assert info["symbols"][0]["filters"][0]["tickSize"] == "0.01000000"
            assert info["symbols"][0]["filters"][1]["stepSize"] == "0.10000000"
            await asyncio.sleep(0.3)
            socket = await here.session.ws_connect(f"{here.binance}/ws/other@depth")
            assert await pending(socket, 0.2) == []  # the clock has not started
            start_s = time.monotonic()
            await socket.send_json(
                {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1}
            )
            await text(socket)
            body = await here.get(f"{here.binance}/api/v3/depth?symbol=BTCUSDT")
            assert body["lastUpdateId"] == 11
            assert 0.2 < time.monotonic() - start_s < 0.6
            ids = [json.loads(await text(socket))["u"] for _ in range(4)]
            await here.control(here.binance, "pause")
            ids += [json.loads(each)["u"] for each in await pending(socket, 0.3)]
            assert len(ids) <= 6
            await here.control(here.binance, "resume")
            while len(ids) < 8:
                ids.append(json.loads(await text(socket))["u"])
            assert ids == list(range(10, 18))
            assert time.monotonic() - start_s > 0.05 + 0.7 + 0.3 - 0.05
            assert await pending(socket, 0.2) == []  # at the end: open and silent
            assert not socket.closed

    asyncio.run(main())


def test_the_end_can_close(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "t.gz", binance_rows(3, gap_ms=10))

    async def main() -> None:
        async with lab(options(path, 1.0, close_at_tape_end=True)) as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws/btcusdt@depth@100ms")
            frames = [json.loads(await text(socket))["u"] for _ in range(3)]
            assert frames == [10, 11, 12] and await closing(socket) == 1000

    asyncio.run(main())


def test_a_raw_recording_is_wrapped_for_combined_clients(tmp_path: Path) -> None:
    rows = [
        row | {"raw": row["raw"][row["raw"].index('"data":') + 7 : -1]}
        if row["kind"] == "ws"
        else row
        for row in binance_rows(3, gap_ms=10)
    ]
    path = write_tape(tmp_path / "t.gz", rows)

    async def main() -> None:
        async with lab(options(path, 1.0)) as here:
            name = "btcusdt@depth@100ms"
            socket = await here.session.ws_connect(f"{here.binance}/stream?streams={name}")
            assert await text(socket) == f'{{"stream":"{name}","data":{rows[0]["raw"]}}}'

    asyncio.run(main())


def test_a_recorded_gap_loses_the_book_until_the_next_body(tmp_path: Path) -> None:
    rows = binance_rows(8, gap_ms=1)
    del rows[5]
    path = write_tape(tmp_path / "t.gz", rows)

    async def main() -> None:
        async with lab(options(path, 0.0)) as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws/btcusdt@depth@100ms")
            assert len(await pending(socket)) == 7
            url = f"{here.binance}/api/v3/depth?symbol=BTCUSDT"
            assert (await here.get(url))["lastUpdateId"] == 11  # the recorded one, once
            async with here.session.get(url) as response:
                assert response.status == 503

    asyncio.run(main())


GOOD = {"t": 5, "venue": "binance", "kind": "ws", "raw": "{}"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{nonsense", ""),
        ("[]", "not an object"),
        ({"t": 5}, "no field 'kind'"),
        ({"t": 5, "kind": "ws"}, "no field 'venue'"),
        (GOOD | {"t": -1}, "bad time"),
        (GOOD | {"venue": 5}, "bad venue"),
        (GOOD | {"raw": "{"}, ""),
        (GOOD | {"raw": "[]"}, "the frame is not an object"),
        (GOOD | {"kind": "rest"}, "no field 'path'"),
        (
            GOOD | {"raw": '{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[["x","1"]],"a":[]}'},
            "bad number 'x'",
        ),
        (
            GOOD | {"raw": '{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[["1"]],"a":[]}'},
            "levels are not pairs of strings",
        ),
        (
            GOOD | {"raw": '{"e":"depthUpdate","s":"BTCUSDT","U":-1,"u":2,"b":[],"a":[]}'},
            "bad update id",
        ),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, row: Any, reason: str) -> None:
    path = write_tape(tmp_path / "bad.gz", [*binance_rows(2), row])
    with pytest.raises(SimulatorError) as caught:
        read_tape(path)
    assert f"bad.gz:4: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    rows = binance_rows(8)
    other = [{"t": 1, "kind": "lost", "venue": "binance"}, {"t": 1, "kind": "x"}]
    tapes = [read_tape(write_tape(tmp_path / f"{n}.gz", n * other + rows)) for n in range(2)]
    assert tapes[0] == tapes[1]


def test_unreadable_tapes_are_named(tmp_path: Path) -> None:
    whole = write_tape(tmp_path / "whole.gz", binance_rows(200))
    (tmp_path / "cut.gz").write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "plain.gz").write_text("{}")
    write_tape(tmp_path / "empty.gz", [])
    with gzip.open(tmp_path / "alien.gz", "wt") as file:
        file.write('{"t":1,"venue":"kraken","kind":"ws","raw":"anything"}\n')
    for name in ("missing.gz", "cut.gz", "plain.gz", "empty.gz", "alien.gz"):
        with pytest.raises(SimulatorError, match=name):
            read_tape(tmp_path / name)


def test_scaled() -> None:
    for value, decimals, ticks in (
        ("61837.63000000", 2, 6183763),
        ("0.00001427", 8, 1427),
        ("7", 2, 700),
        ("0.10", 1, 1),
        ("100.000", 0, 100),
    ):
        assert scaled(value, decimals) == ticks
