"""What is done to writers, readers and connections while they work, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from everlog.errors import InvalidInput
from everlog.testing.torture.journal import Journal
from everlog.testing.torture.plan import Role, imported
from everlog.testing.torture.urls import is_postgres
from everlog.testing.torture.voice import Voice

PAUSES = "pauses"
"""Processes are stopped for moments, wherever they are: also between a write and its commit."""
KILLS = "kills"
"""Processes that write are killed, and others take their places."""
CANCELLATIONS = "cancellations"
"""Callers are cancelled at random moments, and try again with the same ids, or give up."""
TRANSACTIONS = "transactions"
"""Writers append in transactions of their own, which hold on, wait at commit, or roll back."""
TERMINATIONS = "terminations"
"""The database ends connections of writers and readers."""
BYSTANDERS = "bystanders"
"""Others write to tables of theirs in the same database, and leave their transactions open."""

EVERYWHERE = (PAUSES, KILLS, CANCELLATIONS)
ON_POSTGRES = (TRANSACTIONS, TERMINATIONS, BYSTANDERS)

OF_A_PROCESS = {
    TERMINATIONS: "everlog.testing.torture.postgres:terminate_backends",
    BYSTANDERS: "everlog.testing.torture.postgres:stand_by",
}
"""What is done by a process of its own, and where it stands."""


def may_fail(mischief: Sequence[str]) -> bool:
    """Whether what is done explains that a ledger answers that it cannot be reached."""
    return any(name == TERMINATIONS or ":" in name for name in mischief)


@dataclass(frozen=True, slots=True)
class Scene:
    """What `async def my_mischief(scene)` is given. It goes on until it is cancelled."""

    url: str
    """The ledger's."""
    mark: str
    """The name that the connections of writers and readers have as `application_name`, where their
    database is PostgreSQL."""
    rng: Random
    """Choices of its own."""
    counted: Callable[[str], None]
    """To be called with what has been done, each time: it is counted in the report."""


def chosen(url: str, mischief: Sequence[str] | None) -> tuple[str, ...]:
    """Returns what is done to a ledger: what was asked for, or all that there is for its kind.

    Raises `InvalidInput` for what there is not.
    """
    if mischief is None:
        return EVERYWHERE + (ON_POSTGRES if is_postgres(url) else ())
    known = {*EVERYWHERE, TRANSACTIONS, *OF_A_PROCESS}
    for name in mischief:
        if ":" in name:
            imported(name)
        elif name not in known:
            listed = ", ".join(sorted(known))
            raise InvalidInput(f"mischief {name!r} is not known; use {listed} or module:function")
        elif name in ON_POSTGRES and not is_postgres(url):
            raise InvalidInput(f"mischief {name!r} can be made in PostgreSQL only")
    return tuple(mischief)


def of_processes(mischief: Sequence[str]) -> list[str]:
    """Returns what is done by processes of their own."""
    return [name for name in mischief if name in OF_A_PROCESS or ":" in name]


async def make_mischief(role: Role, voice: Voice) -> None:
    """Does it from "go" to "stop"."""
    journal = Journal(role.file("journal"))
    mischief = imported(OF_A_PROCESS.get(role.name, role.name))
    scene = Scene(role.plan.url, role.plan.mark, role.rng, journal.counted)
    voice.say("ready")
    await voice.hear()
    making: asyncio.Task[None] = asyncio.create_task(mischief(scene))
    ending = asyncio.create_task(voice.hear())
    await asyncio.wait([making, ending], return_when=asyncio.FIRST_COMPLETED)
    if making.done():
        error = None if making.cancelled() else making.exception()
        journal.problem(f"mischief {role.name} ended by itself: {error!r}")
        await ending
    else:
        making.cancel()
        await asyncio.wait([making])
    journal.close()
    voice.say("done")
