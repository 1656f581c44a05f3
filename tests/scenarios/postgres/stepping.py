"""Something that happens at a chosen await of whatever runs in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Steps:
    """Counts how often any task of the running loop has stopped at an await; acts at one of them.

    Only tasks that are created after this are counted.
    """

    def __init__(self) -> None:
        self._left: int | None = None
        self._act: Callable[[], object] = lambda: None
        asyncio.get_running_loop().set_task_factory(self._create)

    def at(self, nth: int, act: Callable[[], object]) -> None:
        """Acts at the n-th await from now on, in the place of an act that is still to come."""
        self._left, self._act = nth, act

    @property
    def acted(self) -> bool:
        """Whether it has happened."""
        return self._left is None

    def off(self) -> None:
        """Takes back what is to come."""
        self._left = None

    def stopped(self) -> None:
        """Called when a task has stopped."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._left = None
                self._act()

    def _create(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        assert isinstance(coroutine, Coroutine)
        return asyncio.Task(_Stepping(coroutine, self), loop=loop, **options)


class _Stepping(Coroutine[Any, Any, Any]):
    """A coroutine that tells of each of its steps."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._coroutine = coroutine
        self._steps = steps

    def send(self, value: Any) -> Any:
        result = self._coroutine.send(value)
        self._steps.stopped()
        return result

    def throw(self, *error: Any) -> Any:
        result = self._coroutine.throw(*error)
        self._steps.stopped()
        return result

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()
