"""Codecs: between an event class and the canonical JSON of its data.

One rule for all of them: what is stored is the canonical form of the *validated* event, so that a
reader gets what the writer meant, or the writer gets an error. `encode` therefore encodes, decodes
what it encoded, and compares. Where the two are equal and the text is beyond doubt canonical, that
text is stored; everywhere else the exact way through plain JSON values is taken, which sees what
JSON encoders hide (a NaN becomes null, two keys become one) and refuses what validation would drop.

Equal is what `==` says, where it is the one that pydantic, msgspec or `@dataclass` makes over all
fields, for the class and for all that it is made of. Elsewhere nothing is taken for equal.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any, Protocol, cast

from everlog.core.fielded import all_compare, losses, sees_all_fields
from everlog.core.misfit import Misfit
from everlog.core.portable import canonical, certainly_canonical, parse
from everlog.errors import EventDefinitionError, EventValidationError, NaiveDatetime


class Engine(Protocol):
    """What pydantic or msgspec do for one class. Raises `Misfit` for what does not fit."""

    cls: type[Any]
    bare: bool
    """Whether the JSON data is a bare value and not an object of fields."""
    fields: bool
    """Whether there is any field; without one the JSON data is null."""

    def prepare(self) -> None:
        """Raises `EventDefinitionError` if the class cannot be encoded or decoded."""
        ...

    def made_of(self) -> frozenset[type[Any]] | None:
        """Returns all classes with fields that it declares, with itself; None if it cannot tell."""
        ...

    sorts: bool
    """Whether `dumps` sorts keys."""

    def dumps(self, value: object) -> bytes | None:
        """Returns compact JSON, or None where the exact way has to find out what is wrong."""
        ...

    def to_tree(self, value: object) -> object:
        """Returns plain JSON values, with NaN and the like still to be seen."""
        ...

    def to_python(self, value: object) -> object:
        """Returns dicts and lists of fields, with datetimes still to be seen."""
        ...

    def loads(self, text: str | bytes) -> Any:
        """Returns an instance, validated; unknown fields are ignored."""
        ...


class Codec:
    """Encodes and decodes one class. `prepare` has to have been called before."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.cls = engine.cls
        self.bare = engine.bare
        self._inner: tuple[type[Any], ...] | None = None
        """The classes inside, where `==` sees all fields of them and of the class; or None."""
        self._null = not engine.fields
        """Whether `{}` is stored as null."""

    def prepare(self) -> None:
        """Raises `EventDefinitionError` if the class cannot be encoded or decoded."""
        self._engine.prepare()
        made_of = self._engine.made_of() or frozenset()
        inner = tuple(made_of - {self.cls})
        whole = self.cls in made_of and sees_all_fields(self.cls) and all_compare(inner)
        self._inner = inner if whole else None

    def encode(self, value: object, *, at: str, event_type: str) -> str:
        """Returns canonical JSON.

        Raises `EventValidationError`, `NotPortable` or, for a datetime without a time zone,
        `NaiveDatetime`.
        """
        if type(value) is not self.cls:
            raise EventValidationError(
                event_type,
                [(at, f"must be a {self.cls.__qualname__}, not {type(value).__qualname__}")],
            )
        try:
            text = self._encode_quickly(value)
            if text is None:
                text = self._encode(value, at)
            if "-" in text and _MAYBE_NAIVE.search(text):
                _refuse_naive(self._engine.to_python(value), at)
        except Misfit as misfit:
            problems = [(at + path, message) for path, message in misfit.problems]
            raise EventValidationError(event_type, problems) from misfit.__cause__
        return text

    def decode(self, text: str) -> Any:
        """Returns an instance; raises `Misfit`."""
        if text == "null" and not self.bare:
            text = "{}"
        return self._engine.loads(text)

    def _encode_quickly(self, value: object) -> str | None:
        """Returns canonical JSON where it is beyond doubt, on the path of nearly every append."""
        inner = self._inner
        # Classes inside can be extended later; and the __eq__ of an extending class is asked first.
        if inner is None or (inner and not all_compare(inner)):
            return None
        engine = self._engine
        text = engine.dumps(value)
        if text is None:
            return None
        try:
            kept = engine.loads(text)
            # Equal is not yet the same: 1 equals the True that is due, and 5 a Decimal.
            if kept != value or engine.dumps(kept) != text:
                return None
            if not engine.sorts:
                text = sort_keys(text)
        except Exception:  # the exact way says what is wrong, or that nothing is
            return None
        if not certainly_canonical(text):
            return None
        return "null" if self._null and text == b"{}" else text.decode()

    def _encode(self, value: object, at: str) -> str:
        """Returns canonical JSON, or says what is wrong."""
        engine = self._engine
        quick = engine.dumps(value)
        equal = False
        if quick is not None:
            equal = self._reads_back(quick, value)
            parse(quick, at=at)  # sees two keys that became one, which plain values cannot show
        # Twice: the first text is what was handed in, the second what validation made of it.
        validated = engine.loads(canonical(engine.to_tree(value), at=at))
        if not equal and (lost := list(losses(value, validated))):
            raise Misfit(lost)
        return self._null_if_empty(canonical(engine.to_tree(validated), at=at))

    def _reads_back(self, text: bytes, value: object) -> bool:
        inner = self._inner
        if inner is None or (inner and not all_compare(inner)):
            return False
        try:
            return bool(self._engine.loads(text) == value)
        except Misfit:
            return False  # the exact way says why

    def _null_if_empty(self, text: str) -> str:
        return "null" if self._null and text == "{}" else text


# What a datetime without a time zone looks like as text; so may other text, so this only asks for a
# closer look.
_MAYBE_NAIVE = re.compile(r"\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?\"")


def _refuse_naive(value: object, at: str) -> None:
    """Raises `NaiveDatetime` for the first datetime in a value that has no time zone."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise NaiveDatetime(at)
    elif isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            _refuse_naive(key, f"{at}.{key}")
            _refuse_naive(item, f"{at}.{key}")
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(cast("Iterable[object]", value)):
            _refuse_naive(item, f"{at}[{index}]")


def sort_keys(text: bytes) -> bytes:
    """Returns the same JSON, compact and with keys sorted by code point."""
    return sorter()(text)


@cache
def sorter() -> Callable[[bytes], bytes]:
    try:
        import msgspec
    except ImportError:  # the extra is not installed: slower, and the same bytes
        return lambda text: _sorted_text(json.loads(text)).encode()
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder(order="sorted").encode
    return lambda text: encode(decode(text))


_sorted_text = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def codec_for(cls: type[Any]) -> Codec:
    """Returns the codec of a pydantic model, a msgspec Struct or a dataclass.

    Neither library is imported for it: a class that needs one has imported it. Dataclasses always
    go through pydantic, whether msgspec is installed or not, because the two write some types
    (bytes, timedelta) differently, and an event's hash must not depend on what is installed.

    Raises `EventDefinitionError` for any other class.
    """
    if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise EventDefinitionError(f"{cls!r} is not a class")
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        from everlog.core.pydantic_engine import ModelEngine

        return Codec(ModelEngine(cls))
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        from everlog.core.msgspec_engine import StructEngine

        return Codec(StructEngine(cls))
    if dataclasses.is_dataclass(cls):
        from everlog.core.dataclass_engine import DataclassEngine

        return Codec(DataclassEngine(cls))
    raise EventDefinitionError(
        f"{cls.__qualname__} must be a pydantic model, a msgspec.Struct or a dataclass"
        " (put @event above @dataclass)"
    )
