"""Who caused what: carried around handlers by a context variable."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple, TypeVar

from everlog.core.record import Record, StoredRecord
from everlog.core.stream import check_name

T = TypeVar("T")


class Cause(NamedTuple):
    """What the events that are appended now come from."""

    correlation: str | None
    """The id of what started it all; None: each event starts something of its own."""
    causation: str | None
    """The id of the event that directly caused them, if one did."""


_NOTHING = Cause(None, None)

# A record where it causes them, as a handler is run for each, and most append nothing.
_cause: ContextVar[Cause | StoredRecord] = ContextVar("everlog_cause", default=_NOTHING)

_handling: ContextVar[tuple[handling, ...]] = ContextVar("everlog_handling", default=())


def current_cause() -> Cause:
    """Returns what the events that are appended now come from."""
    cause = _cause.get()
    return cause if isinstance(cause, Cause) else Cause(cause.correlation, cause.id)


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


class handling:  # in lower case, as what stands behind `with`; no generator: it is for each record
    """Marks a hook or handler as running, on behalf of a record if there is a single one.

    It is that run itself: tasks that are started inside know of it, and may outlive it.
    """

    __slots__ = ("_causing", "_handling", "_record", "ended")

    def __init__(self, cause: Record[Any] | None) -> None:
        self._record = cause
        self._causing: Token[Cause | StoredRecord] | None = None
        self.ended = False

    def __enter__(self) -> None:
        outer = _handling.get()
        running = (*(each for each in outer if not each.ended), self) if outer else (self,)
        self._handling = _handling.set(running)
        record, self._record = self._record, None  # which is not kept by who outlives this
        if record is not None:
            self._causing = _cause.set(record.stored)

    def __exit__(self, *_: object) -> None:
        if self._causing is not None:
            _reset(_cause, self._causing)
        self.ended = True
        _reset(_handling, self._handling)


def _reset(variable: ContextVar[T], token: Token[T]) -> None:
    # What an event loop left behind when it was closed is ended anywhere, by the garbage collector.
    try:
        variable.reset(token)
    except ValueError:
        return
