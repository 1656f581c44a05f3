"""A thread of one's own: for work that must not hold up the event loop, nor wait for a place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OwnThread:
    """A thread for the length of one call. It is started when there is something to run in it.

    `asyncio.to_thread` has a few threads for everybody, and handlers that are functions run in
    them: those that wait for the very call that works here may hold them all.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="everlog-check")

    async def run(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> T:
        """Returns what the function returns, off the loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kw))

    async def __aenter__(self) -> OwnThread:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not waiting: a cancelled call leaves one piece of work behind, which ends by itself.
        self._executor.shutdown(wait=False, cancel_futures=True)
