"""The language of faults, their seeds, the control endpoint and the command line.

What a daemon makes of them is in tests/faults.
"""

from __future__ import annotations

import asyncio
import json
import struct

import aiohttp
import orjson
import pytest
from click.testing import CliRunner

from net.simulator.connection import Interceptor, Raw
from net.simulator.faults import FAULTS, GRAMMAR, describe_faults, read_order
from net.simulator.flow import generator
from net.simulator.mutations import BookFrame, is_book_frame
from net.simulator.options import SimulatorError, SimulatorOptions
from net.simulator.registry import NAMES, VENUES, simulated_venue
from net.simulator.venues import SimulatedVenues
from pollux import command_group
from tests.net.simulator.reference import closing, lab, pending, text

DEPTH = "btcusdt@depth@100ms"
BINANCE_FRAME = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":5,"u":9,'
    '"b":[["61837.63000000","3.78826000"]],"a":[["61837.64000000","0.00000000"]]}}'
)
BITSTAMP_FRAME = (
    '{"data":{"timestamp":"1","microtimestamp":"1000005","bids":[["61837.63","3.78826000"]],'
    '"asks":[]},"channel":"diff_order_book_btcusd","event":"data"}'
)


# --- the language --------------------------------------------------------------------------------


def test_an_order_says_what_where_when_and_how_often() -> None:
    order = read_order("delay=250:bitstamp@1.5x3")
    assert (order.fault.name, order.value, order.venues) == ("delay", 250, ("bitstamp",))
    assert (order.at_s, order.times, order.for_s) == (1.5, 3, 0.0)
    order = read_order("http-429/4")
    assert (order.value, order.venues, order.for_s) == (1, NAMES, 4.0)
    assert read_order("gap").venues[0] == "binance" and "bitstamp" not in read_order("gap").venues


GAPS = " or ".join(read_order("gap").venues)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("", f"fault '': expected {GRAMMAR}"),
        ("drop:binance:bitstamp", f"fault 'drop:binance:bitstamp': expected {GRAMMAR}"),
        ("dorp", f"fault 'dorp': unknown 'dorp'; known: {', '.join(FAULTS)}"),
        ("drop=3", "fault 'drop=3': drop takes no value"),
        ("reset:x", f"fault 'reset:x': reset is a fault of {' or '.join(NAMES)}, not 'x'"),
        ("gap:bitstamp", f"fault 'gap:bitstamp': gap is a fault of {GAPS}, not 'bitstamp'"),
        ("drop@1.2.3", "fault 'drop@1.2.3': time '1.2.3' is not a number"),
        ("drop@99999", "fault 'drop@99999': time 99999 is not in 0..86400"),
        ("delay=e", "fault 'delay=e': ms 'e' is not a number"),
        ("dropx0", "fault 'dropx0': would never strike"),
        ("drop/0", "fault 'drop/0': would never strike"),
        ("dropx9999999", "fault 'dropx9999999': times 9999999 is not in 0..1e+06"),
    ],
)  # fmt: skip
def test_a_bad_order_is_refused_in_words(order: str, message: str) -> None:
    with pytest.raises(SimulatorError) as caught:
        read_order(order)
    assert str(caught.value) == message


def test_the_list_names_every_fault_and_the_command_line_prints_it() -> None:
    listed = describe_faults()
    done = CliRunner().invoke(command_group(), ["simulate", "--list-faults"])
    assert done.exit_code == 0 and done.output == f"{listed}\n"
    for fault in FAULTS.values():
        assert any(line.startswith(fault.name) for line in listed.splitlines())


def test_orders_are_checked_before_anything_listens() -> None:
    with pytest.raises(SimulatorError, match="unknown 'dorp'"):
        SimulatedVenues(SimulatorOptions(faults=("dorp",)))
    with pytest.raises(SimulatorError, match="needs venues that serve TLS"):
        SimulatedVenues(SimulatorOptions(faults=("tls",)))
    with pytest.raises(SimulatorError, match="own interceptor"):
        SimulatedVenues(SimulatorOptions(faults=("drop",)), Interceptor())


# --- what they do to a frame ---------------------------------------------------------------------


def mutated(name: str, frame: str, seed: int = 1) -> list[str | Raw]:
    mutation = FAULTS[name].mutation
    assert mutation is not None
    forms = [simulated_venue(venue).form for venue in VENUES]
    (form,) = [each for each in forms if is_book_frame(each, frame)]
    return list(mutation(BookFrame(form, frame), FAULTS[name].value, generator(seed, "test")))


