"""The market maker's side of the main thread: what it reads at the start, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.engine import Engine
from engine.maker import journal_codes as J
from engine.maker.state_board import open_boards
from net.config.schema import Config, ConfigError, parse_config
from net.daemon.maker_supervisor import MakerSupervisor
from net.daemon.tick_sizes import known_part
from net.feed.specs import instrument_specs
from net.journal.files import segment_path
from net.journal.ledger import Account, Holding, Ledger, Result, read_ledger
from net.journal.reader import JournalReader
from net.journal.writer import JournalWriter
from net.maker.maker import Maker
from net.maker.makers import Makers
from tests.net.maker import test_makers as several
from tests.net.maker.test_build import CONFIG
from tests.trading.setup import draw_markets, new_engine

pytestmark = pytest.mark.kernel

SYMBOL = "BTC-USD"


def config_of(orders: str, folder: Path) -> Config:
    return parse_config(CONFIG.format(orders=orders, more=f'journal = "{folder}"'), "test")


def supervisor_of(config: Config) -> tuple[MakerSupervisor, list[str]]:
    told: list[str] = []
    return MakerSupervisor(config, lambda _level, what, **_facts: told.append(what)), told


def test_a_run_begins_with_all_that_the_journal_remembers(tmp_path: Path) -> None:
    """Issue 14.1: also of a venue and of a mode that this run does not use."""
    swapped = Account(True, "bitstamp", "btcusdt")
    ledger = Ledger()
    journal = JournalWriter(tmp_path, ["OLD"], ["bitstamp"], 1, 1_000, markets=[swapped.market])
    ledger.begin(journal.header, journal.append)
    ledger.set_holding(swapped, Holding(3, 1, True, 0))
    ledger.set_result((True, "OLD"), Result(1, 8, 5, 1, 20_000, 0, J.REASON_NONE))
    journal.close(2)
    supervisor, _ = supervisor_of(config_of("paper", tmp_path))
    supervisor.open()
    supervisor.close()
    read = read_ledger(tmp_path)
    assert read.holdings == {swapped: Holding(3, 1, True, 0)}
    assert set(read.results) == {(True, "OLD")}


def test_a_missing_key_is_one_line_that_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POLLUX_BINANCE_API_KEY", raising=False)
    supervisor, _ = supervisor_of(config_of("live", tmp_path / "journal"))
    with pytest.raises(ConfigError, match="POLLUX_BINANCE_API_KEY"):
        supervisor.open()
    assert not (tmp_path / "journal").exists(), "nothing is begun without a key"


def test_a_start_tells_of_a_missing_segment(tmp_path: Path) -> None:
    for _ in range(3):
        supervisor, told = supervisor_of(config_of("paper", tmp_path))
        supervisor.open()
        supervisor.close()
    assert told == []
    segment_path(tmp_path, 2).unlink()
    supervisor, told = supervisor_of(config_of("paper", tmp_path))
    supervisor.open()
    supervisor.close()
    assert told == ["the journal lacks segments: its last checkpoint needs none"]


def test_what_is_no_folder_and_a_kill_file_that_is_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        supervisor, _ = supervisor_of(config_of("paper", folder))
        with pytest.raises(ConfigError, match=rf"^maker\.journal: {folder}: is no folder"):
            supervisor.open()
    more = f'journal = "{tmp_path / "journal"}"\nkill_file = "{tmp_path}"'
    config = parse_config(CONFIG.format(orders="paper", more=more), "test")
    supervisor, _ = supervisor_of(config)
    with pytest.raises(ConfigError, match=rf"^maker\.kill_file: {tmp_path} is a folder"):
        supervisor.open()
    assert not (tmp_path / "journal").exists()


def test_a_journal_that_another_writer_has_is_refused(tmp_path: Path) -> None:
    first, _ = supervisor_of(config_of("paper", tmp_path))
    second, _ = supervisor_of(config_of("paper", tmp_path))
    first.open()
    try:
        with pytest.raises(ConfigError, match=r"maker\.journal: .*another journal"):
            second.open()
    finally:
        first.close()
    second.open()
    second.close()


class Steered:
    """The engine thread's side: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def steer_makers(self, act: Callable[[Maker, int], None]) -> None:
        self.told.append(("steer", act))

    def kill_makers(self, reason: int) -> None:
        self.told.append(("kill", reason))

    def block_makers(self, is_blocked: bool) -> None:
        self.told.append(("block", is_blocked))

    def guard_makers(self, is_guarded: bool) -> None:
        self.told.append(("guard", is_guarded))


