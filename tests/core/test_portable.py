"""Portable JSON: one text for one value, and nothing that some reader would change or refuse.

Judged by others: the `rfc8785` package, the RFC's own examples and numbers, `json`, `msgspec`.
"""

from __future__ import annotations

import json
import struct
import time
from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from everlog.core.portable import (
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    MAX_KEYS,
    MAX_SAFE_INTEGER,
    JsonValue,
    canonical,
    certainly_canonical,
    is_canonical,
    parse,
)
from everlog.errors import NotPortable

# --- what is drawn ------------------------------------------------------------------------------

safe_integers = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
doubles = st.floats(allow_nan=False, allow_infinity=False)
bit_patterns: st.SearchStrategy[float] = st.integers(0, 2**64 - 1).map(
    lambda bits: struct.unpack(">d", bits.to_bytes(8, "big"))[0]
)
# Every character that is special somewhere: escapes, both sides of the surrogates, emoji.
special = st.sampled_from(
    '"\\/\b\f\n\r\t\x01\x1f\x7f\x80\xa0éאֿ\u2028\ud7ff\ue000דּ\uffff😀\U0010ffff'
)
characters = special | st.characters(exclude_characters="\0", exclude_categories=["Cs"])
texts = st.text(characters, max_size=12)
ascii_texts = st.text(st.characters(max_codepoint=0x7F, exclude_characters="\0"), max_size=12)


def trees(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=25,
    )


literals = st.none() | st.booleans()
values = trees(literals | safe_integers | doubles | texts, texts)
# What goes the quick way most of the time.
plain_values = trees(literals | safe_integers | ascii_texts, ascii_texts)
# Bad ones among good ones, so that a rule is broken somewhere inside.
hostile_values = trees(
    literals
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\0", "a\0", "\ud800", "\udfff", 2**53, -(2**53), Decimal(1), b"", {1}]),
    st.text(max_size=3) | st.sampled_from(["\0", "\ud800", "\udc00"]),
)


# --- the canonical form -------------------------------------------------------------------------


@given(values | plain_values)
@example({"\ue000": 1, "😀": 2, "\ud7ff": 3, "a": 4})
@example({"x": "\\u0000", "y": ["\x7f", "/", "\u2028"]})
@example([0.1, 1.0, -0.0, 59.97, 1e-5, 1e16, 1e21, 123456.789e3])
def test_the_text_is_what_another_implementation_of_the_rfc_writes(value: Any) -> None:
    assert canonical(value).encode() == rfc8785.dumps(value)


@given(doubles | bit_patterns.filter(lambda number: number - number == 0))
def test_a_double_is_written_as_another_implementation_of_the_rfc_does(number: float) -> None:
    assert canonical(number).encode() == rfc8785.dumps(number)


@given(doubles)
def test_a_double_reads_back_as_the_same_double(number: float) -> None:
    assert parse(canonical(number)) == number


