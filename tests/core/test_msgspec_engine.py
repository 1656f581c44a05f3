"""What is written with sorted keys at once, and what has to be sorted."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from everlog.core.codec import codec_for
from everlog.core.msgspec_engine import StructEngine
from everlog.core.portable import canonical


class InOrder(msgspec.Struct):
    a: int
    b: dict[str, int]
    c: list[dict[str, str]] | None = None


class Untyped(msgspec.Struct):
    a: Any
    d: dict[Annotated[str, msgspec.Meta(min_length=1)], int]


class Holding(msgspec.Struct):
    a: InOrder
    b: Holding | None = None


class OutOfOrder(msgspec.Struct):
    b: int
    a: int


class RenamedOutOfOrder(msgspec.Struct, rename={"a": "z"}):
    a: int
    b: int


class NumberKeys(msgspec.Struct):
    a: int
    b: dict[int, int]


class HoldingOutOfOrder(msgspec.Struct):
    a: InOrder
    b: list[OutOfOrder]


class Tagged(msgspec.Struct, tag="b", tag_field="b"):
    a: int


class AsTheyAre(msgspec.Struct):
    a: msgspec.Raw


class Anything(msgspec.Struct):
    a: object


SORTED = [
    InOrder(1, {"z": 1, "b": 2}, [{"y": "", "x": ""}]),
    Untyped({"b": [{"d": 1, "c": 2}], "a": None}, {"z": 1, "y": 2}),
    Holding(InOrder(1, {}), Holding(InOrder(2, {"c": 1, "a": 2}))),
]
TO_BE_SORTED = [
    OutOfOrder(1, 2),
    RenamedOutOfOrder(1, 2),
    NumberKeys(1, {9: 1, 10: 2}),
    HoldingOutOfOrder(InOrder(1, {}), [OutOfOrder(1, 2)]),
    Tagged(1),
    AsTheyAre(msgspec.Raw(b'{"b":1,"a":2}')),
    Anything({"b": 1, "a": 2}),
]


def prepared(value: msgspec.Struct) -> StructEngine:
    engine = StructEngine(type(value))
    engine.prepare()
    return engine


@pytest.mark.parametrize("value", SORTED, ids=lambda value: type(value).__name__)
def test_what_is_in_order_by_itself_is_not_sorted_again(value: msgspec.Struct) -> None:
    engine = prepared(value)
    assert engine.sorts
    assert engine.dumps(value) == canonical(engine.to_tree(value)).encode()


@pytest.mark.parametrize("value", TO_BE_SORTED, ids=lambda value: type(value).__name__)
def test_what_may_be_out_of_order_is_known_to_be(value: msgspec.Struct) -> None:
    assert not prepared(value).sorts


STORED = [*SORTED, *(value for value in TO_BE_SORTED if not isinstance(value, NumberKeys))]


@pytest.mark.parametrize("value", STORED, ids=lambda value: type(value).__name__)
def test_either_is_stored_in_canonical_form(value: msgspec.Struct) -> None:
    codec = codec_for(type(value))
    codec.prepare()
    assert codec.encode(value, at="data", event_type="t") == canonical(
        msgspec.json.decode(msgspec.json.encode(value))
    )
