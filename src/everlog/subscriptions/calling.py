"""Calling what a user wrote: `async def` on the loop, `def` in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

_called_in: ContextVar[asyncio.Task[Any] | None] = ContextVar("everlog_called_in", default=None)


async def call(
    function: Callable[..., Any],
    *args: Any,
    in_thread: Callable[..., Awaitable[Any]] = asyncio.to_thread,
    contained: bool = False,
) -> Any:
    """Returns what the function returns, awaited if need be.

    A plain `def` runs in a thread (`in_thread` sees to that), so that it cannot hold up the event
    loop; anything else in a task of its own, so that it can cancel nobody but itself. Both see the
    context variables of the caller. If the caller is cancelled, this returns when the function has
    ended, as a thread cannot be cancelled.

    `contained`: also what an `async def` raises that is no `Exception`, such as `SystemExit`, is
    raised as one; otherwise it ends the event loop, as anywhere.
    """
    caller = asyncio.current_task()
    before = 0 if caller is None else caller.cancelling()
    try:
        if is_async(function):
            result = await _in_task(function, function(*args), contained)
        else:
            result = await _to_its_end(in_thread(_in_thread, function, args))
            if inspect.isawaitable(result):
                result = await _in_task(function, result, contained)
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


def _in_task(
    function: Callable[..., Any], awaitable: Awaitable[Any], contained: bool
) -> asyncio.Task[Any]:
    return asyncio.create_task(_as_coroutine(function, awaitable, contained))


async def _as_coroutine(
    function: Callable[..., Any], awaitable: Awaitable[Any], contained: bool
) -> Any:
    _called_in.set(asyncio.current_task())
    try:
        return await awaitable
    except (Exception, asyncio.CancelledError):
        raise
    except (KeyboardInterrupt, GeneratorExit):  # said to the program and to the task
        raise
    except BaseException as error:  # also `sys.exit`, which would end the event loop
        if not contained:
            raise
        raise _odd(function, error) from error


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
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:  # of a thread: `sys.exit` would end the event loop
        raise _odd(function, error) from error


def _odd(function: Callable[..., Any], error: BaseException) -> RuntimeError:
    return RuntimeError(f"{name_of(function)} raised {type(error).__name__}")


def is_called_here() -> bool:
    """Returns whether the current task is that of a function called, and none that it started."""
    return _called_in.get() is asyncio.current_task()


def is_async(function: Callable[..., Any]) -> bool:
    """Returns whether a call of the function gives something to be awaited, without making one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with `async def __call__`
    )


def takes_tx(function: Callable[..., Any]) -> bool:
    """Returns whether a handler asks for the transaction, by a parameter of the name `tx`."""
    return takes(function, "tx")


def takes(function: Callable[..., Any], name: str) -> bool:
    """Returns whether a function has a parameter of this name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of a callable that does not say
        return False
    return name in parameters


def name_of(function: Callable[..., Any]) -> str:
    """Returns what a handler is called in errors."""
    return getattr(function, "__qualname__", None) or repr(function)
