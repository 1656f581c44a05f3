"""Names of streams, relations, events and types; and what an append may expect of its stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.core.stream import (
    ANY,
    EXISTS,
    NEW,
    Expectation,
    check_expectation,
    check_name,
    require,
)
from everlog.errors import InvalidExpectation, InvalidInput, InvalidName, WrongVersion

ACCEPTED = [
    "a",
    "user-42",
    "6f1c9c1e-0000-7000-8000-000000000000",
    " ",
    "tenant:acme/user 1",
    "käse",
    "e\u0301",
    "\U0001f600",
    "\u2028",
    "C:\\x\"'%_;--",
    "x" * 255,
    "é" * 127,
    "\U0001f600" * 63,
]

REFUSED = [
    ("", "empty"),
    ("\0", "control"),
    ("a\nb", "control"),
    ("tab\t", "control"),
    ("\x7f", "control"),
    ("\x85", "control"),
    ("\x9f", "control"),
    ("\ud800", "surrogate"),
    ("ok\udfff", "surrogate"),
    ("x" * 256, "255 bytes"),
    ("é" * 128, "255 bytes"),
    ("\U0001f600" * 64, "255 bytes"),
    (None, "NoneType"),
    (5, "int"),
    (b"a", "bytes"),
]


@pytest.mark.parametrize("name", ACCEPTED, ids=ascii)
def test_a_name_is_kept_as_it_is(name: str) -> None:
    assert check_name("stream", name) is name


@pytest.mark.parametrize(("name", "why"), REFUSED, ids=lambda each: ascii(each)[:30])
def test_what_some_database_or_url_cannot_carry_is_no_name(name: Any, why: str) -> None:
    with pytest.raises(InvalidName, match=why) as caught:
        check_name("relation", name)
    assert caught.value.kind == "relation"
    assert str(caught.value).startswith("relation ")
    assert len(str(caught.value)) < 200, "a long name is not repeated whole"


@given(st.text(max_size=300))
def test_a_name_is_accepted_if_it_is_short_enough_text_without_control_characters(
    name: str,
) -> None:
    control = any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in name)
    surrogate = any(0xD800 <= ord(char) <= 0xDFFF for char in name)
    fits = 0 < len(name.encode(errors="surrogatepass")) <= 255
    try:
        check_name("stream", name)
        accepted = True
    except InvalidName:
        accepted = False
    assert accepted == (fits and not control and not surrogate)
    if accepted:  # and then every JSON and every URL carries it
        assert json.loads(json.dumps(name)) == name.encode().decode() == name


# --- expectations -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [ANY, NEW, EXISTS, 0, 1, 2**40], ids=repr)
def test_an_expectation_is_kept(value: Expectation) -> None:
    assert check_expectation(value) is value


@pytest.mark.parametrize("value", [-1, True, False, 1.0, "any", None, "1", [1]], ids=repr)
def test_what_is_no_expectation_is_refused_and_true_is_not_1(value: Any) -> None:
    with pytest.raises(InvalidExpectation, match="ANY, NEW, EXISTS"):
        check_expectation(value)
    assert issubclass(InvalidExpectation, InvalidInput)


@pytest.mark.parametrize("actual", [0, 1, 2, 9])
def test_an_expectation_is_met_by_these_versions_and_no_others(actual: int) -> None:
    def met(expected: Expectation) -> bool:
        try:
            require(expected, stream="a", actual=actual)
        except WrongVersion:
            return False
        return True

    assert met(ANY)
    assert met(NEW) == met(0) == (actual == 0)
    assert met(EXISTS) == (actual > 0)
    for version in range(12):
        assert met(version) == (actual == version)


def test_expectations_show_as_they_are_written() -> None:
    assert [repr(each) for each in (ANY, NEW, EXISTS)] == ["ANY", "NEW", "EXISTS"]
    with pytest.raises(WrongVersion, match="version 2, expected NEW") as caught:
        require(NEW, stream="a", actual=2)
    assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("a", NEW, 2)
