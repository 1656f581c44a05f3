"""Given events, when a method is called, then these events: tests of aggregates."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from everlog.core.aggregate import AggregateRoot, start
from everlog.core.event import event_type_of
from everlog.core.record import Record
from everlog.errors import InvalidInput, UnsavedEvents
from everlog.testing.builders import record_of
from everlog.testing.difference import difference, lines_of, same
from everlog.testing.history import History, after
from everlog.testing.running import run

A = TypeVar("A", bound=AggregateRoot)


class AggregateScenario(Generic[A]):
    """A test of one aggregate class; made by `scenario(cls)`.

    >>> test = scenario(User).given(UserCreated(email="jane@doe.com"))
    >>> test = test.when(lambda user: user.set_email("jane@new.com"))
    >>> test = test.then_events(EmailSet("jane@new.com")).then_state(email="jane@new.com")
    """

    def __init__(self, cls: type[A], stream: str | None = None) -> None:
        self._cls = cls
        self._history = History(stream or f"{cls.aggregate_name}-1")
        self._saver = _StandIn(self._history)
        self._aggregate: A | None = None
        self._before = 0
        self._error: Exception | None = None

    def given(
        self,
        *events: object,
        meta: object = None,
        created: datetime | str | None = None,
        hydrated: bool | None = None,
        outdated: bool | None = None,
    ) -> Self:
        """Adds what has happened in the aggregate's stream, in the order in which it came here.

        As `ReducerScenario.given`. To be called before `when`.
        """
        if self._aggregate is not None:
            raise InvalidInput("given(...) comes before when(...): begin another scenario")
        self._history.add(
            events,
            stream=None,
            meta=meta,
            created=created,
            hydrated=hydrated,
            outdated=outdated,
        )
        return self

    def when(self, decide: Callable[[A], object]) -> Self:
        """Does something with the aggregate, as loaded from what was given; or a new one.

        Called again, it goes on with the same aggregate. What `decide` raises is kept for
        `then_raises`, and is raised by any other `then`. It may be `async def`. What it pushes is
        validated as in a store; what it saves is taken note of.
        """
        self._raise_unexpected()
        aggregate = self.aggregate
        self._before = len(self._pushed())
        try:
            result = decide(aggregate)
            if inspect.isawaitable(result):
                run(lambda: _await(result))
        except Exception as error:
            self._error = error
        return self

    def then_events(self, *expected: object, meta: object = None) -> Self:
        """Asserts that the last `when` pushed exactly these events; none if called without.

        Events are the same if type and canonical data are. With `meta`, each must have it.
        """
        __tracebackhide__ = True
        self._raise_unexpected()
        pushed = self._pushed()[self._before :]
        wanted = [_content(event) for event in expected]
        if wanted != [(record.type, record.stored.data) for record in pushed]:
            raise AssertionError(
                f"{self._cls.__qualname__} pushed other events (- expected, + actual):\n"
                + difference(expected, [record.data for record in pushed])
            )
        if meta is not None:
            for record, event in zip(pushed, expected, strict=True):
                if record_of(event, meta=meta).stored.meta != record.stored.meta:
                    raise AssertionError(
                        f"{record.type!r} was pushed with another meta (- expected, + actual):\n"
                        + difference([meta], [record.meta])
                    )
        return self

    def then_raises(self, error: type[Exception], *, match: str | None = None) -> Self:
        """Asserts that the last `when` raised this error; `match` is searched in its message."""
        __tracebackhide__ = True
        raised, self._error = self._error, None
        name = error.__qualname__
        if raised is None:
            pushed = self._pushed()[self._before :]
            raise AssertionError(
                f"{name} was expected, but nothing was raised; pushed:"
                + (
                    "".join(f"\n  {line}" for r in pushed for line in lines_of(r.data))
                    or " nothing"
                )
            )
        if not isinstance(raised, error):
            raise AssertionError(f"{name} was expected, not {raised!r}") from raised
        if match is not None and not re.search(match, str(raised)):
            raise AssertionError(
                f"{name} was raised, but its message is another:\n  - {match}\n  + {raised}"
            ) from raised
        return self

    def then_state(self, **fields: object) -> Self:
        """Asserts fields of the aggregate, by name: `.then_state(email="jane@doe.com")`."""
        __tracebackhide__ = True
        self._raise_unexpected()
        unknown = [name for name in fields if not hasattr(self.aggregate, name)]
        if unknown:
            raise AssertionError(f"{self._cls.__qualname__} has no field {unknown[0]!r}")
        actual = {name: getattr(self.aggregate, name) for name in fields}
        if not all(same(fields[name], actual[name]) for name in fields):
            raise AssertionError(
                f"{self._cls.__qualname__} is in another state (- expected, + actual):\n"
                + difference([fields], [actual])
            )
        return self

    @property
    def aggregate(self) -> A:
        """The aggregate as it is now."""
        if self._aggregate is None:
            loaded = start(self._cls, self._history.stream, self._saver)
            for record in self._history.folded:
                loaded.apply(record)
            loaded.log.version = len(self._history.records)
            self._aggregate = loaded
        return self._aggregate

    def _pushed(self) -> list[Record[Any]]:
        return [*self._saver.saved, *self.aggregate.log.pending]

    def _raise_unexpected(self) -> None:
        if self._error is not None:
            raise self._error


class _StandIn:
    """Stands in for the store that an aggregate comes from (`everlog.core.aggregate.Saver`)."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.saved: list[Record[Any]] = []

    def pend(self, aggregate: AggregateRoot, event: object, meta: object) -> Record[Any]:
        declared = event_type_of(type(event))
        if declared.meta is not None and meta is None:
            # A history may leave out the meta; who pushes must not.
            declared.encode(event, meta)
        log = aggregate.log
        return record_of(
            event,
            stream=log.stream,
            version=log.version + len(log.pending) + 1,
            position=0,
            created=after([*self._history.records, *self.saved, *log.pending]),
            meta=meta,
        )

    async def save(
        self, *aggregates: AggregateRoot, emit: bool = True, batch: str | None = None
    ) -> None:
        for aggregate in aggregates:
            self.save_now(aggregate, emit=emit, batch=batch)

    async def snapshot_aggregate(self, aggregate: AggregateRoot) -> None:
        self.snapshot_now(aggregate)

    # What an aggregate of everlog.blocking calls.

    def save_now(self, aggregate: AggregateRoot, *, emit: bool, batch: str | None) -> None:
        self.saved += aggregate.log.pending
        aggregate.log.saved({record.id: record.version for record in aggregate.log.pending})

    def snapshot_now(self, aggregate: AggregateRoot) -> None:
        if aggregate.log.is_dirty:
            raise UnsavedEvents(f"{aggregate!r} has events that are not saved; save it first")


def _content(event: object) -> tuple[str, str]:
    record = record_of(event)
    return record.type, record.stored.data


async def _await(awaitable: Awaitable[object]) -> None:
    await awaitable
