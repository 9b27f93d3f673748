"""The configuration file (TOML): its schema, its defaults and its errors.

Unknown keys, wrong types and impossible values are errors that name the key, the value and what is
allowed; nothing starts then. Secrets come from the environment, never from here.
Runs on: the main thread, once. Called by: pollux.py, net.daemon, net.replay.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from engine import layout as L
from engine.handoff import NAME_PATTERN
from net.gateway.options import (
    CONNECTIONS_MAX_DEFAULT,
    CONNECTIONS_MAX_LIMIT,
    REQUEST_BYTES_MAX_DEFAULT,
    REQUEST_BYTES_MAX_LIMIT,
    SUBSCRIBERS_MAX_DEFAULT,
    SUBSCRIBERS_MAX_LIMIT,
    is_loopback,
)
from net.maker.settings import MakerSettings
from net.said import said
from net.section import PositiveDecimal, Section
from net.venues import PROTOCOLS
from tuning.plan import REALTIME_PRIORITY_MAX


class ConfigError(Exception):
    """One line that says what is wrong and where."""


def _listen_address(value: str) -> str:
    if value and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}", value):
        raise ValueError('must be "host:port", for example "127.0.0.1:5002"')
    if value and int(value.rpartition(":")[2]) > 65535:
        raise ValueError("the port must be at most 65535")
    return value


def _url(value: str, schemes: tuple[str, ...]) -> str:
    if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"must start with {' or '.join(f'{s}://' for s in schemes)}")
    if "@" in value or "?" in value or "#" in value:
        raise ValueError("must hold no user, password or query: secrets come from the environment")
    try:
        parts = urlsplit(value)
        is_address = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # a name of too long parts too
        is_address = False
    if not is_address or re.search(r"\s", value):
        raise ValueError("is not an address")
    return value.rstrip("/")


class InstrumentVenue(Section):
    """One venue's part of an instrument."""

    name: str
    symbol: Annotated[str, Field(min_length=1)]
    tick_size: PositiveDecimal | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in PROTOCOLS:
            raise ValueError(f"unknown venue; known: {', '.join(sorted(PROTOCOLS))}")
        return value

    @field_validator("symbol")
    @classmethod
    def _fits(cls, value: str) -> str:
        if len(value.encode()) > L.SYMBOL_BYTES_MAX:
            raise ValueError(f"longer than {L.SYMBOL_BYTES_MAX} bytes")
        return value


class Instrument(Section):
    """A merged book: the first one is the default."""

    symbol: Annotated[str, Field(min_length=1, max_length=L.SYMBOL_BYTES_MAX)]
    depth: Annotated[int, Field(ge=1, le=L.DEPTH_MAX)] = 10
    venue: Annotated[tuple[InstrumentVenue, ...], Field(min_length=1, max_length=L.VENUES_MAX)]

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


class VenueSettings(Section):
    """How to reach a venue."""

    ws_url: str = ""
    rest_url: str = ""
    trade_url: str = ""
    """Where orders go; left out: the venue's public address."""
    stream_interval_ms: Literal[100, 1000] = 100
    ca_file: str = ""
    snapshot_depth: Annotated[int, Field(ge=5, le=5000)] = 1000

    @field_validator("ws_url")
    @classmethod
    def _ws(cls, value: str) -> str:
        return _url(value, ("wss", "ws")) if value else value

    @field_validator("rest_url")
    @classmethod
    def _rest(cls, value: str) -> str:
        return _url(value, ("https", "http")) if value else value

    @field_validator("trade_url")
    @classmethod
    def _trade(cls, value: str) -> str:
        return _url(value, ("wss", "ws", "https", "http")) if value else value


class EngineSettings(Section):
    """The engine thread."""

    name: str = "pollux"
    cpu: Annotated[int, Field(ge=0)] | None = None
    idle: Literal["spin", "backoff", "block"] = "spin"
    resync_scope: Literal["venue", "all"] = "venue"
    realtime_priority: Annotated[int, Field(ge=1, le=REALTIME_PRIORITY_MAX)] | None = None
    lock_memory: bool = False
    stay_awake: bool = False
    stale_after_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 5000

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not NAME_PATTERN.fullmatch(value):
            raise ValueError("letters, digits, dot, dash and underscore only, at most 64")
        return value


class GatewaySettings(Section):
    """The gRPC listener."""

    listen: str = "127.0.0.1:5002"
    placement: Literal["process", "thread"] = "process"
    cpu: Annotated[int, Field(ge=0)] | None = None
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    allow_plaintext: bool = False
    subscribers_max: Annotated[int, Field(ge=1, le=SUBSCRIBERS_MAX_LIMIT)] = SUBSCRIBERS_MAX_DEFAULT
    connections_max: Annotated[int, Field(ge=1, le=CONNECTIONS_MAX_LIMIT)] = CONNECTIONS_MAX_DEFAULT
    request_bytes_max: Annotated[int, Field(ge=64, le=REQUEST_BYTES_MAX_LIMIT)] = (
        REQUEST_BYTES_MAX_DEFAULT
    )

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value:
            raise ValueError('must be "host:port"')
        return _listen_address(value)

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

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return _listen_address(value)


