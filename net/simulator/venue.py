"""What differs between simulated exchanges: one record each, in net/simulator/<venue>/venue.py.

Runs on: none (plain values).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from net.simulator.calibration import FlowProfile
from net.simulator.level_forms import PAIRS, PairsForm
from net.simulator.options import VenueInstrument

if TYPE_CHECKING:
    from net.simulator.publisher import Publisher
    from net.simulator.server import VenueServer
    from net.simulator.tape_file import TapeLine


NO_PATH = re.compile(r"(?!)")
"""Of an exchange whose whole books come in the stream: it matches nothing."""


@dataclass(frozen=True)
class BookForm:
    """How an exchange writes diffs and whole books: for what reads a tape or spoils a message.

    Keys are those of the object that holds the levels. The sides of a whole book are `bids` and
    `asks`.
    """

    diff_marks: tuple[str, ...]
    """Texts that every diff has, and nothing else that is sent."""
    sides: tuple[str, str]
    """Keys of a diff's bids and asks."""
    foreign: dict[str, str]
    """The keys that name a market, each with a value of one that nobody asked for."""
    first_id: str = ""
    """Key of the first update id; empty where a stamp stands for ids, so that no gap shows."""
    last_id: str = ""
    time_ms: str = ""
    """Key of the exchange's time, where it is no id."""
    pads_zeros: bool = False
    """Numbers are printed with more decimals than the market has."""
    snapshot_path: re.Pattern[str] = NO_PATH
    """REST path and query of a whole book; the first group is its symbol."""
    snapshot_id: str = ""
    body: str = "data"
    """Key of the object that holds the levels, or of a list with that alone; the message itself
    where it has none such."""
    inner: str = ""
    """Key in it of an object that holds the sides."""
    levels: PairsForm = PAIRS
    previous_id: str = ""
    checksum: str = ""


@dataclass(frozen=True)
class SimulatedVenue:
    """One exchange. It listens on the simulator's first port, or on the next one after the
    exchange before it in the registry."""

    name: str
    server: type[VenueServer]
    """Its protocol."""
    publisher: type[Publisher]
    """What it broadcasts of one synthetic market."""
    profile: FlowProfile
    """The crowd of its synthetic markets."""
    instrument: Callable[[str, str], VenueInstrument]
    """The market of a base and a quote asset, as this exchange names and prints it."""
    own_faults: tuple[str, ...]
    """The faults not known to every exchange that can happen at this one."""
    form: BookForm
    read_frame: Callable[[str, int], TapeLine | None] | None = None
    """A recorded frame and when it is due; None where it is nobody's data. Left out where tapes of
    the exchange are not played."""
    order_scheme: str = ""
    """Of the address that orders go to: ws or http. Left out where it takes none."""
    order_path: str = ""
