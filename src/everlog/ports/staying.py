"""Staying: waiting for something to its end, also when one is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(
    work: Coroutine[Any, Any, T] | asyncio.Future[T], *, leave: Callable[[], bool] | None = None
) -> T:
    """Returns what the work returns. Who is cancelled stays until it has ended, and is told then.

    For work on something that the caller would go on to use, such as their connection. `leave` is
    asked at a cancellation: True stops the work, which must not have begun then.
    """
    working = work if isinstance(work, asyncio.Future) else asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError as error:
            cancelled = error
            if leave is not None and leave():
                working.cancel()
    if cancelled is None:
        return working.result()
    if not working.cancelled():
        working.exception()  # looked at, so that nobody is told that it was not
    try:
        raise cancelled
    finally:
        del cancelled  # which holds this frame