# RFC 8785, appendix B: the bits of a double, and its text.
APPENDIX_B = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), APPENDIX_B, ids=[bits for bits, _ in APPENDIX_B])
def test_the_numbers_of_the_rfc_are_written_and_read_as_published(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text
    assert parse(text) == number
    assert is_canonical(text)


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_the_numbers_that_the_rfc_calls_errors_are_refused(bits: str) -> None:
    with pytest.raises(NotPortable, match="not a finite number"):
        canonical(struct.unpack(">d", bytes.fromhex(bits))[0])


def test_the_example_of_section_3_2_2_becomes_the_published_bytes() -> None:
    given_text = r"""
        {
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"""
    published = """
        7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c
        22 6e 75 6d 62 65 72 73 22 3a 5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31
        65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37 5d 2c 22 73 74 72 69 6e 67 22
        3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"""
    assert canonical(parse(given_text)).encode() == bytes.fromhex(published)


def test_the_example_of_section_3_2_3_is_sorted_as_published() -> None:
    given_text = r"""
        {
          "\u20ac": "Euro Sign",
          "\r": "Carriage Return",
          "\ufb33": "Hebrew Letter Dalet With Dagesh",
          "1": "One",
          "\ud83d\ude00": "Emoji: Grinning Face",
          "\u0080": "Control",
          "\u00f6": "Latin Small Letter O With Diaeresis"
        }"""
    written = canonical(parse(given_text))
    assert list(json.loads(written).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]
    assert written.startswith('{"\\r":"Carriage Return","1":"One","\x80":"Control",')


@given(values)
def test_writing_what_was_read_changes_nothing(value: Any) -> None:
    text = canonical(value)
    assert canonical(parse(text)) == text
    assert canonical(parse(text.encode())) == text
    assert is_canonical(text)


@given(values)
def test_every_spelling_of_a_value_has_one_canonical_form(value: Any) -> None:
    spelled = json.dumps(value, indent=2, ensure_ascii=True)
    assert canonical(parse(spelled)) == canonical(value)


@pytest.mark.parametrize(
    "text", ["[1.0]", "[-0]", "[1e2]", '["\\/"]', '["\\u0041"]', '["\\u000F"]']
)
def test_another_spelling_of_a_value_is_not_canonical(text: str) -> None:
    assert not is_canonical(text)
    assert is_canonical(canonical(parse(text)))


# --- Python values ------------------------------------------------------------------------------


class Level(IntEnum):
    HIGH = 7


class Colour(StrEnum):
    RED = "red"


class OldColour(str, Enum):  # noqa: UP042 (its str() is another one than StrEnum's)
    RED = "red"


class Plain(Enum):
    ONE = 1


class Point(NamedTuple):
    x: int
    y: int


class Metres(float):
    def __repr__(self) -> str:
        return f"{float(self)} m"


class Shouting(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(True, "true", id="bool is no integer"),
        pytest.param([True, 1, False, 0], "[true,1,false,0]", id="bools among integers"),
        pytest.param(Level.HIGH, "7", id="IntEnum"),
        pytest.param(Colour.RED, '"red"', id="StrEnum"),
        pytest.param(OldColour.RED, '"red"', id="str and Enum"),
        pytest.param({Colour.RED: Level.HIGH}, '{"red":7}', id="StrEnum as a key"),
        pytest.param(Point(1, 2), "[1,2]", id="named tuple"),
        pytest.param((1, (), [()]), "[1,[],[[]]]", id="tuples"),
        pytest.param(OrderedDict[str, int](b=1, a=0), '{"a":0,"b":1}', id="OrderedDict"),
        pytest.param(Metres(2.5), "2.5", id="float with another repr"),
        pytest.param([Shouting("low")], '["low"]', id="str with another str()"),
        pytest.param(-0.0, "0", id="negative zero"),
        pytest.param(5.0, "5", id="whole double"),
        pytest.param(1e16, "10000000000000000", id="double beyond the safe integers"),
        pytest.param({"a": 1, "A": 2, "": 3}, '{"":3,"A":2,"a":1}', id="empty key"),
    ],
)
def test_a_subclass_is_written_as_what_it_extends(value: object, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize(
    ("value", "name", "instead"),
    [
        pytest.param(Decimal("1.10"), "Decimal", "str(value)", id="Decimal"),
        pytest.param(datetime(2026, 1, 31, tzinfo=UTC), "datetime", "isoformat()", id="datetime"),
        pytest.param(UUID(int=1), "UUID", "str(value)", id="UUID"),
        pytest.param(b"x", "bytes", "base64", id="bytes"),
        pytest.param({1, 2}, "set", "sorted(value)", id="set"),
        pytest.param(Plain.ONE, "Plain", "value.value", id="Enum"),
        pytest.param(PurePosixPath("/"), "PurePosixPath", "str(value)", id="path"),
        pytest.param((i for i in [1]), "generator", "list(value)", id="generator"),
        pytest.param(1j, "complex", "convert it to", id="complex"),
        pytest.param(object(), "object", "convert it to", id="object"),
    ],
)
def test_a_type_that_json_lacks_is_refused_with_its_name_and_a_way_out(
    value: object, name: str, instead: str
) -> None:
    with pytest.raises(NotPortable) as caught:
        canonical({"items": [value]})
    assert caught.value.path == "data.items[0]"
    assert f"is of type {name}," in caught.value.problem
    assert instead in caught.value.problem


@pytest.mark.parametrize("key", [1, 1.5, None, True, b"a", (1,)], ids=repr)
def test_a_key_that_is_no_string_is_refused_and_not_converted(key: object) -> None:
    with pytest.raises(NotPortable, match=f"data.a: has a key of type {type(key).__name__}"):
        canonical({"a": {"ok": 1, key: 1}})


def test_two_keys_of_one_text_are_refused_even_if_python_tells_them_apart() -> None:
    class Odd(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return self is other

        def __hash__(self) -> int:
            return id(self)

    with pytest.raises(NotPortable, match='has the key "a" twice'):
        canonical({Odd("a"): 1, Odd("a"): 2})


# --- hostile values, and where they are ---------------------------------------------------------

NESTED = {"items": [0, 1, 2, {"price": "HERE"}]}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param("a\0b", "contains NUL (U+0000)", id="NUL"),
        pytest.param("\ud800", "half of a surrogate pair (U+D800)", id="high surrogate"),
        pytest.param("\udfff", "half of a surrogate pair (U+DFFF)", id="low surrogate"),
        pytest.param("\ud83d\ude00", "half of a surrogate pair", id="two halves are no character"),
        pytest.param(float("nan"), "not a finite number", id="NaN"),
        pytest.param(float("inf"), "not a finite number", id="inf"),
        pytest.param(float("-inf"), "not a finite number", id="-inf"),
        pytest.param(2**53, "integer beyond", id="2^53"),
        pytest.param(-(2**53), "integer beyond", id="-2^53"),
        pytest.param(10**16, "integer beyond", id="integer that a double could print"),
        pytest.param(10**5000, "integer beyond", id="5000 digits"),
        pytest.param({"\0": 1}, "has the key", id="NUL in a key"),
        pytest.param({"\ud800": 1}, "has the key", id="surrogate in a key"),
    ],
)
def test_what_is_not_portable_is_refused_with_its_path(value: object, problem: str) -> None:
    with pytest.raises(NotPortable) as caught:
        canonical({"items": [0, 1, 2, {"price": value}]})
    assert caught.value.path == "data.items[3].price"
    assert problem in caught.value.problem
    str(caught.value).encode()  # printable, whatever is in it


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(r'"a\u0000b"', "contains NUL (U+0000)", id="NUL"),
        pytest.param(r'"\ud800"', "half of a surrogate pair (U+D800)", id="high surrogate"),
        pytest.param(
            r'"\uD83D\u0041"', "half of a surrogate pair (U+D83D)", id="high and a letter"
        ),
        pytest.param(r'"\ude00\ud83d"', "half of a surrogate pair (U+DE00)", id="low before high"),
        pytest.param('"\ud83d"', "half of a surrogate pair (U+D83D)", id="unescaped surrogate"),
        pytest.param('"\ud83d\\ude00"', "half of a surrogate pair", id="half escaped"),
        pytest.param('"\x1f"', "a string is cut short", id="control character"),
        pytest.param("NaN", "not a finite number", id="NaN"),
        pytest.param("Infinity", "not a finite number", id="Infinity"),
        pytest.param("-Infinity", "not a finite number", id="-Infinity"),
        pytest.param("1e400", "beyond the largest double", id="1e400"),
        pytest.param("-1e400", "beyond the largest double", id="-1e400"),
        pytest.param("1" * 400 + ".0", "beyond the largest double", id="400 digits and a point"),
        pytest.param("9007199254740993", "integer beyond", id="2^53 + 1"),
        pytest.param("-9007199254740993", "integer beyond", id="-2^53 - 1"),
        pytest.param("12345678901234567890", "integer beyond", id="20 digits"),
        pytest.param("1" + "0" * 21, "integer beyond", id="a double, but printed as 1e+21"),
        pytest.param("9" * 5000, "integer beyond", id="5000 digits"),
        pytest.param("-" + "9" * 400, "integer beyond", id="400 digits and a sign"),
        pytest.param(r'{"a":1,"a":1}', 'has the key "a" twice', id="duplicate key"),
        pytest.param(r'{"a":1,"\u0061":1}', 'has the key "a" twice', id="duplicate when unescaped"),
        pytest.param(r'{"\u0000":1}', "has the key", id="NUL in a key"),
        pytest.param(r'{"\ud800":1}', "has the key", id="surrogate in a key"),
        pytest.param("01", "expected ',' or '}', found \"1", id="leading zero"),
        pytest.param("+1", "expected a value", id="plus"),
        pytest.param(".5", "expected a value", id="no digit before the point"),
        pytest.param("5.", "expected ',' or '}'", id="no digit after the point"),
        pytest.param("٣", "expected a value", id="Arabic digit"),
        pytest.param("'a'", "expected a value", id="single quotes"),
        pytest.param("tru", "expected a value", id="broken word"),
        pytest.param("nullnull", "expected a value", id="two words"),
        pytest.param("[1,]", "expected a value", id="comma before the end of a list"),
        pytest.param('{"a":1,}', "expected a key", id="comma before the end of an object"),
        pytest.param("{a:1}", "expected a key", id="key without quotes"),
        pytest.param('{"a" 1}', "expected ':'", id="no colon"),
        pytest.param(r'"\x41"', "has the escape", id="unknown escape"),
        pytest.param(r'"\u00g0"', "has the escape", id="escape with a wrong digit"),
        pytest.param('"abc', "a string is cut short by the end of the text", id="open string"),
        pytest.param("\xa01", "expected a value", id="space that is none in JSON"),
    ],
)
def test_text_that_is_not_portable_is_refused_with_its_path(text: str, problem: str) -> None:
    open_end = text == '"abc'
    with pytest.raises(NotPortable) as caught:
        parse('{"items":[0,1,2,{"price":' + text + ("" if open_end else "}]}"))
    path = caught.value.path.removeprefix("data.items[3]")
    # A value that ends too early is good itself: what follows it in the object is wrong.
    assert path.startswith(".price") or "expected ',' or '}'" in caught.value.problem
    assert caught.value.path.startswith("data.items[3]")
    assert problem in caught.value.problem
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "expected a value, found the end of the text", id="empty"),
        pytest.param(" \n", "expected a value, found the end of the text", id="blank"),
        pytest.param("\ufeff{}", "byte order mark", id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf{}", "byte order mark", id="byte order mark in UTF-8"),
        pytest.param("{}".encode("utf-16"), "is not UTF-8 (byte 0xff", id="UTF-16"),
        pytest.param("{}".encode("utf-16-le"), "not JSON", id="UTF-16 without a mark"),
        pytest.param(b'"\xed\xa0\x80"', "is not UTF-8 (byte 0xed at offset 1)", id="CESU-8"),
        pytest.param(b'"\xc0\x80"', "is not UTF-8 (byte 0xc0 at offset 1)", id="overlong NUL"),
        pytest.param("{} {}", "goes on after its end", id="two values"),
        pytest.param("{}\0", "goes on after its end", id="NUL after the end"),
        pytest.param(None, "is of type NoneType", id="None"),
        pytest.param(bytearray(b"{}"), "is of type bytearray", id="bytearray"),
    ],
)
def test_text_that_is_wrong_as_a_whole_is_refused(text: Any, problem: str) -> None:
    with pytest.raises(NotPortable) as caught:
        parse(text, at="meta")
    assert caught.value.path == "meta"
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("key", "path"),
    [
        pytest.param("price", "data.price", id="name"),
        pytest.param("größe", "data.größe", id="name that is not ASCII"),
        pytest.param("odd key", 'data["odd key"]', id="space"),
        pytest.param('"', 'data["\\""]', id="quote"),
        pytest.param("", 'data[""]', id="empty"),
        pytest.param("0", 'data["0"]', id="digit"),
        pytest.param("a\nb", 'data["a\\nb"]', id="line end"),
        pytest.param("k" * 1000, 'data["' + "k" * 37 + '..."]', id="long"),
    ],
)
def test_a_path_shows_keys_that_are_no_names_in_quotes_and_long_ones_cut(
    key: str, path: str
) -> None:
    with pytest.raises(NotPortable) as written:
        canonical({key: float("nan")})
    with pytest.raises(NotPortable) as read:
        parse(f"{{{json.dumps(key)}:NaN}}")
    assert written.value.path == read.value.path == path


