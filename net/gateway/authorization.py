"""Who may ask, and who may ask for a kill or a release.

Where a token is configured, its bearer alone, whatever the listener is. Without one anybody may
look, and a client of a listener that only this host reaches, or with a certificate, may do either.
Runs on: the gateway's thread (the file), its event loop (the calls).
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import stat
from collections.abc import Iterable

from engine.sharing.directory import HandoffError, open_regular
from net.gateway.call import Call
from net.gateway.options import GatewayError, GatewayOptions, is_loopback
from net.gateway.status import RefusedError, Status

TOKEN = re.compile(r"[!-~]{16,256}", re.ASCII)
"""Printable and without a space, so that it fits a header; shorter ones could be guessed."""
TOKEN_FILE_BYTES_MAX = 4096
SCHEME = "Bearer "


def read_token(path: str, section: str = "maker") -> str:
    """The token in a file that its owner alone may read; GatewayError with one line."""
    what = f"{section} token_file".strip()
    try:
        with open(open_regular(path, follows_links=True), "rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(TOKEN_FILE_BYTES_MAX)
    except HandoffError as error:
        raise GatewayError(f"{what} {error}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no possible path"
        raise GatewayError(f"{what} {path}: {reason}") from None
    mode = found.st_mode
    if found.st_uid not in (0, os.geteuid()):
        raise GatewayError(f"{what} {path}: belongs to another user ({found.st_uid})")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise GatewayError(
            f"{what} {path}: others than its owner have permissions "
            f"({stat.S_IMODE(mode):04o}): chmod 600"
        )
    token = raw.decode("ascii", "replace").strip()
    if not TOKEN.fullmatch(token):
        raise GatewayError(
            f"{what} {path}: must hold one word of 16 to 256 printable ASCII characters"
        )
    return token


def is_token_shown(shown: str, token: str) -> bool:
    """Whether an HTTP `Authorization` shows it: as a bearer's, or as the password of any name."""
    scheme, _, value = shown.partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode("latin-1").partition(":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(value.strip().encode(), token.encode())


class Permission:
    """What the options say about calls. GatewayError: a token cannot be read."""

    def __init__(self, options: GatewayOptions) -> None:
        paths = {"gateway": options.token_file, "maker": options.maker_token_file}
        tokens = {name: read_token(path, name) for name, path in paths.items() if path}
        host, _ = options.host_and_port()
        self._is_open = is_loopback(host) or bool(options.tls_client_ca)
        self._expected = {name: f"{SCHEME}{token}".encode() for name, token in tokens.items()}

    def check_look(self, call: Call) -> None:
        """RefusedError unless this call may be made at all."""
        if "gateway" in self._expected:
            _require(call, self._expected.values())

    def check(self, call: Call) -> None:
        """RefusedError unless this call may ask for a kill or a release."""
        if "maker" in self._expected:
            _require(call, [self._expected["maker"]])
        elif not self._is_open:
            raise RefusedError(
                Status.PERMISSION_DENIED,
                "other hosts reach this listener, so it takes no kill and no release: "
                "[maker] token_file or [gateway] tls_client_ca would allow them",
            )


def _require(call: Call, expected: Iterable[bytes]) -> None:
    """RefusedError unless the caller shows one of these."""
    shown = [value for key, value in call.metadata if key == "authorization"]
    if not shown:
        text = "metadata `authorization: Bearer TOKEN` is missing"
        raise RefusedError(Status.UNAUTHENTICATED, text)
    # Each is compared: how long it takes says nothing.
    matches = [hmac.compare_digest(shown[0], each) for each in expected]
    if len(shown) != 1 or not any(matches):
        raise RefusedError(Status.UNAUTHENTICATED, "the token is wrong")
