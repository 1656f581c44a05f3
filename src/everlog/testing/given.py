"""`scenario`: given what has happened, when something is done, then this is to be seen."""

from __future__ import annotations

from typing import Any, TypeVar, cast, overload

from everlog.blocking.projector import Projector as BlockingProjector
from everlog.blocking.projector import asynchronous
from everlog.core.aggregate import AggregateRoot
from everlog.core.reducer import Reducer
from everlog.errors import InvalidInput
from everlog.subscriptions.projector import Projector
from everlog.testing.deciding import AggregateScenario
from everlog.testing.projecting import ProjectorScenario
from everlog.testing.reducing import ReducerScenario

S = TypeVar("S")
A = TypeVar("A", bound=AggregateRoot)


@overload
def scenario(subject: Reducer[S], *, stream: str | None = None) -> ReducerScenario[S]: ...
@overload
def scenario(subject: type[A], *, stream: str | None = None) -> AggregateScenario[A]: ...
@overload
def scenario(
    subject: Projector | BlockingProjector, *, stream: str | None = None
) -> ProjectorScenario: ...
def scenario(subject: Any, *, stream: str | None = None) -> Any:
    """Begins a test of a reducer, an aggregate class or a projector, without any store.

    `stream` is where events are that do not say otherwise; default: `<name>-1`. Every `then` raises
    an `AssertionError` that shows what differs, and returns the scenario, so that they can follow
    each other. Raises `InvalidInput` for anything else.

    >>> test = scenario(user_reducer).given(EmailSet("jane@doe.com"))
    >>> test = test.then(UserState(email="jane@doe.com"))

    >>> test = scenario(User).given(UserCreated(email="jane@doe.com"))
    >>> test = test.when(lambda user: user.set_email("jane@new.com"))
    >>> test = test.then_events(EmailSet("jane@new.com"))

    >>> projector = Projector()
    >>> @projector.once(UserCreated)
    ... async def welcome(record: Record[UserCreated]) -> None: ...
    >>> test = scenario(projector).when(UserCreated(email="jane@doe.com")).then_called(welcome)
    """
    if isinstance(subject, Reducer):
        return ReducerScenario(cast("Reducer[object]", subject), stream)
    if isinstance(subject, BlockingProjector):
        subject = asynchronous(subject)
    if isinstance(subject, Projector):
        return ProjectorScenario(subject, stream)
    if isinstance(subject, type) and issubclass(subject, AggregateRoot):
        return AggregateScenario(subject, stream)
    raise InvalidInput(f"{subject!r} is no reducer, aggregate class or projector")
