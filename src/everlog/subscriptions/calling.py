"""Calling what a user wrote: `async def` on the loop, `def` in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Returns what the function returns, awaited if need be.

    A plain `def` runs in a thread, with the context variables of the caller, so that it cannot hold
    up the event loop. What it raises is an `Exception`, unless it is the caller who is cancelled.
    """
    try:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object with `async def __call__`
        ):
            return await function(*args)
        result = await asyncio.to_thread(_in_thread, function, args)
        return await result if inspect.isawaitable(result) else result
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # It waited for something that was cancelled. That is its own failure, and must not look
        # like the end of whoever runs it.
        raise RuntimeError(f"{name_of(function)} waited for what was cancelled") from error


def _in_thread(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except StopIteration as error:  # a future cannot hold it: whoever waits would wait for ever
        raise RuntimeError(f"{name_of(function)} raised StopIteration") from error


def name_of(function: Callable[..., Any]) -> str:
    """Returns what a handler is called in errors."""
    return getattr(function, "__qualname__", None) or repr(function)
