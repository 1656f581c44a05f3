"""Hooks: what runs after an append, and what is told of errors in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import TypeAlias

from everlog.errors import InvalidInput
from everlog.subscriptions.calling import call, name_of
from everlog.subscriptions.causation import handling
from everlog.subscriptions.projector import Appended, Projector
from everlog.subscriptions.queues import nobody_waits

Hook: TypeAlias = Callable[[Appended], Awaitable[None] | None]
"""Told what was appended."""


@dataclass(frozen=True, slots=True)
class HookFailure:
    """A hook that raised. The append stands: what is in the log has happened.

    >>> def tell(failure: HookFailure) -> None:
    ...     print(failure.hook, "failed on", [record.id for record in failure.appended.records])
    >>> store.on_error(tell)
    """

    error: Exception
    """What it raised: `HandlerFailed` or an `ExceptionGroup` of them from a projector."""
    hook: str
    """The name of the hook."""
    appended: Appended
    """What it was told."""


ErrorHook: TypeAlias = Callable[[HookFailure], Awaitable[None] | None]

UNWIND_S = 5.0
"""How long hooks may take to end after they were cancelled."""

_log = logging.getLogger("everlog")


@dataclass(slots=True)
class _Registered:
    hook: Hook
    alone: bool
    """Whether it is told of an append only after it is done with the one before."""
    last: asyncio.Task[None] | None = None


class Hooks:
    """The hooks of one store, and those of their runs that have not ended."""

    def __init__(self) -> None:
        self._appended: list[_Registered] = []
        self._errors: list[ErrorHook] = []
        self._running: set[asyncio.Task[None]] = set()

    def on_appended(self, hook: Hook) -> None:
        """Adds a hook; raises `InvalidInput` for what cannot be called."""
        _check(hook)
        # A projector keeps the order of each stream by itself, and lets streams run side by side.
        alone = not isinstance(getattr(hook, "__self__", None), Projector)
        self._appended.append(_Registered(hook, alone))

    def on_error(self, hook: ErrorHook) -> None:
        """Adds an error hook; raises `InvalidInput` for what cannot be called."""
        _check(hook)
        self._errors.append(hook)

    def start(self, appended: Appended, context: Context) -> list[asyncio.Task[None]]:
        """Starts every hook, each in a task and in a copy of the appender's context.

        Called in commit order. A hook is told of one append after the other, in order, so that it
        may await in between; a projector's `handle` is told of all at once and queues by stream.
        """
        return [self._start(registered, appended, context) for registered in self._appended]

    def _start(
        self, registered: _Registered, appended: Appended, context: Context
    ) -> asyncio.Task[None]:
        before = registered.last if registered.alone else None
        task = asyncio.create_task(
            self._run(registered.hook, appended, before), context=context.copy()
        )
        registered.last = task
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    @property
    def any(self) -> bool:
        """Whether there is a hook that is told of appends."""
        return bool(self._appended)

    @property
    def idle(self) -> bool:
        """Whether none is running."""
        return not self._running

    async def ended(self) -> None:
        """Returns when every hook that is running now has ended."""
        if self._running:
            await asyncio.wait(self._running)

    async def stop(self, timeout_s: float) -> None:
        """Waits for running hooks so long, then cancels them, and with them their handlers.

        Waits `UNWIND_S` for what they do when they are cancelled, and then leaves them behind.
        """
        current = asyncio.current_task()
        others = {task for task in self._running if task is not current}
        if others:
            _, slow = await asyncio.wait(others, timeout=timeout_s)
            for task in slow:
                task.cancel()
            if slow:
                _log.warning("%d hooks still ran when the store closed: cancelled", len(slow))
                _, stubborn = await asyncio.wait(slow, timeout=UNWIND_S)
                if stubborn:
                    _log.error(
                        "%d hooks went on for %s s after they were cancelled: left behind",
                        len(stubborn),
                        UNWIND_S,
                    )

    async def _run(self, hook: Hook, appended: Appended, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        records = appended.records
        nobody_waits()  # an append inside a handler does not wait for its hooks
        try:
            with handling(records[0] if len(records) == 1 else None):
                await call(hook, appended)
        except Exception as error:
            await self._report(HookFailure(error, name_of(hook), appended))

    async def _report(self, failure: HookFailure) -> None:
        # Ids and no data: what is in the events is nobody's business in a log.
        ids = [record.id for record in failure.appended.records[:3]]
        if not self._errors:
            _log.error(
                "hook %s failed after an append that stands (records %s); "
                "store.on_error(...) would be told",
                failure.hook,
                ids,
                exc_info=failure.error,
            )
        for hook in self._errors:
            try:
                with handling(None):
                    await call(hook, failure)
            except Exception:
                _log.exception("error hook %s failed (records %s)", name_of(hook), ids)


def _check(hook: object) -> None:
    if not callable(hook):
        hint = "; pass projector.handle" if isinstance(hook, Projector) else ""
        raise InvalidInput(f"{hook!r} is no hook: it cannot be called{hint}")
