"""A daemon that is started while its venues are failing: it waits, and comes up right.

What a venue says of its tick sizes is read before anything else; nonsense there is no reason to
fall, but a symbol that the venue does not know is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from net.simulator.options import SimulatorOptions
from net.venues.binance.market_data import BINANCE
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.interface import MetadataError, VenueProtocol
from tests.faults.rig import RECOVER_S, SPEED, laboratory


@pytest.mark.timeout(60)
def test_a_start_into_failing_venues_waits_for_them(tmp_path: Path) -> None:
    faults = ("html", "http-500", "truncated-body", "http-429=1", "garbage", "snapshot-old")
    options = SimulatorOptions(seed=3, speed=SPEED, far_levels_share=0.0, faults=faults)
    with laboratory(tmp_path, options=options) as lab:
        lab.until_live(20 + RECOVER_S)
        lab.assert_right()
        said = lab.log.read_text()
        for reason in ("the answer is not JSON", "HTTP 500", "HTTP 429"):
            assert said.count(f"{reason}") >= 1, reason


def answer_of(protocol: VenueProtocol, body: Any) -> MetadataError:
    with pytest.raises(MetadataError) as caught:
        protocol.tick_size(body, "X")
    return caught.value


NONSENSE: list[Any] = [
    None, True, 0, 1.5, "text", [], {}, [None], [[]], ["market_symbol"], [{}], {"symbols": None},
    {"symbols": []}, {"symbols": [{}]}, {"symbols": [{"symbol": "X"}]},
    {"symbols": [{"symbol": "X", "filters": [{"filterType": "PRICE_FILTER"}]}]},
    [{"market_symbol": "X"}], [{"market_symbol": "X", "counter_decimals": "two"}],
]  # fmt: skip


@pytest.mark.parametrize("protocol", [BINANCE, BITSTAMP], ids=lambda p: p.name)
@pytest.mark.parametrize("body", NONSENSE, ids=repr)
def test_nonsense_instead_of_tick_sizes_is_asked_for_again(
    protocol: VenueProtocol, body: Any
) -> None:
    assert not answer_of(protocol, body).is_final


def test_a_symbol_that_the_venue_does_not_know_is_final() -> None:
    assert answer_of(BINANCE, {"code": -1121, "msg": "Invalid symbol."}).is_final
    assert answer_of(BITSTAMP, [{"market_symbol": "y"}, {"market_symbol": "z"}]).is_final
