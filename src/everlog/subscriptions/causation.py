"""Who caused what: carried around handlers by a context variable."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from typing import Any, NamedTuple, TypeVar

from everlog.core.record import Record
from everlog.core.stream import check_name

T = TypeVar("T")


class Cause(NamedTuple):
    """What the events that are appended now come from."""

    correlation: str | None
    """The id of what started it all; None: each event starts something of its own."""
    causation: str | None
    """The id of the event that directly caused them, if one did."""


_NOTHING = Cause(None, None)

_cause: ContextVar[Cause] = ContextVar("everlog_cause", default=_NOTHING)


class _Run:
    """A run of a hook or handler. Tasks that it starts know of it, and may outlive it."""

    ended = False


_handling: ContextVar[tuple[_Run, ...]] = ContextVar("everlog_handling", default=())


def current_cause() -> Cause:
    """Returns what the events that are appended now come from."""
    return _cause.get()


def inside_handler() -> bool:
    """Whether a hook or handler is running here: it must not wait for hooks, so for itself.

    Also in a task that it started, which it may wait for, until it has ended itself.
    """
    runs = _handling.get()
    return bool(runs) and any(not run.ended for run in runs)


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
        _reset(_cause, token)


@contextmanager
def handling(cause: Record[Any] | None) -> Generator[None]:
    """Marks a hook or handler as running, on behalf of a record if there is a single one."""
    run = _Run()
    token = _handling.set((*(outer for outer in _handling.get() if not outer.ended), run))
    try:
        if cause is None:
            yield
        else:
            with caused_by(cause):
                yield
    finally:
        run.ended = True
        _reset(_handling, token)


def _reset(variable: ContextVar[T], token: Token[T]) -> None:
    # What an event loop left behind when it was closed is ended anywhere, by the garbage collector.
    with suppress(ValueError):
        variable.reset(token)
