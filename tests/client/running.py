"""Running a test in a loop of its own, with time for a loaded machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

MOST_S = 100.0


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs it to its end; fails when it hangs."""

    async def bounded() -> None:
        async with asyncio.timeout(MOST_S):
            await main()

    asyncio.run(bounded())