def test_the_path_begins_with_what_the_caller_calls_it() -> None:
    with pytest.raises(NotPortable, match=r"^meta\[0\]: "):
        canonical([1j], at="meta")
    with pytest.raises(NotPortable, match=r"^meta\[0\]: "):
        parse("[NaN]", at="meta")
    with pytest.raises(NotPortable, match=r"^meta\[0\]: "):
        is_canonical("[NaN]", at="meta")


# --- limits -------------------------------------------------------------------------------------


def nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("leaf", ["1", '"é"', "1.5", "1.0"])
def test_sixty_four_levels_are_taken_and_one_more_is_not(leaf: str) -> None:
    deepest = "[" * MAX_DEPTH + leaf + "]" * MAX_DEPTH
    assert canonical(parse(deepest)) == deepest.replace(".0", "")
    with pytest.raises(NotPortable, match="deeper than 64") as caught:
        parse(f"[{deepest}]")
    assert caught.value.path == "data" + "[0]" * MAX_DEPTH
    with pytest.raises(NotPortable, match="deeper than 64") as caught:
        canonical([json.loads(deepest)])
    assert caught.value.path == "data" + "[0]" * MAX_DEPTH


def test_the_depth_counts_lists_and_objects_together_and_empty_ones_too() -> None:
    assert parse(canonical(nested(64))) == nested(64)
    with pytest.raises(NotPortable, match="deeper than 64"):
        canonical(nested(65))
    with pytest.raises(NotPortable, match="deeper than 64"):
        parse("[" * 65 + "]" * 65)
    with pytest.raises(NotPortable, match="deeper than 64"):
        canonical(json.loads("[" * 65 + "]" * 65))


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append({"again": endless})
    with pytest.raises(NotPortable, match="deeper than 64"):
        canonical(endless)


