"""What differs, in lines that can be read."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, cast


def difference(expected: Sequence[object], actual: Sequence[object]) -> str:
    """Returns the lines of both, marked: `-` is expected and missing, `+` was not expected."""
    before = [line for value in expected for line in lines_of(value)]
    after = [line for value in actual for line in lines_of(value)]
    return "\n".join(
        "  " + line.rstrip() for line in difflib.ndiff(before, after) if line[0] in "-+ "
    )


def same(one: object, other: object) -> bool:
    """Whether two states are equal; objects that do not say so are compared by their attributes."""
    if type(one) is type(other) and type(one).__eq__ is object.__eq__ and hasattr(one, "__dict__"):
        return vars(one) == vars(other)
    return one == other


def lines_of(value: object) -> list[str]:
    """Returns a value as lines, one for each of its fields."""
    fields = fields_of(value)
    if not fields:
        return [repr(value)]
    return [
        f"{type(value).__qualname__}(",
        *(f"    {name}={content!r}," for name, content in fields),
        ")",
    ]


def fields_of(value: object) -> list[tuple[str, object]]:
    """Returns the fields of a dataclass, model, Struct, dict or plain object; else nothing."""
    cls = type(value)
    if isinstance(value, dict):
        return [(repr(key), content) for key, content in cast("Mapping[Any, Any]", value).items()]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif hasattr(cls, "model_fields") or cls.__repr__ is object.__repr__:
        names = list(getattr(value, "__dict__", ()))
    else:
        names = list(getattr(cls, "__struct_fields__", ()))
    return [(name, getattr(value, name)) for name in names if hasattr(value, name)]
