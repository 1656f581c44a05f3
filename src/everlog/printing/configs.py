"""Configurations: folders of JSON files, one event each, and `$definitions.json` for shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NoReturn, cast

from everlog.core.portable import JsonValue, parse
from everlog.core.stream import check_name
from everlog.core.upcasting import MAX_SCHEMA
from everlog.errors import InvalidConfig, InvalidInput, InvalidName, NotPortable
from everlog.printing.naming import class_name, is_class_name
from everlog.printing.shapes import (
    Configs,
    Definitions,
    EventConfig,
    Fields,
    Ref,
    Shape,
    parts_of,
    refs_of,
)
from everlog.printing.understanding import NO_DATA, Object, Understanding

DEFINITIONS = "$definitions.json"
MAX_FILES = 10_000
MAX_FILE_BYTES = 1_048_576
_KEYS = ("type", "schema", "data", "meta", "register", "aliases", "name", "description")


def read_configs(paths: Sequence[str | os.PathLike[str]]) -> Configs:
    """Returns the events that files, and all files below folders, configure.

    Raises `InvalidConfig` with file and place for what is wrong in one, `InvalidInput` if there is
    none.
    """
    events: list[EventConfig] = []
    definitions: dict[str, Shape] = {}
    defined_in: dict[str, str] = {}
    files = list(_files(paths))
    if not any(os.path.basename(file) != DEFINITIONS for file in files):
        shown = ", ".join(os.fspath(path) for path in paths) or "no folder"
        raise InvalidInput(f"there is no event configuration (*.json) in {shown}")
    for file in files:
        tree = _load(file)
        understanding = Understanding(file)
        if os.path.basename(file) == DEFINITIONS:
            for name, value in tree.items():
                understanding.add(name, understanding.shape(value, name), name)
        else:
            events.append(_event(file, tree, understanding))
        for name, shape in understanding.definitions.items():
            if not is_class_name(name):
                raise InvalidConfig(
                    file, f"definitions.{name}", "is no name of a class, such as UserName"
                )
            if definitions.setdefault(name, shape) != shape:
                raise InvalidConfig(
                    file,
                    f"definitions.{name}",
                    f"is another shape than in {defined_in[name]}; give one of them another name",
                )
            defined_in.setdefault(name, file)
    events.sort(key=lambda each: each.type)
    _check_together(events)
    for each in events:
        check_refs(each.source, "data", each.data, definitions)
        if each.meta is not None:
            check_refs(each.source, "meta", each.meta, definitions)
    for name, shape in definitions.items():
        check_refs(defined_in[name], f"definitions.{name}", shape, definitions)
        check_cycle(defined_in[name], name, definitions)
    return Configs(tuple(events), dict(sorted(definitions.items())))


def _files(paths: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    count = 0
    for each in paths:
        path = os.fspath(each)
        if not os.path.exists(path):
            raise InvalidInput(f"there is no folder or file {path!r}")
        for file in _below(path) if os.path.isdir(path) else (path,):
            count += 1
            if count > MAX_FILES:
                raise InvalidInput(f"there are more than {MAX_FILES:,} files in {path!r}")
            yield file


def _below(folder: str) -> Iterator[str]:
    """Yields the configurations below a folder, in the same order on each machine.

    Links to folders are followed; each folder comes once, by whatever ways it can be reached.
    """
    seen = {_identity(folder)}
    for inner, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        new: list[str] = []
        for name in sorted(folders):
            identity = _identity(os.path.join(inner, name))
            if identity not in seen:
                seen.add(identity)
                new.append(name)
        folders[:] = new
        for name in sorted(names):
            if name.endswith(".json") and not name.endswith(".lock.json"):
                yield os.path.join(inner, name)


def _identity(folder: str) -> tuple[int, int]:
    try:
        found = os.stat(folder)
    except OSError as error:  # such as where its name may be read, and no more
        _refuse(error)
    return found.st_dev, found.st_ino


def _refuse(error: OSError) -> NoReturn:
    raise InvalidInput(f"folder {error.filename!r} cannot be read: {error.strerror}") from error


def _load(file: str) -> Object:
    try:
        with open(file, "rb") as opened:
            text = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidConfig(file, "", f"cannot be read: {error.strerror}") from error
    if len(text) > MAX_FILE_BYTES:
        raise InvalidConfig(file, "", f"has more than {MAX_FILE_BYTES:,} bytes")
    try:
        tree = parse(text, at="the file")
    except NotPortable as error:
        raise InvalidConfig(file, "", str(error)) from error
    if not isinstance(tree, dict):
        raise InvalidConfig(file, "", 'must be an object: {"event": {"type": ..., "data": ...}}')
    return tree


def _event(file: str, tree: Object, understanding: Understanding) -> EventConfig:
    at = ""
    if "event" in tree and "type" not in tree:
        for key in tree:
            if key not in ("event", "$schema"):
                raise InvalidConfig(file, key, "stands beside `event`, and only that is read")
        inner = tree["event"]
        if not isinstance(inner, dict):
            raise InvalidConfig(file, "event", "must be an object")
        tree, at = inner, "event."
    for key in tree:
        if key not in _KEYS and key != "$schema":
            raise InvalidConfig(file, f"{at}{key}", f"is not known; there are {', '.join(_KEYS)}")
    type = _name(file, tree, "type", f"{at}type", "event type")
    if type is None:
        raise InvalidConfig(file, f"{at}type", 'is missing: "type": "user:created"')
    schema = tree.get("schema", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or not 1 <= schema <= MAX_SCHEMA:
        raise InvalidConfig(file, f"{at}schema", f"must be a whole number from 1 to {MAX_SCHEMA:,}")
    aliases = tree.get("aliases", [])
    if not isinstance(aliases, list):
        raise InvalidConfig(file, f"{at}aliases", "must be a list of names")
    for index, alias in enumerate(aliases):
        _checked(file, alias, f"{at}aliases[{index}]", "alias")
    register = _name(file, tree, "register", f"{at}register", "register")
    if aliases and register is None:
        raise InvalidConfig(
            file, f"{at}register", f'has to be said beside aliases: "register": "{aliases[0]}"'
        )
    name = tree.get("name", class_name(type))
    if not isinstance(name, str) or not is_class_name(name):
        problem = (
            "is no name of a class; " if "name" in tree else f"does not follow from {type!r}; "
        )
        raise InvalidConfig(file, f"{at}name", problem + 'write one: "name": "UserCreated"')
    description = tree.get("description", "")
    if not isinstance(description, str):
        raise InvalidConfig(file, f"{at}description", "must be text")
    data = NO_DATA
    shape: Shape = data
    if tree.get("data") is not None:
        shape = understanding.root(tree["data"], f"{at}data")
    meta = None
    if tree.get("meta") not in (None, {}):
        meta = understanding.root(tree["meta"], f"{at}meta")
    return EventConfig(
        type=type,
        schema=schema,
        name=name,
        register=register,
        aliases=tuple(cast("list[str]", aliases)),
        data=shape,
        meta=meta,
        description=description.strip(),
        source=file,
    )


def _name(file: str, tree: Object, key: str, where: str, kind: str) -> str | None:
    value = tree.get(key)
    return None if value is None else _checked(file, value, where, kind)


def _checked(file: str, value: JsonValue, where: str, kind: str) -> str:
    try:
        return check_name(kind, cast("str", value))
    except InvalidName as error:
        raise InvalidConfig(file, where, str(error)) from error


def _check_together(events: Sequence[EventConfig]) -> None:
    claimed: dict[str, EventConfig] = {}
    for each in events:
        for name in (each.type, *each.aliases):
            other = claimed.setdefault(name, each)
            if other is not each:
                raise InvalidConfig(
                    each.source, "type", f"{name!r} is claimed by {other.source}, too"
                )
        if len({each.type, *each.aliases}) != 1 + len(each.aliases):
            raise InvalidConfig(each.source, "aliases", "name something twice")


def check_refs(source: str, where: str, shape: Shape, definitions: Definitions) -> None:
    """Raises `InvalidConfig` for a name that nothing has."""
    for name in refs_of(shape):
        if name not in definitions:
            known = ", ".join(sorted(definitions)) or "none"
            raise InvalidConfig(source, where, f"speaks of {name!r}, and defined are: {known}")


def check_cycle(source: str, name: str, definitions: dict[str, Shape]) -> None:
    """Raises for a name that holds itself without an object in between: no class could be made."""
    waiting = [definitions[name]]
    seen: set[str] = set()
    while waiting:
        shape = waiting.pop()
        if isinstance(shape, Ref):
            if shape.name == name:
                raise InvalidConfig(
                    source,
                    f"definitions.{name}",
                    "holds itself; put an object with fields in between",
                )
            if shape.name not in seen:
                seen.add(shape.name)
                waiting.append(definitions[shape.name])
        elif not isinstance(shape, Fields):
            waiting += parts_of(shape)
