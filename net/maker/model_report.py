"""Tells why nothing is quoted while a model does not know the volatility, and when it does.

Runs on: the engine thread.
"""

from __future__ import annotations

import math

from engine.compiling.atomics import Words
from engine.layout.units import NS_PER_S
from engine.maker import quote_layout as Q
from engine.maker.model import ModelSpec, read_variance
from net.config.maker_contradictions import BPS_ALL
from net.maker.risk_report import MakerHost


class ModelReport:
    """What was last told of one model. `model`: its words, read and never changed."""

    def __init__(self, spec: ModelSpec, model: Words, host: MakerHost) -> None:
        self._is_needed = spec.kind == Q.AVELLANEDA_STOIKOV or spec.widen > 0.0
        self._was_known: bool | None = None
        """As last told; None for not at all."""
        self._spec = spec
        self._model = model
        self._host = host

    def look(self, now_ns: int) -> None:
        """Tell what has changed since the last look."""
        if not self._is_needed:
            return
        relative = read_variance(self._model)
        is_known = not math.isnan(relative)
        if is_known == self._was_known:
            return
        self._was_known = is_known
        if is_known:
            bps = round(math.sqrt(relative) * BPS_ALL, 3)
            self._host.note_maker("info", "the volatility is known", bps_per_sqrt_s=bps)
        else:
            needed_s = self._spec.half_life_ns / (2 * NS_PER_S)
            text = "not quoting: the volatility is not known"
            self._host.note_maker("info", text, needed_s=needed_s)
