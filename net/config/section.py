"""What every section of the configuration is: strict, frozen, and without unknown keys.

Runs on: the main thread, once.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from engine.decoding.scale import ScaleError, decimal_unit


class Section(BaseModel):
    """The base of every section. The text below a key describes it in the table of options."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _positive(value: str) -> str:
    try:
        decimal_unit(value)
    except ScaleError as error:
        raise ValueError(str(error)) from None
    return value


PositiveDecimal = Annotated[str, Field(max_length=40), AfterValidator(_positive)]
"""A decimal above zero as text, so that it stays exact."""
