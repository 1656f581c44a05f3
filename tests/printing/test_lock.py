"""A change that stored events do not survive is refused without a new schema number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from everlog.errors import BreakingChange, InvalidConfig, NotPrinted
from everlog.printing import print_events
from tests.printing.shop import write

OBJECT = {"a": "string", "b": {"type": "integer", "optional": True}}
TEXT = {"type": "string", "maxLength": 5}
NUMBER = {"type": "number", "minimum": 1}

# Of data: before, after, and what is said of it.
BREAKING: dict[str, tuple[Any, Any, str]] = {
    "a field is gone": (OBJECT, {"a": "string"}, "data.b was removed"),
    "a field is retyped": (
        OBJECT,
        {**OBJECT, "a": "integer"},
        "data.a was retyped: string before, integer now",
    ),
    "a field is new and required": (
        OBJECT,
        {**OBJECT, "c": "string"},
        "data.c is new and required",
    ),
    "a field of none": (None, {"c": "string"}, "data.c is new and required"),
    "all fields are gone": (OBJECT, None, "data.a was removed"),
    "a field becomes required": (OBJECT, {**OBJECT, "b": "integer"}, "data.b is required now"),
    "null is not taken": ({"a": ["string", "null"]}, {"a": "string"}, "data.a was retyped: null"),
    "a member of a union is gone": (["string", "integer"], "string", "data was retyped: integer"),
    "a union in a union": (
        ["string", "integer", "null"],
        ["string", "null"],
        "data was retyped: integer before, string or null now",
    ),
    "deep inside": (
        {"l": {"type": "array", "items": {"x": {"y": "string"}}}},
        {"l": {"type": "array", "items": {"x": {"y": "number"}}}},
        r"data\.l\[\]\.x\.y was retyped",
    ),
    "a map": (
        {"type": "object", "additionalProperties": "number"},
        {"type": "object", "additionalProperties": "integer"},
        r"data\[\] was retyped: number before, integer now",
    ),
    "fraction": ("number", "integer", "number before, integer now"),
    "a value of an enum": ({"enum": ["a", "b"]}, {"enum": ["a"]}, "may be 'b'"),
    "an enum of another kind": ({"enum": ["a", 1]}, "string", "integer before, string now"),
    "true is not 1": ({"enum": [1]}, {"enum": [True]}, "may be 1"),
    "text becomes an enum": ("string", {"enum": ["a"]}, "string before, enum now"),
    "shorter text": ("string", TEXT, "5 characters at most"),
    "longer text": ("string", {"type": "string", "minLength": 1}, "1 characters at least"),
    "a pattern": ("string", {"type": "string", "pattern": "a"}, "the pattern 'a' is new"),
    "another pattern": (
        {"type": "string", "pattern": "b"},
        {"type": "string", "pattern": "a"},
        "the pattern 'a' is new",
    ),
    "a format": ("string", {"type": "string", "format": "date"}, "the format 'date' is new"),
    "a bound": ("number", NUMBER, "the bound 1 is new"),
    "a closer bound": (NUMBER, {"type": "number", "minimum": 2}, "the bound 2 is new"),
    "a bound from equal to above": (
        NUMBER,
        {"type": "number", "exclusiveMinimum": 1},
        "the bound 1 is new",
    ),
    "a closer bound above": (
        {"type": "number", "exclusiveMaximum": 5},
        {"type": "number", "exclusiveMaximum": 4},
        "the bound 4 is new",
    ),
    "a bound from equal to below": (
        {"type": "number", "maximum": 5},
        {"type": "number", "exclusiveMaximum": 5},
        "the bound 5 is new",
    ),
    "a step": ("integer", {"type": "integer", "multipleOf": 2}, "multiples of 2"),
    "another step": (
        {"type": "integer", "multipleOf": 3},
        {"type": "integer", "multipleOf": 2},
        "multiples of 2",
    ),
    "fewer items": (
        "string[]",
        {"type": "array", "items": "string", "maxItems": 3},
        "3 items at most",
    ),
    "more items": (
        "string[]",
        {"type": "array", "items": "string", "minItems": 1},
        "1 items at least",
    ),
    "each once": (
        "string[]",
        {"type": "array", "items": "string", "uniqueItems": True},
        "something twice",
    ),
    "another place": (
        {"type": "array", "items": ["string", "integer"]},
        {"type": "array", "items": ["string", "string"]},
        r"data\[1\] was retyped",
    ),
    "fewer places": (
        {"type": "array", "items": ["string", "integer"]},
        {"type": "array", "items": ["string"]},
        "had 2 places and has 1",
    ),
    "a list for places": ("string[]", {"type": "array", "items": ["string"]}, "was retyped"),
    "another default": (
        {"a": {"type": "integer", "default": 1}},
        {"a": {"type": "integer", "default": 2}},
        "another default",
    ),
    "a default is gone": (
        {"a": {"type": "integer", "default": 1}},
        {"a": {"type": "integer", "optional": True}},
        "another default",
    ),
    "no others any more": (
        {"type": "object", "properties": {"a": "string"}, "additionalProperties": True},
        {"a": "string"},
        "may have other fields",
    ),
    "a name that others may have": (
        {"type": "object", "properties": {"a": "string"}, "additionalProperties": True},
        {
            "type": "object",
            "properties": {"a": "string", "b": {"type": "string", "optional": True}},
            "additionalProperties": True,
        },
        "may be there as something else",
    ),
    "anything": ("any", "string", "any before, string now"),
    "an object for a value": ("string", {"a": "string"}, "string before, object now"),
}
HARMLESS: dict[str, tuple[Any, Any]] = {
    "nothing": (OBJECT, OBJECT),
    "another order": (OBJECT, dict(reversed(OBJECT.items()))),
    "a new optional field": (OBJECT, {**OBJECT, "c": {"type": "string", "optional": True}}),
    "a new field with a default": (OBJECT, {**OBJECT, "c": {"type": "string", "default": "x"}}),
    "the first fields, optional": (None, {"c": {"type": "string", "optional": True}}),
    "no longer required": (OBJECT, {**OBJECT, "a": {"type": "string", "optional": True}}),
    "null too": ({"a": "string"}, {"a": ["string", "null"]}),
    "one more of a union": ("string", ["integer", "string"]),
    "a union in a wider one": (["string", "null"], ["null", "string", "boolean"]),
    "fraction": ("integer", "number"),
    "one more value": ({"enum": ["a"]}, {"enum": ["b", "a"]}),
    "an enum becomes text": ({"enum": ["a", "bcd"]}, "string"),
    "an enum becomes short text": ({"enum": ["a", "bcd"]}, TEXT),
    "an enum becomes a union": (
        {"enum": ["a", None, 1, True]},
        ["string", "null", "integer", "boolean"],
    ),
    "bounds are gone": (NUMBER, "number"),
    "wider bounds": (NUMBER, {"type": "number", "exclusiveMinimum": 0.5}),
    "from above to equal": (
        {"type": "number", "exclusiveMinimum": 1},
        {"type": "number", "minimum": 1},
    ),
    "from below to equal": (
        {"type": "number", "exclusiveMaximum": 1},
        {"type": "number", "maximum": 1},
    ),
    "a finer step": ({"type": "integer", "multipleOf": 4}, {"type": "integer", "multipleOf": 2}),
    "longer text": (TEXT, "string"),
    "no format": ({"type": "string", "format": "date"}, "string"),
    "places become a list": ({"type": "array", "items": ["string", "string"]}, "string[]"),
    "fields become a map": (
        {"a": "string", "b": "string"},
        {"type": "object", "additionalProperties": "string"},
    ),
    "others are allowed": (
        {"a": "string"},
        {"type": "object", "properties": {"a": "string"}, "additionalProperties": True},
    ),
    "any": (OBJECT, "any"),
    "a description": ({"a": "string"}, {"a": {"type": "string", "description": "x"}}),
}


def config(data: Any, **more: Any) -> dict[str, Any]:
    found = {"type": "it:happened", **more}
    return {"event": found if data is None else {**found, "data": data}}


class Project:
    """A folder of one configuration, and what is printed from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "events"
        self.out = folder / "events.py"
        self.lock = self.folder / "events.lock.json"

    def print(self, data: Any, *, check: bool = False, **more: Any) -> None:
        write(self.folder, {"it.json": config(data, **more)})
        print_events([self.folder], out=self.out, check=check)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("case", BREAKING)
