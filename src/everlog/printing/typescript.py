"""TypeScript: a type for the data and meta of each event, and a map from type to both."""

from __future__ import annotations

import json
import re

from everlog.errors import InvalidConfig
from everlog.printing.shapes import (
    Anything,
    Boolean,
    Choice,
    Configs,
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
    resolved,
)

MARK = """\
// Printed by `everlog print`. Change the configurations that it is printed from, and not this."""

_PLAIN = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def print_typescript(configs: Configs) -> str:
    """Returns a module of types, without anything that runs but a table of the types' schemas.

    An optional field may be left out, and is never null unless its shape says so. `strict` accepts
    it, with or without `exactOptionalPropertyTypes`.
    """
    _check_names(configs)
    parts = [MARK]
    for name, shape in configs.definitions.items():
        parts.append(
            _declaration(name, shape, shape.description if isinstance(shape, Fields) else "")
        )
    for each in configs.events:
        parts += _event(each, configs)
    parts.append(_map(configs))
    parts.append(_UNION)
    parts.append(_table(configs))
    return "\n\n".join(parts) + "\n"


def _check_names(configs: Configs) -> None:
    claimed = {name: f"definitions.{name}" for name in configs.definitions}
    for each in configs.events:
        for name in (f"{each.name}Data", f"{each.name}Meta"):
            if name in claimed:
                raise InvalidConfig(
                    each.source,
                    "",
                    f"{claimed[name]} has the name {name}, which is that of a type of "
                    f"{each.type!r} in TypeScript; give one of them another",
                )
            claimed[name] = repr(each.type)


def _event(config: EventConfig, configs: Configs) -> list[str]:
    parts = [_declaration(f"{config.name}Data", _data(config, configs), config.description)]
    if config.meta is not None and not isinstance(config.meta, Ref):
        parts.append(_declaration(f"{config.name}Meta", config.meta, ""))
    return parts


def _data(config: EventConfig, configs: Configs) -> Shape:
    found = resolved(config.data, configs.definitions)
    # What has no fields is stored as null.
    empty = isinstance(found, Fields) and not found.fields and not found.open
    return Null() if empty else config.data


_UNION = """\
export type EventType = keyof EventTypes;

export type Event<T extends EventType = EventType> = {
  [K in T]: {
    type: K;
    schema: EventTypes[K]["schema"];
    data: EventTypes[K]["data"];
    meta: EventTypes[K]["meta"];
  };
}[T];"""


def _map(configs: Configs) -> str:
    lines = ["export interface EventTypes {"]
    for each in configs.events:
        if isinstance(each.meta, Ref):
            meta = each.meta.name
        else:
            meta = "null" if each.meta is None else f"{each.name}Meta"
        lines += [
            f"  {_text(each.type)}: {{",
            f"    schema: {each.schema};",
            f"    data: {each.name}Data;",
            f"    meta: {meta};",
            "  };",
        ]
    return "\n".join([*lines, "}"])


def _table(configs: Configs) -> str:
    rows = "\n".join(f"  {_text(each.type)}: {each.schema}," for each in configs.events)
    return (
        "/** The schema of each type, as it is written today. */\n"
        'export const schemas: { readonly [T in EventType]: EventTypes[T]["schema"] } = {\n'
        f"{rows}\n}};"
    )


def _declaration(name: str, shape: Shape, description: str) -> str:
    if isinstance(shape, Fields) and (shape.fields or shape.open):
        note = description or shape.description
        return f"{_note(note, '')}export interface {name} {_object(shape, '')}"
    return f"{_note(description, '')}export type {name} = {_type(shape, '')};"


def _note(description: str, indent: str) -> str:
    if not description:
        return ""
    lines = [line.strip() for line in description.replace("*/", "*\\/").splitlines()]
    if len(lines) == 1:
        return f"/** {lines[0]} */\n{indent}"
    body = "\n".join(f"{indent} * {line}".rstrip() for line in lines)
    return f"/**\n{body}\n{indent} */\n{indent}"


def _object(shape: Fields, indent: str) -> str:
    inside = indent + "  "
    lines = [
        f"{inside}{_note(each.description, inside)}{_key(each.name)}"
        f"{'' if each.required else '?'}: {_type(each.shape, inside)};"
        for each in shape.fields
    ]
    if shape.open:
        lines.append(f"{inside}[key: string]: unknown;")
    return "\n".join(["{", *lines, indent + "}"]) if lines else "Record<string, never>"


def _type(shape: Shape, indent: str) -> str:
    match shape:
        case Anything():
            return "unknown"
        case Null():
            return "null"
        case Boolean():
            return "boolean"
        case Number():
            return "number"
        case Text():
            return "string"
        case Choice(values=values):
            return " | ".join(json.dumps(each, ensure_ascii=True) for each in values)
        case ListOf(item=item):
            return f"{_in_brackets(item, indent)}[]"
        case TupleOf(items=items):
            return "[" + ", ".join(_type(each, indent) for each in items) + "]"
        case MapOf(item=item):
            return f"{{ [key: string]: {_type(item, indent)} }}"
        case Fields():
            return _object(shape, indent)
        case OneOf(members=members):
            return " | ".join(_type(each, indent) for each in members)
        case Ref(name=name):
            return name


def _in_brackets(shape: Shape, indent: str) -> str:
    inner = _type(shape, indent)
    several = isinstance(shape, OneOf) or (isinstance(shape, Choice) and len(shape.values) > 1)
    return f"({inner})" if several else inner


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=True)