class LogSettings(Section):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Config(Section):
    """The whole file."""

    instrument: Annotated[tuple[Instrument, ...], Field(min_length=1, max_length=64)]
    venue: dict[str, VenueSettings] = Field(default_factory=dict)
    engine: EngineSettings = EngineSettings()
    gateway: GatewaySettings = GatewaySettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    maker: MakerSettings | None = None

    @field_validator("instrument", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("venue")
    @classmethod
    def _known(cls, value: dict[str, VenueSettings]) -> dict[str, VenueSettings]:
        for name in value:
            if name not in PROTOCOLS:
                known = ", ".join(sorted(PROTOCOLS))
                raise ValueError(f"unknown venue {name!r}; known: {known}")
        return value

    @model_validator(mode="after")
    def _symbols_once(self) -> Config:
        symbols = [each.symbol for each in self.instrument]
        for symbol in symbols:
            if symbols.count(symbol) > 1:
                raise ValueError(f"instrument {symbol!r} is configured twice")
        streams = [(v.name, v.symbol) for each in self.instrument for v in each.venue]
        for name, symbol in streams:
            if streams.count((name, symbol)) > 1:
                raise ValueError(f"{name}'s {symbol!r} belongs to two instruments")
        return self

    @model_validator(mode="after")
    def _maker_is_known(self) -> Config:
        if self.maker is None:
            return self
        if self.maker.symbol and self.maker.symbol not in [each.symbol for each in self.instrument]:
            raise ValueError(f"maker.symbol: {self.maker.symbol!r} is no configured instrument")
        names = [venue.name for venue in self.quoted_instrument().venue]
        for name in self.maker.venue:
            if name not in names:
                raise ValueError(f"maker.venue.{name}: not a venue of the quoted instrument")
        quoted = [n for n in names if n not in self.maker.venue or self.maker.venue[n].quote]
        if not quoted:
            raise ValueError("maker: no venue is left to quote at")
        return self

    def quoted_instrument(self) -> Instrument:
        """The instrument that the market maker quotes."""
        symbol = self.maker.symbol if self.maker is not None else ""
        return next((e for e in self.instrument if e.symbol == symbol), self.instrument[0])

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

    def settings(self, name: str) -> VenueSettings:
        """A venue's settings with its public addresses filled in."""
        given = self.venue.get(name, VenueSettings())
        protocol = PROTOCOLS[name]
        return given.model_copy(
            update={
                "ws_url": given.ws_url or protocol.ws_url,
                "rest_url": given.rest_url or protocol.rest_url,
                "trade_url": given.trade_url or protocol.trade_url,
            }
        )


def _section_of(annotation: Any) -> type[Section] | None:
    """The section that a field's annotation holds, however it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_of, get_args(annotation))), None)


def _allowed_keys(location: tuple[Any, ...]) -> str:
    """The keys a section has, for the error about one it has not."""
    model: type[Section] = Config
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None:
            model = _section_of(field.annotation) or model
    return ", ".join(model.model_fields)


def _without_secrets(value: Any) -> Any:
    """A value as an error may show it: an address without user, password and query."""
    if not isinstance(value, str):
        return value
    shown = re.sub(r"^(\w+://)?.*@", r"\1***@", value, flags=re.DOTALL)
    return re.sub(r"[?#].*", "***", shown, flags=re.DOTALL) if "://" in value else shown


def _explain(error: ValidationError) -> str:
    errors = error.errors()
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"]) or "configuration"
    where = re.sub(r"\.(\d+)", lambda m: f"[{int(m.group(1)) + 1}]", where)
    kind, message = first["type"], first["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        text = f"unknown key; allowed here: {_allowed_keys(first['loc'])}"
    elif kind == "missing":
        text = "is missing"
    elif kind == "literal_error":
        text = f"{first['input']!r} is not allowed; allowed: {first['ctx']['expected']}"
    elif isinstance(first["input"], dict | BaseModel | tuple | list):
        text = message
    else:
        text = f"{_without_secrets(first['input'])!r}: {message[0].lower()}{message[1:]}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {text}{more}"


def parse_config(text: str, source: str) -> Config:
    """A configuration from TOML text; ConfigError with one line that starts with `source`."""
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Beside its own errors: numbers of thousands of digits, and brackets as deep.
        raise ConfigError(f"{source}: not TOML: {said(str(error))}") from None
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        raise ConfigError(f"{source}: {said(_explain(error))}") from None


def load_config(path: Path) -> Config:
    """The configuration in a file; ConfigError with one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: {reason}") from None
    return parse_config(text, str(path))
