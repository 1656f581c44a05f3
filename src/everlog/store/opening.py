"""Opening: the options of a store, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from everlog.core.stream import check_name
from everlog.errors import InvalidInput
from everlog.store.folding import every

SnapshotPolicy = Literal["manual", "auto"] | every

AUTO = every(100)
"""What `snapshots="auto"` means."""


class Closable(Protocol):
    """Something that is closed in the end."""

    async def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


def check_strict(strict: Iterable[str]) -> tuple[str, ...]:
    """Returns the beginnings of streams' names; raises `InvalidInput`."""
    if isinstance(strict, str):
        raise InvalidInput(f"strict= is a list of how streams' names begin: [{strict!r}]")
    prefixes = tuple(strict)
    for prefix in prefixes:
        check_name("strict prefix", prefix)
    return tuple(sorted(set(prefixes)))


class Opening(Generic[T]):
    """A store about to be opened: `async with` it, or `await` it and close the store yourself."""

    def __init__(self, open: Callable[[], Awaitable[T]]) -> None:
        self._open = open
        self._opened: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._open().__await__()

    if not TYPE_CHECKING:  # a type checker says it better

        def __getattr__(self, name: str) -> object:
            raise AttributeError(
                f"the store is not open yet, so it has no {name!r}; write "
                "`async with EventStore.open(...) as store:`"
            )

        def __enter__(self) -> object:
            raise TypeError(
                "this store is async: write `async with EventStore.open(...) as store:`; "
                "for plain `with`, import EventStore from everlog.blocking"
            )

        def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> T:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opened is not None
        await self._opened.close()


def check_policy(snapshots: object) -> every | None:
    """Returns when automatic snapshots are taken, None for never; raises `InvalidInput`."""
    if snapshots == "manual":
        return None
    if snapshots == "auto":
        return AUTO
    if isinstance(snapshots, every):
        return snapshots
    raise InvalidInput(f"snapshots={snapshots!r} is not known; use 'manual', 'auto' or every(100)")


def check_offset(seconds: object) -> int:
    """Returns `max_offset_s` in milliseconds; raises `InvalidInput`."""
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not 0 <= seconds < 1e11
    ):
        raise InvalidInput(f"max_offset_s={seconds!r} must be a number of seconds from 0")
    return int(seconds * 1000)
