"""Every configured market's estimates over one tape: its books as the engine builds them.

Runs on: the command's main thread.
"""

from __future__ import annotations

import math

from net.config.schema import Config
from net.replay.estimate.estimate import Estimate
from net.replay.replay import Replay
from net.tape.tape import TapeLine


class Estimation(Replay):
    """A replay without a market maker that watches the best prices of every market."""

    def __init__(self, config: Config, ticks: dict[tuple[str, str], str]) -> None:
        super().__init__(config.model_copy(update={"maker": ()}), ticks)
        self.estimates = [Estimate() for _ in self.engine.feeds]
        self._tick_sizes = [float(feed.tick_size) for feed in self.engine.feeds]

    def step(self, line: TapeLine) -> None:
        super().step(line)
        for feed, (estimate, size) in enumerate(zip(self.estimates, self._tick_sizes, strict=True)):
            bid, ask = self.engine.best_ticks(feed)
            estimate.take(line.t_ns, bid * size, ask * size)

    def _collect(self) -> None:
        """The books are not looked at one by one."""

    def figures(self) -> list[dict[str, object]]:
        """By market; None for what could not be estimated. Prices are the venue's."""
        found = []
        for feed, estimate in zip(self.engine.feeds, self.estimates, strict=True):
            fit, sigma = estimate.fit(), estimate.volatility
            is_known = not math.isnan(sigma)
            found.append(
                {
                    "venue": feed.venue,
                    "symbol": feed.symbol,
                    "seconds": round(estimate.seconds, 1),
                    "volatility_bps": sigma * 1e4 if is_known else None,
                    "volatility_price": sigma * estimate.mid if is_known else None,
                    "fill_rate": fit.rate if fit else None,
                    "fill_decay": fit.decay if fit else None,
                    "r_squared": fit.r_squared if fit else None,
                    "distances": fit.distances if fit else 0,
                }
            )
        return found


def lines(figures: list[dict[str, object]]) -> list[str]:
    """For the terminal."""
    found = []
    for each in figures:
        found.append(f"{each['venue']} {each['symbol']}, {each['seconds']} s")
        if each["volatility_bps"] is None:
            found.append("  volatility  not known: nothing of the tape could be counted")
        else:
            found.append(
                f"  volatility  {each['volatility_bps']:.4g} bps for the square root of a second, "
                f"{each['volatility_price']:.4g} of the price"
            )
        if each["fill_decay"] is None:
            found.append("  fill_decay  not known: too few distances were reached often enough")
        else:
            found.append(
                f"  fill_decay  {each['fill_decay']:.4g} (A = {each['fill_rate']:.4g} a second, "
                f"{each['distances']} distances, R2 {each['r_squared']:.3f})"
            )
    return found
