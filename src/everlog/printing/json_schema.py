"""JSON Schema (2020-12) of shapes, and of whole events."""

from __future__ import annotations

import json
from collections.abc import Iterable

from everlog.core.portable import JsonValue, parse
from everlog.printing.shapes import (
    Anything,
    Boolean,
    Choice,
    Configs,
    Definitions,
    EventConfig,
    Fields,
    ListOf,
    MapOf,
    Null,
    Number,
    OneOf,
    Ref,
    Shape,
    Text,
    TupleOf,
    refs_of,
    resolved,
)
from everlog.printing.understanding import Object

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MARK = "Printed by `everlog print`."


def print_json_schema(configs: Configs) -> dict[str, str]:
    """Returns a document for each event, by the name of its file.

    Each describes type, schema, data and meta of an event as it is written today; the data alone
    are at `#/properties/data`.
    """
    return {
        f"{each.name}.json": _printed(_event(each, configs.definitions)) for each in configs.events
    }


def schema_of(shape: Shape) -> Object:
    """Returns the JSON Schema of a shape; names in it are of `#/$defs`."""
    match shape:
        case Anything():
            return {}
        case Null():
            return {"type": "null"}
        case Boolean():
            return {"type": "boolean"}
        case Number():
            return _without_none(
                type="integer" if shape.whole else "number",
                minimum=shape.at_least,
                maximum=shape.at_most,
                exclusiveMinimum=shape.above,
                exclusiveMaximum=shape.below,
                multipleOf=shape.multiple_of,
            )
        case Text():
            return _without_none(
                type="string",
                minLength=shape.min_length,
                maxLength=shape.max_length,
                pattern=shape.pattern,
                format=shape.format,
            )
        case Choice(values=values):
            return {"enum": list(values)}
        case ListOf():
            return _without_none(
                type="array",
                items=schema_of(shape.item),
                minItems=shape.min_items,
                maxItems=shape.max_items,
                uniqueItems=shape.unique or None,
            )
        case TupleOf(items=items):
            return {
                "type": "array",
                "prefixItems": [schema_of(each) for each in items],
                "minItems": len(items),
                "maxItems": len(items),
            }
        case MapOf(item=item):
            return {"type": "object", "additionalProperties": schema_of(item)}
        case Fields():
            return _object(shape)
        case OneOf(members=members):
            return {"anyOf": [schema_of(each) for each in members]}
        case Ref(name=name):
            return {"$ref": f"#/$defs/{name}"}


def definitions_for(shapes: Iterable[Shape], definitions: Definitions) -> Object:
    """Returns `$defs` of all names that shapes speak of, also by way of others."""
    found: set[str] = set()
    waiting = [name for shape in shapes for name in refs_of(shape)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += refs_of(definitions[name])
    return {name: schema_of(definitions[name]) for name in sorted(found)}


def is_empty(shape: Shape, definitions: Definitions) -> bool:
    """Whether it is an object without fields: what has no data, and is stored as null."""
    found = resolved(shape, definitions)
    return isinstance(found, Fields) and not found.fields and not found.open


def _event(config: EventConfig, definitions: Definitions) -> Object:
    data = Null() if is_empty(config.data, definitions) else config.data
    meta = Null() if config.meta is None else config.meta
    found: Object = {"$schema": DIALECT, "$comment": MARK, "title": config.type}
    if config.description:
        found["description"] = config.description
    found |= {
        "type": "object",
        "properties": {
            "type": {"const": config.type},
            "schema": {"const": config.schema},
            "data": schema_of(data),
            "meta": schema_of(meta),
        },
        "required": ["type", "schema", "data", "meta"],
    }
    defs = definitions_for((data, meta), definitions)
    if defs:
        found["$defs"] = defs
    return found


def _object(shape: Fields) -> Object:
    properties: Object = {}
    for each in shape.fields:
        schema = schema_of(each.shape)
        if each.description:
            schema["description"] = each.description
        if each.default is not None:
            schema["default"] = parse(each.default)
        properties[each.name] = schema
    found: Object = {"type": "object"}
    if shape.description:
        found["description"] = shape.description
    found["properties"] = properties
    found["required"] = [each.name for each in shape.fields if each.required]
    found["additionalProperties"] = shape.open
    return found


def _without_none(**members: JsonValue) -> Object:
    return {key: value for key, value in members.items() if value is not None}


def printed(tree: JsonValue) -> str:
    """Returns JSON as files have it: two blanks a level, a line at the end."""
    return json.dumps(tree, ensure_ascii=False, indent=2) + "\n"


_printed = printed