def test_what_stored_events_do_not_survive_needs_a_new_schema(case: str, project: Project) -> None:
    before, after, says = BREAKING[case]
    project.print(before)
    files = project.out.read_text(), project.lock.read_text()
    for check in (False, True):
        with pytest.raises(BreakingChange, match=says) as caught:
            project.print(after, check=check)
        assert caught.value.problems[0][0] == "it:happened"
    assert (project.out.read_text(), project.lock.read_text()) == files
    project.print(after, schema=2)
    assert project.lock.read_text() != files[1]


@pytest.mark.parametrize("case", HARMLESS)
def test_what_stored_events_survive_needs_none(case: str, project: Project) -> None:
    before, after = HARMLESS[case]
    project.print(before)
    project.print(after)
    project.print(after, check=True)


@pytest.mark.parametrize(
    "case", [case for case, (before, after, _) in BREAKING.items() if None not in (before, after)]
)
def test_the_same_is_told_of_meta(case: str, project: Project) -> None:
    before, after, says = BREAKING[case]
    project.print(None, meta=before)
    with pytest.raises(BreakingChange, match=says.replace("data", "meta")):
        project.print(None, meta=after)


def test_null_is_stored_where_no_data_was_and_has_to_be_read(project: Project) -> None:
    project.print({})
    a_map = {"type": "object", "additionalProperties": "string"}
    for after, now in ((a_map, "object"), ([a_map, "string"], "object or string")):
        with pytest.raises(BreakingChange, match=f"data was retyped: null before, {now} now"):
            project.print(after)
    project.print(["string", "null"])


