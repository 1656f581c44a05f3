"""Who caused what: carried around handlers by a context variable."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from everlog.core.record import Record
from everlog.core.stream import check_name


class Cause(NamedTuple):
    """What the events that are appended now come from."""

    correlation: str | None
    """The id of what started it all; None: each event starts something of its own."""
    causation: str | None
    """The id of the event that directly caused them, if one did."""


_NOTHING = Cause(None, None)

_cause: ContextVar[Cause] = ContextVar("everlog_cause", default=_NOTHING)
_handling: ContextVar[bool] = ContextVar("everlog_handling", default=False)


def current_cause() -> Cause:
    """Returns what the events that are appended now come from."""
    return _cause.get()


def inside_handler() -> bool:
    """Whether a hook or handler is running here: it must not wait for hooks, so for itself."""
    return _handling.get()


@contextmanager
def caused_by(cause: Record[Any] | str) -> Generator[None]:
    """Makes events that are appended inside keep what caused them.

    A record: it is their `causation`, and they share its `correlation`. A text, such as the id of a
    request: it is their `correlation`. Around handlers of a projector this happens by itself.
    Raises `InvalidName` for a text that cannot be an id.

    >>> with caused_by("request-4711"):
    ...     [created] = await store.append("user-2", UserCreated(email="joe@doe.com"))
    >>> with caused_by(created):
    ...     [changed] = await store.append("user-2", EmailSet("joe@acme.com"))
    >>> changed.correlation, changed.causation == created.id
    ('request-4711', True)
    """
    if isinstance(cause, Record):
        value = Cause(cause.correlation, cause.id)
    else:
        value = Cause(check_name("correlation", cause), None)
    token = _cause.set(value)
    try:
        yield
    finally:
        _cause.reset(token)


@contextmanager
def handling(cause: Record[Any] | None) -> Generator[None]:
    """Marks a hook or handler as running, on behalf of a record if there is a single one."""
    token = _handling.set(True)
    try:
        if cause is None:
            yield
        else:
            with caused_by(cause):
                yield
    finally:
        _handling.reset(token)
