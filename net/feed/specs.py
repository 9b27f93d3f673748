"""The configuration's instruments as the engine wants them.

Runs on: the main thread.
"""

from __future__ import annotations

from engine.specs import FeedSpec, InstrumentSpec
from net.config.schema import Config
from net.venues.checked_by import checked_by
from net.venues.registry import VENUES


def instrument_specs(
    config: Config, ticks: dict[tuple[str, str], str]
) -> tuple[InstrumentSpec, ...]:
    """What the engine needs to know, once every tick is known."""
    connections = {name: number for number, name in enumerate(config.venue_names())}
    return tuple(
        InstrumentSpec(
            each.symbol,
            tuple(
                FeedSpec(
                    venue.name,
                    VENUES[venue.name].rules,
                    connections[venue.name],
                    venue.symbol,
                    ticks[venue.name, venue.symbol],
                    venue.contract_value or "1",
                    checked_by(VENUES[venue.name]),
                )
                for venue in each.venue
            ),
            each.depth,
        )
        for each in config.instrument
    )


def feed_specs_by_venue(config: Config) -> dict[str, list[int]]:
    """The numbers of each venue's feeds, in the engine's order."""
    numbers: dict[str, list[int]] = {name: [] for name in config.venue_names()}
    index = 0
    for instrument in config.instrument:
        for venue in instrument.venue:
            numbers[venue.name].append(index)
            index += 1
    return numbers