def test_many_brackets_that_are_not_deep_are_taken() -> None:
    wide: list[JsonValue] = [[], {}] * 1000
    assert parse(canonical(wide)) == wide
    brackets = ["[[[{{{" * 100, '"[' * 100, "\\[" * 100]
    assert parse(canonical(brackets)) == brackets


def test_ten_thousand_keys_are_taken_and_one_more_is_not() -> None:
    most: dict[str, JsonValue] = {f"k{i}": i for i in range(MAX_KEYS)}
    text = canonical([most])
    assert parse(text) == [most]
    assert len(text) > 40_000
    assert certainly_canonical(text.encode())
    many = {**most, "more": 0}
    with pytest.raises(NotPortable, match=r"^data\[0\]: has more than 10,000 keys"):
        canonical([many])
    text = json.dumps([many], sort_keys=True, separators=(",", ":"))
    with pytest.raises(NotPortable, match=r"^data\[0\]: has more than 10,000 keys"):
        parse(text)
    assert not certainly_canonical(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="lists"),
        pytest.param('{"a":' * 100_000, id="objects"),
        pytest.param('[{"a":' * 100_000 + "1" + "}]" * 100_000, id="closed"),
        pytest.param('{"' + "[" * 1_000_000, id="open string"),
        pytest.param("[" * 65 + '"\\"' * 300_000, id="quotes"),
        pytest.param('"' + "\\" * 1_000_001, id="backslashes"),
        pytest.param("9" * 1_000_000, id="digits"),
        pytest.param("1." + "9" * 1_000_000 + "e", id="digits after a point"),
        pytest.param(" " * 1_000_000, id="spaces"),
        pytest.param("[" + "1," * 300_000, id="open list"),
        pytest.param("[" * 65 + "]" * 65 + "x" * 1_000_000, id="letters"),
    ],
)
def test_a_long_hostile_text_is_refused_quickly_and_without_recursion(text: str) -> None:
    began = time.process_time()
    with pytest.raises(NotPortable):
        parse(text)
    # Linear work takes some 0.1 s; whatever is quadratic in a million takes minutes.
    assert time.process_time() - began < 10


