"""pydantic v2: models, and (through `DataclassEngine`) dataclasses."""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal, cast

from pydantic import AliasChoices, BaseModel, RootModel, ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator

from everlog.core.fielded import classes_in_schema
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
        if not self.bare:
            _check_aliases(model)

    def made_of(self) -> frozenset[type[Any]] | None:
        return classes_in_schema(self.cls.__pydantic_core_schema__)

    def dumps(self, value: object) -> bytes | None:
        return dumps(self.cls.__pydantic_serializer__, value)

    def to_tree(self, value: object) -> object:
        return to_tree(self.cls.__pydantic_serializer__, value)

    def to_python(self, value: object) -> object:
        return to_python(self.cls.__pydantic_serializer__, value)

    def loads(self, text: str | bytes) -> Any:
        return loads(self.cls.__pydantic_validator__, text, self._extra)


def _check_aliases(model: type[BaseModel]) -> None:
    """Raises `EventDefinitionError` for a field that is written under a name it is not read by.

    Reading ignores unknown names, so what was written would silently become the default.
    """
    config = model.model_config
    for name, field in model.model_fields.items():
        written = field.serialization_alias or name
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        read = {choice for choice in choices if isinstance(choice, str)}
        if config.get("validate_by_alias") is False:
            read.clear()
        by_name = config.get("validate_by_name") or config.get("populate_by_name")
        if alias is None or by_name:
            read.add(name)
        if not field.exclude and written not in read:
            raise EventDefinitionError(
                f"{model.__qualname__}.{name} would be written as {written!r}, and not be read by "
                "that name; give it one alias=, or a validation_alias that includes the name"
            )


def dumps(serializer: SchemaSerializer, value: object) -> bytes | None:
    """Returns compact JSON; None for what only the exact way can say more about."""
    try:
        return serializer.to_json(value, by_alias=True, warnings=False)
    except Exception:
        return None


def to_tree(serializer: SchemaSerializer, value: object) -> object:
    """Returns plain JSON values; raises `Misfit` for what has none."""
    try:
        tree = serializer.to_python(value, mode="json", by_alias=True, warnings=False)
    except (PydanticSerializationError, ValueError, AttributeError, RecursionError) as error:
        if type(error) in (ValueError, UnicodeEncodeError):
            # Too deep for pydantic, or a key with a lone surrogate: Python mode shows where.
            return to_python(serializer, value)
        raise Misfit([("", str(error))]) from error
    return _with_lost_numbers(tree, to_python(serializer, value)) if _has_null(tree) else tree


def to_python(serializer: SchemaSerializer, value: object) -> object:
    """Returns dicts and lists of fields; raises `Misfit` for what has none."""
    try:
        return serializer.to_python(value, mode="python", by_alias=True, warnings=False)
    except (PydanticSerializationError, ValueError, AttributeError, RecursionError) as error:
        raise Misfit([("", str(error))]) from error


def _has_null(tree: object) -> bool:
    if isinstance(tree, dict):
        return any(map(_has_null, cast("dict[str, object]", tree).values()))
    if isinstance(tree, list):
        return any(map(_has_null, cast("list[object]", tree)))
    return tree is None


def _with_lost_numbers(tree: object, plain: object) -> object:
    """Returns the tree with NaN and infinities, which JSON mode makes null in untyped data."""
    if tree is None:
        return plain if isinstance(plain, float) and not isfinite(plain) else None
    if isinstance(tree, dict) and isinstance(plain, dict):
        members, others = cast("dict[str, object]", tree), cast("dict[object, object]", plain)
        if len(members) == len(others):
            pairs = zip(members.items(), others.values(), strict=True)
            return {key: _with_lost_numbers(item, other) for (key, item), other in pairs}
    if isinstance(tree, list) and isinstance(plain, (list, tuple)):
        items, values = cast("list[object]", tree), cast("list[object]", plain)
        if len(items) == len(values):
            return list(map(_with_lost_numbers, items, values))
    return tree  # pyright: ignore[reportUnknownVariableType]


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
