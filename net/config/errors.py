"""What is wrong with a configuration, in one line: the key, the value and what is allowed.

Runs on: the main thread, once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from net.config.section import Section

WRONG_TYPES = {
    "int_type": "a whole number without quotes",
    "float_type": "a number without quotes",
    "bool_type": "true or false without quotes",
    "string_type": "a text in quotes",
}
"""What a value of another type is to be, by pydantic's name of the error."""


class SettingError(ValueError):
    """A value that cannot be beside another one. `key`: below the section that was validated."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key
        self.text = text


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field's annotation holds, however it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(section_of, get_args(annotation))), None)


def _allowed_keys(model: type[Section], location: tuple[Any, ...]) -> str:
    """The keys a section has, for the error about one it has not."""
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None:
            model = section_of(field.annotation) or model
    return ", ".join(model.model_fields)


def _without_secrets(value: Any) -> Any:
    """A value as an error may show it: an address without user, password and query."""
    if not isinstance(value, str):
        return value
    shown = re.sub(r"^(\w+://)?.*@", r"\1***@", value, flags=re.DOTALL)
    return re.sub(r"[?#].*", "***", shown, flags=re.DOTALL) if "://" in value else shown


def _as_given(location: tuple[Any, ...], given: Any) -> list[Any]:
    """An error's place as the file has it: a section that stands alone has no number, and what
    `[maker]` says of all market makers stands there."""
    maker = given.get("maker") if isinstance(given, dict) else None
    if not isinstance(maker, dict):
        return list(location)
    if location[:1] == ("makers",) and location[1:2] and location[1] in maker:
        return ["maker", *location[1:]]
    return ["maker", *location[2:]] if location[:2] == ("maker", 0) else list(location)


def _wrong_type_text(kind: str, given: str | float, key: str) -> str:
    """A text instead of a number, or the other way round; with what to write where that is sure."""
    text = f"{_without_secrets(given)!r}: must be {WRONG_TYPES[kind]}"
    if kind == "string_type":
        return text if isinstance(given, bool) else f'{text}: {key} = "{given}"'
    is_number = isinstance(given, str) and re.fullmatch(r"-?\d+(\.\d+)?", given)
    is_fit = is_number and (kind == "float_type" or "." not in str(given))
    return f"{text}: {key} = {given}" if is_fit else text


def explain(
    error: ValidationError, model: type[Section], given: Any = None, alone: Sequence[str] = ()
) -> str:
    """The first error as one line: key, value and what is allowed; `model`: what was read, `given`:
    as it was written, `alone`: keys that `[maker]` has where it is the only one."""
    errors = error.errors()
    # A key with a slip of the pen is missing too: what there is says more.
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    cause = first.get("ctx", {}).get("error")
    parts = _as_given(first["loc"], given)
    parts += [cause.key] if isinstance(cause, SettingError) else []
    where = ".".join(str(part) for part in parts) or "configuration"
    where = re.sub(r"\.(\d+)", lambda m: f"[{int(m.group(1)) + 1}]", where)
    kind, message = first["type"], first["msg"].removeprefix("Value error, ")
    if isinstance(cause, SettingError):
        message = cause.text
    if kind == "extra_forbidden":
        is_alone = parts[:1] == ["maker"] and len(parts) == 2
        allowed = (_allowed_keys(model, first["loc"]), *(alone if is_alone else ()))
        text = f"unknown key; allowed here: {', '.join(allowed)}"
    elif kind == "missing":
        text = "is missing"
    elif kind == "literal_error":
        text = f"{first['input']!r} is not allowed; allowed: {first['ctx']['expected']}"
    elif kind in WRONG_TYPES and isinstance(first["input"], str | int | float):
        text = _wrong_type_text(kind, first["input"], where.rpartition(".")[2])
    elif isinstance(first["input"], dict | BaseModel | tuple | list):
        text = message
    else:
        text = f"{_without_secrets(first['input'])!r}: {message[0].lower()}{message[1:]}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {text}{more}"
