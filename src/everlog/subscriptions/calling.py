"""Calling what a user wrote: `async def` on the loop, `def` in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Returns what the function returns, awaited if need be.

    A plain `def` runs in a thread, with the context variables of the caller, so that it cannot hold
    up the event loop.
    """
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with `async def __call__`
    ):
        return await function(*args)
    result = await asyncio.to_thread(function, *args)
    return await result if inspect.isawaitable(result) else result


def name_of(function: Callable[..., Any]) -> str:
    """Returns what a handler is called in errors."""
    return getattr(function, "__qualname__", None) or repr(function)
