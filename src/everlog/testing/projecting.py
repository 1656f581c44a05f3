"""Given records, when more come, then these handlers are called: tests of projectors."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, cast

from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.subscriptions.calling import call, name_of
from everlog.subscriptions.projector import Appended, Projector
from everlog.testing.history import History
from everlog.testing.running import run


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a handler, `on_success` or `on_error`.

    >>> projector = Projector()
    >>> @projector.on(EmailSet)
    ... async def keep(record: Record[EmailSet]) -> None: ...
    >>> [call] = scenario(projector).when(EmailSet("jane@doe.com")).calls
    >>> call.handler is keep, call.arguments
    (True, (<Record 1 user:email-set of 'stream-1' version 1 id stream-1#1>,))
    """

    handler: Callable[..., Any]
    arguments: tuple[Any, ...]
    """A record; of a batch handler, the records; of a `state` handler, the state and the record; of
    a callback, the record and what came of it."""


class ProjectorScenario:
    """A test of one projector; made by `scenario(projector)`.

    Handlers run in an event loop of their own, to their end, before `when` returns: no waiting, and
    no use for a store that was opened elsewhere. A `state` handler is called for each record, with
    the state of its stream as all records that were told make it.

    >>> projector = Projector()
    >>> @projector.once(UserCreated)
    ... async def welcome(record: Record[UserCreated]) -> None: ...
    >>> test = scenario(projector).when(UserCreated(email="jane@doe.com")).then_called(welcome)
    >>> test = scenario(projector).given(UserCreated(email="jane@doe.com")).then_called()
    """

    def __init__(self, projector: Projector, stream: str | None = None) -> None:
        self._projector = projector
        self._history = History(stream or "stream-1")
        self._error: Exception | None = None
        self.calls: list[Call] = []
        """The calls since the beginning, or since the last `given`."""

    def given(
        self,
        *events: object,
        stream: str | None = None,
        meta: object = None,
        created: datetime | str | None = None,
        hydrated: bool | None = None,
        outdated: bool | None = None,
    ) -> Self:
        """Adds what has happened, and replays it: read models see it, a `once` never does.

        The calls are not counted. Otherwise as `ReducerScenario.given`.
        """
        __tracebackhide__ = True
        self._raise_unexpected()
        records = self._history.add(
            events,
            stream=stream,
            meta=meta,
            created=created,
            hydrated=hydrated,
            outdated=outdated,
        )
        run(lambda: self._watched().replay(records))
        self.calls = []
        return self

    def when(
        self,
        *events: object,
        stream: str | None = None,
        meta: object = None,
        created: datetime | str | None = None,
        hydrated: bool | None = None,
        outdated: bool | None = None,
        batch: str | None = None,
    ) -> Self:
        """Hands over events as appended together, or imported if they are late or `hydrated`.

        `batch` is the key of `projector.batch(key)`. What handlers raise is kept for `then_raises`,
        and is raised by any other `then`.
        """
        self._raise_unexpected()
        records = self._history.add(
            events,
            stream=stream,
            meta=meta,
            created=created,
            hydrated=hydrated,
            outdated=outdated,
        )
        try:
            run(lambda: self._watched().handle(Appended(tuple(records), batch)))
        except Exception as error:
            self._error = error
        return self

    def then_called(self, *handlers: Callable[..., Any]) -> Self:
        """Asserts that exactly these handlers were called, in any order; named once for each call.

        Counts since the beginning or the last `given`. Without handlers: that none was called.
        """
        __tracebackhide__ = True
        self._raise_unexpected()
        expected, actual = Counter(handlers), Counter(call.handler for call in self.calls)
        if expected != actual:
            lines: list[str] = []
            for handler in dict.fromkeys([*handlers, *actual]):
                wanted, got = expected[handler], actual[handler]
                mark = " " if wanted == got else "-" if wanted > got else "+"
                lines.append(f"  {mark} {name_of(handler)}: {_calls(got)}, expected {wanted}")
            raise AssertionError("the projector called other handlers:\n" + "\n".join(lines))
        return self

    def then_raises(self, error: type[Exception]) -> Self:
        """Asserts that a handler raised this error: itself, or as the cause of `HandlerFailed`."""
        __tracebackhide__ = True
        raised, self._error = self._error, None
        if raised is None:
            raise AssertionError(f"{error.__qualname__} was expected, but no handler failed")
        if not any(isinstance(one, error) for one in _all_in(raised)):
            raise AssertionError(f"{error.__qualname__} was expected, not {raised!r}") from raised
        return self

    @property
    def records(self) -> list[Record[Any]]:
        """All records, in the order of their arrival."""
        return list(self._history.records)

    def _watched(self) -> Projector:
        return self._projector.wrapped(self._watch, state_of=self._state_of)

    async def _state_of(self, reducer: Reducer[Any], stream: str) -> Any:
        # Of all that has been told, as a subscription folds all that is in the log by then.
        state = reducer.initial()
        for record in self._history.folded:
            if record.stream == stream:
                state = reducer(state, record)
        return state

    def _watch(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        async def noted(*arguments: Any) -> Any:
            self.calls.append(Call(handler, arguments))
            return await call(handler, *arguments)

        return noted

    def _raise_unexpected(self) -> None:
        if self._error is not None:
            raise self._error


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"


def _all_in(error: BaseException) -> Sequence[BaseException]:
    """Returns an error, its cause, and those of a group."""
    found = [error]
    if isinstance(error, BaseExceptionGroup):
        for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            found += _all_in(one)
    return found if error.__cause__ is None else [*found, *_all_in(error.__cause__)]
