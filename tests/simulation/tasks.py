"""Tasks: coroutines that are stepped by hand, so that each place at which one waits is chosen."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.simulation.site import Site

T = TypeVar("T")


class Pause:
    """Lets everything else that is due happen first."""

    def __await__(self) -> Generator[Pause, None, None]:
        yield self


class Task:
    """A coroutine that a site runs, until it ends or the site does."""

    def __init__(
        self, site: Site, coroutine: Coroutine[Any, Any, Any], ended: Callable[[object], None]
    ) -> None:
        """`ended`: is told what it returned, or the error that it raised."""
        self.site = site
        self.coroutine = coroutine
        self.ended = ended
        self.alive = True
        site.tasks.append(self)

    def end(self) -> None:
        """Ends it where it stands: nothing of it is run any more."""
        self.alive = False
        if self in self.site.tasks:
            self.site.tasks.remove(self)
        if inspect.getcoroutinestate(self.coroutine) == inspect.CORO_SUSPENDED:
            # Closing it would leave an async generator that it is in where it stands.
            with suppress(_Ended):
                self.coroutine.throw(_Ended())
        self.coroutine.close()


class _Ended(BaseException):
    """Raised where a task stands that is ended."""


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs what does not wait for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it was to wait for nothing")
