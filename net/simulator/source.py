"""The small interface between a source of market data and the server that speaks a protocol.

A feed belongs to one venue. The server calls `poll` every few milliseconds and sends what it
returns; synthetic.py and tape.py implement it.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from net.simulator.options import VenueInstrument
from net.simulator.plain_book import PlainBook


class Message(NamedTuple):
    """One payload for the subscribers of one channel.

    `text_us` is the same with times in microseconds, where clients may ask for those; None when it
    does not differ. `wrapped` is the recorded combined form, sent verbatim instead of wrapping
    `text`.
    """

    channel: str
    text: str
    text_us: str | None = None
    wrapped: str | None = None


class Feed(ABC):
    """One venue's data. `active` holds the channels that somebody is subscribed to."""

    paced = True  # False: poll returns as much as it can and the server waits for slow clients

    def __init__(self, instruments: dict[str, VenueInstrument]) -> None:
        self.instruments = instruments  # by the venue's own symbol
        self.active: dict[str, int] = {}

    def subscribed(self, channel: str) -> None:
        """Somebody subscribed."""
        self.active[channel] = self.active.get(channel, 0) + 1

    def unsubscribed(self, channel: str) -> None:
        """Somebody left."""
        left = self.active.get(channel, 0) - 1
        if left > 0:
            self.active[channel] = left
        else:
            self.active.pop(channel, None)

    @abstractmethod
    def poll(self, now_ns: int) -> list[Message]:
        """Everything that is due, in order."""

    @abstractmethod
    def pause(self, now_ns: int) -> list[Message]:
        """Stop, and return what was still pending, so that streams and REST agree."""

    @abstractmethod
    def resume(self, now_ns: int) -> None:
        """Go on."""

    @abstractmethod
    def book(self, venue_symbol: str) -> PlainBook | None:
        """The whole book at the position the market is at; None while it is not known."""

    def position_ns(self, now_ns: int) -> int:
        """The market's own time, in the epoch of its stamps; 0 if only its book's version tells."""
        return 0

    async def recorded_body(self, venue_symbol: str) -> str | None:
        """A recorded REST body that must be sent as it is, or None. May wait for its time."""
        return None

    @property
    def exhausted(self) -> bool:
        """True when nothing will ever come again."""
        return False
