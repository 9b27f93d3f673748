"""The wall clock is set, either way, in every state of an engine: no reader of heartbeats minds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from engine.compiling.jit import compile_kernels
from engine.layout import layout as L
from engine.maker import state_board_layout as B
from engine.sharing.handoff import HandoffReader, write_word
from net.gateway.counters import GatewayCounters, open_counters
from net.gateway.data_path.data_path import DataPath
from net.gateway.data_path.layout import Sizes
from net.gateway.hub import Hub, engine_trouble
from net.gateway.options import GatewayOptions
from net.observe.stat.read import Stat, read_stat
from tests.net.gateway.maker_engine import MakerEngine
from tests.net.gateway.rig import Engine, ladder
from tuning.clock import Moment, steady_ns, wall_ns

S = 10**9
STEPS_S = (-86_400, -3_600, -30, 30, 3_600, 86_400)
SILENT_NS = 6 * S


def beats(engine: Engine) -> None:
    engine.beat()


def is_silent(engine: Engine) -> None:
    engine.writer.beat(steady_ns() - SILENT_NS)


def has_stopped(engine: Engine) -> None:
    engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)


def is_of_an_earlier_boot(engine: Engine) -> None:
    engine.writer.beat(steady_ns() + 86_400 * S)


STATES: dict[str, tuple[Callable[[Engine], None], str | None]] = {
    "beats": (beats, None),
    "is silent": (is_silent, "no sign of life for 6."),
    "has stopped": (has_stopped, "stopped"),
    "is of an earlier boot": (is_of_an_earlier_boot, "no sign of life for 86"),
}
"""What the engine does, and what is said of it whatever the wall clock says."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    compile_kernels()
    writer = Engine()
    writer.publish(*ladder(9_999))
    yield writer
    writer.close()


def is_as(told: str | None, wanted: str | None) -> bool:
    return told is None if wanted is None else told is not None and wanted in told


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("state", STATES)
def test_no_reader_of_an_engine_minds_a_set_wall_clock(
    engine: Engine, state: str, step_s: int
) -> None:
    """Issue 13.1. Seen: +30 s: every running stream ended "no sign of life for 30.0 s"."""
    act, wanted = STATES[state]
    act(engine)
    reader, options = HandoffReader.attach(engine.name), GatewayOptions(engine.name)
    counters = GatewayCounters()
    hub = Hub(reader, options, counters, DataPath(reader, Sizes(2, 1, 1), counters))
    assert is_as(hub.trouble, wanted)
    assert is_as(engine_trouble(reader, steady_ns(), 5_000), wanted)
    stat = read_stat(engine.name, Moment(wall_ns() + step_s * S, steady_ns()))
    assert is_as(stat.trouble, wanted), stat.trouble
    if wanted is None:
        assert age_ns(stat) < 5 * S


def age_ns(stat: Stat) -> int:
    age = stat.facts()["heartbeat_age_ns"]
    assert isinstance(age, int)
    return age


@pytest.mark.parametrize("step_s", STEPS_S)
def test_no_reader_of_a_gateway_or_a_market_maker_minds(engine: Engine, step_s: int) -> None:
    begun_ns = steady_ns()
    counters = open_counters(GatewayOptions(engine.name), begun_ns)
    maker = MakerEngine(engine.name)
    row_at = counters.table.enter("127.0.0.1:1", "BTC-USD", begun_ns - 12 * S)
    try:
        for silent_ns, is_well in ((0, True), (SILENT_NS, False)):
            counters.beat(begun_ns - silent_ns)
            write_word(maker.writer.words, B.HEARTBEAT_NS, begun_ns - silent_ns)
            moment = Moment(wall_ns() + step_s * S, begun_ns + S)
            stat = read_stat(engine.name, moment)
            assert stat.gateway is not None and (stat.gateway.trouble is None) == is_well
            assert (stat.maker_trouble is None) == is_well
            (row,) = stat.gateway.subscribers
            assert moment.wall_ns - row.since_ns == 13 * S, "for so long, whatever time it is"
    finally:
        counters.table.leave(row_at)
        counters.close()
        maker.close()
