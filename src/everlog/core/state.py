"""States as text: what snapshots keep, and how it is known that they kept it.

A state is encoded by pydantic (or msgspec, for a Struct), read back and compared before it is
stored: a snapshot that would not give back the very state is refused, not stored.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter, deque
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from everlog.core.aggregate import AggregateRoot, fields_of
from everlog.errors import SnapshotError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

S = TypeVar("S")


class StateCodec(Protocol[S]):
    """Encodes the states of one reducer or aggregate."""

    @property
    def shape(self) -> str:
        """A digest of the state's type: another shape, another snapshot."""
        ...

    def encode(self, state: S) -> str:
        """Returns the state as text; raises `SnapshotError` if it would not read back the same."""
        ...

    def decode(self, text: str) -> S:
        """Returns the state; raises `SnapshotError` if it does not fit the type."""
        ...


def state_codec(cls: type[Any]) -> StateCodec[Any]:
    """Returns the codec for states of a type; raises `SnapshotError` if it has none."""
    return _state_codec(cls)  # type: ignore[arg-type]  # mypy takes type[Any] for unhashable


@lru_cache(maxsize=1024)
def _state_codec(cls: type[Any]) -> StateCodec[Any]:
    if issubclass(cls, AggregateRoot):
        return AggregateCodec(cls)
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        return _StructCodec(cls)
    return _ValueCodec(cls)


class _ValueCodec(Generic[S]):
    """States that are dataclasses, models or plain values."""

    def __init__(self, cls: type[S]) -> None:
        self._adapter: TypeAdapter[Any] = _adapter(cls, cls.__qualname__)
        self._name = cls.__qualname__
        self.shape = _digest([_schema(self._adapter, cls)])

    def encode(self, state: S) -> str:
        text = _dump(self._adapter, state, self._name)
        _require_same(self.decode(text), state, self._name)
        return text

    def decode(self, text: str) -> S:
        state: S = _load(self._adapter, text, self._name)
        return state


class _StructCodec(Generic[S]):
    """States that are msgspec Structs."""

    def __init__(self, cls: type[S]) -> None:
        import msgspec

        self._json = msgspec.json
        self._decoder = msgspec.json.Decoder(cls)
        self._name = cls.__qualname__
        self.shape = _digest([msgspec.json.schema(cls)])

    def encode(self, state: S) -> str:
        try:
            text = self._json.encode(state).decode()
        except Exception as error:
            raise SnapshotError(f"a {self._name} cannot be stored: {error}") from error
        _require_same(self.decode(text), state, self._name)
        return text

    def decode(self, text: str) -> S:
        try:
            return self._decoder.decode(text)
        except Exception as error:
            raise SnapshotError(f"a stored {self._name} does not fit today's: {error}") from error


class AggregateCodec:
    """The fields of an aggregate, as a dict of them."""

    def __init__(self, cls: type[AggregateRoot]) -> None:
        self._name = cls.__qualname__
        self._adapters = {
            name: _adapter(hint, f"{self._name}.{name}") for name, hint in fields_of(cls).items()
        }
        self.shape = _digest(
            {name: _schema(adapter, name) for name, adapter in self._adapters.items()}
        )

    def encode(self, state: object) -> str:
        present = {name: value for name, value in vars(state).items() if name not in ("id", "log")}
        undeclared = sorted(set(present) - set(self._adapters))
        if undeclared:
            raise SnapshotError(
                f"{self._name}.{undeclared[0]} is set but not declared, so a snapshot would lose "
                f"it; declare it in the class: {undeclared[0]}: ... = ..."
            )
        fields: dict[str, str] = {}
        for name, value in present.items():
            what = f"{self._name}.{name}"
            fields[name] = _dump(self._adapters[name], value, what)
            _require_same(_load(self._adapters[name], fields[name], what), value, what)
        return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in fields.items()) + "}"

    def decode(self, text: str) -> Any:
        """Returns the fields by name."""
        try:
            fields = [
                (self._adapters[name], name, value) for name, value in json.loads(text).items()
            ]
        except (ValueError, AttributeError, KeyError) as error:
            raise SnapshotError(f"a stored {self._name} does not fit today's: {error!r}") from error
        return {
            name: _load(adapter, json.dumps(value), f"{self._name}.{name}")
            for adapter, name, value in fields
        }


