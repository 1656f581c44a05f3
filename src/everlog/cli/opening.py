"""Opening: from what a command was told to a store, or to a class of the user's program."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

from everlog.cli.exits import CannotDo
from everlog.cli.parsing import EVENTS, URL_VARIABLE
from everlog.errors import CorruptLedger, DamagedFile, ForeignFile

if TYPE_CHECKING:
    from everlog import EventStore


NO_LEDGER = (ForeignFile, DamagedFile, CorruptLedger)
"""To who looks whether all is well, that there is no ledger, or no sound one, is an answer."""


def waiting(
    work: Callable[[argparse.Namespace], Coroutine[Any, Any, int | None]],
) -> Callable[[argparse.Namespace], int | None]:
    """Returns what does the work of a command in an event loop of its own."""
    return lambda options: asyncio.run(work(options))


def url_of(options: argparse.Namespace) -> str:
    """Returns the URL that was given, or that of the environment; ends the command without one."""
    url: str = options.url or os.environ.get(URL_VARIABLE, "")
    if not url:
        options.refuse(f"name a ledger by its URL, or put that into {URL_VARIABLE}")
    return url


def name_of(options: argparse.Namespace) -> str | None:
    """Returns the name that may stand behind the URL; None for all.

    Where the URL is that of the environment, the name stands in its place.
    """
    if options.name is None and options.url and not re.match("[a-z+]+:", options.url):
        options.name, options.url = options.url, None
    name: str | None = options.name
    return name


@contextmanager
def extra() -> Generator[None]:
    """Has an import of what an extra brings say which, where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise CannotDo(str(error)) from error


@asynccontextmanager
async def opened(
    options: argparse.Namespace, *, events: Sequence[Any] = (), create: bool = False
) -> AsyncGenerator[EventStore]:
    """Opens the store that a command is about; one that is not there is not made."""
    from everlog import EventStore

    async with EventStore.open(url_of(options), events=events, create=create) as store:
        yield store


def events_of(options: argparse.Namespace, *, or_of: ModuleType | None = None) -> list[Any]:
    """Returns the event classes that were named; else those of the module, if one is given."""
    from everlog import events_in

    named: str = options.events or os.environ.get(EVENTS, "")
    if not named:
        return [] if or_of is None else events_in(or_of)
    found = load(named)
    if isinstance(found, ModuleType):
        return events_in(found)
    if isinstance(found, type):
        return [found]
    try:
        return [*found]
    except TypeError:
        raise CannotDo(f"{named} is no module and no list of event classes") from None


def load(name: str) -> Any:
    """Returns what `module:name` names, or a module; from the current folder, too."""
    module_name, _, inside = name.partition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the program does that is imported
        raise CannotDo(f"module {module_name!r} cannot be imported: {told(error)}") from error
    for part in inside.split(".") if inside else []:
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CannotDo(f"module {module_name!r} has no {inside!r}") from None
    return found


def told(error: BaseException) -> str:
    """Returns an error of somebody else's program in a line, with where it was raised."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<") and code.co_filename not in _OURS:
            where = f" ({os.path.basename(code.co_filename)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    said = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if said else ''}{said}{where}"


_OURS = (__file__, importlib.__file__)
"""Files that lead to the user's program, and are none of it."""


def moment(text: str) -> datetime | str:
    """Reads a moment with a time zone, or a stamp."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        if len(text) == 32:  # a stamp, which the store will read
            return text
        raise argparse.ArgumentTypeError("it is no moment; write 2026-01-31T12:00:00Z") from None
    if found.utcoffset() is None and len(text) != 32:
        raise argparse.ArgumentTypeError(
            "it lacks a time zone; write 2026-01-31T12:00:00Z, or +01:00"
        )
    return found
