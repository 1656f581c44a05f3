"""The transaction of a subscription, as a `def` handler has it: it runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, cast

from everlog.errors import MisusedStore
from everlog.ports.checkpoints import Tx, Values

T = TypeVar("T")


class FromThread:
    """`Tx` without `await`; to users it is `everlog.blocking.Tx`.

    What is executed crosses over with the next `fetch` or at the end of the handler, unless it is
    to be carried out at once: each way to the loop and back costs as much as some statements.
    """

    def __init__(self, tx: Tx, *, eager: bool) -> None:
        self._tx = tx
        self._loop = asyncio.get_running_loop()
        self._waits = eager
        """Whether each statement crosses over by itself."""
        self._kept: list[tuple[str, Values]] = []
        self._crossing: set[asyncio.Task[Any]] = set()
        """What the handler waits for at the moment."""
        self._is_cut_off = False

    def execute(self, statement: str, values: Values = ()) -> None:
        """Runs a statement that gives nothing; as `Tx.execute`."""
        copy = None if self._waits else _copied(values)
        if copy is None:
            self._await(self._execute(statement, values))
        else:
            self._kept.append((statement, copy))

    def execute_many(self, statement: str, values: Sequence[Values]) -> None:
        """Runs a statement for each of many values; as `Tx.execute_many`."""
        self._await(self._execute_many(statement, values))

    def fetch(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement; as `Tx.fetch`."""
        return self._await(self._fetch(statement, values))

    def end(self) -> None:
        """Keeps nothing any more: who still has it when the handler has ended is told so."""
        self._waits = True

    def cut_off(self) -> None:
        """Ends it under a handler that is left behind: whatever that still does here is refused."""
        self.end()
        self._is_cut_off = True
        self._kept.clear()
        for task in self._crossing:
            task.cancel()

    async def at_rest(self, *, within_s: float) -> None:
        """Returns when nothing of one that was cut off is on its way any more, or after a time."""
        if self._is_cut_off and self._crossing:
            await asyncio.wait(self._crossing, timeout=within_s)

    async def carry_out(self) -> None:
        """Hands over what is kept."""
        kept, self._kept = self._kept, []
        for statement, values in kept:
            await self._tx.execute(statement, values)

    async def _execute(self, statement: str, values: Values) -> None:
        await self.carry_out()
        await self._tx.execute(statement, values)

    async def _execute_many(self, statement: str, values: Sequence[Values]) -> None:
        await self.carry_out()
        await self._tx.execute_many(statement, values)

    async def _fetch(self, statement: str, values: Values) -> list[tuple[Any, ...]]:
        await self.carry_out()
        return await self._tx.fetch(statement, values)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        crossed = self._crossed(work)
        try:
            self._check()
            crossing = asyncio.run_coroutine_threadsafe(crossed, self._loop)
        except RuntimeError:  # also of a loop that was closed meanwhile
            crossed.close()
            work.close()
            raise
        return crossing.result()

    async def _crossed(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._crossing.add(task)
        try:
            self._check()
            return await work
        except asyncio.CancelledError:
            self._check()
            raise
        finally:
            self._crossing.discard(task)
            work.close()

    def _check(self) -> None:
        if self._is_cut_off:
            raise MisusedStore(
                "this handler took longer than its subscription lets it (handler_timeout_s) and "
                "was left behind: its transaction was rolled back, and nothing that it does by tx "
                "is written"
            ) from None


def _copied(values: object) -> Values | None:
    """Returns the values as they are now; None for what the adapter is to look at itself."""
    if isinstance(values, (tuple, list)):
        found = tuple(cast(Sequence[object], values))
        return None if any(isinstance(value, (bytearray, memoryview)) for value in found) else found
    return None