def _adapter(hint: Any, what: str) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(hint)
    except Exception as error:  # pydantic raises many kinds here, all meaning the same
        raise SnapshotError(f"{what} cannot be stored in a snapshot: {error}") from error


def _schema(adapter: TypeAdapter[Any], what: object) -> Any:
    try:
        return adapter.json_schema(mode="serialization")
    except Exception as error:
        raise SnapshotError(f"{what} cannot be stored in a snapshot: {error}") from error


def _dump(adapter: TypeAdapter[Any], value: object, what: str) -> str:
    try:
        return adapter.dump_json(value, by_alias=True, warnings=False).decode()
    except Exception as error:
        raise SnapshotError(f"{what} cannot be stored in a snapshot: {error}") from error


def _load(adapter: TypeAdapter[Any], text: str, what: str) -> Any:
    try:
        return adapter.validate_json(text)
    except Exception as error:
        raise SnapshotError(f"a stored {what} does not fit today's: {error}") from error


def _require_same(decoded: object, state: object, what: str) -> None:
    if not _same(decoded, state):
        raise SnapshotError(
            f"{what} would not read back from a snapshot as it is; give its fields exact types "
            "(list[int] and not list, str keys in dicts) and it an __eq__, as dataclasses have"
        )


def _same(decoded: Any, state: Any) -> bool:
    """Whether two values are equal down to the types of what they hold.

    `==` is not enough: a Counter equals a dict, an enum of strings its string, a named tuple a
    tuple, and a fold that goes on from the other of the two fails or ends elsewhere. A whole number
    in a field of floats is the one that passes: it counts on alike.
    """
    kind: type[Any] = type(decoded)  # pyright: ignore[reportUnknownVariableType]
    if kind is not type(state):
        return {kind, type(state)} == {int, float} and bool(decoded == state)
    if issubclass(kind, dict):
        factory = getattr(decoded, "default_factory", None)
        return (
            factory == getattr(state, "default_factory", None)
            and len(decoded) == len(state)
            and all(map(_same, decoded.items(), state.items()))
        )
    if issubclass(kind, (list, tuple, deque)):
        return len(decoded) == len(state) and all(map(_same, decoded, state))
    if issubclass(kind, (set, frozenset)):
        types = Counter[Any](map(type, decoded)), Counter[Any](map(type, state))
        return bool(decoded == state) and types[0] == types[1]
    names = _names_in(state)
    if names is None:
        return bool(decoded == state)
    return all(_same(getattr(decoded, n, _ABSENT), getattr(state, n, _ABSENT)) for n in names)


_ABSENT = object()


def _names_in(state: Any) -> Iterable[str] | None:
    """Returns the names of all that a dataclass, model or Struct holds; None for other values."""
    cls: type[Any] = type(state)  # pyright: ignore[reportUnknownVariableType]
    fields = getattr(cls, "__struct_fields__", None) or getattr(cls, "__dataclass_fields__", None)
    if fields is None:
        fields = getattr(cls, "__pydantic_fields__", None)
    if fields is None:
        return None
    # What was set without being declared would be lost, except what is computed anew when asked.
    others = (name for name in getattr(state, "__dict__", ()) if name not in fields)
    extra = getattr(state, "__pydantic_extra__", None) or ()
    private = getattr(state, "__pydantic_private__", None) or ()
    return [
        *fields,
        *extra,
        *private,
        *(name for name in others if not isinstance(getattr(cls, name, None), cached_property)),
    ]


def _digest(schema: object) -> str:
    text = json.dumps(schema, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
