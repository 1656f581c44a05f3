"""How long does it take to read an event and look at its decoded data?"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.logs import records_in_log
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.side import Seen

STREAM = Row(name="read one stream of 1,000", unit="µs/event")
ALL = Row(
    name="read everything, decoded",
    unit="µs/event",
    target=Target(floor_ratio=0.6, peer_ratio=2),
)


async def ask(asked: Asked) -> Figures:
    """Reads one stream several times, and the whole log once."""
    times, count = asked.size.of(5), records_in_log(asked.size)
    side = asked.make()
    await side.open(await asked.log())
    try:
        found = await side.read_stream(workload.STREAM_OF_1000)
        with Watch() as of_stream:
            for _ in range(times):
                found = await side.read_stream(workload.STREAM_OF_1000)
        check(found, Seen(workload.COUNT, workload.TOTAL))
        with Watch() as of_all:
            everything = await side.read_all()
        check(everything, Seen(count, count // workload.COUNT * workload.TOTAL))
    finally:
        await side.close()
    return {
        STREAM.name: of_stream.seconds / (times * workload.COUNT) * 1e6,
        ALL.name: of_all.seconds / count * 1e6,
    }


QUESTION = Question(
    name="read", about="read one stream of 1,000, and everything", rows=(STREAM, ALL), ask=ask
)
