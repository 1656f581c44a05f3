"""Upcasting: data of an older schema becomes data of today's, when it is read."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any, TypeAlias, cast

from everlog.core.misfit import Misfit
from everlog.core.portable import canonical, parse
from everlog.core.stream import check_name
from everlog.errors import EventDefinitionError, NotPortable

MAX_SCHEMA = 2**31 - 1
"""The greatest schema: every database has a column for it."""

Function: TypeAlias = Callable[[Any], Any] | Callable[[Any, Any], tuple[Any, Any]]


class Upcast:
    """A step from one schema of an event type to a later one. Made by `upcast`.

    Call it like the function it was made from.
    """

    def __init__(self, type: str, from_: int, to: int, function: Function) -> None:
        self.type = type
        self.from_ = from_
        self.to = to
        self.takes_meta = _count(function) == 2
        self.__doc__ = function.__doc__
        self.__wrapped__: Callable[..., Any] = function

    def __call__(self, *values: Any) -> Any:
        return self.__wrapped__(*values)

    def __repr__(self) -> str:
        return f"<Upcast of {self.type!r} from schema {self.from_} to {self.to}>"

    def step(self, data: Any, meta: Any, *, may_be_none: bool) -> tuple[Any, Any]:
        """Returns data and meta of its later schema; raises `Misfit` where it cannot."""
        had_data = data is not None
        try:
            found: object = self(data, meta) if self.takes_meta else self(data)
        except Exception as error:  # of the program's function, which may raise anything
            raise Misfit([("", f"{self.words} raised {error!r}")]) from error
        if self.takes_meta:
            if not isinstance(found, tuple) or len(both := cast("tuple[Any, Any]", found)) != 2:
                raise Misfit([("", f"{self.words} must return data and meta, as a tuple of two")])
            data, meta = both
        else:
            data = found
        if data is None and had_data and not may_be_none:
            raise Misfit([("", f"{self.words} returned None; return the new data, {{}} for none")])
        return data, meta

    @property
    def words(self) -> str:
        """What it is, in an error."""
        return f"the upcast of {self.type!r} from schema {self.from_} to {self.to}"


def upcast(type: str, from_: int, to: int) -> Callable[[Function], Upcast]:
    """Declares a function to bring data of an event type from one schema to a later one.

    The function takes the data as plain JSON values (what `Record.json` shows) and returns them as
    the later schema has them; it may change what it is given. With a second parameter it is given
    the meta, too, and returns both. It is called when a record of that schema is decoded, never
    when it is stored: what is stored, and its hash, stay as they are. Several are chained: from 1
    to 2, from 2 to 3. Hand them to the store with the classes.

    - `type`: of the event, or one of its class's `aliases`: then only for records of that name
    - `from_`, `to`: schemas, from 1 on; `to` is the later one

    It must not wait, look at the clock or at a store: the same data has to give the same data.
    Snapshots of folds that were made with other upcasts are not used. Where that cannot be seen (a
    function that it calls has changed), raise the `version` of the reducer.

    Raises `EventDefinitionError` for numbers or a function that cannot work, `InvalidName` for a
    type that cannot be one.

    >>> @event("user:moved")
    ... class MovedBefore(BaseModel):
    ...     city: str
    >>> async with EventStore.open("sqlite:///moves.db", events=[MovedBefore]) as store:
    ...     records = await store.append("user-1", MovedBefore(city="Oslo"))
    >>> @event("user:moved", schema=2)
    ... class Moved(BaseModel):
    ...     city: str
    ...     country: str
    >>> @upcast("user:moved", 1, 2)
    ... def with_country(data: dict[str, str]) -> dict[str, str]:
    ...     return {**data, "country": "Norway"}
    >>> async with EventStore.open("sqlite:///moves.db", events=[Moved, with_country]) as store:
    ...     async for record in store.read("user-1"):
    ...         print(record.data, record.json)
    city='Oslo' country='Norway' {'city': 'Oslo'}
    """
    check_name("event type", type)
    for number in (from_, to):
        # Decorators are called by programs that no type checker has seen.
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_SCHEMA:  # type: ignore[redundant-expr]  # pyright: ignore[reportUnnecessaryIsInstance]
            raise EventDefinitionError(
                f"schema {number!r} of an upcast of {type!r} must be a whole number from 1 to "
                f"{MAX_SCHEMA:,}"
            )
    if from_ >= to:
        raise EventDefinitionError(
            f"an upcast of {type!r} from schema {from_} to {to} must lead to a later one"
        )

    def declare(function: Function) -> Upcast:
        return Upcast(type, int(from_), int(to), function)

    return declare


def _count(function: Any) -> int:
    plain = callable(function) and not isinstance(function, type)
    if not plain or inspect.iscoroutinefunction(function):
        raise EventDefinitionError(f"@upcast stands above a plain function, not {function!r}")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise EventDefinitionError(f"@upcast cannot tell what {function!r} takes") from error
    places = [
        each
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        and each.default is each.empty
    ]
    others = [
        each for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty
    ]
    if len(places) not in (1, 2) or others:
        raise EventDefinitionError(
            f"{getattr(function, '__qualname__', function)} is an upcast and must take the data, "
            "or the data and the meta"
        )
    return len(places)


class Chain:
    """The upcasts of one event type, and what they lead to."""

    def __init__(self, type: str, schema: int) -> None:
        self._type = type
        self._schema = schema
        self._steps: dict[tuple[str, int], Upcast] = {}

    def add(self, step: Upcast) -> None:
        """Takes in one more; raises `EventDefinitionError` for a second from the same schema."""
        present = self._steps.setdefault((step.type, step.from_), step)
        if present is not step:
            raise EventDefinitionError(
                f"two upcasts of {step.type!r} begin at schema {step.from_}; keep one of them"
            )

    def check(self) -> None:
        """Raises `EventDefinitionError` for one that does not lead to today's schema."""
        for (name, schema), step in self._steps.items():
            if step.to > self._schema:
                raise EventDefinitionError(
                    f"{step.words} leads past today's, which is schema {self._schema}"
                )
            found, reached = self._path(name, schema)
            if reached != self._schema:
                raise EventDefinitionError(
                    f"{found[-1].words} leads no further, and today's is schema {self._schema}; "
                    f"write @upcast({self._type!r}, {reached}, {self._schema})"
                )

    def apply(
        self, name: str, schema: int, data: str, meta: str, *, may_be_none: bool
    ) -> tuple[str, str]:
        """Returns data and meta of today's schema as JSON, of a record's of an older one.

        Raises `Misfit` where no upcast leads there or one fails.
        """
        steps, reached = self._path(name, schema)
        if reached != self._schema:
            raise Misfit([self._unreached(schema, reached)])
        tree, said = parse(data), parse(meta, at="meta")
        texts = data, meta
        for step in steps:
            tree, said = step.step(tree, said, may_be_none=may_be_none)
            try:
                # Each for itself: what is wrong is named where it came in.
                texts = canonical(tree), canonical(said, at="meta")
            except NotPortable as error:
                raise Misfit([("", f"{step.words} returned what is no JSON: {error}")]) from error
        return texts

    @property
    def words(self) -> list[str]:
        """What it is made of, so that a change of it can be told."""
        return [
            f"{name} {step.from_} {step.to} {_digest(step.__wrapped__)}"
            for (name, _), step in sorted(self._steps.items())
        ]

    def _path(self, name: str, schema: int) -> tuple[list[Upcast], int]:
        found: list[Upcast] = []
        while schema < self._schema:
            step = self._steps.get((name, schema)) or self._steps.get((self._type, schema))
            if step is None:
                break
            found.append(step)
            schema = step.to
        return found, schema

    def _unreached(self, schema: int, reached: int) -> tuple[str, str]:
        if schema > self._schema:
            return (
                "",
                f"it is of schema {schema} and this program knows {self._schema}: a newer one "
                "wrote it; bring this one up to date",
            )
        return (
            "",
            f"it is of schema {schema}, today's is {self._schema}, and no upcast leads on from "
            f"{reached}; write @upcast({self._type!r}, {reached}, {self._schema}) and hand it to "
            "the store in events=[...]",
        )


