"""The configuration file (TOML): its schema, its defaults and its errors.

Unknown keys, wrong types and impossible values are errors that name the key, the value and what is
allowed; nothing starts then. Secrets come from the environment, never from here.
Runs on: the main thread, once.
"""

from __future__ import annotations

import grp
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from engine.layout import layout as L
from engine.maker.order_layout import MAKERS_MAX
from engine.sharing.handoff import NAME_PATTERN
from net.config.address import listen_address
from net.config.errors import SettingError, explain
from net.config.maker import MakerSettings, MakerVenue
from net.config.maker_contradictions import (
    refuse_depth,
    refuse_open_orders,
    refuse_rates,
    refuse_weights,
)
from net.config.makers import COMMON_KEYS, MakersSettings, gather_common
from net.config.section import PositiveDecimal, Section
from net.config.venue import VenueSections, VenueSettings, known_venue
from net.gateway.options import (
    CONNECTIONS_MAX_DEFAULT,
    CONNECTIONS_MAX_LIMIT,
    REQUEST_BYTES_MAX_DEFAULT,
    REQUEST_BYTES_MAX_LIMIT,
    SUBSCRIBERS_MAX_DEFAULT,
    SUBSCRIBERS_MAX_LIMIT,
    is_loopback,
)
from net.log.one_line import one_line
from net.venues.registry import VENUES
from tuning.plan import REALTIME_PRIORITY_MAX

INSTRUMENTS_MAX = 512
"""Merged books of one daemon: at 4 MiB each they take 2 GiB."""


class ConfigError(Exception):
    """One line that says what is wrong and where."""


class InstrumentVenue(Section):
    """One venue's part of an instrument."""

    name: str
    """The venue."""
    symbol: Annotated[str, Field(min_length=1)]
    """The venue's own symbol."""
    tick_size: PositiveDecimal | None = None
    """The step of its prices, as text; left out: the venue is asked."""
    contract_value: PositiveDecimal | None = None
    """What a quantity of one is in the base asset, as text, where quantities are contracts; left
    out: the venue is asked, with its tick."""

    def with_contract_value(self, value: str | None) -> InstrumentVenue:
        """With what the venue says, where nothing is configured."""
        if self.contract_value is not None or value is None:
            return self
        return self.model_copy(update={"contract_value": value})

    @model_validator(mode="after")
    def _is_whole(self) -> InstrumentVenue:
        is_half = self.tick_size is not None and self.contract_value is None
        if is_half and VENUES[self.name].has_contracts:
            raise ValueError("contract_value is missing: configure it with tick_size, or neither")
        return self

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return known_venue(value)

    @field_validator("symbol")
    @classmethod
    def _fits(cls, value: str) -> str:
        if len(value.encode()) > L.SYMBOL_BYTES_MAX:
            raise ValueError(f"longer than {L.SYMBOL_BYTES_MAX} bytes")
        return value


class Instrument(Section):
    """A merged book: the first one is the default."""

    symbol: Annotated[str, Field(min_length=1, max_length=L.SYMBOL_BYTES_MAX)]
    """What subscribers ask for."""
    depth: Annotated[int, Field(ge=1, le=L.DEPTH_MAX)] = 10
    """Levels a side of the merged book."""
    venue: Annotated[tuple[InstrumentVenue, ...], Field(min_length=1, max_length=L.VENUES_MAX)]
    """The venues that are merged."""

    @field_validator("venue", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _venues_once(self) -> Instrument:
        names = [each.name for each in self.venue]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"venue {name!r} is named twice")
        return self


class EngineSettings(Section):
    """The engine thread."""

    name: str = "pollux"
    """Of the shared-memory segment; two daemons need two names."""
    cpu: Annotated[int, Field(ge=0)] | None = None
    """The engine thread's CPU; left out: it is not pinned."""
    idle: Literal["spin", "backoff", "block"] = "spin"
    """What the engine thread does while nothing comes."""
    resync_scope: Literal["venue", "all"] = "venue"
    """`all`: any break withdraws and rebuilds every venue."""
    realtime_priority: Annotated[int, Field(ge=1, le=REALTIME_PRIORITY_MAX)] | None = None
    """SCHED_FIFO, on an isolated `cpu` only; left out: the usual scheduler."""
    lock_memory: bool = False
    """No page is ever swapped out."""
    stay_awake: bool = False
    """Holds `/dev/cpu_dma_latency`: no CPU sleeps deeply."""
    trades: bool = False
    """Takes the venues' trades too, for `StreamTrades`; each costs 20 us or so of this thread."""
    shared_group: str = ""
    """Its members may read the shared memory (`pollux stat`); empty: nobody else may."""
    stale_after_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 5000
    """Silence after which a venue's book is withdrawn."""

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not NAME_PATTERN.fullmatch(value):
            raise ValueError("letters, digits, dot, dash and underscore only, at most 64")
        return value

    @field_validator("shared_group")
    @classmethod
    def _is_group(cls, value: str) -> str:
        try:
            if value:
                grp.getgrnam(value)
        except (KeyError, ValueError):
            raise ValueError("this host has no such group") from None
        return value