def test_meta_that_comes_or_goes_is_told(project: Project) -> None:
    project.print("string", meta="string")
    with pytest.raises(BreakingChange, match="meta was removed"):
        project.print("string")
    project.print("string", schema=2)
    with pytest.raises(BreakingChange, match="meta is new and required"):
        project.print("string", schema=2, meta={"a": {"type": "string", "optional": True}})


def test_a_schema_only_grows(project: Project) -> None:
    project.print("string", schema=3)
    with pytest.raises(BreakingChange, match="was 3 and is 2"):
        project.print("string", schema=2)


def test_another_register_needs_a_new_schema(project: Project) -> None:
    project.print("string")
    project.print("string", register="it:happened")
    with pytest.raises(BreakingChange, match="register 'it:happened' and writes 'it'"):
        project.print("string", register="it")


def test_a_type_that_is_gone_is_told_until_it_is_an_alias_or_taken_out(project: Project) -> None:
    project.print("string")
    write(project.folder, {"it.json": {"type": "it:was", "data": "string"}})
    with pytest.raises(BreakingChange, match=r"it:happened: is gone.*aliases.*ever stored"):
        print_events([project.folder], out=project.out)
    renamed = {
        "type": "it:was",
        "aliases": ["it:happened"],
        "register": "it:happened",
        "data": "string",
    }
    write(project.folder, {"it.json": renamed})
    print_events([project.folder], out=project.out)
    # The name of before is kept in the lock: it is not forgotten either.
    write(project.folder, {"it.json": {**renamed, "aliases": []}})
    with pytest.raises(BreakingChange, match="it:happened: is gone"):
        print_events([project.folder], out=project.out)
    write(project.folder, {"it.json": {**renamed, "data": "integer"}})
    with pytest.raises(BreakingChange, match="data was retyped"):
        print_events([project.folder], out=project.out)


