"""Given events, then a state: tests of reducers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.testing.difference import difference, same
from everlog.testing.history import History

S = TypeVar("S")


class ReducerScenario(Generic[S]):
    """A test of one reducer; made by `scenario(reducer)`.

    >>> test = scenario(user_reducer)
    >>> test = test.given(EmailSet("jane@new.com"))
    >>> late = datetime(2025, 1, 1, tzinfo=UTC)
    >>> test = test.given(EmailSet("jane@old.com"), created=late)
    >>> test = test.then(UserState(email="jane@new.com"))
    """

    def __init__(self, reducer: Reducer[S], stream: str | None = None) -> None:
        self._reducer = reducer
        self._history = History(stream or f"{reducer.name}-1")

    def given(
        self,
        *events: object,
        stream: str | None = None,
        meta: object = None,
        created: datetime | str | None = None,
        hydrated: bool | None = None,
        outdated: bool | None = None,
    ) -> Self:
        """Adds what has happened, in the order in which it came here. Can be called again.

        Events (or whole records, as `record_of` makes them) are validated as at an append; only a
        meta may be left out. Each is created a second after all before it, unless `created` says
        otherwise: an aware datetime or a stamp. One that is created earlier than others came late,
        so it is hydrated, and outdated if a newer one of its register is there; `hydrated` and
        `outdated` say otherwise.
        """
        self._history.add(
            events,
            stream=stream,
            meta=meta,
            created=created,
            hydrated=hydrated,
            outdated=outdated,
        )
        return self

    def then(self, expected: S | None) -> Self:
        """Asserts the state that all events give, by `(created, id)`; None without events."""
        __tracebackhide__ = True
        actual = self.state
        if not same(expected, actual):
            raise AssertionError(
                f"{self._reducer.name!r} folds {self._told()} to another state "
                f"(- expected, + actual):\n{difference([expected], [actual])}"
            )
        return self

    @property
    def state(self) -> S | None:
        """The state that all events give, folded anew; None without events."""
        if not self._history.records:
            return None
        state = self._reducer.initial()
        for record in self._history.folded:
            state = self._reducer(state, record)
        return state

    @property
    def records(self) -> list[Record[Any]]:
        """The records given, in the order of their arrival."""
        return list(self._history.records)

    def _told(self) -> str:
        return ", ".join(record.type for record in self._history.folded) or "no events"
