"""What the gateway is told (options), and how it refuses (errors).

Runs on: any thread; the options never change.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from dataclasses import dataclass
from typing import Any

SUBSCRIBERS_MAX_DEFAULT = 1000
"""Streams in all. One costs a task and a few kilobytes."""
SUBSCRIBERS_MAX_LIMIT = 100_000

CONNECTIONS_MAX_DEFAULT = 2000
"""Each subscriber on a connection of its own, and as many that only look around."""
CONNECTIONS_MAX_LIMIT = 100_000

REQUEST_BYTES_MAX_DEFAULT = 16 * 1024
"""A request is a few symbols; the largest configuration of 64-byte symbols stays far below."""
REQUEST_BYTES_MAX_LIMIT = 4 << 20
"""gRPC's own default: no request of ours comes near."""

HEARTBEAT_STALE_AFTER_MS_DEFAULT = 5000
"""Ten missed beats of a daemon that beats twice a second."""

ATTACH_TIMEOUT_MS_DEFAULT = 30_000
"""How long a gateway that was started first waits for the engine: longer than the compilation of
all kernels from an empty cache."""

IDLE_DEFAULT = "backoff"
POLL_US = {"spin": 0, "backoff": 20, "block": 1000}
"""What the gateway does between two looks at what is published, while somebody subscribes: nothing,
or sleep so long. The engine wakes nobody: a futex would cost it 7 to 12 us a book, and a reader
33 to 92 us; a sleep of 20 us costs the engine nothing."""

CLIENT_SHARE = 4
"""One client gets this part of the streams, unless configured otherwise: four of them fill them."""
CLIENT_STREAMS_MIN = 16
"""Fewer are not divided: a small number is one that somebody chose."""

REASON_CHARACTERS_MAX = 200
"""Of a kill or a release, as it is kept and shown."""

TIME_MS_MAX = 3_600_000
"""No time in the options is longer than an hour: a larger number is a mistaken unit."""


class GatewayError(Exception):
    """The gateway cannot serve; one line says why."""


def host_and_port_of(listen: str) -> tuple[str, int]:
    """An address as a host (no brackets) and a port."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise GatewayError(f"gateway listen {listen!r}: must be HOST:PORT, port 0 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


@dataclass(frozen=True)
class GatewayOptions:
    """Everything the gateway needs to know; `cpu=None` leaves the thread where it is.

    With `tls_cert` and `tls_key` (PEM files) it serves TLS; with `tls_client_ca` too, clients must
    show a certificate of that authority. Port 0 in `listen` takes any free port. `parent_pid` is
    the daemon that started this process and writes the books; 0 where a person or a test did.
    `token_file` holds the word that every call but a health check must show, `maker_token_file`
    that of a kill or a release. `streams_per_client_max`: left out, a part of all.
    """

    handoff_name: str
    listen: str = "127.0.0.1:5002"
    cpu: int | None = None
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    token_file: str = ""
    maker_token_file: str = ""
    subscribers_max: int = SUBSCRIBERS_MAX_DEFAULT
    streams_per_client_max: int | None = None
    connections_max: int = CONNECTIONS_MAX_DEFAULT
    request_bytes_max: int = REQUEST_BYTES_MAX_DEFAULT
    heartbeat_stale_after_ms: int = HEARTBEAT_STALE_AFTER_MS_DEFAULT
    attach_timeout_ms: int = ATTACH_TIMEOUT_MS_DEFAULT
    idle: str = IDLE_DEFAULT
    parent_pid: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("subscribers_max", 1, SUBSCRIBERS_MAX_LIMIT),
            ("connections_max", 1, CONNECTIONS_MAX_LIMIT),
            ("request_bytes_max", 64, REQUEST_BYTES_MAX_LIMIT),
            ("heartbeat_stale_after_ms", 1, TIME_MS_MAX),
            ("attach_timeout_ms", 0, TIME_MS_MAX),
            ("parent_pid", 0, 2**31 - 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise GatewayError(f"gateway {name} {value}: must be {low} to {high}")
        if self.idle not in POLL_US:
            raise GatewayError(f"gateway idle {self.idle!r}: must be one of {', '.join(POLL_US)}")
        if self.client_streams_max < 1:
            raise GatewayError(
                f"gateway streams_per_client_max {self.client_streams_max}: must be 1 or more"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise GatewayError("gateway tls_cert and tls_key: give both or neither")
        if self.tls_client_ca and not self.tls_cert:
            raise GatewayError("gateway tls_client_ca: needs tls_cert and tls_key")
        self.host_and_port()

    @property
    def client_streams_max(self) -> int:
        """What one client may hold at once."""
        if self.streams_per_client_max is not None:
            return self.streams_per_client_max
        return max(CLIENT_STREAMS_MIN, self.subscribers_max // CLIENT_SHARE)

    def host_and_port(self) -> tuple[str, int]:
        """`listen` as a host (no brackets) and a port."""
        return host_and_port_of(self.listen)

    def to_json(self) -> str:
        """The argument of `python -m net.gateway`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> GatewayOptions:
        """The opposite of `to_json`; GatewayError names the key that is unknown or mistyped."""
        try:
            given: Any = json.loads(text)
        except ValueError as error:
            raise GatewayError(f"gateway options are not JSON: {error}") from None
        if not isinstance(given, dict):
            raise GatewayError("gateway options must be one JSON object")
        fields = {field.name: str(field.type) for field in dataclasses.fields(cls)}
        types: dict[str, tuple[type, ...]] = {
            "str": (str,),
            "int": (int,),
            "int | None": (int, type(None)),
        }
        for name, value in given.items():
            if name not in fields:
                raise GatewayError(f"gateway option {name!r} is unknown")
            if not isinstance(value, types[fields[name]]) or isinstance(value, bool):
                raise GatewayError(f"gateway {name} {value!r}: must be {fields[name]}")
        if "handoff_name" not in given:
            raise GatewayError("gateway handoff_name: is missing")
        return cls(**given)


def is_loopback(host: str) -> bool:
    """Whether what is listened on is out of other hosts' reach; a name may stand for anything."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