@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_beyond_the_safe_ones_is_read_only_if_a_double_prints_like_it(sign: str) -> None:
    read = parse(f"{sign}10000000000000000")
    assert isinstance(read, float)
    assert read == float(f"{sign}1e16")
    assert parse(f"{sign}9007199254740992") == float(f"{sign}9007199254740992")
    assert isinstance(parse(f"{sign}9007199254740991"), int)
    for digits in ("9007199254740993", "10000000000000001", "295147905179352825856"):
        with pytest.raises(NotPortable, match="integer beyond"):
            parse(sign + digits)


@given(st.integers(0, 10**23))
def test_an_integer_is_read_if_and_only_if_it_is_some_number_in_canonical_form(
    number: int,
) -> None:
    text = str(number)
    try:
        read = parse(text)
    except NotPortable:
        assert canonical(float(number)) != text
    else:
        assert canonical(read) == text
        assert read == number


# --- reading agrees with others -----------------------------------------------------------------


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_read_is_what_the_standard_library_reads(
    value: Any, escaped: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=escaped, indent=indent)
    assert repr(parse(text)) == repr(json.loads(text))  # 1 is not 1.0 is not True


@given(values)
def test_the_quick_and_the_exact_reader_agree(value: Any) -> None:
    text = json.dumps(value)
    # The long number in front leaves the whole text to the exact reader.
    exact = parse(f"[10000000000000000,{text}]")
    assert repr(exact) == repr([1e16, parse(text)])


