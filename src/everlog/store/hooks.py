"""Hooks: what runs after an append, and what is told of errors in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import TypeAlias

from everlog.errors import MisusedStore
from everlog.subscriptions.calling import call, name_of
from everlog.subscriptions.causation import handling, inside_handler
from everlog.subscriptions.projector import Appended

Hook: TypeAlias = Callable[[Appended], Awaitable[None] | None]
"""Told what was appended."""


@dataclass(frozen=True, slots=True)
class HookFailure:
    """A hook that raised. The append stands: what is in the log has happened."""

    error: Exception
    """What it raised: `HandlerFailed` or an `ExceptionGroup` of them from a projector."""
    hook: str
    """The name of the hook."""
    appended: Appended
    """What it was told."""


ErrorHook: TypeAlias = Callable[[HookFailure], Awaitable[None] | None]

_log = logging.getLogger("everlog")


class Hooks:
    """The hooks of one store, and those of their runs that have not ended."""

    def __init__(self) -> None:
        self._appended: list[Hook] = []
        self._errors: list[ErrorHook] = []
        self._running: set[asyncio.Task[None]] = set()

    def on_appended(self, hook: Hook) -> None:
        """Adds a hook."""
        self._appended.append(hook)

    def on_error(self, hook: ErrorHook) -> None:
        """Adds an error hook."""
        self._errors.append(hook)

    def start(self, appended: Appended, context: Context) -> list[asyncio.Task[None]]:
        """Starts every hook, each in a task and in a copy of the appender's context.

        Called in commit order: tasks begin in the order in which they were made, so hooks see
        appends in order, and a projector queues records in order.
        """
        tasks = [
            asyncio.create_task(self._run(hook, appended), context=context.copy())
            for hook in self._appended
        ]
        for task in tasks:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return tasks

    async def drained(self) -> None:
        """Returns when every hook that was started has ended; not to be called inside one."""
        if inside_handler():
            raise MisusedStore(
                "drained() inside a hook or handler would wait for itself; call it outside"
            )
        while self._running:
            await asyncio.wait(list(self._running))

    async def stop(self, timeout_s: float) -> None:
        """Waits for running hooks so long, then cancels them."""
        current = asyncio.current_task()
        others = {task for task in self._running if task is not current}
        if others:
            _, slow = await asyncio.wait(others, timeout=timeout_s)
            for task in slow:
                task.cancel()
            if slow:
                _log.warning(
                    "%d hooks were cancelled: still running after %s s", len(slow), timeout_s
                )
                await asyncio.wait(slow)

    async def _run(self, hook: Hook, appended: Appended) -> None:
        records = appended.records
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
