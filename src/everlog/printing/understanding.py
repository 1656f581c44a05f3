"""From JSON to shapes: JSON Schema, as far as data need it, and the short form.

In the short form an object of names is an object of fields, `"string"` is a shape, a list of shapes
is any of them, and a field is required unless it says `"optional": true` or has a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias, TypeVar, cast

from everlog.core.portable import JsonValue, canonical
from everlog.errors import InvalidConfig
from everlog.printing.shapes import (
    Anything,
    Boolean,
    Choice,
    Field,
    Fields,
    ListOf,
    MapOf,
    Null,
    Number,
    Ref,
    Shape,
    Text,
    TupleOf,
    one_of,
)

Object: TypeAlias = "dict[str, JsonValue]"
T = TypeVar("T")

NO_DATA = Fields(())
MOMENTS_AND_IDS = ("date-time", "date", "time", "uuid")
"""Formats of text that are types of their own in Python, and checked."""
_TYPES = ("string", "number", "integer", "boolean", "null", "object", "array")
_WORDS = (*_TYPES, "any", "unknown")
"""What may stand for a shape by itself."""
_NOTES = ("description", "title", "$comment", "examples", "deprecated", "readOnly", "writeOnly")
"""What says nothing of a shape. Of these only the description is printed."""
_OF_TYPE: dict[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength", "pattern", "format", "contentEncoding"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "boolean": (),
    "null": (),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "object": ("properties", "required", "additionalProperties"),
}
_ALWAYS = (*_NOTES, "default", "optional", "$schema", "$id", "$defs", "definitions")
_NEVER_SHAPES = (
    "description",
    "title",
    "$comment",
    "deprecated",
    "readOnly",
    "writeOnly",
    "optional",
)
"""Of these, what stands for a shape is one: of a field that is called so."""
_COMBINED = ("$ref", "enum", "const", "anyOf", "oneOf", "allOf")
_KEYWORDS = {"type", "discriminator", *_ALWAYS, *_COMBINED, *sum(_OF_TYPE.values(), ())}

_UNSUPPORTED = frozenset(
    {
        "$anchor",
        "$dynamicAnchor",
        "$dynamicRef",
        "$vocabulary",
        "additionalItems",
        "contains",
        "contentMediaType",
        "contentSchema",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxContains",
        "maxProperties",
        "minContains",
        "minProperties",
        "not",
        "patternProperties",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""What else JSON Schema has. Beside `type` it is that, and not the name of a field."""