fragments = ['"a"', '"a":', "null", "true", "NaN", "1e400", "\\u0000", "\\ud800", "\\udc00"]
fragments += ["\\u00e9", "12345678901234567", "é", "\ud800", "\0", "\ufeff"]
fragments += '[]{},:"\\-+.eE019 \n\ttfnua/'
json_like = st.lists(st.sampled_from(fragments), max_size=20).map("".join)


@given(json_like | st.text(st.characters()))
def test_text_of_any_kind_gives_a_portable_value_or_not_portable(text: str) -> None:
    try:
        value = parse(text)
    except NotPortable:
        return
    json.loads(text)  # the standard library takes it too
    assert parse(canonical(value)) == value


@given(st.binary() | json_like.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_of_any_kind_give_a_portable_value_or_not_portable(data: bytes) -> None:
    try:
        value = parse(data)
    except NotPortable:
        return
    assert parse(data.decode()) == value
    assert isinstance(is_canonical(data.decode()), bool)


@given(hostile_values)
def test_a_value_of_any_kind_gives_text_that_reads_back_or_not_portable(value: Any) -> None:
    try:
        text = canonical(value)
    except NotPortable as error:
        str(error).encode()  # printable, whatever is in it
        return
    assert text.encode() == rfc8785.dumps(value)
    assert is_canonical(text)


# --- whether a text is canonical, quickly -------------------------------------------------------


def canonical_by_the_rules(text: str) -> bool | None:
    """Whether it is its own form; None if it is not portable at all."""
    try:
        return canonical(parse(text)) == text
    except NotPortable:
        return None


flat = st.dictionaries(ascii_texts | texts, literals | safe_integers | doubles | texts, max_size=5)
members = st.sampled_from(
    [
        *('"a":1', '"b":"x"', '"c":null', '"a":"y"', '"b":true', '"":0', '":":":"', '"a":-0'),
        *(
            '"d":"\\n"',
            '"d":"\\/"',
            '"d":"\\u0041"',
            '"d":",\\"a\\":1"',
            '"e":"{\\"b\\":"',
            '"é":1',
        ),
        *('"f":01', '"f":1.5', '"f":1234567890123456', '"f":-12', '"f":"\ud800"', '"f":"é"'),
        *('"f":"\0"', '"f":"\x7f"', '"f":[1]', '"f":{}', '"f":nul', '"f"', ":1", '"f\\"":1'),
    ]
)
objects = st.lists(members, max_size=6).map(lambda each: "{" + ",".join(each) + "}")


@given(flat.map(canonical) | objects | json_like | json_like.map(lambda text: "{" + text + "}"))
@example('{"a":1,"b":2}')
@example('{"b":1,"a":2}')
@example('{"a":1,"a":2}')
@example('{"a":1}"b":2}')
@example('{"a":1,}')
@example('{"a":1}\n')
@example("null")
@example("null\n")
def test_whether_a_text_is_canonical_is_told_as_by_the_rules(text: str) -> None:
    expected = canonical_by_the_rules(text)
    if expected is None:
        with pytest.raises(NotPortable):
            is_canonical(text)
    else:
        assert is_canonical(text) is expected


@pytest.mark.parametrize("count", [1, 2, 23, 24, 25, 26, 100])
def test_an_object_of_any_number_of_members_is_canonical_if_its_keys_are_in_order(
    count: int,
) -> None:
    members = [f'"{number:03}":"x"' for number in range(count)]
    assert is_canonical("{" + ",".join(members) + "}")
    for at in range(1, count):
        swapped = [*members]
        swapped[at - 1], swapped[at] = members[at], members[at - 1]
        assert not is_canonical("{" + ",".join(swapped) + "}")
        with pytest.raises(NotPortable):
            is_canonical("{" + ",".join([*members[:at], members[at - 1], *members[at:]]) + "}")


def test_an_object_of_too_many_keys_is_refused_whatever_they_are() -> None:
    text = "{" + ",".join(f'"{number:06}":0' for number in range(MAX_KEYS + 1)) + "}"
    with pytest.raises(NotPortable):
        is_canonical(text)


# --- the cheap answer ---------------------------------------------------------------------------

sorted_by_msgspec = msgspec.json.Encoder(order="sorted").encode


def sorted_by_json(value: Any, *, ensure_ascii: bool) -> bytes:
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=ensure_ascii, allow_nan=False
    )
    return text.encode()


