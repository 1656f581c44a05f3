"""Kinds of JSON values, in words: for errors that say what was found in the place of something."""

from __future__ import annotations

_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def kind_of(value: object) -> str:
    """Says of which kind a JSON value is."""
    return _KINDS.get(type(value), "something else")
