"""Reducers: fold records onto a state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from everlog.core.record import Record
from everlog.core.stream import check_name
from everlog.errors import EventDefinitionError

S = TypeVar("S")


class Reducer(Generic[S]):
    """A named fold: an initial state, and how a record changes a state.

    Made by `reducer`. Call it like the function it was made from.

    >>> user_reducer(UserState(), record_of(EmailSet("jane@doe.com")))
    UserState(email='jane@doe.com', blocked=False)
    """

    def __init__(
        self,
        name: str,
        apply: Callable[[S, Record[Any]], S],
        *,
        initial: Callable[[], S],
        version: int = 1,
    ) -> None:
        self.name = check_name("reducer", name)
        self.version = version
        self.initial = initial
        self._apply = apply
        self.__doc__ = apply.__doc__
        self.__wrapped__ = apply

    def __call__(self, state: S, record: Record[Any]) -> S:
        return self._apply(state, record)

    def __repr__(self) -> str:
        return f"<Reducer {self.name!r} version {self.version}>"


def reducer(
    name: str, *, initial: Callable[[], S], version: int = 1
) -> Callable[[Callable[[S, Record[Any]], S]], Reducer[S]]:
    """Declares a function `(state, record) -> state` to be a reducer.

    - `name`: what its snapshots are stored under
    - `initial`: makes the state that a fold begins with; called anew for each fold, so a class or a
      function, and never a value that folds would share
    - `version`: raise it when the logic changes, so that older snapshots are not used

    The function may change the state that it is given and return it. It is called in the order
    `(created, id)`, the same in every ledger that holds the same events. It must not wait, and must
    not look at the clock or at other streams: the same records have to give the same state.

    Raises `EventDefinitionError` if `initial` cannot be called or `version` is below 1, and
    `InvalidName` for a name that cannot be one.

    >>> @reducer("count", initial=int)
    ... def count(state: int, record: Record) -> int:
    ...     return state + 1
    >>> await store.reduce(count, "user-1")
    2
    """
    if not callable(initial):
        raise EventDefinitionError(
            f"initial={initial!r} of reducer {name!r} is shared by all folds; "
            "pass a class or a function that makes a new state, such as initial=dict"
        )
    # Decorators are called by programs that no type checker has seen.
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:  # type: ignore[redundant-expr]  # pyright: ignore[reportUnnecessaryIsInstance]
        raise EventDefinitionError(f"version={version!r} of reducer {name!r} must be 1 or more")

    def declare(apply: Callable[[S, Record[Any]], S]) -> Reducer[S]:
        return Reducer(name, apply, initial=initial, version=version)

    return declare
