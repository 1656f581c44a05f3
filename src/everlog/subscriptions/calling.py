"""Calling what a user wrote: `async def` on the loop, `def` in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Returns what the function returns, awaited if need be.

    A plain `def` runs in a thread, so that it cannot hold up the event loop; anything else in a
    task of its own, so that it can cancel nobody but itself. Both see the context variables of the
    caller. What it raises is an `Exception`, unless it is the caller who is cancelled: then this
    returns when the function has ended, as a thread cannot be cancelled.
    """
    caller = asyncio.current_task()
    before = 0 if caller is None else caller.cancelling()
    try:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object with `async def __call__`
        ):
            result = await _in_task(function(*args))
        else:
            result = await _to_its_end(asyncio.to_thread(_in_thread, function, args))
            if inspect.isawaitable(result):
                result = await _in_task(result)
    except asyncio.CancelledError as error:
        if caller is None or caller.cancelling():
            raise
        # It cancelled itself, or waited for something that was cancelled. That is its own failure,
        # and must not look like the end of whoever runs it.
        raise RuntimeError(
            f"{name_of(function)} cancelled itself, or waited for what was cancelled"
        ) from error
    if caller is not None and caller.cancelling() > before:
        raise asyncio.CancelledError  # which the function has kept to itself
    return result


def _in_task(awaitable: Awaitable[Any]) -> asyncio.Task[Any]:
    if inspect.iscoroutine(awaitable):
        return asyncio.create_task(awaitable)
    return asyncio.create_task(_as_coroutine(awaitable))


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _to_its_end(thread: Awaitable[Any]) -> Any:
    task = asyncio.ensure_future(thread)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _in_thread(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except StopIteration as error:  # a future cannot hold it: whoever waits would wait for ever
        raise RuntimeError(f"{name_of(function)} raised StopIteration") from error


def name_of(function: Callable[..., Any]) -> str:
    """Returns what a handler is called in errors."""
    return getattr(function, "__qualname__", None) or repr(function)
