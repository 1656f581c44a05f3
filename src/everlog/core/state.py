"""States as text: what snapshots keep, and how it is known that they kept it.

A state is encoded by pydantic (or msgspec, for a Struct), read back and compared before it is
stored: a snapshot that would not give back the very state is refused, not stored. So is a state
that holds one object in two places, because it would read back as two.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import deque
from collections.abc import Iterable
from datetime import datetime, time, timezone, tzinfo
from decimal import Decimal
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
        _require_same(self.decode(text), state, self._name, {})
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
        _require_same(self.decode(text), state, self._name, {})
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
        met: dict[int, str] = {}
        for name, value in present.items():
            what = f"{self._name}.{name}"
            fields[name] = _dump(self._adapters[name], value, what)
            _require_same(_load(self._adapters[name], fields[name], what), value, what, met)
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


def _require_same(decoded: object, state: object, what: str, met: dict[int, str]) -> None:
    difference = _difference(decoded, state, what, met)
    if difference is not None:
        raise SnapshotError(f"{difference}; a snapshot gives back the very state or is not taken")


def _difference(decoded: Any, state: Any, at: str, met: dict[int, str]) -> str | None:
    """Returns where and how two values differ, down to the types of what they hold, or None.

    `==` is not enough: a Counter equals a dict, an enum of strings its string, a named tuple a
    tuple, 3 equals 3.0, and a fold that goes on from the other of the two fails or ends elsewhere.
    `met` holds the mutable objects met so far, and where: changed in one place, an object changes
    in the other, and two copies do not.
    """
    kind: type[Any] = type(state)  # pyright: ignore[reportUnknownVariableType]
    if kind is not type(decoded):
        return _differs(decoded, state, at)
    names = _names_in(state)
    if _is_mutable(state, names):
        if id(state) in met:
            return (
                f"{at} is the very {kind.__qualname__} that {met[id(state)]} is, and would read "
                "back as another; keep it in one place (in the other its key, or a copy), or make "
                "its class frozen"
            )
        met[id(state)] = at
    if names is not None:
        for name in names:
            a, b = getattr(decoded, name, _ABSENT), getattr(state, name, _ABSENT)
            if found := _difference(a, b, f"{at}.{name}", met):
                return found
        return None
    if issubclass(kind, (dict, list, tuple, deque, set, frozenset)):
        same = len(decoded) == len(state) and all(
            getattr(decoded, name, None) == getattr(state, name, None)
            for name in ("default_factory", "maxlen")
        )
        if not same:
            return _differs(decoded, state, at)
    if issubclass(kind, dict):
        for (key, item), (own_key, own) in zip(decoded.items(), state.items(), strict=True):
            found = _difference(key, own_key, f"a key of {at}", met)
            if found := found or _difference(item, own, f"{at}[{own_key!r}]", met):
                return found
        return None
    if issubclass(kind, (list, tuple, deque)):
        for index, (item, own) in enumerate(zip(decoded, state, strict=True)):
            if found := _difference(item, own, f"{at}[{index}]", met):
                return found
        return None
    if issubclass(kind, (set, frozenset)):
        if decoded != state:
            return _differs(decoded, state, at)
        partners = {item: item for item in decoded}
        for own in state:
            if found := _difference(partners[own], own, f"an item of {at}", met):
                return found
        return None
    return None if _same_value(decoded, state) else _differs(decoded, state, at)


def _differs(decoded: object, state: object, at: str) -> str:
    return (
        f"{at} is {_shown(state)} and would read back as {_shown(decoded)}; give it an exact type "
        "(list[int] and not list, str keys in dicts, 0.0 in a field of floats), and a class of "
        "its own an __eq__, as dataclasses have"
    )


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return f"{text if len(text) <= 100 else text[:97] + '...'} ({type(value).__qualname__})"


def _same_value(decoded: Any, state: Any) -> bool:
    """Whether two values of one type, that hold no others, are the same in all that can be told."""
    if not bool(decoded == state):
        return False
    if isinstance(state, (float, Decimal)):
        return repr(decoded) == repr(state)  # -0.0 equals 0.0, and 1.50 equals 1.5
    if isinstance(state, (datetime, time)):
        return decoded.fold == state.fold and _same_zone(decoded.tzinfo, state.tzinfo)
    return True


def _same_zone(decoded: tzinfo | None, state: tzinfo | None) -> bool:
    """Whether time counts on alike in two zones: a zone with rules is no fixed offset."""
    if decoded is None or state is None:
        return decoded is state
    if _is_plain_offset(decoded) and _is_plain_offset(state):
        return decoded.utcoffset(None) == state.utcoffset(None)
    return type(decoded) is type(state) and decoded == state


def _is_plain_offset(zone: tzinfo) -> bool:
    """Whether a zone is an offset and nothing else, as pydantic's and the standard library's."""
    if isinstance(zone, timezone):
        offset = zone.utcoffset(None)
        return zone.tzname(None) == timezone(offset).tzname(None)
    return type(zone).__module__.startswith("pydantic_core")


def _is_mutable(value: Any, names: Iterable[str] | None) -> bool:
    """Whether a value can be changed in place. What it holds is another question."""
    cls: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
    if names is None:
        return cls.__hash__ is None
    struct = getattr(cls, "__struct_config__", None)
    if struct is not None:
        return not struct.frozen
    params = getattr(cls, "__dataclass_params__", None)
    if params is not None:
        return not params.frozen
    return not getattr(cls, "model_config", {}).get("frozen")


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