def evolution_of(types: Iterable[tuple[str, int, Sequence[str], Chain]]) -> str:
    """Returns a digest of how data becomes today's; empty where it is stored as it is read.

    Of each type: its name, schema, aliases and upcasts.
    """
    words = [
        f"{type} {schema} {' '.join(aliases)} {chain.words}"
        for type, schema, aliases, chain in types
        if schema != 1 or aliases or chain.words
    ]
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest() if words else ""


def _digest(function: Callable[..., Any]) -> str:
    """Returns what tells a function from a changed one, the same in each process of one Python."""
    code: CodeType | None = getattr(function, "__code__", None)
    if code is None:  # an object that can be called
        code = getattr(vars(type(function)).get("__call__"), "__code__", None)
    values: list[object] = [code, *(getattr(function, "__defaults__", None) or ())]
    # What is kept from around it is part of what it does.
    values += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return hashlib.sha256("\n".join(map(_words, values)).encode()).hexdigest()[:16]


def _words(value: object) -> str:
    if isinstance(value, CodeType):
        # No file and no line: where it stands is no part of what it does.
        constants = [_words(each) for each in value.co_consts]
        return repr((value.co_code.hex(), value.co_names, value.co_varnames, constants))
    if isinstance(value, frozenset):
        return repr(sorted(map(_words, cast("frozenset[object]", value))))  # in no order otherwise
    if isinstance(value, (list, tuple)):
        return repr([_words(each) for each in cast("list[object]", value)])
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return repr([(_words(key), _words(item)) for key, item in items])
    if value is None or isinstance(value, (str, int, float, bytes, complex)):
        return repr(value)
    # The repr of anything else may show where it lies in memory.
    code = getattr(value, "__code__", None)
    return _words(code) if isinstance(code, CodeType) else type(value).__qualname__
