"""What can be used of everlog, as text that is the same on every Python.

    .venv/dev-*/bin/python -m tests.architecture.public_surface

writes it anew to `public_surface.txt`, to be read by whoever looks at a change.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

PINNED = Path(__file__).with_name("public_surface.txt")

MODULES = (
    "everlog",
    "everlog.blocking",
    "everlog.errors",
    "everlog.printing",
    "everlog.server",
    "everlog.testing",
    "everlog.testing.contract",
)
"""Those that programs import from. A name that an earlier one has is told there."""

SPECIAL = (
    "__init__", "__call__", "__len__", "__iter__", "__next__", "__aiter__", "__anext__",
    "__await__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__contains__",
)  # fmt: skip
"""Of the names with underscores, those that mean something to who uses a class."""


def surface(modules: tuple[str, ...] = MODULES) -> str:
    """Returns what is public in some modules."""
    known: dict[int, str] = {}
    return "\n".join(
        line for name in modules for line in [*of_module(import_module(name), known), ""]
    )


def of_module(module: ModuleType, known: dict[int, str]) -> Iterator[str]:
    """Gives a line or more for each public name of a module; `known`: where others were told."""
    yield f"== {module.__name__} =="
    for name in names_of(module):
        found = getattr(module, name)
        again = isinstance(found, (type, FunctionType)) and known.get(id(found))
        if again:
            yield f"{name}: as {again}"
            continue
        known[id(found)] = f"{module.__name__}.{name}"
        if isinstance(found, type):
            yield from of_class(name, found)
        elif inspect.isroutine(found):
            yield f"{said_as(found)} {name}{signature_of(found)}"
        elif isinstance(found, enum.Enum) or name.startswith("__"):
            yield f"{name}: {type(found).__name__}"
        else:
            yield f"{name} = {found}"


def names_of(module: ModuleType) -> list[str]:
    """Returns the public names of a module, in order."""
    named: list[str] | None = getattr(module, "__all__", None)
    if named is not None:
        return sorted(named)
    return sorted(
        name
        for name, each in vars(module).items()
        if not name.startswith("_") and getattr(each, "__module__", "") == module.__name__
    )


def of_class(name: str, found: type) -> Iterator[str]:
    """Gives a class, and a line for each of its members that are ours, inherited ones, too."""
    bases = ", ".join(base.__name__ for base in found.__bases__ if base is not object)
    yield f"class {name}({bases})" if bases else f"class {name}"
    members: dict[str, str] = {}
    for each in reversed(found.__mro__):
        if not each.__module__.startswith("everlog"):
            continue
        mine: Any = each
        defaults = defaults_of(each)
        for field, annotation in inspect.get_annotations(each).items():
            if not field.startswith("_"):
                members[field] = f"{field}: {text_of(annotation)}{defaults.get(field, '')}"
        for member, value in vars(each).items():
            # What makes a value of fields stands in the fields, and differs between Pythons.
            generated = member == "__init__" and is_dataclass(mine)
            private = member.startswith("_") and member not in SPECIAL
            # `test_...`: a contract that asks for more has no other surface.
            if generated or private or member.startswith("test_"):
                continue
            told = of_member(member, value)
            if told:
                members[member] = told
    yield from (f"    {members[member]}" for member in sorted(members))


def defaults_of(found: type) -> dict[str, str]:
    """Returns what is told of the fields of a dataclass that need not be given."""
    if not is_dataclass(found):
        return {}
    told = {
        each.name: f" = {default_of(each.default)}"
        for each in fields(found)
        if each.default is not MISSING
    }
    made = [each.name for each in fields(found) if each.default_factory is not MISSING]
    return {**told, **dict.fromkeys(made, " = ...")}


def of_member(name: str, value: Any) -> str:
    """Returns how a member is used; empty for what only the implementation has."""
    if isinstance(value, property):
        annotation = inspect.signature(value.fget).return_annotation if value.fget else "Any"
        return f"{name}: {text_of(annotation)}  (property)"
    descriptor = value
    for kind in (staticmethod, classmethod):
        if isinstance(value, kind):
            function = descriptor.__func__
            return f"@{kind.__name__} {said_as(function)} {name}{signature_of(function)}"
    if isinstance(value, FunctionType) and value.__module__.startswith("everlog"):
        return f"{said_as(value)} {name}{signature_of(value)}"
    if isinstance(value, enum.Enum):
        return f"{name}: a member"
    return ""


def said_as(function: Any) -> str:
    return "async def" if inspect.iscoroutinefunction(function) else "def"


STARS: dict[object, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def signature_of(function: Any) -> str:
    """Returns the signature, with annotations as they are written and defaults that mean anything
    to a reader."""
    found = inspect.signature(function)
    parts: list[str] = []
    only_named = False
    for each in found.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not only_named:
            parts.append("*")
        only_named = only_named or each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        stars = STARS.get(each.kind, "")
        said = f"{stars}{each.name}"
        if each.annotation is not each.empty:
            said += f": {text_of(each.annotation)}"
        if each.default is not each.empty:
            said += f" = {default_of(each.default)}"
        parts.append(said)
        if each.kind is each.POSITIONAL_ONLY:
            parts[-1] += " (by place)"
    said = f"({', '.join(parts)})"
    if found.return_annotation is not found.empty:
        said += f" -> {text_of(found.return_annotation)}"
    return said


def text_of(annotation: object) -> str:
    """Returns an annotation as it is written."""
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def default_of(value: object) -> str:
    """Returns a default, without addresses in memory."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if value == ():
        return "()"
    name: object = getattr(value, "name", None) or getattr(value, "__name__", None)
    return name if isinstance(name, str) else "..."


if __name__ == "__main__":
    PINNED.write_text(surface(), "utf-8")
