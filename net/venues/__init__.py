"""What differs between venues: addresses, messages, REST paths, limits and join rules.

Facts only, no I/O and no state. A new venue is a module here, a row in `PROTOCOLS` and a schema in
engine.decode. Runs on: any thread. Called by: net.config, net.session, net.stream, net.rest.
"""

from __future__ import annotations

from net.venues.base import Control, MetadataError, VenueProtocol
from net.venues.binance import BINANCE
from net.venues.bitstamp import BITSTAMP

PROTOCOLS: dict[str, VenueProtocol] = {"binance": BINANCE, "bitstamp": BITSTAMP}

__all__ = ["BINANCE", "BITSTAMP", "PROTOCOLS", "Control", "MetadataError", "VenueProtocol"]
