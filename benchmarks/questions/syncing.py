"""How long does it take to bring two logs into step, and to see that they are?"""

from __future__ import annotations

from typing import Protocol, cast

from benchmarks import workload
from benchmarks.logs import records_in_log, streams_in_log
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.sides import EVERLOG, EVERLOG_PYDANTIC

ROUNDS = 20
IN_MEMORY = Row(
    name="catch-up by sync, memory to memory",
    unit="µs/event",
    target=Target(at_most=50),
    note="`store.sync(hub).once()` of an empty store; every hash and the chain computed again.",
)
CATCH_UP = Row(
    name="catch-up by sync beside an import",
    unit="x",
    target=Target(at_most=2),
    note="The time of `store.sync(hub).once()` of an empty store, divided by that of "
    "`import_records(hub.read())` of the same records into another one in the same round.",
)
IDLE = Row(
    name="a round of sync with nothing to do",
    unit="ms",
    target=Target(at_most=5),
    note="Looks at both ledgers; the median of 20.",
)


class Syncing(Protocol):
    """What a side must be able to do; only everlog can."""

    async def open(self, address: str) -> None: ...
    async def close(self) -> None: ...
    async def take_in(self, source: str) -> int: ...
    async def verify(self) -> int: ...

    async def sync(self, source: str) -> int:
        """Brings the log into step with another one; returns how many records were new."""
        ...

    async def sync_in_memory(self, streams: int) -> tuple[int, float]:
        """Brings an empty log in memory into step with one of so many streams of 1,000 events.

        Returns how many records were new, and how many seconds it took.
        """
        ...

    async def rounds(self, source: str, count: int) -> list[float]:
        """Returns how long each of so many rounds takes, in seconds, in which nothing is done."""
        ...


async def ask(asked: Asked) -> Figures:
    """Catches up with the whole log, beside an import of it, and between two logs in memory."""
    count = records_in_log(asked.size)
    source = await asked.log()
    figures: dict[str, float] = {}
    seconds: list[float] = []
    for how in ("import", "sync"):
        side = cast("Syncing", asked.make())
        await side.open(asked.new(how))
        try:
            with Watch() as watch:
                new = await (side.take_in(source) if how == "import" else side.sync(source))
            check(new, count)
            check(await side.verify(), count)
            seconds.append(watch.seconds)
            if how == "sync":
                idle = sorted(await side.rounds(source, ROUNDS))
                figures[IDLE.name] = idle[ROUNDS // 2] * 1e3
        finally:
            await side.close()
    figures[CATCH_UP.name] = seconds[1] / seconds[0]
    new, took = await cast("Syncing", asked.make()).sync_in_memory(streams_in_log(asked.size))
    check(new, streams_in_log(asked.size) * workload.COUNT)
    figures[IN_MEMORY.name] = took / new * 1e6
    return figures


QUESTION = Question(
    name="sync",
    about="bring two logs into step",
    rows=(IN_MEMORY, CATCH_UP, IDLE),
    ask=ask,
    sides=(EVERLOG, EVERLOG_PYDANTIC),
)
