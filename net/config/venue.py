"""The `[venue.NAME]` sections: what every venue has, and what a venue's own folder adds.

Runs on: the main thread, once.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, create_model, field_validator

from net.config.address import url
from net.config.section import Section
from net.venues.interface import OwnSettings
from net.venues.registry import VENUES


def known_venue(name: str) -> str:
    """The name; ValueError where no venue is called so."""
    if name not in VENUES:
        raise ValueError(f"unknown venue; known: {', '.join(sorted(VENUES))}")
    return name


class VenueSettings(Section, OwnSettings):
    """How to reach a venue."""

    ws_url: str = ""
    """Where its streams are; left out: the public address. `ws://` is accepted; a user, a password
    or a query is not."""
    rest_url: str = ""
    """Where snapshots and markets are asked for; left out: the public address. `http://` is
    accepted."""
    trade_url: str = ""
    """Where orders go; left out: the venue's public address."""
    late_after_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 2000
    """A book is stale while its frames come so much later than the feed's best; 0: the venue's
    times are not looked at."""
    proxy: str = ""
    """An HTTP proxy for all connections to the venue; left out: that of the environment
    (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), which may have a password, and which no loopback
    address goes by."""
    ca_file: str = ""
    """A private authority to trust, PEM; left out: the system's."""

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str) -> str:
        return url(value, ("http", "https")) if value else value

    @field_validator("ws_url")
    @classmethod
    def _ws(cls, value: str) -> str:
        return url(value, ("wss", "ws")) if value else value

    @field_validator("rest_url")
    @classmethod
    def _rest(cls, value: str) -> str:
        return url(value, ("https", "http")) if value else value

    @field_validator("trade_url")
    @classmethod
    def _trade(cls, value: str) -> str:
        return url(value, ("wss", "ws", "https", "http")) if value else value


def _sections() -> type[Section]:
    """A section with one key a venue, each with the keys that this venue has."""
    fields: dict[str, Any] = {}
    for name, venue in VENUES.items():
        bases = (VenueSettings, venue.own_settings)
        model = create_model(f"Venue_{name}", __base__=bases, __doc__=VenueSettings.__doc__)
        fields[name] = (model, Field(default_factory=model))
    return create_model("VenueSections", __base__=Section, **fields)


VenueSections = _sections()
