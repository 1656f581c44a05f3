"""Objects with fields (models, dataclasses, Structs): whether `==` sees all, and what gets lost."""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import FunctionType
from typing import Any, TypeAlias, cast

from everlog.core.misfit import path_of


def all_compare(classes: Iterable[type[Any]]) -> bool:
    """Whether `==` sees all fields of the classes and of those that extend them."""
    return all(sees_all_fields(cls) and all_compare(type.__subclasses__(cls)) for cls in classes)


def sees_all_fields(cls: type[Any]) -> bool:
    """Whether `==` on instances is the one that the class's library makes, over all fields."""
    return _sees_all_fields(cls)  # type: ignore[arg-type]  # mypy takes type[Any] for unhashable


@lru_cache(maxsize=4096)
def _sees_all_fields(cls: type[Any]) -> bool:
    equal = cls.__eq__
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return equal in (pydantic.BaseModel.__eq__, pydantic.RootModel.__eq__)
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        return equal is msgspec.Struct.__eq__
    if not dataclasses.is_dataclass(cls) or not isinstance(equal, FunctionType):
        return False
    # What `@dataclass` writes for the same fields, with nothing left out.
    names = [field.name for field in dataclasses.fields(cls)]
    try:
        made = cast("FunctionType", dataclasses.make_dataclass("Made", names).__eq__).__code__
    except (TypeError, ValueError, AttributeError):
        return False
    code = equal.__code__
    return (code.co_code, code.co_names, code.co_consts) == (
        made.co_code,
        made.co_names,
        made.co_consts,
    )


def classes_in_schema(schema: object) -> frozenset[type[Any]] | None:
    """Returns the classes with fields in a schema of pydantic's; None where it holds others."""
    found: set[type[Any]] = set()
    for part in _parts(schema):
        kind = part.get("type")
        if kind in _WITH_FIELDS:
            found.add(part["cls"])
        elif kind in _OF_UNKNOWN_CLASSES:
            return None
    return frozenset(found)


_WITH_FIELDS = ("model", "dataclass")
_OF_UNKNOWN_CLASSES = (
    "is-instance",
    "is-subclass",
    "call",
    "callable",
    "custom",
    "generator",
    "function-plain",
)
"""Parts of a schema that give instances of classes that may compare as they like."""
_NO_PARTS = ("metadata", "default", "serialization", "computed_fields", "python_schema")


def _parts(schema: object) -> Iterator[dict[str, Any]]:
    waiting: list[object] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            members = cast("dict[str, Any]", part)
            yield members
            # Without a type it is a table of parts by name. Otherwise some is not of the part, or
            # not of what comes from JSON.
            named = not isinstance(members.get("type"), str)
            waiting += [item for key, item in members.items() if named or key not in _NO_PARTS]
        elif isinstance(part, (list, tuple)):
            waiting += cast("Iterable[object]", part)


def losses(given: Any, kept: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yields where, and what, validation has dropped from what it was given.

    Values may become others: validation is there to do that. But no field of an object may get
    lost because the place where the object is was declared as of another class.
    """
    if given is kept:
        return
    names = _names_in(given)
    if names is not None:
        yield from _losses_of_fields(given, names, kept, path)
    elif isinstance(given, dict):
        find = _finder(kept)
        for key, own in cast("dict[object, object]", given).items():
            yield from losses(own, find(key), (*path, str(key)))
    elif isinstance(given, _MANY) and isinstance(kept, _MANY):
        items, others = list(cast("_Many", given)), list(cast("_Many", kept))
        if len(items) == len(others) and isinstance(given, _ORDERED) and isinstance(kept, _ORDERED):
            for index, (own, item) in enumerate(zip(items, others, strict=True)):
                yield from losses(own, item, (*path, index))
            return
        # In no order: what is lost of an item against each of what came out is lost.
        for index, own in enumerate(items):
            lost: list[tuple[str, str]] = []
            for item in others:
                lost = list(losses(own, item, (*path, index)))
                if not lost:
                    break
            yield from lost


_ORDERED = (list, tuple, deque)
_MANY = (*_ORDERED, set, frozenset)
_Many: TypeAlias = "Iterable[object]"


def _losses_of_fields(
    given: Any, names: list[str], kept: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[str, str]]:
    cls: type[Any] = type(given)  # pyright: ignore[reportUnknownVariableType]
    other: type[Any] = type(kept)  # pyright: ignore[reportUnknownVariableType]
    others = _names_in(kept)
    if others is not None:
        missing = [name for name in names if name not in others]
        if missing:
            yield path_of(path), _dropped(", ".join(missing), cls, other)
    elif isinstance(kept, dict):
        items = cast("dict[object, object]", kept)
        missing = [key for key in _keys(given) if key not in items]
        if missing:
            yield path_of(path), f"is a {cls.__qualname__} and would be stored without {missing[0]}"
    fixed: tuple[str, ...] = ()
    if cls is other and dataclasses.is_dataclass(cls):
        fixed = tuple(field.name for field in dataclasses.fields(cls) if not field.init)
    find = _finder(kept)
    for name in names:
        below = path if getattr(cls, "__pydantic_root_model__", False) else (*path, name)
        own, item = getattr(given, name, _ABSENT), find(name)
        if name in fixed and own != item:
            yield (
                path_of(below),
                f"is {own!r} and would be read as {item!r}, as it is declared with init=False",
            )
        else:
            yield from losses(own, item, below)


def _keys(given: Any) -> Iterable[str]:
    """Returns what a model or dataclass is written with where nothing is declared."""
    pydantic_core = sys.modules.get("pydantic_core")
    if pydantic_core is None or hasattr(given, "__struct_fields__"):
        return ()  # msgspec writes all fields everywhere
    try:
        return dict(pydantic_core.to_jsonable_python(given, by_alias=True))
    except Exception:  # what has no such form lost nothing on its way to it
        return ()


def _dropped(names: str, given: type[Any], kept: type[Any]) -> str:
    if given is kept:
        return f"would be stored without {names}; declare it in {given.__qualname__}"
    one, other = given.__qualname__, kept.__qualname__
    return (
        f"is a {one}, which as {other} would be stored without {names}; declare the field as "
        f"{one}, or as {other} | {one}"
    )


def _names_in(value: Any) -> list[str] | None:
    """Returns the names of the fields of an object, with those it was given beyond; or None."""
    cls: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
    for attribute in ("__struct_fields__", "__dataclass_fields__", "__pydantic_fields__"):
        fields = getattr(cls, attribute, None)
        if fields is not None:
            if attribute == "__dataclass_fields__":
                fields = [field.name for field in dataclasses.fields(cls)]
            return [*fields, *(getattr(value, "__pydantic_extra__", None) or ())]
    return None


def _finder(kept: Any) -> Callable[[object], object]:
    """Returns what finds a field or the item of a key, which may have become text or a number."""
    names = _names_in(kept)
    if names is not None:
        return lambda key: getattr(kept, key, _ABSENT) if isinstance(key, str) else _ABSENT
    if not isinstance(kept, dict):
        return lambda key: _ABSENT
    items = cast("dict[object, object]", kept)
    texts: dict[str, object] = {}

    def find(key: object) -> object:
        if key in items:
            return items[key]
        if not texts:
            texts.update((str(other), item) for other, item in items.items())
        return texts.get(str(key), _ABSENT)

    return find


_ABSENT = object()