class GatewaySettings(Section):
    """The gRPC listener."""

    listen: str = "127.0.0.1:5002"
    """The gRPC listener."""
    placement: Literal["process", "thread"] = "process"
    """A process of its own, or a thread of the daemon."""
    cpu: Annotated[int, Field(ge=0)] | None = None
    """Its CPU; left out: it is not pinned."""
    idle: Literal["spin", "backoff", "block"] = "backoff"
    """While it has subscribers it looks for books without a pause, every 20 to 100 us, or every
    millisecond."""
    tls_cert: str = ""
    """PEM certificate; with `tls_key` the gateway serves TLS."""
    tls_key: str = ""
    """Its PEM key."""
    tls_client_ca: str = ""
    """PEM authority: clients must show a certificate of it."""
    allow_plaintext: bool = False
    """Needed for a `listen` that other hosts reach without TLS; warned of in the log."""
    subscribers_max: Annotated[int, Field(ge=1, le=SUBSCRIBERS_MAX_LIMIT)] = SUBSCRIBERS_MAX_DEFAULT
    """Streams at once; one more gets RESOURCE_EXHAUSTED."""
    streams_per_client_max: Annotated[int, Field(ge=1, le=SUBSCRIBERS_MAX_LIMIT)] | None = None
    """Calls at once of one address or certificate; left out: a quarter of `subscribers_max`, 16 at
    least."""
    token_file: str = ""
    """Holds the token that every call must show, but for health checks; also on loopback."""
    connections_max: Annotated[int, Field(ge=1, le=CONNECTIONS_MAX_LIMIT)] = CONNECTIONS_MAX_DEFAULT
    """Connections at once; one more is closed."""
    request_bytes_max: Annotated[int, Field(ge=64, le=REQUEST_BYTES_MAX_LIMIT)] = (
        REQUEST_BYTES_MAX_DEFAULT
    )
    """A longer request gets RESOURCE_EXHAUSTED."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value:
            raise ValueError('must be "host:port"')
        return listen_address(value)

    @model_validator(mode="after")
    def _pair(self) -> GatewaySettings:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        if self.is_exposed and not self.allow_plaintext:
            raise ValueError(
                f"listen {self.listen!r} is open to other hosts without TLS: give tls_cert and "
                f"tls_key, or allow_plaintext = true"
            )
        return self

    @property
    def is_exposed(self) -> bool:
        """Whether other hosts may connect, and anybody on the way may read and write along."""
        host = self.listen.rpartition(":")[0].strip("[]")
        return not self.tls_cert and not is_loopback(host)


class MetricsSettings(Section):
    """The metrics page; an empty address turns it off."""

    listen: str = "127.0.0.1:9102"
    """The web page, `/metrics`, `/healthz`, `/readyz`; empty for none."""
    hosts: tuple[str, ...] = ()
    """Names by which it is reached (`Host`), beside its own address and those of loopback."""
    token_file: str = ""
    """Holds the token that all but `/healthz` asks for: a bearer's, or as a browser's password."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return listen_address(value)

    @field_validator("hosts", mode="before")
    @classmethod
    def _are_hosts(cls, value: Any) -> Any:
        for each in value if isinstance(value, list) else ():
            if not isinstance(each, str) or not re.fullmatch(r"[\w.\[\]:-]+", each, re.ASCII):
                raise ValueError(f"{each!r}: must be a name or an address, without a port")
        return tuple(value) if isinstance(value, list) else value


class LogSettings(Section):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    format: Literal["json", "console"] = "json"
    """On stderr; `console` is for people."""


