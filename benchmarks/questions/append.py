"""How long does one writer wait for one event to be durable?"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.databases import POSTGRES
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.side import Seen

ROW = Row(
    name="append 1, one writer",
    unit="µs/event",
    target=Target(floor_ratio=0.7, peer_ratio=1.2),
    on={POSTGRES: Target(floor_ratio=0.7, peer_ratio=3)},
)


async def ask(asked: Asked) -> Figures:
    """Appends one after the other to one stream."""
    appends = asked.size.of(400, least=5)
    side = asked.make()
    await side.open(asked.new("log"))
    try:
        await side.append("warm", (0,))
        with Watch() as watch:
            for number in range(appends):
                await side.append("lone", (number % workload.COUNT,))
        due = Seen(appends, sum(workload.COUNT + n % workload.COUNT for n in range(appends)))
        check(await side.read_stream("lone"), due)
    finally:
        await side.close()
    return {ROW.name: watch.seconds / appends * 1e6}


QUESTION = Question(name="append", about="append 1 event, one writer", rows=(ROW,), ask=ask)
