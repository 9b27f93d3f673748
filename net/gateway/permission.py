"""Who may ask for a kill or a release: a listener that only this host reaches, a client with a
certificate, or the bearer of the token.

Runs on: the gateway's thread (the file), its event loop (the calls). Called by: net.gateway.maker.
"""

from __future__ import annotations

import hmac
import os
import re
import stat

import grpc

from net.gateway.hub import Context, RefusedError
from net.gateway.options import GatewayError, GatewayOptions, is_loopback

TOKEN = re.compile(r"[!-~]{16,256}", re.ASCII)
"""Printable and without a space, so that it fits a header; shorter ones could be guessed."""
TOKEN_FILE_BYTES_MAX = 4096
SCHEME = "Bearer "


def read_token(path: str) -> str:
    """The token in a file that its owner alone may read; GatewayError with one line."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(TOKEN_FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no possible path"
        raise GatewayError(f"maker token_file {path}: {reason}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise GatewayError(
            f"maker token_file {path}: others than its owner have permissions "
            f"({stat.S_IMODE(mode):04o}): chmod 600"
        )
    token = raw.decode("ascii", "replace").strip()
    if not TOKEN.fullmatch(token):
        raise GatewayError(
            f"maker token_file {path}: must hold one word of 16 to 256 printable ASCII characters"
        )
    return token


class Permission:
    """What the options say about kills and releases. GatewayError: the token cannot be read."""

    def __init__(self, options: GatewayOptions) -> None:
        token = read_token(options.maker_token_file) if options.maker_token_file else ""
        host, _ = options.host_and_port()
        self._is_open = is_loopback(host) or bool(options.tls_client_ca)
        self._expected = f"{SCHEME}{token}".encode() if token else b""

    def check(self, context: Context) -> None:
        """RefusedError unless this call may ask."""
        if self._is_open:
            return
        if not self._expected:
            raise RefusedError(
                grpc.StatusCode.PERMISSION_DENIED,
                "other hosts reach this listener, so it takes no kill and no release: "
                "[maker] token_file or [gateway] tls_client_ca would allow them",
            )
        shown = [
            value if isinstance(value, bytes) else value.encode()
            for key, value in context.invocation_metadata() or ()
            if key == "authorization"
        ]
        if not shown:
            text = "metadata `authorization: Bearer TOKEN` is missing"
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, text)
        if len(shown) != 1 or not hmac.compare_digest(shown[0], self._expected):
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, "the token is wrong")