class Config(Section):
    """The whole file."""

    instrument: Annotated[tuple[Instrument, ...], Field(min_length=1, max_length=INSTRUMENTS_MAX)]
    """The merged books; the first is the default one."""
    venue: VenueSections = VenueSections()  # type: ignore[valid-type]
    """How to reach the venues."""
    engine: EngineSettings = EngineSettings()
    """The engine thread."""
    gateway: GatewaySettings = GatewaySettings()
    """The gRPC listener."""
    metrics: MetricsSettings = MetricsSettings()
    """The HTTP listener."""
    log: LogSettings = LogSettings()
    """What is logged."""
    makers: MakersSettings = MakersSettings()
    """What all market makers have in common."""
    maker: Annotated[tuple[MakerSettings, ...], Field(max_length=MAKERS_MAX)] = ()
    """The market makers; left out: nothing is quoted."""

    @model_validator(mode="before")
    @classmethod
    def _common(cls, value: Any) -> Any:
        return gather_common(value)

    @field_validator("instrument", "maker", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("venue", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if name not in VENUES:
                known = ", ".join(sorted(VENUES))
                raise ValueError(f"unknown venue {name!r}; known: {known}")
        return value

    @model_validator(mode="after")
    def _symbols_once(self) -> Config:
        symbols = Counter(each.symbol for each in self.instrument)
        for symbol, count in symbols.items():
            if count > 1:
                raise ValueError(f"instrument {symbol!r} is configured twice")
        streams = Counter((v.name, v.symbol) for each in self.instrument for v in each.venue)
        for (name, symbol), count in streams.items():
            if count > 1:
                raise ValueError(f"{name}'s {symbol!r} belongs to two instruments")
        return self

    @model_validator(mode="after")
    def _makers_are_known(self) -> Config:
        taken = set()
        for number, maker in enumerate(self.maker, 1):
            place = f"maker[{number}]" if len(self.maker) > 1 else "maker"
            try:
                self._check_maker(maker)
            except SettingError as error:
                raise SettingError(f"{place}.{error.key}", error.text) from None
            symbol = self.quoted_instrument(maker).symbol
            if symbol in taken:
                unnamed = [at for at, each in enumerate(self.maker, 1) if not each.symbol]
                if unnamed:
                    text = "is missing: of several market makers each names its instrument"
                    raise SettingError(f"maker[{unnamed[0]}].symbol", text)
                raise SettingError(f"{place}.symbol", f"{symbol!r} has a market maker already")
            taken.add(symbol)
        return self

    def _check_maker(self, maker: MakerSettings) -> None:
        """SettingError, which names the key below the market maker's section."""
        if maker.symbol and maker.symbol not in [each.symbol for each in self.instrument]:
            raise SettingError("symbol", f"{maker.symbol!r} is no configured instrument")
        quoted_symbol = self.quoted_instrument(maker).symbol
        names = [venue.name for venue in self.quoted_instrument(maker).venue]
        for name in maker.venue:
            if name not in names:
                raise SettingError(f"venue.{name}", "not a venue of the quoted instrument")
        quoted = [n for n in names if n not in maker.venue or maker.venue[n].quote]
        if not quoted:
            raise SettingError("venue", "no venue is left to quote at")
        refuse_weights([(name, maker.venue.get(name, MakerVenue())) for name in names])
        refuse_depth(maker.fair, self.quoted_instrument(maker).depth)
        refuse_open_orders(maker, len(quoted))
        refuse_rates(maker, {e.symbol for e in self.instrument if e.symbol != quoted_symbol})

    def quoted_instrument(self, maker: MakerSettings) -> Instrument:
        """The instrument that a market maker quotes."""
        return next((e for e in self.instrument if e.symbol == maker.symbol), self.instrument[0])

    def with_maker(self, symbol: str | None) -> Config:
        """The same with the market maker of this instrument alone, for what runs one at a time;
        ConfigError where it has none, or has several and no symbol tells which."""
        of = {self.quoted_instrument(maker).symbol: maker for maker in self.maker}
        if symbol is None and len(of) <= 1:
            return self
        if symbol not in of:
            known = ", ".join(of) or "none"
            what = f"{symbol!r} has no market maker" if symbol else "which market maker is meant"
            raise ConfigError(f"{what}: give --symbol; those with one: {known}")
        return self.model_copy(update={"maker": (of[symbol],)})

    def instrument_of(self, venue: str, symbol: str) -> str:
        """The instrument that a venue's symbol belongs to."""
        wanted = (venue, symbol)
        return next(
            each.symbol
            for each in self.instrument
            if wanted in {(v.name, v.symbol) for v in each.venue}
        )

    def venue_names(self) -> tuple[str, ...]:
        """The venues in use, in the order in which they first appear."""
        names = (venue.name for each in self.instrument for venue in each.venue)
        return tuple(dict.fromkeys(names))

    def feeds_of(self, venue: str) -> int:
        """How many books are followed at a venue."""
        return sum(v.name == venue for each in self.instrument for v in each.venue)

    def settings(self, name: str) -> VenueSettings:
        """A venue's settings with its public addresses filled in."""
        given: VenueSettings = getattr(self.venue, name)
        protocol = VENUES[name]
        return given.model_copy(
            update={
                "ws_url": given.ws_url or protocol.ws_url,
                "rest_url": given.rest_url or protocol.rest_url,
                "trade_url": given.trade_url or protocol.trade_url,
            }
        )


def parse_config(text: str, source: str) -> Config:
    """A configuration from TOML text; ConfigError with one line that starts with `source`."""
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Beside its own errors: numbers of thousands of digits, and brackets as deep.
        if {"[maker]", "[[maker]]"} <= {line.strip() for line in text.splitlines()}:
            text = "[maker] and [[maker]]: each of several market makers is a [[maker]]"
            raise ConfigError(f"{source}: {text}") from None
        raise ConfigError(f"{source}: not TOML: {one_line(str(error))}") from None
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        found = explain(error, Config, value, COMMON_KEYS)
        raise ConfigError(f"{source}: {one_line(found)}") from None


def load_config(path: Path) -> Config:
    """The configuration in a file; ConfigError with one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: {reason}") from None
    return parse_config(text, str(path))
