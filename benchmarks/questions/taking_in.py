"""How long does it take to take in the records of another log, each checked against its hash?"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.logs import records_in_log
from benchmarks.question import Asked, Figures, Question, Row, Watch, check
from benchmarks.side import Seen

ROW = Row(
    name="import of records, 500 at a time",
    unit="µs/event",
    note="`import_records(other.read())`, from a log of the same database; on PostgreSQL both "
    "write by COPY.",
)


async def ask(asked: Asked) -> Figures:
    """Imports the whole log into an empty one."""
    count = records_in_log(asked.size)
    source = await asked.log()
    side = asked.make()
    await side.open(asked.new("copy"))
    try:
        with Watch() as watch:
            taken = await side.take_in(source)
        check(taken, count)
        check(await side.read_all(), Seen(count, count // workload.COUNT * workload.TOTAL))
        check(await side.verify(), count)
    finally:
        await side.close()
    return {ROW.name: watch.seconds / count * 1e6}


QUESTION = Question(name="records", about="import the records of another log", rows=(ROW,), ask=ask)
