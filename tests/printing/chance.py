"""Configurations by chance: every kind of shape in every other, names short and long."""

from __future__ import annotations

import copy
import random
from typing import Any, cast

from everlog.printing.shapes import (
    Anything,
    Boolean,
    Choice,
    Fields,
    ListOf,
    MapOf,
    Null,
    Number,
    OneOf,
    Ref,
    Text,
    TupleOf,
)

WORDS = (
    "a",
    "id",
    "class",
    "date",
    "list",
    "Name",
    "unit-price",
    "deliveryAddressOfTheCustomer",
    "x1",
    "_y",
    "json",
    "übergröße",
    "2nd",
    "self",
    "items",
)
FORMATS = ("date", "date-time", "uuid")
TEXTS = ("a", "it's", 'say "x"', "a\\b", "a longer value than the others", "ü", "\n", "")


ANYTHING: list[Any] = [None, 1, "x", [1], {"a": {}}]


class Chance:
    """Draws configurations; the same seed, the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def configs(self) -> dict[str, Any]:
        """Returns some configurations and definitions, by the names of their files."""
        names = [f"Shared{number}" for number in range(self._random.randrange(4))]
        definitions = {name: self._object(2, names) for name in names}
        if names:
            definitions["Alias"] = self._shape(2, names)
        found: dict[str, Any] = {"$definitions.json": definitions} if definitions else {}
        for number in range(self._random.randrange(1, 5)):
            event: dict[str, Any] = {
                "type": f"thing-{number}:{'very-' * self._random.randrange(5)}odd"
            }
            if self._random.random() < 0.9:
                event["data"] = self._shape(3, [*definitions])
            if self._random.random() < 0.4:
                event["meta"] = self._shape(2, [*definitions])
            if self._random.random() < 0.3:
                event |= {
                    "register": "r",
                    "aliases": [f"old-{number}-{index}-of-it" for index in range(4)],
                }
            if self._random.random() < 0.3:
                event["description"] = "Some words. " * self._random.randrange(
                    1, 12
                ) + self._random.choice(TEXTS)
            found[f"{number}.json"] = {"event": event}
        return found

    def _shape(self, depth: int, names: list[str]) -> Any:
        kinds = ["text", "number", "word", "enum", "const"]
        if depth:
            kinds += ["list", "places", "object", "object", "map", "union", "union"]
        if names:
            kinds.append("ref")
        kind = self._random.choice(kinds)
        match kind:
            case "text":
                if self._random.random() < 0.2:
                    return {"type": "string", "format": self._random.choice(FORMATS)}
                return self._some(
                    {"type": "string"},
                    minLength=1,
                    maxLength=70,
                    pattern="^[a-z\\d]*$",
                    format="email",
                )
            case "number":
                return self._some(
                    {"type": self._random.choice(["number", "integer"])},
                    minimum=1,
                    maximum=1_000_000,
                    multipleOf=1,
                )
            case "word":
                return self._random.choice(
                    ["string", "integer", "boolean", "null", "any", "string[]"]
                )
            case "enum":
                return {"enum": self._random.sample(TEXTS, self._random.randrange(1, 7))}
            case "const":
                return {"const": self._random.choice([True, 5, "x", None])}
            case "list":
                return self._some(
                    {"type": "array", "items": self._item(depth, names)},
                    minItems=1,
                    maxItems=7,
                    uniqueItems=True,
                )
            case "places":
                return {
                    "type": "array",
                    "items": [
                        self._shape(depth - 1, names) for _ in range(self._random.randrange(1, 4))
                    ],
                }
            case "map":
                return {"type": "object", "additionalProperties": self._shape(depth - 1, names)}
            case "union":
                return [self._shape(depth - 1, names) for _ in range(self._random.randrange(1, 5))]
            case "ref":
                return {"$ref": f"#/definitions/{self._random.choice(names)}"}
            case _:
                return self._object(depth, names)

    def _item(self, depth: int, names: list[str]) -> Any:
        """Returns a shape that is no list of them: as items, that would be places."""
        shape = self._shape(depth - 1, names)
        wrapped: Any = {"anyOf": shape}
        return wrapped if isinstance(shape, list) else shape

    def _object(self, depth: int, names: list[str]) -> Any:
        fields: dict[str, Any] = {}
        for word in self._random.sample(WORDS, self._random.randrange(1, 6)):
            shape = self._shape(depth - 1, names)
            if isinstance(shape, str) and not shape.endswith("[]") and self._random.random() < 0.5:
                shape = {"type": shape, "optional": True} if shape != "any" else shape
                if isinstance(shape, dict) and self._random.random() < 0.3:
                    shape["description"] = "About it. " * self._random.randrange(1, 10)
            fields[word] = shape
        found: dict[str, Any] = {"type": "object", "properties": fields}
        if self._random.random() < 0.2:
            found["additionalProperties"] = True
        if self._random.random() < 0.2:
            found["required"] = []
        return found

    def _some(self, shape: dict[str, Any], **more: Any) -> dict[str, Any]:
        return shape | {key: value for key, value in more.items() if self._random.random() < 0.3}

    def value(self, shape: Any, definitions: Any) -> Any:
        """Returns a value of a shape of everlog's, as far as its kind goes."""
        match shape:
            case Anything():
                return self._random.choice(ANYTHING)
            case Null():
                return None
            case Boolean():
                return self._random.random() < 0.5
            case Number():
                return self._random.randrange(1, 1_000)
            case Text(format=format, min_length=low):
                known = {
                    "date": "2026-01-31",
                    "date-time": "2026-01-31T00:00:00Z",
                    "uuid": "8c1e7b1a-0a35-5d0c-8b63-6b0f3a1d9a77",
                }
                return known.get(format or "", "abc" if low else "ab")
            case Choice(values=values):
                return self._random.choice(values)
            case ListOf(item=item, min_items=low):
                found = [
                    self.value(item, definitions)
                    for _ in range(self._random.randrange(low or 0, 3))
                ]
                return found[:1] if shape.unique else found
            case TupleOf(items=items):
                return [self.value(item, definitions) for item in items]
            case MapOf(item=item):
                return {key: self.value(item, definitions) for key in ("k", "l m")}
            case OneOf(members=members):
                return self.value(self._random.choice(members), definitions)
            case Ref(name=name):
                return self.value(definitions[name], definitions)
            case Fields(fields=fields):
                return {
                    each.name: self.value(each.shape, definitions)
                    for each in fields
                    if each.required or self._random.random() < 0.5
                }
            case _:
                raise AssertionError(shape)

    def changed(self, value: Any) -> Any:
        """Returns it with something in it put in the place of something else, or left out."""
        if value and isinstance(value, (dict, list)) and self._random.random() < 0.8:
            rest: Any = copy.copy(cast("Any", value))
            key: Any = self._random.choice(
                list(rest) if isinstance(value, dict) else range(len(rest))
            )
            if self._random.random() < 0.2:
                del rest[key]
            else:
                rest[key] = self.changed(rest[key])
            return rest
        return self._random.choice([0, 5, -1.5, "x", "a longer text, with BLANKS", True, False, []])
