"""Perpetual swaps: quantities are contracts, and are told in the base asset, exactly."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest

from engine.book.checksum import TEXT_LEVELS
from engine.sharing import meter_layout as M
from net.config.schema import ConfigError, parse_config
from net.replay.replay import Replay
from net.tape.tape import TapeLine
from net.venues.interface import Listing, MarketStatus, MetadataError
from net.venues.okx.market_data import OKX, OKX_SWAP
from tests.net.venues import tape_rig
from tests.net.venues.okx.test_tape import TICK_BY_TICK, is_update

pytestmark = pytest.mark.kernel

SWAP = "XMR-USDT-SWAP"
CONFIG = f"""
[[instrument]]
symbol = "XMR-USD"
depth = 50
[[instrument.venue]]
name = "okx-swap"
symbol = "{SWAP}"
tick_size = "0.01"
contract_value = "{{}}"
[venue.okx-swap]
late_after_ms = 0
"""
INSTRUMENT = {
    "instId": SWAP, "tickSz": "0.01", "lotSz": "1", "state": "live",
    "ctVal": "0.1", "ctMult": "1", "ctType": "linear",
}  # fmt: skip


def listing(**changes: str) -> Listing:
    return OKX_SWAP.listing({"code": "0", "data": [{**INSTRUMENT, **changes}]}, SWAP)


def test_a_contracts_value_is_its_value_times_its_multiplier() -> None:
    assert listing() == Listing("0.01", "1", MarketStatus.TRADING, "0.1")
    assert listing(ctVal="0.01", ctMult="25").contract_value == "0.25"
    assert listing(state="suspend").status is MarketStatus.HALTED
    assert listing(state="preopen").status is MarketStatus.PRE_OPEN
    with pytest.raises(MetadataError, match="quote currency"):
        listing(ctType="inverse")
    spot = {"instId": "BTC-USDT", "tickSz": "0.1", "lotSz": "0.00000001", "ctVal": ""}
    assert OKX.listing({"data": [spot]}, "BTC-USDT").contract_value == "1"


def lines_of() -> list[TapeLine]:
    """The recorded swap, under the name that swaps have here."""
    lines = tape_rig.lines_of(TICK_BY_TICK, "okx")
    mine = [line for line in lines if SWAP.encode() in line.raw and line.kind == "ws"]
    return [TapeLine(line.t_ns, "okx-swap", line.kind, line.raw) for line in mine]


@pytest.mark.parametrize("value", ["0.1", "0.25", "100", "1", "0.000000025"])
def test_a_recorded_swap_is_told_in_the_base_asset_and_its_checksums_hold(value: str) -> None:
    shown: list[dict[str, object]] = []
    config = parse_config(CONFIG.format(value), "test")
    replay = Replay(config, {("okx-swap", SWAP): "0.01"}, shown.append)
    contracts: list[dict[Decimal, Decimal]] = [{}, {}]
    books = 0
    for line in lines_of():
        message = orjson.loads(line.raw)
        replay.step(line)
        if "action" not in message:
            continue
        books += 1
        for side, key in zip(contracts, ("bids", "asks"), strict=True):
            for price, size, _, _ in message["data"][0][key]:
                side[Decimal(price)] = Decimal(size)
    for side, key in zip(contracts, ("bids", "asks"), strict=True):
        levels = sorted(((p, q) for p, q in side.items() if q), reverse=key == "bids")[:50]
        found = [(Decimal(p), Decimal(q)) for _, p, q in shown[-1][key]]  # type: ignore[attr-defined]
        assert found == [(price, size * Decimal(value)) for price, size in levels]
        assert len(levels) >= TEXT_LEVELS
    words, at = replay.engine.meters.words, replay.engine.meters.feed_at[0]
    assert words[at + M.FEED_CHECKSUMS] >= books > 30 and any(map(is_update, [line.raw]))
    assert words[at + M.FEED_CHECKSUMS_FAILED] == 0


def test_a_tick_without_the_value_of_a_contract_is_refused() -> None:
    text = CONFIG.format("1").replace('contract_value = "1"\n', "")
    with pytest.raises(ConfigError, match="contract_value is missing"):
        parse_config(text, "test")
    parse_config(text.replace('tick_size = "0.01"\n', ""), "test")
