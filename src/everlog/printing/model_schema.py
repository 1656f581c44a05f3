"""The JSON Schema of pydantic's models, as what is written, with fields that may be left out."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class Generate(GenerateJsonSchema):
    """pydantic's own, but that a field which is left out when it is None may not be null."""

    def model_field_schema(self, schema: core_schema.ModelField) -> JsonSchemaValue:
        found = super().model_field_schema(schema)
        empty = _made(schema["schema"])
        if empty is not None:
            found = {**found, "default": empty}
        condition: Any = schema.get("serialization_exclude_if")
        if condition is None or not condition(None):
            return found
        members = [each for each in found.get("anyOf", ()) if each != {"type": "null"}]
        if len(members) == 1:
            rest = {key: each for key, each in found.items() if key not in ("anyOf", "default")}
            return {**members[0], **rest}
        found.pop("default", None)
        return {**found, "anyOf": members} if members else found


def _made(schema: Any) -> list[Any] | dict[str, Any] | None:
    """Returns the empty list or object that a field has by default; None for another default."""
    if schema.get("type") != "default" or schema.get("default_factory_takes_data"):
        return None
    factory = schema.get("default_factory")
    made: object = None if factory is None else factory()
    if made == [] and isinstance(made, list):
        return []
    return {} if made == {} and isinstance(made, dict) else None
