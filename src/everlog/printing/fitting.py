"""Whether a value is of a shape."""

from __future__ import annotations

from everlog.core.portable import JsonValue
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
    Shape,
    Text,
    TupleOf,
)


def fits(value: JsonValue, shape: Shape) -> bool:
    """Whether a value may be a default of a shape: by its kind and bounds."""
    match shape:
        case Anything() | Ref():
            return True
        case Null():
            return value is None
        case Boolean():
            return isinstance(value, bool)
        case Number():
            return _is_number(value, shape)
        case Text(format=format):
            return isinstance(value, str) and format is None and _in(len(value), shape)
        case Choice(values=values):
            return any(type(each) is type(value) and each == value for each in values)
        case ListOf():
            return value == [] and not shape.min_items
        case TupleOf():
            return False
        case MapOf():
            return value == {}
        case Fields():
            return False
        case OneOf(members=members):
            return any(fits(value, each) for each in members)


def _is_number(value: JsonValue, shape: Number) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if shape.whole and value != int(value):
        return False
    return (
        (shape.at_least is None or value >= shape.at_least)
        and (shape.at_most is None or value <= shape.at_most)
        and (shape.above is None or value > shape.above)
        and (shape.below is None or value < shape.below)
    )


def _in(length: int, shape: Text) -> bool:
    low, high = shape.min_length, shape.max_length
    return (low is None or length >= low) and (high is None or length <= high)
