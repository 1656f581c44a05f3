"""Names of classes and fields, made of those in configurations."""

from __future__ import annotations

import keyword
import re

_WORDS = re.compile(r"[A-Za-z0-9]+")
_CLASS = re.compile(r"[A-Z][A-Za-z0-9_]{0,99}")

TAKEN = frozenset(
    {
        "Annotated",
        "Any",
        "AfterValidator",
        "AwareDatetime",
        "BaseModel",
        "ConfigDict",
        "EVENTS",
        "Event",
        "EventType",
        "EventTypes",
        "Events",
        "Field",
        "False",
        "Literal",
        "None",
        "Record",
        "RootModel",
        "True",
        "TypeAlias",
        "UUID",
    }
)
"""Names that printed modules have for themselves."""

# What a model has already. By name, so that nothing has to be imported for it, and what a later
# pydantic adds moves no field of a printed class.
_OF_MODELS = frozenset(
    {
        "construct",
        "copy",
        "dict",
        "from_orm",
        "json",
        "parse_file",
        "parse_obj",
        "parse_raw",
        "schema",
        "schema_json",
        "update_forward_refs",
        "validate",
        "model_computed_fields",
        "model_config",
        "model_construct",
        "model_copy",
        "model_dump",
        "model_dump_json",
        "model_extra",
        "model_fields",
        "model_fields_set",
        "model_json_schema",
        "model_parametrized_name",
        "model_post_init",
        "model_rebuild",
        "model_validate",
        "model_validate_json",
        "model_validate_strings",
    }
)
_OF_MODULES = frozenset(
    {
        "bool",
        "bytes",
        "dict",
        "dt",
        "event",
        "float",
        "int",
        "list",
        "set",
        "str",
        "tuple",
    }
)


def class_name(text: str) -> str:
    """Returns `UserNameGivenSet` of `user:name:given-set`."""
    return "".join(word[0].upper() + word[1:] for word in _WORDS.findall(text))


def is_class_name(text: str) -> bool:
    """Whether a text can name a class in Python and a type in TypeScript."""
    return _CLASS.fullmatch(text) is not None and text not in TAKEN


def field_name(text: str) -> str:
    """Returns the name of a field in Python: the one in JSON, where that can be one."""
    name = text if text.isidentifier() and text.isascii() else ""
    if not name:
        name = "_".join(_WORDS.findall(text)) or "field"
        if name[0].isdigit():
            name = f"field_{name}"
    name = name.lstrip("_") or "field"
    if name[0].isdigit():
        name = f"field_{name}"
    taken = keyword.iskeyword(name) or name in _OF_MODELS | _OF_MODULES
    # Classes begin in upper case, and a field of such a name would hide one.
    if taken or name in TAKEN or name[0].isupper():
        name = f"{name}_" if taken or name in TAKEN else name[0].lower() + name[1:]
        if keyword.iskeyword(name) or name in _OF_MODELS or name in _OF_MODULES:
            name += "_"
    return name
