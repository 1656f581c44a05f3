"""How long does a read model take for a record: one UPSERT each, a checkpoint, exactly once?

everlog: `store.subscription(...)` from its start until it is caught up and stopped, with a handler
that executes the UPSERT by `tx`. The floor is the same by hand: pages read after a checkpoint, 500
records at a time, and a read model that keeps the checkpoint in the same transaction: in a second
SQLite file, or in a second schema of PostgreSQL. It keeps no lease and parks nothing.
"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.logs import records_in_log
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.sides import OURS
from benchmarks.views import contents

ROW = Row(
    name="projection, one UPSERT a record, exactly once",
    unit="µs/event",
    target=Target(floor_ratio=0.5, peer_ratio=10),
    note="everlog runs a durable subscription, from its start until it is caught up and stopped. "
    "The floor reads pages of 500 after a checkpoint that the read model keeps, in a second file "
    "or schema, without leases. eventsourcing and event-sourcery commit every event by itself, as "
    "is their way.",
)


async def ask(asked: Asked) -> Figures:
    """Makes a new read model of the whole log; peers that take a transaction a record, of less."""
    count = records_in_log(asked.size) if asked.name in OURS else asked.size.of(2000, least=100)
    view = asked.new("view")
    side = asked.make()
    await side.open(await asked.log())
    try:
        await side.read_stream(workload.STREAM_OF_1000)
        with Watch() as watch:
            place = await side.project(view, count)
    finally:
        await side.close()
    streams, rest = divmod(count, workload.COUNT)
    total = streams * workload.TOTAL + sum(workload.COUNT + index for index in range(rest))
    check(await contents(asked.database, place), (count, total))
    return {ROW.name: watch.seconds / count * 1e6}


QUESTION = Question(
    name="project", about="a read model with a checkpoint, exactly once", rows=(ROW,), ask=ask
)