def check_certainty(encoded: bytes) -> None:
    if certainly_canonical(encoded):
        assert is_canonical(encoded.decode())
        assert rfc8785.dumps(json.loads(encoded)) == encoded


@given(values | plain_values | st.lists(plain_values) | st.dictionaries(texts, values))
def test_certainly_canonical_output_of_encoders_is_canonical(value: Any) -> None:
    check_certainty(sorted_by_msgspec(value))
    check_certainty(sorted_by_json(value, ensure_ascii=False))
    check_certainty(sorted_by_json(value, ensure_ascii=True))


near_the_edge = trees(
    literals
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(10**14, 10**17)
    | st.sampled_from([0.0, -0.0, 1e15, 1e16, 1e17, 1e21, 1e22, 1e-7, 5e-324, 1.5])
    | st.text(max_size=4).filter(lambda text: text.isascii()),
    st.text(st.characters(max_codepoint=0x7F), max_size=3),
)


@given(st.lists(near_the_edge, min_size=1, max_size=4))
@example([10**15 - 1, 10**15, 2**53, 1e16, 1e22, "\0", "\x7f/"])
@example(["a\0"])
def test_certainly_canonical_is_never_wrong_about_numbers_and_characters(value: Any) -> None:
    check_certainty(sorted_by_msgspec(value))
    for item in value:
        check_certainty(sorted_by_msgspec([item]))
        check_certainty(sorted_by_json({"a": item}, ensure_ascii=False))