@pytest.mark.parametrize("frame", [BINANCE_FRAME, BITSTAMP_FRAME], ids=["binance", "bitstamp"])
def test_other_words_mean_the_same(frame: str) -> None:
    for name in ("reordered-keys", "whitespace"):
        (said,) = mutated(name, frame)
        assert isinstance(said, str) and said != frame and json.loads(said) == json.loads(frame)
    for name in ("extra-keys", "escapes", "huge"):
        (said,) = mutated(name, frame)
        assert isinstance(said, str)
        told, meant = orjson.loads(said), orjson.loads(frame)
        assert {**told["data"], **meant["data"]} == told["data"], name
        assert all(key in told for key in meant)


def test_a_venue_whose_clock_is_behind_sends_the_same_book() -> None:
    (said,) = mutated("venue-clock", BINANCE_FRAME)
    assert isinstance(said, str)
    told, meant = orjson.loads(said), orjson.loads(BINANCE_FRAME)
    assert told["data"].pop("E") == meant["data"].pop("E") - 1500 and told == meant


@pytest.mark.parametrize("seed", range(20))
def test_fragments_are_the_frame_in_pieces(seed: int) -> None:
    payload, opcodes = b"", []
    for piece in mutated("fragments", BINANCE_FRAME, seed):
        assert isinstance(piece, Raw)
        head, size = piece.data[0], piece.data[1]
        at = 2
        if size == 126:
            (size,), at = struct.unpack_from("!H", piece.data, 2), 4
        assert len(piece.data) == at + size
        payload += piece.data[at:]
        opcodes.append(head)
    assert payload == BINANCE_FRAME.encode()
    assert opcodes == [0x01, 0, 0, 0, 0x80]


def test_the_same_seed_draws_the_same_nonsense_and_another_does_not() -> None:
    for name in ("garbage", "wrong-types", "truncated-json", "fragments", "reordered-keys"):
        one = [mutated(name, BINANCE_FRAME, seed) for seed in range(8)]
        assert one == [mutated(name, BINANCE_FRAME, seed) for seed in range(8)]
        assert len({repr(each) for each in one}) > 1


# --- on the wire ---------------------------------------------------------------------------------


async def inflict(session: aiohttp.ClientSession, base: str, *orders: str) -> object:
    url = f"{base}/simulator/fault"
    async with session.post(url, params=[("order", order) for order in orders]) as answer:
        return await answer.json()


def test_the_control_endpoint_arms_and_calms() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            await text(socket)
            answer = await inflict(here.session, here.bitstamp, "duplicate:binancex2", "drop@60")
            assert answer == {"armed": ["duplicate:binancex2", "drop@60"]}
            frames = [await text(socket) for _ in range(5)]
            assert len(set(frames)) == 3
            assert (await here.stats(here.binance))["faults"] == {"duplicate": 2}
            assert (await here.stats(here.bitstamp))["faults"] == {}
            bad = await inflict(here.session, here.binance, "dorp")
            assert isinstance(bad, dict) and bad["error"].startswith("fault 'dorp': unknown")
            await inflict(here.session, here.binance, "drop/60")
            await pending(socket, 0.1)
            assert await pending(socket, 0.4) == []
            await here.control(here.binance, "calm")
            await text(socket)

    asyncio.run(main())


def test_orders_of_the_start_wait_for_their_time() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(faults=("close=1001:binance@0.6",))) as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws/{DEPTH}")
            assert len(await pending(socket, 0.35)) >= 2
            assert await closing(socket) == 1001

    asyncio.run(main())


def test_rest_faults_strike_so_often_and_no_more() -> None:
    depth = "/api/v3/depth?symbol=BTCUSDT"

    async def main() -> None:
        async with lab() as here:
            first = await here.get(here.binance + depth)
            await inflict(here.session, here.binance, "http-429=7:binance", "snapshot-empty")
            async with here.session.get(here.binance + depth) as answer:
                assert answer.status == 429 and answer.headers["Retry-After"] == "7"
            emptied = await here.get(here.binance + depth)
            assert emptied["bids"] == emptied["asks"] == []
            whole = await here.get(here.binance + depth)
            assert whole["bids"] and whole["lastUpdateId"] >= first["lastUpdateId"]
            await inflict(here.session, here.binance, "truncated-body:binance")
            with pytest.raises(aiohttp.ClientPayloadError):
                await here.get(here.binance + depth)

    asyncio.run(main())
