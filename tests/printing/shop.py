"""Configurations that use all that there is, written into a folder."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SHOP: dict[str, Any] = {
    "$definitions.json": {
        "Auditor": {"type": "object", "properties": {"auditor": "string"}},
        "Kind": {"enum": ["new", "it's used", 'a "third"']},
    },
    "user/created.json": {
        "event": {
            "type": "user:created",
            "description": 'Somebody has come, and is called "new".\nA second line.',
            "data": {
                "name": {
                    "type": "object",
                    "optional": True,
                    "properties": {
                        "given": "string",
                        "family": {"type": "string", "optional": True, "default": ""},
                    },
                },
                "email": "string",
            },
            "meta": {"$ref": "#/definitions/Auditor"},
        }
    },
    "user/given-name-set.json": {"event": {"type": "user:name:given-set", "data": "string"}},
    "user/activated.json": {
        "event": {"type": "user:activated", "register": "user:active", "meta": {"by": "string"}}
    },
    "user/deactivated.json": {"type": "user:deactivated", "register": "user:active"},
    "user/$definitions.json": {
        "Address": {
            "description": "Where somebody lives.",
            "type": "object",
            "properties": {
                "street": "string",
                "lines": {
                    "type": "array",
                    "items": {"type": "string", "maxLength": 80},
                    "uniqueItems": True,
                },
            },
        },
        "Tree": {
            "type": "object",
            "properties": {
                "children": {"type": "array", "items": {"$ref": "#/definitions/Tree"}},
                "value": ["string", "integer", {"$ref": "#/definitions/Tree"}, "null"],
            },
        },
    },
    "user/moved.json": {
        "event": {
            "type": "user:moved",
            "schema": 3,
            "register": "user:place",
            "aliases": ["user:transferred", "user:shifted-to-somewhere-else-entirely"],
            "data": {
                "$schema": DIALECT,
                "type": "object",
                "properties": {
                    "class": {"type": "string", "description": "A word of Python's."},
                    "not a name": {"type": "integer", "minimum": -5, "exclusiveMaximum": 5},
                    "schema": {"type": "boolean"},
                    "date": {"type": "string", "format": "date"},
                    "time": {"type": "string", "format": "time"},
                    "at": {"type": "string", "format": "date-time"},
                    "id": {"type": "string", "format": "uuid"},
                    "mail": {"type": "string", "format": "email"},
                    "zip": {"type": "string", "pattern": "^\\d{4}$", "maxLength": 4},
                    "age": {"type": ["integer", "null"], "minimum": 0},
                    "to": {"$ref": "#/definitions/Address"},
                    "tags": {"type": "array", "items": {"type": "string"}, "default": []},
                    "tree": {"$ref": "#/definitions/Tree"},
                    "kind": {"$ref": "#/definitions/Kind"},
                    "pair": {
                        "type": "array",
                        "prefixItems": [{"type": "number"}, {"type": "boolean"}],
                    },
                    "anything": {},
                    "by_name": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "choice": {
                        "enum": ["one", 2, True, None, "a rather long value", "and another one"]
                    },
                    "retries": {"type": "integer", "default": 3},
                    "open": {
                        "type": "object",
                        "properties": {"known": {"type": "string"}},
                        "additionalProperties": True,
                    },
                },
                "required": ["at", "to"],
            },
            "meta": {"$ref": "#/definitions/Auditor"},
        }
    },
    "post/module-added.json": {
        "type": "post:module:added",
        "data": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"type": {"const": "comments"}, "replies": "boolean"},
                },
                {
                    "type": "object",
                    "properties": {"type": {"const": "likes"}, "positive": "boolean"},
                },
            ]
        },
    },
    "post/tagged.json": {"type": "post:tagged", "data": "string[]", "meta": "integer"},
}

_numbers = itertools.count()


def write(folder: Path, configs: Mapping[str, Any] = SHOP) -> Path:
    """Writes configurations, by the names of their files; returns their folder."""
    for name, config in configs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = config if isinstance(config, str) else json.dumps(config, ensure_ascii=False)
        path.write_text(text, "utf-8")
    return folder


def imported(path: Path) -> ModuleType:
    """Imports a printed module, as if it had never been."""
    name = f"printed_{next(_numbers)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