printable = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7F) | st.sampled_from("\b\t\n")
)


@given(st.dictionaries(printable, literals | st.integers(-999, 999) | printable))
@example({"a": "\\u0041 a:[]{},"})  # a backslash, and then a letter u
def test_ordinary_data_are_certain(value: dict[str, Any]) -> None:
    assert certainly_canonical(sorted_by_msgspec(value))


@pytest.mark.parametrize(
    "encoded",
    [
        b'{"a":1,"b":[true,false,null,-12,0],"c":{"d":"x \\"y\\" \\\\ \\n"}}',
        b'{"at":"2026-01-31T10:00:00.123Z","id":"7f3e4c1d-22aa-4b1e-9f00-1234567890123456789"}',
        b"{}",
        b"[]",
        b'["\x7f/"]',
        b"[999999999999999]",
        b'["' + b"[" * 1000 + b'"]',
        b"[" * 64 + b"]" * 64,
    ],
    ids=lambda encoded: encoded[:16].decode(),
)
def test_ordinary_bytes_are_certain_and_canonical(encoded: bytes) -> None:
    assert certainly_canonical(encoded)
    assert is_canonical(encoded.decode())


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"a":1.5}', id="float"),
        pytest.param(b"[1e5]", id="exponent"),
        pytest.param(b"[1E5]", id="capital exponent"),
        pytest.param(b"[1e+16]", id="exponent with a sign"),
        pytest.param(b"[-0]", id="negative zero"),
        pytest.param(b"[01]", id="leading zero"),
        pytest.param(b"[1000000000000000]", id="16 digits"),
        pytest.param(b"[9007199254740993]", id="2^53 + 1"),
        pytest.param(b"[NaN]", id="NaN"),
        pytest.param(b"[nan]", id="nan"),
        pytest.param(b"[Infinity]", id="Infinity"),
        pytest.param(b'{"a": 1}', id="space"),
        pytest.param(b"[1]\n", id="line end"),
        pytest.param('["é"]'.encode(), id="not ASCII"),
        pytest.param(b'["\\u0001"]', id="escape that is canonical"),
        pytest.param(b'["\\u001F"]', id="escape with a capital"),
        pytest.param(b'["\\u0000"]', id="NUL"),
        pytest.param(b'["\\/"]', id="escaped slash"),
        pytest.param(b'["\x00"]', id="raw NUL"),
        pytest.param(b'["\n"]', id="raw line end"),
        pytest.param(b'["\\"]', id="open string"),
        pytest.param(b"[" * 65 + b"]" * 65, id="too deep"),
        pytest.param(b"[" * 100_000, id="far too deep"),
        pytest.param(b'["' + b"a" * (MAX_EVENT_BYTES - 3) + b'"]', id="one byte too long"),
    ],
)
def test_bytes_with_any_doubt_are_not_certain(encoded: bytes) -> None:
    assert not certainly_canonical(encoded)


def test_the_longest_event_can_be_certain() -> None:
    assert certainly_canonical(b'["' + b"a" * (MAX_EVENT_BYTES - 4) + b'"]')


@pytest.mark.parametrize("encoded", [b"[1", b"[1]2", b"{1", b'"a', b"1.", b"1e", b"[1.5e]"])
def test_half_a_text_is_never_certainly_canonical(encoded: bytes) -> None:
    assert not certainly_canonical(encoded)


@pytest.mark.parametrize("text", ["1.", "1e", "1.5e", "[1.]", "-", "[1", "01"])
def test_half_a_number_is_refused(text: str) -> None:
    with pytest.raises(NotPortable):
        parse(text)
