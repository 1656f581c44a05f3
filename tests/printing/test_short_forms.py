"""Every way to write a shape prints, imports, and takes good data and refuses bad."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from everlog.core.event import Registry
from everlog.core.record import StoredRecord
from everlog.errors import DecodeError
from everlog.printing import print_events
from everlog.testing import record_of
from tests.evolution.old_and_new import Noted
from tests.printing.shop import DIALECT, imported, write


@dataclass(frozen=True)
class Form:
    data: Any
    good: list[Any]
    bad: list[Any]
    bad_for_schema_only: list[Any] = field(default_factory=list[Any])
    """What JSON Schema refuses and the class reads: what next year's program may have written."""


OBJECT = {"type": "object", "properties": {"a": "string"}}
FORMS: dict[str, Form] = {
    "a word for a field": Form(
        {"email": "string"},
        [{"email": "x"}, {"email": ""}],
        [{}, {"email": None}, {"email": 5}, None],
    ),
    "an optional object": Form(
        {"name": {"type": "object", "optional": True, "properties": {"given": "string"}}},
        [{}, {"name": {"given": "x"}}],
        [{"name": {}}, {"name": "x"}, {"name": {"given": None}}],
        [{"name": None}],
    ),
    "a bare word": Form("string", ["x", ""], [None, 5, {}, []]),
    "a bare number": Form("number", [1, 1.5, -2], ["1", None, True]),
    "a bare integer": Form("integer", [1, -5], ["1", 1.5, None, True]),
    "a bare boolean": Form("boolean", [True, False], [0, "true", None]),
    "anything": Form("any", [None, 1, "x", [1], {"a": 1}], []),
    "a list by its word": Form("string[]", [[], ["x"]], [["x", 1], "x", None]),
    "a list of lists": Form("integer[][]", [[[1], []]], [[1], [["x"]]]),
    "an array": Form(
        {"tags": {"type": "array", "items": "string"}},
        [{"tags": ["x"]}],
        [{"tags": [1]}, {"tags": {}}],
    ),
    "an array of objects": Form(
        {"all": {"type": "array", "items": OBJECT}}, [{"all": [{"a": "x"}]}], [{"all": [{}]}]
    ),
    "an array of places": Form(
        {"pair": {"type": "array", "items": ["string", "integer"]}},
        [{"pair": ["x", 1]}],
        [{"pair": ["x"]}, {"pair": ["x", 1, 2]}, {"pair": [1, "x"]}],
    ),
    "a union of types": Form(
        {"x": {"type": ["string", "null"]}}, [{"x": "y"}, {"x": None}], [{"x": 5}, {}]
    ),
    "a union as a list": Form(
        {"x": ["integer", "string", OBJECT]},
        [{"x": 1}, {"x": "1"}, {"x": {"a": "b"}}],
        [{"x": 1.5}, {"x": None}],
    ),
    "a union by anyOf": Form(
        {"x": {"anyOf": ["boolean", {"type": "array", "items": "integer"}]}},
        [{"x": True}, {"x": [1]}],
        [{"x": 1}, {"x": ["x"]}],
    ),
    "a union of the whole": Form(
        {
            "anyOf": [
                {"type": "object", "properties": {"type": {"const": "a"}, "n": "integer"}},
                {"type": "object", "properties": {"type": {"const": "b"}, "s": "string"}},
            ]
        },
        [{"type": "a", "n": 1}, {"type": "b", "s": "x"}],
        [{"type": "a", "s": "x"}, {"type": "c"}, None],
    ),
    "an enum": Form(
        {"kind": {"type": "string", "enum": ["origin", "reply"]}},
        [{"kind": "reply"}],
        [{"kind": "x"}, {"kind": None}],
    ),
    "an enum of many kinds": Form(
        {"kind": {"enum": ["a", 1, True, None]}},
        [{"kind": value} for value in ("a", 1, True, None)],
        [{"kind": 2}, {"kind": False}, {"kind": "A"}],
    ),
    "a constant": Form({"kind": {"const": "a"}}, [{"kind": "a"}], [{"kind": "b"}, {}]),
    "absent": Form(None, [None], []),
    "no fields": Form({}, [None], []),
    "a field called type": Form(
        {"type": "string", "amount": "number"}, [{"type": "x", "amount": 1}], [{"type": "x"}, "x"]
    ),
    "a field called properties": Form(
        {"properties": "string", "x": "integer"}, [{"properties": "p", "x": 1}], [{}]
    ),
    "fields called as notes of a schema": Form(
        {"title": "string", "description": "string"},
        [{"title": "x", "description": "y"}],
        [{"title": "x"}, {"title": 5, "description": "y"}, "x", None],
    ),
    "a field called description that may be left out": Form(
        {"task": {"description": {"type": "string", "optional": True}, "deprecated": "boolean"}},
        [{"task": {"deprecated": True}}, {"task": {"description": "y", "deprecated": False}}],
        [{"task": {}}, {"task": {"description": 5, "deprecated": True}}, {"task": 5}],
    ),
    "fields called type and title": Form(
        {"type": "string", "title": {"type": "string", "optional": True}},
        [{"type": "x"}, {"type": "x", "title": "y"}],
        [{"title": "y"}, {"type": "x", "title": 5}, "x"],
    ),
    "fields called default and examples": Form(
        {"default": "integer", "examples": "string[]"},
        [{"default": 1, "examples": ["x"]}],
        [{"default": "x", "examples": []}, {"default": 1}, 1],
    ),
    "notes of a schema": Form(
        {"it": {"type": "string", "title": "It", "description": "any text", "deprecated": True}},
        [{"it": "x"}],
        [{"it": {"title": "x"}}, {}],
    ),
    "an object within, by its fields": Form(
        {"name": {"given": "string", "family": "string"}},
        [{"name": {"given": "a", "family": "b"}}],
        [{"name": {"given": "a"}}],
    ),
    "the whole as an object": Form(OBJECT, [{"a": "x"}], [{}, {"a": 1}]),
    "an open object": Form(
        {"type": "object", "properties": {"a": "string"}, "additionalProperties": True},
        [{"a": "x"}, {"a": "x", "b": [1]}],
        [{"b": 1}],
    ),
    "any object": Form(
        {"meta": {"type": "object", "properties": {}, "additionalProperties": True}},
        [{"meta": {}}, {"meta": {"a": [1]}}],
        [{"meta": 1}],
    ),
    "a map": Form(
        {"n": {"type": "object", "additionalProperties": "integer"}},
        [{"n": {"x": 1}}],
        [{"n": {"x": "1"}}],
    ),
    "a default": Form(
        {"n": {"type": "integer", "default": 3}}, [{}, {"n": 4}], [{"n": "4"}, {"n": None}]
    ),
    "an optional that may be null": Form(
        {"n": {"type": ["integer", "null"], "optional": True}},
        [{}, {"n": None}, {"n": 1}],
        [{"n": "x"}],
    ),
    "JSON Schema": Form(
        {
            "$schema": DIALECT,
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "required": ["a"],
        },
        [{"a": "x"}, {"a": "x", "b": 1}],
        [{"b": 1}, {"a": "x", "b": "y"}],
    ),
    "JSON Schema without required": Form(
        {"$schema": DIALECT, "type": "object", "properties": {"a": {"type": "string"}}},
        [{}, {"a": "x"}],
        [{"a": 1}],
    ),
    "JSON Schema with definitions": Form(
        {
            "$schema": DIALECT,
            "$ref": "#/$defs/Tree",
            "$defs": {
                "Tree": {
                    "type": "object",
                    "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
                    "required": ["of"],
                }
            },
        },
        [{"of": []}, {"of": [{"of": []}]}],
        [{"of": [{}]}],
    ),
    "bounds": Form(
        {
            "n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2},
            "t": {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]+$"},
            "l": {
                "type": "array",
                "items": "integer",
                "minItems": 1,
                "maxItems": 2,
                "uniqueItems": True,
            },
            "f": {"type": "number", "exclusiveMinimum": 0.5, "maximum": 1.5},
        },
        [{"n": 2, "t": "abc", "l": [1, 2], "f": 1.5}],
        [
            {"n": 0, "t": "abc", "l": [1], "f": 1},
            {"n": 3, "t": "abc", "l": [1], "f": 1},
            {"n": 10, "t": "abc", "l": [1], "f": 1},
            {"n": 2, "t": "", "l": [1], "f": 1},
            {"n": 2, "t": "A", "l": [1], "f": 1},
            {"n": 2, "t": "a", "l": [], "f": 1},
            {"n": 2, "t": "a", "l": [1, 1], "f": 1},
            {"n": 2, "t": "a", "l": [1], "f": 0.5},
            {"n": 2, "t": "a", "l": [1], "f": 2},
        ],
    ),
    "formats": Form(
        {
            "at": {"type": "string", "format": "date-time"},
            "day": {"type": "string", "format": "date"},
            "id": {"type": "string", "format": "uuid"},
        },
        [
            {
                "at": "2026-01-31T12:00:00Z",
                "day": "2026-01-31",
                "id": "8c1e7b1a-0a35-5d0c-8b63-6b0f3a1d9a77",
            }
        ],
        [{"at": 5, "day": "2026-01-31", "id": "8c1e7b1a-0a35-5d0c-8b63-6b0f3a1d9a77"}],
    ),
    "names that are one in Python": Form(
        {
            name: {"type": "string", "optional": True}
            for name in ("class", "class_", "Name", "name", "a-b", "a_b_", "a_b", "a b")
        },
        [
            {},
            *({name: "x"} for name in ("class", "class_", "Name", "name", "a-b", "a_b_", "a_b")),
        ],
        [],
    ),
    "names that Python has": Form(
        {
            "class": "string",
            "from": "integer",
            "json": "string",
            "a-b": "string",
            "_x": "string",
            "str": "string",
            "Any": "string",
        },
        [{"class": "c", "from": 1, "json": "j", "a-b": "d", "_x": "u", "str": "s", "Any": "a"}],
        [{"from": 1, "json": "j", "a-b": "d", "_x": "u", "str": "s", "Any": "a"}],
        [{"class_": "c", "from": 1, "json": "j", "a-b": "d", "_x": "u", "str": "s", "Any": "a"}],
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_prints_imports_and_tells_good_data_from_bad(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    config: dict[str, Any] = {"type": "it:happened", "data": form.data}
    if form.data is None:
        del config["data"]
    write(tmp_path / "events", {"it.json": {"event": config}})
    out, schemas = tmp_path / "events.py", tmp_path / "schemas"
    print_events([tmp_path / "events"], out=out, json_schema=schemas)
    registry = Registry(imported(out).EVENTS)
    document = json.loads((schemas / "ItHappened.json").read_text())
    Draft202012Validator.check_schema(document)
    whole: Any = Draft202012Validator(document)

    def is_valid(data: Any) -> bool:
        envelope = {"type": "it:happened", "schema": 1, "data": data, "meta": None}
        return bool(whole.is_valid(envelope))

    for data in form.good:
        assert is_valid(data), data
        event = registry.decode_data(stored(data))
        declared = registry.of_event(event)
        again = json.loads(declared.encode(event, None)[0])
        # Defaults are written; nothing else is added, lost or changed.
        assert is_valid(again), again
        assert registry.decode_data(stored(again)) == event
        if name not in ("a default", "an optional that may be null"):
            assert again == data
    for data in form.bad:
        assert not is_valid(data), data
        with pytest.raises(DecodeError):
            registry.decode_data(stored(data))
    for data in form.bad_for_schema_only:
        assert not is_valid(data), data
        assert registry.decode_data(stored(data)) is not None


def stored(data: Any) -> StoredRecord:
    row = record_of(Noted("x")).stored
    return row._replace(type="it:happened", data=json.dumps(data))
