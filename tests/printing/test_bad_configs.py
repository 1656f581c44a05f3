"""What is wrong in a configuration is told with its file and place; nothing is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from everlog.errors import InvalidConfig, InvalidInput
from everlog.printing import print_events
from everlog.printing.configs import MAX_FILE_BYTES
from tests.printing.shop import DIALECT, write

E = {"type": "a"}
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", r"it\.json: the file"),
    "a key twice": ('{"type": "a", "type": "b"}', "twice"),
    "not UTF-8": ("{\udcff}", "UTF-8"),
    "no object": ([], "must be an object"),
    "no type": ({"event": {}}, r"at event\.type: is missing"),
    "a type that is none": ({"type": ""}, "at type: event type"),
    "a number for a type": ({"type": 5}, "at type: event type"),
    "a key that is not known": (
        {**E, "dato": {}},
        r"at dato: is not known; there are type, schema",
    ),
    "a key beside the event": ({"event": E, "data": {}}, "at data: stands beside"),
    "an event that is none": ({"event": 5}, "at event: must be an object"),
    "schema 0": ({**E, "schema": 0}, "at schema: must be a whole number"),
    "schema true": ({**E, "schema": True}, "at schema: must be a whole number"),
    "a schema of text": ({**E, "schema": "1"}, "at schema: must be a whole number"),
    "aliases as text": ({**E, "aliases": "b"}, "at aliases: must be a list"),
    "an alias that is none": ({**E, "aliases": [5], "register": "a"}, r"at aliases\[0\]: alias"),
    "aliases without register": ({**E, "aliases": ["b"]}, 'at register: has to be said .*"b"'),
    "itself as alias": (
        {**E, "aliases": ["a"], "register": "a"},
        "at aliases: name something twice",
    ),
    "a name that is none": ({**E, "name": "a b"}, "at name: is no name of a class"),
    "a type of no letters": ({"type": "::"}, "does not follow from '::'"),
    "a type that begins with a digit": ({"type": "3d"}, "does not follow"),
    "a name of ours": ({**E, "name": "BaseModel"}, "at name"),
    "a description of 5": ({**E, "description": 5}, "at description"),
    "a word that is no type": (
        {**E, "data": {"x": "strin"}},
        r"at data\.x: is 'strin' and no type; there are string",
    ),
    "a number for a shape": ({**E, "data": {"x": 5}}, r"at data\.x: is 5 and no shape"),
    "null for a shape": ({**E, "data": {"x": None}}, r"at data\.x: is None and no shape"),
    "a length of a moment": (
        {**E, "data": {"type": "string", "format": "date-time", "minLength": 5}},
        r"at data\.minLength: stands beside the format 'date-time'",
    ),
    "an empty union": ({**E, "data": {"x": []}}, r"at data\.x: is an empty list"),
    "a keyword that is not known": (
        {**E, "data": {"type": "string", "maxLenght": 5}},
        r"at data\.maxLenght: is not supported",
    ),
    "a keyword of another type": (
        {**E, "data": {"type": "string", "minimum": 5}},
        r"at data\.minimum: says nothing of a string",
    ),
    "a keyword without type": (
        {**E, "data": {"x": {"$schema": DIALECT, "minLength": 5}}},
        'stands without "type": "string"',
    ),
    "allOf": ({**E, "data": {"allOf": ["string", "integer"]}}, r"at data\.allOf: of several"),
    "patternProperties": (
        {**E, "data": {"type": "object", "patternProperties": {}}},
        "is not supported",
    ),
    "a reference to nowhere": (
        {**E, "data": {"x": {"$ref": "#/definitions/X"}}},
        "speaks of 'X', and defined are: none",
    ),
    "a reference elsewhere": (
        {**E, "data": {"x": {"$ref": "#/x/y"}}},
        'write "#/definitions/Name"',
    ),
    "a reference to a file": (
        {**E, "data": {"$schema": DIALECT, "$ref": "other.json"}},
        'write "#/definitions/Name"',
    ),
    "an enum of none": ({**E, "data": {"enum": []}}, "must be a list of one or more"),
    "an enum of fractions": ({**E, "data": {"enum": [1.5]}}, r"at data\.enum\[0\]: is 1\.5"),
    "an enum of lists": ({**E, "data": {"enum": [["a"]]}}, "these are text"),
    "an enum with one twice": ({**E, "data": {"enum": ["a", "a"]}}, "has a value twice"),
    "enum beside others": (
        {**E, "data": {"x": {"enum": ["a"], "minLength": 5}}},
        "stands beside 'enum'",
    ),
    "a pattern that is none": (
        {**E, "data": {"type": "string", "pattern": "("}},
        r"at data\.pattern: is no pattern",
    ),
    "a pattern that looks ahead": (
        {**E, "data": {"type": "string", "pattern": "(?=a)"}},
        r"at data\.pattern: is no pattern",
    ),
    "a length below 0": ({**E, "data": {"type": "string", "minLength": -1}}, r"at data\.minLength"),
    "a length of text": (
        {**E, "data": {"type": "string", "minLength": "1"}},
        r"at data\.minLength",
    ),
    "a bound of text": ({**E, "data": {"type": "number", "minimum": "1"}}, r"at data\.minimum"),
    "a step of 0": ({**E, "data": {"type": "number", "multipleOf": 0}}, "must be above 0"),
    "a fraction for whole numbers": (
        {**E, "data": {"type": "integer", "minimum": 0.5}},
        "is whole",
    ),
    "required that is no list": (
        {**E, "data": {"type": "object", "properties": {"a": "string"}, "required": True}},
        "must be a list of names",
    ),
    "required that is no property": (
        {**E, "data": {"type": "object", "properties": {"a": "string"}, "required": ["b"]}},
        "names 'b'",
    ),
    "required of nothing": (
        {**E, "data": {"type": "object", "required": ["b"]}},
        "not in `properties`",
    ),
    "properties of a list": (
        {**E, "data": {"$schema": DIALECT, "type": "object", "properties": ["a"]}},
        r"at data\.properties",
    ),
    "others of a shape beside properties": (
        {
            **E,
            "data": {
                "type": "object",
                "properties": {"a": "string"},
                "additionalProperties": "string",
            },
        },
        "stands beside `properties`",
    ),
    "optional in JSON Schema": (
        {
            **E,
            "data": {
                "$schema": DIALECT,
                "type": "object",
                "properties": {"a": {"type": "string", "optional": True}},
            },
        },
        "is no JSON Schema",
    ),
    "a word in JSON Schema": (
        {**E, "data": {"$schema": DIALECT, "type": "object", "properties": {"a": "string"}}},
        "is 'string' and no shape",
    ),
    "optional as text": (
        {**E, "data": {"a": {"type": "string", "optional": "yes"}}},
        "must be true or false",
    ),
    "a default that does not fit": (
        {**E, "data": {"a": {"type": "integer", "default": "x"}}},
        "does not fit its shape",
    ),
    "a default out of bounds": (
        {**E, "data": {"a": {"type": "integer", "default": 1, "minimum": 2}}},
        "does not fit its shape",
    ),
    "a default of several things": (
        {**E, "data": {"a": {"type": "array", "items": "string", "default": ["x"]}}},
        r"may be text.*\[\] or",
    ),
    "a default of too few": (
        {**E, "data": {"a": {"type": "array", "items": "string", "minItems": 1, "default": []}}},
        "does not fit",
    ),
    "places and more": (
        {**E, "data": {"type": "array", "prefixItems": ["string"], "items": "string"}},
        "can have no more",
    ),
    "places and a number": (
        {**E, "data": {"type": "array", "items": ["string"], "minItems": 2}},
        "says another number",
    ),
    "no places": ({**E, "data": {"type": "array", "prefixItems": []}}, "one shape or more"),
    "a definition that holds itself": (
        {
            **E,
            "data": {
                "$schema": DIALECT,
                "$ref": "#/$defs/A",
                "$defs": {
                    "A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/B"}]},
                    "B": {"type": "array", "items": {"$ref": "#/$defs/A"}},
                },
            },
        },
        "holds itself; put an object",
    ),
    "a definition by no name of a class": (
        {**E, "data": {"$schema": DIALECT, "$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}},
        "is no name of a class",
    ),
    "definitions of a list": (
        {**E, "data": {"$schema": DIALECT, "type": "object", "$defs": []}},
        r"\$defs: must be an object",
    ),
    "deeper than can be": (
        '{"type": "a", "data": ' + '{"a":' * 70 + '"string"' + "}" * 71,
        "deeper",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told_with_its_file_and_place(case: str, tmp_path: Path) -> None:
    config, says = BAD[case]
    folder = tmp_path / "events"
    folder.mkdir()
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "it.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidConfig, match=says) as caught:
        print_events([folder], out=tmp_path / "events.py")
    assert caught.value.source == str(folder / "it.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events"]
    assert sorted(path.name for path in folder.iterdir()) == ["it.json"]


TOGETHER: dict[str, tuple[dict[str, Any], str]] = {
    "one type twice": ({"a.json": E, "b.json": E}, r"b\.json at type: 'a' is claimed by .*a\.json"),
    "an alias that is a type": (
        {"a.json": E, "b.json": {"type": "b", "aliases": ["a"], "register": "a"}},
        "'a' is claimed",
    ),
    "one name of two types": (
        {"a.json": {"type": "a:b"}, "b.json": {"type": "a-b"}},
        'both named AB; give one of them another: "name"',
    ),
    "a definition and a type": (
        {"a.json": E, "$definitions.json": {"A": "string"}},
        "both named A",
    ),
    "two definitions of one name": (
        {
            "a.json": E,
            "$definitions.json": {"X": "string"},
            "b/$definitions.json": {"X": "integer"},
        },
        r"X: is another shape than in .*definitions\.json",
    ),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_what_does_not_go_together_is_told(case: str, tmp_path: Path) -> None:
    configs, says = TOGETHER[case]
    write(tmp_path / "events", configs)
    with pytest.raises(InvalidConfig, match=says):
        print_events([tmp_path / "events"], out=tmp_path / "events.py")


def test_a_file_that_is_too_large_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"it.json": json.dumps(E) + " " * MAX_FILE_BYTES})
    with pytest.raises(InvalidConfig, match="more than 1,048,576 bytes"):
        print_events([tmp_path], out=tmp_path / "events.py")
    (tmp_path / "it.json").unlink()
    (tmp_path / "it.json").mkdir()
    with pytest.raises(InvalidInput, match="no event configuration"):
        print_events([tmp_path], out=tmp_path / "events.py")
    (tmp_path / "broken.json").symlink_to(tmp_path / "nothing")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        print_events([tmp_path], out=tmp_path / "events.py")


@pytest.mark.once
def test_text_of_configurations_cannot_become_code(tmp_path: Path) -> None:
    """Names, descriptions and values are quoted, whatever they hold."""
    evil = 'x"""\n\nassert False, 1\n"""'
    config = {
        "type": evil.replace("\n", " "),
        "name": "It",
        "register": "r'\"\\",
        "description": evil + '"\\',
        "data": {
            evil: {"type": "string", "description": evil, "default": evil},
            "k": {"enum": [evil, "\\", "*/", "\u2028"]},
        },
    }
    write(tmp_path / "events", {"it.json": config})
    out = tmp_path / "events.py"
    print_events([tmp_path / "events"], out=out, typescript=tmp_path / "events.ts")
    from tests.printing.compiler import complaints
    from tests.printing.shop import imported

    [cls] = imported(out).EVENTS
    made = cls(k=evil)
    assert json.loads(made.model_dump_json(by_alias=True)) == {evil: evil, "k": evil}
    assert cls.__everlog_event__.register == "r'\"\\"
    assert complaints(tmp_path / "events.ts") == ""