def test_shapes_that_are_shared_and_hold_themselves_are_compared(project: Project) -> None:
    tree = {"of": {"type": "array", "items": {"$ref": "#/definitions/Tree"}}}
    write(project.folder, {"$definitions.json": {"Tree": tree, "Leaf": {"x": "string"}}})
    project.print({"tree": {"$ref": "#/definitions/Tree"}, "leaf": {"$ref": "#/definitions/Leaf"}})
    # By another name, and written where it is used: the same.
    write(
        project.folder,
        {
            "$definitions.json": {
                "Wood": {"of": {"type": "array", "items": {"$ref": "#/definitions/Wood"}}}
            }
        },
    )
    after = {"tree": {"$ref": "#/definitions/Wood"}, "leaf": {"x": "string"}}
    project.print(after)
    wood = {"of": {"type": "array", "items": {"$ref": "#/definitions/Wood"}}, "by": "string"}
    write(project.folder, {"$definitions.json": {"Wood": wood}})
    with pytest.raises(BreakingChange, match=r"data\.tree\.by is new and required"):
        project.print(after)


def test_a_lock_that_is_not_there_is_made_and_check_misses_it(project: Project) -> None:
    project.print("string")
    project.lock.unlink()
    with pytest.raises(NotPrinted, match=r"events\.lock\.json"):
        project.print("string", check=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file"),
        ("[]", "is no lock"),
        ("{}", "is no lock"),
        ('{"lock": 2, "events": {}}', "is 2; this everlog reads 1"),
        ('{"lock": 1, "events": {"a": 5}}', "events.a: must be an object"),
        ('{"lock": 1, "events": {"a": {"schema": "x", "register": "a"}}}', "no entry"),
        (
            '{"lock": 1, "events": {"a": {"schema": 1, "register": "a", "data": 5}}}',
            "must be an object",
        ),
        (
            '{"lock": 1, "events": {"a": {"schema": 1, "register": "a", "data": {"type": "x"}}}}',
            "there are string",
        ),
        (
            '{"lock": 1, "events": {"a": {"schema": 1, "register": "a", '
            '"data": {"$ref": "#/$defs/X"}}}}',
            "speaks of 'X'",
        ),
        (
            '{"lock": 1, "events": {"a": {"schema": 1, "register": "a", '
            '"data": {"$ref": "#/$defs/X"}}}, "$defs": {"X": {"$ref": "#/$defs/X"}}}',
            "X: holds itself",
        ),
    ],
)
def test_a_lock_that_is_none_is_told_and_not_replaced(
    text: str, says: str, project: Project
) -> None:
    project.print("string")
    project.lock.write_text(text)
    with pytest.raises(InvalidConfig, match=says):
        project.print("integer")
    assert project.lock.read_text() == text


def test_no_lock_is_written_that_could_not_be_read_again(tmp_path: Path) -> None:
    shape: Any = "string"
    for _ in range(40):
        shape = {"in": shape}
    events, out = tmp_path / "events", tmp_path / "events.py"
    write(events, {"deep.json": {"event": {"type": "deep", "data": shape}}})
    with pytest.raises(InvalidConfig, match=r"deep\.json at data: lies too deep .*definitions"):
        print_events([events], out=out)
    assert not out.exists()
    assert not (events / "events.lock.json").exists()


def test_a_lock_is_json_that_a_person_can_review(project: Project) -> None:
    project.print({"a": "string"}, meta="string")
    assert json.loads(project.lock.read_text()) == {
        "lock": 1,
        "events": {
            "it:happened": {
                "schema": 1,
                "register": "it:happened",
                "data": {
                    "type": "object",
                    "properties": {"a": {"type": "string"}},
                    "required": ["a"],
                    "additionalProperties": False,
                },
                "meta": {"type": "string"},
            }
        },
        "$defs": {},
    }