class Understanding:
    """Understands one file; what is wrong raises `InvalidConfig` with its place."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.definitions: dict[str, Shape] = {}
        """What `$defs` and `definitions` name."""

    def root(self, value: JsonValue, where: str) -> Shape:
        """Returns the shape of data or meta. JSON Schema says so itself by `$schema`."""
        if isinstance(value, dict):
            if not value:
                return NO_DATA
            strict = "$schema" in value
            self.define(value, where, strict=strict)
            return self._shape(value, where, strict)
        return self._shape(value, where, False)

    def define(self, value: Object, where: str, *, strict: bool) -> None:
        """Takes in what an object defines beside itself."""
        for key in ("$defs", "definitions"):
            members = value.get(key)
            if members is None or not _is_schema(value):
                continue
            if not isinstance(members, dict):
                self._refuse(f"{where}.{key}", "must be an object of shapes by their names")
            for name, each in members.items():
                self.add(name, self._shape(each, f"{where}.{key}.{name}", strict), where)

    def add(self, name: str, shape: Shape, where: str) -> None:
        """Takes in a named shape."""
        if self.definitions.setdefault(name, shape) != shape:
            self._refuse(where, f"defines {name!r} twice, as two different shapes")

    def shape(self, value: JsonValue, where: str) -> Shape:
        """Returns the shape of a definition."""
        return self._shape(value, where, isinstance(value, dict) and "$schema" in value)

    def _refuse(self, where: str, problem: str) -> NoReturn:
        raise InvalidConfig(self._source, where, problem)

    def _shape(self, value: JsonValue, where: str, strict: bool) -> Shape:
        if isinstance(value, bool) and strict and value:
            return Anything()
        if isinstance(value, str) and not strict:
            return self._word(value, where)
        if isinstance(value, list) and not strict:
            return self._any_of(value, where, strict)
        if not isinstance(value, dict):
            self._refuse(
                where,
                f"is {_shown(value)} and no shape; write JSON Schema, the name of a type "
                f"({', '.join(_WORDS)}), a list of shapes, or an object of fields",
            )
        if strict or not value or _is_schema(value):
            return self._schema(value, where, strict)
        return self._fields(value, None, where, strict, description="", open=False)

    def _word(self, word: str, where: str) -> Shape:
        if word.endswith("[]"):
            return ListOf(self._word(word[:-2], where))
        if word in ("any", "unknown"):
            return Anything()
        if word not in _TYPES:
            self._refuse(
                where, f"is {_shown(word)} and no type; there are {', '.join(_WORDS)} and string[]"
            )
        return self._typed(word, {}, where, False)

    def _schema(self, value: Object, where: str, strict: bool) -> Shape:
        for key in value:
            if key not in _KEYWORDS:
                self._refuse(
                    f"{where}.{key}",
                    "is not supported; an event's shape is made of "
                    f"{', '.join(sorted(_KEYWORDS - set(_ALWAYS)))}",
                )
        if strict and "optional" in value:
            self._refuse(f"{where}.optional", "is no JSON Schema; list what is `required`")
        for key in _COMBINED:
            if key in value:
                return self._combined(key, value, where, strict)
        kinds = value.get("type")
        if kinds is None:
            kinds = self._implied(value, where)
            if kinds is None:
                return Anything()
        names = kinds if isinstance(kinds, list) else [kinds]
        for name in names:
            if name not in _TYPES and (strict or name not in _WORDS):
                self._refuse(f"{where}.type", f"is {_shown(name)}; there are {', '.join(_TYPES)}")
        if not names:
            self._refuse(f"{where}.type", "is an empty list")
        known = {key for name in names for key in _OF_TYPE.get(cast("str", name), ())}
        for key in value:
            if key not in known and key not in _ALWAYS and key not in ("type", "discriminator"):
                self._refuse(f"{where}.{key}", f"says nothing of a {' or '.join(map(str, names))}")
        return one_of([self._typed(str(name), value, where, strict) for name in names])

    def _implied(self, value: Object, where: str) -> str | None:
        found = [
            kind for kind in ("object", "array") if any(key in value for key in _OF_TYPE[kind])
        ]
        if found:
            return found[0]
        for kind in ("string", "number"):
            for key in _OF_TYPE[kind]:
                if key in value:
                    self._refuse(f"{where}.{key}", f'stands without "type": "{kind}"')
        return None

    def _combined(self, key: str, value: Object, where: str, strict: bool) -> Shape:
        item = value[key]
        others = [
            other
            for other in value
            if other != key and other not in _ALWAYS and other not in ("type", "discriminator")
        ]
        if others:
            self._refuse(f"{where}.{others[0]}", f"stands beside {key!r}; say it in there")
        at = f"{where}.{key}"
        if key == "$ref":
            prefix, _, name = str(item).rpartition("/")
            if prefix not in ("#/$defs", "#/definitions") or not name:
                self._refuse(at, f'is {_shown(item)}; write "#/definitions/Name"')
            return Ref(name)
        if key == "const":
            return Null() if item is None else Choice((self._literal(item, at),))
        if not isinstance(item, list) or not item:
            self._refuse(at, "must be a list of one or more")
        items = item
        if key == "enum":
            found = tuple(self._literal(each, f"{at}[{index}]") for index, each in enumerate(items))
            if len({(type(each), each) for each in found}) != len(found):
                self._refuse(at, "has a value twice")
            return Choice(found)
        if key == "allOf" and len(items) != 1:
            self._refuse(at, "of several is not supported; write their fields into one object")
        return self._any_of(items, at, strict)

    def _any_of(self, items: Sequence[JsonValue], where: str, strict: bool) -> Shape:
        if not items:
            self._refuse(where, "is an empty list; name the shapes that it may be")
        return one_of(
            [self._shape(each, f"{where}[{index}]", strict) for index, each in enumerate(items)]
        )

    def _literal(self, value: JsonValue, where: str) -> str | int | bool | None:
        if isinstance(value, (float, list, dict)):
            self._refuse(
                where,
                f"is {_shown(value)}; these are text, whole numbers, true, false and null",
            )
        return value

    def _typed(self, kind: str, value: Object, where: str, strict: bool) -> Shape:
        match kind:
            case "string":
                return self._text(value, where)
            case "number" | "integer":
                return self._number(value, where, whole=kind == "integer")
            case "boolean":
                return Boolean()
            case "null":
                return Null()
            case "array":
                return self._list(value, where, strict)
            case "object":
                return self._object(value, where, strict)
            case _:
                return Anything()

    def _text(self, value: Object, where: str) -> Shape:
        pattern = self._said(value, "pattern", where, str)
        if pattern is not None:
            self._check_pattern(pattern, f"{where}.pattern")
        format = self._said(value, "format", where, str)
        limits = [key for key in ("minLength", "maxLength", "pattern") if key in value]
        if format in MOMENTS_AND_IDS and limits:
            self._refuse(
                f"{where}.{limits[0]}", f"stands beside the format {format!r}, which is enough"
            )
        return Text(
            min_length=self._size(value, "minLength", where),
            max_length=self._size(value, "maxLength", where),
            pattern=pattern,
            format=format,
        )

    def _check_pattern(self, pattern: str, where: str) -> None:
        from pydantic_core import SchemaError, SchemaValidator, core_schema

        try:
            SchemaValidator(core_schema.str_schema(pattern=pattern))
        except SchemaError as error:
            # Its engine knows no look-around, and takes the same time for each text.
            problem = str(error).strip().splitlines()[-1].strip()
            self._refuse(where, f"is no pattern that can be checked: {problem}")

    def _number(self, value: Object, where: str, *, whole: bool) -> Shape:
        found: dict[str, float | None] = {}
        for key, name in (
            ("minimum", "at_least"),
            ("maximum", "at_most"),
            ("exclusiveMinimum", "above"),
            ("exclusiveMaximum", "below"),
            ("multipleOf", "multiple_of"),
        ):
            item = value.get(key)
            if item is not None and (isinstance(item, bool) or not isinstance(item, (int, float))):
                self._refuse(f"{where}.{key}", f"is {_shown(item)} and must be a number")
            found[name] = cast("float | None", item)
        step = found["multiple_of"]
        if step is not None and step <= 0:
            self._refuse(f"{where}.multipleOf", "must be above 0")
        if whole:
            for name, bound in found.items():
                if bound is not None and bound != int(bound):
                    self._refuse(where, f"is whole, and {name.replace('_', ' ')} {bound} is not")
        return Number(whole=whole, **found)

    def _list(self, value: Object, where: str, strict: bool) -> Shape:
        items, prefix = value.get("items"), value.get("prefixItems")
        low, high = self._size(value, "minItems", where), self._size(value, "maxItems", where)
        unique = self._said(value, "uniqueItems", where, bool) or False
        if prefix is None and isinstance(items, list):
            prefix, items = items, False  # as it was written before prefixItems
        if prefix is not None:
            if not isinstance(prefix, list) or not prefix:
                self._refuse(f"{where}.prefixItems", "must be a list of one shape or more")
            places = prefix
            if items not in (None, False) or unique:
                self._refuse(where, "has a place for each item, and can have no more")
            if low not in (None, len(places)) or high not in (None, len(places)):
                self._refuse(where, f"has {len(places)} places, and says another number of items")
            found = (
                self._shape(each, f"{where}.items[{index}]", strict)
                for index, each in enumerate(places)
            )
            return TupleOf(tuple(found))
        item = Anything() if items is None else self._shape(items, f"{where}.items", strict)
        return ListOf(item, min_items=low, max_items=high, unique=unique)

    def _object(self, value: Object, where: str, strict: bool) -> Shape:
        properties, more = value.get("properties"), value.get("additionalProperties")
        if not properties:
            if value.get("required"):
                self._refuse(f"{where}.required", "names fields that are not in `properties`")
            if more is False or (properties is not None and more is None):
                return Fields((), description=self._description(value, where))
            if more in (None, True):
                return MapOf(Anything())
            return MapOf(self._shape(more, f"{where}.additionalProperties", strict))
        if not isinstance(properties, dict):
            self._refuse(f"{where}.properties", "must be an object of shapes by their names")
        if more not in (None, True, False):
            self._refuse(
                f"{where}.additionalProperties",
                "of a shape stands beside `properties`; give the others a field of their own",
            )
        required = value.get("required")
        if required is None:
            names: list[str] | None = [] if strict else None
        else:
            if not isinstance(required, list):
                self._refuse(f"{where}.required", "must be a list of names")
            names = [str(each) for each in required]
            for name in names:
                if name not in properties:
                    self._refuse(f"{where}.required", f"names {name!r}, which is no property")
        return self._fields(
            properties,
            names,
            f"{where}.properties",
            strict,
            description=self._description(value, where),
            open=more is True,
        )

    def _fields(
        self,
        members: Object,
        required: Sequence[str] | None,
        where: str,
        strict: bool,
        *,
        description: str,
        open: bool,
    ) -> Fields:
        fields: list[Field] = []
        for name, value in members.items():
            at = f"{where}.{name}"
            shape = self._shape(value, at, strict)
            said: Mapping[str, JsonValue] = {}
            if isinstance(value, dict) and (strict or not value or _is_schema(value)):
                said = value
            optional = self._said(said, "optional", at, bool) or False
            is_required = not optional and (required is None or name in required)
            default: str | None = None
            if "default" in said:
                default = self._default(said["default"], shape, f"{at}.default")
                is_required = False
            fields.append(
                Field(name, shape, is_required, default, description=self._description(said, at))
            )
        return Fields(tuple(fields), open=open, description=description)

    def _default(self, value: JsonValue, shape: Shape, where: str) -> str | None:
        from everlog.printing.fitting import fits

        if isinstance(value, (list, dict)) and value:
            self._refuse(where, "may be text, a number, true, false, null, [] or {}")
        if value is None:
            return None  # it may be left out, and that is all
        if not isinstance(shape, Ref) and not fits(value, shape):
            self._refuse(where, f"is {_shown(value)}, which does not fit its shape")
        return canonical(value)

    def _description(self, value: Mapping[str, JsonValue], where: str) -> str:
        return (self._said(value, "description", where, str) or "").strip()

    def _size(self, value: Object, key: str, where: str) -> int | None:
        found = value.get(key)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            self._refuse(f"{where}.{key}", f"is {_shown(found)} and must be a whole number from 0")
        return found

    def _said(
        self, value: Mapping[str, JsonValue], key: str, where: str, kind: type[T]
    ) -> T | None:
        found = value.get(key)
        if found is not None and not isinstance(found, kind):
            self._refuse(f"{where}.{key}", f"is {_shown(found)} and must be {_KINDS[kind]}")
        return found


_KINDS: dict[type, str] = {str: "text", bool: "true or false"}


def _is_schema(value: Object) -> bool:
    """Whether an object is JSON Schema, and not fields by their names.

    A field may be called `type`: then it is a shape, and others stand beside it that no schema has.
    """
    kinds = value.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    signs = (
        "type" in value and bool(names) and all(name in _WORDS for name in names),
        isinstance(value.get("$ref"), str) and str(value["$ref"]).startswith("#"),
        isinstance(value.get("enum"), list),
        "const" in value,
        any(isinstance(value.get(key), list) for key in ("anyOf", "oneOf", "allOf")),
        isinstance(value.get("properties"), dict),
        "$schema" in value,
    )
    if not any(signs[1:]) and _is_of_fields(value, typed=signs[0]):
        return False
    if not any(signs):
        return not (value.keys() - set(_ALWAYS))  # such as {"optional": true}
    if any(key in _UNSUPPORTED for key in value):
        return True  # and is told as such
    others = [each for key, each in value.items() if key not in _KEYWORDS]
    # Otherwise it is a misspelt keyword, and is told as such.
    return not any(isinstance(each, (dict, list)) or each in _WORDS for each in others)


def _is_of_fields(value: Object, *, typed: bool) -> bool:
    """Whether what could be notes of a schema are fields: each is a shape, where no note is one."""
    telling = any(
        _is_shape(each) if key in _NEVER_SHAPES else isinstance(each, str) and not typed
        for key, each in value.items()
    )
    return telling and all(map(_is_shape, value.values()))


def _is_shape(value: JsonValue) -> bool:
    if isinstance(value, str):
        while value.endswith("[]"):
            value = value[:-2]
        return value in _WORDS
    return isinstance(value, (dict, list))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
