"""JSON values of a text: any cut of it gives the same, and what is wrong is named with its line."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.core.portable import parse
from everlog.errors import InvalidInput
from everlog.interchange import json_values
from everlog.interchange.json_values import values


def all_of(text: str, *, chunk: int = 7) -> list[Any]:
    return [value.json for value in values(io.StringIO(text, newline="").read, chunk=chunk)]


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(
    objects=st.lists(st.dictionaries(st.text(max_size=9), ANY_JSON, max_size=4), max_size=5),
    chunk=st.integers(1, 40),
    ascii=st.booleans(),
    as_list=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_any_cut_of_a_text_gives_the_same_values(
    objects: list[Any], chunk: int, ascii: bool, as_list: bool, indent: int | None
) -> None:
    def dumps(value: object) -> str:
        return json.dumps(value, ensure_ascii=ascii, indent=indent)

    text = dumps(objects) if as_list else "\r\n".join(map(dumps, objects))
    assert all_of(text, chunk=chunk) == objects


@pytest.mark.parametrize("text", ["", " \n\t ", "[]", "[ \n ]\n", "\ufeff[]", "\ufeff"])
def test_an_empty_file_has_no_values(text: str) -> None:
    assert all_of(text) == []


def test_lines_are_counted_as_an_editor_does() -> None:
    text = '{"a":1}\n\n{"b":\n2}\n{"c":3}'
    for chunk in (1, 5, 1000):
        found = [(v.line, v.json) for v in values(io.StringIO(text).read, chunk=chunk)]
        assert found == [(1, {"a": 1}), (3, {"b": 2}), (5, {"c": 3})]


WRONG = {
    "no JSON": ('{"a":1}\nhello', "line 2: is no JSON"),
    "cut short": ('{"a":1}\n{"b":', "line 2: is no JSON"),
    "cut in a text": ('{"a":1}\n{"b":"xy', "line 2: is no JSON"),
    "cut in a list": ('[{"a":1}\n', "line 2: a comma or ]"),
    "no comma": ('[{"a":1}\n{"a":2}]', "line 2: a comma or ]"),
    "a comma too many": ('[{"a":1},\n]', "line 2: is no JSON"),
    "behind the end": ('[{"a":1}]\n{}', "line 2: something stands behind"),
    "a key twice": ('{}\n{"a":{"k":1,"k":2}}', "line 2: key 'k': comes twice"),
    "NaN": ('{"a":NaN}', "line 1: a number: NaN"),
    "a great integer": ('{"a":9007199254740993}', "line 1: a number: 9007199254740993"),
    "a greater one": ('{"a":' + "9" * 5000 + "}", "line 1: a number: 9999"),
    "a control character": ('{"a":"\x01"}', "line 1: is no JSON: Invalid control character$"),
    "far too deep": ("[" * 100_000, "line 1: it is nested too deeply"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_what_is_wrong_is_named_with_its_line(case: str, chunk: int) -> None:
    text, says = WRONG[case]
    with pytest.raises(InvalidInput, match=f"^{says.replace('[', '.')}"):
        all_of(text, chunk=chunk)


@pytest.mark.parametrize("number", ["1e400", "-0", "1.0", "10000000000000000", "1e21", "0.1"])
def test_numbers_are_read_as_everywhere(number: str) -> None:
    try:
        expected: Any = parse(number)
    except InvalidInput:
        return  # what not every reader takes is refused where its record is made
    [found] = all_of(f'{{"n":{number}}}')
    assert found == {"n": expected}


def test_a_value_without_end_is_not_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "MAX_VALUE_CHARACTERS", 1000)
    read = 0

    def endless(size: int) -> str:
        nonlocal read
        read += size
        return "x" * size if read > 10 else '{"a":"xxxxxx'[:size]

    with pytest.raises(InvalidInput, match="line 1: a single value has over 1,000"):
        list(values(endless, chunk=10))
    assert read < 10_000
