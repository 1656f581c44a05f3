"""The lock: what was printed last, so that a change which stored events do not survive is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from everlog.core.portable import JsonValue, canonical, parse
from everlog.errors import BreakingChange, InvalidConfig, NotPortable
from everlog.printing.comparing import Comparing
from everlog.printing.configs import DEFINITIONS, check_cycle, check_refs
from everlog.printing.json_schema import DIALECT, definitions_for, is_empty, printed, schema_of
from everlog.printing.shapes import (
    Configs,
    Definitions,
    EventConfig,
    Fields,
    Null,
    Shape,
    resolved,
)
from everlog.printing.understanding import NO_DATA, Object, Understanding

FORMAT = 1
_NO_META = NO_DATA


def print_lock(configs: Configs) -> str:
    """Returns the lock of these configurations, to be committed beside them.

    Raises `InvalidConfig` for a shape that a lock cannot hold, as it could not be read again.
    """
    events: Object = {}
    for each in configs.events:
        events[each.type] = entry = _entry(each, configs.definitions)
        for key in ("data", "meta"):
            _check_depth(each.source, key, {"events": {each.type: entry.get(key)}})
    defs = definitions_for(
        (shape for each in configs.events for shape in (each.data, each.meta or _NO_META)),
        configs.definitions,
    )
    for name, shape in defs.items():
        _check_depth(DEFINITIONS, name, {"events": {name: shape}})
    return printed({"lock": FORMAT, "events": events, "$defs": defs})


def check_lock(lock: str, text: str, configs: Configs) -> None:
    """Raises `BreakingChange` if events that were written by the lock would not be read as such.

    `lock`: its name, for messages. Raises `InvalidConfig` for a text that is no lock.
    """
    before, definitions = _read(lock, text)
    # Each of several values of an enum may be told the same of.
    problems = list(dict.fromkeys(_problems(before, definitions, configs)))
    if problems:
        raise BreakingChange(lock, problems)


def _check_depth(source: str, at: str, held: JsonValue) -> None:
    # One more around it: the object in which an event has its data.
    try:
        canonical([held])
    except NotPortable as error:
        raise InvalidConfig(
            source, at, f"lies too deep for a lock; give inner shapes names in {DEFINITIONS}"
        ) from error


def _entry(config: EventConfig, definitions: Definitions) -> Object:
    entry: Object = {"schema": config.schema, "register": config.register or config.type}
    if config.aliases:
        entry["aliases"] = list(config.aliases)
    if not is_empty(config.data, definitions):
        entry["data"] = schema_of(config.data)
    if config.meta is not None:
        entry["meta"] = schema_of(config.meta)
    return entry


def _read(lock: str, text: str) -> tuple[list[EventConfig], Definitions]:
    try:
        tree = parse(text, at="the file")
    except NotPortable as error:
        raise InvalidConfig(lock, "", str(error)) from error
    if not isinstance(tree, dict) or not isinstance(tree.get("events"), dict):
        raise InvalidConfig(lock, "", "is no lock that `everlog print` has written")
    if tree.get("lock") != FORMAT:
        raise InvalidConfig(lock, "lock", f"is {tree.get('lock')!r}; this everlog reads {FORMAT}")
    understanding = Understanding(lock)
    defs = tree.get("$defs")
    if isinstance(defs, dict):
        understanding.define({"$schema": DIALECT, "$defs": defs}, "", strict=True)
    events: list[EventConfig] = []
    for type, entry in cast("Object", tree["events"]).items():
        if not isinstance(entry, dict):
            raise InvalidConfig(lock, f"events.{type}", "must be an object")
        shapes: dict[str, Shape] = {}
        for key in ("data", "meta"):
            if key in entry:
                value = entry[key]
                if not isinstance(value, dict):
                    raise InvalidConfig(lock, f"events.{type}.{key}", "must be an object")
                shapes[key] = understanding.root(
                    {"$schema": DIALECT, **value}, f"events.{type}.{key}"
                )
        schema, register = entry.get("schema"), entry.get("register")
        aliases = entry.get("aliases", [])
        if (
            not isinstance(schema, int)
            or not isinstance(register, str)
            or not isinstance(aliases, list)
        ):
            raise InvalidConfig(lock, f"events.{type}", "is no entry that was written as a lock")
        events.append(
            EventConfig(
                type=type,
                schema=schema,
                name="",
                register=register,
                aliases=tuple(map(str, aliases)),
                data=shapes.get("data", NO_DATA),
                meta=shapes.get("meta"),
                description="",
                source=lock,
            )
        )
    for each in events:
        for root, shape in (("data", each.data), ("meta", each.meta or NO_DATA)):
            check_refs(lock, f"events.{each.type}.{root}", shape, understanding.definitions)
    for name, shape in understanding.definitions.items():
        check_refs(lock, f"$defs.{name}", shape, understanding.definitions)
        check_cycle(lock, name, understanding.definitions)
    return events, understanding.definitions


def _problems(
    before: list[EventConfig], definitions: Definitions, configs: Configs
) -> Iterator[tuple[str, str]]:
    now = {name: each for each in configs.events for name in (each.type, *each.aliases)}
    for old in before:
        for name in (old.type, *old.aliases):
            if name not in now:
                yield name, _GONE
        new = now.get(old.type)
        if new is None:
            continue
        if new.schema < old.schema:
            yield old.type, f"its schema was {old.schema} and is {new.schema}; it only grows"
        elif new.schema == old.schema:
            for problem in _breaks(old, new, definitions, configs):
                yield old.type, problem


_GONE = (
    "is gone; keep its configuration as long as events of it are stored, or name it in `aliases` "
    "of what it is now. If none was ever stored, take its entry out of the lock"
)


def _breaks(
    old: EventConfig, new: EventConfig, definitions: Definitions, configs: Configs
) -> Iterator[str]:
    comparing = Comparing(definitions, configs.definitions)
    before, now = _with_null(old.data, definitions), _with_null(new.data, configs.definitions)
    if is_empty(before, definitions) and not isinstance(now, Fields):
        before = Null()  # as which it was stored, and only an object of fields reads that
    yield from comparing.breaks(before, now, "data")
    if old.meta is not None and new.meta is None:
        yield "meta was removed"
    elif old.meta is None and new.meta is not None:
        yield "meta is new and required"
    elif old.meta is not None and new.meta is not None:
        yield from comparing.breaks(old.meta, new.meta, "meta")
    if (new.register or new.type) != old.register:
        yield (
            f"it wrote the register {old.register!r} and writes {new.register or new.type!r}: old "
            "and new events would not outdate each other"
        )


def _with_null(shape: Shape, definitions: Definitions) -> Shape:
    """Returns the object that no data are: fields that come later find null, and their defaults."""
    found = resolved(shape, definitions)
    return replace(found, description="") if isinstance(found, Fields) else shape
