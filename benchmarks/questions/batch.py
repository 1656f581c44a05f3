"""How long does an event take in an append of 1,000?"""

from __future__ import annotations

from benchmarks import workload
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.side import Seen

ROW = Row(name="batch of 1,000", unit="µs/event", target=Target(floor_ratio=0.5, peer_ratio=1.5))


async def ask(asked: Asked) -> Figures:
    """Appends batches to a stream each."""
    batches = asked.size.of(10)
    side = asked.make()
    await side.open(asked.new("log"))
    try:
        await side.append("warm", (0,))
        with Watch() as watch:
            for number in range(batches):
                await side.append(f"batch-{number}", workload.INDICES)
        found = await side.read_stream(f"batch-{batches - 1}")
        check(found, Seen(workload.COUNT, workload.TOTAL))
    finally:
        await side.close()
    return {ROW.name: watch.seconds / (batches * workload.COUNT) * 1e6}


QUESTION = Question(name="batch", about="appends of 1,000 events", rows=(ROW,), ask=ask)
