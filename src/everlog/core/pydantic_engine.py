"""pydantic v2: models, and (through `DataclassEngine`) dataclasses."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator

from everlog.core.misfit import Misfit, path_of
from everlog.errors import EventDefinitionError


class ModelEngine:
    """Encodes and decodes one pydantic model."""

    sorts = False

    def __init__(self, cls: type[BaseModel]) -> None:
        self.cls: type[Any] = cls
        self.bare = issubclass(cls, RootModel)
        configured = cls.model_config.get("extra")
        self._extra: Literal["allow", "ignore"] = "allow" if configured == "allow" else "ignore"
        self.fields = bool(cls.model_fields) or self._extra == "allow"
        if not self.bare and configured is None:
            # Refuse on write what would silently be dropped: a misspelt field. Reading passes
            # `extra="ignore"` for itself.
            cls.model_config["extra"] = "forbid"
            cls.model_rebuild(force=True, raise_errors=False)

    def prepare(self) -> None:
        model = cast("type[BaseModel]", self.cls)
        try:
            model.model_rebuild()
        except Exception as error:  # pydantic raises many kinds here, all meaning the same
            raise EventDefinitionError(
                f"{model.__qualname__} cannot be used as an event: {error}"
            ) from error

    def dumps(self, value: object) -> bytes | None:
        return dumps(self.cls.__pydantic_serializer__, value)

    def to_tree(self, value: object) -> object:
        return to_tree(self.cls.__pydantic_serializer__, value)

    def loads(self, text: str | bytes) -> Any:
        return loads(self.cls.__pydantic_validator__, text, self._extra)


def dumps(serializer: SchemaSerializer, value: object) -> bytes | None:
    """Returns compact JSON; None for what only the exact way can say more about."""
    try:
        return serializer.to_json(value, by_alias=True, warnings=False)
    except Exception:
        return None


def to_tree(serializer: SchemaSerializer, value: object) -> object:
    """Returns plain JSON values; raises `Misfit` for what has none."""
    try:
        return serializer.to_python(value, mode="json", by_alias=True, warnings=False)
    except (PydanticSerializationError, ValueError, AttributeError, RecursionError) as error:
        raise Misfit([("", str(error))]) from error


def loads(validator: SchemaValidator, text: str | bytes, extra: Literal["allow", "ignore"]) -> Any:
    """Returns an instance; raises `Misfit` with a problem per field."""
    try:
        return validator.validate_json(text, extra=extra)
    except ValidationError as error:
        problems = [
            (path_of(problem["loc"]), problem["msg"])
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise Misfit(problems) from error
