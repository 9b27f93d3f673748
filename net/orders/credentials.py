"""The venues' API keys. They come from the environment and from nowhere else.

What is missing or malformed is one line that names the variable and never its value: the secret
may have been put into the wrong one. Secrets are not kept as text and no repr shows them.
Runs on: the main thread, once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from net.orders.messages import EntryError

TOKEN = re.compile(r"[A-Za-z0-9_+/=.-]{1,256}", re.ASCII)
"""Keys and HMAC secrets: nothing that could end a header or need quoting in JSON."""


def read_token_variable(environment: Mapping[str, str], name: str) -> str:
    """A key or an HMAC secret from the environment; EntryError names the variable only."""
    value = environment.get(name, "")
    if not value:
        raise EntryError(f"{name} is not set")
    if not TOKEN.fullmatch(value):
        raise EntryError(f"{name}: 1 to 256 of A-Z a-z 0-9 _ + / = . - and no white space")
    return value
