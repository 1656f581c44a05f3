"""Exporting: from `@event` classes to the configurations that they could have been printed from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from everlog.core.codec import Codec
from everlog.core.event import EventType, event_type_of
from everlog.core.portable import JsonValue, parse
from everlog.core.upcasting import Upcast
from everlog.errors import EventDefinitionError, InvalidConfig, InvalidInput
from everlog.printing.json_schema import (
    DIALECT,
    definitions_for,
    is_empty,
    printed,
    schema_of,
)
from everlog.printing.naming import class_name, is_class_name
from everlog.printing.shapes import Definitions, Fields, Ref, Shape
from everlog.printing.understanding import Object, Understanding


def export_configs(events: Iterable[object]) -> dict[str, str]:
    """Returns a configuration for each event, by the name of its file, such as `user-created.json`.

    `events`: what a store is opened with: classes, and upcasts, which are passed over. Printed, the
    configurations give classes that read and write the same JSON.

    Raises `InvalidConfig` for a class that says what no configuration can, `EventDefinitionError`
    for what is no class or two events of one file name.
    """
    found: dict[str, str] = {}
    classes: list[type[Any]] = []
    for each in events:
        if isinstance(each, Upcast):
            continue
        if not isinstance(each, type):
            raise EventDefinitionError(f"events hold classes and upcasts, not {each!r}")
        classes.append(each)
    taken = {cls.__name__ for cls in classes}
    for cls in classes:
        declared = event_type_of(cls)
        name = _file_name(declared.type)
        if name in found:
            raise EventDefinitionError(f"{declared.type!r} and another event would both be {name}")
        found[name] = printed({"event": _event(declared, taken)})
    if not found:
        raise InvalidInput("there is no event class to export")
    return found


def _file_name(type: str) -> str:
    words = "".join(each if each.isalnum() and each.isascii() else " " for each in type).split()
    return "-".join(words or ["event"]).lower() + ".json"


def _event(declared: EventType, taken: Collection[str]) -> Object:
    entry: Object = {"type": declared.type, "schema": declared.schema}
    if declared.register != declared.type or declared.aliases:
        entry["register"] = declared.register
    if declared.aliases:
        entry["aliases"] = list(declared.aliases)
    if class_name(declared.type) != declared.cls.__name__:
        entry["name"] = declared.cls.__name__
    shape, definitions, description = _shape_of(declared.codec, taken)
    if description:
        entry["description"] = description
    if not is_empty(shape, definitions):
        entry["data"] = _written(shape, definitions)
    if declared.meta is not None:
        shape, definitions, _ = _shape_of(declared.meta, taken)
        name = declared.meta.cls.__name__
        if isinstance(shape, Fields) and is_class_name(name):
            # By its name, so that events which share it go on sharing it.
            if definitions.setdefault(name, shape) != shape:
                raise InvalidConfig(name, "", "is the name of two classes of one event")
            shape = Ref(name)
        entry["meta"] = _written(shape, definitions)
    return entry


def _shape_of(codec: Codec, taken: Collection[str]) -> tuple[Shape, dict[str, Shape], str]:
    codec.prepare()
    source = f"class {codec.cls.__qualname__}"
    tree = _cleaned(_json_schema(codec.cls, source), taken)
    understanding = Understanding(source)
    shape = understanding.root({"$schema": DIALECT, **tree}, "")
    return shape, understanding.definitions, str(tree.get("description", ""))


def _written(shape: Shape, definitions: Definitions) -> Object:
    found: Object = {"$schema": DIALECT, **schema_of(shape)}
    found.pop("description", None)
    defs = definitions_for((shape,), definitions)
    if defs:
        found["$defs"] = defs
    return found


def _json_schema(cls: type[Any], source: str) -> Object:
    try:
        if hasattr(cls, "__struct_fields__"):
            import msgspec

            tree: object = msgspec.json.schema(cls)
        else:
            from pydantic import TypeAdapter

            from everlog.printing.model_schema import Generate

            tree = TypeAdapter(cls).json_schema(mode="serialization", schema_generator=Generate)
    except Exception as error:  # both raise many kinds here, all meaning the same
        raise InvalidConfig(source, "", f"has no JSON Schema: {error}") from error
    found = parse(json.dumps(tree))
    assert isinstance(found, dict)
    return found


def _cleaned(tree: Object, taken: Collection[str]) -> Object:
    """Returns it without what is said by itself: titles, and a name for the whole.

    `taken`: names of events, which no other shape can have.
    """
    found = _without_titles(tree)
    assert isinstance(found, dict)
    ref, defs = found.get("$ref"), found.get("$defs")
    if isinstance(ref, str) and isinstance(defs, dict):
        name = ref.rpartition("/")[2]
        inner = defs[name]
        assert isinstance(inner, dict)
        # What holds itself is named all the same.
        kept: Object = {
            key: each for key, each in defs.items() if key != name or _speaks_of(defs, name)
        }
        found = dict(inner)
        if kept:
            found["$defs"] = kept
    names = found.get("$defs")
    if isinstance(names, dict):
        for name in list(names):
            if name in taken:
                names[f"{name}Part"] = names.pop(name)
                text = json.dumps(found).replace(f'"#/$defs/{name}"', f'"#/$defs/{name}Part"')
                found = json.loads(text)
                names = found["$defs"]
    return found


def _speaks_of(tree: JsonValue, name: str) -> bool:
    return f'/{name}"' in json.dumps(tree)


def _without_titles(tree: JsonValue, *, names: bool = False) -> JsonValue:
    """`names`: its keys are names of fields or definitions, and none is a keyword."""
    if isinstance(tree, list):
        return [_without_titles(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    found: Object = {}
    for key, each in tree.items():
        if not names and key in ("title", "default", "enum", "const", "examples"):
            if key not in ("title", "examples"):
                found[key] = each
            continue
        found[key] = _without_titles(each, names=not names and key in ("properties", "$defs"))
    return found
