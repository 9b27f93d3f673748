"""The `[makers]` section: what all market makers of a daemon have in common, and may do together.

With one market maker, `[maker]` may say what is common too. With several, each `[[maker]]` is one
instrument's and `[makers]` says the rest.
Runs on: the main thread, once.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from net.config.errors import SettingError
from net.config.section import PositiveDecimal, Section

COMMON_KEYS = ("journal", "kill_file", "watchdog", "watchdog_after_ms", "token_file")
"""What `[maker]` may say where it is the only one."""


class MakersSettings(Section):
    """What all market makers have in common. `exposure_max` counts each position in its base
    currency, and its worth at the fair price as the opposite in its quote currency."""

    journal: Annotated[str, Field(min_length=1)] = "journal"
    """A folder for the journal."""
    kill_file: str = ""
    """Quoting is killed while a file of this name exists; no release meanwhile."""
    watchdog: bool = True
    """A process with connections of its own that cancels our orders when the engine stands still.
    """
    watchdog_after_ms: Annotated[int, Field(ge=500, le=60_000)] = 2_000
    """How long the engine may stand still."""
    token_file: str = ""
    """Holds the token that kill and release ask for over gRPC, also on loopback."""
    exposure_max: dict[str, PositiveDecimal] = Field(default_factory=dict)
    """By currency, the most that all together may hold, long or short, open orders included, for
    example `{BTC = "2"}`; a currency that is not named has no limit."""
    daily_loss_max: PositiveDecimal | None = None
    """Of all together, in `currency`; at this loss since 00:00 UTC all quoting is halted; left out:
    no limit but each one's own."""
    currency: str = ""
    """What `daily_loss_max` is in; left out: the quote currency of the first market maker."""
    rates: dict[str, PositiveDecimal] = Field(default_factory=dict)
    """What one of another quote currency is worth in `currency`, for example `{USDT = "1"}`."""
    venue_orders_per_10_s: Annotated[int, Field(ge=1, le=10_000)] = 90
    """The venue's limit for the account, whichever market maker sends them."""
    venue_orders_per_day: Annotated[int, Field(ge=1, le=10_000_000)] = 160_000
    """The venue's limit for the account, whichever market maker sends them."""


def gather_common(given: Any) -> Any:
    """A configuration as it was read, where what `[maker]` says of what is common is `[makers]`'s;
    SettingError where both say it."""
    if not isinstance(given, dict) or not isinstance(maker := given.get("maker"), dict):
        return given
    common = {key: maker[key] for key in COMMON_KEYS if key in maker}
    makers = given.get("makers", {})
    for key in common:
        if isinstance(makers, dict) and key in makers:
            raise SettingError(f"maker.{key}", f"makers.{key} is given too: leave one out")
    rest = {key: value for key, value in maker.items() if key not in common}
    gathered = {**given, "maker": [rest]}
    if common and isinstance(makers, dict):
        gathered["makers"] = {**makers, **common}
    return gathered
