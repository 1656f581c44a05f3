"""Collecting: the event classes of a module, and its upcasts."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from everlog.core.event import Known, event_type_of
from everlog.core.upcasting import Upcast
from everlog.errors import InvalidInput, UnknownEvent


def events_in(module: ModuleType) -> list[Known]:
    """Returns the event classes and upcasts of a module: its list `EVENTS`, or all that it names.

    In the order in which they stand there, each once; with those that it imports from elsewhere.
    Raises `InvalidInput` for what is no module.

    >>> import sys
    >>> module = sys.modules[UserCreated.__module__]
    >>> events_in(module)
    [<class '...UserCreated'>, <class '...EmailSet'>, <class '...UserBlocked'>]
    >>> async with EventStore.open("memory:", events=events_in(module)) as store:
    ...     [record] = await store.append("user-1", UserCreated(email="jane@doe.com"))
    """
    # From programs that no type checker has seen.
    if not isinstance(module, ModuleType):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput(f"{module!r:.60} is no module; pass one that has event classes")
    listed: Any = vars(module).get("EVENTS")
    if isinstance(listed, (list, tuple)):
        return [*listed]
    return [*dict.fromkeys(filter(_is_known, vars(module).values()))]


def _is_known(value: object) -> bool:
    if not isinstance(value, type):
        return isinstance(value, Upcast)
    try:
        event_type_of(value)
    except UnknownEvent:
        return False
    return True
