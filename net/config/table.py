"""Every configuration option as a Markdown table, made from the schema.

`python -m net.config.table` prints it. A test compares the README's copy with it.
Runs on: the main thread.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from net.config.errors import section_of
from net.config.schema import Config
from net.config.section import Section
from net.config.venue import VenueSections, VenueSettings
from net.venues.registry import VENUES

HEAD = ("| section | key | default | allowed | meaning |", "|---|---|---|---|---|")

Titled = tuple[str, type[Section], list[str]]
"""A section's title as TOML writes it, its model and its keys."""


def options_table() -> str:
    """One row an option, in the schema's order; a section's name stands in its first row."""
    rows = list(HEAD)
    for title, model, names in _sections("", Config):
        for place, name in enumerate(names):
            field = model.model_fields[name]
            cells = (
                f"`{title}`" if place == 0 else "",
                f"`{name}`",
                _default(field),
                ", ".join(_allowed(field.annotation, field.metadata)),
                " ".join(_meaning(model, name).split()),
            )
            rows.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def _sections(place: str, model: type[Section]) -> Iterator[Titled]:
    """A section and those within it."""
    inner: list[Titled] = []
    names: list[str] = []
    for name, field in model.model_fields.items():
        section, path = section_of(field.annotation), f"{place}.{name}".lstrip(".")
        if section is None:
            names.append(name)
        elif section is VenueSections:
            inner += _venue_sections(path)
        else:
            is_named = get_origin(field.annotation) is dict
            inner += _sections(f"{path}.NAME" if is_named else path, section)
    if names:
        is_list = place.partition(".")[0] == "instrument"
        yield f"[[{place}]]" if is_list else f"[{place}]", model, names
    yield from inner


def _venue_sections(place: str) -> Iterator[Titled]:
    """What every venue has, then what a venue has of its own."""
    yield f"[{place}.NAME]", VenueSettings, list(VenueSettings.model_fields)
    for name in VENUES:
        model = section_of(VenueSections.model_fields[name].annotation)
        assert model is not None
        own = [key for key in model.model_fields if key not in VenueSettings.model_fields]
        if own:
            yield f"[{place}.{name}]", model, own


def _meaning(model: type[Section], name: str) -> str:
    """The text below a key, where the key is declared."""
    for each in model.__mro__:
        if name in vars(each).get("__annotations__", {}):
            texts = _texts(each)
            if name in texts:
                return texts[name]
    return ""


@functools.cache
def _texts(model: type) -> dict[str, str]:
    """A class's keys and the texts below them; pydantic would read them at every start."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError):  # it was made without a source, and declares nothing
        return {}
    assert isinstance(tree.body[0], ast.ClassDef)
    return {
        key.target.id: text.value.value
        for key, text in itertools.pairwise(tree.body[0].body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(annotation: Any, metadata: list[Any]) -> list[str]:
    """The values that a key takes, in words, as far as its type says them."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _allowed(inner[0], [*inner[1:], *metadata])
    if origin in (Union, types.UnionType):
        return _allowed(next(each for each in inner if each is not type(None)), metadata)
    if origin is dict:
        return ["a table of " + _allowed(inner[1], [])[0]]
    if origin is tuple:
        return ["a list of " + _allowed(inner[0], [])[0]]
    if origin is Literal:
        return [f"`{value}`" for value in inner if value != ""]
    if annotation is bool:
        return ["`true`", "`false`"]
    limits = [limit for each in metadata for limit in getattr(each, "metadata", [each])]
    least = next((each.ge for each in limits if isinstance(each, Ge)), None)
    most = next((each.le for each in limits if isinstance(each, Le)), None)
    if least is None:
        return ["text" if annotation is str else annotation.__name__]
    return [f"{least:,} to {most:,}" if most is not None else f"from {least}"]


if __name__ == "__main__":
    print(options_table(), end="")