def test_there_is_no_market_maker_before_every_market_is_known(tmp_path: Path) -> None:
    config = config_of("paper", tmp_path)
    supervisor, told = supervisor_of(config)
    supervisor.open()
    markets, _ = draw_markets(random.Random(1))
    engine = new_engine(markets)
    try:
        assert supervisor.make_makers(config, engine) is None
        supervisor.add_market("binance", markets[0])
        assert supervisor.make_makers(config, engine) is None
        supervisor.add_market("bitstamp", replace(markets[1], is_trading=False))
        assert told == ["not quoting yet: markets unknown"] * 2 + ["the market does not trade now"]
        ticks = {("binance", "BTCUSDT"): "0.01", ("bitstamp", "btcusd"): "1"}
        half = known_part(config, {("binance", "BTCUSDT"): "0.01"})
        assert half is not None and supervisor.make_makers(half, engine) is None
        served = known_part(config, ticks, dict.fromkeys(ticks, "1"))
        assert served is not None
        makers = supervisor.make_makers(served, engine)
        assert makers is not None and makers.all[0].is_guarded, "paper orders need no watchdog"
        assert told[-1] == "market maker"
        makers.close()
    finally:
        engine.close()
        supervisor.close()


def test_each_of_several_is_there_once_its_markets_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live ones get connections and the watchdog, one on paper gets neither."""
    for name in ("API_KEY", "SECRET"):
        monkeypatch.setenv(f"POLLUX_BINANCE_{name}", "k" * 20)
    live = several.config_of("live")
    paper = live.maker[1].model_copy(update={"orders": "paper"})
    name = f"supervisor-{os.getpid()}"
    config = live.model_copy(
        update={
            "maker": (live.maker[0], paper),
            "makers": live.makers.model_copy(update={"journal": str(tmp_path)}),
            "engine": live.engine.model_copy(update={"name": name}),
        }
    )
    supervisor, told = supervisor_of(config)
    supervisor.open()
    engine = Engine(instrument_specs(config, several.TICKS), window_slots=1 << 12)

    async def main() -> None:
        supervisor.add_market("binance", several.market("ETH"))
        (alone,) = made(supervisor.make_makers(config, engine))
        assert alone.symbol == "ETH-USD" and told.count("not quoting yet: markets unknown") == 1
        assert [each.info.symbol for each in open_boards(name)] == ["ETH-USD"]
        alone.board.close()
        supervisor.add_market("binance", several.market("BTC"))
        first, second = made(supervisor.make_makers(config, engine))
        assert [each.info.symbol for each in open_boards(name)] == ["BTC-USD", "ETH-USD"]
        assert (first.is_guarded, second.is_guarded) == (False, True)
        assert first.epoch == second.epoch
        for maker in (first, second):
            maker.on_timer(several.NOW_NS)
            maker.halts.kill(J.REASON_OPERATOR, several.NOW_NS)
            maker.board.close()

    try:
        asyncio.run(main())
    finally:
        supervisor.close()
        engine.close()
    with contextlib.closing(JournalReader(tmp_path)) as reader:
        records = [record for batch in reader.read() for record in batch]
        assert reader.header.instruments == ("BTC-USD", "ETH-USD")
    kills = [record.instrument for record in records if record.kind == J.EVENT_KILL]
    assert kills == [0, 1]


def made(makers: Makers | None) -> tuple[Maker, ...]:
    assert makers is not None
    return makers.all


NO_MAKERS: Any = SimpleNamespace(all=())


def test_a_kill_file_kills_and_blocks_until_it_is_gone(tmp_path: Path) -> None:
    kill_file = tmp_path / "kill"
    text = CONFIG.format(orders="paper", more=f'journal = "{tmp_path}"\nkill_file = "{kill_file}"')
    supervisor, _ = supervisor_of(parse_config(text, "test"))
    supervisor.open()
    steered = Steered()

    async def until(count: int) -> None:
        while len(steered.told) < count:
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with asyncio.timeout(10), supervisor.attending(NO_MAKERS, steered):
            kill_file.touch()
            await until(2)
            kill_file.unlink()
            await until(3)

    try:
        asyncio.run(main())
    finally:
        supervisor.close()
    assert steered.told == [("block", True), ("kill", J.REASON_OPERATOR), ("block", False)]
